//! Matches the peers of both states, and partitions their locations into joint classes.
//!
//! Cost: sorting endpoints and ranges.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::diff::{DecidedState, DiffState, OldNew};
use crate::inventory::{Endpoint, EndpointId, EndpointKind, Inventory};
use crate::net::Family;
use crate::packet_space::{AddressRange, EndpointClassId, EndpointLocation};

/// Index in [`ConnectionDiff::peers`](super::ConnectionDiff::peers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u32);

/// A sender or receiver in at least one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedPeer<'input> {
    /// The identity.
    pub identity: MatchedIdentity<'input>,
    /// The endpoints in the old and in the new state, by the ids of that state.
    pub(super) endpoints: [Vec<EndpointId>; 2],
}

/// The identity of a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchedIdentity<'input> {
    /// An endpoint, or all endpoints of an owner.
    Endpoints {
        /// The namespace.
        namespace: &'input str,
        /// The kind of the owner; `Pod` or `WorkloadEndpoint` for an endpoint without owner.
        kind: &'input str,
        /// The name of the owner or of the endpoint.
        name: &'input str,
    },
    /// Addresses without an endpoint, in order.
    Outside(Vec<AddressRange>),
    /// A host endpoint.
    Host {
        /// The node.
        node: &'input str,
        /// The name.
        name: &'input str,
    },
}

/// Locations that are in one class in the old state and in one class in the new state.
#[derive(Debug)]
pub(super) struct JointClass {
    pub(super) family: Family,
    pub(super) classes: OldNew<EndpointClassId>,
    /// The peers with locations in the class, in order.
    pub(super) peers: Vec<PeerId>,
    /// One of the locations.
    pub(super) example: OldNew<PeerPlacement>,
    /// A location on another node than `example`; `None` if there is none. For any node, one of
    /// both is on another node.
    pub(super) elsewhere: Option<OldNew<PeerPlacement>>,
}

/// A location and its endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PeerPlacement {
    pub(super) endpoint: Option<EndpointId>,
    pub(super) address: Option<IpAddr>,
}

/// All peers, and the joint classes of those that are in both states.
#[derive(Debug, Default)]
pub(super) struct MatchedPeers<'input> {
    pub(super) peers: Vec<MatchedPeer<'input>>,
    pub(super) classes: Vec<JointClass>,
    /// The peers that are in one state only, with that state.
    pub(super) sole: BTreeMap<PeerId, DiffState>,
    /// For each class of each state, the joint classes that it contains.
    within: OldNew<Vec<Vec<usize>>>,
}

/// Joint classes by their family and their classes in both states.
type JointClassBuilder =
    IndexMap<(Family, EndpointClassId, EndpointClassId), JointClass, FxBuildHasher>;

impl PeerId {
    /// Returns the id of the peer at an index.
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Returns the index in [`ConnectionDiff::peers`](super::ConnectionDiff::peers).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl MatchedPeer<'_> {
    /// Returns `true` if the peer consists of addresses outside.
    pub fn is_outside(&self) -> bool {
        matches!(self.identity, MatchedIdentity::Outside(_))
    }

    /// Returns `true` if the peer is a single endpoint. Its traffic to itself is not compared.
    pub fn is_single(&self) -> bool {
        matches!(
            self.identity,
            MatchedIdentity::Endpoints {
                kind: "Pod" | "WorkloadEndpoint",
                ..
            }
        )
    }

    pub(super) fn endpoints(&self, state: DiffState) -> &[EndpointId] {
        let [old, new] = &self.endpoints;
        match state {
            DiffState::Old => old,
            DiffState::New => new,
        }
    }
}

impl<'input> MatchedPeers<'input> {
    pub(super) fn new(both: OldNew<DecidedState<'_, 'input>>) -> Self {
        let mut joint = Self::default();
        let mut made = JointClassBuilder::default();
        joint.add_endpoints(both, &mut made);
        joint.add_outside(both, &mut made);
        joint.classes = made.into_values().collect();

        let within = |known: DecidedState<'_, '_>| {
            known.space.places.classes().map(|_| Vec::new()).collect()
        };
        joint.within = OldNew {
            old: within(both.old),
            new: within(both.new),
        };

        for (index, class) in joint.classes.iter().enumerate() {
            joint
                .within
                .old
                .get_mut(class.classes.old.index())
                .into_iter()
                .for_each(|within: &mut Vec<usize>| within.push(index));
            joint
                .within
                .new
                .get_mut(class.classes.new.index())
                .into_iter()
                .for_each(|within: &mut Vec<usize>| within.push(index));
        }

        joint
    }

    /// Returns the joint classes within a class of one state, in order.
    pub(super) fn within(&self, state: DiffState, class: EndpointClassId) -> &[usize] {
        self.within
            .get(state)
            .get(class.index())
            .map_or(&[], Vec::as_slice)
    }

    /// Returns the single endpoint whose locations form a class, or `None` if there are several.
    pub(super) fn single(&self, class: usize) -> Option<PeerId> {
        let [peer] = self.classes.get(class)?.peers.as_slice() else {
            return None;
        };
        self.peers
            .get(peer.index())
            .filter(|peer| peer.is_single())
            .map(|_| *peer)
    }

    /// Returns the joint class of an address that no endpoint has in either state.
    pub(super) fn at(&self, both: OldNew<DecidedState<'_, '_>>, address: IpAddr) -> Option<usize> {
        let [old, new] = [both.old, both.new].map(|known| known.space.places.at(address, None));
        let within = self.within(DiffState::Old, old?).iter();
        within.copied().find(|index| {
            self.classes
                .get(*index)
                .is_some_and(|class| Some(class.classes.new) == new)
        })
    }

    fn add_endpoints(
        &mut self,
        both: OldNew<DecidedState<'_, 'input>>,
        made: &mut JointClassBuilder,
    ) {
        let mut named: BTreeMap<MatchedIdentity<'input>, [Vec<EndpointId>; 2]> = BTreeMap::new();
        let inventories: [&'input Inventory; 2] =
            [both.old.resolved.inventory, both.new.resolved.inventory];
        for (inventory, state) in inventories
            .into_iter()
            .zip([DiffState::Old, DiffState::New])
        {
            for (id, endpoint) in inventory.endpoints_with_ids() {
                let [old, new] = named.entry(identity(endpoint)).or_default();
                match state {
                    DiffState::Old => old.push(id),
                    DiffState::New => new.push(id),
                }
            }
        }

        for (identity, endpoints) in named {
            let id = PeerId::at(self.peers.len());
            let [old, new] = &endpoints;
            match (old.is_empty(), new.is_empty()) {
                (true, _) => drop(self.sole.insert(id, DiffState::New)),
                (false, true) => drop(self.sole.insert(id, DiffState::Old)),
                (false, false) => counterparts(both, old, new)
                    .into_iter()
                    .for_each(|pair| add_pair(both, id, pair.0, pair.1, made)),
            }
            self.peers.push(MatchedPeer {
                identity,
                endpoints,
            });
        }
    }

    /// Adds the addresses that no endpoint has in either state, by their classes in both states.
    /// Both lists of ranges are sorted, so one pass over both is enough.
    fn add_outside(
        &mut self,
        both: OldNew<DecidedState<'_, 'input>>,
        made: &mut JointClassBuilder,
    ) {
        let old = outside(both.old);
        let mut ranges: BTreeMap<(Family, EndpointClassId, EndpointClassId), Vec<AddressRange>> =
            BTreeMap::new();
        let mut from = 0;

        for (range, class) in outside(both.new) {
            let ends_before = |(other, _): &(AddressRange, EndpointClassId)| {
                (other.family, other.last) < (range.family, range.first)
            };
            from += old
                .get(from..)
                .unwrap_or_default()
                .partition_point(ends_before);
            let reached = old.get(from..).unwrap_or_default().iter();
            for (other, known) in reached
                .take_while(|(other, _)| (other.family, other.first) <= (range.family, range.last))
            {
                let common = AddressRange {
                    first: range.first.max(other.first),
                    last: range.last.min(other.last),
                    ..range
                };
                ranges
                    .entry((range.family, *known, class))
                    .or_default()
                    .push(common);
            }
        }

        let mut sorted: Vec<_> = ranges.into_iter().collect();
        // peers are listed by id, so number them in the order of their addresses
        sorted.sort_by(|left, right| left.1.cmp(&right.1));
        for ((family, old, new), ranges) in sorted {
            let spot = PeerPlacement {
                endpoint: None,
                address: ranges.first().map(AddressRange::first_address),
            };
            let peers = vec![PeerId::at(self.peers.len())];
            let class = JointClass {
                family,
                classes: OldNew { old, new },
                peers,
                example: OldNew {
                    old: spot,
                    new: spot,
                },
                elsewhere: None,
            };
            made.insert((family, old, new), class);
            self.peers.push(MatchedPeer {
                identity: MatchedIdentity::Outside(ranges),
                endpoints: [Vec::new(), Vec::new()],
            });
        }
    }
}

fn identity(endpoint: &Endpoint) -> MatchedIdentity<'_> {
    let own: (&str, &str) = match endpoint.kind {
        EndpointKind::Pod => ("Pod", &endpoint.name),
        EndpointKind::WorkloadEndpoint => ("WorkloadEndpoint", &endpoint.name),
        EndpointKind::Workload(kind) => (kind, &endpoint.name),
    };
    // a node owns its static pods, but these have nothing else in common
    let owner = endpoint
        .owners()
        .last()
        .filter(|owner| &*owner.kind != "Node");
    let (kind, name) = owner.map_or(own, |owner| (&owner.kind, &owner.name));

    MatchedIdentity::Endpoints {
        namespace: &endpoint.namespace,
        kind,
        name,
    }
}

/// Returns the pairs of endpoints to compare within a peer. An endpoint is compared with the
/// endpoint of the same name in the other state, else with one that has the same labels, else with
/// all.
fn counterparts(
    both: OldNew<DecidedState<'_, '_>>,
    old: &[EndpointId],
    new: &[EndpointId],
) -> Vec<(EndpointId, EndpointId)> {
    let [before, after] = [both.old, both.new].map(|known| known.resolved.inventory);
    let by_name: FxHashMap<(&str, &str), EndpointId> = old
        .iter()
        .map(|id| (before.endpoint(*id), *id))
        .map(|(endpoint, id)| ((endpoint.kind.label(), &*endpoint.name), id))
        .collect();
    let mut pairs = Vec::new();
    let mut found: FxHashSet<EndpointId> = FxHashSet::default();
    let mut others = Vec::new();

    for id in new {
        let endpoint = after.endpoint(*id);
        match by_name.get(&(endpoint.kind.label(), &*endpoint.name)) {
            Some(same) => {
                found.insert(*same);
                pairs.push((*same, *id));
            }
            None => others.push(*id),
        }
    }

    let gone: Vec<EndpointId> = old
        .iter()
        .copied()
        .filter(|id| !found.contains(id))
        .collect();
    // labels are compared only if names do not settle it, because that is slow
    if others.is_empty() && gone.is_empty() {
        return pairs;
    }

    let [old_labels, new_labels] = [by_labels(before, old), by_labels(after, new)];
    for id in others {
        let alike = old_labels.get(&labels(after, id)).copied();
        pairs.extend(
            alike
                .map_or_else(|| old.to_vec(), |one| vec![one])
                .into_iter()
                .map(|other| (other, id)),
        );
    }

    for id in gone {
        let alike = new_labels.get(&labels(before, id)).copied();
        pairs.extend(
            alike
                .map_or_else(|| new.to_vec(), |one| vec![one])
                .into_iter()
                .map(|other| (id, other)),
        );
    }

    pairs
}

type LabelTexts<'inventory> = BTreeSet<(&'inventory str, &'inventory str)>;

fn labels(inventory: &Inventory, id: EndpointId) -> LabelTexts<'_> {
    inventory.labels(inventory.endpoint(id)).iter().collect()
}

fn by_labels<'inventory>(
    inventory: &'inventory Inventory,
    ids: &[EndpointId],
) -> BTreeMap<LabelTexts<'inventory>, EndpointId> {
    // reversed, so that the first endpoint with these labels wins
    ids.iter()
        .rev()
        .map(|id| (labels(inventory, *id), *id))
        .collect()
}

/// Adds the corresponding locations of two endpoints: those with the same address, else those of
/// the same family.
fn add_pair(
    both: OldNew<DecidedState<'_, '_>>,
    peer: PeerId,
    old: EndpointId,
    new: EndpointId,
    made: &mut JointClassBuilder,
) {
    let before = both.old.space.places.of_endpoint(old);

    for place in both.new.space.places.of_endpoint(new) {
        // the same address keeps a pod with several addresses from being compared crosswise
        let same = before
            .iter()
            .find(|other| other.address.is_some() && other.address == place.address);
        let Some(other) = same.or_else(|| before.iter().find(|other| other.family == place.family))
        else {
            continue;
        };
        let spot = |endpoint: EndpointId, place: &EndpointLocation| PeerPlacement {
            endpoint: Some(endpoint),
            address: place.address,
        };
        let class = made
            .entry((place.family, other.class, place.class))
            .or_insert_with(|| JointClass {
                family: place.family,
                classes: OldNew {
                    old: other.class,
                    new: place.class,
                },
                peers: Vec::new(),
                example: OldNew {
                    old: spot(old, other),
                    new: spot(new, place),
                },
                elsewhere: None,
            });
        if class.elsewhere.is_none() {
            let own = OldNew {
                old: spot(old, other),
                new: spot(new, place),
            };
            class.elsewhere =
                Some(own).filter(|own| nodes(both, own) != nodes(both, &class.example));
        }
        if class.peers.last() != Some(&peer) {
            class.peers.push(peer);
        }
    }
}

/// Returns the nodes of a location in both states; `None` if it is on no known node.
pub(super) fn nodes<'known>(
    both: OldNew<DecidedState<'known, '_>>,
    spot: &OldNew<PeerPlacement>,
) -> [Option<&'known str>; 2] {
    let name = |known: DecidedState<'known, '_>, spot: &PeerPlacement| {
        let inventory = known.resolved.inventory;
        spot.endpoint
            .and_then(|id| inventory.endpoint(id).node)
            .map(|node| &*inventory.node(node).name)
    };
    [name(both.old, &spot.old), name(both.new, &spot.new)]
}

/// Returns the ranges outside in one state with their classes, in order.
fn outside(known: DecidedState<'_, '_>) -> Vec<(AddressRange, EndpointClassId)> {
    let classes = known.space.places.classes();
    let mut ranges: Vec<(AddressRange, EndpointClassId)> = classes
        .flat_map(|(id, class)| class.outside.iter().map(move |range| (*range, id)))
        .collect();
    ranges.sort_unstable();
    ranges
}

/// Returns the addresses of all endpoints, in order.
pub(super) fn taken(inventories: [&Inventory; 2]) -> Vec<IpAddr> {
    let endpoints = inventories
        .into_iter()
        .flat_map(|inventory| &inventory.endpoints);
    let mut taken: Vec<IpAddr> = endpoints
        .flat_map(|endpoint| endpoint.addresses.iter().copied())
        .collect();
    taken.sort_unstable();
    taken.dedup();
    taken
}
