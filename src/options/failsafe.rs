//! Failsafe ports: what a host endpoint's policy cannot close, so that nobody locks himself out of
//! a node.

use std::fmt;

use crate::net::{Cidr, CidrError, Direction, PortRange, Protocol};

/// Ports that stay open at host endpoints, whatever policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailsafePorts {
    /// Ports of the node.
    pub inbound: FailsafeList,
    /// Ports that the node may reach.
    pub outbound: FailsafeList,
}

/// Failsafe ports of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailsafeList(pub(super) Vec<FailsafePort>);

/// One failsafe port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailsafePort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The other side's addresses; none for any.
    pub net: Option<Cidr>,
    /// The port.
    pub port: PortRange,
}

/// Calico's defaults (semantics §7.12): SSH, DHCP, BGP, etcd, Typha, the Kubernetes API, etcd of
/// old clusters; and DNS outward.
const INBOUND: &str =
    "tcp:22, udp:68, tcp:179, tcp:2379, tcp:2380, tcp:5473, tcp:6443, tcp:6666, tcp:6667";
const OUTBOUND: &str =
    "udp:53, udp:67, tcp:179, tcp:2379, tcp:2380, tcp:5473, tcp:6443, tcp:6666, tcp:6667";

impl Default for FailsafePorts {
    fn default() -> Self {
        let list = |text: &str| text.parse().unwrap_or(FailsafeList(Vec::new()));
        Self {
            inbound: list(INBOUND),
            outbound: list(OUTBOUND),
        }
    }
}

impl FailsafePorts {
    /// The ports of a direction.
    pub fn in_direction(&self, direction: Direction) -> &[FailsafePort] {
        match direction {
            Direction::Ingress => &self.inbound.0,
            Direction::Egress => &self.outbound.0,
        }
    }
}

impl std::str::FromStr for FailsafeList {
    type Err = String;

    /// `none`, or items between commas: `port` (of TCP), `protocol:port`, `protocol:prefix:port`,
    /// an IPv6 prefix in brackets.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self(Vec::new()));
        }
        let mut list = text
            .split(',')
            .map(|item| failsafe(item.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        list.sort_unstable();
        list.dedup();
        Ok(Self(list))
    }
}

fn failsafe(item: &str) -> Result<FailsafePort, String> {
    let wrong = || {
        format!(
            "`{item}` is no failsafe port: write `22`, `udp:68`, `tcp:10.0.0.0/8:22` or \
             `tcp:[2001:db8::/32]:22`, or `none` alone"
        )
    };

    let Some((protocol, rest)) = item.split_once(':') else {
        return Ok(FailsafePort {
            protocol: Protocol::TCP,
            net: None,
            port: port(item).ok_or_else(wrong)?,
        });
    };

    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        _ => return Err(wrong()),
    };
    let Some((prefix, number)) = rest.rsplit_once(':') else {
        return Ok(FailsafePort {
            protocol,
            net: None,
            port: port(rest).ok_or_else(wrong)?,
        });
    };

    let bare = prefix
        .strip_prefix('[')
        .and_then(|prefix| prefix.strip_suffix(']'));
    let net = net(bare.unwrap_or(prefix)).filter(|net| bare.is_some() || net.address().is_ipv4());
    Ok(FailsafePort {
        protocol,
        net: Some(net.ok_or_else(wrong)?),
        port: port(number).ok_or_else(wrong)?,
    })
}

fn port(text: &str) -> Option<PortRange> {
    let number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())??;
    PortRange::new(number, number)
}

/// A prefix without host bits, or an address.
fn net(text: &str) -> Option<Cidr> {
    match Cidr::parse_strict(text) {
        Ok(net) => Some(net),
        Err(CidrError::NoPrefixLength) => text.parse().ok().map(Cidr::host),
        Err(CidrError::Malformed | CidrError::HostBits(_)) => None,
    }
}

impl fmt::Display for FailsafePort {
    /// `tcp:22`, `tcp:10.0.0.0/8:22` or `tcp:[2001:db8::/32]:22`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let net = match self.net {
            None => String::new(),
            Some(net) if net.address().is_ipv4() => format!("{net}:"),
            Some(net) => format!("[{net}]:"),
        };
        write!(out, "{}:{net}{}", self.protocol.keyword(), self.port)
    }
}
