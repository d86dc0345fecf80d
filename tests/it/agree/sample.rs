//! A few random worlds in real kernels, on both builds of iptables: what gets through is what the
//! evaluator of `docs/semantics.md` lets through, node after node, there and back.

use std::net::IpAddr;

use palisade::diagnostic::Diagnostics;
use palisade::policy::StagedPolicies;
use palisade::resolve;

use super::meaning::Cluster as Meaning;
use super::packet::{Hook, Packet, RouteBack, State, Verdict};
use super::random::{self, Dice, PORTS};
use super::world::{Policy, Stage, World};
use super::{STRIDE, manifests, node_names, options, read, scripts};
use crate::kernel::{self, Build, Cluster, Host, Node, Probe, Question, Scripts};

const SEEDS: [u64; 3] = [3, 2_027, 0x0ca1_1c0d];
const QUESTIONS: u16 = 400;

/// Hosts outside of the cluster, one of each family and one in the nodes' neighbourhood.
const OUTSIDE: [(&str, [&str; 2]); 2] = [
    ("far", ["198.51.100.7", "2001:db8::7"]),
    ("near", ["203.0.113.200", "2001:db8:9000::1"]),
];

/// Source ports of the questions begin here, each with its own, so that none is the reply of
/// another.
const FIRST_PORT: u16 = 20_000;

#[test]
fn kernels_do_what_policies_say() {
    for seed in SEEDS {
        let Asked {
            seed,
            world,
            plan,
            questions,
        } = (0..)
            .find_map(|step| balanced(seed.wrapping_add(step * STRIDE)))
            .expect("a world");
        for build in [Build::Legacy, Build::Nft] {
            let outcome =
                std::panic::catch_unwind(|| kernel::check(&plan.cluster, build, &questions));
            assert!(
                outcome.is_ok(),
                "seed {seed}, the table above; its manifests:\n{}",
                manifests::yaml(&world)
            );
        }
    }
}

/// What is asked of a world.
struct Asked {
    seed: u64,
    world: World,
    plan: Plan,
    questions: Vec<(Question, bool)>,
}

/// The world of a seed with its questions, if it has host endpoints, and at least a fifth of them
/// is allowed and a fifth denied.
fn balanced(seed: u64) -> Option<Asked> {
    let mut dice = Dice(seed);
    let world = tracked(random::world(&mut dice));
    let plan = Plan::of(&world);
    let meaning = Meaning::of(&world);
    let questions: Vec<(Question, bool)> = (0..QUESTIONS)
        .filter_map(|index| plan.question(index, &mut dice, &meaning))
        .collect();
    let allowed = questions.iter().filter(|(_, allowed)| *allowed).count();

    let least = questions.len() / 5;
    (!world.hosts.is_empty() && allowed > least && questions.len() - allowed > least).then_some(
        Asked {
            seed,
            world,
            plan,
            questions,
        },
    )
}

/// The world without untracked policy: an answer to what is not tracked begins a conversation of
/// its own.
fn tracked(mut world: World) -> World {
    world.policies.retain(
        |policy| !matches!(policy, Policy::Calico(policy) if policy.stage == Stage::Untracked),
    );
    world
}

/// A world to build, and where everyone is.
struct Plan {
    cluster: Cluster,
    places: Vec<(Host, Place)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Pod(usize),
    Node(usize),
    Outside,
}

impl Plan {
    fn of(world: &World) -> Self {
        let mut places = Vec::new();
        for pod in &world.pods {
            let host = Host {
                name: pod.name.clone(),
                addresses: pod.addresses.clone(),
            };
            places.push((host, pod.node.map_or(Place::Outside, Place::Pod)));
        }

        for node in 0..world.nodes.len() {
            // in the node's pod ranges, where it has any, and no endpoint
            let texts = [
                format!("10.1.{}.200", node + 1),
                format!("fd00:{}::200", node + 1),
            ];
            let host = Host {
                name: format!("stranger-{node}"),
                addresses: texts.iter().map(|text| address(text)).collect(),
            };
            places.push((host, Place::Pod(node)));
            let addresses = [true, false]
                .map(|v4| random::own_address(node, v4))
                .to_vec();
            places.push((
                Host {
                    name: format!("node-{node}"),
                    addresses,
                },
                Place::Node(node),
            ));
        }

        places.extend(OUTSIDE.map(|(name, texts)| {
            (
                Host {
                    name: name.to_owned(),
                    addresses: texts.map(address).to_vec(),
                },
                Place::Outside,
            )
        }));

        Self {
            cluster: cluster(world, &places),
            places,
        }
    }

    /// A place, and the node's end of the link to who is there.
    fn settled(&self, host: &Host, place: Place) -> (Place, &'static str) {
        let mut there = self
            .places
            .iter()
            .filter(|(_, other)| *other == place && matches!(place, Place::Pod(_)));
        let link = there
            .position(|(other, _)| other.name == host.name)
            .and_then(|index| LINKS.get(index).copied());
        (place, link.unwrap_or_default())
    }

    /// A random question and its answer; none where the two ends have no family in common or are
    /// one.
    fn question(
        &self,
        index: u16,
        dice: &mut Dice,
        meaning: &Meaning<'_>,
    ) -> Option<(Question, bool)> {
        let ((from, here), (host, there)) = (dice.pick(&self.places), dice.pick(&self.places));
        let to = dice.pick(&host.addresses);
        let source = *from
            .addresses
            .iter()
            .find(|address| address.is_ipv4() == to.is_ipv4())?;
        let port = dice.pick(&PORTS);
        let probe = dice.pick(&[
            Probe::Tcp(port),
            Probe::Tcp(port),
            Probe::Udp(port),
            Probe::Udp(port),
            Probe::Icmp,
        ]);
        let source_port = (probe != Probe::Icmp).then_some(FIRST_PORT + index);

        if from.name == host.name {
            return None;
        }

        let packet = |hop: &Hop, state: State| packet(hop, state, source, to, probe, source_port);
        let passes = |packet: &Packet| meaning.verdict(packet).0 != Verdict::Drop;
        let (here, there) = (self.settled(&from, here), self.settled(&host, there));
        let there_and_back = way(here.0, here.1, there.0, there.1)
            .iter()
            .all(|hop| passes(&packet(hop, State::New)))
            && way(there.0, there.1, here.0, here.1)
                .iter()
                .all(|hop| passes(&reply(&packet(hop, State::Established))));

        Some((
            Question {
                from: from.name,
                to,
                probe,
                source_port,
            },
            there_and_back,
        ))
    }
}

/// As the stock tools load them: tables of a family behind each other.
fn loaded(scripts: palisade::render::NodeScripts) -> Scripts {
    let early = |family: &str| {
        scripts
            .early
            .iter()
            .filter(|(file, _)| file.contains(family))
            .map(|(_, text)| text.as_str())
            .collect::<String>()
    };
    let (v4, v6) = (early("v4"), early("v6"));

    Scripts {
        sets: scripts.sets,
        v4: scripts.filter_v4 + &v4,
        v6: scripts.filter_v6 + &v6,
    }
}

/// A packet on a node: where, and between which interfaces.
struct Hop {
    node: usize,
    hook: Hook,
    arrives: &'static str,
    leaves: &'static str,
}

/// The node's end of the links to its pods.
const LINKS: [&str; 24] = [
    "cali0", "cali1", "cali2", "cali3", "cali4", "cali5", "cali6", "cali7", "cali8", "cali9",
    "cali10", "cali11", "cali12", "cali13", "cali14", "cali15", "cali16", "cali17", "cali18",
    "cali19", "cali20", "cali21", "cali22", "cali23",
];

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn cluster(world: &World, places: &[(Host, Place)]) -> Cluster {
    let input =
        read(manifests::yaml(world), StagedPolicies::Proposed).expect("palisade takes this");
    let resolved = resolve::selectors(
        &input.policies,
        &input.inventory,
        &mut Diagnostics::default(),
    );
    let scripts =
        scripts(&resolved, &node_names(world), &options(world)).expect("palisade compiles this");
    let at = |place: Place| {
        places
            .iter()
            .filter(move |(_, there)| *there == place)
            .map(|(host, _)| host.clone())
    };
    let nodes = world
        .nodes
        .iter()
        .enumerate()
        .zip(scripts)
        .map(|((index, node), scripts)| Node {
            name: node.name.clone(),
            addresses: at(Place::Node(index))
                .flat_map(|host| host.addresses)
                .collect(),
            pods: at(Place::Pod(index)).collect(),
            scripts: loaded(scripts),
        });

    Cluster {
        nodes: nodes.collect(),
        outside: at(Place::Outside).collect(),
    }
}

/// The nodes that see a packet.
fn way(from: Place, from_link: &'static str, to: Place, to_link: &'static str) -> Vec<Hop> {
    let forward = |node, arrives, leaves| Hop {
        node,
        hook: Hook::Forward,
        arrives,
        leaves,
    };
    let input = |node, arrives| Hop {
        node,
        hook: Hook::Input,
        arrives,
        leaves: "",
    };
    let output = |node, leaves| Hop {
        node,
        hook: Hook::Output,
        arrives: "",
        leaves,
    };

    match (from, to) {
        (Place::Pod(here), Place::Node(there)) if here == there => {
            return vec![input(here, from_link)];
        }
        (Place::Node(here), Place::Pod(there)) if here == there => {
            return vec![output(here, to_link)];
        }
        (Place::Pod(here), Place::Pod(there)) if here == there => {
            return vec![forward(here, from_link, to_link)];
        }
        _ => {}
    }

    let leaves = match from {
        Place::Pod(here) => Some(forward(here, from_link, "eth0")),
        Place::Node(here) => Some(output(here, "eth0")),
        Place::Outside => None,
    };

    let enters = match to {
        Place::Pod(there) => Some(forward(there, "eth0", to_link)),
        Place::Node(there) => Some(input(there, "eth0")),
        Place::Outside => None,
    };
    leaves.into_iter().chain(enters).collect()
}

fn packet(
    hop: &Hop,
    state: State,
    source: IpAddr,
    destination: IpAddr,
    probe: Probe,
    source_port: Option<u16>,
) -> Packet {
    let echo = if source.is_ipv4() { (1, 8) } else { (58, 128) };
    let (protocol, port) = match probe {
        Probe::Tcp(port) => (6, Some(port)),
        Probe::Udp(port) => (17, Some(port)),
        Probe::Icmp => (echo.0, None),
    };
    let icmp = (probe == Probe::Icmp).then_some((echo.1, 0));
    let Hop {
        node,
        hook,
        arrives,
        leaves,
    } = *hop;
    let ports = source_port.zip(port);

    Packet {
        node,
        hook,
        arrives,
        leaves,
        source,
        destination,
        original: None,
        protocol,
        ports,
        icmp,
        state,
        route_back: RouteBack::Same,
    }
}

/// The answer to a packet, as the same node sees it.
fn reply(packet: &Packet) -> Packet {
    let icmp = packet
        .icmp
        .map(|(kind, code)| (if kind == 8 { 0 } else { kind + 1 }, code));
    let ports = packet
        .ports
        .map(|(source, destination)| (destination, source));

    Packet {
        source: packet.destination,
        destination: packet.source,
        ports,
        icmp,
        ..packet.clone()
    }
}
