//! Who can be at an end of a flow, in classes that no rule can tell apart.
//!
//! In: [`ResolvedPolicy`]. Out: [`EndpointClasses`]: every endpoint's addresses and all addresses
//! outside, each in a class. Two places of a class have the same policies and match the same rules,
//! whatever is at the other end.
//!
//! Cost: the members of all selectors, the prefixes of all lists, and sorting.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::inventory::{Endpoint, EndpointId, Inventory, NamedPort, ProfileList, ServiceKey};
use crate::net::{Cidr, Family, PortRange, Protocol, Side};
use crate::packet_space::address_atoms::{
    AddressAtoms, AddressRange, PrefixListId, PrefixLists, PrefixListsId,
};
use crate::policy::{
    AddressCondition, IcmpMatch, PeerSelection, PortCondition, PortList, ProtocolMatch, Rule,
    RulePeer, SelectorId,
};
use crate::resolve::{HostEndpointId, ResolvedPolicy};

use crate::packet_space::header_space::PartitionBuilder;

/// A class of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointClassId(pub(super) u32);

/// Places that no rule tells apart.
#[derive(Debug, Clone)]
pub struct EndpointClass {
    /// The family of their addresses; for endpoints without one, the family that they would have.
    pub family: Family,
    /// One of the endpoints; none where they are addresses outside.
    pub owner: Option<EndpointId>,
    /// One of the addresses; none where nobody knows it yet.
    pub address: Option<IpAddr>,
    /// The addresses outside; empty where they are endpoints.
    pub outside: Vec<AddressRange>,
    pub(super) lists: PrefixListsId,
}

/// An address of an endpoint, or, of one without any, the family that it could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointLocation {
    /// The family.
    pub family: Family,
    /// The address; none where nobody knows it yet.
    pub address: Option<IpAddr>,
    /// The class it is in.
    pub class: EndpointClassId,
}

/// All places of a cluster.
#[derive(Debug)]
pub struct EndpointClasses<'input> {
    pub(super) classes: Vec<EndpointClass>,
    of_endpoint: Vec<Vec<EndpointLocation>>,
    pub(super) known: KnownPrefixes<'input>,
    pub(super) addresses: AddressAtoms,
    /// The classes in a list of prefixes, in order.
    by_list: FxHashMap<PrefixListId, Vec<EndpointClassId>>,
    /// The classes of endpoints with a port of a name, in order.
    by_port: FxHashMap<&'input str, Vec<EndpointClassId>>,
}

/// The lists of prefixes that rules speak of, by what they stand for there.
#[derive(Debug, Default)]
pub(super) struct KnownPrefixes<'input> {
    /// Nets of rules, by their content.
    pub(super) nets: FxHashMap<&'input [Cidr], PrefixListId>,
    /// What a selector holds besides endpoints: network sets, nodes, host endpoints.
    pub(super) selected: FxHashMap<SelectorId, PrefixListId>,
    /// The backends of a service.
    pub(super) backends: FxHashMap<&'input ServiceKey, PrefixListId>,
    /// Host endpoints with a port of a name that rules speak of.
    pub(super) hosts: Vec<(HostEndpointId, PrefixListId)>,
    /// The backends of a service with one protocol and port.
    pub(super) answers: FxHashMap<&'input ServiceKey, Vec<(Protocol, u16, PrefixListId)>>,
}

/// What tells classes of endpoints apart.
#[derive(PartialEq, Eq, Hash)]
struct EndpointClassKey<'input> {
    family: Family,
    /// Which selectors select it.
    selection: u32,
    profiles: &'input ProfileList,
    /// Its ports with names that rules speak of.
    ports: Vec<&'input NamedPort>,
    lists: PrefixListsId,
}

/// The numbers that endpoints give the names of ports.
pub(super) type PortNumbers<'input> = FxHashMap<&'input str, BTreeSet<(Protocol, u16)>>;

impl EndpointClassId {
    /// Nobody's: stands for all classes that something does not name.
    pub const NOWHERE: EndpointClassId = EndpointClassId(u32::MAX);

    /// Position among the classes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Every rule of policies and profiles.
pub(super) fn rules<'input>(
    resolved: &ResolvedPolicy<'input>,
) -> impl Iterator<Item = &'input Rule> + use<'input> {
    let policies = resolved.policies;
    let of_policies = policies
        .policies()
        .flat_map(|(_, policy)| policy.ingress.iter().chain(&policy.egress).flatten());
    of_policies.chain(
        policies
            .profiles
            .values()
            .flat_map(|profile| profile.ingress.iter().chain(&profile.egress)),
    )
}

/// The numbers of all named ports.
pub(super) fn port_numbers<'input>(resolved: &ResolvedPolicy<'input>) -> PortNumbers<'input> {
    let mut numbers = PortNumbers::default();
    let of_endpoints = resolved
        .inventory
        .endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.ports);
    for port in of_endpoints.chain(
        resolved
            .policies
            .host_endpoints
            .iter()
            .flat_map(|host| &host.ports),
    ) {
        numbers
            .entry(&port.name)
            .or_default()
            .insert((port.protocol, port.number));
    }

    numbers
}

/// Adds what a rule tells apart.
pub(super) fn add_rule_cuts(
    rule: &Rule,
    inventory: &Inventory,
    named: &PortNumbers<'_>,
    cuts: &mut PartitionBuilder,
) {
    if let ProtocolMatch::Is(protocol) | ProtocolMatch::IsNot(protocol) = rule.protocol {
        cuts.protocol(protocol);
        if let IcmpMatch::Is(icmp) | IcmpMatch::IsNot(icmp) = rule.icmp {
            cuts.message(protocol, icmp);
        }
    }

    for (side, peer) in [
        (Side::Source, &rule.source),
        (Side::Destination, &rule.destination),
    ] {
        for list in port_lists(peer) {
            list.numbers
                .iter()
                .for_each(|range| cuts.ports_of(rule.protocol, side, *range));
            let numbers = list
                .names
                .iter()
                .filter_map(|name| named.get(name.as_str()))
                .flatten();
            numbers.for_each(|(protocol, number)| cut_port(*protocol, side, *number, cuts));
        }
        let service = peer
            .service
            .as_ref()
            .and_then(|key| inventory.services.get(key))
            .filter(|_| side == Side::Destination);
        let ports: BTreeSet<(Protocol, u16)> = service
            .into_iter()
            .flat_map(|service| &service.ports)
            .map(|(_, protocol, port)| (*protocol, *port))
            .collect();
        ports
            .into_iter()
            .for_each(|(protocol, port)| cut_port(protocol, side, port, cuts));
    }
}

fn cut_port(protocol: Protocol, side: Side, port: u16, cuts: &mut PartitionBuilder) {
    PortRange::new(port, port)
        .into_iter()
        .for_each(|range| cuts.ports(protocol, side, range));
}

fn port_lists(peer: &RulePeer) -> impl Iterator<Item = &PortList> {
    let wanted = match &peer.ports {
        PortCondition::Any => None,
        PortCondition::In(list) => Some(list),
    };
    wanted.into_iter().chain([&peer.not_ports])
}

/// The names of ports that rules speak of.
fn port_names<'input>(resolved: &ResolvedPolicy<'input>) -> BTreeSet<&'input str> {
    let lists = rules(resolved)
        .flat_map(|rule| [&rule.source, &rule.destination])
        .flat_map(port_lists);
    lists
        .flat_map(|list| list.names.iter().map(String::as_str))
        .collect()
}

impl<'input> EndpointClasses<'input> {
    /// Puts all places into classes.
    pub(super) fn new(resolved: &ResolvedPolicy<'input>) -> Self {
        Self::told_apart(resolved, Vec::new())
    }

    /// The same, in classes that these lists of prefixes do not tell apart either.
    pub fn told_apart(resolved: &ResolvedPolicy<'input>, others: Vec<Vec<Cidr>>) -> Self {
        let mut lists = PrefixLists::default();
        for prefixes in others {
            lists.add(prefixes);
        }

        let known = KnownPrefixes::collect(resolved, &mut lists);
        let addresses = AddressAtoms::from_lists(lists);
        let mut places = Self {
            classes: Vec::new(),
            of_endpoint: Vec::new(),
            known,
            addresses,
            by_list: FxHashMap::default(),
            by_port: FxHashMap::default(),
        };
        places.add_endpoints(resolved);
        places.add_outside(resolved.inventory);
        places.index(resolved.inventory);

        places
    }

    /// Every class with its id.
    pub fn classes(&self) -> impl Iterator<Item = (EndpointClassId, &EndpointClass)> {
        (0u32..).map(EndpointClassId).zip(&self.classes)
    }

    /// A class.
    pub fn class(&self, id: EndpointClassId) -> Option<&EndpointClass> {
        self.classes.get(id.0 as usize)
    }

    /// The places of an endpoint: its addresses, in order, or, of one without any, one in each
    /// family.
    pub fn of_endpoint(&self, endpoint: EndpointId) -> &[EndpointLocation] {
        self.of_endpoint
            .get(endpoint.index())
            .map_or(&[], Vec::as_slice)
    }

    /// The class of an address, whoever has it.
    pub fn at(&self, address: IpAddr, owner: Option<EndpointId>) -> Option<EndpointClassId> {
        if let Some(owner) = owner {
            return self
                .of_endpoint(owner)
                .iter()
                .find(|place| place.address == Some(address))
                .map(|place| place.class);
        }

        let at = AddressRange::at(address);
        let holds = |range: &AddressRange| {
            range.family == at.family && (range.first..=range.last).contains(&at.first)
        };
        self.classes()
            .find(|(_, class)| class.outside.iter().any(holds))
            .map(|(id, _)| id)
    }

    /// The classes of addresses in a list.
    pub(super) fn in_list(&self, list: PrefixListId) -> &[EndpointClassId] {
        self.by_list.get(&list).map_or(&[], Vec::as_slice)
    }

    /// The classes of endpoints that have a port of this name.
    pub(super) fn with_port(&self, name: &str) -> &[EndpointClassId] {
        self.by_port.get(name).map_or(&[], Vec::as_slice)
    }

    fn add_endpoints(&mut self, resolved: &ResolvedPolicy<'input>) {
        let inventory: &'input Inventory = resolved.inventory;
        let selections = selections(resolved);
        let names = port_names(resolved);
        let mut ids: FxHashMap<EndpointClassKey<'input>, EndpointClassId> = FxHashMap::default();

        for (id, endpoint) in inventory.endpoints_with_ids() {
            let selection = selections.get(id.index()).copied().unwrap_or_default();
            let places = ends(endpoint).map(|(family, address)| {
                let around = |address| self.addresses.around(address);
                let lists = address.map_or(PrefixListsId::NONE, around);
                let ports = endpoint
                    .ports
                    .iter()
                    .filter(|port| names.contains(&*port.name))
                    .collect();
                let key = EndpointClassKey {
                    family,
                    selection,
                    profiles: &endpoint.profiles,
                    ports,
                    lists,
                };
                let new = || EndpointClass {
                    family,
                    owner: Some(id),
                    address,
                    outside: Vec::new(),
                    lists,
                };
                let class = *ids
                    .entry(key)
                    .or_insert_with(|| add(&mut self.classes, new()));
                EndpointLocation {
                    family,
                    address,
                    class,
                }
            });
            self.of_endpoint.push(places.collect());
        }
    }

    /// The addresses that no endpoint has, by the lists that hold them.
    fn add_outside(&mut self, inventory: &Inventory) {
        let mut taken: Vec<IpAddr> = inventory
            .endpoints
            .iter()
            .flat_map(|endpoint| endpoint.addresses.iter().copied())
            .collect();
        taken.sort_unstable();

        let mut ids: FxHashMap<(Family, PrefixListsId), EndpointClassId> = FxHashMap::default();
        for (range, lists) in self.addresses.ranges() {
            let from = taken.partition_point(|address| *address < range.first_address());
            let inside = taken.get(from..).unwrap_or_default();
            let inside = inside
                .get(..inside.partition_point(|address| *address <= range.last_address()))
                .unwrap_or_default();
            for free in range.without(inside) {
                let address = Some(free.first_address());
                let new = || EndpointClass {
                    family: range.family,
                    owner: None,
                    address,
                    outside: Vec::new(),
                    lists: *lists,
                };
                let class = *ids
                    .entry((range.family, *lists))
                    .or_insert_with(|| add(&mut self.classes, new()));
                self.classes
                    .get_mut(class.0 as usize)
                    .into_iter()
                    .for_each(|class| class.outside.push(free));
            }
        }
    }

    fn index(&mut self, inventory: &'input Inventory) {
        for (id, class) in (0u32..).map(EndpointClassId).zip(&self.classes) {
            for list in self.addresses.lists(class.lists) {
                self.by_list.entry(*list).or_default().push(id);
            }
            let ports = class
                .owner
                .into_iter()
                .flat_map(|owner| &inventory.endpoint(owner).ports);
            let names: BTreeSet<&'input str> = ports.map(|port| &*port.name).collect();
            names
                .into_iter()
                .for_each(|name| self.by_port.entry(name).or_default().push(id));
        }
    }
}

impl<'input> KnownPrefixes<'input> {
    fn collect(resolved: &ResolvedPolicy<'input>, lists: &mut PrefixLists) -> Self {
        let mut known = Self::default();
        for rule in rules(resolved) {
            known.side(&rule.source, resolved, lists);
            known.side(&rule.destination, resolved, lists);
        }

        let names = port_names(resolved);
        for (id, host) in resolved.host_endpoints_with_ids() {
            if host.ports.iter().any(|port| names.contains(&*port.name)) {
                known.hosts.push((
                    id,
                    lists.add(host.addresses.iter().copied().map(Cidr::host)),
                ));
            }
        }

        known
    }

    fn side(
        &mut self,
        peer: &'input RulePeer,
        resolved: &ResolvedPolicy<'input>,
        lists: &mut PrefixLists,
    ) {
        let wanted = match &peer.nets {
            AddressCondition::Any => None,
            AddressCondition::In(nets) => Some(nets.as_slice()),
        };

        for nets in wanted
            .into_iter()
            .chain((!peer.not_nets.is_empty()).then_some(peer.not_nets.as_slice()))
        {
            self.nets
                .entry(nets)
                .or_insert_with(|| lists.add(nets.iter().copied()));
        }

        let selected = match peer.selected {
            PeerSelection::Anyone => None,
            PeerSelection::By(selector) => Some(selector),
        };
        for selector in selected.into_iter().chain(peer.not_selected) {
            self.selected
                .entry(selector)
                .or_insert_with(|| lists.add(beside_endpoints(selector, resolved)));
        }

        let Some(key) = &peer.service else { return };
        let Some(service) = resolved.inventory.services.get(key) else {
            return;
        };

        self.backends
            .entry(key)
            .or_insert_with(|| lists.add(service.addresses.iter().copied().map(Cidr::host)));
        self.answers.entry(key).or_insert_with(|| {
            let ports: BTreeSet<(Protocol, u16)> = service
                .ports
                .iter()
                .map(|(_, protocol, port)| (*protocol, *port))
                .collect();
            let list = |(protocol, port): (Protocol, u16)| {
                let backends = service
                    .ports
                    .iter()
                    .filter(|row| (row.1, row.2) == (protocol, port));
                (
                    protocol,
                    port,
                    lists.add(backends.map(|row| Cidr::host(row.0))),
                )
            };
            ports.into_iter().map(list).collect()
        });
    }
}

/// The prefixes of network sets and the addresses of nodes and host endpoints that a selector
/// selects.
fn beside_endpoints(selector: SelectorId, resolved: &ResolvedPolicy<'_>) -> Vec<Cidr> {
    let members = resolved.members(selector);
    let sets = members
        .network_sets
        .iter()
        .filter_map(|id| resolved.network_set(*id))
        .flat_map(|set| set.nets.iter().copied());
    let hosts = members
        .host_endpoints
        .iter()
        .filter_map(|id| resolved.host_endpoint(*id))
        .flat_map(|host| host.addresses.iter().copied());

    let nodes = members
        .nodes
        .iter()
        .flat_map(|id| resolved.inventory.node(*id).addresses.iter().copied());
    sets.chain(hosts.chain(nodes).map(Cidr::host)).collect()
}

/// The addresses of an endpoint with their families; of one without any, both families.
fn ends(endpoint: &Endpoint) -> impl Iterator<Item = (Family, Option<IpAddr>)> {
    let known = endpoint.addresses.iter().map(|address| {
        (
            if address.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            },
            Some(*address),
        )
    });

    let open = Family::BOTH
        .into_iter()
        .filter(|_| endpoint.addresses.is_empty())
        .map(|family| (family, None));
    known.chain(open)
}

/// For every endpoint a number; those with one number are selected by the same selectors.
fn selections(resolved: &ResolvedPolicy<'_>) -> Vec<u32> {
    let mut numbers = vec![0u32; resolved.inventory.endpoints.len()];
    let mut next = 1;
    for (selector, _, _) in resolved.policies.selectors.iter() {
        let mut moved: FxHashMap<u32, u32> = FxHashMap::with_hasher(FxBuildHasher);
        for endpoint in &resolved.members(selector).endpoints {
            let Some(number) = numbers.get_mut(endpoint.index()) else {
                continue;
            };
            *number = *moved.entry(*number).or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
    }

    numbers
}

/// Adds a class; gives its id.
fn add(classes: &mut Vec<EndpointClass>, class: EndpointClass) -> EndpointClassId {
    classes.push(class);
    EndpointClassId(number(classes.len() - 1))
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
