//! Traffic patterns of questions and assertions. Only this module parses `tcp/443`.

use std::str::FromStr;

use crate::net::{Family, PortRange, Protocol, Side};
use crate::packet_space::{HeaderSetId, HeaderSpace, PartitionBuilder};
use crate::policy::{Icmp, IcmpMatch, ProtocolMatch};

/// A set of packets: `any`, `tcp`, `tcp/443`, `tcp/8000-8100`, `icmp`, `icmp/8`, `icmp/8/0`,
/// `proto/47`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficPattern {
    words: String,
    kind: PatternKind,
}

/// The meaning of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatternKind {
    Any,
    Protocol(Protocol),
    Ports(Protocol, PortRange),
    Messages(Protocol, Icmp),
}

/// The forms of a pattern, for error messages.
const FORMS: &str = "expected `any`, `tcp`, `tcp/443`, `udp/8000-8100`, `icmp`, `icmp/8`, \
                     `icmp/8/0`, `icmpv6/…` or `proto/47`";

impl FromStr for TrafficPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self {
            words: text.to_owned(),
            kind: kind(&text.to_lowercase())?,
        })
    }
}

fn kind(text: &str) -> Result<PatternKind, String> {
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    if text == "any" {
        return Ok(PatternKind::Any);
    }
    if let Some(number) = text.strip_prefix("proto/") {
        let protocol = number.parse().ok().and_then(Protocol::from_number);
        return protocol
            .map(PatternKind::Protocol)
            .ok_or_else(|| format!("`{number}` is no protocol number from 1 to 255"));
    }

    let (word, rest) = text
        .split_once('/')
        .map_or((text, None), |(word, rest)| (word, Some(rest)));
    if !word.is_empty() && is_number(word) {
        return Err(format!(
            "of which protocol? write `tcp/{word}`, or `proto/{word}` for the protocol of that \
             number"
        ));
    }

    let protocol =
        Protocol::from_keyword(word).ok_or_else(|| format!("`{text}` is no traffic; {FORMS}"))?;
    match rest {
        None => Ok(PatternKind::Protocol(protocol)),
        Some(rest) if is_control(protocol) => {
            message(rest).map(|icmp| PatternKind::Messages(protocol, icmp))
        }
        Some(rest) if protocol.has_ports() => {
            ports(rest).map(|range| PatternKind::Ports(protocol, range))
        }
        Some(_) => Err(format!(
            "{protocol} has no ports that policy can name; {FORMS}"
        )),
    }
}

fn is_control(protocol: Protocol) -> bool {
    [Protocol::ICMP, Protocol::ICMPV6].contains(&protocol)
}

fn ports(text: &str) -> Result<PortRange, String> {
    let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
    let range = first
        .parse()
        .ok()
        .zip(last.parse().ok())
        .and_then(|(first, last)| PortRange::new(first, last));
    range.ok_or_else(|| {
        format!("`{text}` is no port from 1 to 65535 and no range of ports as in `8000-8100`")
    })
}

fn message(text: &str) -> Result<Icmp, String> {
    let number = |text: &str| {
        text.parse()
            .map_err(|_| format!("`{text}` is no ICMP type or code from 0 to 255"))
    };
    let (kind, code) = text
        .split_once('/')
        .map_or((text, None), |(kind, code)| (kind, Some(code)));

    Ok(Icmp {
        kind: number(kind)?,
        code: code.map(number).transpose()?,
    })
}

impl TrafficPattern {
    /// Returns the pattern as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.words
    }

    pub(crate) fn kind(&self) -> PatternKind {
        self.kind
    }

    /// Adds the pattern's conditions to a partition of headers.
    pub(crate) fn add_cuts(&self, cuts: &mut PartitionBuilder) {
        match self.kind {
            PatternKind::Any => {}
            PatternKind::Protocol(protocol) => cuts.protocol(protocol),
            PatternKind::Ports(protocol, range) => cuts.ports(protocol, Side::Destination, range),
            PatternKind::Messages(protocol, icmp) => cuts.message(protocol, icmp),
        }
    }

    /// Returns the traffic of the pattern between addresses of a family, without the ICMP of the
    /// other family.
    pub(crate) fn between(&self, family: Family, traffic: &mut HeaderSpace) -> HeaderSetId {
        match self.kind {
            PatternKind::Protocol(protocol) | PatternKind::Messages(protocol, _)
                if is_control_of_other(protocol, family) =>
            {
                HeaderSpace::NONE
            }
            PatternKind::Any
            | PatternKind::Protocol(_)
            | PatternKind::Ports(..)
            | PatternKind::Messages(..) => self.traffic(traffic),
        }
    }

    /// Returns the traffic of the pattern.
    pub(crate) fn traffic(&self, traffic: &mut HeaderSpace) -> HeaderSetId {
        let (protocol, icmp, range) = match self.kind {
            PatternKind::Any => return HeaderSpace::ALL,
            PatternKind::Protocol(protocol) => (protocol, IcmpMatch::Any, None),
            PatternKind::Ports(protocol, range) => (protocol, IcmpMatch::Any, Some(range)),
            PatternKind::Messages(protocol, icmp) => (protocol, IcmpMatch::Is(icmp), None),
        };
        let all = traffic.of_rule(ProtocolMatch::Is(protocol), icmp);

        match range {
            None => all,
            Some(range) => {
                let to_ports = traffic.with_ports(Side::Destination, &[range]);
                traffic.and(all, to_ports)
            }
        }
    }
}

/// Returns `true` for ICMP in IPv6 and for ICMPv6 in IPv4.
pub(crate) fn is_control_of_other(protocol: Protocol, family: Family) -> bool {
    match family {
        Family::V4 => protocol == Protocol::ICMPV6,
        Family::V6 => protocol == Protocol::ICMP,
    }
}
