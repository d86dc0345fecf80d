//! A packet on a node, and what becomes of it.

use std::fmt;
use std::net::IpAddr;

use crate::net::State;
use crate::packet::{Flow, PortPair};

/// A packet as a node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Who sends what to whom, after the kernel has translated the destination.
    pub flow: Flow,
    /// The destination that was sent to; none where it is not translated. A packet that policy
    /// keeps from connection tracking is not, so that it must be one that gets to the same hook
    /// without.
    pub original: Option<PreDnatDestination>,
    /// Where the node sees it.
    pub hook: Hook,
    /// What connection tracking says, unless policy keeps the packet from it.
    pub state: State,
    /// Where the node's route back to the packet's source leads; of no matter to a packet of the
    /// node.
    pub reverse_path: ReversePath,
}

/// Where a node's route to the source of a packet leads, seen from the interface that the packet
/// arrives on.
///
/// What arrives over the loopback interface has no other than `Arriving`, as in the kernel
/// (`rpfilter_is_loopback` in net/ipv4/netfilter/ipt_rpfilter.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReversePath {
    /// Out of that interface.
    Arriving,
    /// Out of another one.
    Elsewhere,
    /// There is no route, or it leads to the node itself, whose own address the source is.
    Nowhere,
}

/// A destination before it is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreDnatDestination {
    /// The address, of the same family.
    pub address: IpAddr,
    /// The port, of a protocol that has ports.
    pub port: Option<u16>,
}

/// Where a node sees a packet, and which interfaces it passes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// On its way through.
    Forward {
        /// The interface that it comes in by.
        arrives: String,
        /// The interface that it goes out by.
        leaves: String,
    },
    /// At its end.
    Input {
        /// The interface that it comes in by.
        arrives: String,
    },
    /// At its beginning.
    Output {
        /// The interface that it goes out by.
        leaves: String,
    },
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Accepted.
    Accept,
    /// Dropped.
    Drop,
    /// Neither: it is left to whatever else the kernel's chains hold.
    Undecided,
}

/// The loopback interface.
pub(crate) const LOOPBACK: &str = "lo";

impl Packet {
    /// The flow before the destination is translated. A packet that is kept from connection
    /// tracking never is.
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

    /// The flow as the filter table sees it, in this state.
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
    /// The interface that the packet comes in by; none of a packet that the node sends.
    pub fn arrives(&self) -> Option<&str> {
        match self {
            Hook::Forward { arrives, .. } | Hook::Input { arrives } => Some(arrives),
            Hook::Output { .. } => None,
        }
    }

    /// The interface that the packet goes out by; none of a packet that the node receives.
    pub fn leaves(&self) -> Option<&str> {
        match self {
            Hook::Forward { leaves, .. } | Hook::Output { leaves } => Some(leaves),
            Hook::Input { .. } => None,
        }
    }
}
