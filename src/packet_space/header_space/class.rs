//! Packets that no rule tells apart by what they carry.

use std::ops::RangeInclusive;

use crate::net::{Protocol, Side};
use crate::packet::{IcmpMessage, PortPair};
use crate::packet_space::header_space::partition::PartitionBuilder;

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

/// Ports that senders take (RFC 6335, section 6).
pub const DYNAMIC_PORTS: RangeInclusive<u16> = 49_152..=u16::MAX;

/// Ports that senders take by themselves (Linux, `ip_local_port_range`); none takes one below.
pub(super) const EPHEMERAL_PORTS: RangeInclusive<u16> = 32_768..=u16::MAX;

/// Ports that everyone knows: HTTPS, HTTP, DNS, PostgreSQL. The first is preferred.
pub(super) const WELL_KNOWN_PORTS: [u16; 4] = [443, 80, 53, 5432];

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
                    destination: expected(destination.0, destination.1),
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
}

/// A port that people expect a sender to have, where the class leaves the choice.
fn usual(first: u16, last: u16) -> u16 {
    DYNAMIC_PORTS.start().to_owned().clamp(first, last)
}

/// A port that people expect a receiver to have: one that everyone knows, else the first that is
/// not 0.
fn expected(first: u16, last: u16) -> u16 {
    let known = WELL_KNOWN_PORTS
        .into_iter()
        .find(|port| (first..=last).contains(port));
    known.unwrap_or(first.max(1).min(last))
}

/// The classes of a protocol of control messages.
pub(super) fn message_classes(protocol: Protocol, cuts: &PartitionBuilder) -> Vec<HeaderClass> {
    let mut classes = Vec::new();
    let mut push = |kind, code, example: Option<IcmpMessage>| {
        classes.extend(example.map(|example| HeaderClass::Message {
            protocol,
            kind,
            code,
            example,
        }));
    };

    let named = cuts.named_messages(protocol);
    for (kind, codes) in named.clone() {
        for code in codes {
            push(
                Some(kind),
                Some(*code),
                Some(IcmpMessage { kind, code: *code }),
            );
        }
        let other = (0..=u8::MAX).find(|code| !codes.contains(code));
        push(
            Some(kind),
            None,
            other.map(|code| IcmpMessage { kind, code }),
        );
    }

    let other = (0..=u8::MAX).find(|kind| named.clone().all(|(named, _)| named != *kind));
    push(None, None, other.map(|kind| IcmpMessage { kind, code: 0 }));

    classes
}

/// The classes of protocols that have neither ports nor messages that rules can name.
pub(super) fn protocol_classes(
    protocols: impl Iterator<Item = Protocol>,
    cuts: &PartitionBuilder,
) -> Vec<HeaderClass> {
    let (named, unnamed): (Vec<Protocol>, Vec<Protocol>) =
        protocols.partition(|protocol| cuts.is_named(*protocol));

    // no rule names protocol 0, so that it is there even where rules name all others
    let unnamed = if unnamed.is_empty() {
        vec![Protocol::HOPOPT]
    } else {
        unnamed
    };
    let named = named
        .into_iter()
        .map(|protocol| HeaderClass::Protocols(vec![protocol]));
    named.chain([HeaderClass::Protocols(unnamed)]).collect()
}
