//! Parts of a difference as phrases.

use std::net::IpAddr;

use crate::connectivity::port_list::{self, AllowedTraffic, ports_text, protocol_text, types_text};
use crate::diff::{
    ChangeReason, ChangeWitness, ConnectionChange, DecidingRule, DiffState, HostEndpointEnd,
    MatchedIdentity, MatchedPeer, PeerBlock, PeerId, WitnessEnd,
};
use crate::net::{Direction, Family};
use crate::packet_space::{AddressRange, HeaderSetId, HeaderSpace, HostListStage};
use crate::policy::{HostEndpoint, PolicyListKind};
use crate::report::diff::DiffReport;
use crate::source::Span;

/// The maximum number of protocols without ports or messages that are printed one by one.
const MOST_PROTOCOLS: usize = 4;

/// Returns the content of a set of headers, by protocol.
pub(super) fn listed(id: HeaderSetId, traffic: &HeaderSpace) -> Vec<String> {
    let mut texts = Vec::new();
    let mut others = Vec::new();
    for allowed in port_list::describe(id, traffic) {
        let is_special =
            allowed.ports.is_some() || allowed.protocol.to_string().starts_with("ICMP");
        if is_special {
            texts.push(protocol(&allowed))
        } else {
            others.push(allowed.protocol)
        }
    }

    match others.len() > MOST_PROTOCOLS {
        true => texts.push("other protocols".to_owned()),
        false => texts.extend(
            others
                .into_iter()
                .map(|protocol| format!("protocol {}", protocol_text(protocol))),
        ),
    }

    texts
}

fn protocol(allowed: &AllowedTraffic) -> String {
    let ports = allowed
        .ports
        .as_deref()
        .map(ports_text)
        .filter(|ports| ports != "1-65535");
    let ports = ports.map(|ports| format!(" {ports}")).unwrap_or_default();
    let from = allowed
        .source_ports
        .as_deref()
        .map(|ports| format!(" from {}", ports_text(ports)))
        .unwrap_or_default();

    let types = allowed
        .types
        .as_deref()
        .map(|types| format!(" {}", types_text(types)))
        .unwrap_or_default();
    format!("{}{ports}{from}{types}", protocol_text(allowed.protocol))
}

impl<'input> DiffReport<'_, 'input> {
    /// Formats a location in the files of a state: `policies.yaml:12`.
    pub(super) fn place(&self, state: DiffState, span: Span) -> String {
        let files = self.files.get(state);
        format!(
            "{}:{}",
            files.get(span.file).name,
            files.position(span).line
        )
    }

    /// Formats at most `most` peers: endpoints by name, addresses outside as few ranges.
    pub(super) fn peers(&self, peers: &[PeerId], most: usize) -> String {
        let mut names = self.names(peers);
        let more = names.len().saturating_sub(most);
        if more > 1 {
            names.truncate(most);
            names.push(format!("and {more} more"));
        }
        names.join(", ")
    }

    /// Returns the names of all peers, with addresses outside as few ranges.
    pub(super) fn names(&self, peers: &[PeerId]) -> Vec<String> {
        let known = peers.iter().filter_map(|id| self.difference.peer(*id));
        let endpoints = known.filter(|peer| !peer.is_outside()).map(name);
        endpoints
            .chain(self.difference.ranges(peers).into_iter().map(range))
            .collect()
    }

    /// Returns the lines of a change's blocks: `a → b, c`. A line has at most `most` names.
    pub(super) fn pairs(&self, change: &ConnectionChange<'_>, most: usize) -> Vec<String> {
        let host = change.host.as_ref();
        let mut lines: Vec<String> = change
            .blocks
            .iter()
            .take(most)
            .map(|block| self.pair(block, host, most))
            .collect();

        let rest: usize = change
            .blocks
            .iter()
            .skip(most)
            .map(|block| self.difference.pairs(block))
            .sum();
        lines.extend((rest > 0).then(|| format!("and {rest} more pairs")));

        lines
    }

    fn pair(&self, block: &PeerBlock, host: Option<&HostEndpointEnd>, most: usize) -> String {
        let families = match block.families.as_slice() {
            [family] if self.has_both_families && !self.has_outside(block) => {
                format!(" ({family})")
            }
            _ => String::new(),
        };
        let [from, to] = [
            (Direction::Egress, &block.from),
            (Direction::Ingress, &block.to),
        ]
        .map(|(direction, peers)| {
            let at = host
                .filter(|at| at.direction == direction)
                .map(|at| self.at_host(at, most))
                .unwrap_or_default();
            format!("{}{at}", self.peers(peers, most))
        });

        format!("{from} → {to}{families}")
    }

    /// Returns the text after the names of host endpoints: the list, and the addresses to which the
    /// change is limited.
    fn at_host(&self, at: &HostEndpointEnd, most: usize) -> String {
        let list = match at.way {
            HostListStage::Passed(PolicyListKind::Normal)
            | HostListStage::LetThrough(PolicyListKind::Normal | PolicyListKind::Forward) => {
                String::new()
            }
            HostListStage::Passed(list) => format!(" ({} policy)", list.label()),
            HostListStage::LetThrough(list) => {
                format!(" (allowed at once by {} policy)", list.label())
            }
        };

        let near = if at.near.is_empty() {
            String::new()
        } else {
            format!(" at {}", self.peers(&at.near, most))
        };

        format!("{list}{near}")
    }

    fn has_outside(&self, block: &PeerBlock) -> bool {
        block
            .from
            .iter()
            .chain(&block.to)
            .filter_map(|id| self.difference.peer(*id))
            .any(MatchedPeer::is_outside)
    }

    /// Returns two lines about a cause: what decided before, and what decides now.
    pub(super) fn reasons(&self, reason: &ChangeReason<'input>) -> [String; 2] {
        let then = self.decider(DiffState::Old, reason.direction, &reason.old);
        let now = self.decider(DiffState::New, reason.direction, &reason.new);
        [
            format!("{}: was {then}", reason.direction),
            format!("{}: now {now}", reason.direction),
        ]
    }

    /// Formats what decides: `denied: isolated by …`.
    pub(super) fn decider(
        &self,
        state: DiffState,
        direction: Direction,
        decider: &DecidingRule<'input>,
    ) -> String {
        match decider {
            DecidingRule::Rule {
                key,
                number,
                span,
                is_allowed,
            } => {
                let verdict = if *is_allowed { "allowed" } else { "denied" };
                format!(
                    "{verdict} by {direction} rule {number} of {key} ({})",
                    self.place(state, *span)
                )
            }
            DecidingRule::Isolated { tier, policies } => {
                let policies: Vec<String> = policies
                    .iter()
                    .map(|(key, span)| format!("{key} ({})", self.place(state, *span)))
                    .collect();
                format!(
                    "denied: isolated by {} in tier {tier}; no rule matched",
                    policies.join(" and ")
                )
            }
            DecidingRule::NoPolicy => format!("allowed: no {direction} policy applies"),
            DecidingRule::PassedOn => "allowed: every tier passes on".to_owned(),
            DecidingRule::Profiles => "denied: no profile allows".to_owned(),
            DecidingRule::NoHost => "allowed: no host endpoint is there".to_owned(),
            DecidingRule::NotLetThrough => {
                "not let through: no rule allows, so that what comes behind is asked".to_owned()
            }
        }
    }

    /// Formats a witness: `TCP from shop/web (10.0.0.1) port 49152 to shop/db (10.0.0.2) port
    /// 5432`.
    pub(super) fn witness(&self, witness: &ChangeWitness<'input>) -> String {
        let end = |end: &WitnessEnd<'input>| match (end.endpoint, end.address) {
            (None, address) if end.host.is_some() => at_host(end.host, address),
            (Some(endpoint), Some(address)) => format!("{} ({address})", endpoint.notation()),
            (Some(endpoint), None) => endpoint.notation(),
            (None, Some(address)) => address.to_string(),
            (None, None) => witness.family.to_string(),
        };
        let port = |port: Option<u16>| port.map(|port| format!(" port {port}")).unwrap_or_default();
        let message = witness
            .message
            .map(|message| format!(" type {} code {}", message.kind, message.code))
            .unwrap_or_default();
        let (source, destination) = (
            witness.ports.map(|ports| ports.source),
            witness.ports.map(|ports| ports.destination),
        );

        let protocol = protocol_text(witness.protocol);
        let protocol = if protocol.starts_with(|letter: char| letter.is_ascii_digit()) {
            format!("protocol {protocol}")
        } else {
            protocol
        };

        format!(
            "{protocol}{message} from {}{} to {}{}",
            end(&witness.from),
            port(source),
            end(&witness.to),
            port(destination)
        )
    }
}

/// Formats the host endpoint at an end: `HostEndpoint n1-eth0 (10.0.0.1)`.
fn at_host(host: Option<&HostEndpoint>, address: Option<IpAddr>) -> String {
    let name = host.map(ToString::to_string).unwrap_or_default();
    address.map_or(name.clone(), |address| format!("{name} ({address})"))
}

/// Returns the name of a peer: `shop/db`, `shop/Deployment/db`, `HostEndpoint n1-eth0`.
fn name(peer: &MatchedPeer<'_>) -> String {
    match &peer.identity {
        MatchedIdentity::Endpoints {
            namespace,
            kind: "Pod",
            name,
        } => format!("{namespace}/{name}"),
        MatchedIdentity::Endpoints {
            namespace,
            kind,
            name,
        } => format!("{namespace}/{kind}/{name}"),
        MatchedIdentity::Host { name, .. } => format!("HostEndpoint {name}"),
        MatchedIdentity::Outside(ranges) => ranges
            .iter()
            .copied()
            .map(range)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Formats a range: as a prefix if it is one, else `first-last`.
pub(super) fn range(range: AddressRange) -> String {
    let last = match range.family {
        Family::V4 => u32::MAX.into(),
        Family::V6 => u128::MAX,
    };
    if (range.first, range.last) == (0, last) {
        return format!("everything outside ({})", range.family);
    }

    match range.prefixes().as_slice() {
        [prefix] => prefix.to_string(),
        _ => format!("{}-{}", range.first_address(), range.last_address()),
    }
}
