//! One side of a rule as a table: the traffic that it matches at every endpoint class.
//!
//! Cost: a side costs the classes that it names. Equal sides are computed once.

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

/// The id of a side of a rule. Rules with equal sides share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SideId(u32);

/// The traffic that a side of a rule matches.
#[derive(Debug, Clone)]
pub(crate) struct SideTable {
    /// The traffic at every class that is not listed.
    pub(crate) default: HeaderSetId,
    /// The traffic at the other classes, in order.
    pub(crate) listed: Vec<(EndpointClassId, HeaderSetId)>,
}

/// A side of a rule. The protocol is that of the rule if the side has named ports, because a port
/// name stands for ports of several protocols; else it is `Any`.
type SideQuery<'input> = (Side, &'input RulePeer, ProtocolMatch);

/// The sides of all rules.
#[derive(Debug, Default)]
pub(crate) struct PeerTable<'input> {
    asked: IndexSet<SideQuery<'input>, FxBuildHasher>,
    tables: Vec<SideTable>,
}

/// What side tables are computed from.
pub(crate) struct SideContext<'work, 'input> {
    pub(crate) resolved: &'work ResolvedPolicy<'input>,
    pub(crate) places: &'work EndpointClasses<'input>,
    pub(crate) traffic: &'work mut HeaderSpace,
}

impl SideTable {
    /// Returns the traffic that the side matches at a class.
    pub(crate) fn at(&self, class: EndpointClassId) -> HeaderSetId {
        let found = self.listed.binary_search_by_key(&class, |row| row.0).ok();
        found
            .and_then(|at| self.listed.get(at))
            .map_or(self.default, |row| row.1)
    }
}

impl<'input> PeerTable<'input> {
    /// Returns the id of a side; adds the side if it is new.
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
        // sides are compared by content, so equal sides of different policies share a table
        let (index, is_new) = self.asked.insert_full(asked);

        if is_new {
            self.tables.push(work.table(side, peer, protocol));
        }

        SideId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Returns the table of a side.
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
            // a listed class costs every profile that uses the side, so equal rows are dropped
            listed: rows.filter(|(_, traffic)| *traffic != default).collect(),
        }
    }

    /// Returns the classes outside of which the side matches nothing, or `None` if the side has no
    /// positive condition on addresses.
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

    /// Returns the classes at which a side without positive condition may differ from its default.
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

    /// Returns the classes that a selector selects.
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

    /// Returns the traffic that the side matches at a class.
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

    /// Returns `true` if a class meets the side's conditions, without those on ports and services.
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

    /// Returns the traffic that meets the side's port conditions at a class. `None` means a class
    /// where no port has a name.
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

    /// Returns the named ports of the endpoint and the host endpoints at a class, if the side
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

    /// Returns the traffic with ports of a list. The side must select the endpoint whose port has a
    /// name (semantics §6.1).
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

/// Returns `true` if a host endpoint has a port of this name.
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
