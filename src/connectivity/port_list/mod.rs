//! Sets of headers in terms that people and other programs use: protocols, ports, ICMP types.
//!
//! In: a [`HeaderSetId`]. Out: an [`AllowedTraffic`] for every protocol in it. Port 0 is left out,
//! because it is reserved and no process listens there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::net::{PortRange, Protocol, merge_ranges};
use crate::packet_space::{HeaderClass, HeaderSetId, HeaderSpace};

/// The allowed traffic of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedTraffic {
    /// The protocol.
    pub protocol: Protocol,
    /// The destination ports, merged; `None` if the protocol has no ports.
    pub ports: Option<Vec<PortRange>>,
    /// The source ports, merged; `None` if any source port is allowed or the protocol has no ports.
    pub source_ports: Option<Vec<PortRange>>,
    /// The ICMP messages; `None` if any message is allowed or the protocol has no messages.
    pub types: Option<Vec<AllowedMessages>>,
}

/// A range of ICMP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AllowedMessages {
    /// From the first type to the last, with all codes.
    Types(u8, u8),
    /// Of one type, from the first code to the last.
    Codes(u8, u8, u8),
}

/// Type and code of a header class; `None` means all types or codes that no rule names.
type MessageName = (Option<u8>, Option<u8>);

/// The protocols that are listed first, in this order. The others follow by number.
const FIRST: [Protocol; 5] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::SCTP,
    Protocol::ICMP,
    Protocol::ICMPV6,
];

/// Lists everything in a set of headers, by protocol. A protocol with restricted source ports has
/// one entry for each distinct set of destination ports.
pub fn describe(id: HeaderSetId, traffic: &HeaderSpace) -> Vec<AllowedTraffic> {
    let mut ports: BTreeMap<Protocol, BTreeMap<Vec<PortRange>, Vec<PortRange>>> = BTreeMap::new();
    let mut messages: BTreeMap<Protocol, Vec<MessageName>> = BTreeMap::new();
    let mut others: BTreeSet<Protocol> = BTreeSet::new();

    for block in traffic.port_blocks(id) {
        let destinations = block.destinations.into_iter();
        let destinations: Vec<PortRange> = destinations
            .filter_map(|(first, last)| listed(first, last))
            .collect();
        let source = listed(block.source.0, block.source.1);
        if let Some(source) = source.filter(|_| !destinations.is_empty()) {
            let by_ports = ports.entry(block.protocol).or_default();
            by_ports.entry(destinations).or_default().push(source);
        }
    }
    for class in traffic.other_classes(id) {
        match class {
            HeaderClass::Ports { .. } => {}
            HeaderClass::Message {
                protocol,
                kind,
                code,
                ..
            } => messages.entry(*protocol).or_default().push((*kind, *code)),
            HeaderClass::Protocols(protocols) => others.extend(protocols),
        }
    }

    let mut all = Vec::new();
    for protocol in FIRST {
        all.extend(
            ports
                .remove(&protocol)
                .into_iter()
                .flat_map(|by_ports| with_ports(protocol, by_ports)),
        );
        all.extend(
            messages
                .remove(&protocol)
                .map(|allowed| with_messages(protocol, &allowed, traffic)),
        );
    }

    all.extend(others.into_iter().map(|protocol| AllowedTraffic {
        protocol,
        ports: None,
        source_ports: None,
        types: None,
    }));

    all
}

/// Returns `true` if a set contains everything that can be listed.
pub fn is_everything(id: HeaderSetId, traffic: &HeaderSpace) -> bool {
    traffic.includes(id, traffic.listed())
}

/// Returns the ports of a header class, without port 0; `None` if none remain.
fn listed(first: u16, last: u16) -> Option<PortRange> {
    PortRange::new(first.max(1), last)
}

fn with_ports(
    protocol: Protocol,
    by_ports: BTreeMap<Vec<PortRange>, Vec<PortRange>>,
) -> Vec<AllowedTraffic> {
    let every = PortRange::new(1, u16::MAX).into_iter().collect::<Vec<_>>();
    let allowed = |(ports, sources)| {
        let sources = merge_ranges(sources);
        AllowedTraffic {
            protocol,
            ports: Some(ports),
            source_ports: (sources != every).then_some(sources),
            types: None,
        }
    };
    by_ports.into_iter().map(allowed).collect()
}

fn with_messages(
    protocol: Protocol,
    allowed: &[MessageName],
    traffic: &HeaderSpace,
) -> AllowedTraffic {
    let mut named: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
    for class in traffic.other_classes(HeaderSpace::ALL) {
        if let HeaderClass::Message {
            protocol: own,
            kind: Some(kind),
            code,
            ..
        } = class
            && *own == protocol
        {
            named.entry(*kind).or_default().extend(*code);
        }
    }

    let codes_of = |kind: u8| match named.get(&kind) {
        None if allowed.contains(&(None, None)) => vec![(0, u8::MAX)],
        None => Vec::new(),
        Some(codes) => {
            let is_allowed =
                |code: &u8| allowed.contains(&(Some(kind), codes.contains(code).then_some(*code)));
            runs((0..=u8::MAX).filter(is_allowed))
        }
    };
    let mut types: Vec<AllowedMessages> = Vec::new();

    for kind in 0..=u8::MAX {
        for (first, last) in codes_of(kind) {
            match types.last_mut() {
                Some(AllowedMessages::Types(_, before))
                    if (first, last) == (0, u8::MAX) && before.checked_add(1) == Some(kind) =>
                {
                    *before = kind
                }
                Some(_) | None if (first, last) == (0, u8::MAX) => {
                    types.push(AllowedMessages::Types(kind, kind))
                }
                Some(_) | None => types.push(AllowedMessages::Codes(kind, first, last)),
            }
        }
    }

    let types = Some(types).filter(|types| *types != [AllowedMessages::Types(0, u8::MAX)]);
    AllowedTraffic {
        protocol,
        ports: None,
        source_ports: None,
        types,
    }
}

/// Returns sorted numbers as ranges.
fn runs(numbers: impl Iterator<Item = u8>) -> Vec<(u8, u8)> {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            Some(_) | None => runs.push((number, number)),
        }
    }
    runs
}

/// Formats ports: `80,443,8000-8100`.
pub fn ports_text(ports: &[PortRange]) -> String {
    let texts: Vec<String> = ports
        .iter()
        .map(|range| span(&range.first(), &range.last()))
        .collect();
    texts.join(",")
}

/// Formats ICMP messages: `8/0,3`.
pub fn types_text(types: &[AllowedMessages]) -> String {
    let texts: Vec<String> = types.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// Returns Calico's name for a protocol that has ports or messages, else its number.
pub fn protocol_text(protocol: Protocol) -> String {
    if FIRST.contains(&protocol) {
        protocol.to_string()
    } else {
        protocol.number().to_string()
    }
}

fn span<Number: fmt::Display + PartialEq>(first: &Number, last: &Number) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

impl fmt::Display for AllowedMessages {
    /// Prints `8`, `3-4`, `8/0` or `3/0-4`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllowedMessages::Types(first, last) => out.write_str(&span(first, last)),
            AllowedMessages::Codes(kind, first, last) => {
                write!(out, "{kind}/{}", span(first, last))
            }
        }
    }
}

#[cfg(test)]
mod tests;
