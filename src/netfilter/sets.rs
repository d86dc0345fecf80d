//! Sets, and whether a packet is in one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::net::{Cidr, PortRange, Protocol, Side};
use crate::packet::Flow;
use crate::ruleset::{self, Member, SetKind};

/// All sets of a node by name.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub(super) by_name: BTreeMap<String, Set>,
}

/// A set.
#[derive(Debug)]
pub(super) enum Set {
    /// `hash:net`.
    Nets(Nets),
    /// `hash:ip,port`: address, protocol, port.
    Services(BTreeSet<(IpAddr, Protocol, u16)>),
    /// `bitmap:port`.
    Ports(Vec<PortRange>),
}

/// Prefixes, and whether each is an exception (`nomatch`).
#[derive(Debug)]
pub(super) struct Nets {
    pub(super) members: BTreeMap<Cidr, bool>,
    /// The lengths that occur.
    lengths: BTreeSet<u8>,
}

impl Sets {
    /// The sets of a script.
    pub(super) fn of(sets: &ruleset::Sets) -> Self {
        let known = |(name, set): (&String, &ruleset::Set)| Some((name.clone(), Set::of(set)?));
        Self {
            by_name: sets.iter().filter_map(known).collect(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Set> {
        self.by_name.get(name)
    }
}

impl Set {
    /// A set with its members; none where it is of a type that palisade does not make.
    fn of(set: &ruleset::Set) -> Option<Self> {
        Some(match set.kind? {
            SetKind::Nets(_) => Set::Nets(Nets::of(&set.members)),
            SetKind::Services(_) => Set::Services(set.members.iter().filter_map(service).collect()),
            SetKind::Ports => Set::Ports(ranges(&set.members)),
        })
    }

    /// Whether the flow's sides are in the set.
    pub(super) fn has(&self, sides: &[Side], flow: &Flow) -> bool {
        let Some(side) = sides.first().copied() else {
            return false;
        };
        let port = sides.last().and_then(|side| flow.port(*side));
        match self {
            Set::Nets(nets) => nets.has(flow.address(side)),
            Set::Services(members) => port
                .is_some_and(|port| members.contains(&(flow.address(side), flow.protocol, port))),
            // `ip_set_get_ip_port` in net/netfilter/ipset/ip_set_bitmap_port.c knows no other
            // protocol
            Set::Ports(ranges) => {
                let has_ports = [Protocol::TCP, Protocol::UDP].contains(&flow.protocol);
                has_ports && port.is_some_and(|port| ranges.iter().any(|range| range.holds(port)))
            }
        }
    }
}

impl Nets {
    /// The longest prefix that holds the address decides.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let mut around = self
            .lengths
            .iter()
            .rev()
            .filter_map(|length| self.members.get(&Cidr::around(address, *length)?));
        around.next().is_some_and(|is_exception| !is_exception)
    }

    fn of(members: &[Member]) -> Self {
        let net = |member: &Member| match *member {
            Member::Net(net, is_exception) => Some((net, is_exception)),
            Member::Service(..) | Member::Port(_) => None,
        };
        let members: BTreeMap<Cidr, bool> = members.iter().filter_map(net).collect();
        Self {
            lengths: members.keys().map(|net| net.prefix()).collect(),
            members,
        }
    }
}

fn service(member: &Member) -> Option<(IpAddr, Protocol, u16)> {
    match *member {
        Member::Service(address, protocol, port) => Some((address, protocol, port)),
        Member::Net(..) | Member::Port(_) => None,
    }
}

/// The fewest ranges that hold some ports, which are sorted.
fn ranges(members: &[Member]) -> Vec<PortRange> {
    let port = |member: &Member| match *member {
        Member::Port(port) => Some(port),
        Member::Net(..) | Member::Service(..) => None,
    };
    let ports: Vec<u16> = members.iter().filter_map(port).collect();
    let runs = ports.chunk_by(|before, next| before.checked_add(1) == Some(*next));
    runs.filter_map(|run| PortRange::new(*run.first()?, *run.last()?))
        .collect()
}
