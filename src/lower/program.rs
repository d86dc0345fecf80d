//! The program of one node: sets, chains and rules as values.

use std::fmt;
use std::net::IpAddr;

use crate::net::{Cidr, Family, PortRange, Protocol};
use crate::options::{HookPosition, InterfacePattern};
use crate::policy::Icmp;

/// The desired kernel content of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Sets of both families, by name. Rules use no other sets.
    pub sets: Vec<ProgramSet>,
    /// The IPv4 filter table.
    pub v4: ProgramTable,
    /// The IPv6 filter table.
    pub v6: ProgramTable,
    /// Tables that packets pass before the filter table, IPv4 first. Contains only those that
    /// source validation and host endpoint policy require.
    pub early: Vec<ProgramTable>,
}

/// Palisade's part of one table of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramTable {
    /// Which table.
    pub kind: TableKind,
    /// The family.
    pub family: Family,
    /// Palisade's chains, in the order in which packets reach them. Rules jump to no other chains.
    pub chains: Vec<ProgramChain>,
    /// The jumps from the kernel's chains into Palisade's chains.
    pub hooks: Vec<ChainHook>,
}

/// The kernel tables in which Palisade has chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableKind {
    /// The raw table: before connection tracking.
    Raw,
    /// The mangle table: before DNAT.
    Mangle,
    /// The filter table: makes the final decision.
    Filter,
}

/// A jump from one of the kernel's chains to a chain of Palisade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHook {
    /// `FORWARD`, `INPUT`, `OUTPUT` or `PREROUTING`.
    pub kernel_chain: &'static str,
    /// The target chain.
    pub chain: ChainName,
    /// Whether the jump comes before or after the rules of other programs.
    pub position: HookPosition,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramChain {
    /// The name.
    pub name: ChainName,
    /// Description, for the comment line above the chain.
    pub about: String,
    /// The rules in order.
    pub rules: Vec<ProgramRule>,
}

/// One rule of a chain. A packet that satisfies all matches goes to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramRule {
    /// The matches. A rule without matches applies to every packet.
    pub matches: Vec<RuleMatch>,
    /// What happens to the packet.
    pub target: RuleTarget,
    /// The source of the rule, for its comment.
    pub about: String,
}

/// A condition on a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleMatch {
    /// The protocol.
    Protocol(Sense, Protocol),
    /// An address in one prefix.
    Address(Sense, Side, Cidr),
    /// An address in a set.
    Member(Sense, Side, SetName),
    /// Address, protocol and port of one side in a set.
    Service(Sense, Side, SetName),
    /// A port in a set of ports.
    PortMember(Sense, Side, SetName),
    /// A port in one of a few ranges, 15 slots at most.
    Ports(Sense, Side, Vec<PortRange>),
    /// ICMP type and code.
    Icmp(Sense, Icmp),
    /// The packet belongs to a known connection, or is related to one.
    Reply,
    /// Connection tracking cannot assign the packet to a connection.
    Invalid,
    /// The packet is exempt from connection tracking.
    Untracked,
    /// The destination of the packet's connection before DNAT is in one prefix.
    OriginalAddress(Sense, Cidr),
    /// The port of that destination is in one range.
    OriginalPort(Sense, PortRange),
    /// The packet arrived on this interface: up to 15 letters, digits, `_`, `.` and `-`.
    Arrives(String),
    /// The packet arrived on an interface whose name matches.
    ArrivesLike(InterfacePattern),
    /// The route back to the packet's source does not use the interface on which the packet
    /// arrived. Valid only in the raw and mangle tables, below PREROUTING.
    Spoofed(Strictness),
    /// The packet leaves on this interface.
    Leaves(String),
    /// The packet did not arrive on the loopback interface.
    NotLoopback,
    /// At most ten packets per second, after an initial burst of twenty.
    Rarely,
}

/// Whether a condition must hold or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sense {
    /// It must hold.
    Is,
    /// It must not hold.
    IsNot,
}

/// Which route back to a packet's source is acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strictness {
    /// A route out of the interface on which the packet arrived.
    Strict,
    /// A route out of any interface.
    Loose,
}

/// A side of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
}

/// The target of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleTarget {
    /// Accepts the packet. Final in this table.
    Accept,
    /// Drops the packet. Final.
    Drop,
    /// Returns to the chain that jumped here.
    Return,
    /// Jumps to a chain. Evaluation continues here if that chain has no verdict.
    Jump(ChainName),
    /// Goes to a chain. A return from it returns from this chain.
    Goto(ChainName),
    /// Exempts the packet from connection tracking, then continues. Valid only in the raw table.
    NoTrack,
    /// Writes a line with this prefix to the kernel's log, then continues.
    Log(LogPrefix),
}

/// A set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramSet {
    /// The name.
    pub name: SetName,
    /// Description, for the comment line above the set.
    pub about: String,
    /// Type and members.
    pub members: SetMembers,
}

/// Type and members of a set, in numeric order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetMembers {
    /// `hash:net` of one family.
    Addresses(Family, Vec<NetMember>),
    /// `hash:ip,port` of one family.
    Services(Family, Vec<ServiceMember>),
    /// `bitmap:port`.
    Ports(Vec<PortRange>),
}

/// A member of a `hash:net` set. The longest prefix that contains an address decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetMember {
    /// The prefix. Never a whole family, because such a set cannot contain one.
    pub net: Cidr,
    /// Whether its addresses are members or, as an exception, not members.
    pub sense: Sense,
}

/// A member of a `hash:ip,port` set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceMember {
    /// The address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// A chain name: starts with `pal-`, at most 28 bytes, no white space or quote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainName(pub(super) String);

/// A set name: starts with `pal-`, at most 31 bytes, no white space or quote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName(pub(super) String);

/// The prefix of a log line: at most 29 bytes, no quote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPrefix(pub(super) String);

impl TableKind {
    /// The kernel's name of the table.
    pub fn label(self) -> &'static str {
        match self {
            TableKind::Raw => "raw",
            TableKind::Mangle => "mangle",
            TableKind::Filter => "filter",
        }
    }
}

impl Program {
    /// The filter table of a family.
    pub fn table(&self, family: Family) -> &ProgramTable {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl Program {
    /// The rules that use a set, IPv4 first.
    pub fn rules_naming<'program>(
        &'program self,
        set: &'program SetName,
    ) -> impl Iterator<Item = &'program ProgramRule> {
        let early = self.early.iter().flat_map(|table| &table.chains);
        let chains = self.v4.chains.iter().chain(&self.v6.chains).chain(early);
        chains.flat_map(|chain| &chain.rules).filter(move |rule| {
            rule.matches
                .iter()
                .any(|condition| condition.set() == Some(set))
        })
    }
}

impl RuleMatch {
    /// The set that the match looks up, if any.
    pub fn set(&self) -> Option<&SetName> {
        match self {
            RuleMatch::Member(_, _, set)
            | RuleMatch::Service(_, _, set)
            | RuleMatch::PortMember(_, _, set) => Some(set),
            RuleMatch::Protocol(..)
            | RuleMatch::Address(..)
            | RuleMatch::Ports(..)
            | RuleMatch::Icmp(..) => None,
            RuleMatch::Reply
            | RuleMatch::Invalid
            | RuleMatch::Untracked
            | RuleMatch::OriginalAddress(..)
            | RuleMatch::OriginalPort(..)
            | RuleMatch::Arrives(_)
            | RuleMatch::ArrivesLike(_)
            | RuleMatch::Spoofed(_)
            | RuleMatch::Leaves(_)
            | RuleMatch::NotLoopback
            | RuleMatch::Rarely => None,
        }
    }
}

impl SetMembers {
    /// Number of elements that the kernel will hold.
    pub fn len(&self) -> usize {
        match self {
            SetMembers::Addresses(_, members) => members.len(),
            SetMembers::Services(_, services) => services.len(),
            SetMembers::Ports(ranges) => ranges
                .iter()
                .map(|range| usize::from(range.last() - range.first()) + 1)
                .sum(),
        }
    }

    /// Whether the set has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl NetMember {
    /// A prefix whose addresses are members of the set.
    pub fn from_prefix(net: Cidr) -> Self {
        Self {
            net,
            sense: Sense::Is,
        }
    }
}

macro_rules! show_inner {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    )*};
}

show_inner! { ChainName SetName LogPrefix }
