//! Flows: the first packet of a connection.

use std::net::IpAddr;

use crate::inventory::EndpointId;
use crate::net::{Family, Protocol, Side};

/// Addresses, protocol and ports of a packet. Both addresses are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports; `None` if the protocol has no ports.
    pub ports: Option<PortPair>,
    /// The ICMP or ICMPv6 message; `None` for other protocols.
    pub icmp: Option<IcmpMessage>,
}

/// A flow between two parties. The parties may be endpoints that have no address yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conversation {
    /// The sender.
    pub source: Party,
    /// The receiver.
    pub destination: Party,
    /// The family of the addresses that the parties have or will have.
    pub family: Family,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports; `None` if the protocol has no ports.
    pub ports: Option<PortPair>,
    /// The ICMP or ICMPv6 message; `None` for other protocols.
    pub icmp: Option<IcmpMessage>,
}

/// An end of a conversation. A party without an address is in no prefix, not even in `0.0.0.0/0`,
/// and is no backend of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// The endpoint; `None` if the address belongs to no known endpoint.
    pub owner: Option<EndpointId>,
    /// The address; `None` if the endpoint has no address yet.
    pub address: Option<IpAddr>,
}

/// Source port and destination port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortPair {
    /// The source port.
    pub source: u16,
    /// The destination port.
    pub destination: u16,
}

/// Type and code of an ICMP or ICMPv6 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IcmpMessage {
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
}

impl Flow {
    /// Returns the family of the addresses.
    pub fn family(&self) -> Family {
        if self.source.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// Returns the address at one side.
    pub fn address(&self, side: Side) -> IpAddr {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }

    /// Returns the port at one side, or `None` if the protocol has no ports.
    pub fn port(&self, side: Side) -> Option<u16> {
        self.ports.map(|ports| ports.at(side))
    }
}

impl Conversation {
    /// Returns the party at one side.
    pub fn party(&self, side: Side) -> Party {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }

    /// Returns the port at one side, or `None` if the protocol has no ports.
    pub fn port(&self, side: Side) -> Option<u16> {
        self.ports.map(|ports| ports.at(side))
    }

    /// Returns the flow between the parties' addresses, or `None` if a party has no address.
    pub fn flow(&self) -> Option<Flow> {
        let (source, destination) = self.source.address.zip(self.destination.address)?;
        Some(Flow {
            source,
            destination,
            protocol: self.protocol,
            ports: self.ports,
            icmp: self.icmp,
        })
    }
}

impl PortPair {
    /// Returns the port at one side.
    pub fn at(self, side: Side) -> u16 {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }
}
