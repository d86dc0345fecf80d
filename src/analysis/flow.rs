//! A flow: the first packet of a conversation.

use std::net::IpAddr;

use crate::net::{Family, Protocol};

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
    pub icmp: Option<Message>,
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
pub struct Message {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

/// An end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
}

impl Flow {
    /// The family of the addresses.
    pub fn family(&self) -> Family {
        if self.source.is_ipv4() { Family::V4 } else { Family::V6 }
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
        self.ports.map(|ports| match side {
            Side::Source => ports.source,
            Side::Destination => ports.destination,
        })
    }
}
