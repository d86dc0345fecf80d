//! Sets: the text for `ipset restore`, and whether a packet is in one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::analysis::netfilter::{LoadError, Read, Script, ensure, lines};
use crate::analysis::{Flow, Side};
use crate::net::{Cidr, Family, PortRange, Protocol};

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
    Services { family: Family, most: usize, members: BTreeSet<(IpAddr, Protocol, u16)> },
    /// `bitmap:port`.
    Ports(Vec<PortRange>),
}

/// Prefixes, and whether each is an exception (`nomatch`).
#[derive(Debug)]
pub(super) struct Nets {
    family: Family,
    most: usize,
    pub(super) members: BTreeMap<Cidr, bool>,
    /// The lengths that occur.
    lengths: BTreeSet<u8>,
}

/// `IPSET_MAXNAMELEN` 32 less the end of the string (linux/netfilter/ipset/ip_set.h).
const LONGEST_NAME: usize = 31;
/// Lines are read into a buffer of this size (ipset's `ipset_parse_stream`).
const LONGEST_LINE: usize = 1024;

impl Sets {
    pub(super) fn load(text: &str) -> Result<Self, LoadError> {
        let mut sets = Self::default();
        for (number, line) in lines(text) {
            sets.line(line).map_err(|problem| LoadError { script: Script::Sets, line: Some(number), problem })?;
        }
        Ok(sets)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Set> {
        self.by_name.get(name)
    }

    fn line(&mut self, line: &str) -> Read<()> {
        ensure(line.len() < LONGEST_LINE, || "too long for ipset".to_owned())?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["create", name, rest @ ..] => self.create(name, rest),
            ["add", name, member] => self.add(name, member, false),
            ["add", name, member, "nomatch"] => self.add(name, member, true),
            _ => Err(format!("unknown line `{line}`")),
        }
    }

    fn create(&mut self, name: &str, words: &[&str]) -> Read<()> {
        ensure(name.len() <= LONGEST_NAME, || format!("the name `{name}` is too long"))?;
        ensure(self.by_name.insert(name.to_owned(), Set::new(words)?).is_none(), || format!("`{name}` is created twice"))
    }

    fn add(&mut self, name: &str, member: &str, is_exception: bool) -> Read<()> {
        let set = self.by_name.get_mut(name).ok_or_else(|| format!("there is no set `{name}`"))?;
        let added = match set {
            Set::Nets(nets) => {
                ensure(nets.members.len() < nets.most, || full(name, nets.most))?;
                nets.add(member, is_exception)
            }
            Set::Services { .. } | Set::Ports(_) if is_exception => None,
            Set::Services { family, most, members } => {
                ensure(members.len() < *most, || full(name, *most))?;
                service(member).filter(|service| family_of(service.0) == *family && members.insert(*service)).map(drop)
            }
            Set::Ports(ranges) => add_ports(ranges, member),
        };
        added.ok_or_else(|| format!("bad member `{member}` of `{name}`"))
    }
}

impl Set {
    /// What `create` makes, without members.
    fn new(words: &[&str]) -> Read<Self> {
        match words {
            ["bitmap:port", "range", "0-65535"] => Ok(Set::Ports(Vec::new())),
            [kind, "family", family, "hashsize", size, "maxelem", most] => {
                let size_of = || size.parse::<u32>().ok().filter(|size| size.is_power_of_two()).and(most.parse::<u32>().ok());
                let most = size_of().ok_or_else(|| format!("bad size: {size} of {most}"))? as usize;
                let family = family_of_word(family)?;
                match *kind {
                    "hash:net" => Ok(Set::Nets(Nets { family, most, members: BTreeMap::new(), lengths: BTreeSet::new() })),
                    "hash:ip,port" => Ok(Set::Services { family, most, members: BTreeSet::new() }),
                    other => Err(format!("unknown type `{other}`")),
                }
            }
            _ => Err(format!("unknown set: {}", words.join(" "))),
        }
    }

    /// Whether a rule of a family may ask this set about so many sides.
    pub(super) fn fits(&self, asked: Family, sides: usize) -> bool {
        match self {
            Set::Nets(nets) => nets.family == asked && sides == 1,
            Set::Services { family, .. } => *family == asked && sides == 2,
            Set::Ports(_) => sides == 1,
        }
    }

    /// Whether the flow's sides are in the set.
    pub(super) fn has(&self, sides: &[Side], flow: &Flow) -> bool {
        let Some(side) = sides.first().copied() else { return false };
        let port = sides.last().and_then(|side| flow.port(*side));
        match self {
            Set::Nets(nets) => nets.has(flow.address(side)),
            Set::Services { members, .. } => port.is_some_and(|port| members.contains(&(flow.address(side), flow.protocol, port))),
            // `ip_set_get_ip_port` in net/netfilter/ipset/ip_set_bitmap_port.c knows no other protocol
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
        let mut around = self.lengths.iter().rev().filter_map(|length| self.members.get(&Cidr::around(address, *length)?));
        around.next().is_some_and(|is_exception| !is_exception)
    }

    fn add(&mut self, member: &str, is_exception: bool) -> Option<()> {
        let net = prefix(member).filter(|net| net.family() == self.family && !net.is_everything())?;
        self.lengths.insert(net.prefix());
        self.members.insert(net, is_exception).is_none().then_some(())
    }
}

/// An address, or a prefix without host bits.
pub(super) fn prefix(text: &str) -> Option<Cidr> {
    match text.contains('/') {
        true => Cidr::parse_strict(text).ok(),
        false => text.parse().ok().map(Cidr::host),
    }
}

/// `10.0.0.1,tcp:80`.
fn service(member: &str) -> Option<(IpAddr, Protocol, u16)> {
    let (address, service) = member.split_once(',')?;
    let (protocol, port) = service.split_once(':')?;
    Some((address.parse().ok()?, Protocol::from_keyword(protocol)?, port.parse().ok()?))
}

/// `80` or `80-90`; nothing may be added twice.
fn add_ports(ranges: &mut Vec<PortRange>, member: &str) -> Option<()> {
    let (first, last) = member.split_once('-').unwrap_or((member, member));
    let range = PortRange::new(first.parse().ok()?, last.parse().ok()?)?;
    let is_new = ranges.iter().all(|known| known.last() < range.first() || range.last() < known.first());
    is_new.then(|| ranges.push(range))
}

/// `ip_set_hash_add` in net/netfilter/ipset/ip_set_hash_gen.h: `Set is full, maxelem reached`.
fn full(name: &str, most: usize) -> String {
    format!("`{name}` is full: its maxelem is {most}")
}

fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

fn family_of_word(word: &str) -> Read<Family> {
    match word {
        "inet" => Ok(Family::V4),
        "inet6" => Ok(Family::V6),
        other => Err(format!("unknown family `{other}`")),
    }
}
