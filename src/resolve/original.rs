//! The destinations of a rule as matches on the original destination.
//!
//! After DNAT, conntrack still has the original destination of a connection. A rule can compare it
//! with one prefix and one range of ports, but not with sets.

use std::fmt;

use crate::net::{Cidr, Family, PortRange, Protocol};
use crate::policy::{
    AddressCondition, PeerSelection, PortCondition, PortList, ProtocolMatch, Rule, RulePeer,
    SelectorId,
};
use crate::resolve::{ResolvedPolicy, ResolvedPorts};

/// Maximum number of iptables rules that a policy rule may take for its destinations.
const ALTERNATIVES: usize = 32;

/// Maximum number of exceptions in one of them. iptables-nft loads 20 matches of this kind in one
/// rule, but not 21 (measured, 1.8.9).
const EXCEPTIONS: usize = 12;

/// A condition on the original destination. All fields must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginalDestination {
    /// The prefix that must contain it.
    pub net: Option<Cidr>,
    /// The range that must contain its port.
    pub ports: Option<PortRange>,
    /// The protocol, if a named port implies one.
    pub protocol: Option<Protocol>,
    /// Prefixes that must not contain it.
    pub not_nets: Vec<Cidr>,
    /// Ranges that must not contain its port.
    pub not_ports: Vec<PortRange>,
}

/// Why a rule cannot match original destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaskableReason {
    /// It needs more iptables rules than the limit.
    Alternatives(usize),
    /// It needs more exceptions than fit into one rule.
    Exceptions(usize),
    /// It excludes named ports, which are pairs of address and port.
    NamedExceptions,
    /// It matches backends of a service.
    Service,
}

impl fmt::Display for UnaskableReason {
    /// Completes the sentence "… cannot be asked behind DNAT: it ".
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnaskableReason::Alternatives(count) => {
                write!(
                    out,
                    "has {count} pairs of prefix and port range as destination, more than \
                     {ALTERNATIVES}"
                )
            }
            UnaskableReason::Exceptions(count) => write!(
                out,
                "excludes {count} prefixes and port ranges, more than {EXCEPTIONS}"
            ),
            UnaskableReason::NamedExceptions => write!(out, "excludes ports by name"),
            UnaskableReason::Service => write!(out, "names a service as destination"),
        }
    }
}

impl ResolvedPolicy<'_> {
    /// The original destinations that match a rule in a family, as alternatives. Empty if the rule
    /// cannot match in the family.
    ///
    /// # Errors
    /// Returns the reason if iptables cannot express them.
    pub fn original_destinations(
        &self,
        rule: &Rule,
        family: Family,
    ) -> Result<Vec<OriginalDestination>, UnaskableReason> {
        let peer = &rule.destination;
        if !rule.applies_to(family) {
            return Ok(Vec::new());
        }
        // A backend is a combination of address, protocol and port. conntrack matches cannot look
        // up a set.
        if peer.service.is_some() {
            return Err(UnaskableReason::Service);
        }
        if !peer.not_ports.names.is_empty() {
            return Err(UnaskableReason::NamedExceptions);
        }

        let not_nets = self.excluded(peer, family);
        let mut alternatives = Vec::new();
        for (net, ports, protocol) in self.alternatives(rule, family) {
            let not_nets = not_nets
                .iter()
                .copied()
                // Exceptions outside of the prefix have no effect, and each one counts against the
                // limit.
                .filter(|not| net.is_none_or(|net| not.contains(net) || net.contains(*not)));
            let not_ports = peer
                .not_ports
                .numbers
                .iter()
                .copied()
                .filter(|not| ports.is_none_or(|ports| overlap(*not, ports)));
            let fitting = OriginalDestination {
                net,
                ports,
                protocol,
                not_nets: not_nets.collect(),
                not_ports: not_ports.collect(),
            };
            alternatives.extend(fitting.is_possible().then_some(fitting));
        }

        let exceptions = alternatives
            .iter()
            .map(|fitting| fitting.not_nets.len() + fitting.not_ports.len())
            .max()
            .unwrap_or_default();
        match (alternatives.len(), exceptions) {
            (count, _) if count > ALTERNATIVES => Err(UnaskableReason::Alternatives(count)),
            (_, count) if count > EXCEPTIONS => Err(UnaskableReason::Exceptions(count)),
            _ => Ok(alternatives),
        }
    }

    /// Every combination of prefix and ports that the rule matches.
    fn alternatives(
        &self,
        rule: &Rule,
        family: Family,
    ) -> Vec<(Option<Cidr>, Option<PortRange>, Option<Protocol>)> {
        let peer = &rule.destination;
        let nets = self.nets(peer, family);
        let PortCondition::In(PortList { numbers, names }) = &peer.ports else {
            return nets.into_iter().map(|net| (net, None, None)).collect();
        };

        let mut pairs: Vec<_> = nets
            .iter()
            .flat_map(|net| numbers.iter().map(move |ports| (*net, Some(*ports), None)))
            .collect();
        let protocol = match rule.protocol {
            ProtocolMatch::Is(protocol) => Some(protocol),
            ProtocolMatch::Any | ProtocolMatch::IsNot(_) => None,
        };

        let named = ResolvedPorts {
            names,
            protocol,
            selected: peer.selected,
            node: None,
        };
        for (address, protocol, port) in self.named_ports(&named, family) {
            let within = nets
                .iter()
                .any(|net| net.is_none_or(|net| net.contains(Cidr::host(address))));
            if within && rule.protocol != ProtocolMatch::IsNot(protocol) {
                pairs.push((
                    Some(Cidr::host(address)),
                    PortRange::new(port, port),
                    Some(protocol),
                ));
            }
        }

        pairs
    }

    /// The prefixes that the positive parts of a side allow. Contains a single `None` if they allow
    /// every address.
    fn nets(&self, peer: &RulePeer, family: Family) -> Vec<Option<Cidr>> {
        let written = match &peer.nets {
            AddressCondition::Any => None,
            AddressCondition::In(nets) => Some(of_family(nets, family)),
        };

        let selected = match peer.selected {
            PeerSelection::Anyone => None,
            PeerSelection::By(selector) => Some(self.addresses(selector, family).to_vec()),
        };
        match (written, selected) {
            (None, None) => vec![None],
            (Some(nets), None) | (None, Some(nets)) => {
                widest(nets).into_iter().map(unless_everything).collect()
            }
            (Some(left), Some(right)) => widest(common(&left, &right))
                .into_iter()
                .map(unless_everything)
                .collect(),
        }
    }

    fn excluded(&self, peer: &RulePeer, family: Family) -> Vec<Cidr> {
        let of_selector = |selector: SelectorId| self.addresses(selector, family);
        let selected = peer.not_selected.map(of_selector).unwrap_or_default();
        widest(
            of_family(&peer.not_nets, family)
                .into_iter()
                .chain(selected.iter().copied())
                .collect(),
        )
    }
}

impl OriginalDestination {
    /// Whether the exceptions leave any address and port.
    fn is_possible(&self) -> bool {
        let in_net = |net: Cidr| self.not_nets.iter().any(|not| not.contains(net));
        let nowhere = self.not_nets.iter().any(|not| not.is_everything());
        let in_ports = |ports: PortRange| {
            self.not_ports
                .iter()
                .any(|not| not.first() <= ports.first() && ports.last() <= not.last())
        };
        !nowhere && !self.net.is_some_and(in_net) && !self.ports.is_some_and(in_ports)
    }
}

fn of_family(nets: &[Cidr], family: Family) -> Vec<Cidr> {
    nets.iter()
        .copied()
        .filter(|net| net.family() == family)
        .collect()
}

fn unless_everything(net: Cidr) -> Option<Cidr> {
    (!net.is_everything()).then_some(net)
}

/// Prefixes without those that another one contains.
fn widest(mut nets: Vec<Cidr>) -> Vec<Cidr> {
    // A containing prefix sorts directly before everything that it contains, so comparing with the
    // last kept prefix suffices.
    nets.sort_unstable_by_key(|net| (net.address(), net.prefix()));
    let mut kept: Vec<Cidr> = Vec::with_capacity(nets.len());
    for net in nets {
        if kept.last().is_none_or(|last| !last.contains(net)) {
            kept.push(net);
        }
    }
    kept
}

/// The intersection of two lists of prefixes. If two prefixes overlap, one contains the other.
fn common(left: &[Cidr], right: &[Cidr]) -> Vec<Cidr> {
    let pair = |left: Cidr, right: Cidr| match (left.contains(right), right.contains(left)) {
        (true, _) => Some(right),
        (false, true) => Some(left),
        (false, false) => None,
    };
    left.iter()
        .flat_map(|left| right.iter().filter_map(move |right| pair(*left, *right)))
        .collect()
}

fn overlap(left: PortRange, right: PortRange) -> bool {
    left.first() <= right.last() && right.first() <= left.last()
}
