//! Loaded sets, and tests of packets against them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::net::{Cidr, PortRange, Protocol, Side};
use crate::packet::Flow;
use crate::ruleset::{self, ParsedMember, SetKind};

/// All sets of a node, by name.
#[derive(Debug, Default)]
pub(super) struct LoadedSets {
    pub(super) by_name: BTreeMap<String, LoadedSet>,
}

/// The members of a set.
#[derive(Debug)]
pub(super) enum LoadedSet {
    /// `hash:net`.
    Nets(PrefixSet),
    /// `hash:ip,port`: address, protocol, port.
    Services(BTreeSet<(IpAddr, Protocol, u16)>),
    /// `bitmap:port`.
    Ports(Vec<PortRange>),
}

/// Prefixes, each with `true` if it is an exception (`nomatch`).
#[derive(Debug)]
pub(super) struct PrefixSet {
    pub(super) members: BTreeMap<Cidr, bool>,
    /// The prefix lengths that occur.
    lengths: BTreeSet<u8>,
}

impl LoadedSets {
    /// Loads the sets of a script.
    pub(super) fn from_parsed(sets: &ruleset::ParsedSets) -> Self {
        let known = |(name, set): (&String, &ruleset::ParsedSet)| {
            Some((name.clone(), LoadedSet::from_parsed(set)?))
        };
        Self {
            by_name: sets.iter().filter_map(known).collect(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&LoadedSet> {
        self.by_name.get(name)
    }
}

impl LoadedSet {
    /// Loads a set with its members. Returns `None` for a set type that Palisade does not create.
    fn from_parsed(set: &ruleset::ParsedSet) -> Option<Self> {
        Some(match set.kind? {
            SetKind::Nets(_) => LoadedSet::Nets(PrefixSet::from_members(&set.members)),
            SetKind::Services(_) => {
                LoadedSet::Services(set.members.iter().filter_map(service).collect())
            }
            SetKind::Ports => LoadedSet::Ports(ranges(&set.members)),
        })
    }

    /// Returns `true` if the given sides of the flow are in the set. The first side gives the
    /// address, the last side gives the port.
    pub(super) fn has(&self, sides: &[Side], flow: &Flow) -> bool {
        let Some(side) = sides.first().copied() else {
            return false;
        };

        let port = sides.last().and_then(|side| flow.port(*side));
        match self {
            LoadedSet::Nets(nets) => nets.has(flow.address(side)),
            LoadedSet::Services(members) => port
                .is_some_and(|port| members.contains(&(flow.address(side), flow.protocol, port))),
            // `ip_set_get_ip_port` in net/netfilter/ipset/ip_set_bitmap_port.c supports no other
            // protocol
            LoadedSet::Ports(ranges) => {
                let has_ports = [Protocol::TCP, Protocol::UDP].contains(&flow.protocol);
                has_ports && port.is_some_and(|port| ranges.iter().any(|range| range.holds(port)))
            }
        }
    }
}

impl PrefixSet {
    /// Returns `true` if an address is in the set. The longest prefix that contains the address
    /// decides.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let mut around = self
            .lengths
            .iter()
            .rev()
            .filter_map(|length| self.members.get(&Cidr::around(address, *length)?));
        // as in the kernel, a `nomatch` prefix hides every shorter prefix
        around.next().is_some_and(|is_exception| !is_exception)
    }

    fn from_members(members: &[ParsedMember]) -> Self {
        let net = |member: &ParsedMember| match *member {
            ParsedMember::Net(net, is_exception) => Some((net, is_exception)),
            ParsedMember::Service(..) | ParsedMember::Port(_) => None,
        };
        let members: BTreeMap<Cidr, bool> = members.iter().filter_map(net).collect();
        Self {
            lengths: members.keys().map(|net| net.prefix()).collect(),
            members,
        }
    }
}

fn service(member: &ParsedMember) -> Option<(IpAddr, Protocol, u16)> {
    match *member {
        ParsedMember::Service(address, protocol, port) => Some((address, protocol, port)),
        ParsedMember::Net(..) | ParsedMember::Port(_) => None,
    }
}

/// Returns the fewest ranges that contain exactly the given ports, which must be sorted.
fn ranges(members: &[ParsedMember]) -> Vec<PortRange> {
    let port = |member: &ParsedMember| match *member {
        ParsedMember::Port(port) => Some(port),
        ParsedMember::Net(..) | ParsedMember::Service(..) => None,
    };
    let ports: Vec<u16> = members.iter().filter_map(port).collect();
    let runs = ports.chunk_by(|before, next| before.checked_add(1) == Some(*next));
    runs.filter_map(|run| PortRange::new(*run.first()?, *run.last()?))
        .collect()
}
