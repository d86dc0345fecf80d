//! Connections that policy denies now: ended, and only those. With real packets, between two pods
//! of a node.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::apply::world::World;
use crate::kernel::topology::Topology;
use crate::kernel::{Cluster, Host, Node, Scripts, tools};
use crate::palisade::{HANG, root};

/// The ports of the server; policy allows both at first, and only the first then.
const PORTS: [u16; 2] = [8080, 8081];
const SERVER: [&str; 2] = ["10.0.0.1", "fd00::1"];
const CLIENT: [&str; 2] = ["10.0.0.2", "fd00::2"];

const POLICY: &str = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: from-api, namespace: \
     shop}\nspec:\n  selector: app == \"db\"\n  ingress:\n    - action: Allow\n      protocol: \
     TCP\n      source: {selector: app == \"api\"}\n      destination: {ports: [PORTS]}\n";

/// An open connection, by both of its ends.
struct Open {
    port: u16,
    family: &'static str,
    client: TcpStream,
    server: TcpStream,
    entry: String,
}

impl Open {
    /// Returns whether what one end sends gets to the other one, which is waited for if it is
    /// expected; `false` means that nothing came for a while.
    fn passes(&mut self, is_expected: bool) -> bool {
        self.client.write_all(b"on").unwrap();
        let patience = if is_expected {
            HANG
        } else {
            Duration::from_millis(400)
        };

        self.server.set_read_timeout(Some(patience)).unwrap();
        match self.server.read(&mut [0; 8]) {
            Ok(length) => length > 0,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                false
            }
            Err(error) => panic!("{}, port {}: {error}", self.family, self.port),
        }
    }
}

pub(super) fn denied_connections_are_ended_and_no_others(world: &World) {
    let topology = cluster();
    let server = Server::start(&topology);
    tools::enter(topology.namespace_of("n1")).unwrap();
    let [both, one] =
        [("both", "8080, 8081"), ("one", "8080")].map(|(name, ports)| write(name, ports));
    let inventory = root()
        .join("golden/dual-stack/inventory.yaml")
        .display()
        .to_string();
    let bundles = [&both, &one].map(|policy| {
        let place = format!("{policy}.bundle");
        let outcome =
            crate::palisade::run(&root(), &["render", &inventory, policy, "--out", &place]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        place
    });
    let apply = |words: &[&str]| {
        let (status, said) = world.palisade(words);
        assert_eq!(status, 0, "{said}");
        said
    };
    apply(&["apply", &bundles[0]]);
    fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", "0").unwrap();

    // by `apply`: without the option they go on, and with it they are ended also where policy held
    // already
    let mut open = server.open(world, &topology, 40_000);
    apply(&["apply", &bundles[1]]);
    assert!(open.iter_mut().all(|open| open.passes(true)));
    let said = apply(&["--format", "json", "apply", &bundles[1], "--cut-denied"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let expected = serde_json::json!({"known": 4, "ended": 2, "notUnderstood": 0});
    assert_eq!(
        (&said["connections"], &said["inSync"]),
        (&expected, &true.into())
    );
    judge(world, &mut open);

    // by `reconcile`, from a bundle and from policies
    let rounds = [
        (&[bundles[1].as_str()][..], 40_001),
        (&["--node", "n1", "--policies", &inventory, &one], 40_002),
    ];
    for (words, from) in rounds {
        apply(&["apply", &bundles[0]]);
        drop(open);
        open = server.open(world, &topology, from);
        let said = apply(&[&["reconcile", "--once", "--cut-denied"], words].concat());
        assert!(
            said.contains("known connections: ") && said.contains(" now, and w"),
            "{said}"
        );
        judge(world, &mut open);
    }
    // where nothing is denied nothing is ended
    let said = apply(&["apply", &bundles[1], "--cut-denied"]);
    assert!(said.contains("; none is denied now"), "{said}");
    for open in &mut open {
        let is_allowed = open.port == PORTS[0];
        assert_eq!(open.passes(is_allowed), is_allowed);
    }
}

/// Fails unless those that policy denies are gone, and the others are the same as before.
fn judge(world: &World, open: &mut [Open]) {
    for open in open {
        let is_allowed = open.port == PORTS[0];
        let about = format!("{}, port {}", open.family, open.port);
        assert_eq!(
            entry(world, &open.client),
            if is_allowed {
                open.entry.clone()
            } else {
                String::new()
            },
            "{about}"
        );
        assert_eq!(open.passes(is_allowed), is_allowed, "{about}");
    }
}

/// The identifier of a connection's entry in the kernel's table; empty where there is none. It is
/// looked up by all four of its ends: others may have the same port.
fn entry(world: &World, client: &TcpStream) -> String {
    let (from, to) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let [from_port, to_port] = [from, to].map(|end| end.port().to_string());
    let ends = [
        "-s",
        &from.ip().to_string(),
        "-d",
        &to.ip().to_string(),
        "--sport",
        &from_port,
        "--dport",
        &to_port,
    ];

    let words = [&["-G", "-o", "id", "-p", "tcp"], &ends[..]].concat();
    match world.try_tool("conntrack", &words, "") {
        (true, listed) => listed
            .split_whitespace()
            .find(|word| word.starts_with("id="))
            .expect("an identifier")
            .to_owned(),
        (false, said) if said.contains("such conntrack doesn't exist") => String::new(),
        (false, said) => panic!("{words:?}: {said}"),
    }
}

/// The policy, with these ports.
pub(super) fn write(name: &str, ports: &str) -> String {
    let path = format!("/run/{name}.yaml");
    fs::write(&path, POLICY.replace("PORTS", ports)).unwrap();
    path
}

/// One node with two pods, whose kernel holds nothing yet.
fn cluster() -> Topology {
    let parse = |addresses: &[&str]| {
        addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect()
    };
    let pod = |name: &str, addresses: &[&str]| Host {
        name: name.to_owned(),
        addresses: parse(addresses),
    };
    let node = Node {
        name: "n1".to_owned(),
        addresses: parse(&["192.0.2.1", "2001:db8::1"]),
        pods: vec![pod("db", &SERVER), pod("api", &CLIENT)],
        scripts: Scripts {
            sets: String::new(),
            v4: String::new(),
            v6: String::new(),
        },
    };

    fs::create_dir("/run/netns").unwrap();
    let topology = Topology::of(&Cluster {
        nodes: vec![node],
        outside: Vec::new(),
    });
    topology.build().unwrap();

    topology
}

/// What listens in the server's pod, with the family and the port of each.
struct Server {
    listeners: Vec<(&'static str, TcpListener)>,
}

impl Server {
    fn start(topology: &Topology) -> Self {
        tools::enter(topology.namespace_of("db")).unwrap();
        let pairs = ["ipv4", "ipv6"]
            .into_iter()
            .zip(SERVER)
            .flat_map(|pair| PORTS.map(|port| (pair, port)));
        let listen = |((family, address), port): ((&'static str, &str), u16)| {
            let address: IpAddr = address.parse().unwrap();
            (
                family,
                TcpListener::bind(SocketAddr::new(address, port)).unwrap(),
            )
        };

        Self {
            listeners: pairs.map(listen).collect(),
        }
    }

    /// A connection from the client to each, all from one port: only all four ends tell them apart.
    /// Back in the node afterwards.
    fn open(&self, world: &World, topology: &Topology, from: u16) -> Vec<Open> {
        tools::enter(topology.namespace_of("api")).unwrap();
        let pairs: Vec<(TcpStream, TcpStream)> = self
            .listeners
            .iter()
            .map(|(_, listener)| pair(listener, from))
            .collect();

        tools::enter(topology.namespace_of("n1")).unwrap();
        let known = |((family, listener), (client, server)): (
            &(&'static str, TcpListener),
            (TcpStream, TcpStream),
        )| {
            let entry = entry(world, &client);
            assert!(!entry.is_empty());
            let mut open = Open {
                port: listener.local_addr().unwrap().port(),
                family,
                client,
                server,
                entry,
            };
            assert!(open.passes(true));
            open
        };
        self.listeners.iter().zip(pairs).map(known).collect()
    }
}

fn pair(listener: &TcpListener, from: u16) -> (TcpStream, TcpStream) {
    let server = listener.local_addr().unwrap();
    let client = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
    client.set_reuse_address(true).unwrap();
    let address: IpAddr = CLIENT[usize::from(server.is_ipv6())].parse().unwrap();
    client.bind(&SocketAddr::new(address, from).into()).unwrap();
    client.connect_timeout(&server.into(), HANG).unwrap();
    (client.into(), listener.accept().unwrap().0)
}
