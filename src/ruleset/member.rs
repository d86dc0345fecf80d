//! Types of sets and their members.

use std::fmt;
use std::net::IpAddr;

use crate::net::{Cidr, Family, Protocol};

/// The types of sets that palisade makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetKind {
    /// `hash:net`.
    Nets(Family),
    /// `hash:ip,port`.
    Services(Family),
    /// `bitmap:port` of all ports.
    Ports,
}

/// A member of a set. Its order is the one that scripts list members in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParsedMember {
    /// Of `hash:net`: a prefix, and whether it is an exception (`nomatch`).
    Net(Cidr, bool),
    /// Of `hash:ip,port`.
    Service(IpAddr, Protocol, u16),
    /// Of `bitmap:port`.
    Port(u16),
}

impl SetKind {
    /// All types.
    pub const ALL: [SetKind; 5] = [
        SetKind::Nets(Family::V4),
        SetKind::Nets(Family::V6),
        SetKind::Services(Family::V4),
        SetKind::Services(Family::V6),
        SetKind::Ports,
    ];

    /// Takes the members that one `add` line means: a range of ports is as many as it has. None
    /// where the line is not for this type.
    pub(super) fn parse_member(
        self,
        word: &str,
        is_exception: bool,
        members: &mut Vec<ParsedMember>,
    ) -> Option<()> {
        match word.split_once('-') {
            Some((first, last)) if self == SetKind::Ports && !is_exception => {
                let ports = first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?;
                members.extend(ports.map(ParsedMember::Port));
            }
            Some(_) | None => members.push(self.member(word, is_exception)?),
        }
        Some(())
    }

    /// The one member that a word means; none where it is not for this type.
    pub(super) fn member(self, word: &str, is_exception: bool) -> Option<ParsedMember> {
        match self {
            SetKind::Nets(family) => {
                let net = net(word).filter(|net| net.family() == family)?;
                Some(ParsedMember::Net(net, is_exception))
            }
            SetKind::Services(_) | SetKind::Ports if is_exception => None,
            SetKind::Services(family) => service(word, family),
            SetKind::Ports => word.parse().ok().map(ParsedMember::Port),
        }
    }

    /// The type as `create` takes it.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            SetKind::Nets(Family::V4) => "hash:net family inet",
            SetKind::Nets(Family::V6) => "hash:net family inet6",
            SetKind::Services(Family::V4) => "hash:ip,port family inet",
            SetKind::Services(Family::V6) => "hash:ip,port family inet6",
            SetKind::Ports => "bitmap:port range 0-65535",
        }
    }
}

impl ParsedMember {
    /// The prefix that the member stands for; none for ports, which stand for all addresses.
    pub fn net(self) -> Option<Cidr> {
        match self {
            ParsedMember::Net(net, _) => Some(net),
            ParsedMember::Service(address, ..) => Some(Cidr::host(address)),
            ParsedMember::Port(_) => None,
        }
    }
}

/// As `add` takes it behind the name of the set.
impl fmt::Display for ParsedMember {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParsedMember::Net(net, false) => write!(out, "{net}"),
            ParsedMember::Net(net, true) => write!(out, "{net} nomatch"),
            ParsedMember::Service(address, protocol, port) => {
                write!(out, "{address},{}:{port}", protocol.keyword())
            }
            ParsedMember::Port(port) => write!(out, "{port}"),
        }
    }
}

fn net(word: &str) -> Option<Cidr> {
    if word.contains('/') {
        Cidr::parse_strict(word).ok()
    } else {
        word.parse().ok().map(Cidr::host)
    }
}

/// `10.0.0.1,tcp:80`. ipset prints `ipv6-icmp` and the like by names of its own, none of which
/// palisade writes.
fn service(word: &str, family: Family) -> Option<ParsedMember> {
    let (address, service) = word.split_once(',')?;
    let (protocol, port) = service.split_once(':')?;
    let address: IpAddr = address.parse().ok()?;
    let is_of_family = address.is_ipv4() == (family == Family::V4);
    let member = ParsedMember::Service(
        address,
        Protocol::from_keyword(protocol)?,
        port.parse().ok()?,
    );
    is_of_family.then_some(member)
}
