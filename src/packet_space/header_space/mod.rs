//! What packets carry, cut into classes that no rule can tell apart, and sets of such classes.
//!
//! In: the [`PartitionBuilder`] that rules make. Out: [`HeaderSpace`], which knows every class and
//! every set of classes that was asked for. A set is a number ([`HeaderSetId`]); equal sets have
//! equal numbers, so that to compare two answers is to compare numbers.
//!
//! Classes have positions: those of a protocol with ports are a [`PortGrid`], a row for each class
//! of the sender's ports and a column for each of the receiver's. The columns of all protocols
//! stand beside each other, and each other class is a column behind them. A protocol with fewer
//! rows than another one has its last row again for the rest, and what has no ports is the same in
//! each row. Where no rule asks for the sender's port, there is one row.
//!
//! Cost: classes are made when they are asked for, so that a grid takes its rows and columns and
//! not their product. Of sets see [`diagram`].

mod class;
mod diagram;
mod grid;
mod partition;

pub use class::{DYNAMIC_PORTS, HeaderClass};
pub use diagram::HeaderSetId;
pub use partition::PartitionBuilder;

use std::ops::{Range, RangeInclusive};

use rustc_hash::FxHashMap;

use crate::net::{PortRange, Protocol, Side};
use crate::packet::{IcmpMessage, PortPair};
use crate::policy::{Icmp, IcmpMatch, ProtocolMatch};

use class::{EPHEMERAL_PORTS, WELL_KNOWN_PORTS, message_classes, protocol_classes};
use diagram::{DecisionDiagram, SetOperation};
use grid::PortGrid;

/// All classes, and the sets of them that were asked for.
#[derive(Debug)]
pub struct HeaderSpace {
    grids: Vec<PortGrid>,
    /// The classes of protocols without ports.
    others: Vec<HeaderClass>,
    /// The column of the first of these. The others follow it.
    first_other: usize,
    pub(super) diagram: DecisionDiagram,
    of_rules: FxHashMap<(ProtocolMatch, IcmpMatch), HeaderSetId>,
    /// By the side of the port.
    of_ports: FxHashMap<Side, FxHashMap<Box<[PortRange]>, HeaderSetId>>,
    /// The columns of control messages by protocol, type and code, as their classes name them.
    messages: FxHashMap<(Protocol, Option<u8>, Option<u8>), usize>,
    /// The same by type, with the code.
    by_type: FxHashMap<u8, Vec<(Option<u8>, usize)>>,
    /// The columns of protocols that have neither ports nor messages.
    protocols: FxHashMap<Protocol, usize>,
    listed: HeaderSetId,
    /// All classes, by what [`HeaderSpace::most_expected`] prefers; empty until somebody asks.
    expected: Vec<HeaderSetId>,
}

/// Packets of a protocol with ports, from some ports to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortBlock {
    /// The protocol.
    pub protocol: Protocol,
    /// First and last port of the sender.
    pub source: (u16, u16),
    /// First and last ports of the receiver, in order, with others between them; not empty.
    pub destinations: Vec<(u16, u16)>,
}

/// The protocols whose ports rules can name.
const WITH_PORTS: [Protocol; 3] = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
const WITH_MESSAGES: [Protocol; 2] = [Protocol::ICMP, Protocol::ICMPV6];

impl HeaderSpace {
    /// No packet.
    pub const NONE: HeaderSetId = HeaderSetId::NONE;
    /// Every packet.
    pub const ALL: HeaderSetId = HeaderSetId::ALL;

    /// The classes that these cuts leave.
    pub fn of(cuts: &PartitionBuilder) -> Self {
        let udplite = Some(Protocol::UDPLITE).filter(|other| cuts.has_ports(*other));
        let mut first_other = 0;
        let grids = WITH_PORTS.into_iter().chain(udplite).map(|protocol| {
            let grid = PortGrid::new(protocol, cuts, first_other);
            first_other = grid.columns().end;
            grid
        });
        let grids: Vec<PortGrid> = grids.collect();

        let is_special = |protocol: &Protocol| {
            grids.iter().any(|grid| grid.protocol == *protocol) || WITH_MESSAGES.contains(protocol)
        };
        let rest = (1..=u8::MAX)
            .filter_map(Protocol::from_number)
            .filter(|protocol| !is_special(protocol));

        let others = WITH_MESSAGES
            .iter()
            .flat_map(|protocol| message_classes(*protocol, cuts));
        let others: Vec<HeaderClass> = others.chain(protocol_classes(rest, cuts)).collect();

        let rows = grids.iter().map(PortGrid::rows).max().unwrap_or(1);
        let diagram = DecisionDiagram::new(rows, first_other + others.len());
        let (of_rules, of_ports, messages, by_type, protocols, expected) = Default::default();
        let listed = Self::ALL;
        let mut traffic = Self {
            grids,
            others,
            first_other,
            diagram,
            of_rules,
            of_ports,
            messages,
            by_type,
            protocols,
            listed,
            expected,
        };
        traffic.index_others();

        for side in Side::BOTH {
            let port_0 = traffic.at_side(side, |grid| grid.port_0(side).into_iter().collect());
            traffic.listed = traffic.less(traffic.listed, port_0);
        }

        traffic
    }

    fn index_others(&mut self) {
        for (column, class) in (self.first_other..).zip(&self.others) {
            match class {
                HeaderClass::Ports { .. } => {}
                HeaderClass::Message {
                    protocol,
                    kind,
                    code,
                    ..
                } => {
                    self.messages.insert((*protocol, *kind, *code), column);
                    let of_type = kind.map(|kind| self.by_type.entry(kind).or_default());
                    of_type
                        .into_iter()
                        .for_each(|rows| rows.push((*code, column)));
                }
                HeaderClass::Protocols(protocols) => self
                    .protocols
                    .extend(protocols.iter().map(|protocol| (*protocol, column))),
            }
        }
    }

    /// What a condition on protocol and control message lets through.
    pub fn of_rule(&mut self, protocol: ProtocolMatch, icmp: IcmpMatch) -> HeaderSetId {
        if let Some(known) = self.of_rules.get(&(protocol, icmp)) {
            return *known;
        }

        let id = match icmp {
            IcmpMatch::Any => self.of_protocol(protocol),
            IcmpMatch::Is(icmp) => {
                let own = self.of_rule(protocol, IcmpMatch::Any);
                let message = self.of_message(icmp);
                self.and(own, message)
            }
            IcmpMatch::IsNot(icmp) => {
                let own = self.of_rule(protocol, IcmpMatch::Any);
                let message = self.of_message(icmp);
                self.less(own, message)
            }
        };

        self.of_rules.insert((protocol, icmp), id);
        id
    }

    fn of_protocol(&mut self, wanted: ProtocolMatch) -> HeaderSetId {
        let grids = self
            .grids
            .iter()
            .filter(|grid| holds(wanted, grid.protocol))
            .map(PortGrid::columns);
        let others = (self.first_other..).zip(&self.others);
        let others = others.filter(|(_, class)| {
            class
                .protocol()
                .is_some_and(|protocol| holds(wanted, protocol))
        });
        let runs: Vec<Range<usize>> = grids
            .chain(others.map(|(column, _)| column..column + 1))
            .collect();
        self.columns(runs)
    }

    /// Control messages of a type, and of a code where one is given, of every protocol that has
    /// them.
    fn of_message(&mut self, icmp: Icmp) -> HeaderSetId {
        let of_type = self.by_type.get(&icmp.kind).into_iter().flatten();
        let wanted = of_type.filter(|(code, _)| icmp.code.is_none() || *code == icmp.code);
        let runs: Vec<Range<usize>> = wanted.map(|(_, column)| *column..column + 1).collect();
        self.columns(runs)
    }

    /// Packets whose port at a side is one of these; of protocols that have ports. Each range must
    /// be among the cuts of a protocol, or it takes in the classes of that protocol that begin in
    /// it.
    pub fn with_ports(&mut self, side: Side, ranges: &[PortRange]) -> HeaderSetId {
        let known = self.of_ports.get(&side).and_then(|known| known.get(ranges));
        if let Some(known) = known {
            return *known;
        }

        let id = self.at_side(side, |grid| {
            ranges
                .iter()
                .map(|range| grid.beginning_in(side, *range))
                .collect()
        });
        self.of_ports
            .entry(side)
            .or_default()
            .insert(ranges.into(), id);
        id
    }

    /// Packets of a protocol to or from a port.
    pub fn with_port(&mut self, protocol: Protocol, side: Side, port: u16) -> HeaderSetId {
        let of_protocol = self.of_rule(ProtocolMatch::Is(protocol), IcmpMatch::Any);
        let of_port = match PortRange::new(port, port) {
            Some(range) => self.with_ports(side, &[range]),
            None => self.at_side(side, |grid| grid.port_0(side).into_iter().collect()),
        };
        self.and(of_protocol, of_port)
    }

    /// The classes that have a port of a range at a side, and perhaps others; of protocols that
    /// have ports.
    pub fn touching(&mut self, side: Side, range: RangeInclusive<u16>) -> HeaderSetId {
        self.at_side(side, |grid| vec![grid.touching(side, &range)])
    }

    /// Packets of protocols that have no ports.
    pub fn without_ports(&mut self) -> HeaderSetId {
        self.columns([self.other_columns()])
    }

    /// All that listings have: all but port 0, which is reserved, so that nobody listens there.
    pub fn listed(&self) -> HeaderSetId {
        self.listed
    }

    /// What has some rows or columns, of each protocol with ports.
    fn at_side(
        &mut self,
        side: Side,
        of_grid: impl Fn(&PortGrid) -> Vec<Range<usize>>,
    ) -> HeaderSetId {
        if side == Side::Destination {
            let runs: Vec<Range<usize>> = self.grids.iter().flat_map(of_grid).collect();
            return self.columns(runs);
        }

        let grids: Vec<_> = self
            .grids
            .iter()
            .map(|grid| (grid.columns(), of_grid(grid)))
            .collect();
        grids.into_iter().fold(Self::NONE, |all, (columns, rows)| {
            let row = self.columns([columns]);
            let own = self.diagram.rows(&joined(rows), row);
            self.or(all, own)
        })
    }

    /// The set of some columns. The last one stands for all that there could be.
    fn columns(&mut self, runs: impl IntoIterator<Item = Range<usize>>) -> HeaderSetId {
        let last = self.other_columns().end;
        let runs = runs
            .into_iter()
            .map(|run| run.start..if run.end == last { usize::MAX } else { run.end });
        self.diagram.columns(&joined(runs.collect()))
    }

    /// The columns of the classes that have no ports.
    fn other_columns(&self) -> Range<usize> {
        self.first_other..self.first_other + self.others.len()
    }

    /// Packets of both sets.
    pub fn and(&mut self, left: HeaderSetId, right: HeaderSetId) -> HeaderSetId {
        self.diagram.combine(SetOperation::And, left, right)
    }

    /// Packets of one of the sets, or of both.
    pub fn or(&mut self, left: HeaderSetId, right: HeaderSetId) -> HeaderSetId {
        self.diagram.combine(SetOperation::Or, left, right)
    }

    /// Packets of the first set that are not in the second.
    pub fn less(&mut self, left: HeaderSetId, right: HeaderSetId) -> HeaderSetId {
        self.diagram.combine(SetOperation::Less, left, right)
    }

    /// The packets that would be in a set if they were for this port; of protocols without ports,
    /// those that are.
    pub fn redirected(&mut self, set: HeaderSetId, port: u16) -> HeaderSetId {
        if matches!(set, Self::NONE | Self::ALL) {
            return set;
        }

        let others = self.without_ports();
        let others = self.and(set, others);

        let grids: Vec<_> = self
            .grids
            .iter()
            .map(|grid| (grid.protocol, grid.column(port)))
            .collect();
        grids.into_iter().fold(others, |all, (protocol, column)| {
            let own = self.of_rule(ProtocolMatch::Is(protocol), IcmpMatch::Any);
            let rows = self.diagram.rows_with(set, column);
            let own = self.and(own, rows);
            self.or(all, own)
        })
    }

    /// The classes of a set, in order: TCP, UDP, SCTP by ports, then control messages, then other
    /// protocols. They are made one by one.
    pub fn classes(&self, id: HeaderSetId) -> impl Iterator<Item = HeaderClass> + '_ {
        let of_grid = move |grid| {
            self.rows(grid, id)
                .flat_map(move |(number, row)| self.of_row(grid, number, row))
        };
        self.grids
            .iter()
            .flat_map(of_grid)
            .chain(self.other_classes(id).cloned())
    }

    fn of_row<'grid>(
        &'grid self,
        grid: &'grid PortGrid,
        number: usize,
        row: HeaderSetId,
    ) -> impl Iterator<Item = HeaderClass> + 'grid {
        self.diagram
            .runs(row, grid.columns())
            .flatten()
            .map(move |column| grid.class(number, column))
    }

    /// The classes of a set that have no ports, in order.
    pub fn other_classes(&self, id: HeaderSetId) -> impl Iterator<Item = &HeaderClass> + '_ {
        let columns = self
            .diagram
            .runs(self.diagram.row(id, 0), self.other_columns())
            .flatten();
        columns.filter_map(|column| self.others.get(column - self.first_other))
    }

    /// What of a set has ports: for each protocol, the senders' ports in order, those together that
    /// may send to the same ports.
    pub fn port_blocks(&self, id: HeaderSetId) -> impl Iterator<Item = PortBlock> + '_ {
        self.grids
            .iter()
            .flat_map(move |grid| self.blocks_of(grid, id))
            .filter(|block| !block.destinations.is_empty())
    }

    fn blocks_of<'grid>(
        &'grid self,
        grid: &'grid PortGrid,
        id: HeaderSetId,
    ) -> impl Iterator<Item = PortBlock> + 'grid {
        let mut rows = self.rows(grid, id).peekable();
        std::iter::from_fn(move || {
            let (first, row) = rows.next()?;
            let mut last = first;
            while let Some((next, _)) = rows.next_if(|(_, other)| *other == row) {
                last = next;
            }
            let runs = self.diagram.runs(row, grid.columns());
            let destinations = runs
                .map(|run| grid.destination_ports(run.start, run.end - 1))
                .collect();
            Some(PortBlock {
                protocol: grid.protocol,
                source: grid.source_ports(first, last),
                destinations,
            })
        })
    }

    /// What a set has in each row of a grid.
    fn rows(
        &self,
        grid: &PortGrid,
        id: HeaderSetId,
    ) -> impl Iterator<Item = (usize, HeaderSetId)> + '_ {
        (0..grid.rows()).map(move |row| (row, self.diagram.row(id, row)))
    }

    /// The first class of a set.
    pub fn first(&mut self, id: HeaderSetId) -> Option<HeaderClass> {
        for number in 0..self.grids.len() {
            let protocol = self.grids.get(number)?.protocol;
            let own = self.of_rule(ProtocolMatch::Is(protocol), IcmpMatch::Any);
            let own = self.and(own, id);
            if let Some((row, column)) = self.diagram.first(own) {
                return self.grids.get(number).map(|grid| grid.class(row, column));
            }
        }
        self.other_classes(id).next().cloned()
    }

    /// The class of a set whose [`HeaderClass::example`] people expect most, the first of several.
    /// TCP, UDP and SCTP from a port that senders take to one that everyone knows come first; port
    /// 0 comes last.
    pub fn most_expected(&mut self, id: HeaderSetId) -> Option<HeaderClass> {
        if self.expected.is_empty() {
            self.expected = self.by_expectation();
        }
        let sets = self
            .expected
            .clone()
            .into_iter()
            .map(|set| self.and(set, id));
        let best = sets.into_iter().find(|set| *set != Self::NONE)?;
        self.first(best)
    }

    /// All classes, those before others that people expect more.
    fn by_expectation(&mut self) -> Vec<HeaderSetId> {
        let without_ports = self.without_ports();
        let ports = self.less(self.listed, without_ports);

        let from_ephemeral = self.touching(Side::Source, EPHEMERAL_PORTS);
        let to_known = WELL_KNOWN_PORTS.into_iter().fold(Self::NONE, |all, port| {
            let own = self.touching(Side::Destination, port..=port);
            self.or(all, own)
        });

        let from_others = self.less(ports, from_ephemeral);
        let from_ephemeral = self.and(ports, from_ephemeral);

        let mut all = Vec::new();
        for set in [from_ephemeral, from_others] {
            all.extend([self.and(set, to_known), self.less(set, to_known)]);
        }

        all.extend([without_ports, self.less(Self::ALL, self.listed)]);
        all
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
        if let Some(grid) = self.grids.iter().find(|grid| grid.protocol == protocol) {
            return ports.is_some_and(|ports| {
                let (row, column) = grid.position(ports);
                self.diagram.holds(id, row, column)
            });
        }

        if !WITH_MESSAGES.contains(&protocol) {
            return self
                .protocols
                .get(&protocol)
                .is_some_and(|column| self.diagram.holds(id, 0, *column));
        }

        match message {
            Some(message) => self
                .column_of(protocol, message)
                .is_some_and(|column| self.diagram.holds(id, 0, column)),
            None => self
                .other_classes(id)
                .any(|class| class.protocol() == Some(protocol)),
        }
    }

    /// The column of a control message.
    fn column_of(&self, protocol: Protocol, message: IcmpMessage) -> Option<usize> {
        let (kind, code) = (Some(message.kind), Some(message.code));
        let names = [(kind, code), (kind, None), (None, None)];
        names
            .into_iter()
            .find_map(|(kind, code)| self.messages.get(&(protocol, kind, code)).copied())
    }

    /// Whether a set has all that another one has.
    pub fn includes(&self, outer: HeaderSetId, inner: HeaderSetId) -> bool {
        self.diagram.includes(outer, inner)
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.grids.iter().map(PortGrid::len).sum::<usize>() + self.others.len()
    }

    /// Never: there is at least the class of everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn holds(wanted: ProtocolMatch, protocol: Protocol) -> bool {
    match wanted {
        ProtocolMatch::Any => true,
        ProtocolMatch::Is(wanted) => wanted == protocol,
        ProtocolMatch::IsNot(excluded) => excluded != protocol,
    }
}

/// Runs in order and apart, of any that may be empty or have numbers in common.
fn joined(mut runs: Vec<Range<usize>>) -> Vec<Range<usize>> {
    runs.retain(|run| !run.is_empty());
    runs.sort_unstable_by_key(|run| run.start);

    let mut all: Vec<Range<usize>> = Vec::with_capacity(runs.len());
    for run in runs {
        match all.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            Some(_) | None => all.push(run),
        }
    }

    all
}

#[cfg(test)]
mod tests;
