//! Decides if a rule of checked policy matches a flow (semantics §3, §6).

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::inventory::{EndpointId, ServiceKey};
use crate::net::{Cidr, Family, Protocol, Side};
use crate::packet::{Conversation, Flow, IcmpMessage, Party};
use crate::policy::{
    AddressCondition, Icmp, IcmpMatch, PeerSelection, PortCondition, PortList, ProtocolMatch, Rule,
    RulePeer, SelectorId,
};
use crate::resolve::{HostEndpointId, ResolvedPolicy, SelectedEndpoints};

/// Matches rules of one resolved policy against flows.
#[derive(Debug)]
pub(crate) struct RuleMatcher<'resolved, 'input> {
    pub(crate) resolved: &'resolved ResolvedPolicy<'input>,
    /// The endpoint that has an address.
    owners: FxHashMap<IpAddr, EndpointId>,
    /// The host endpoints that have an address; several may have the same.
    hosts: FxHashMap<IpAddr, Vec<HostEndpointId>>,
}

/// A part of a rule. A rule matches if all of its parts match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RulePart {
    /// The address family.
    Family,
    /// The protocol.
    Protocol,
    /// The ICMP type and code.
    Icmp,
    /// A part of one side.
    Of(Side, SidePart),
}

/// A part of one side of a rule, as in [`RulePeer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SidePart {
    /// The endpoints that the side selects.
    Selected,
    /// The endpoints that the side excludes.
    NotSelected,
    /// The prefixes.
    Nets,
    /// The excluded prefixes.
    NotNets,
    /// The service.
    Service,
    /// The ports.
    Ports,
    /// The excluded ports.
    NotPorts,
}

impl RulePart {
    /// All parts, the cheapest first.
    pub const ALL: [RulePart; 17] = [
        RulePart::Family,
        RulePart::Protocol,
        RulePart::Icmp,
        RulePart::Of(Side::Source, SidePart::Selected),
        RulePart::Of(Side::Source, SidePart::NotSelected),
        RulePart::Of(Side::Source, SidePart::Nets),
        RulePart::Of(Side::Source, SidePart::NotNets),
        RulePart::Of(Side::Source, SidePart::Service),
        RulePart::Of(Side::Source, SidePart::Ports),
        RulePart::Of(Side::Source, SidePart::NotPorts),
        RulePart::Of(Side::Destination, SidePart::Selected),
        RulePart::Of(Side::Destination, SidePart::NotSelected),
        RulePart::Of(Side::Destination, SidePart::Nets),
        RulePart::Of(Side::Destination, SidePart::NotNets),
        RulePart::Of(Side::Destination, SidePart::Service),
        RulePart::Of(Side::Destination, SidePart::Ports),
        RulePart::Of(Side::Destination, SidePart::NotPorts),
    ];
}

/// One side of a flow, as one rule sees it.
struct FlowSide<'view> {
    side: Side,
    peer: &'view RulePeer,
    protocol: ProtocolMatch,
    flow: &'view Conversation,
}

impl<'resolved, 'input> RuleMatcher<'resolved, 'input> {
    pub(crate) fn new(resolved: &'resolved ResolvedPolicy<'input>) -> Self {
        let endpoints = || resolved.inventory.endpoints_with_ids();
        let mut owners: FxHashMap<IpAddr, EndpointId> = FxHashMap::default();
        // reserving once matters: rehashing while the map grew dominated the time of a query
        owners.reserve(
            endpoints()
                .map(|(_, endpoint)| endpoint.addresses.len())
                .sum(),
        );
        owners.extend(endpoints().flat_map(|(id, endpoint)| {
            endpoint.addresses.iter().map(move |address| (*address, id))
        }));

        let mut hosts: FxHashMap<IpAddr, Vec<HostEndpointId>> = FxHashMap::default();
        for (id, host) in resolved.host_endpoints_with_ids() {
            host.addresses
                .iter()
                .for_each(|address| hosts.entry(*address).or_default().push(id));
        }

        Self {
            resolved,
            owners,
            hosts,
        }
    }

    /// Returns the party that has an address.
    pub(crate) fn party(&self, address: IpAddr) -> Party {
        Party {
            owner: self.owners.get(&address).copied(),
            address: Some(address),
        }
    }

    /// Returns the flow with the owners of its addresses.
    pub(crate) fn conversation(&self, flow: &Flow) -> Conversation {
        let [source, destination] =
            [flow.source, flow.destination].map(|address| self.party(address));
        Conversation {
            source,
            destination,
            family: flow.family(),
            protocol: flow.protocol,
            ports: flow.ports,
            icmp: flow.icmp,
        }
    }

    /// Returns `true` if every part of a rule matches.
    pub(crate) fn matches(&self, rule: &Rule, flow: &Conversation) -> bool {
        RulePart::ALL
            .iter()
            .all(|part| self.holds(*part, rule, flow))
    }

    /// Returns `true` if one part of a rule matches.
    pub(crate) fn holds(&self, part: RulePart, rule: &Rule, flow: &Conversation) -> bool {
        match part {
            RulePart::Family => rule.applies_to(flow.family),
            RulePart::Protocol => is_protocol(rule.protocol, flow.protocol),
            RulePart::Icmp => is_message(rule.icmp, flow.icmp),
            RulePart::Of(side, part) => self.side_holds(
                part,
                &FlowSide {
                    side,
                    peer: side_of(rule, side),
                    protocol: rule.protocol,
                    flow,
                },
            ),
        }
    }

    fn side_holds(&self, part: SidePart, view: &FlowSide<'_>) -> bool {
        let (peer, party) = (view.peer, view.flow.party(view.side));

        match part {
            SidePart::Selected => self.is_selected(peer.selected, party),
            SidePart::NotSelected => !peer
                .not_selected
                .is_some_and(|selector| self.has_member(selector, party)),
            SidePart::Nets => is_in(&peer.nets, party),
            SidePart::NotNets => !peer
                .not_nets
                .iter()
                .any(|net| party.address.is_some_and(|address| net.holds(address))),
            SidePart::Service => peer
                .service
                .as_ref()
                .is_none_or(|service| self.is_backend(service, view)),
            SidePart::Ports => self.has_port(&peer.ports, view),
            SidePart::NotPorts => !self.in_list(&peer.not_ports, view),
        }
    }

    fn is_selected(&self, selected: PeerSelection, party: Party) -> bool {
        match selected {
            PeerSelection::Anyone => true,
            PeerSelection::By(selector) => self.has_member(selector, party),
        }
    }

    /// Returns `true` if a selector selects the party. The member prefixes are sorted, so every
    /// prefix that could contain the address costs one binary search, up to 129 in IPv6.
    fn has_member(&self, selector: SelectorId, party: Party) -> bool {
        let Some(address) = party.address else {
            return self.has_endpoint(selector, party.owner);
        };
        let (family, longest) = if address.is_ipv4() {
            (Family::V4, 32)
        } else {
            (Family::V6, 128)
        };

        let members = self.resolved.addresses(selector, family);
        // a member of any prefix length may contain the address
        let mut around = (0..=longest)
            .rev()
            .filter_map(|length| Cidr::around(address, length));
        around.any(|prefix| members.binary_search(&prefix).is_ok())
    }

    fn has_endpoint(&self, selector: SelectorId, endpoint: Option<EndpointId>) -> bool {
        endpoint.is_some_and(|id| {
            self.resolved
                .members(selector)
                .endpoints
                .binary_search(&id)
                .is_ok()
        })
    }

    /// Returns `true` if the party is a backend of a service. A sender matches by its address, a
    /// receiver by address and port (semantics §6.2).
    fn is_backend(&self, service: &ServiceKey, view: &FlowSide<'_>) -> bool {
        let Some(service) = self.resolved.inventory.services.get(service) else {
            return false;
        };
        let Some(address) = view.flow.party(view.side).address else {
            return false;
        };

        match (view.side, view.flow.port(view.side)) {
            // a sender's port is not the service's port, so it cannot be compared
            (Side::Source, _) => service.addresses.binary_search(&address).is_ok(),
            (Side::Destination, Some(port)) => service
                .ports
                .binary_search(&(address, view.flow.protocol, port))
                .is_ok(),
            (Side::Destination, None) => false,
        }
    }

    fn has_port(&self, ports: &PortCondition, view: &FlowSide<'_>) -> bool {
        match ports {
            PortCondition::Any => true,
            PortCondition::In(list) => self.in_list(list, view),
        }
    }

    fn in_list(&self, list: &PortList, view: &FlowSide<'_>) -> bool {
        let Some(port) = view.flow.port(view.side) else {
            return false;
        };
        list.numbers.iter().any(|range| range.holds(port))
            || list
                .names
                .iter()
                .any(|name| self.is_named(name, port, view))
    }

    /// Returns `true` if the endpoint or a host endpoint at this side gives the port this name. The
    /// side must select the endpoint, even if the rule excludes the port (semantics §6.1).
    fn is_named(&self, name: &str, port: u16, view: &FlowSide<'_>) -> bool {
        let resolved = self.resolved;
        let party = view.flow.party(view.side);
        let selected = view.peer.selected;
        let endpoint = party.owner.filter(|id| {
            self.selects(selected, |members| {
                members.endpoints.binary_search(id).is_ok()
            })
        });
        let hosts = party
            .address
            .and_then(|address| self.hosts.get(&address))
            .into_iter()
            .flatten();
        let hosts = hosts.filter(|id| {
            self.selects(selected, |members| {
                members.host_endpoints.binary_search(id).is_ok()
            })
        });
        let of_endpoint = endpoint
            .into_iter()
            .flat_map(|id| resolved.inventory.endpoint(id).ports.iter());

        let of_hosts = hosts
            .filter_map(|id| resolved.host_endpoint(*id))
            .flat_map(|host| host.ports.iter());
        of_endpoint.chain(of_hosts).any(|named| {
            *named.name == *name
                && named.number == port
                && named.protocol == view.flow.protocol
                && is_protocol(view.protocol, named.protocol)
        })
    }

    fn selects(&self, selected: PeerSelection, has: impl Fn(&SelectedEndpoints) -> bool) -> bool {
        match selected {
            PeerSelection::Anyone => true,
            PeerSelection::By(selector) => has(self.resolved.members(selector)),
        }
    }
}

fn is_protocol(wanted: ProtocolMatch, protocol: Protocol) -> bool {
    match wanted {
        ProtocolMatch::Any => true,
        ProtocolMatch::Is(wanted) => wanted == protocol,
        ProtocolMatch::IsNot(excluded) => excluded != protocol,
    }
}

fn is_message(wanted: IcmpMatch, message: Option<IcmpMessage>) -> bool {
    let is = |icmp: Icmp| {
        message.is_some_and(|message| {
            message.kind == icmp.kind && icmp.code.is_none_or(|code| code == message.code)
        })
    };
    match wanted {
        IcmpMatch::Any => true,
        IcmpMatch::Is(icmp) => is(icmp),
        IcmpMatch::IsNot(icmp) => !is(icmp),
    }
}

fn is_in(nets: &AddressCondition, party: Party) -> bool {
    match nets {
        AddressCondition::Any => true,
        AddressCondition::In(nets) => party
            .address
            .is_some_and(|address| nets.iter().any(|net| net.holds(address))),
    }
}

/// Returns one side of a rule.
pub(crate) fn side_of(rule: &Rule, side: Side) -> &RulePeer {
    match side {
        Side::Source => &rule.source,
        Side::Destination => &rule.destination,
    }
}
