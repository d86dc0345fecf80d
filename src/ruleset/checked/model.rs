//! The model of one checked rule: its conditions and its target.

use std::fmt;

use crate::net::{Cidr, PortRange, Protocol, Side, State};
use crate::policy::Icmp;

/// A checked rule.
#[derive(Debug, Clone)]
pub struct CheckedRule {
    /// Line number in the script, from 1.
    pub line: usize,
    /// The text after `-A chain` or `-I chain 1`.
    pub text: String,
    /// Conditions, which must all hold, each with whether it is negated. Conditions of extensions
    /// are not included.
    pub conditions: Vec<(bool, RuleCondition)>,
    /// The rule's target.
    pub target: CheckedTarget,
    /// The comment, which may be empty.
    pub comment: String,
    /// Whether the rule is inserted before the existing rules of its chain.
    pub is_at_head: bool,
    /// Extensions that the rule uses. Such a rule can only drop or observe.
    pub extensions: Vec<String>,
}

/// A condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleCondition {
    /// The protocol.
    Protocol(Protocol),
    /// The address of one side is in a prefix.
    Address(Side, Cidr),
    /// The interface on which the packet arrives.
    Arrives(InterfaceMatch),
    /// The route to the packet's source uses the interface on which the packet arrived.
    ReversePath {
        /// Whether the route may use any other interface, too.
        is_loose: bool,
    },
    /// The interface by which the packet leaves.
    Leaves(String),
    /// Membership in a set: the side of the address, then the side of the port.
    Set(String, Vec<Side>),
    /// The port of one side is in one of these ranges.
    Ports(Side, Vec<PortRange>),
    /// An ICMP or ICMPv6 message.
    Icmp(Icmp),
    /// The packet's conntrack state and original destination.
    Connection(ConntrackMatch),
    /// A rate limit. Palisade assumes that it is never reached, so it accepts limits only with
    /// [`CheckedTarget::Log`].
    Limit,
}

/// One interface, or all interfaces whose names have a common prefix (`cali+`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceMatch {
    /// The name, or the common prefix.
    pub stem: String,
    /// Whether the stem is a prefix.
    pub is_open: bool,
}

/// The conditions of one `-m conntrack`, each with whether it is negated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConntrackMatch {
    /// Conntrack states.
    pub states: Option<(bool, Vec<State>)>,
    /// The connection's destination before destination NAT.
    pub address: Option<(bool, Cidr)>,
    /// The destination port before destination NAT.
    pub port: Option<(bool, PortRange)>,
}

/// The target of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedTarget {
    /// Accepts the packet.
    Accept,
    /// Drops the packet.
    Drop,
    /// Returns to the calling chain.
    Return,
    /// Writes a line to the kernel log.
    Log,
    /// Excludes the packet from connection tracking.
    NoTrack,
    /// Jumps to another chain, which can return here.
    Jump(String),
    /// Goes to another chain, which returns to the caller of this one.
    Goto(String),
}

impl CheckedRule {
    /// Returns whether the rule uses an extension.
    pub fn is_extension(&self) -> bool {
        !self.extensions.is_empty()
    }
}

impl InterfaceMatch {
    /// Returns whether the match includes this interface.
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
