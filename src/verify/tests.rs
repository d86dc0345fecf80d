//! Compares [`ExpectedVerdicts`], for sets of packets, with [`NodeSemantics::expect`], for single
//! packets, on random packets of all golden cases and their host endpoints.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read files, and the seed comes from the environment"
)]
#![expect(
    clippy::print_stdout,
    reason = "a test says its seed and what it counted"
)]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostics;
use crate::inventory::NodeId;
use crate::net::{Cidr, Direction, Protocol, Side, State};
use crate::netfilter::NodeKernel;
use crate::options::{
    CompileOptions, Encapsulated, EndpointToHost, FailsafePorts, SourceValidation, UnknownEndpoint,
};
use crate::packet::{
    Flow, Hook, IcmpMessage, Packet, PortPair, PreDnatDestination, ReversePath, Verdict,
};
use crate::packet_space::{
    EndpointClasses, HeaderClass, HeaderSetId, HeaderSpace, PartitionBuilder, ReachabilityMatrix,
    SideContext,
};
use crate::policy::StagedPolicies;
use crate::resolve;
use crate::ruleset::KernelContents;
use crate::semantics::evaluate::Evaluator;
use crate::semantics::node::NodeSemantics;
use crate::semantics::source_validation::SourceValidator;
use crate::source::SourceFiles;
use crate::verify::crossing::{Crossing, LocationRole, PolicyTraffic};
use crate::verify::expected::{self, ExpectedPortion, ExpectedVerdicts, VerdictSets};
use crate::verify::{NodeHostEndpoints, address_class};

/// The number of packets for each node and each choice of options.
const PACKETS: usize = 100;
const SEED: u64 = 20_261_122;

/// The `splitmix64` generator.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_of<'all, Thing>(&mut self, all: &'all [Thing]) -> &'all Thing {
        let number = usize::try_from(self.next() >> 1).unwrap() % all.len();
        all.get(number).unwrap()
    }

    fn within(&mut self, first: u16, last: u16) -> u16 {
        let inside = first + u16::try_from(self.next() % (u64::from(last - first) + 1)).unwrap();
        *self.one_of(&[first, last, inside])
    }
}

#[test]
fn a_set_is_owed_what_its_packets_are() {
    let seed = std::env::var("PALISADE_SEED").map_or(SEED, |seed| {
        seed.parse().expect("PALISADE_SEED is a number")
    });
    println!("PALISADE_SEED={seed}");

    let mut dice = Dice(seed);
    let mut seen = Seen::default();
    for case in cases() {
        let files = inputs(&case);
        let mut diagnostics = Diagnostics::default();
        let input = crate::read(&files, StagedPolicies::Proposed, &mut diagnostics);
        let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
        let evaluator = Evaluator::new(&resolved);
        for (node, _) in resolved.inventory.nodes_with_ids() {
            for options in choices() {
                let differing = compare(&evaluator, node, &options, &mut dice, &mut seen);
                assert!(
                    differing.is_none(),
                    "PALISADE_SEED={seed} {}: {}",
                    case.display(),
                    differing.unwrap_or_default()
                );
            }
        }
    }

    println!("{seen:?}");
    let few = [seen.accepted, seen.dropped, seen.undecided, seen.translated]
        .into_iter()
        .min();
    assert!(
        few.is_some_and(|few| few > 1_000) && seen.untracked > 5,
        "{seen:?}"
    );
}

#[derive(Debug, Default)]
struct Seen {
    accepted: usize,
    dropped: usize,
    undecided: usize,
    /// Of all packets: those that policy makes untracked, then those with another destination
    /// before DNAT.
    untracked: usize,
    translated: usize,
}

/// Returns the golden cases by name. Cases with host endpoints come several times because they have
/// more stages, and the case with untracked policy most often.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")).unwrap();
    let mut all: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("bundle").is_dir())
        .collect();
    all.sort_unstable();

    let times = |case: &Path| match (
        case.ends_with("host-untracked"),
        case.join("policies.yaml").is_file(),
    ) {
        (true, _) => 90,
        (false, true) => 4,
        (false, false) => 1,
    };

    let cases: Vec<PathBuf> = all
        .iter()
        .flat_map(|case| std::iter::repeat_n(case.clone(), times(case)))
        .collect();
    assert!(all.len() > 100 && cases.len() > all.len() + 50);
    cases
}

fn inputs(case: &Path) -> SourceFiles {
    let mut files = SourceFiles::default();
    for file in [
        "manifest.yaml",
        "policies.yaml",
        "inventory.yaml",
        "cluster.json",
    ] {
        if let Ok(text) = fs::read_to_string(case.join(file)) {
            files.add(file, text).unwrap();
        }
    }

    files
}

fn choices() -> [CompileOptions; 3] {
    let closed = CompileOptions {
        endpoint_to_host: EndpointToHost::Drop,
        unknown_endpoint: UnknownEndpoint::Accept,
        encapsulated: Encapsulated::Drop,
        failsafes: FailsafePorts {
            inbound: "22,udp:53,tcp:192.0.2.0/24:6443,tcp:[2001:db8::/32]:6443"
                .parse()
                .unwrap(),
            outbound: "udp:68,tcp:80".parse().unwrap(),
        },
        ..CompileOptions::default()
    };

    let loose = CompileOptions {
        source_validation: SourceValidation::Loose,
        pod_interfaces: vec!["cali+".parse().unwrap()],
        ..CompileOptions::default()
    };
    [CompileOptions::default(), closed, loose]
}

/// One node, for sets of packets.
struct World<'run, 'input> {
    evaluator: &'run Evaluator<'run, 'input>,
    node: NodeId,
    options: &'run CompileOptions,
    places: &'run EndpointClasses<'input>,
    relation: &'run ReachabilityMatrix<'input>,
    owed: ExpectedVerdicts<'run, 'input>,
    validation: SourceValidator,
    traffic: HeaderSpace,
}

/// Computes the expected verdict of random packets in both ways. Returns a packet whose verdicts
/// differ, if any.
fn compare(
    evaluator: &Evaluator<'_, '_>,
    node: NodeId,
    options: &CompileOptions,
    dice: &mut Dice,
    seen: &mut Seen,
) -> Option<String> {
    let resolved = evaluator.resolved();
    let mut cuts = PartitionBuilder::default();
    cuts.of_policy(resolved);
    expected::add_cuts(
        options,
        resolved.hosts_on(node).all().next().is_some(),
        &mut cuts,
    );

    let mut traffic = HeaderSpace::of(&cuts);
    let nothing = "*filter\nCOMMIT\n";
    let files = [
        ("sets.ipset", ""),
        ("filter.v4.rules", nothing),
        ("filter.v6.rules", nothing),
    ];
    let kernel = NodeKernel::of_holdings(&KernelContents::of_kernel(files).unwrap());
    let places = EndpointClasses::told_apart(
        resolved,
        address_class::lists(resolved, node, options, &kernel),
    );
    let hosts = NodeHostEndpoints::new(
        node,
        &mut SideContext {
            resolved,
            places: &places,
            traffic: &mut traffic,
        },
    );
    let relation = ReachabilityMatrix::local_class(resolved, &places, &mut traffic, |class| {
        address_class::is_local(resolved, node, class.owner)
    });
    let owed = ExpectedVerdicts::new(options, &hosts, &mut traffic);
    let interfaces: Vec<String> = hosts
        .interfaces()
        .map(str::to_owned)
        .chain(["lo", "cali7", "other0"].map(str::to_owned))
        .collect();
    let validation = SourceValidator::new(resolved, node);
    let mut world = World {
        evaluator,
        node,
        options,
        places: &places,
        relation: &relation,
        owed,
        validation,
        traffic,
    };
    let concrete = NodeSemantics::new(evaluator, node, options);
    let addresses = addresses(&world);

    for _ in 0..PACKETS {
        let packet = packet(&world, &addresses, &interfaces, dice);
        let Some(packet) = packet.filter(|packet| world.is_possible(packet)) else {
            continue;
        };
        let expected = concrete.expect(&packet);
        let (verdict, is_untracked) = world.owed_to(&packet);
        if (verdict, is_untracked && verdict != Verdict::Drop)
            != (
                expected.verdict,
                expected.is_untracked && verdict != Verdict::Drop,
            )
        {
            return Some(format!(
                "{packet:?}\nalone {expected:?}\nin its set {verdict:?}, untracked {is_untracked}"
            ));
        }
        match verdict {
            Verdict::Accept => seen.accepted += 1,
            Verdict::Drop => seen.dropped += 1,
            Verdict::Undecided => seen.undecided += 1,
        }
        seen.untracked += usize::from(is_untracked && packet.state != State::Untracked);
        seen.translated += usize::from(packet.original.is_some());
    }

    None
}

/// Returns the first and last addresses of all locations.
fn addresses(world: &World<'_, '_>) -> Vec<IpAddr> {
    let inventory = world.evaluator.resolved().inventory;
    let known = inventory
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().copied());
    let outside = world.places.classes().flat_map(|(_, class)| &class.outside);
    known
        .chain(outside.flat_map(|range| [range.first_address(), range.last_address()]))
        .collect()
}

fn packet(
    world: &World<'_, '_>,
    addresses: &[IpAddr],
    interfaces: &[String],
    dice: &mut Dice,
) -> Option<Packet> {
    let source = *dice.one_of(addresses);
    let of_family: Vec<IpAddr> = addresses
        .iter()
        .filter(|other| other.is_ipv4() == source.is_ipv4())
        .copied()
        .collect();
    let destination = *dice.one_of(&of_family);
    let classes: Vec<HeaderClass> = world.traffic.classes(HeaderSpace::ALL).collect();
    let is_named = |class: &HeaderClass| {
        Side::BOTH.iter().any(|side| {
            class
                .port(*side)
                .is_some_and(|(first, last)| first == last && first > 0)
        })
    };
    let named: Vec<HeaderClass> = classes
        .iter()
        .filter(|class| is_named(class))
        .chain(classes.first())
        .cloned()
        .collect();
    let some = *dice.one_of(&[&classes, &named]);
    let (protocol, ports, message) = carried(dice.one_of(some), dice)?;

    let own = if source.is_ipv4() {
        Protocol::ICMP
    } else {
        Protocol::ICMPV6
    };

    let flow = Flow {
        source,
        destination,
        protocol,
        ports,
        icmp: message.filter(|_| protocol == own),
    };
    let [arrives, leaves] = [0, 1].map(|_| dice.one_of(interfaces).clone());
    let hooks = [
        Hook::Forward {
            arrives: arrives.clone(),
            leaves: leaves.clone(),
        },
        Hook::Input { arrives },
        Hook::Output { leaves },
    ];
    let hook = dice.one_of(&hooks).clone();
    let states = [
        State::New,
        State::New,
        State::New,
        State::Established,
        State::Related,
        State::Invalid,
        State::Untracked,
    ];
    let state = *dice.one_of(&states);
    let port = dice
        .one_of(&classes)
        .port(Side::Destination)
        .map(|range| dice.within(range.0, range.1));
    let original = PreDnatDestination {
        address: *dice.one_of(&of_family),
        port: port.filter(|_| ports.is_some()),
    };
    let is_translated = state == State::New && *dice.one_of(&[true, false]);
    let reverse_path = match hook.arrives() {
        Some("lo") | None => ReversePath::Arriving,
        Some(_) => *dice.one_of(&[
            ReversePath::Arriving,
            ReversePath::Arriving,
            ReversePath::Elsewhere,
            ReversePath::Nowhere,
        ]),
    };

    Some(Packet {
        flow,
        original: is_translated.then_some(original),
        hook,
        state,
        reverse_path,
    })
}

/// Returns an example of the headers of a class.
fn carried(
    class: &HeaderClass,
    dice: &mut Dice,
) -> Option<(Protocol, Option<PortPair>, Option<IcmpMessage>)> {
    Some(match class {
        HeaderClass::Ports {
            protocol,
            source,
            destination,
        } => {
            let ports = PortPair {
                source: dice.within(source.0, source.1),
                destination: dice.within(destination.0, destination.1),
            };
            (*protocol, Some(ports), None)
        }
        HeaderClass::Message { .. } => class.example()?,
        HeaderClass::Protocols(protocols) if protocols.is_empty() => return None,
        HeaderClass::Protocols(protocols) => (*dice.one_of(protocols), None, None),
    })
}

impl World<'_, '_> {
    /// Returns `true` if the kernel can see the packet at its hook: endpoints are not the node, and
    /// nothing is forwarded over the loopback interface.
    fn is_possible(&self, packet: &Packet) -> bool {
        match &packet.hook {
            Hook::Forward { arrives, leaves } => arrives != "lo" && leaves != "lo",
            Hook::Input { .. } => !self.place(packet.flow.destination).is_local,
            Hook::Output { .. } => !self.place(packet.flow.source).is_local,
        }
    }

    fn place(&self, address: IpAddr) -> LocationRole {
        let resolved = self.evaluator.resolved();
        let owner = self.evaluator.owner(address);
        let in_range = || {
            resolved
                .inventory
                .node(self.node)
                .pod_ranges
                .iter()
                .any(|range: &Cidr| range.holds(address))
        };

        LocationRole {
            address,
            class: self.places.at(address, owner).unwrap(),
            is_local: address_class::is_local(resolved, self.node, owner),
            is_unknown: self.options.unknown_endpoint == UnknownEndpoint::Drop
                && owner.is_none()
                && in_range(),
            claim: self.validation.claim(
                address,
                owner.map(|_| address_class::is_local(resolved, self.node, owner)),
            ),
        }
    }

    fn between<'packet>(&self, flow: &Flow, hook: &'packet Hook) -> Crossing<'packet> {
        let (source, destination) = (self.place(flow.source), self.place(flow.destination));
        let says = |near: LocationRole, direction, far: LocationRole| match near.is_local {
            true => self
                .relation
                .seen(self.relation.view(near.class, direction), far.class),
            false => HeaderSpace::NONE,
        };
        let leaves = says(source, Direction::Egress, destination);
        let policy = PolicyTraffic {
            leaves,
            enters: says(destination, Direction::Ingress, source),
        };

        Crossing {
            source,
            destination,
            hook,
            policy,
        }
    }

    fn holds(&self, set: HeaderSetId, flow: &Flow) -> bool {
        self.traffic
            .holds(set, flow.protocol, flow.ports, flow.icmp)
    }

    /// Returns the expected verdict of the set that contains this packet.
    fn owed_to(&mut self, packet: &Packet) -> (Verdict, bool) {
        let sent = packet.sent();
        let between = self.between(&sent, &packet.hook);
        let early = self.owed.early(
            &between,
            packet.state,
            packet.reverse_path,
            &mut self.traffic,
        );
        if self.holds(early.dropped, &sent) {
            return (Verdict::Drop, false);
        }
        let state = if self.holds(early.untracked, &sent) {
            State::Untracked
        } else {
            packet.state
        };

        let flow = packet.filtered(state);
        let between = self.between(&flow, &packet.hook);
        let portion = ExpectedPortion {
            here: HeaderSpace::ALL,
            state,
            is_let_through: self.holds(early.let_through, &sent),
        };
        let mut fates = VerdictSets::NONE;

        self.owed
            .late(&between, portion, &mut self.traffic, &mut fates);
        let verdict = match (
            self.holds(fates.accepted, &flow),
            self.holds(fates.dropped, &flow),
        ) {
            (true, false) => Verdict::Accept,
            (false, true) => Verdict::Drop,
            (false, false) => Verdict::Undecided,
            (true, true) => panic!("accepted and dropped: {packet:?}"),
        };
        (verdict, state == State::Untracked)
    }
}

/// Returns rules for the head of `pal-FORWARD` that give packets of some state the wrong verdict.
fn wrong_rules() -> Vec<String> {
    let states = [
        "NEW",
        "RELATED",
        "INVALID",
        "UNTRACKED",
        "INVALID,UNTRACKED",
    ];
    let by_state = states.iter().flat_map(|state| {
        [
            "-i br-lan",
            "! -o lo",
            "-p tcp",
            "-p udp -m multiport --dports 4000",
        ]
        .map(|also| format!("{also} -m conntrack --ctstate {state}"))
    });
    let mut rules: Vec<String> = by_state
        .flat_map(|rule| ["ACCEPT", "DROP"].map(|verdict| format!("{rule} -j {verdict}")))
        .collect();

    // known connections, whose packets may go in the reply direction
    for state in [
        "",
        " --ctstate ESTABLISHED",
        " --ctstate RELATED",
        " ! --ctstate NEW",
    ] {
        for net in ["10.0.0.1", "192.0.2.0/24"] {
            rules.push(format!(
                "! -d {net} -m conntrack{state} --ctorigdst {net} -j DROP"
            ));
            rules.push(format!(
                "-d {net} -m conntrack{state} ! --ctorigdst {net} -j DROP"
            ));
        }
    }
    rules
}

/// Each rule that changes the verdict of one state is found, whatever the other states have.
#[test]
fn every_state_is_compared_at_forward() {
    ["dual-stack", "host-untracked"]
        .into_iter()
        .for_each(every_state_is_compared_in);
}

fn every_state_is_compared_in(case: &str) {
    let case = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(case);
    let files = inputs(&case);
    let mut diagnostics = Diagnostics::default();
    let input = crate::read(&files, StagedPolicies::Proposed, &mut diagnostics);
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let evaluator = Evaluator::new(&resolved);
    let node = resolved.inventory.find_node("n1").unwrap();
    let names = [
        "sets.ipset",
        "filter.v4.rules",
        "filter.v6.rules",
        "raw.v4.rules",
        "raw.v6.rules",
    ];
    let texts =
        names.map(|name| fs::read_to_string(case.join("bundle/nodes/n1").join(name)).unwrap());

    let is_proven = |rule: Option<String>| {
        let rule = rule
            .map(|rule| format!("-A pal-FORWARD {rule}\n"))
            .unwrap_or_default();
        let changed = |(name, text): (&'static str, &String)| match name {
            "filter.v4.rules" => (
                name,
                text.replacen("-A pal-FORWARD ", &format!("{rule}-A pal-FORWARD "), 1),
            ),
            _ => (name, text.clone()),
        };
        let files: Vec<(&str, String)> = names.into_iter().zip(&texts).map(changed).collect();
        let holdings =
            KernelContents::of_kernel(files.iter().map(|(name, text)| (*name, text.as_str())))
                .unwrap();
        super::of_kernel(
            &evaluator,
            node,
            &CompileOptions::default(),
            &NodeKernel::of_holdings(&holdings),
        )
        .is_proven()
    };

    assert!(is_proven(None), "{}: the bundle itself", case.display());
    for rule in wrong_rules() {
        assert!(!is_proven(Some(rule.clone())), "{}: {rule}", case.display());
    }
}
