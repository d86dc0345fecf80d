//! What packets carry, cut into classes that no rule can tell apart, and sets of such classes.
//!
//! In: the [`PartitionBuilder`] that rules make. Out: [`HeaderSpace`], which knows every class and
//! every set of classes that was asked for. A set is a number ([`HeaderSetId`]); equal sets have
//! equal numbers, so that to compare two answers is to compare numbers.
//!
//! Cost: a set takes a bit a class, once; an operation costs that, or a look-up when it was made
//! before.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::net::{PortRange, Protocol, Side};
use crate::packet::{IcmpMessage, PortPair};
use crate::packet_space::cascade::CascadeRule;
use crate::policy::{Icmp, IcmpMatch, ProtocolMatch};

/// What rules distinguish.
#[derive(Debug, Default, Clone)]
pub struct PartitionBuilder {
    /// For each protocol with ports and each side, the first ports of the classes.
    ports: BTreeMap<(Protocol, Side), BTreeSet<u16>>,
    /// Types and codes of each protocol of control messages.
    messages: BTreeMap<Protocol, BTreeMap<u8, BTreeSet<u8>>>,
    protocols: BTreeSet<Protocol>,
}

/// Packets that no rule tells apart by what they carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HeaderClass {
    /// Of a protocol with ports: those with both ports in these ranges, which hold both of their
    /// ends.
    Ports {
        /// The protocol.
        protocol: Protocol,
        /// The sender's port.
        source: (u16, u16),
        /// The receiver's port.
        destination: (u16, u16),
    },
    /// Of a protocol of control messages: those of one type, or of all types not named; with one
    /// code, or all not named.
    Message {
        /// ICMP or ICMPv6.
        protocol: Protocol,
        /// The type; none stands for all that no rule names.
        kind: Option<u8>,
        /// The code; none stands for all that no rule names with this type.
        code: Option<u8>,
        /// One of them.
        example: IcmpMessage,
    },
    /// Of these protocols, in order: one that a rule names, or all that none does.
    Protocols(Vec<Protocol>),
}

/// A set of classes of one [`HeaderSpace`]. Equal sets have equal ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderSetId(u32);

/// All classes, and the sets of them that were asked for.
#[derive(Debug)]
pub struct HeaderSpace {
    classes: Vec<HeaderClass>,
    sets: IndexSet<Box<[u64]>, FxBuildHasher>,
    made: FxHashMap<(SetOperation, HeaderSetId, HeaderSetId), HeaderSetId>,
    of_rules: FxHashMap<(ProtocolMatch, IcmpMatch), HeaderSetId>,
    /// By the side of the port.
    of_ports: [FxHashMap<Box<[PortRange]>, HeaderSetId>; 2],
    /// The classes that have a port of the sender, by the first of their ports.
    sources: BTreeMap<u16, Vec<usize>>,
    /// The same, of the receiver.
    destinations: BTreeMap<u16, Vec<usize>>,
    /// The classes of control messages by the type that they have, with the code.
    messages: FxHashMap<u8, Vec<(Option<u8>, usize)>>,
}

/// How two sets become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SetOperation {
    And,
    Or,
    Less,
}

/// The protocols whose ports rules can name.
const WITH_PORTS: [Protocol; 3] = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
const WITH_MESSAGES: [Protocol; 2] = [Protocol::ICMP, Protocol::ICMPV6];

impl PartitionBuilder {
    /// Ports of a protocol at a side are told from those around them.
    pub fn ports(&mut self, protocol: Protocol, side: Side, range: PortRange) {
        let firsts = self.ports.entry((protocol, side)).or_default();
        firsts.insert(range.first());
        firsts.extend(range.last().checked_add(1));
    }

    /// Ports are told from those around them in every protocol that a condition leaves open.
    pub fn ports_of(&mut self, protocol: ProtocolMatch, side: Side, range: PortRange) {
        for open in WITH_PORTS {
            if holds(protocol, open) {
                self.ports(open, side, range);
            }
        }
    }

    /// A protocol is told from the others.
    pub fn protocol(&mut self, protocol: Protocol) {
        self.protocols.insert(protocol);
    }

    fn has_ports(&self, protocol: Protocol) -> bool {
        [Side::Source, Side::Destination]
            .iter()
            .any(|side| self.ports.contains_key(&(protocol, *side)))
    }

    /// The first port of every class at the receiver, whatever the protocol.
    pub fn receivers_ports(&self) -> BTreeSet<u16> {
        let firsts = self
            .ports
            .iter()
            .filter(|((_, side), _)| *side == Side::Destination)
            .flat_map(|(_, firsts)| firsts);
        firsts.copied().chain([1]).collect()
    }

    /// A control message is told from the others.
    pub fn message(&mut self, protocol: Protocol, icmp: Icmp) {
        self.messages
            .entry(protocol)
            .or_default()
            .entry(icmp.kind)
            .or_default()
            .extend(icmp.code);
    }
}

impl HeaderSpace {
    /// No packet.
    pub const NONE: HeaderSetId = HeaderSetId(0);
    /// Every packet.
    pub const ALL: HeaderSetId = HeaderSetId(1);

    /// The classes that these cuts leave.
    pub fn of(cuts: &PartitionBuilder) -> Self {
        let mut classes = Vec::new();
        let udplite = Some(Protocol::UDPLITE).filter(|other| cuts.has_ports(*other));
        let cut_by_ports: Vec<Protocol> = WITH_PORTS.into_iter().chain(udplite).collect();
        cut_by_ports
            .iter()
            .for_each(|protocol| port_classes(*protocol, cuts, &mut classes));
        WITH_MESSAGES
            .iter()
            .for_each(|protocol| message_classes(*protocol, cuts, &mut classes));

        let special = |protocol: &Protocol| {
            cut_by_ports.contains(protocol) || WITH_MESSAGES.contains(protocol)
        };
        let rest = (1..=u8::MAX)
            .filter_map(Protocol::from_number)
            .filter(|protocol| !special(protocol));
        let (named, unnamed): (Vec<Protocol>, Vec<Protocol>) =
            rest.partition(|protocol| cuts.protocols.contains(protocol));

        classes.extend(
            named
                .into_iter()
                .map(|protocol| HeaderClass::Protocols(vec![protocol])),
        );
        // no rule names protocol 0, so that it is there even where rules name all others
        let unnamed = if unnamed.is_empty() {
            vec![Protocol::HOPOPT]
        } else {
            unnamed
        };

        classes.push(HeaderClass::Protocols(unnamed));
        let (made, of_rules, of_ports) = Default::default();
        let [sources, destinations] = Side::BOTH.map(|side| by_first_port(&classes, side));
        let messages = by_type(&classes);

        let mut traffic = Self {
            classes,
            sets: IndexSet::default(),
            made,
            of_rules,
            of_ports,
            sources,
            destinations,
            messages,
        };
        traffic.select(|_| false);
        traffic.select(|_| true);

        traffic
    }

    /// The set of all classes that pass a test.
    pub fn select(&mut self, test: impl Fn(&HeaderClass) -> bool) -> HeaderSetId {
        let mut words = vec![0u64; self.classes.len().div_ceil(64)].into_boxed_slice();
        for (chunk, word) in self.classes.chunks(64).zip(&mut words) {
            *word = chunk
                .iter()
                .rev()
                .fold(0, |bits, class| bits << 1 | u64::from(test(class)));
        }
        self.intern(words)
    }

    /// What a condition on protocol and control message lets through.
    pub fn of_rule(&mut self, protocol: ProtocolMatch, icmp: IcmpMatch) -> HeaderSetId {
        if let Some(known) = self.of_rules.get(&(protocol, icmp)) {
            return *known;
        }

        let id = match icmp {
            IcmpMatch::Any => self.select(|class| class.is_of(protocol)),
            IcmpMatch::Is(icmp) => {
                let (own, message) = (
                    self.of_rule(protocol, IcmpMatch::Any),
                    self.of_message(icmp),
                );
                self.and(own, message)
            }
            IcmpMatch::IsNot(icmp) => {
                let (own, message) = (
                    self.of_rule(protocol, IcmpMatch::Any),
                    self.of_message(icmp),
                );
                self.less(own, message)
            }
        };
        self.of_rules.insert((protocol, icmp), id);

        id
    }

    /// Control messages of a type, and of a code where one is given, of every protocol that has
    /// them.
    fn of_message(&mut self, icmp: Icmp) -> HeaderSetId {
        let mut words = vec![0u64; self.classes.len().div_ceil(64)].into_boxed_slice();
        for (code, position) in self.messages.get(&icmp.kind).into_iter().flatten() {
            if icmp.code.is_none() || *code == icmp.code {
                mark(&mut words, *position);
            }
        }
        self.intern(words)
    }

    /// Packets whose port at a side is one of these; of protocols that have ports.
    pub fn with_ports(&mut self, side: Side, ranges: &[PortRange]) -> HeaderSetId {
        let known =
            |[source, destination]: &[FxHashMap<Box<[PortRange]>, HeaderSetId>; 2]| match side {
                Side::Source => source.get(ranges).copied(),
                Side::Destination => destination.get(ranges).copied(),
            };
        if let Some(known) = known(&self.of_ports) {
            return known;
        }

        let id = self.of_ports_at(side, ranges);
        let [source, destination] = &mut self.of_ports;
        match side {
            Side::Source => source.insert(ranges.into(), id),
            Side::Destination => destination.insert(ranges.into(), id),
        };

        id
    }

    /// The set of the classes whose port at a side is one of these.
    fn of_ports_at(&mut self, side: Side, ranges: &[PortRange]) -> HeaderSetId {
        let by_port = match side {
            Side::Source => &self.sources,
            Side::Destination => &self.destinations,
        };
        let mut words = vec![0u64; self.classes.len().div_ceil(64)].into_boxed_slice();

        for range in ranges {
            for (_, classes) in by_port.range(range.first()..=range.last()) {
                classes.iter().for_each(|class| mark(&mut words, *class));
            }
        }

        self.intern(words)
    }

    /// Packets of a protocol to or from a port.
    pub fn with_port(&mut self, protocol: Protocol, side: Side, port: u16) -> HeaderSetId {
        let of_protocol = self.of_rule(ProtocolMatch::Is(protocol), IcmpMatch::Any);
        let of_port = match PortRange::new(port, port) {
            Some(range) => self.with_ports(side, &[range]),
            None => self.select(|class| class.port(side) == Some((0, 0))),
        };
        self.and(of_protocol, of_port)
    }

    /// Packets of both sets.
    pub fn and(&mut self, left: HeaderSetId, right: HeaderSetId) -> HeaderSetId {
        match (left, right) {
            (Self::NONE, _) | (_, Self::NONE) => Self::NONE,
            (Self::ALL, other) | (other, Self::ALL) => other,
            (left, right) if left == right => left,
            (left, right) => self.combine(SetOperation::And, left.min(right), left.max(right)),
        }
    }

    /// Packets of one of the sets, or of both.
    pub fn or(&mut self, left: HeaderSetId, right: HeaderSetId) -> HeaderSetId {
        match (left, right) {
            (Self::ALL, _) | (_, Self::ALL) => Self::ALL,
            (Self::NONE, other) | (other, Self::NONE) => other,
            (left, right) if left == right => left,
            (left, right) => self.combine(SetOperation::Or, left.min(right), left.max(right)),
        }
    }

    /// Packets of the first set that are not in the second.
    pub fn less(&mut self, left: HeaderSetId, right: HeaderSetId) -> HeaderSetId {
        match (left, right) {
            (Self::NONE, _) | (_, Self::ALL) => Self::NONE,
            (left, Self::NONE) => left,
            (left, right) if left == right => Self::NONE,
            (left, right) => self.combine(SetOperation::Less, left, right),
        }
    }

    /// Takes some traffic through rules in a row, and adds to the sinks what gets there. Returns
    /// what is left.
    ///
    /// What is known between two rules does not become a set with a number: there would be one for
    /// each rule.
    pub(super) fn cascade<const SINKS: usize>(
        &mut self,
        rules: &[CascadeRule<SINKS>],
        here: HeaderSetId,
        sinks: &mut [HeaderSetId; SINKS],
    ) -> HeaderSetId {
        let mut left: Box<[u64]> = self.words(here).into();
        let mut filled: [Option<Box<[u64]>>; SINKS] = [const { None }; SINKS];
        for rule in rules {
            let sinks = filled.iter_mut().zip(rule.to).zip(&*sinks);
            for ((sink, to), known) in sinks.filter(|((_, to), _)| *to != Self::NONE) {
                let sink = sink.get_or_insert_with(|| self.words(*known).into());
                let rows = sink.iter_mut().zip(&left).zip(self.words(to));
                rows.for_each(|((sink, left), to)| *sink |= left & to);
            }
            left.iter_mut()
                .zip(self.words(rule.off))
                .for_each(|(left, off)| *left &= !off);
        }

        for (sink, filled) in sinks.iter_mut().zip(filled) {
            if let Some(filled) = filled {
                *sink = self.intern(filled);
            }
        }
        self.intern(left)
    }

    /// The classes of a set, a bit for each.
    fn words(&self, id: HeaderSetId) -> &[u64] {
        self.sets
            .get_index(id.0 as usize)
            .map_or(&[], |words| words)
    }

    /// The packets that would be in a set if they were for this port; of protocols without ports,
    /// those that are.
    pub fn redirected(&mut self, set: HeaderSetId, port: u16) -> HeaderSetId {
        if matches!(set, Self::NONE | Self::ALL) {
            return set;
        }

        let within = |class: &HeaderClass| {
            class
                .port(Side::Destination)
                .is_none_or(|(first, last)| (first..=last).contains(&port))
        };

        let targets: FxHashSet<HeaderClass> = self
            .classes(set)
            .filter(|class| within(class))
            .map(HeaderClass::but_for_receiver)
            .collect();
        self.select(|class| targets.contains(&class.but_for_receiver()))
    }

    /// The classes of a set, in order: TCP, UDP, SCTP by ports, then control messages, then other
    /// protocols.
    pub fn classes(&self, id: HeaderSetId) -> impl Iterator<Item = &HeaderClass> {
        let words = self.words(id);
        let numbered = self
            .classes
            .chunks(64)
            .zip(words)
            .flat_map(|(chunk, word)| {
                (0..64u32)
                    .zip(chunk)
                    .map(move |(bit, class)| (class, word >> bit & 1))
            });
        numbered
            .filter(|(_, bit)| *bit == 1)
            .map(|(class, _)| class)
    }

    /// Whether a packet is in a set. One of the other family's control protocol has no message, and
    /// no rule tells it apart.
    pub fn holds(
        &self,
        id: HeaderSetId,
        protocol: Protocol,
        ports: Option<PortPair>,
        message: Option<IcmpMessage>,
    ) -> bool {
        self.classes(id)
            .any(|class| class.holds(protocol, ports, message, self))
    }

    /// Whether a rule names a control message's type; and the code, with it.
    fn names(&self, protocol: Protocol, message: IcmpMessage) -> (bool, bool) {
        let of_kind = self.classes.iter().filter_map(|class| match class {
            HeaderClass::Message {
                protocol: own,
                kind,
                code,
                ..
            } if (*own, *kind) == (protocol, Some(message.kind)) => Some(*code),
            HeaderClass::Message { .. } | HeaderClass::Ports { .. } | HeaderClass::Protocols(_) => {
                None
            }
        });

        of_kind.fold((false, false), |(_, code_named), code| {
            (true, code_named || code == Some(message.code))
        })
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Never: there is at least the class of everything.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    fn combine(
        &mut self,
        operation: SetOperation,
        left: HeaderSetId,
        right: HeaderSetId,
    ) -> HeaderSetId {
        if let Some(known) = self.made.get(&(operation, left, right)) {
            return *known;
        }

        let pairs = self.words(left).iter().zip(self.words(right));
        let combined = pairs.map(|(left, right)| match operation {
            SetOperation::And => left & right,
            SetOperation::Or => left | right,
            SetOperation::Less => left & !right,
        });
        let combined = combined.collect();

        let id = self.intern(combined);
        self.made.insert((operation, left, right), id);
        id
    }

    fn intern(&mut self, words: Box<[u64]>) -> HeaderSetId {
        let (index, _) = self.sets.insert_full(words);
        HeaderSetId(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

impl HeaderClass {
    /// The protocol; of several, the first.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            HeaderClass::Ports { protocol, .. } | HeaderClass::Message { protocol, .. } => {
                Some(*protocol)
            }
            HeaderClass::Protocols(protocols) => protocols.first().copied(),
        }
    }

    /// The class with the receiver's port left open.
    fn but_for_receiver(&self) -> HeaderClass {
        match self {
            HeaderClass::Ports {
                protocol, source, ..
            } => HeaderClass::Ports {
                protocol: *protocol,
                source: *source,
                destination: (0, u16::MAX),
            },
            HeaderClass::Message { .. } | HeaderClass::Protocols(_) => self.clone(),
        }
    }

    /// How far [`Self::example`] is from what people expect, to choose between classes: TCP, UDP
    /// and SCTP from a port that senders take to one that everyone knows come first, port 0 comes
    /// last.
    pub(crate) fn strangeness(&self) -> u8 {
        match self {
            HeaderClass::Ports { source: (_, 0), .. }
            | HeaderClass::Ports {
                destination: (_, 0),
                ..
            } => 5,
            HeaderClass::Message { .. } | HeaderClass::Protocols(_) => 4,
            HeaderClass::Ports {
                source,
                destination,
                ..
            } => {
                u8::from(source.1 < EPHEMERAL) * 2
                    + u8::from(well_known(destination.0, destination.1).is_none())
            }
        }
    }

    /// What one packet of the class carries: protocol, ports, message.
    pub fn example(&self) -> Option<(Protocol, Option<PortPair>, Option<IcmpMessage>)> {
        let protocol = self.protocol()?;

        Some(match self {
            HeaderClass::Ports {
                source,
                destination,
                ..
            } => {
                let ports = PortPair {
                    source: usual(source.0, source.1),
                    destination: expected(*destination),
                };
                (protocol, Some(ports), None)
            }
            HeaderClass::Message { example, .. } => (protocol, None, Some(*example)),
            HeaderClass::Protocols(_) => (protocol, None, None),
        })
    }

    /// First and last port at a side.
    pub fn port(&self, side: Side) -> Option<(u16, u16)> {
        match (self, side) {
            (HeaderClass::Ports { source, .. }, Side::Source) => Some(*source),
            (HeaderClass::Ports { destination, .. }, Side::Destination) => Some(*destination),
            (HeaderClass::Message { .. } | HeaderClass::Protocols(_), _) => None,
        }
    }

    fn holds(
        &self,
        protocol: Protocol,
        ports: Option<PortPair>,
        message: Option<IcmpMessage>,
        traffic: &HeaderSpace,
    ) -> bool {
        let within = |(first, last): (u16, u16), port: u16| (first..=last).contains(&port);

        match self {
            HeaderClass::Ports {
                protocol: own,
                source,
                destination,
            } => {
                *own == protocol
                    && ports.is_some_and(|ports| {
                        within(*source, ports.source) && within(*destination, ports.destination)
                    })
            }
            HeaderClass::Message {
                protocol: own,
                kind,
                code,
                ..
            } => {
                let is_message = |message: IcmpMessage| {
                    let (kind_named, code_named) = traffic.names(protocol, message);
                    *kind == kind_named.then_some(message.kind)
                        && *code == code_named.then_some(message.code)
                };
                *own == protocol && message.is_none_or(is_message)
            }
            HeaderClass::Protocols(own) => own.contains(&protocol),
        }
    }

    fn is_of(&self, wanted: ProtocolMatch) -> bool {
        self.protocol()
            .is_some_and(|protocol| holds(wanted, protocol))
    }
}

/// Below it are ports that no sender takes by itself (Linux, `ip_local_port_range`).
const EPHEMERAL: u16 = 32_768;

/// A port that people expect a sender to have, where the class leaves the choice (RFC 6335, section
/// 6: from 49152).
fn usual(first: u16, last: u16) -> u16 {
    DYNAMIC.clamp(first, last)
}

/// A port that people expect a receiver to have: one that everyone knows, else the first that is
/// not 0.
fn expected(range: (u16, u16)) -> u16 {
    well_known(range.0, range.1).unwrap_or(range.0.max(1).min(range.1))
}

/// A port in a range that everyone knows: HTTPS, HTTP, DNS, PostgreSQL.
fn well_known(first: u16, last: u16) -> Option<u16> {
    [443, 80, 53, 5432]
        .into_iter()
        .find(|port| (first..=last).contains(port))
}
/// Whether the sender has a port that people expect it to have.
pub fn is_usual(ports: PortPair) -> bool {
    ports.source >= DYNAMIC
}

const DYNAMIC: u16 = 49_152;

fn holds(wanted: ProtocolMatch, protocol: Protocol) -> bool {
    match wanted {
        ProtocolMatch::Any => true,
        ProtocolMatch::Is(wanted) => wanted == protocol,
        ProtocolMatch::IsNot(excluded) => excluded != protocol,
    }
}

/// The positions of the classes that have ports at a side, by the first of them.
fn by_first_port(classes: &[HeaderClass], side: Side) -> BTreeMap<u16, Vec<usize>> {
    let mut by_port: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (position, class) in classes.iter().enumerate() {
        if let Some((first, _)) = class.port(side) {
            by_port.entry(first).or_default().push(position);
        }
    }
    by_port
}

/// The positions and codes of the classes of control messages that have a type, by the type.
fn by_type(classes: &[HeaderClass]) -> FxHashMap<u8, Vec<(Option<u8>, usize)>> {
    let mut by_type: FxHashMap<u8, Vec<(Option<u8>, usize)>> = FxHashMap::default();
    for (position, class) in classes.iter().enumerate() {
        if let HeaderClass::Message {
            kind: Some(kind),
            code,
            ..
        } = class
        {
            by_type.entry(*kind).or_default().push((*code, position));
        }
    }

    by_type
}

fn mark(words: &mut [u64], position: usize) {
    if let Some(word) = words.get_mut(position / 64) {
        *word |= 1 << (position % 64);
    }
}

/// Port 0 is in no range of a rule, and so in a class of its own where a rule asks for any port at
/// all.
fn port_classes(protocol: Protocol, cuts: &PartitionBuilder, classes: &mut Vec<HeaderClass>) {
    let ranges = |side| {
        let firsts = cuts
            .ports
            .get(&(protocol, side))
            .into_iter()
            .flatten()
            .copied();
        let firsts: BTreeSet<u16> = firsts.chain([0, 1]).collect();
        let lasts: Vec<u16> = firsts
            .iter()
            .skip(1)
            .map(|next| next - 1)
            .chain([u16::MAX])
            .collect();
        firsts.into_iter().zip(lasts)
    };

    for source in merged_below_one(
        ranges(Side::Source).collect(),
        cuts.ports.contains_key(&(protocol, Side::Source)),
    ) {
        for destination in ranges(Side::Destination) {
            classes.push(HeaderClass::Ports {
                protocol,
                source,
                destination,
            });
        }
    }
}

/// Where no rule asks for a port, port 0 is one with the others.
fn merged_below_one(ranges: Vec<(u16, u16)>, is_cut: bool) -> Vec<(u16, u16)> {
    if is_cut { ranges } else { vec![(0, u16::MAX)] }
}

fn message_classes(protocol: Protocol, cuts: &PartitionBuilder, classes: &mut Vec<HeaderClass>) {
    let nothing = BTreeMap::new();
    let named = cuts.messages.get(&protocol).unwrap_or(&nothing);
    let mut push = |kind, code, example: Option<IcmpMessage>| {
        classes.extend(example.map(|example| HeaderClass::Message {
            protocol,
            kind,
            code,
            example,
        }));
    };

    for (kind, codes) in named {
        for code in codes {
            push(
                Some(*kind),
                Some(*code),
                Some(IcmpMessage {
                    kind: *kind,
                    code: *code,
                }),
            );
        }
        let other = (0..=u8::MAX).find(|code| !codes.contains(code));
        push(
            Some(*kind),
            None,
            other.map(|code| IcmpMessage { kind: *kind, code }),
        );
    }

    let other = (0..=u8::MAX).find(|kind| !named.contains_key(kind));
    push(None, None, other.map(|kind| IcmpMessage { kind, code: 0 }));
}
