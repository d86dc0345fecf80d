//! Endpoint classes: the possible ends of a flow, grouped so that no rule distinguishes the members
//! of a class.
//!
//! In: [`ResolvedPolicy`]. Out: [`EndpointClasses`], which put every address of every endpoint and
//! every address outside the cluster into a class. Two locations of a class have the same policies
//! and match the same rules, whatever is at the other end.
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

/// The id of an endpoint class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointClassId(pub(super) u32);

/// Locations that no rule distinguishes.
#[derive(Debug, Clone)]
pub struct EndpointClass {
    /// The family of the addresses; for endpoints without an address, the family that they would
    /// have.
    pub family: Family,
    /// One of the endpoints; `None` if the class consists of addresses outside.
    pub owner: Option<EndpointId>,
    /// One of the addresses; `None` if the endpoints have no address yet.
    pub address: Option<IpAddr>,
    /// The addresses outside; empty if the class consists of endpoints.
    pub outside: Vec<AddressRange>,
    pub(super) lists: PrefixListsId,
}

/// One address of an endpoint, or one possible family of an endpoint without addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointLocation {
    /// The family.
    pub family: Family,
    /// The address; `None` if the endpoint has no address yet.
    pub address: Option<IpAddr>,
    /// The class of this location.
    pub class: EndpointClassId,
}

/// All locations of a cluster in classes.
#[derive(Debug)]
pub struct EndpointClasses<'input> {
    pub(super) classes: Vec<EndpointClass>,
    of_endpoint: Vec<Vec<EndpointLocation>>,
    pub(super) known: KnownPrefixes<'input>,
    pub(super) addresses: AddressAtoms,
    /// For each prefix list, its classes in order.
    by_list: FxHashMap<PrefixListId, Vec<EndpointClassId>>,
    /// For each port name, the classes of endpoints with a port of that name, in order.
    by_port: FxHashMap<&'input str, Vec<EndpointClassId>>,
}

/// The prefix lists that rules use, by their origin.
#[derive(Debug, Default)]
pub(super) struct KnownPrefixes<'input> {
    /// The nets of rules, by content.
    pub(super) nets: FxHashMap<&'input [Cidr], PrefixListId>,
    /// For each selector, the prefixes of its members other than endpoints: network sets, nodes,
    /// host endpoints.
    pub(super) selected: FxHashMap<SelectorId, PrefixListId>,
    /// The backend addresses of each service.
    pub(super) backends: FxHashMap<&'input ServiceKey, PrefixListId>,
    /// The addresses of host endpoints that have a port with a name that rules use.
    pub(super) hosts: Vec<(HostEndpointId, PrefixListId)>,
    /// For each service, its backends by protocol and port.
    pub(super) answers: FxHashMap<&'input ServiceKey, Vec<(Protocol, u16, PrefixListId)>>,
}

/// The properties that distinguish classes of endpoints.
#[derive(PartialEq, Eq, Hash)]
struct EndpointClassKey<'input> {
    family: Family,
    /// The number of the set of selectors that select the endpoint.
    selection: u32,
    profiles: &'input ProfileList,
    /// The named ports of the endpoint whose names rules use.
    ports: Vec<&'input NamedPort>,
    lists: PrefixListsId,
}

/// For each port name, the ports that endpoints and host endpoints give that name.
pub(super) type PortNumbers<'input> = FxHashMap<&'input str, BTreeSet<(Protocol, u16)>>;

impl EndpointClassId {
    /// An id that no class has. It represents all classes that are not listed explicitly.
    pub const NOWHERE: EndpointClassId = EndpointClassId(u32::MAX);

    /// Returns the index of the class in [`EndpointClasses::classes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Returns every rule of all policies and profiles.
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

/// Returns the ports of all port names in the cluster.
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

/// Adds the conditions of a rule to the partition of headers.
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
            // a service as source is matched by address only
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

/// Returns the port names that rules use.
fn port_names<'input>(resolved: &ResolvedPolicy<'input>) -> BTreeSet<&'input str> {
    let lists = rules(resolved)
        .flat_map(|rule| [&rule.source, &rule.destination])
        .flat_map(port_lists);
    lists
        .flat_map(|list| list.names.iter().map(String::as_str))
        .collect()
}

impl<'input> EndpointClasses<'input> {
    /// Partitions all locations of a cluster.
    pub(super) fn new(resolved: &ResolvedPolicy<'input>) -> Self {
        Self::told_apart(resolved, Vec::new())
    }

    /// As `new`, but no class contains addresses that the prefix lists `others` distinguish.
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

    /// Returns every class with its id.
    pub fn classes(&self) -> impl Iterator<Item = (EndpointClassId, &EndpointClass)> {
        (0u32..).map(EndpointClassId).zip(&self.classes)
    }

    /// Returns a class, or `None` for an id of another cluster.
    pub fn class(&self, id: EndpointClassId) -> Option<&EndpointClass> {
        self.classes.get(id.0 as usize)
    }

    /// Returns the locations of an endpoint: one for each address, in order. An endpoint without
    /// addresses has one location in each family.
    pub fn of_endpoint(&self, endpoint: EndpointId) -> &[EndpointLocation] {
        self.of_endpoint
            .get(endpoint.index())
            .map_or(&[], Vec::as_slice)
    }

    /// Returns the class of an address. `owner` is the endpoint that has it; `None` means an
    /// address outside.
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

    /// Returns the classes whose addresses are in a list.
    pub(super) fn in_list(&self, list: PrefixListId) -> &[EndpointClassId] {
        self.by_list.get(&list).map_or(&[], Vec::as_slice)
    }

    /// Returns the classes of endpoints that have a port of this name.
    pub(super) fn with_port(&self, name: &str) -> &[EndpointClassId] {
        self.by_port.get(name).map_or(&[], Vec::as_slice)
    }

    fn add_endpoints(&mut self, resolved: &ResolvedPolicy<'input>) {
        let inventory: &'input Inventory = resolved.inventory;
        let selections = selections(resolved);
        let names = port_names(resolved);
        let mut ids: FxHashMap<EndpointClassKey<'input>, EndpointClassId> = FxHashMap::default();

        for (id, endpoint) in inventory.endpoints_with_ids() {
            // endpoints that the same selectors select have the same policies and match the same
            // rules
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

    /// Adds the addresses that no endpoint has, by the set of lists that contain them.
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
            // an endpoint's address is in the endpoint's class, not outside
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

/// Returns the prefixes of the network sets and the addresses of the nodes and host endpoints that
/// a selector selects.
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

/// Returns the addresses of an endpoint with their families, or both families without an address if
/// the endpoint has none.
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

/// Returns a number for every endpoint. Endpoints have the same number if and only if the same
/// selectors select them. Each selector refines the partition, so the cost is the sum of all
/// selectors' members.
fn selections(resolved: &ResolvedPolicy<'_>) -> Vec<u32> {
    let mut numbers = vec![0u32; resolved.inventory.endpoints.len()];
    let mut next = 1;
    for (selector, _, _) in resolved.policies.selectors.iter() {
        let mut moved: FxHashMap<u32, u32> = FxHashMap::with_hasher(FxBuildHasher);
        for endpoint in &resolved.members(selector).endpoints {
            let Some(number) = numbers.get_mut(endpoint.index()) else {
                continue;
            };
            // members of one old set that this selector selects move to one new set together
            *number = *moved.entry(*number).or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
    }

    numbers
}

/// Adds a class and returns its id.
fn add(classes: &mut Vec<EndpointClass>, class: EndpointClass) -> EndpointClassId {
    classes.push(class);
    EndpointClassId(number(classes.len() - 1))
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
