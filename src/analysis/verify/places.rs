//! Classes of addresses as one node's policy and scripts tell them apart.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::analysis::netfilter::{Kernel, Marks, Symbolic};
use crate::analysis::space::{PlaceClass, Places, Traffic, TrafficId};
use crate::analysis::verify::hosts;
use crate::analysis::verify::owed::{Owed, Place};
use crate::inventory::{EndpointId, NodeId};
use crate::net::{Cidr, Direction, Family};
use crate::options::{Options, UnknownEndpoint};
use crate::resolve::Resolved;

/// A class of addresses.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) place: Place,
    pub(super) marks: Marks,
}

/// What tells spots apart: an endpoint's class on this node; of others, all that anyone here says of them.
type Key = (Option<Place>, bool, Marks, Vec<TrafficId>, Vec<bool>);

/// Whether an endpoint is on a node.
pub(super) fn is_local(resolved: &Resolved<'_>, node: NodeId, owner: Option<EndpointId>) -> bool {
    owner.is_some_and(|owner| resolved.inventory.endpoint(owner).node == Some(node))
}

/// Lists of addresses that the node's duties or its scripts tell apart, beyond those of policy.
pub(super) fn lists(resolved: &Resolved<'_>, node: NodeId, options: &Options, kernel: &Kernel) -> Vec<Vec<Cidr>> {
    let inventory = resolved.inventory;
    let addresses = |wanted: &dyn Fn(EndpointId) -> bool| {
        let wanted = inventory.endpoints_with_ids().filter(|(id, _)| wanted(*id));
        wanted.flat_map(|(_, endpoint)| endpoint.addresses.iter().copied().map(Cidr::host)).collect::<Vec<Cidr>>()
    };
    let mut lists = kernel.prefixes();
    lists.push(addresses(&|id| is_local(resolved, node, Some(id))));
    if inventory.endpoints.iter().any(|endpoint| endpoint.addresses.is_empty()) {
        // else an endpoint without an address could stand for one that has one
        lists.push(addresses(&|_| true));
    }
    lists.push(inventory.node(node).pod_ranges.clone());
    lists.extend(hosts::prefixes(resolved, node));
    let failsafes = Direction::BOTH.into_iter().flat_map(|direction| options.failsafes.of(direction));
    lists.extend(failsafes.filter_map(|failsafe| failsafe.net).map(|net| vec![net]));
    lists
}

/// The classes of a family's addresses.
pub(super) fn spots(
    (resolved, node, options): (&Resolved<'_>, NodeId, &Options),
    (places, family): (&Places<'_>, Family),
    (symbolic, owed): (&Symbolic<'_>, &Owed<'_, '_>),
    traffic: &mut Traffic,
) -> Vec<Spot> {
    let of_family = || places.classes().filter(|(_, class)| class.family == family);
    let local = of_family().filter(|(_, class)| is_local(resolved, node, class.owner));
    let mut views: Vec<_> = local.flat_map(|(id, _)| Direction::BOTH.map(|direction| owed.relation.view(id, direction))).collect();
    views.sort_unstable();
    views.dedup();
    let mut spots: Vec<Spot> = Vec::new();
    let mut known: FxHashMap<Key, usize> = FxHashMap::default();
    for (id, class) in of_family() {
        let Some(address) = class.address else { continue };
        let is_unknown = is_unknown((resolved, node, options), class, address);
        let place = Place { address, class: id, is_local: is_local(resolved, node, class.owner), is_unknown };
        let marks = symbolic.marks(address, traffic);
        let mut said: Vec<TrafficId> = views.iter().map(|view| owed.relation.seen(*view, id)).collect();
        owed.hosts.at(id, &mut said);
        let key = (Some(place).filter(|place| place.is_local), is_unknown, marks.clone(), said, held(address, owed));
        known.entry(key).or_insert_with(|| {
            spots.push(Spot { place, marks });
            spots.len()
        });
    }
    spots
}

fn is_unknown((resolved, node, options): (&Resolved<'_>, NodeId, &Options), class: &PlaceClass, address: IpAddr) -> bool {
    let in_range = || resolved.inventory.node(node).pod_ranges.iter().any(|range| range.holds(address));
    options.unknown_endpoint == UnknownEndpoint::Drop && class.owner.is_none() && in_range()
}

/// Which addresses of host endpoints, and which failsafe prefixes, hold an address.
fn held(address: IpAddr, owed: &Owed<'_, '_>) -> Vec<bool> {
    let failsafes = Direction::BOTH.into_iter().flat_map(|direction| owed.options.failsafes.of(direction));
    let nets = failsafes.filter_map(|failsafe| failsafe.net).map(|net| net.holds(address));
    owed.hosts.all().map(|host| host.addresses.contains(&address)).chain(nets.filter(|_| !owed.hosts.is_empty())).collect()
}
