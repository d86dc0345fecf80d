//! The classes of a protocol with ports: a grid of the sender's ports and the receiver's.

use std::ops::{Range, RangeInclusive};

use crate::net::{PortRange, Protocol, Side};
use crate::packet::PortPair;
use crate::packet_space::header_space::class::HeaderClass;
use crate::packet_space::header_space::partition::PartitionBuilder;

/// The classes of a protocol with ports. Each is a row and a column: a class of the sender's ports,
/// and one of the receiver's.
#[derive(Debug)]
pub(super) struct PortGrid {
    pub(super) protocol: Protocol,
    /// The column of the receiver's first class of ports. The others follow it.
    first_column: usize,
    /// The first port of each class, in order, from port 0.
    sources: Vec<u16>,
    destinations: Vec<u16>,
}

impl PortGrid {
    pub(super) fn new(protocol: Protocol, cuts: &PartitionBuilder, first_column: usize) -> Self {
        let [sources, destinations] = Side::BOTH.map(|side| cuts.first_ports(protocol, side));
        Self {
            protocol,
            first_column,
            sources,
            destinations,
        }
    }

    /// How many classes there are.
    pub(super) fn len(&self) -> usize {
        self.sources.len() * self.destinations.len()
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn columns(&self) -> Range<usize> {
        self.first_column..self.first_column + self.destinations.len()
    }

    /// The class in a row and a column.
    pub(super) fn class(&self, row: usize, column: usize) -> HeaderClass {
        HeaderClass::Ports {
            protocol: self.protocol,
            source: self.source_ports(row, row),
            destination: self.destination_ports(column, column),
        }
    }

    /// First and last port of some rows, from the first of them to the last.
    pub(super) fn source_ports(&self, first: usize, last: usize) -> (u16, u16) {
        ports(&self.sources, first, last)
    }

    /// First and last port of some columns, from the first of them to the last.
    pub(super) fn destination_ports(&self, first: usize, last: usize) -> (u16, u16) {
        ports(
            &self.destinations,
            first - self.first_column,
            last - self.first_column,
        )
    }

    /// The row and the column of a packet.
    pub(super) fn position(&self, pair: PortPair) -> (usize, usize) {
        (
            around(&self.sources, pair.source),
            self.column(pair.destination),
        )
    }

    /// The column of a receiver's port.
    pub(super) fn column(&self, port: u16) -> usize {
        self.first_column + around(&self.destinations, port)
    }

    /// The rows or columns of the classes that begin in a range of ports. No class is only in part
    /// in a range that the cuts have.
    pub(super) fn beginning_in(&self, side: Side, range: PortRange) -> Range<usize> {
        let firsts = self.firsts(side);
        let before = |port: u16| firsts.partition_point(|first| *first < port);
        let end = range.last().checked_add(1).map_or(firsts.len(), before);
        self.numbered(side, before(range.first())..end)
    }

    /// The rows or columns of the classes that have a port of a range.
    pub(super) fn touching(&self, side: Side, range: &RangeInclusive<u16>) -> Range<usize> {
        let firsts = self.firsts(side);
        self.numbered(
            side,
            around(firsts, *range.start())..around(firsts, *range.end()) + 1,
        )
    }

    /// The row or column of port 0, if it is a class of its own.
    pub(super) fn port_0(&self, side: Side) -> Option<Range<usize>> {
        let is_alone = ports(self.firsts(side), 0, 0) == (0, 0);
        is_alone.then(|| self.numbered(side, 0..1))
    }

    fn firsts(&self, side: Side) -> &[u16] {
        match side {
            Side::Source => &self.sources,
            Side::Destination => &self.destinations,
        }
    }

    /// Classes at a side as rows or columns. The last row stands for all rows that other protocols
    /// have more.
    fn numbered(&self, side: Side, classes: Range<usize>) -> Range<usize> {
        match side {
            Side::Source if classes.end == self.sources.len() && !classes.is_empty() => {
                classes.start..usize::MAX
            }
            Side::Source => classes,
            Side::Destination => self.first_column + classes.start..self.first_column + classes.end,
        }
    }
}

/// First and last port of some classes, from the first of them to the last.
fn ports(firsts: &[u16], first: usize, last: usize) -> (u16, u16) {
    let begin = firsts.get(first).copied().expect("a class of these ports");
    (
        begin,
        firsts.get(last + 1).map_or(u16::MAX, |next| next - 1),
    )
}

/// The class that has a port.
fn around(firsts: &[u16], port: u16) -> usize {
    firsts.partition_point(|first| *first <= port) - 1
}
