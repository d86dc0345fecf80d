//! Whether two versions of scripts decide any packet differently: packet by packet, by the
//! interpreter alone.
//!
//! Of every class of packets that either version tells apart there is one. Packets of the classes
//! that the original tells apart run through it once. A mutant decides otherwise at the earliest
//! where a packet comes to a rule that is changed; so it is asked about packets that, in the
//! original, come that far, with all classes that it splits them into.
//!
//! What `verify` by design does not compare is left out here too:
//! - packets forwarded to or from the loopback interface: there are none
//! - packets that begin at the node with an endpoint's address, or end there: endpoints are not the
//!   node
//! - translated destinations but of packets that begin a connection, and of those that early tables
//!   drop or do not track: what is decided before translation is decided on the destination that
//!   was sent to, and is compared there

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade::net::{Cidr, Family, PortRange, Protocol, State};
use palisade::netfilter::{CheckedTarget, NodeKernel, PacketTrace, TableName};
use palisade::packet::{
    Flow, Hook, IcmpMessage, Packet, PortPair, PreDnatDestination, ReversePath, Verdict,
};
use palisade::packet_space::{AddressRange, HeaderClass, HeaderSpace, PartitionBuilder};

/// A chain of a script.
pub(super) type ChainKey = (&'static str, String);

/// What a mutant changes: chains, and in each the first rule, from 1.
pub(super) type Changed = Vec<(ChainKey, usize)>;

/// What packets carry.
type Carried = (Protocol, Option<PortPair>, Option<IcmpMessage>);

/// What scripts ask about original destinations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) nets: BTreeSet<Cidr>,
    pub(super) ports: BTreeSet<PortRange>,
}

/// A packet of the original by the numbers of its parts.
#[derive(Debug, Clone, Copy)]
struct Known {
    source: u32,
    destination: u32,
    carried: u32,
    hook: u32,
    state: State,
    original: Option<PreDnatDestination>,
    fate: Fate,
}

/// What becomes of a packet. Of what is dropped nobody needs to know more.
type Fate = (Verdict, bool);

/// The original, and what becomes of packets in it.
pub(super) struct Oracle<'kernel> {
    original: &'kernel NodeKernel,
    locals: Vec<Cidr>,
    /// Tables before the filter table alone, where there are any.
    early: Option<&'kernel NodeKernel>,
    asked: BTreeMap<Family, Asked>,
    cuts: PartitionBuilder,
    addresses: Vec<IpAddr>,
    lists: Vec<Vec<Cidr>>,
    carried: Vec<(HeaderClass, Carried)>,
    interfaces: BTreeSet<String>,
    hooks: Vec<Met>,
    packets: Vec<Known>,
    /// The packets that come to a chain, and to which of its rules at most.
    visits: BTreeMap<ChainKey, Vec<(usize, usize)>>,
}

/// Where a packet is met, and where the route back to its source leads.
#[derive(Debug, Clone)]
struct Met {
    hook: Hook,
    reverse_path: ReversePath,
}

/// The classes of a mutant in those of the original.
struct Split {
    addresses: Vec<Vec<IpAddr>>,
    carried: Vec<Vec<Carried>>,
    hooks: Vec<Vec<Met>>,
    /// Other original destinations, where the mutant asks about them in another way.
    originals: Option<Vec<PreDnatDestination>>,
}

/// A name that nobody gives an interface.
const OTHER: &str = "other0";

impl<'kernel> Oracle<'kernel> {
    pub(super) fn of(
        original: &'kernel NodeKernel,
        early: Option<&'kernel NodeKernel>,
        locals: Vec<Cidr>,
        asked: BTreeMap<Family, Asked>,
    ) -> Self {
        let mut cuts = PartitionBuilder::default();
        original.add_cuts(&mut cuts);
        let lists = [original.prefixes(), vec![locals.clone()]].concat();
        let interfaces: BTreeSet<String> = named(original)
            .into_iter()
            .chain(["lo".to_owned()])
            .collect();

        let mut oracle = Self {
            original,
            locals,
            early,
            asked,
            addresses: kinds(&lists),
            lists,
            carried: carried(&cuts),
            cuts,
            hooks: hooks(interfaces.iter().map(String::as_str).chain([OTHER])),
            interfaces,
            packets: Vec::new(),
            visits: BTreeMap::new(),
        };
        oracle.run_all();

        oracle
    }

    /// How many packets the original was asked about.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    fn run_all(&mut self) {
        for hook in 0..self.hooks.len() {
            let possible = |(source, destination): &(usize, usize)| {
                self.is_possible(
                    &self.hooks[hook].hook,
                    self.addresses[*source],
                    self.addresses[*destination],
                )
            };
            let pairs: Vec<(usize, usize)> = pairs(&self.addresses)
                .into_iter()
                .filter(possible)
                .collect();
            pairs
                .into_iter()
                .for_each(|(source, destination)| self.run_between(hook, source, destination));
        }

        // packets that are alike are not asked about one after another
        for list in self.visits.values_mut() {
            let step = (list.len() / 3 * 2 + 1) | 1;
            let step = (step..)
                .find(|step| greatest_common_divisor(*step, list.len()) == 1)
                .unwrap_or(1);
            *list = (0..list.len())
                .map(|at| list[at * step % list.len()])
                .collect();
        }
    }

    fn run_between(&mut self, hook: usize, source: usize, destination: usize) {
        let reverse_path = self.hooks[hook].reverse_path;
        let is_translated = self.early.is_some() && reverse_path == ReversePath::Arriving;
        let number = |number: usize| u32::try_from(number).expect("few");

        for carried in 0..self.carried.len() {
            let fate = (Verdict::Undecided, false);
            let [source, destination, carried, hook] =
                [source, destination, carried, hook].map(number);
            let known = Known {
                source,
                destination,
                carried,
                hook,
                state: State::New,
                original: None,
                fate,
            };
            STATES.iter().for_each(|state| {
                self.take(Known {
                    state: *state,
                    ..known
                })
            });
            if is_translated {
                self.take_translated(known);
            }
        }
    }

    /// Asks the original about a packet.
    fn take(&mut self, known: Known) {
        let Some(packet) = self.packet(known) else {
            return;
        };
        let run = self.original.run(&packet);
        self.note(known, &packet, &run);
    }

    fn note(&mut self, known: Known, packet: &Packet, run: &PacketTrace<'_>) {
        let number = self.packets.len();
        self.packets.push(Known {
            fate: fate(run),
            ..known
        });
        for (chain, last) in visited(packet, run) {
            self.visits.entry(chain).or_default().push((number, last));
        }
    }

    /// The same packet behind a translation of its destination: one for every answer to what rules
    /// ask about original destinations.
    fn take_translated(&mut self, known: Known) {
        let Some(packet) = self.packet(known) else {
            return;
        };

        let family = packet.flow.family();
        let mut answers = BTreeSet::new();
        if !is_decided_early(&self.original.run(&packet)) {
            answers.insert(self.asked[&family].answers(&packet));
        }

        for original in originals(self.early, &self.asked[&family], family) {
            let Some(packet) = self.packet(Known {
                original: Some(original),
                ..known
            }) else {
                return;
            };
            let answer = self.asked[&family].answers(&packet);
            if answers.contains(&answer) {
                continue;
            }
            let run = self.original.run(&packet);
            if !is_decided_early(&run) {
                answers.insert(answer);
                self.note(
                    Known {
                        original: Some(original),
                        ..known
                    },
                    &packet,
                    &run,
                );
            }
        }
    }

    fn packet(&self, known: Known) -> Option<Packet> {
        let [source, destination] =
            [known.source, known.destination].map(|number| self.addresses[number as usize]);
        let carried = self.carried[known.carried as usize].1;
        packet(
            source,
            destination,
            carried,
            self.hooks[known.hook as usize].clone(),
            known.state,
            known.original,
        )
    }

    fn is_possible(&self, hook: &Hook, source: IpAddr, destination: IpAddr) -> bool {
        let is_local = |address| self.locals.iter().any(|local| local.holds(address));
        match hook {
            Hook::Forward { .. } => true,
            Hook::Input { .. } => !is_local(destination),
            Hook::Output { .. } => !is_local(source),
        }
    }

    /// A packet that a mutant decides otherwise. `asks_anew` may be false where no condition of it
    /// is new.
    pub(super) fn differs(
        &self,
        mutant: &NodeKernel,
        changed: &Changed,
        asked: (Family, &Asked),
        asks_anew: bool,
    ) -> Option<Packet> {
        let split = if asks_anew {
            self.split(mutant, asked.0, asked.1)
        } else {
            self.same()
        };

        let visits = changed.iter().flat_map(|(chain, first)| {
            let all = self.visits.get(chain).map_or(&[][..], Vec::as_slice);
            all.iter()
                .filter(move |(_, last)| last >= first)
                .map(|(number, _)| &self.packets[*number])
        });
        visits
            .into_iter()
            .find_map(|known| self.differs_in(mutant, known, &split))
    }

    fn differs_in(&self, mutant: &NodeKernel, known: &Known, split: &Split) -> Option<Packet> {
        let own = (known.state, known.original);
        let others = split
            .originals
            .iter()
            .flatten()
            .filter(|_| known.state == State::New)
            .map(|original| (State::New, Some(*original)));
        let of_state: Vec<(State, Option<PreDnatDestination>)> =
            std::iter::once(own).chain(others).collect();
        let [sources, destinations] =
            [known.source, known.destination].map(|number| &split.addresses[number as usize]);
        let pairs = sources.iter().flat_map(|source| {
            destinations
                .iter()
                .map(move |destination| (*source, *destination))
        });
        let carried = &split.carried[known.carried as usize];
        let flows = pairs.flat_map(|pair| carried.iter().map(move |carried| (pair, *carried)));
        let hooks = &split.hooks[known.hook as usize];
        let met = flows.flat_map(|flow| hooks.iter().map(move |hook| (flow, hook)));

        let mut packets = met.flat_map(|((pair, carried), hook)| {
            of_state.iter().filter_map(move |state| {
                packet(pair.0, pair.1, carried, hook.clone(), state.0, state.1)
            })
        });
        packets.find(|packet| self.is_otherwise(mutant, packet, known, own))
    }

    fn is_otherwise(
        &self,
        mutant: &NodeKernel,
        packet: &Packet,
        known: &Known,
        own: (State, Option<PreDnatDestination>),
    ) -> bool {
        let run = mutant.run(packet);
        if (packet.state, packet.original) == own {
            // the original does not tell this packet from the known one; where it seems to differ,
            // it is asked itself
            return fate(&run) != known.fate && fate(&run) != fate(&self.original.run(packet));
        }
        let original = self.original.run(packet);
        !is_decided_early(&original) && !is_decided_early(&run) && fate(&run) != fate(&original)
    }

    fn same(&self) -> Split {
        Split {
            addresses: self.addresses.iter().map(|own| vec![*own]).collect(),
            carried: self.carried.iter().map(|own| vec![own.1]).collect(),
            hooks: self.hooks.iter().map(|own| vec![own.clone()]).collect(),
            originals: None,
        }
    }

    fn split(&self, mutant: &NodeKernel, family: Family, asked: &Asked) -> Split {
        let prefixes = mutant.prefixes();
        let is_known = prefixes.iter().all(|list| self.lists.contains(list));
        let addresses = if is_known {
            self.addresses.iter().map(|own| vec![*own]).collect()
        } else {
            self.split_addresses(prefixes)
        };

        let mut cuts = self.cuts.clone();
        mutant.add_cuts(&mut cuts);
        let finer = carried(&cuts);
        let carried = match finer.len() == self.carried.len() {
            true => self.carried.iter().map(|own| vec![own.1]).collect(),
            false => self.split_carried(&finer),
        };
        let new: Vec<String> = named(mutant)
            .into_iter()
            .filter(|name| !self.interfaces.contains(name))
            .collect();
        let hooks = self.hooks.iter().map(|met| met.split(&new)).collect();
        let originals = (*asked != self.asked[&family] && self.early.is_some()).then(|| {
            let nets = asked
                .nets
                .union(&self.asked[&family].nets)
                .copied()
                .collect();
            let ports = asked
                .ports
                .union(&self.asked[&family].ports)
                .copied()
                .collect();
            originals(self.early, &Asked { nets, ports }, family)
        });

        Split {
            addresses,
            carried,
            hooks,
            originals,
        }
    }

    fn split_addresses(&self, prefixes: Vec<Vec<Cidr>>) -> Vec<Vec<IpAddr>> {
        let mut lists = self.lists.clone();
        lists.extend(
            prefixes
                .into_iter()
                .filter(|list| !self.lists.contains(list)),
        );

        let by_kind: BTreeMap<Vec<bool>, usize> = (0..)
            .zip(&self.addresses)
            .map(|(number, own)| (kind(*own, &self.lists), number))
            .collect();
        let mut split = vec![Vec::new(); self.addresses.len()];

        for address in kinds(&lists) {
            let number = by_kind[&kind(address, &self.lists)];
            split[number].push(address);
        }

        split
    }

    fn split_carried(&self, finer: &[(HeaderClass, Carried)]) -> Vec<Vec<Carried>> {
        let mut split = vec![Vec::new(); self.carried.len()];
        for (class, carried) in finer {
            let number = self
                .carried
                .iter()
                .position(|(own, _)| holds(own, class, carried))
                .expect("a class of the original");
            split[number].push(*carried);
        }
        split
    }
}

impl Asked {
    /// What rules hear about the original destination of a packet.
    fn answers(&self, packet: &Packet) -> Vec<bool> {
        let sent = packet.sent();
        let nets = self.nets.iter().map(|net| net.holds(sent.destination));
        nets.chain(
            self.ports
                .iter()
                .map(|ports| sent.ports.is_some_and(|sent| ports.holds(sent.destination))),
        )
        .collect()
    }
}

/// Original destinations: one for each class that early tables or rules tell apart.
fn originals(early: Option<&NodeKernel>, asked: &Asked, family: Family) -> Vec<PreDnatDestination> {
    let Some(early) = early else {
        return Vec::new();
    };

    let mut lists = early.prefixes();
    lists.extend(asked.nets.iter().map(|net| vec![*net]));
    let mut cuts = PartitionBuilder::default();
    early.add_cuts(&mut cuts);
    asked
        .ports
        .iter()
        .for_each(|range| cuts.ports(Protocol::TCP, palisade::net::Side::Destination, *range));

    let ports: Vec<Option<u16>> = cuts
        .receivers_ports()
        .into_iter()
        .filter(|port| *port > 0)
        .map(Some)
        .chain([None])
        .collect();

    let addresses = kinds(&lists)
        .into_iter()
        .filter(|address| address.is_ipv4() == (family == Family::V4));
    addresses
        .flat_map(|address| {
            ports.iter().map(move |port| PreDnatDestination {
                address,
                port: *port,
            })
        })
        .collect()
}

fn packet(
    source: IpAddr,
    destination: IpAddr,
    carried: Carried,
    Met { hook, reverse_path }: Met,
    state: State,
    original: Option<PreDnatDestination>,
) -> Option<Packet> {
    let (protocol, ports, message) = carried;
    let is_own = |protocol| {
        if source.is_ipv4() {
            protocol == Protocol::ICMP
        } else {
            protocol == Protocol::ICMPV6
        }
    };

    let icmp = message.filter(|_| is_own(protocol));
    let original = original.map(|original| PreDnatDestination {
        port: original.port.filter(|_| ports.is_some()),
        ..original
    });

    Some(Packet {
        flow: Flow {
            source,
            destination,
            protocol,
            ports,
            icmp,
        },
        original,
        hook,
        state,
        reverse_path,
    })
}

fn fate(run: &PacketTrace<'_>) -> Fate {
    (
        run.verdict,
        run.is_untracked && run.verdict != Verdict::Drop,
    )
}

/// Whether a packet does not come to the translation of destinations, or passes it by.
fn is_decided_early(run: &PacketTrace<'_>) -> bool {
    let is_dropped = run.verdict == Verdict::Drop
        && run
            .passed
            .last()
            .is_some_and(|passed| passed.table != TableName::Filter);
    is_dropped || run.is_untracked
}

/// The chains that a packet comes to, and the last rule in each that is looked at.
fn visited(packet: &Packet, run: &PacketTrace<'_>) -> BTreeMap<ChainKey, usize> {
    let script = |table: TableName| match (packet.flow.family(), table) {
        (Family::V4, TableName::Raw) => "raw.v4.rules",
        (Family::V4, TableName::Mangle) => "mangle.v4.rules",
        (Family::V4, TableName::Filter) => "filter.v4.rules",
        (Family::V6, TableName::Raw) => "raw.v6.rules",
        (Family::V6, TableName::Mangle) => "mangle.v6.rules",
        (Family::V6, TableName::Filter) => "filter.v6.rules",
    };

    let (early, late) = match packet.hook {
        Hook::Forward { .. } => ("PREROUTING", "FORWARD"),
        Hook::Input { .. } => ("PREROUTING", "INPUT"),
        Hook::Output { .. } => ("OUTPUT", "OUTPUT"),
    };
    let built_in = [
        (TableName::Raw, early),
        (TableName::Mangle, early),
        (TableName::Filter, late),
    ];
    let is_translated = packet.original.is_some();
    // behind the early tables all is as with packets whose route back is right
    let is_early = packet.reverse_path != ReversePath::Arriving;
    let is_compared = |table: TableName| match table {
        TableName::Filter => !is_early,
        TableName::Raw | TableName::Mangle => !is_translated,
    };
    let mut visited = BTreeMap::new();

    for (table, chain) in built_in
        .into_iter()
        .filter(|(table, _)| is_compared(*table))
    {
        visited.insert((script(table), chain.to_owned()), usize::MAX);
    }
    for passed in run.passed.iter().filter(|passed| is_compared(passed.table)) {
        let ends = match passed.target {
            CheckedTarget::Accept | CheckedTarget::Drop | CheckedTarget::Return => true,
            CheckedTarget::Log | CheckedTarget::NoTrack => false,
            CheckedTarget::Jump(other) | CheckedTarget::Goto(other) => {
                visited.insert((script(passed.table), other.clone()), usize::MAX);
                matches!(passed.target, CheckedTarget::Goto(_))
            }
        };
        if ends {
            visited.insert(
                (script(passed.table), passed.chain.to_owned()),
                passed.number,
            );
        }
    }

    visited
}

/// An address of every kind that lists tell apart.
fn kinds(lists: &[Vec<Cidr>]) -> Vec<IpAddr> {
    let mut edges: Vec<IpAddr> = ["192.0.2.77", "2001:db8::77", "0.0.0.0", "::"]
        .map(|text| text.parse().expect("an address"))
        .to_vec();

    for range in lists
        .iter()
        .flatten()
        .map(|net| AddressRange::from_prefix(*net))
    {
        let behind = range.last.checked_add(1).map(|first| AddressRange {
            first,
            last: first,
            ..range
        });
        edges.push(range.first_address());
        edges.extend(behind.map(|range| range.first_address()));
    }

    let mut known = BTreeSet::new();
    edges.retain(|address| known.insert(kind(*address, lists)));
    edges
}

/// Which lists hold an address, and its family.
fn kind(address: IpAddr, lists: &[Vec<Cidr>]) -> Vec<bool> {
    lists
        .iter()
        .map(|list| list.iter().any(|net| net.holds(address)))
        .chain([address.is_ipv4()])
        .collect()
}

/// A packet of every class that cuts leave.
fn carried(cuts: &PartitionBuilder) -> Vec<(HeaderClass, Carried)> {
    let traffic = HeaderSpace::of(cuts);
    traffic
        .classes(HeaderSpace::ALL)
        .filter_map(|class| class.example().map(|example| (class, example)))
        .collect()
}

/// Whether a class holds a finer one.
fn holds(class: &HeaderClass, finer: &HeaderClass, (protocol, ports, message): &Carried) -> bool {
    match (class, finer) {
        (
            HeaderClass::Ports {
                protocol: own,
                source,
                destination,
            },
            HeaderClass::Ports { .. },
        ) => {
            let within = |(first, last): (u16, u16), port: u16| (first..=last).contains(&port);
            own == protocol
                && ports.is_some_and(|ports| {
                    within(*source, ports.source) && within(*destination, ports.destination)
                })
        }
        (
            HeaderClass::Message {
                protocol: own,
                kind,
                code,
                ..
            },
            HeaderClass::Message {
                kind: finer,
                code: code_finer,
                ..
            },
        ) => {
            own == protocol
                && message.is_some()
                && (kind.is_none() || kind == finer)
                && (code.is_none() || code == code_finer)
        }
        (HeaderClass::Protocols(own), _) => own.contains(protocol),
        (HeaderClass::Ports { .. } | HeaderClass::Message { .. }, _) => false,
    }
}

fn pairs(addresses: &[IpAddr]) -> Vec<(usize, usize)> {
    let all = (0..addresses.len())
        .flat_map(|source| (0..addresses.len()).map(move |destination| (source, destination)));
    all.filter(|(source, destination)| {
        addresses[*source].is_ipv4() == addresses[*destination].is_ipv4()
    })
    .collect()
}

/// The interfaces that a kernel's rules speak of, and of those that begin alike, one.
fn named(kernel: &NodeKernel) -> BTreeSet<String> {
    let under = kernel
        .interface_stems()
        .into_iter()
        .map(|stem| format!("{stem}x"));
    kernel
        .interfaces()
        .into_iter()
        .map(str::to_owned)
        .chain(under)
        .collect()
}

fn hooks<'name>(interfaces: impl Iterator<Item = &'name str>) -> Vec<Met> {
    let names: Vec<&str> = interfaces.collect();
    let mut hooks = Vec::new();
    for one in &names {
        hooks.push(Hook::Input {
            arrives: (*one).to_owned(),
        });
        hooks.push(Hook::Output {
            leaves: (*one).to_owned(),
        });
        let others = names.iter().filter(|other| **other != "lo" && *one != "lo");
        hooks.extend(others.map(|other| Hook::Forward {
            arrives: (*one).to_owned(),
            leaves: (*other).to_owned(),
        }));
    }

    hooks.iter().flat_map(met).collect()
}

/// A hook with every route back that there can be.
fn met(hook: &Hook) -> Vec<Met> {
    let paths: &[ReversePath] = match hook.arrives() {
        Some("lo") | None => &[ReversePath::Arriving],
        Some(_) => &[
            ReversePath::Arriving,
            ReversePath::Elsewhere,
            ReversePath::Nowhere,
        ],
    };

    paths
        .iter()
        .map(|path| Met {
            hook: hook.clone(),
            reverse_path: *path,
        })
        .collect()
}

impl Met {
    /// The same, with new interfaces too where it has the one that nobody names.
    fn split(&self, new: &[String]) -> Vec<Met> {
        let hooks = split_hook(&self.hook, new).into_iter();
        hooks
            .map(|hook| Met {
                hook,
                reverse_path: self.reverse_path,
            })
            .collect()
    }
}

fn split_hook(hook: &Hook, new: &[String]) -> Vec<Hook> {
    let names = |name: &str| -> Vec<String> {
        let new = new.iter().filter(|_| name == OTHER).cloned();
        std::iter::once(name.to_owned()).chain(new).collect()
    };

    match hook {
        Hook::Input { arrives } => names(arrives)
            .into_iter()
            .map(|arrives| Hook::Input { arrives })
            .collect(),
        Hook::Output { leaves } => names(leaves)
            .into_iter()
            .map(|leaves| Hook::Output { leaves })
            .collect(),
        Hook::Forward { arrives, leaves } => {
            let leaving = names(leaves);
            let pairs = names(arrives).into_iter().flat_map(|arrives| {
                leaving
                    .iter()
                    .map(move |leaves| (arrives.clone(), leaves.clone()))
            });
            pairs
                .map(|(arrives, leaves)| Hook::Forward { arrives, leaves })
                .collect()
        }
    }
}

const STATES: [State; 5] = [
    State::New,
    State::Established,
    State::Related,
    State::Invalid,
    State::Untracked,
];

fn greatest_common_divisor(left: usize, right: usize) -> usize {
    if right == 0 {
        left
    } else {
        greatest_common_divisor(right, left % right)
    }
}
