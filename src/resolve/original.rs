//! What a rule says of destinations, as the kernel can still be asked once they are translated:
//! connection tracking keeps the original destination of a connection, and compares it with one
//! prefix and one range of ports, not with sets.

use std::fmt;

use crate::net::{Cidr, Family, PortRange, Protocol};
use crate::policy::{
    AddressCondition, PeerSelection, PortCondition, PortList, ProtocolMatch, Rule, RulePeer,
    SelectorId,
};
use crate::resolve::{ResolvedPolicy, ResolvedPorts};

/// Rules of iptables that a policy rule may take for its destinations.
const ALTERNATIVES: usize = 32;

/// Exceptions in one of them. iptables-nft loads 20 conditions of this sort in one rule, 21 not
/// (measured, 1.8.9).
const EXCEPTIONS: usize = 12;

/// A destination before it was translated: all that is said here holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginalDestination {
    /// The prefix it is in.
    pub net: Option<Cidr>,
    /// The range its port is in.
    pub ports: Option<PortRange>,
    /// The protocol, where a port by name says so.
    pub protocol: Option<Protocol>,
    /// Prefixes that it is not in.
    pub not_nets: Vec<Cidr>,
    /// Ranges that its port is not in.
    pub not_ports: Vec<PortRange>,
}

/// Why a rule cannot be asked of original destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaskableReason {
    /// More alternatives than we make rules of.
    Alternatives(usize),
    /// More exceptions than go into one rule.
    Exceptions(usize),
    /// It excludes ports by name, which are pairs of address and port.
    NamedExceptions,
    /// It names backends of a service.
    Service,
}

impl fmt::Display for UnaskableReason {
    /// As the end of "… cannot be asked behind DNAT: it ".
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
    /// The original destinations of a family that fit a rule: one of these; none where the rule
    /// cannot match in the family.
    ///
    /// # Errors
    /// When that is more than the kernel can be asked.
    pub fn original_destinations(
        &self,
        rule: &Rule,
        family: Family,
    ) -> Result<Vec<OriginalDestination>, UnaskableReason> {
        let peer = &rule.destination;
        if !rule.applies_to(family) {
            return Ok(Vec::new());
        }
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

    /// Every pair of prefix and ports that the rule names.
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

    /// The prefixes that the positive parts of a side leave; one that is none where they leave all.
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
    /// Whether the exceptions leave anything.
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

/// Prefixes without those that another one holds.
fn widest(mut nets: Vec<Cidr>) -> Vec<Cidr> {
    nets.sort_unstable_by_key(|net| (net.address(), net.prefix()));
    let mut kept: Vec<Cidr> = Vec::with_capacity(nets.len());
    for net in nets {
        if kept.last().is_none_or(|last| !last.contains(net)) {
            kept.push(net);
        }
    }
    kept
}

/// What is in a prefix of either list. Of two prefixes that meet, one holds the other.
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
