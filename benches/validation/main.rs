//! What source validation costs established traffic: a TCP stream and datagrams through a node that
//! forwards, with it and without.
//!
//! Two nodes, alike but for their raw tables, each forward from a pod of its own to another one. A
//! round sends as much over one known connection through each, in turn, from one thread. That
//! thread does nearly all the work of forwarding, so its processor time is the cost, however busy
//! the machine is.
#![expect(
    clippy::disallowed_methods,
    reason = "benches start programs and read files"
)]

#[path = "../../tests/tools/mod.rs"]
mod tools;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use clap::Parser;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::{ClockId, clock_gettime};

/// Measure what source validation costs established traffic
#[derive(Parser)]
struct Arguments {
    /// Rounds: each sends over both nodes
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Datagrams of a round, over each node
    #[arg(long, default_value_t = 40_000)]
    datagrams: usize,
    /// Megabytes of a round by TCP, over each node
    #[arg(long, default_value_t = 64)]
    megabytes: usize,
    /// Bytes of a datagram
    #[arg(long, default_value_t = 1_400)]
    bytes: usize,
    /// Nodes of the cluster, each with a pod range
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    /// Measure here, in namespaces of our own
    #[arg(long, hide = true)]
    inside: bool,
}

/// The pods on each node: who sends, and who receives.
const PODS: [(&str, &str, &str); 2] = [
    ("a", "10.1.0.2", "fd00:1::2"),
    ("b", "10.1.0.3", "fd00:1::3"),
];

/// `/run` of our own has the namespaces and the lock of iptables.
const PREPARE: &str = r#"mount -t tmpfs tmpfs /run && mkdir /run/netns && exec "$@""#;

/// The port of both ends.
const PORT: u16 = 5000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.inside {
        measure(&arguments)
    } else {
        start()
    };

    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this program again, in namespaces of its own.
fn start() -> io::Result<()> {
    let mut command = tools::command("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "sh",
        "-c",
        PREPARE,
        "sh",
    ]);
    command
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--inside");

    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("inside: {status}")))
    }
}

fn measure(arguments: &Arguments) -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let input = home.path().join("cluster.yaml");
    fs::write(&input, cluster(arguments.nodes))?;
    for mode in ["strict", "off"] {
        let mut command = tools::command(env!("CARGO_BIN_EXE_palisade"));
        command.args([
            "render",
            "--node",
            "n1",
            "--source-validation",
            mode,
            "--out",
        ]);
        command
            .arg(home.path().join(mode))
            .arg(&input)
            .stderr(Stdio::null());
        ensure(command.status()?.success(), "render")?;
    }

    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| build | family | traffic | with | without | ratio |\n|---|---|---|---:|---:|---:|"
    )?;
    for (number, build) in ["legacy", "nft"].into_iter().enumerate() {
        for mode in ["strict", "off"] {
            build_node(&format!("{mode}{number}"), build, &home.path().join(mode))?;
        }
        for family in ["IPv4", "IPv6"] {
            let node = |mode: &str| format!("{mode}{number}");
            let is_v6 = family == "IPv6";
            // connections differ by the sizes that the kernel happens to send in, so each round has
            // its own
            let send = |mode: &str| Stream::open(&node(mode), is_v6)?.send(arguments);
            let [with, without, ratio] =
                compare(arguments.rounds, || send("strict"), || send("off"))?;
            writeln!(
                out,
                "| {build} | {family} | TCP, ns/kB | {with:.0} | {without:.0} | {ratio:.3} |"
            )?;

            let [one, other] = [
                Datagrams::open(&node("strict"), is_v6)?,
                Datagrams::open(&node("off"), is_v6)?,
            ];
            let [with, without, ratio] = compare(
                arguments.rounds,
                || one.send(arguments),
                || other.send(arguments),
            )?;
            writeln!(
                out,
                "| {build} | {family} | UDP, ns each | {with:.0} | {without:.0} | {ratio:.3} |"
            )?;
        }
    }
    Ok(())
}

/// The cost with validation and without, and their ratio: medians over all rounds.
fn compare(
    rounds: usize,
    mut with: impl FnMut() -> io::Result<f64>,
    mut without: impl FnMut() -> io::Result<f64>,
) -> io::Result<[f64; 3]> {
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=rounds {
        // each goes first as often as the other
        let (with, without) = if round % 2 == 0 {
            let with = with()?;
            (with, without()?)
        } else {
            let without = without()?;
            (with()?, without)
        };
        // the first round warms up
        if round > 0 {
            let rows = costs.iter_mut().zip([with, without, with / without]);
            rows.for_each(|(list, cost)| list.push(cost));
        }
    }

    Ok(costs.map(median))
}

fn median(mut list: Vec<f64>) -> f64 {
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or_default()
}

/// The addresses of the two pods of a node.
fn ends(is_v6: bool) -> io::Result<[SocketAddr; 2]> {
    let end = |(_, v4, v6): (&str, &str, &str)| -> io::Result<SocketAddr> {
        let address: IpAddr = if is_v6 { v6 } else { v4 }
            .parse()
            .map_err(io::Error::other)?;
        Ok(SocketAddr::new(address, PORT))
    };
    let [one, other] = PODS;
    Ok([end(one)?, end(other)?])
}

/// A TCP connection between the two pods of a node.
struct Stream {
    sender: TcpStream,
    receiver: TcpStream,
}

impl Stream {
    fn open(node: &str, is_v6: bool) -> io::Result<Self> {
        let [_, to] = ends(is_v6)?;
        enter(&format!("{node}b"))?;
        let listener = TcpListener::bind(to)?;
        enter(&format!("{node}a"))?;
        let sender = TcpStream::connect(to)?;
        let (receiver, _) = listener.accept()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver })
    }

    /// Sends and receives; nanoseconds of this thread's processor time for each kilobyte.
    fn send(&mut self, arguments: &Arguments) -> io::Result<f64> {
        let most = arguments.megabytes << 20;
        let (mut sent, mut received) = (0, 0);
        let mut bytes = vec![0; 1 << 18];

        let before = busy();
        while received < most {
            let out = match sent < most {
                true => ready(self.sender.write(&bytes))?,
                false => 0,
            };
            let got = ready(self.receiver.read(&mut bytes))?;
            (sent, received) = (sent + out, received + got);
            if out + got == 0 {
                thread::sleep(Duration::from_micros(20));
            }
        }
        let cost = (busy() - before).as_secs_f64() * 1e9;
        // what was sent beyond the limit belongs to no round
        while received < sent {
            received += ready(self.receiver.read(&mut bytes))?;
        }
        let kilobytes = u32::try_from(most >> 10).map_err(io::Error::other)?;
        Ok(cost / f64::from(kilobytes))
    }
}

/// How many bytes went; none where there is nothing to do now.
fn ready(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}

/// A known connection of datagrams between the two pods of a node.
struct Datagrams {
    sender: UdpSocket,
    /// It is never read: what comes when it is full has been forwarded.
    _receiver: UdpSocket,
}

impl Datagrams {
    fn open(node: &str, is_v6: bool) -> io::Result<Self> {
        let [from, to] = ends(is_v6)?;
        enter(&format!("{node}a"))?;
        let sender = UdpSocket::bind(from)?;
        enter(&format!("{node}b"))?;
        let receiver = UdpSocket::bind(to)?;
        sender.connect(to)?;

        // an answer makes the connection a known one
        let mut bytes = [0; 8];
        sender.set_read_timeout(Some(Duration::from_secs(5)))?;
        receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
        sender.send(b"request")?;
        receiver.recv(&mut bytes)?;
        receiver.send_to(b"answer", from)?;
        sender.recv(&mut bytes)?;
        Ok(Self {
            sender,
            _receiver: receiver,
        })
    }

    /// Sends; nanoseconds of this thread's processor time for each datagram.
    fn send(&self, arguments: &Arguments) -> io::Result<f64> {
        let bytes = vec![0; arguments.bytes];
        let before = busy();
        for _ in 0..arguments.datagrams {
            self.sender.send(&bytes)?;
        }
        let count = u32::try_from(arguments.datagrams).map_err(io::Error::other)?;
        Ok((busy() - before).as_secs_f64() * 1e9 / f64::from(count))
    }
}

fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// A node with its two pods, and the scripts of `n1`.
fn build_node(name: &str, build: &str, bundle: &Path) -> io::Result<()> {
    let spaces = ["", "a", "b"].map(|end| format!("netns add {name}{end}\n"));
    ip(&spaces.concat())?;
    enter(name)?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;

    ip("link set lo up\n")?;
    for (pod, v4, v6) in PODS {
        ip(&format!(
            "link add cali{pod} type veth peer name eth0 netns {name}{pod}\nlink set cali{pod} \
             up\naddr add 169.254.1.1/32 dev cali{pod}\naddr add fe80::1/64 dev cali{pod} \
             nodad\nroute add {v4}/32 dev cali{pod}\nroute add {v6}/128 dev cali{pod}\n"
        ))?;
    }
    for (pod, v4, v6) in PODS {
        enter(&format!("{name}{pod}"))?;
        ip(&format!(
            "link set lo up\nlink set eth0 up\naddr add {v4}/32 dev eth0\naddr add {v6}/128 dev \
             eth0 nodad\nroute add default via 169.254.1.1 dev eth0 onlink\nroute add default via \
             fe80::1 dev eth0\n"
        ))?;
    }

    enter(name)?;
    let scripts = bundle.join("nodes/n1");
    load("ipset", &["restore"], &scripts.join("sets.ipset"))?;
    for (tool, family) in [("iptables", "v4"), ("ip6tables", "v6")] {
        for table in ["raw", "filter"] {
            let script = scripts.join(format!("{table}.{family}.rules"));
            if script.exists() {
                load(&format!("{tool}-{build}-restore"), &["--noflush"], &script)?;
            }
        }
    }
    Ok(())
}

fn load(tool: &str, arguments: &[&str], script: &Path) -> io::Result<()> {
    let status = tools::command(tool)
        .args(arguments)
        .stdin(File::open(script)?)
        .status()?;
    ensure(status.success(), tool)
}

/// Runs lines of `ip -batch` where this thread is.
fn ip(lines: &str) -> io::Result<()> {
    let mut child = tools::command("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    ensure(child.wait()?.success(), lines)
}

/// Moves this thread into a namespace.
fn enter(namespace: &str) -> io::Result<()> {
    let file = File::open(format!("/run/netns/{namespace}"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(io::Error::from)
}

fn ensure(holds: bool, what: &str) -> io::Result<()> {
    if holds {
        Ok(())
    } else {
        Err(io::Error::other(format!("`{what}` failed")))
    }
}

/// Nodes with a pod range each, of which every second one is missing, so that they do not merge;
/// the pods of `n1`; and a policy for them.
fn cluster(nodes: usize) -> String {
    let mut text = String::new();
    for number in 1..=nodes {
        let (high, low) = (1 + number * 2 / 256, number * 2 % 256);
        let ranges = if number == 1 {
            "10.1.0.0/24, 'fd00:1::/64'".to_owned()
        } else {
            format!("10.{high}.{low}.0/24, 'fd00:{:x}::/64'", number * 2)
        };
        text.push_str(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: n{number}}}\nspec: {{podCIDRs: \
             [{ranges}]}}\n---\n"
        ));
    }

    for (pod, v4, v6) in PODS {
        text.push_str(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: shop, labels: {{app: \
             {pod}}}}}\nspec: {{nodeName: n1}}\nstatus: {{podIPs: [{{ip: {v4}}}, {{ip: \
             '{v6}'}}]}}\n---\n"
        ));
    }

    text.push_str(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: b, namespace: \
         shop}\nspec: {selector: app == 'b', ingress: [{action: Allow, source: {selector: app == \
         'a'}}]}\n",
    );
    text
}
