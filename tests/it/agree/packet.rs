//! A packet, and what became of it.

use std::net::IpAddr;

use palisade::net::Protocol;
use palisade::packet::{Flow, IcmpMessage, PortPair};
use palisade::{net, packet};

#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// Position of the node that sees it.
    pub(crate) node: usize,
    pub(crate) hook: Hook,
    /// The interface that it comes in by; of one that the node sends it says nothing.
    pub(crate) arrives: &'static str,
    /// The interface that it goes out by; of one that the node gets it says nothing.
    pub(crate) leaves: &'static str,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Where it was sent to before its destination was translated, and to which port.
    pub(crate) original: Option<(IpAddr, Option<u16>)>,
    pub(crate) protocol: u8,
    /// Ports of the sender and the receiver, where the protocol has them.
    pub(crate) ports: Option<(u16, u16)>,
    /// ICMP type and code.
    pub(crate) icmp: Option<(u8, u8)>,
    pub(crate) state: State,
    pub(crate) route_back: RouteBack,
}

/// The route back to the sender, as the node has it. What comes over the loopback interface has the
/// right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteBack {
    /// The way that the packet came.
    Same,
    /// Another way.
    Other,
    /// None, or the sender has an address of the node itself.
    Missing,
}

/// Where the node sees the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    Forward,
    Input,
    Output,
}

/// What is known of the packet's conversation, unless policy keeps it from being known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    New,
    Established,
    Related,
    Invalid,
    /// Someone else keeps it from being known.
    Untracked,
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
            ports: self.ports.map(|(source, destination)| PortPair {
                source,
                destination,
            }),
            icmp: self.icmp.map(|(kind, code)| IcmpMessage { kind, code }),
        }
    }

    /// The same.
    pub(crate) fn seen(&self) -> packet::Packet {
        let [arrives, leaves] = [self.arrives, self.leaves].map(str::to_owned);
        let hook = match self.hook {
            Hook::Forward => packet::Hook::Forward { arrives, leaves },
            Hook::Input => packet::Hook::Input { arrives },
            Hook::Output => packet::Hook::Output { leaves },
        };
        let state = match self.state {
            State::New => net::State::New,
            State::Established => net::State::Established,
            State::Related => net::State::Related,
            State::Invalid => net::State::Invalid,
            State::Untracked => net::State::Untracked,
        };
        let original = self
            .original
            .map(|(address, port)| packet::PreDnatDestination { address, port });
        let reverse_path = match self.route_back {
            RouteBack::Same => packet::ReversePath::Arriving,
            RouteBack::Other => packet::ReversePath::Elsewhere,
            RouteBack::Missing => packet::ReversePath::Nowhere,
        };

        packet::Packet {
            flow: self.flow(),
            original,
            hook,
            state,
            reverse_path,
        }
    }
}

impl From<packet::Verdict> for Verdict {
    fn from(verdict: packet::Verdict) -> Self {
        match verdict {
            packet::Verdict::Accept => Verdict::Accept,
            packet::Verdict::Drop => Verdict::Drop,
            packet::Verdict::Undecided => Verdict::NotOurs,
        }
    }
}
