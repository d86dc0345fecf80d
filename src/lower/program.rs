//! The program of one node: sets, chains and rules as values.

use std::fmt;
use std::net::IpAddr;

use crate::net::{Cidr, Family, PortRange, Protocol};
use crate::options::{HookPosition, InterfacePattern};
use crate::policy::Icmp;

/// What one node's kernel is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Sets of both families, by name. Rules name no other.
    pub sets: Vec<ProgramSet>,
    /// The filter table of IPv4.
    pub v4: ProgramTable,
    /// The filter table of IPv6.
    pub v6: ProgramTable,
    /// Tables that packets meet before the filter table, IPv4 first; only those that source
    /// validation and policy of host endpoints ask for.
    pub early: Vec<ProgramTable>,
}

/// Our part of a table of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramTable {
    /// Which table.
    pub kind: TableKind,
    /// The family.
    pub family: Family,
    /// Our chains, in the order a packet meets them. Rules jump to no other.
    pub chains: Vec<ProgramChain>,
    /// The jumps from the kernel's chains into ours.
    pub hooks: Vec<ChainHook>,
}

/// The kernel's tables that we have chains in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableKind {
    /// Before connections are tracked.
    Raw,
    /// Before destinations are translated.
    Mangle,
    /// Where verdicts are due.
    Filter,
}

/// A jump from one of the kernel's chains to the head of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHook {
    /// `FORWARD`, `INPUT`, `OUTPUT` or `PREROUTING`.
    pub kernel_chain: &'static str,
    /// Ours.
    pub chain: ChainName,
    /// Before or behind the rules of others.
    pub position: HookPosition,
}

/// A chain of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramChain {
    /// The name.
    pub name: ChainName,
    /// What it is, for the comment line above it.
    pub about: String,
    /// The rules in order.
    pub rules: Vec<ProgramRule>,
}

/// One rule of a chain: a packet that all matches fit goes to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramRule {
    /// The conditions; every packet fits when there are none.
    pub matches: Vec<RuleMatch>,
    /// What becomes of the packet.
    pub target: RuleTarget,
    /// Where the rule comes from, for its comment.
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
    /// Connection tracking cannot place the packet.
    Invalid,
    /// Connection tracking was told to leave the packet alone.
    Untracked,
    /// The destination that the packet's connection had before it was translated, in one prefix.
    OriginalAddress(Sense, Cidr),
    /// The port of that destination in one range.
    OriginalPort(Sense, PortRange),
    /// The packet arrived on this interface: up to 15 letters, digits, `_`, `.` and `-`.
    Arrives(String),
    /// The packet arrived on an interface with such a name.
    ArrivesLike(InterfacePattern),
    /// The route back to the packet's source does not lead out of the interface that it arrived on.
    /// In the raw and mangle tables, below PREROUTING only.
    Spoofed(Strictness),
    /// The packet leaves by this interface.
    Leaves(String),
    /// The packet did not arrive on the loopback interface.
    NotLoopback,
    /// At most ten packets a second, after a first twenty.
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

/// Which route back to a packet's source will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strictness {
    /// Out of the interface that it arrived on.
    Strict,
    /// Out of any interface.
    Loose,
}

/// A side of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleTarget {
    /// Accepted, finally.
    Accept,
    /// Dropped, finally.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// Into a chain, and back when that has no verdict.
    Jump(ChainName),
    /// Into a chain; that one's return is this one's.
    Goto(ChainName),
    /// Left alone by connection tracking, and on; in the raw table only.
    NoTrack,
    /// A line in the kernel's log with this prefix, and on.
    Log(LogPrefix),
}

/// A set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramSet {
    /// The name.
    pub name: SetName,
    /// What it is, for the comment line above it.
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

/// A member of a `hash:net` set. The longest prefix that holds an address decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetMember {
    /// The prefix; never a whole family, which such a set cannot hold.
    pub net: Cidr,
    /// Whether its addresses are in the set or, as an exception, not.
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

/// A chain's name: `pal-` first, 28 bytes at most, no white space, no quote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainName(pub(super) String);

/// A set's name: `pal-` first, 31 bytes at most, no white space, no quote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName(pub(super) String);

/// The prefix of a log line: 29 bytes at most, no quote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPrefix(pub(super) String);

impl TableKind {
    /// The kernel's name for it.
    pub fn label(self) -> &'static str {
        match self {
            TableKind::Raw => "raw",
            TableKind::Mangle => "mangle",
            TableKind::Filter => "filter",
        }
    }
}

impl Program {
    /// The table of a family.
    pub fn table(&self, family: Family) -> &ProgramTable {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl Program {
    /// The rules that name a set, IPv4 first.
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
    /// The set that the condition looks into.
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
    /// How many elements the kernel will hold.
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl NetMember {
    /// A prefix whose addresses are in the set.
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
