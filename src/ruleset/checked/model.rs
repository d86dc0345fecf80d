//! One rule as it is read: its conditions and its target.

use std::fmt;

use crate::net::{Cidr, PortRange, Protocol, Side, State};
use crate::policy::Icmp;

/// A rule.
#[derive(Debug, Clone)]
pub struct CheckedRule {
    /// Its line in the script, from 1.
    pub line: usize,
    /// All that stands behind `-A chain` or `-I chain 1`.
    pub text: String,
    /// Conditions that must all hold, and whether each is negated. Those of extensions are not
    /// among them.
    pub conditions: Vec<(bool, RuleCondition)>,
    /// What it does.
    pub target: CheckedTarget,
    /// Its comment; may be empty.
    pub comment: String,
    /// Whether it is put before all rules of its chain that are there.
    pub is_at_head: bool,
    /// The extensions that it names. Such a rule drops or observes, and does nothing else.
    pub extensions: Vec<String>,
}

/// A condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleCondition {
    /// The protocol.
    Protocol(Protocol),
    /// An address in a prefix.
    Address(Side, Cidr),
    /// The interface that the packet comes in by.
    Arrives(InterfaceMatch),
    /// The route back to the packet's source leads out of the interface that it comes in by.
    ReversePath {
        /// Whether it may lead out of any other interface, too.
        is_loose: bool,
    },
    /// The interface that the packet goes out by.
    Leaves(String),
    /// Membership in a set: the side of its address, then of its port.
    Set(String, Vec<Side>),
    /// A port in one of some ranges.
    Ports(Side, Vec<PortRange>),
    /// A control message.
    Icmp(Icmp),
    /// What connection tracking knows.
    Connection(ConntrackMatch),
    /// A limit on how often; taken as never reached, and so only where the target is
    /// [`CheckedTarget::Log`].
    Limit,
}

/// An interface, or all whose names begin alike (`cali+`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceMatch {
    /// The name, or what the names begin with.
    pub stem: String,
    /// Whether names may go on behind it.
    pub is_open: bool,
}

/// What one `-m conntrack` asks, and whether each is negated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConntrackMatch {
    /// States.
    pub states: Option<(bool, Vec<State>)>,
    /// The destination that the connection was made to, before it was translated.
    pub address: Option<(bool, Cidr)>,
    /// The port of that.
    pub port: Option<(bool, PortRange)>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedTarget {
    /// The packet is accepted.
    Accept,
    /// The packet is dropped.
    Drop,
    /// Back to where the chain was jumped to.
    Return,
    /// A line goes to the kernel's log.
    Log,
    /// No connection is made of the packet.
    NoTrack,
    /// To another chain, and back.
    Jump(String),
    /// To another chain, from which the way leads back over this one.
    Goto(String),
}

impl CheckedRule {
    /// Whether it names an extension.
    pub fn is_extension(&self) -> bool {
        !self.extensions.is_empty()
    }
}

impl InterfaceMatch {
    /// Whether this is one of them.
    pub fn is(&self, name: &str) -> bool {
        if self.is_open {
            name.starts_with(&self.stem)
        } else {
            name == self.stem
        }
    }
}

impl fmt::Display for CheckedTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckedTarget::Accept => out.write_str("accept"),
            CheckedTarget::Drop => out.write_str("drop"),
            CheckedTarget::Return => out.write_str("return"),
            CheckedTarget::Log => out.write_str("log"),
            CheckedTarget::NoTrack => out.write_str("no tracking"),
            CheckedTarget::Jump(chain) => write!(out, "jump {chain}"),
            CheckedTarget::Goto(chain) => write!(out, "goto {chain}"),
        }
    }
}
