//! A flow: the first packet of a conversation.

use std::net::IpAddr;

use crate::inventory::EndpointId;
use crate::net::{Family, Protocol, Side};

/// Who sends what to whom. Both addresses are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Address of the sender.
    pub source: IpAddr,
    /// Address of the receiver.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports, of a protocol that has them.
    pub ports: Option<PortPair>,
    /// The message, of ICMP and ICMPv6.
    pub icmp: Option<IcmpMessage>,
}

/// A flow between parties, of which endpoints may have no address yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conversation {
    /// The sender.
    pub source: Party,
    /// The receiver.
    pub destination: Party,
    /// The family of the addresses that they have or will have.
    pub family: Family,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports, of a protocol that has them.
    pub ports: Option<PortPair>,
    /// The message, of ICMP and ICMPv6.
    pub icmp: Option<IcmpMessage>,
}

/// Who stands at an end of a conversation. Without an address it lies in no prefix, not even in
/// that of everything, and answers for no service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// The endpoint, where it is a known one.
    pub owner: Option<EndpointId>,
    /// The address, where it has one.
    pub address: Option<IpAddr>,
}

/// The ports of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortPair {
    /// The sender's.
    pub source: u16,
    /// The receiver's.
    pub destination: u16,
}

/// A control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IcmpMessage {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

impl Flow {
    /// The family of the addresses.
    pub fn family(&self) -> Family {
        if self.source.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// The address at an end.
    pub fn address(&self, side: Side) -> IpAddr {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }

    /// The port at an end, where the protocol has ports.
    pub fn port(&self, side: Side) -> Option<u16> {
        self.ports.map(|ports| ports.at(side))
    }
}

impl Conversation {
    /// Who stands at an end.
    pub fn party(&self, side: Side) -> Party {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }

    /// The port at an end, where the protocol has ports.
    pub fn port(&self, side: Side) -> Option<u16> {
        self.ports.map(|ports| ports.at(side))
    }

    /// The same between addresses; none where an end has none.
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
    /// The port at an end.
    pub fn at(self, side: Side) -> u16 {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }
}
