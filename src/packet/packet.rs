//! A packet at a hook of a node, and its verdict.

use std::fmt;
use std::net::IpAddr;

use crate::net::State;
use crate::packet::{Flow, PortPair};

/// A packet as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The flow after DNAT.
    pub flow: Flow,
    /// The destination before DNAT; `None` if the destination is not translated. The kernel does
    /// not translate untracked packets. Then the packet must reach the same hook without
    /// translation.
    pub original: Option<PreDnatDestination>,
    /// The hook at which the node sees the packet.
    pub hook: Hook,
    /// The conntrack state that the packet has unless policy makes it untracked.
    pub state: State,
    /// Where the node's route to the packet's source leads. Ignored for packets that the node
    /// sends.
    pub reverse_path: ReversePath,
}

/// Where a node's route to a packet's source leads, relative to the interface that the packet
/// arrives on.
///
/// A packet that arrives on the loopback interface always has `Arriving`, as in the kernel
/// (`rpfilter_is_loopback` in net/ipv4/netfilter/ipt_rpfilter.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReversePath {
    /// The route leaves by the interface that the packet arrives on.
    Arriving,
    /// The route leaves by another interface.
    Elsewhere,
    /// There is no route, or the source is the node's own address.
    Nowhere,
}

/// A destination before DNAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreDnatDestination {
    /// The address, of the same family as the flow.
    pub address: IpAddr,
    /// The port; `None` if the protocol has no ports.
    pub port: Option<u16>,
}

/// The hook at which a node sees a packet, with the packet's interfaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// The node forwards the packet.
    Forward {
        /// The input interface.
        arrives: String,
        /// The output interface.
        leaves: String,
    },
    /// The node receives the packet.
    Input {
        /// The input interface.
        arrives: String,
    },
    /// The node sends the packet.
    Output {
        /// The output interface.
        leaves: String,
    },
}

/// The outcome for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The packet is accepted.
    Accept,
    /// The packet is dropped.
    Drop,
    /// Neither: the other rules in the kernel's chains decide.
    Undecided,
}

/// The name of the loopback interface.
pub(crate) const LOOPBACK: &str = "lo";

impl Packet {
    /// Returns the flow before DNAT. The kernel does not translate untracked packets.
    pub fn sent(&self) -> Flow {
        let Some(original) = self.original else {
            return self.flow;
        };

        let ports = self.flow.ports.map(|ports| PortPair {
            destination: original.port.unwrap_or(ports.destination),
            ..ports
        });
        Flow {
            destination: original.address,
            ports,
            ..self.flow
        }
    }

    /// Returns the flow that the filter table sees if the packet is in `state`.
    pub(crate) fn filtered(&self, state: State) -> Flow {
        match state {
            State::Untracked => self.sent(),
            State::New | State::Established | State::Related | State::Invalid => self.flow,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Verdict::Accept => "accepted",
            Verdict::Drop => "dropped",
            Verdict::Undecided => "left to other rules",
        })
    }
}

impl Hook {
    /// Returns the input interface, or `None` if the node sends the packet.
    pub fn arrives(&self) -> Option<&str> {
        match self {
            Hook::Forward { arrives, .. } | Hook::Input { arrives } => Some(arrives),
            Hook::Output { .. } => None,
        }
    }

    /// Returns the output interface, or `None` if the node receives the packet.
    pub fn leaves(&self) -> Option<&str> {
        match self {
            Hook::Forward { leaves, .. } | Hook::Output { leaves } => Some(leaves),
            Hook::Input { .. } => None,
        }
    }
}
