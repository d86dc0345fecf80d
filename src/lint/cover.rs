//! Whether one rule matches every packet that another rule matches, in any cluster.

use std::collections::BTreeMap;

use crate::net::{Cidr, PortRange};
use crate::policy::{
    AddressCondition, IcmpMatch, PeerSelection, PortCondition, PortList, ProtocolMatch, Rule,
    RuleFamilies, RulePeer, SelectorId, SelectorTable,
};
use crate::selector;

/// Maximum number of prefix pairs that are compared. Beyond that, nothing is proven about the two
/// rules.
const MOST_PAIRS: usize = 10_000;

/// Compares rules and caches proofs about selectors.
pub(super) struct RuleCover<'input> {
    selectors: &'input SelectorTable,
    /// For a narrow and a wide selector, whether the first implies the second.
    implied: BTreeMap<(SelectorId, SelectorId), bool>,
}

impl<'input> RuleCover<'input> {
    pub(super) fn new(selectors: &'input SelectorTable) -> Self {
        Self {
            selectors,
            implied: BTreeMap::new(),
        }
    }

    /// Whether it is proven that `wide` matches everything that `narrow` matches.
    pub(super) fn covers(&mut self, wide: &Rule, narrow: &Rule) -> bool {
        // A mesh may deny what a rule with HTTP conditions allows, so such a rule covers nothing.
        !wide.http
            && (wide.families == RuleFamilies::Both || wide.families == narrow.families)
            && covers_protocol(wide.protocol, narrow.protocol)
            && covers_icmp(wide.icmp, narrow.icmp)
            && covers_address(&wide.source, &narrow.source)
            && covers_address(&wide.destination, &narrow.destination)
            && self.covers_members(&wide.source, &narrow.source)
            && self.covers_members(&wide.destination, &narrow.destination)
    }

    /// Compares the conditions on the owner of the address.
    fn covers_members(&mut self, wide: &RulePeer, narrow: &RulePeer) -> bool {
        let selected = match (wide.selected, narrow.selected) {
            (PeerSelection::Anyone, _) => true,
            (PeerSelection::By(wide), PeerSelection::By(narrow)) => self.implies(narrow, wide),
            (PeerSelection::By(_), PeerSelection::Anyone) => false,
        };
        selected
            && match (wide.not_selected, narrow.not_selected) {
                (None, _) => true,
                (Some(wide), Some(narrow)) => self.implies(wide, narrow),
                (Some(_), None) => false,
            }
    }

    fn implies(&mut self, narrow: SelectorId, wide: SelectorId) -> bool {
        let selectors = self.selectors;
        let prove = || {
            // Labels of nodes and of endpoints are different labels with the same names.
            selectors.domain(narrow) == selectors.domain(wide)
                && selector::implies(selectors.get(narrow), selectors.get(wide))
        };
        narrow == wide || *self.implied.entry((narrow, wide)).or_insert_with(prove)
    }
}

fn covers_protocol(wide: ProtocolMatch, narrow: ProtocolMatch) -> bool {
    match (wide, narrow) {
        (ProtocolMatch::Any, _) => true,
        (ProtocolMatch::IsNot(excluded), ProtocolMatch::Is(protocol)) => excluded != protocol,
        (ProtocolMatch::Is(_) | ProtocolMatch::IsNot(_), _) => wide == narrow,
    }
}

fn covers_icmp(wide: IcmpMatch, narrow: IcmpMatch) -> bool {
    match (wide, narrow) {
        (IcmpMatch::Any, _) => true,
        (IcmpMatch::Is(wide), IcmpMatch::Is(narrow)) => {
            wide.kind == narrow.kind && (wide.code.is_none() || wide.code == narrow.code)
        }
        (IcmpMatch::Is(_) | IcmpMatch::IsNot(_), _) => wide == narrow,
    }
}

/// Compares the conditions on prefixes, service and ports.
fn covers_address(wide: &RulePeer, narrow: &RulePeer) -> bool {
    let service = wide.service.is_none() || wide.service == narrow.service;
    service && covers_nets(wide, narrow) && covers_ports(wide, narrow)
}

fn covers_nets(wide: &RulePeer, narrow: &RulePeer) -> bool {
    let within = |nets: &[Cidr], net: Cidr| nets.iter().any(|outer| outer.contains(net));
    let disjoint = |left: Cidr, right: Cidr| !left.contains(right) && !right.contains(left);
    let included = match (&wide.nets, &narrow.nets) {
        (AddressCondition::Any, _) => true,
        (AddressCondition::In(wide), AddressCondition::In(narrow))
            if wide.len().saturating_mul(narrow.len()) > MOST_PAIRS =>
        {
            wide == narrow
        }
        (AddressCondition::In(wide), AddressCondition::In(narrow)) => {
            narrow.iter().all(|net| within(wide, *net))
        }
        (AddressCondition::In(_), AddressCondition::Any) => false,
    };

    let spared = |excluded: Cidr| match &narrow.nets {
        AddressCondition::In(nets) => nets.iter().all(|net| disjoint(*net, excluded)),
        AddressCondition::Any => false,
    };
    let few = wide.not_nets.len().saturating_mul(narrow.not_nets.len()) <= MOST_PAIRS;

    included
        && few
        && wide
            .not_nets
            .iter()
            .all(|excluded| within(&narrow.not_nets, *excluded) || spared(*excluded))
}

fn covers_ports(wide: &RulePeer, narrow: &RulePeer) -> bool {
    let included = match (&wide.ports, &narrow.ports) {
        (PortCondition::Any, _) => true,
        (PortCondition::In(wide), PortCondition::In(narrow)) => holds(wide, narrow),
        (PortCondition::In(_), PortCondition::Any) => false,
    };
    // An excluded port name depends on the selected endpoints, and several endpoints may share an
    // address. So the exclusions are comparable only if both sides select the same endpoints.
    let comparable = wide.not_ports.names.is_empty() || wide.selected == narrow.selected;
    included && comparable && holds(&narrow.not_ports, &wide.not_ports)
}

/// Whether `list` contains every port of `other`. The ranges of both are merged.
fn holds(list: &PortList, other: &PortList) -> bool {
    let range = |inner: &PortRange| {
        list.numbers
            .iter()
            .any(|outer| outer.first() <= inner.first() && inner.last() <= outer.last())
    };
    other.numbers.iter().all(range) && other.names.iter().all(|name| list.names.contains(name))
}
