//! Small checked values of the network: families, protocols, ports, prefixes, directions.
//!
//! In: text or numbers from manifests. Out: values that cannot be wrong. Absent: names, labels,
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

/// Which side of a conversation an endpoint is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Traffic to the endpoint.
    Ingress,
    /// Traffic from the endpoint.
    Egress,
}

/// An IP protocol number, 0 to 255; rules name those from 1 (IANA "Assigned Internet Protocol
/// Numbers").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(u8);

/// Names that Calico's `protocol` field knows, exact case, and the name iptables prints.
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

    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

impl Protocol {
    /// Hop-by-hop options, number 0. No rule can name it: iptables takes 0 for "any".
    pub const HOPOPT: Protocol = Protocol(0);
    /// Internet control messages of IPv4.
    pub const ICMP: Protocol = Protocol(1);
    /// TCP.
    pub const TCP: Protocol = Protocol(6);
    /// UDP.
    pub const UDP: Protocol = Protocol(17);
    /// Internet control messages of IPv6.
    pub const ICMPV6: Protocol = Protocol(58);
    /// SCTP.
    pub const SCTP: Protocol = Protocol(132);
    /// UDP-Lite.
    pub const UDPLITE: Protocol = Protocol(136);

    /// The protocol of a number; `None` for 0, which no rule can name.
    pub fn from_number(number: u8) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// The protocol of a Calico name, exact case.
    pub fn from_name(name: &str) -> Option<Self> {
        PROTOCOLS.iter().find(|row| row.0 == name).map(|row| row.2)
    }

    /// The protocol of a word of iptables or ipset.
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

    /// Whether rules may match ports of this protocol (Calico: TCP, UDP, SCTP; not UDP-Lite).
    pub fn has_ports(self) -> bool {
        [Self::TCP, Self::UDP, Self::SCTP].contains(&self)
    }

    /// Whether IPv6 has an extension header of this number that rules by protocol do not see:
    /// routing, fragment, authentication, destination options. The kernel goes on to the header
    /// after it (`ipv6_find_hdr` in net/ipv6/exthdrs_core.c); only nft stops at authentication
    /// (51).
    pub fn is_ipv6_extension_header(self) -> bool {
        [43, 44, 51, 60].contains(&self.0)
    }

    /// The word iptables and ipset use: a lower-case name, or the number.
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
