//! Failsafe ports: ports that host endpoint policy cannot close, so that users cannot lock
//! themselves out of a node.

use std::fmt;

use crate::net::{Cidr, CidrError, Direction, PortRange, Protocol};

/// Ports of host endpoints that stay open regardless of policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailsafePorts {
    /// Ports of the node that peers can reach.
    pub inbound: FailsafeList,
    /// Ports of peers that the node can reach.
    pub outbound: FailsafeList,
}

/// Failsafe ports of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailsafeList(pub(super) Vec<FailsafePort>);

/// One failsafe port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailsafePort {
    /// The protocol, TCP or UDP.
    pub protocol: Protocol,
    /// Addresses of the remote peer, or `None` for any.
    pub net: Option<Cidr>,
    /// The port.
    pub port: PortRange,
}

/// Calico's defaults (semantics §7.12): SSH, DHCP, BGP, etcd, Typha, the Kubernetes API, and the
/// etcd port of old clusters. Outbound also DNS.
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

    /// Parses `none`, or a comma-separated list of `port` (TCP), `protocol:port` and
    /// `protocol:prefix:port`, with IPv6 prefixes in brackets.
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

    // An IPv6 prefix contains colons, so it needs brackets.
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

/// Parses a prefix without host bits, or an address.
fn net(text: &str) -> Option<Cidr> {
    match Cidr::parse_strict(text) {
        Ok(net) => Some(net),
        Err(CidrError::NoPrefixLength) => text.parse().ok().map(Cidr::host),
        // Host bits are probably a mistake, and dropping them would open more addresses than
        // intended.
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
