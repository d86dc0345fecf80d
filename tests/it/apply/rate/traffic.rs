//! Packets at a high rate, through the node from one namespace to another; each is a new connection
//! to the kernel.
//!
//! Every packet has a source port of its own, and carries the number of its pair and of the apply
//! that it was sent in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::apply::confirmed::until;
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
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<Counts>>,
    receiver: JoinHandle<(Counts, u64)>,
    drops: u64,
    /// What the node had received, and what it had sent to the receivers, before the first packet.
    before: Passed,
}

/// What the threads tell each other.
#[derive(Default)]
struct Shared {
    /// The apply that packets are of.
    apply: AtomicUsize,
    /// Packets sent, by family.
    sent: [AtomicU64; 2],
    /// How often a packet of every pair was sent, by family.
    rounds: [AtomicU64; 2],
    /// The round when the receiver began to read all that had arrived, by family.
    read: [AtomicU64; 2],
    senders_end: AtomicBool,
    receiver_ends: AtomicBool,
}

/// How far packets came.
#[derive(Debug, Clone, Copy)]
struct Passed {
    /// Packets that the node took from its interfaces, by family.
    received: [u64; 2],
    /// Packets that the node gave to the receivers' interface.
    forwarded: u64,
    /// Packets that the receivers' kernel took from it.
    arrived: u64,
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
/// Bytes of packets that a socket of the senders may have under way before the node takes them; the
/// kernel makes it as large as it must be. All senders together stay below what an interface holds
/// (`net.core.netdev_max_backlog`, 1000 packets), so that a busy machine delays packets and drops
/// none.
const UNDER_WAY: usize = 1;
/// Bytes of packets that may wait for the receiver at each of its sockets; the host's limit may be
/// lower.
const BUFFER: usize = 4 << 20;
/// How many rounds senders may be ahead of the receiver. Each brings a socket six packets, of which
/// 500 find room within the limit that Linux has by default (`net.core.rmem_max`, 208 KiB).
const AHEAD: u64 = 50;
/// How long to wait before looking again how far packets came.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

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

/// One namespace of senders and one of receivers; this one is the node between. No address is
/// looked for: all neighbours are known.
pub(super) fn build(world: &World, pairs: &[Pair]) {
    world.tool(
        "ip",
        &["-batch", "-"],
        &format!("netns add {SENDERS}\nnetns add {RECEIVERS}\n"),
    );
    set();

    let (mut node, mut senders, mut receivers) = (String::new(), String::new(), String::new());
    let link = |there: &str, here: &str, macs: [&str; 2]| {
        format!(
            "link add eth0 address {} netns {there} type veth peer name {here} address {}\nlink \
             set {here} up\n",
            macs[0], macs[1]
        )
    };
    node.push_str(&link(
        SENDERS,
        "cali0",
        ["02:00:00:00:00:01", "02:00:00:00:00:02"],
    ));
    node.push_str(&link(
        RECEIVERS,
        "cali1",
        ["02:00:00:00:00:04", "02:00:00:00:00:03"],
    ));
    [&mut senders, &mut receivers]
        .into_iter()
        .for_each(|script| script.push_str("link set lo up\nlink set eth0 up\n"));

    for address in distinct(pairs.iter().map(|pair| pair.from)) {
        senders.push_str(&format!(
            "addr replace {address} dev eth0{}\n",
            nodad(address)
        ));
        node.push_str(&format!("route replace {address} dev cali0\n"));
        receivers.push_str(&format!("route replace {address} dev eth0\n"));
    }

    for address in distinct(pairs.iter().map(|pair| pair.to)) {
        senders.push_str(&format!(
            "route replace {address} dev eth0\nneigh replace {address} lladdr 02:00:00:00:00:02 \
             dev eth0 nud permanent\n"
        ));
        node.push_str(&format!(
            "route replace {address} dev cali1\nneigh replace {address} lladdr 02:00:00:00:00:04 \
             dev cali1 nud permanent\n"
        ));
        receivers.push_str(&format!(
            "addr replace {address} dev eth0{}\n",
            nodad(address)
        ));
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
        let shared = Arc::new(Shared::default());
        let (drops, before) = (drops(), passed());
        let receiver = {
            let (pairs, shared, (ready, is_ready)) = (
                pairs.to_vec(),
                Arc::clone(&shared),
                std::sync::mpsc::channel(),
            );
            let receiver = thread::spawn(move || {
                let sockets = sockets(&pairs);
                ready.send(()).expect("the main thread waits");
                receive(&sockets, vec![vec![0; applies]; pairs.len()], &shared)
            });
            is_ready.recv().expect("sockets");
            receiver
        };

        let sender = |family: usize| {
            let (pairs, shared) = (pairs.to_vec(), Arc::clone(&shared));
            thread::spawn(move || {
                send(&pairs, family, vec![vec![0; applies]; pairs.len()], &shared)
            })
        };
        let senders = [0, 1].map(sender).into();

        Self {
            shared,
            senders,
            receiver,
            drops,
            before,
        }
    }

    /// From now on packets are of this apply. All packets of those before have met the rules.
    pub(super) fn begin(&self, apply: usize) {
        self.settle();
        self.shared.apply.store(apply, Ordering::SeqCst);
    }

    /// Waits until so many packets more of every pair were sent, the first ones from now on.
    pub(super) fn go_on(&self, rounds: u64) {
        let counts = || {
            self.shared
                .rounds
                .each_ref()
                .map(|count| count.load(Ordering::SeqCst))
        };
        // a round that is under way began before
        let wanted = counts().map(|count| count + rounds + 1);

        until("packets are sent", || {
            counts()
                .iter()
                .zip(wanted)
                .all(|(count, wanted)| *count >= wanted)
        });
    }

    /// Waits until the node has taken all packets that were sent up to now.
    fn settle(&self) {
        let sent = self
            .shared
            .sent
            .each_ref()
            .map(|count| count.load(Ordering::SeqCst));
        let is_received = |(family, sent): (usize, &u64)| {
            passed().received[family] - self.before.received[family] >= *sent
        };

        until("packets meet the rules", || {
            sent.iter().enumerate().all(is_received)
        });
    }

    /// Ends, when all that is under way has arrived.
    pub(super) fn end(self) -> Went {
        self.shared.senders_end.store(true, Ordering::SeqCst);
        while self.senders.iter().any(|sender| !sender.is_finished()) {
            thread::sleep(LOOK_AGAIN);
        }
        self.settle();
        let forwarded = passed().forwarded - self.before.forwarded;
        until("packets arrive", || {
            passed().arrived - self.before.arrived >= forwarded
        });
        self.shared.receiver_ends.store(true, Ordering::SeqCst);

        let mut sent: Vec<Counts> = self
            .senders
            .into_iter()
            .map(|sender| sender.join().expect("a sender"))
            .collect();
        let mut all = sent.pop().expect("two families");
        for (into, other) in all
            .iter_mut()
            .flatten()
            .zip(sent.into_iter().flatten().flatten())
        {
            *into += other;
        }
        let (received, without_room) = self.receiver.join().expect("the receiver");
        Went {
            sent: all,
            received,
            drops: drops() - self.drops + without_room,
        }
    }
}

/// Sends until the end; `family` is 0 for IPv4, 1 for IPv6.
fn send(pairs: &[Pair], family: usize, mut sent: Counts, shared: &Shared) -> Counts {
    enter(SENDERS).expect("entered");
    let ours: Vec<(usize, Pair)> = pairs
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, pair)| usize::from(pair.from.is_ipv6()) == family)
        .collect();
    let sockets: BTreeMap<IpAddr, Socket> = ours
        .iter()
        .map(|(_, pair)| (pair.from, raw(pair.from)))
        .collect();
    let mut port = 1024_u16;
    let mut next = Instant::now();
    let mut in_burst = 0;

    while !shared.senders_end.load(Ordering::SeqCst) {
        let read = shared.read[family].load(Ordering::SeqCst);
        if shared.rounds[family].load(Ordering::SeqCst) > read + AHEAD {
            thread::sleep(LOOK_AGAIN);
            continue;
        }
        port = port.checked_add(1).unwrap_or(1024);
        for (at, pair) in &ours {
            let tag = shared.apply.load(Ordering::SeqCst);
            let datagram = datagram(pair, port, [*at, tag]);
            let to = SocketAddr::new(pair.to, 0).into();
            sockets[&pair.from]
                .send_to(&datagram, &to)
                .unwrap_or_else(|error| panic!("{pair:?}: {error}"));
            sent[*at][tag] += 1;
            shared.sent[family].fetch_add(1, Ordering::SeqCst);
            in_burst += 1;
            if in_burst == BURST {
                in_burst = 0;
                next = (next + PACE).max(Instant::now());
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
        shared.rounds[family].fetch_add(1, Ordering::SeqCst);
    }

    sent
}

fn raw(from: IpAddr) -> Socket {
    let address = SocketAddr::new(from, 0);
    let socket = Socket::new(Domain::for_address(address), Type::RAW, Some(Protocol::UDP))
        .expect("a raw socket");
    socket.set_send_buffer_size(UNDER_WAY).expect("a buffer");
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
        &u32::try_from(numbers[1])
            .expect("few applies")
            .to_be_bytes(),
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
    let all = [
        octets(pair.from),
        octets(pair.to),
        vec![0, 17, 0, 16],
        datagram.to_vec(),
    ]
    .concat();

    let mut sum: u32 = all
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }

    let sum = !u16::try_from(sum).expect("folded");
    if sum == 0 { 0xffff } else { sum }
}

fn sockets(pairs: &[Pair]) -> Vec<Socket> {
    enter(RECEIVERS).expect("entered");
    let places: std::collections::BTreeSet<SocketAddr> = pairs
        .iter()
        .map(|pair| SocketAddr::new(pair.to, pair.port))
        .collect();

    let open = |place: SocketAddr| {
        let socket = Socket::new(
            Domain::for_address(place),
            Type::DGRAM.nonblocking(),
            Some(Protocol::UDP),
        )
        .expect("a socket");
        socket.set_recv_buffer_size(BUFFER).expect("a buffer");
        socket
            .bind(&place.into())
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        socket
    };
    places.into_iter().map(open).collect()
}

fn receive(sockets: &[Socket], mut received: Counts, shared: &Shared) -> (Counts, u64) {
    let mut bytes = [0_u8; 16];

    loop {
        // what arrived before the end is read after it was seen
        let ends = shared.receiver_ends.load(Ordering::SeqCst);
        let rounds = shared
            .rounds
            .each_ref()
            .map(|count| count.load(Ordering::SeqCst));
        for mut socket in sockets {
            while let Ok(8) = std::io::Read::read(&mut socket, &mut bytes) {
                received[number(&bytes, 0)][number(&bytes, 4)] += 1;
            }
        }
        for (read, round) in shared.read.iter().zip(rounds) {
            read.store(round, Ordering::SeqCst);
        }
        if ends {
            return (received, socket_drops("udp") + socket_drops("udp6"));
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// The number in the four bytes from `at`.
fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

/// Returns how far packets came up to now.
fn passed() -> Passed {
    let arrived = thread::spawn(|| {
        enter(RECEIVERS).expect("entered");
        received().iter().sum()
    });
    let forwarded = counters_of("cali1").expect("the receivers' interface")[9];
    Passed {
        received: received(),
        forwarded,
        arrived: arrived.join().expect("numbers"),
    }
}

/// Packets that this namespace's kernel took from interfaces, by family.
fn received() -> [u64; 2] {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).expect("counters")
    };
    let number = |word: &str| word.parse().expect("a number");
    let (v4, v6) = (read("snmp"), read("snmp6"));

    // a line of names, and one of numbers
    let mut lines = v4
        .lines()
        .filter_map(|line| line.strip_prefix("Ip: "))
        .map(str::split_whitespace);
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let v4 = names
        .zip(numbers)
        .find(|(name, _)| *name == "InReceives")
        .expect("a counter")
        .1;
    let v6 = v6
        .lines()
        .find_map(|line| line.strip_prefix("Ip6InReceives"))
        .expect("a counter")
        .trim();
    [number(v4), number(v6)]
}

/// Packets that the interfaces of all three namespaces had no room for.
fn drops() -> u64 {
    let of = |namespace: Option<&'static str>| {
        thread::spawn(move || {
            namespace
                .into_iter()
                .for_each(|namespace| enter(namespace).expect("entered"));
            interfaces()
        })
    };

    [None, Some(SENDERS), Some(RECEIVERS)]
        .map(of)
        .into_iter()
        .map(|drops| drops.join().expect("numbers"))
        .sum()
}

/// Drops of the `eth` and `cali` interfaces, received and sent.
fn interfaces() -> u64 {
    let names = ["eth0", "cali0", "cali1"];
    names
        .into_iter()
        .filter_map(counters_of)
        .map(|numbers| numbers[3] + numbers[11])
        .sum()
}

/// Counters of an interface of this namespace: bytes, packets, errors, drops and others, first
/// those that were received, then eight that were sent.
fn counters_of(interface: &str) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").expect("/proc/net/dev");
    let of = |line: &str| {
        line.split_once(':')
            .filter(|(name, _)| name.trim() == interface)
            .map(|(_, numbers)| numbers.to_owned())
    };
    let numbers = text.lines().find_map(of)?;

    Some(
        numbers
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect(),
    )
}

fn socket_drops(protocol: &str) -> u64 {
    let text =
        std::fs::read_to_string(format!("/proc/thread-self/net/{protocol}")).expect("sockets");
    text.lines()
        .skip(1)
        .map(|line| {
            line.split_whitespace()
                .last()
                .and_then(|word| word.parse::<u64>().ok())
                .expect("drops")
        })
        .sum()
}
