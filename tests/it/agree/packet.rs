//! A packet, and what became of it.

use std::net::IpAddr;

use palisade::analysis::{Flow, Message, PortPair, netfilter};
use palisade::net::Protocol;

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

    /// As palisade says it.
    pub(crate) fn flow(&self) -> Flow {
        Flow {
            source: self.source,
            destination: self.destination,
            protocol: Protocol::from_number(self.protocol).expect("a protocol"),
            ports: self.ports.map(|(source, destination)| PortPair { source, destination }),
            icmp: self.icmp.map(|(kind, code)| Message { kind, code }),
        }
    }

    /// As the interpreter of scripts takes it.
    pub(crate) fn seen(&self) -> netfilter::Packet {
        let hook = match self.hook {
            Hook::Forward => netfilter::Hook::Forward,
            Hook::Input => netfilter::Hook::Input,
            Hook::Output => netfilter::Hook::Output,
        };
        let state = match self.state {
            State::New => netfilter::State::New,
            State::Established => netfilter::State::Established,
            State::Related => netfilter::State::Related,
            State::Invalid => netfilter::State::Invalid,
        };
        netfilter::Packet { flow: self.flow(), hook, state, is_loopback: self.loopback }
    }
}

impl From<netfilter::Verdict> for Verdict {
    fn from(verdict: netfilter::Verdict) -> Self {
        match verdict {
            netfilter::Verdict::Accept => Verdict::Accept,
            netfilter::Verdict::Drop => Verdict::Drop,
            netfilter::Verdict::Undecided => Verdict::NotOurs,
        }
    }
}
