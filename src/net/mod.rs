//! Small validated network values: families, protocols, ports, prefixes, directions.
//!
//! In: text or numbers from manifests. Out: values that are always valid. Absent: names, labels,
//! policy.

mod cidr;
mod packet;
mod port;
mod set_size;

pub use cidr::{Cidr, CidrError, merge_prefixes};
pub use packet::{Side, State};
pub use port::{PortRange, merge_ranges};
pub use set_size::SetSize;

use std::fmt;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Direction of traffic relative to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Traffic to the endpoint.
    Ingress,
    /// Traffic from the endpoint.
    Egress,
}

/// An IP protocol number, 0 to 255. Rules can match those from 1 (IANA "Assigned Internet Protocol
/// Numbers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(u8);

/// Names that Calico's `protocol` field accepts (case-sensitive), each with the name that iptables
/// prints.
const PROTOCOLS: [(&str, &str, Protocol); 6] = [
    ("TCP", "tcp", Protocol::TCP),
    ("UDP", "udp", Protocol::UDP),
    ("ICMP", "icmp", Protocol::ICMP),
    ("ICMPv6", "icmpv6", Protocol::ICMPV6),
    ("SCTP", "sctp", Protocol::SCTP),
    ("UDPLite", "udplite", Protocol::UDPLITE),
];

impl Family {
    /// Both families, IPv4 first.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];
}

impl Direction {
    /// Both directions, ingress first.
    pub const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

    /// The opposite direction.
    pub fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

impl Protocol {
    /// Hop-by-hop options, number 0. No rule can match it, because iptables takes 0 as "any".
    pub const HOPOPT: Protocol = Protocol(0);
    /// ICMP, the control messages of IPv4.
    pub const ICMP: Protocol = Protocol(1);
    /// TCP.
    pub const TCP: Protocol = Protocol(6);
    /// UDP.
    pub const UDP: Protocol = Protocol(17);
    /// ICMPv6, the control messages of IPv6.
    pub const ICMPV6: Protocol = Protocol(58);
    /// SCTP.
    pub const SCTP: Protocol = Protocol(132);
    /// UDP-Lite.
    pub const UDPLITE: Protocol = Protocol(136);

    /// The protocol with a number, or `None` for 0, which no rule can match.
    pub fn from_number(number: u8) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The protocol with a Calico name (case-sensitive).
    pub fn from_name(name: &str) -> Option<Self> {
        PROTOCOLS.iter().find(|row| row.0 == name).map(|row| row.2)
    }

    /// The protocol of an iptables or ipset keyword.
    pub fn from_keyword(word: &str) -> Option<Self> {
        let known = PROTOCOLS.iter().find(|row| row.1 == word).map(|row| row.2);
        known.or_else(|| word.parse().ok().and_then(Self::from_number))
    }

    /// Calico's names, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROTOCOLS.iter().map(|row| row.0)
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Whether rules may match ports of this protocol. As in Calico: TCP, UDP and SCTP, but not
    /// UDP-Lite.
    pub fn has_ports(self) -> bool {
        [Self::TCP, Self::UDP, Self::SCTP].contains(&self)
    }

    /// Whether this number is an IPv6 extension header that protocol matches skip: routing,
    /// fragment, authentication, destination options. The kernel continues with the header after it
    /// (`ipv6_find_hdr` in net/ipv6/exthdrs_core.c). Only nft stops at authentication (51).
    pub fn is_ipv6_extension_header(self) -> bool {
        [43, 44, 51, 60].contains(&self.0)
    }

    /// The keyword that iptables and ipset use: a lower-case name, or the number.
    pub fn keyword(self) -> String {
        PROTOCOLS
            .iter()
            .find(|row| row.2 == self)
            .map_or_else(|| self.0.to_string(), |row| row.1.to_owned())
    }
}

impl fmt::Display for Protocol {
    /// Calico's name, or the number.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|row| row.2 == *self) {
            Some(row) => out.write_str(row.0),
            None => write!(out, "{}", self.0),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        })
    }
}

#[cfg(test)]
mod tests;
