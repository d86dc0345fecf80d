//! Whether a rule of checked policy matches a flow (reference §3, §6).

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::analysis::{Flow, Message, Side};
use crate::inventory::{EndpointId, ServiceKey};
use crate::net::{Cidr, Family, Protocol};
use crate::policy::{Icmp, IcmpMatch, Nets, Peer, PortList, Ports, ProtocolMatch, Rule, Selected, SelectorId};
use crate::resolve::{HostEndpointId, Resolved, Selection};

/// Answers for the rules of some resolved policy.
#[derive(Debug)]
pub(super) struct Matcher<'resolved, 'input> {
    pub(super) resolved: &'resolved Resolved<'input>,
    /// Whose an address is.
    owners: FxHashMap<IpAddr, EndpointId>,
    /// The same for host endpoints, several of which may have one.
    hosts: FxHashMap<IpAddr, Vec<HostEndpointId>>,
}

/// One side of a flow as one rule sees it.
struct View<'view> {
    side: Side,
    peer: &'view Peer,
    protocol: ProtocolMatch,
    flow: &'view Flow,
}

impl<'resolved, 'input> Matcher<'resolved, 'input> {
    pub(super) fn of(resolved: &'resolved Resolved<'input>) -> Self {
        let endpoints = resolved.inventory.endpoints_with_ids();
        let owners = endpoints.flat_map(|(id, endpoint)| endpoint.addresses.iter().map(move |address| (*address, id))).collect();
        let mut hosts: FxHashMap<IpAddr, Vec<HostEndpointId>> = FxHashMap::default();
        for (id, host) in resolved.host_endpoints_with_ids() {
            host.addresses.iter().for_each(|address| hosts.entry(*address).or_default().push(id));
        }
        Self { resolved, owners, hosts }
    }

    /// The endpoint that has an address.
    pub(super) fn owner(&self, address: IpAddr) -> Option<EndpointId> {
        self.owners.get(&address).copied()
    }

    /// Whether every part of a rule matches.
    pub(super) fn matches(&self, rule: &Rule, flow: &Flow) -> bool {
        let view = |side, peer| View { side, peer, protocol: rule.protocol, flow };
        rule.applies_to(flow.family())
            && is_protocol(rule.protocol, flow.protocol)
            && is_message(rule.icmp, flow.icmp)
            && self.side_matches(&view(Side::Source, &rule.source))
            && self.side_matches(&view(Side::Destination, &rule.destination))
    }

    fn side_matches(&self, view: &View<'_>) -> bool {
        let peer = view.peer;
        let address = view.flow.address(view.side);
        self.is_selected(peer.selected, address)
            && !peer.not_selected.is_some_and(|selector| self.has_member(selector, address))
            && is_in(&peer.nets, address)
            && !peer.not_nets.iter().any(|net| net.holds(address))
            && peer.service.as_ref().is_none_or(|service| self.is_backend(service, view))
            && self.has_port(&peer.ports, view)
            && !self.in_list(&peer.not_ports, view)
    }

    fn is_selected(&self, selected: Selected, address: IpAddr) -> bool {
        match selected {
            Selected::Anyone => true,
            Selected::By(selector) => self.has_member(selector, address),
        }
    }

    /// Whether an address belongs to someone whom the selector selects. Members are in order, so every prefix that could hold
    /// the address is looked up.
    fn has_member(&self, selector: SelectorId, address: IpAddr) -> bool {
        let (family, longest) = if address.is_ipv4() { (Family::V4, 32) } else { (Family::V6, 128) };
        let members = self.resolved.addresses(selector, family);
        let mut around = (0..=longest).rev().filter_map(|length| Cidr::around(address, length));
        around.any(|prefix| members.binary_search(&prefix).is_ok())
    }

    /// A sender by its address, a receiver by its port too (reference §6.2).
    fn is_backend(&self, service: &ServiceKey, view: &View<'_>) -> bool {
        let Some(service) = self.resolved.inventory.services.get(service) else { return false };
        let address = view.flow.address(view.side);
        match (view.side, view.flow.port(view.side)) {
            (Side::Source, _) => service.addresses.binary_search(&address).is_ok(),
            (Side::Destination, Some(port)) => service.ports.binary_search(&(address, view.flow.protocol, port)).is_ok(),
            (Side::Destination, None) => false,
        }
    }

    fn has_port(&self, ports: &Ports, view: &View<'_>) -> bool {
        match ports {
            Ports::Any => true,
            Ports::In(list) => self.in_list(list, view),
        }
    }

    fn in_list(&self, list: &PortList, view: &View<'_>) -> bool {
        let Some(port) = view.flow.port(view.side) else { return false };
        list.numbers.iter().any(|range| range.holds(port)) || list.names.iter().any(|name| self.is_named(name, port, view))
    }

    /// Whether an endpoint or host endpoint here gives the port this name. It must be one that the side selects, also where
    /// the port is excluded (reference §6.1).
    fn is_named(&self, name: &str, port: u16, view: &View<'_>) -> bool {
        let resolved = self.resolved;
        let address = view.flow.address(view.side);
        let selected = view.peer.selected;
        let endpoint = self.owner(address).filter(|id| self.selects(selected, |members| members.endpoints.binary_search(id).is_ok()));
        let hosts = self.hosts.get(&address).into_iter().flatten();
        let hosts = hosts.filter(|id| self.selects(selected, |members| members.host_endpoints.binary_search(id).is_ok()));
        let of_endpoint = endpoint.into_iter().flat_map(|id| resolved.inventory.endpoint(id).ports.iter());
        let of_hosts = hosts.filter_map(|id| resolved.host_endpoint(*id)).flat_map(|host| host.ports.iter());
        of_endpoint.chain(of_hosts).any(|named| {
            *named.name == *name
                && named.number == port
                && named.protocol == view.flow.protocol
                && is_protocol(view.protocol, named.protocol)
        })
    }

    fn selects(&self, selected: Selected, has: impl Fn(&Selection) -> bool) -> bool {
        match selected {
            Selected::Anyone => true,
            Selected::By(selector) => has(self.resolved.members(selector)),
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

fn is_message(wanted: IcmpMatch, message: Option<Message>) -> bool {
    let is = |icmp: Icmp| message.is_some_and(|message| message.kind == icmp.kind && icmp.code.is_none_or(|code| code == message.code));
    match wanted {
        IcmpMatch::Any => true,
        IcmpMatch::Is(icmp) => is(icmp),
        IcmpMatch::IsNot(icmp) => !is(icmp),
    }
}

fn is_in(nets: &Nets, address: IpAddr) -> bool {
    match nets {
        Nets::Any => true,
        Nets::In(nets) => nets.iter().any(|net| net.holds(address)),
    }
}
