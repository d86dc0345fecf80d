//! Set types and set members.

use std::fmt;
use std::net::IpAddr;

use crate::net::{Cidr, Family, Protocol};

/// The set types that Palisade creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetKind {
    /// `hash:net`.
    Nets(Family),
    /// `hash:ip,port`.
    Services(Family),
    /// `bitmap:port` with all ports.
    Ports,
}

/// A member of a set. The order is the order of members in scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParsedMember {
    /// Member of `hash:net`: a prefix, and whether it is an exception (`nomatch`).
    Net(Cidr, bool),
    /// Member of `hash:ip,port`.
    Service(IpAddr, Protocol, u16),
    /// Member of `bitmap:port`.
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

    /// Parses one `add` line and appends its members. A port range yields one member per port.
    /// Returns `None` if the line does not fit this type.
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

    /// Parses one member. Returns `None` if it does not fit this type.
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

    /// Returns the type and family as arguments of `create`.
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
    /// Returns the prefix of the member's addresses, or `None` for a port, which matches all
    /// addresses.
    pub fn net(self) -> Option<Cidr> {
        match self {
            ParsedMember::Net(net, _) => Some(net),
            ParsedMember::Service(address, ..) => Some(Cidr::host(address)),
            ParsedMember::Port(_) => None,
        }
    }
}

/// Formats the member as `add` takes it after the name of the set.
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

/// Parses `10.0.0.1,tcp:80`. `ipset` has its own names for `ipv6-icmp` and others, none of which
/// Palisade writes.
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
