//! A packet, and what became of it.

use std::net::IpAddr;

#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// Position of the node that sees it.
    pub(crate) node: usize,
    pub(crate) hook: Hook,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    /// Ports of the sender and the receiver, where the protocol has them.
    pub(crate) ports: Option<(u16, u16)>,
    /// ICMP type and code.
    pub(crate) icmp: Option<(u8, u8)>,
    pub(crate) state: State,
    /// Whether it came over the loopback interface.
    pub(crate) loopback: bool,
}

/// Where the node sees the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    Forward,
    Input,
    Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    New,
    Established,
    Related,
    Invalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    /// Left to the rest of the kernel's rules.
    NotOurs,
}

impl Packet {
    pub(crate) fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }
}
