//! One side of a rule, at every class of places: what traffic it lets through there.
//!
//! Cost: a side costs the classes that it names; sides that are asked twice are made once.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use crate::inventory::NamedPort;
use crate::net::{Protocol, Side};
use crate::packet_space::endpoint_class::{EndpointClass, EndpointClassId, EndpointClasses};
use crate::packet_space::header_space::{HeaderSetId, HeaderSpace};
use crate::policy::{
    AddressCondition, PeerSelection, PortCondition, PortList, ProtocolMatch, RulePeer, SelectorId,
};
use crate::resolve::{HostEndpointId, ResolvedPolicy};

/// A side of a rule. Rules that ask the same share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SideId(u32);

/// What a side of a rule lets through.
#[derive(Debug, Clone)]
pub(crate) struct SideTable {
    /// At every class that is not listed.
    pub(crate) default: HeaderSetId,
    /// At these, in order.
    pub(crate) listed: Vec<(EndpointClassId, HeaderSetId)>,
}

/// A side as it is asked; with what the rule says of the protocol, where ports have names.
type SideQuery<'input> = (Side, &'input RulePeer, ProtocolMatch);

/// All sides of all rules.
#[derive(Debug, Default)]
pub(crate) struct PeerTable<'input> {
    asked: IndexSet<SideQuery<'input>, FxBuildHasher>,
    tables: Vec<SideTable>,
}

/// What sides are made from.
pub(crate) struct SideContext<'work, 'input> {
    pub(crate) resolved: &'work ResolvedPolicy<'input>,
    pub(crate) places: &'work EndpointClasses<'input>,
    pub(crate) traffic: &'work mut HeaderSpace,
}

impl SideTable {
    /// What the side lets through at a class of places.
    pub(crate) fn at(&self, class: EndpointClassId) -> HeaderSetId {
        let found = self.listed.binary_search_by_key(&class, |row| row.0).ok();
        found
            .and_then(|at| self.listed.get(at))
            .map_or(self.default, |row| row.1)
    }
}

impl<'input> PeerTable<'input> {
    /// The id of a side, new or known.
    pub(crate) fn add(
        &mut self,
        side: Side,
        peer: &'input RulePeer,
        protocol: ProtocolMatch,
        work: &mut SideContext<'_, 'input>,
    ) -> SideId {
        let has_names = !peer.not_ports.names.is_empty()
            || matches!(&peer.ports, PortCondition::In(list) if !list.names.is_empty());
        let asked = (
            side,
            peer,
            if has_names {
                protocol
            } else {
                ProtocolMatch::Any
            },
        );
        let (index, is_new) = self.asked.insert_full(asked);

        if is_new {
            self.tables.push(work.table(side, peer, protocol));
        }

        SideId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// What a side lets through where.
    pub(crate) fn table(&self, id: SideId) -> Option<&SideTable> {
        self.tables.get(id.0 as usize)
    }
}

impl<'work> SideContext<'work, '_> {
    fn table(&mut self, side: Side, peer: &RulePeer, protocol: ProtocolMatch) -> SideTable {
        let (default, mut touched) = match self.positive(peer) {
            Some(classes) => (HeaderSpace::NONE, classes),
            None => (
                self.ports(side, peer, protocol, None),
                self.exceptions(peer),
            ),
        };

        touched.sort_unstable();
        touched.dedup();
        let rows = touched
            .into_iter()
            .filter_map(|class| Some((class, self.at(side, peer, protocol, class)?)));

        SideTable {
            default,
            listed: rows.filter(|(_, traffic)| *traffic != default).collect(),
        }
    }

    /// The classes among which those are that the side wants; none where it wants no one in
    /// particular.
    fn positive(&self, peer: &RulePeer) -> Option<Vec<EndpointClassId>> {
        if let PeerSelection::By(selector) = peer.selected {
            return Some(self.selected(selector));
        }
        if let AddressCondition::In(nets) = &peer.nets {
            let list = self.places.known.nets.get(nets.as_slice());
            return Some(list.map_or_else(Vec::new, |list| self.places.in_list(*list).to_vec()));
        }

        let key = peer.service.as_ref()?;
        Some(
            self.places
                .known
                .backends
                .get(key)
                .map_or_else(Vec::new, |list| self.places.in_list(*list).to_vec()),
        )
    }

    /// The classes at which a side that wants no one in particular may differ from everywhere else.
    fn exceptions(&self, peer: &RulePeer) -> Vec<EndpointClassId> {
        let mut classes = peer
            .not_selected
            .map_or_else(Vec::new, |selector| self.selected(selector));

        if let Some(list) = self.places.known.nets.get(peer.not_nets.as_slice()) {
            classes.extend(self.places.in_list(*list));
        }

        let wanted = match &peer.ports {
            PortCondition::Any => &[][..],
            PortCondition::In(list) => &list.names,
        };
        for name in wanted.iter().chain(&peer.not_ports.names) {
            classes.extend(self.places.with_port(name));
            let named = self
                .places
                .known
                .hosts
                .iter()
                .filter(|(id, _)| has_port(self.resolved, *id, name));
            classes.extend(named.flat_map(|(_, list)| self.places.in_list(*list)));
        }

        classes
    }

    /// The classes that a selector selects.
    fn selected(&self, selector: SelectorId) -> Vec<EndpointClassId> {
        let endpoints = &self.resolved.members(selector).endpoints;
        let mut classes: Vec<EndpointClassId> = endpoints
            .iter()
            .flat_map(|id| self.places.of_endpoint(*id))
            .map(|place| place.class)
            .collect();
        if let Some(list) = self.places.known.selected.get(&selector) {
            classes.extend(self.places.in_list(*list));
        }
        classes
    }

    /// What the side lets through at a class.
    fn at(
        &mut self,
        side: Side,
        peer: &RulePeer,
        protocol: ProtocolMatch,
        id: EndpointClassId,
    ) -> Option<HeaderSetId> {
        let class = self.places.class(id)?;
        if !self.wants(peer, class) {
            return Some(HeaderSpace::NONE);
        }

        let ports = self.ports(side, peer, protocol, Some(class));
        let Some(key) = &peer.service else {
            return Some(ports);
        };
        let answers = match side {
            Side::Source => {
                let list = self.places.known.backends.get(key)?;
                if self.places.addresses.holds(class.lists, *list) {
                    HeaderSpace::ALL
                } else {
                    HeaderSpace::NONE
                }
            }
            Side::Destination => {
                let rows = self
                    .places
                    .known
                    .answers
                    .get(key)?
                    .iter()
                    .filter(|row| self.places.addresses.holds(class.lists, row.2));
                let mut all = HeaderSpace::NONE;
                for (protocol, port, _) in rows {
                    let one = self.traffic.with_port(*protocol, side, *port);
                    all = self.traffic.or(all, one);
                }
                all
            }
        };

        Some(self.traffic.and(ports, answers))
    }

    /// Whether the side means a class, but for ports and services.
    fn wants(&self, peer: &RulePeer, class: &EndpointClass) -> bool {
        let in_nets = |nets: &[crate::net::Cidr]| {
            self.places
                .known
                .nets
                .get(nets)
                .is_some_and(|list| self.places.addresses.holds(class.lists, *list))
        };
        let is_selected = match peer.selected {
            PeerSelection::Anyone => true,
            PeerSelection::By(selector) => self.selects(selector, class),
        };
        let is_in = match &peer.nets {
            AddressCondition::Any => true,
            AddressCondition::In(nets) => in_nets(nets),
        };

        is_selected
            && is_in
            && !in_nets(&peer.not_nets)
            && !peer
                .not_selected
                .is_some_and(|selector| self.selects(selector, class))
    }

    fn selects(&self, selector: SelectorId, class: &EndpointClass) -> bool {
        let by_label = class.owner.is_some_and(|owner| {
            self.resolved
                .members(selector)
                .endpoints
                .binary_search(&owner)
                .is_ok()
        });

        by_label
            || self
                .places
                .known
                .selected
                .get(&selector)
                .is_some_and(|list| self.places.addresses.holds(class.lists, *list))
    }

    /// Traffic with ports that the side wants, at a class, or where no port has a name.
    fn ports(
        &mut self,
        side: Side,
        peer: &RulePeer,
        protocol: ProtocolMatch,
        class: Option<&EndpointClass>,
    ) -> HeaderSetId {
        let wanted = match &peer.ports {
            PortCondition::Any => HeaderSpace::ALL,
            PortCondition::In(list) => self.listed(side, peer, list, protocol, class),
        };
        let unwanted = self.listed(side, peer, &peer.not_ports, protocol, class);
        self.traffic.less(wanted, unwanted)
    }

    /// The ports with names of the endpoint and the host endpoints at a class, where the side
    /// selects them.
    fn named_ports(
        &self,
        selected: PeerSelection,
        class: &EndpointClass,
    ) -> impl Iterator<Item = &'work NamedPort> + use<'work> {
        let resolved = self.resolved;
        let members = match selected {
            PeerSelection::Anyone => None,
            PeerSelection::By(selector) => Some(resolved.members(selector)),
        };
        let owner = class
            .owner
            .filter(|id| members.is_none_or(|members| members.endpoints.binary_search(id).is_ok()));
        let here = self
            .places
            .known
            .hosts
            .iter()
            .filter(|(_, list)| self.places.addresses.holds(class.lists, *list));
        let hosts = here.filter(|(id, _)| {
            members.is_none_or(|members| members.host_endpoints.binary_search(id).is_ok())
        });
        let hosts: Vec<_> = hosts
            .filter_map(|(id, _)| resolved.host_endpoint(*id))
            .collect();

        let of_endpoint = owner
            .into_iter()
            .flat_map(|owner| &resolved.inventory.endpoint(owner).ports);
        of_endpoint.chain(hosts.into_iter().flat_map(|host| &host.ports))
    }

    /// Traffic with ports of a list. The endpoint whose port has a name must be one that the side
    /// selects (semantics §6.1).
    fn listed(
        &mut self,
        side: Side,
        peer: &RulePeer,
        list: &PortList,
        protocol: ProtocolMatch,
        class: Option<&EndpointClass>,
    ) -> HeaderSetId {
        let mut all = if list.numbers.is_empty() {
            HeaderSpace::NONE
        } else {
            self.traffic.with_ports(side, &list.numbers)
        };
        let Some(class) = class.filter(|_| !list.names.is_empty()) else {
            return all;
        };

        for port in self.named_ports(peer.selected, class) {
            if list.names.iter().any(|name| **name == *port.name) && is_of(protocol, port.protocol)
            {
                let one = self.traffic.with_port(port.protocol, side, port.number);
                all = self.traffic.or(all, one);
            }
        }

        all
    }
}

/// Whether a host endpoint has a port of this name.
fn has_port(resolved: &ResolvedPolicy<'_>, host: HostEndpointId, name: &str) -> bool {
    resolved
        .host_endpoint(host)
        .is_some_and(|host| host.ports.iter().any(|port| *port.name == *name))
}

fn is_of(wanted: ProtocolMatch, protocol: Protocol) -> bool {
    match wanted {
        ProtocolMatch::Any => true,
        ProtocolMatch::Is(wanted) => wanted == protocol,
        ProtocolMatch::IsNot(excluded) => excluded != protocol,
    }
}
