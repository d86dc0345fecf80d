//! Lowers one policy rule to the matches of iptables rules: one rule, or two if a positive port
//! list has both numbers and names. Long lists of SCTP ports take more rules.

use crate::diagnostic::Diagnostics;
use crate::inventory::ServiceKey;
use crate::limits;
use crate::lower::names::KernelNames;
use crate::lower::program::{RuleMatch, Sense, Side};
use crate::lower::sets::{NamedPortQuery, SetBuilder, SetReach};
use crate::net::{Direction, Family, PortRange, Protocol};
use crate::policy::{
    AddressCondition, IcmpMatch, PeerSelection, PortCondition, PortList, ProtocolMatch, Rule,
    RulePeer,
};
use crate::resolve::OriginalDestination;

/// Inputs for lowering a rule, besides the rule.
pub(super) struct RuleContext<'run, 'input> {
    pub(super) sets: &'run mut SetBuilder<'input>,
    pub(super) names: &'run mut KernelNames,
    pub(super) found: &'run mut Diagnostics,
    pub(super) family: Family,
    pub(super) direction: Direction,
    /// Which addresses can occur on the side that the policy applies to.
    pub(super) near: SetReach,
}

/// Returns the matches of a rule, one list per iptables rule. Returns no lists if the rule cannot
/// match in this family.
pub(super) fn of_rule(rule: &Rule, context: &mut RuleContext<'_, '_>) -> Vec<Vec<RuleMatch>> {
    if !rule.applies_to(context.family) {
        return Vec::new();
    }

    let mut common = protocol(rule.protocol);
    common.extend(icmp(rule.icmp));
    let protocol = exactly(rule.protocol);
    let sides = [
        (Side::Source, &rule.source),
        (Side::Destination, &rule.destination),
    ];
    let mut alternatives = vec![common];

    for (side, peer) in sides {
        let conditions = of_peer(side, peer, protocol, context);
        alternatives = product(&alternatives, &conditions);
    }

    alternatives
}

/// Like [`of_rule`], for packets whose destination may be translated. The matches use the original
/// destination. Returns one list per alternative.
pub(super) fn of_original(
    rule: &Rule,
    destinations: &[OriginalDestination],
    context: &mut RuleContext<'_, '_>,
) -> Vec<Vec<RuleMatch>> {
    let source = of_peer(Side::Source, &rule.source, exactly(rule.protocol), context);
    let mut alternatives = Vec::new();
    for destination in destinations {
        let mut common = protocol(
            destination
                .protocol
                .map_or(rule.protocol, ProtocolMatch::Is),
        );
        common.extend(icmp(rule.icmp));
        alternatives.extend(product(
            &product(&[common], &source),
            &[original(destination)],
        ));
    }

    alternatives
}

fn original(
    OriginalDestination {
        net,
        ports,
        not_nets,
        not_ports,
        protocol: _,
    }: &OriginalDestination,
) -> Vec<RuleMatch> {
    let mut matches = Vec::from_iter(net.map(|net| RuleMatch::OriginalAddress(Sense::Is, net)));
    matches.extend(
        not_nets
            .iter()
            .map(|net| RuleMatch::OriginalAddress(Sense::IsNot, *net)),
    );
    matches.extend(ports.map(|ports| RuleMatch::OriginalPort(Sense::Is, ports)));
    matches.extend(
        not_ports
            .iter()
            .map(|ports| RuleMatch::OriginalPort(Sense::IsNot, *ports)),
    );

    matches
}

/// The only protocol that a condition accepts, or `None` if it accepts several.
fn exactly(condition: ProtocolMatch) -> Option<Protocol> {
    match condition {
        ProtocolMatch::Is(protocol) => Some(protocol),
        ProtocolMatch::Any | ProtocolMatch::IsNot(_) => None,
    }
}

/// The conjunction of two disjunctions: every list of `left` joined with every list of `right`.
fn product(left: &[Vec<RuleMatch>], right: &[Vec<RuleMatch>]) -> Vec<Vec<RuleMatch>> {
    left.iter()
        .flat_map(|left| {
            right
                .iter()
                .map(move |right| [left.as_slice(), right.as_slice()].concat())
        })
        .collect()
}

fn protocol(condition: ProtocolMatch) -> Vec<RuleMatch> {
    match condition {
        ProtocolMatch::Any => Vec::new(),
        ProtocolMatch::Is(protocol) => vec![RuleMatch::Protocol(Sense::Is, protocol)],
        ProtocolMatch::IsNot(protocol) => vec![RuleMatch::Protocol(Sense::IsNot, protocol)],
    }
}

fn icmp(condition: IcmpMatch) -> Option<RuleMatch> {
    match condition {
        IcmpMatch::Any => None,
        IcmpMatch::Is(icmp) => Some(RuleMatch::Icmp(Sense::Is, icmp)),
        IcmpMatch::IsNot(icmp) => Some(RuleMatch::Icmp(Sense::IsNot, icmp)),
    }
}

/// Matches for one side: endpoints, addresses, ports. Returns several lists if ports are given by
/// number and by name.
fn of_peer(
    side: Side,
    peer: &RulePeer,
    protocol: Option<Protocol>,
    context: &mut RuleContext<'_, '_>,
) -> Vec<Vec<RuleMatch>> {
    let mut common = Vec::new();
    // The set for named ports contains only ports of selected endpoints, so a match on the
    // selection would be redundant.
    let only_names = matches!(&peer.ports, PortCondition::In(list) if list.numbers.is_empty() && !list.names.is_empty());
    if let (PeerSelection::By(selector), false) = (peer.selected, only_names) {
        common.push(RuleMatch::Member(
            Sense::Is,
            side,
            selection(selector, side, context),
        ));
    }

    if let Some(selector) = peer.not_selected {
        common.push(RuleMatch::Member(
            Sense::IsNot,
            side,
            selection(selector, side, context),
        ));
    }

    common.extend(addresses(side, peer, context));
    common.extend(
        peer.service
            .as_ref()
            .map(|service| backend(side, service, context)),
    );
    common.extend(excluded_ports(side, peer, protocol, context));

    let ports = ports(side, peer, protocol, context);
    ports
        .into_iter()
        .map(|port| common.iter().cloned().chain(port).collect())
        .collect()
}

fn selection(
    selector: crate::policy::SelectorId,
    side: Side,
    context: &mut RuleContext<'_, '_>,
) -> crate::lower::program::SetName {
    let reach = reach(side, context);
    context.sets.selection(
        selector,
        reach,
        context.family,
        context.names,
        context.found,
    )
}

/// Match for a backend of a service: a sender by its address, a receiver by address, protocol and
/// port (semantics §6.2).
fn backend(side: Side, service: &ServiceKey, context: &mut RuleContext<'_, '_>) -> RuleMatch {
    match side {
        Side::Source => {
            let set = context.sets.service_addresses(
                service,
                context.family,
                context.names,
                context.found,
            );
            RuleMatch::Member(Sense::Is, side, set)
        }
        Side::Destination => {
            let set =
                context
                    .sets
                    .service_ports(service, context.family, context.names, context.found);
            RuleMatch::Service(Sense::Is, side, set)
        }
    }
}

/// Which addresses a set for a side must contain.
fn reach(side: Side, context: &RuleContext<'_, '_>) -> SetReach {
    match (side, context.direction) {
        (Side::Destination, Direction::Ingress) | (Side::Source, Direction::Egress) => context.near,
        (Side::Source, Direction::Ingress) | (Side::Destination, Direction::Egress) => {
            SetReach::Cluster
        }
    }
}

/// Match for prefixes. A single prefix is part of the rule; several prefixes, or prefixes with
/// exceptions, become a set.
fn addresses(side: Side, peer: &RulePeer, context: &mut RuleContext<'_, '_>) -> Option<RuleMatch> {
    let family = context.family;
    // Sets and rules of one family cannot contain prefixes of the other.
    let of_family = |nets: &[crate::net::Cidr]| {
        nets.iter()
            .copied()
            .filter(|net| net.family() == family)
            .collect::<Vec<_>>()
    };
    let except = of_family(&peer.not_nets);

    let nets = match &peer.nets {
        AddressCondition::Any => Vec::new(),
        AddressCondition::In(nets) => of_family(nets),
    };
    match (&peer.nets, nets.as_slice(), except.as_slice()) {
        (AddressCondition::Any, _, []) => None,
        (AddressCondition::Any, _, [only]) => Some(RuleMatch::Address(Sense::IsNot, side, *only)),
        // One negated set match excludes all prefixes; `nomatch` members are not needed.
        (AddressCondition::Any, _, except) => {
            let set = context
                .sets
                .prefixes(family, except, &[], context.names, context.found);
            Some(RuleMatch::Member(Sense::IsNot, side, set))
        }
        (AddressCondition::In(_), [only], []) => Some(RuleMatch::Address(Sense::Is, side, *only)),
        (AddressCondition::In(_), nets, except) => {
            let set = context
                .sets
                .prefixes(family, nets, except, context.names, context.found);
            Some(RuleMatch::Member(Sense::Is, side, set))
        }
    }
}

/// The alternatives of a positive port list.
fn ports(
    side: Side,
    peer: &RulePeer,
    protocol: Option<Protocol>,
    context: &mut RuleContext<'_, '_>,
) -> Vec<Option<RuleMatch>> {
    let PortCondition::In(list) = &peer.ports else {
        return vec![None];
    };
    let by_number = numbers(Sense::Is, side, &list.numbers, protocol, context);
    let by_name = (!list.names.is_empty())
        .then(|| named(Sense::Is, side, peer, &list.names, protocol, context));
    by_number.into_iter().chain(by_name).map(Some).collect()
}

/// Matches for excluded ports: the port must match neither a number nor a name.
fn excluded_ports(
    side: Side,
    peer: &RulePeer,
    protocol: Option<Protocol>,
    context: &mut RuleContext<'_, '_>,
) -> Vec<RuleMatch> {
    let PortList {
        numbers: excluded,
        names,
    } = &peer.not_ports;
    let by_number = numbers(Sense::IsNot, side, excluded, protocol, context);
    let by_name =
        (!names.is_empty()).then(|| named(Sense::IsNot, side, peer, names, protocol, context));
    by_number.into_iter().chain(by_name).collect()
}

/// Matches for numeric ports, or no match if there are no numbers. Ports that fit into one
/// `multiport` match are part of the rule; more become a set. A set of ports supports only TCP and
/// UDP (`ip_set_get_ip_port`, net/netfilter/ipset/ip_set_bitmap_port.c) and would never match SCTP,
/// so long lists of SCTP ports take several matches.
fn numbers(
    sense: Sense,
    side: Side,
    ranges: &[PortRange],
    protocol: Option<Protocol>,
    context: &mut RuleContext<'_, '_>,
) -> Vec<RuleMatch> {
    let slots: usize = ranges.iter().map(|range| range.slots()).sum();
    match (slots <= limits::MULTIPORT_SLOTS, protocol) {
        (true, _) | (false, Some(Protocol::SCTP)) => lists(ranges)
            .into_iter()
            .map(|list| RuleMatch::Ports(sense, side, list))
            .collect(),
        (false, _) => vec![RuleMatch::PortMember(
            sense,
            side,
            context.sets.ports(ranges, context.names, context.found),
        )],
    }
}

/// Splits ranges into lists that fit into one `multiport` match each. No ranges give no list.
fn lists(ranges: &[PortRange]) -> Vec<Vec<PortRange>> {
    let mut lists: Vec<Vec<PortRange>> = Vec::new();
    let mut free = 0;
    for range in ranges {
        match lists.last_mut() {
            Some(list) if range.slots() <= free => list.push(*range),
            _ => {
                lists.push(vec![*range]);
                free = limits::MULTIPORT_SLOTS;
            }
        }
        free -= range.slots();
    }

    lists
}

/// The set of named ports. It contains ports of the endpoints that the side's positive selector
/// selects, also for an exclusion (semantics §6.1).
fn named(
    sense: Sense,
    side: Side,
    peer: &RulePeer,
    names: &[String],
    protocol: Option<Protocol>,
    context: &mut RuleContext<'_, '_>,
) -> RuleMatch {
    let wanted = NamedPortQuery {
        names,
        protocol,
        selected: peer.selected,
        reach: reach(side, context),
    };

    RuleMatch::Service(
        sense,
        side,
        context
            .sets
            .named_ports(&wanted, context.family, context.names, context.found),
    )
}
