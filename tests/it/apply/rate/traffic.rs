//! Packets at a high rate, through the node from one namespace to another; each is a new connection to the kernel.
//!
//! Every packet has a source port of its own, and carries the number of its pair and of the apply that it was sent in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use palisade::net::Family;
use socket2::{Domain, Protocol, Socket, Type};

use crate::apply::world::World;
use crate::kernel::enter;

/// Who asks whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) port: u16,
}

/// Packets by pair and by apply.
pub(super) type Counts = Vec<Vec<u64>>;

/// Packets under way.
pub(super) struct Traffic {
    apply: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Counts>>,
    receiver: JoinHandle<(Counts, u64)>,
    drops: u64,
}

/// Packets that went.
pub(super) struct Went {
    pub(super) sent: Counts,
    pub(super) received: Counts,
    /// Those that interfaces and sockets had no room for.
    pub(super) drops: u64,
}

const SENDERS: &str = "from";
const RECEIVERS: &str = "to";
/// For each family: packets between two pauses, and the time that they are to take.
const BURST: usize = 40;
const PACE: Duration = Duration::from_millis(5);
/// How long nothing may come before all has come.
const QUIET: Duration = Duration::from_millis(300);
const BUFFER: usize = 4 << 20;

const SETTINGS: [(&str, &str); 8] = [
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
];

/// One namespace of senders and one of receivers; this one is the node between. No address is looked for: all neighbours are known.
pub(super) fn build(world: &World, pairs: &[Pair]) {
    world.tool("ip", &["-batch", "-"], &format!("netns add {SENDERS}\nnetns add {RECEIVERS}\n"));
    set();
    let (mut node, mut senders, mut receivers) = (String::new(), String::new(), String::new());
    let link = |there: &str, here: &str, macs: [&str; 2]| {
        format!("link add eth0 address {} netns {there} type veth peer name {here} address {}\nlink set {here} up\n", macs[0], macs[1])
    };
    node.push_str(&link(SENDERS, "cali0", ["02:00:00:00:00:01", "02:00:00:00:00:02"]));
    node.push_str(&link(RECEIVERS, "cali1", ["02:00:00:00:00:04", "02:00:00:00:00:03"]));
    [&mut senders, &mut receivers].into_iter().for_each(|script| script.push_str("link set lo up\nlink set eth0 up\n"));
    for address in distinct(pairs.iter().map(|pair| pair.from)) {
        senders.push_str(&format!("addr replace {address} dev eth0{}\n", nodad(address)));
        node.push_str(&format!("route replace {address} dev cali0\n"));
        receivers.push_str(&format!("route replace {address} dev eth0\n"));
    }
    for address in distinct(pairs.iter().map(|pair| pair.to)) {
        senders.push_str(&format!(
            "route replace {address} dev eth0\nneigh replace {address} lladdr 02:00:00:00:00:02 dev eth0 nud permanent\n"
        ));
        node.push_str(&format!(
            "route replace {address} dev cali1\nneigh replace {address} lladdr 02:00:00:00:00:04 dev cali1 nud permanent\n"
        ));
        receivers.push_str(&format!("addr replace {address} dev eth0{}\n", nodad(address)));
    }
    thread::scope(|scope| {
        for namespace in [SENDERS, RECEIVERS] {
            scope.spawn(move || {
                enter(namespace).expect("entered");
                set();
            });
        }
    });
    world.tool("ip", &["-batch", "-"], &node);
    world.tool("ip", &["-n", SENDERS, "-batch", "-"], &senders);
    world.tool("ip", &["-n", RECEIVERS, "-batch", "-"], &receivers);
}

fn set() {
    for (setting, value) in SETTINGS {
        let path = format!("/proc/sys/net/{setting}");
        std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

fn distinct(addresses: impl Iterator<Item = IpAddr>) -> std::collections::BTreeSet<IpAddr> {
    addresses.collect()
}

fn nodad(address: IpAddr) -> &'static str {
    if address.is_ipv6() { " nodad" } else { "" }
}

impl Traffic {
    /// Starts; there are to be so many applies.
    pub(super) fn start(pairs: &[Pair], applies: usize) -> Self {
        let (apply, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let drops = drops();
        let receiver = {
            let (pairs, ends, (ready, is_ready)) = (pairs.to_vec(), Arc::clone(&ends), std::sync::mpsc::channel());
            let receiver = thread::spawn(move || {
                let sockets = sockets(&pairs);
                ready.send(()).expect("the main thread waits");
                receive(&sockets, vec![vec![0; applies]; pairs.len()], &ends)
            });
            is_ready.recv().expect("sockets");
            receiver
        };
        let sender = |family: Family| {
            let (pairs, apply, ends) = (pairs.to_vec(), Arc::clone(&apply), Arc::clone(&ends));
            thread::spawn(move || send(&pairs, family, (&apply, vec![vec![0; applies]; pairs.len()]), &ends))
        };
        let senders = Family::BOTH.map(sender).into();
        Self { apply, senders, receiver, ends, drops }
    }

    /// From now on packets are of this apply.
    pub(super) fn begin(&self, apply: usize) {
        self.apply.store(apply, Ordering::SeqCst);
    }

    /// Ends, and waits for what is under way.
    pub(super) fn end(self) -> Went {
        self.ends.store(true, Ordering::SeqCst);
        let mut sent: Vec<Counts> = self.senders.into_iter().map(|sender| sender.join().expect("a sender")).collect();
        let mut all = sent.pop().expect("two families");
        for (into, other) in all.iter_mut().flatten().zip(sent.into_iter().flatten().flatten()) {
            *into += other;
        }
        let (received, without_room) = self.receiver.join().expect("the receiver");
        Went { sent: all, received, drops: drops() - self.drops + without_room }
    }
}

fn send(pairs: &[Pair], family: Family, (apply, mut sent): (&AtomicUsize, Counts), ends: &AtomicBool) -> Counts {
    enter(SENDERS).expect("entered");
    let ours = |(_, pair): &(usize, &Pair)| pair.from.is_ipv4() == (family == Family::V4);
    let flows: Vec<(usize, Pair, Socket)> = pairs.iter().enumerate().filter(ours).map(|(at, pair)| (at, *pair, raw(pair.from))).collect();
    let mut port = 1024_u16;
    let mut next = Instant::now();
    let mut in_burst = 0;
    while !ends.load(Ordering::SeqCst) {
        port = port.checked_add(1).unwrap_or(1024);
        for (at, pair, socket) in &flows {
            let tag = apply.load(Ordering::SeqCst);
            let datagram = datagram(pair, port, [*at, tag]);
            socket.send_to(&datagram, &SocketAddr::new(pair.to, 0).into()).unwrap_or_else(|error| panic!("{pair:?}: {error}"));
            sent[*at][tag] += 1;
            in_burst += 1;
            if in_burst == BURST {
                in_burst = 0;
                next = (next + PACE).max(Instant::now());
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
    }
    sent
}

fn raw(from: IpAddr) -> Socket {
    let address = SocketAddr::new(from, 0);
    let socket = Socket::new(Domain::for_address(address), Type::RAW, Some(Protocol::UDP)).expect("a raw socket");
    socket.bind(&address.into()).expect("bound");
    socket
}

/// The UDP header, and two numbers.
fn datagram(pair: &Pair, port: u16, numbers: [usize; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let parts: [&[u8]; 6] = [
        &port.to_be_bytes(),
        &pair.port.to_be_bytes(),
        &16_u16.to_be_bytes(),
        &[0, 0],
        &u32::try_from(numbers[0]).expect("few pairs").to_be_bytes(),
        &u32::try_from(numbers[1]).expect("few applies").to_be_bytes(),
    ];
    bytes.copy_from_slice(&parts.concat());
    let sum = checksum(pair, &bytes);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn checksum(pair: &Pair, datagram: &[u8]) -> u16 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let all = [octets(pair.from), octets(pair.to), vec![0, 17, 0, 16], datagram.to_vec()].concat();
    let mut sum: u32 = all.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).expect("folded");
    if sum == 0 { 0xffff } else { sum }
}

fn sockets(pairs: &[Pair]) -> Vec<Socket> {
    enter(RECEIVERS).expect("entered");
    let places: std::collections::BTreeSet<SocketAddr> = pairs.iter().map(|pair| SocketAddr::new(pair.to, pair.port)).collect();
    let open = |place: SocketAddr| {
        let socket = Socket::new(Domain::for_address(place), Type::DGRAM.nonblocking(), Some(Protocol::UDP)).expect("a socket");
        socket.set_recv_buffer_size(BUFFER).expect("a buffer");
        socket.bind(&place.into()).unwrap_or_else(|error| panic!("{place}: {error}"));
        socket
    };
    places.into_iter().map(open).collect()
}

fn receive(sockets: &[Socket], mut received: Counts, ends: &AtomicBool) -> (Counts, u64) {
    let mut last = Instant::now();
    let mut bytes = [0_u8; 16];
    while !ends.load(Ordering::SeqCst) || last.elapsed() < QUIET {
        for mut socket in sockets {
            while let Ok(8) = std::io::Read::read(&mut socket, &mut bytes) {
                let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
                received[number(0)][number(4)] += 1;
                last = Instant::now();
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    (received, socket_drops("udp") + socket_drops("udp6"))
}

/// Packets that the interfaces of all three namespaces had no room for.
fn drops() -> u64 {
    let of = |namespace: Option<&'static str>| {
        thread::spawn(move || {
            namespace.into_iter().for_each(|namespace| enter(namespace).expect("entered"));
            interfaces()
        })
    };
    [None, Some(SENDERS), Some(RECEIVERS)].map(of).into_iter().map(|drops| drops.join().expect("numbers")).sum()
}

/// Drops of the `eth` and `cali` interfaces, received and sent.
fn interfaces() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").expect("/proc/net/dev");
    let ours = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    ours.map(|(_, numbers)| {
        let numbers: Vec<u64> = numbers.split_whitespace().map(|number| number.parse().expect("a number")).collect();
        numbers[3] + numbers[11]
    })
    .sum()
}

fn socket_drops(protocol: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/thread-self/net/{protocol}")).expect("sockets");
    text.lines().skip(1).map(|line| line.split_whitespace().last().and_then(|word| word.parse::<u64>().ok()).expect("drops")).sum()
}
