//! Classes of addresses as one node's policy and scripts tell them apart.

use std::collections::BTreeSet;
use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::inventory::{EndpointId, NodeId};
use crate::net::{Cidr, Direction, Family};
use crate::netfilter::{Columns, Kernel, Marks, Symbolic};
use crate::options::{Options, UnknownEndpoint};
use crate::packet::Hook;
use crate::packet_space::{
    Block, ClassId, Members, PlaceClass, Places, Relation, Traffic, TrafficId, ViewId,
};
use crate::resolve::Resolved;
use crate::semantics::source_validation::{Claim, Validation};
use crate::verify::crossing::{Place, Policy};
use crate::verify::expected::Owed;
use crate::verify::host_endpoints;

/// All classes of a family's addresses by number, and what is known of them.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) places: Vec<Place>,
    /// What rules say of each.
    pub(super) columns: Columns,
    /// Those that duties take for one, but for endpoints' policies.
    pub(super) kinds: Vec<Kind>,
    /// Those that rules take for one where a connection was made to them.
    pub(super) sent: Vec<(Box<[bool]>, Members)>,
    policies: Policies,
}

/// Places that are all endpoints of this node or none, all unknown or none, all claimed by the
/// same, and of which host endpoints' policies and failsafe prefixes say the same. What a node owes
/// to packets between two places depends on this and on the policies of endpoints of this node
/// alone.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) members: Members,
    /// One of them.
    pub(super) place: Place,
}

/// What the policies of this node's endpoints allow with all places.
#[derive(Debug)]
struct Policies {
    views: Vec<Vec<TrafficId>>,
    /// For each place, the view of egress and of ingress, where it is an endpoint of this node.
    of_places: Vec<Option<[usize; 2]>>,
}

/// Pairs of two kinds.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) block: Block,
    pub(super) source: usize,
    pub(super) destination: usize,
}

/// What tells classes apart: an endpoint's class on this node; of others, all that anyone here says
/// of them.
type Key = (
    Option<Place>,
    (bool, Claim),
    Marks,
    Vec<(usize, TrafficId)>,
    OfHosts,
);

/// What host endpoints' rules let through at an address, and which of their addresses and failsafe
/// prefixes hold it.
type OfHosts = (Vec<TrafficId>, Vec<bool>);

type FxIndexMap<Key, Value> = IndexMap<Key, Value, FxBuildHasher>;

/// Whether an endpoint is on a node.
pub(super) fn is_local(resolved: &Resolved<'_>, node: NodeId, owner: Option<EndpointId>) -> bool {
    owner.is_some_and(|owner| resolved.inventory.endpoint(owner).node == Some(node))
}

/// Lists of addresses that the node's duties or its scripts tell apart, beyond those of policy.
pub(super) fn lists(
    resolved: &Resolved<'_>,
    node: NodeId,
    options: &Options,
    kernel: &Kernel,
) -> Vec<Vec<Cidr>> {
    let inventory = resolved.inventory;
    let addresses = |wanted: &dyn Fn(EndpointId) -> bool| {
        let wanted = inventory.endpoints_with_ids().filter(|(id, _)| wanted(*id));
        wanted
            .flat_map(|(_, endpoint)| endpoint.addresses.iter().copied().map(Cidr::host))
            .collect::<Vec<Cidr>>()
    };
    let mut lists = kernel.prefixes();
    lists.push(addresses(&|id| is_local(resolved, node, Some(id))));
    lists.push(inventory.node(node).pod_ranges.clone());
    lists.push(
        inventory
            .nodes
            .iter()
            .flat_map(|node| node.pod_ranges.iter().copied())
            .collect(),
    );
    // whether or not a policy tells endpoints from addresses outside, source validation does
    lists.push(addresses(&|_| true));
    lists.extend(host_endpoints::prefixes(resolved, node));
    let failsafes = Direction::BOTH
        .into_iter()
        .flat_map(|direction| options.failsafes.of(direction));
    lists.extend(
        failsafes
            .filter_map(|failsafe| failsafe.net)
            .map(|net| vec![net]),
    );
    lists
}

impl Ground {
    /// The classes of a family's addresses.
    pub(super) fn of(
        (resolved, node, options): (&Resolved<'_>, NodeId, &Options),
        (places, family): (&Places<'_>, Family),
        (symbolic, relation, owed): (&Symbolic<'_>, &Relation<'_>, &Owed<'_, '_>),
        traffic: &mut Traffic,
    ) -> Self {
        let of_family = || places.classes().filter(|(_, class)| class.family == family);
        let is_local = |class: &PlaceClass| is_local(resolved, node, class.owner);
        let views: BTreeSet<ViewId> = of_family()
            .filter(|(_, class)| is_local(class))
            .flat_map(|(id, _)| Direction::BOTH.map(|direction| relation.view(id, direction)))
            .collect();
        let exceptions = exceptions(&views, relation);
        let validation = Validation::of(resolved, node);
        let mut known: FxHashSet<Key> = FxHashSet::default();
        let (mut spots, mut all_marks) = (Vec::new(), Vec::new());
        for (id, class) in of_family() {
            let Some(address) = class.address else {
                continue;
            };
            let is_unknown = is_unknown((resolved, node, options), class, address);
            let claim = validation.claim(address, class.owner.map(|_| is_local(class)));
            let place = Place {
                address,
                class: id,
                is_local: is_local(class),
                is_unknown,
                claim,
            };
            let marks = symbolic.marks(address);
            let said = exceptions.get(&id).cloned().unwrap_or_default();
            let of_hosts = of_hosts(&place, owed);
            let duties = (is_unknown, claim);
            if known.insert((
                Some(place).filter(|place| place.is_local),
                duties,
                marks.clone(),
                said,
                of_hosts.clone(),
            )) {
                spots.push((place, of_hosts));
                all_marks.push(marks);
            }
        }
        let places: Vec<Place> = spots.iter().map(|(place, _)| *place).collect();
        Self {
            columns: symbolic.columns(&all_marks.iter().collect::<Vec<&Marks>>(), traffic),
            kinds: kinds(&spots),
            sent: sent(&all_marks),
            policies: Policies::of(&places, &views, relation),
            places,
        }
    }

    /// All pairs that a hook sees: none to an endpoint of the node ends at the node itself, and
    /// none from one begins there.
    pub(super) fn possible(&self, hook: &Hook) -> Option<Block> {
        let all = |is_there: &dyn Fn(&Place) -> bool| {
            Members::of(self.places.len(), |number| {
                self.places.get(number).is_some_and(is_there)
            })
        };
        let (any, foreign) = (all(&|_| true), all(&|place| !place.is_local));
        let (sources, destinations) = match hook {
            Hook::Forward { .. } => (any.clone(), any.clone()),
            Hook::Input { .. } => (any.clone(), foreign),
            Hook::Output { .. } => (foreign, any.clone()),
        };
        Block {
            sources: any.clone(),
            destinations: any,
        }
        .within(&sources, &destinations)
    }

    /// A block by the kinds of its ends.
    pub(super) fn parts(&self, block: &Block) -> Vec<Part> {
        let ends = |members: &Members| -> Vec<(usize, Members)> {
            let kinds = self.kinds.iter().enumerate();
            kinds
                .filter_map(|(number, kind)| Some((number, members.split(&kind.members).0?)))
                .collect()
        };
        let (sources, destinations) = (ends(&block.sources), ends(&block.destinations));
        let part = |from: &(usize, Members), to: &(usize, Members)| Part {
            block: Block {
                sources: from.1.clone(),
                destinations: to.1.clone(),
            },
            source: from.0,
            destination: to.0,
        };
        sources
            .iter()
            .flat_map(|from| destinations.iter().map(|to| part(from, to)))
            .collect()
    }

    /// What endpoints' policies allow between two places.
    pub(super) fn policy(&self, source: usize, destination: usize) -> Policy {
        Policy {
            leaves: self.policies.says((source, 0), destination),
            enters: self.policies.says((destination, 1), source),
        }
    }
}

impl Policies {
    fn of(places: &[Place], views: &BTreeSet<ViewId>, relation: &Relation<'_>) -> Self {
        let number = |class, direction| {
            views
                .iter()
                .position(|view| *view == relation.view(class, direction))
        };
        let of_place = |place: &Place| {
            let place = Some(place).filter(|place| place.is_local)?;
            Some([
                number(place.class, Direction::Egress)?,
                number(place.class, Direction::Ingress)?,
            ])
        };
        let row = |view: &ViewId| {
            places
                .iter()
                .map(|far| relation.seen(*view, far.class))
                .collect()
        };
        Self {
            views: views.iter().map(row).collect(),
            of_places: places.iter().map(of_place).collect(),
        }
    }

    fn says(&self, (near, direction): (usize, usize), far: usize) -> TrafficId {
        let views = self.of_places.get(near).copied().flatten();
        let row = views.and_then(|views| self.views.get(*views.get(direction)?));
        row.and_then(|row| row.get(far))
            .copied()
            .unwrap_or(Traffic::NONE)
    }
}

/// For each class, the views that say of it what they do not say of most, with what they say.
fn exceptions(
    views: &BTreeSet<ViewId>,
    relation: &Relation<'_>,
) -> FxHashMap<ClassId, Vec<(usize, TrafficId)>> {
    let mut exceptions: FxHashMap<ClassId, Vec<(usize, TrafficId)>> = FxHashMap::default();
    for (number, view) in views.iter().enumerate() {
        relation
            .exceptions(*view)
            .iter()
            .for_each(|(class, traffic)| {
                exceptions
                    .entry(*class)
                    .or_default()
                    .push((number, *traffic))
            });
    }
    exceptions
}

fn kinds(spots: &[(Place, OfHosts)]) -> Vec<Kind> {
    let mut kinds: FxIndexMap<(bool, bool, Claim, &OfHosts), Vec<usize>> = IndexMap::default();
    for (number, (place, of_hosts)) in spots.iter().enumerate() {
        kinds
            .entry((place.is_local, place.is_unknown, place.claim, of_hosts))
            .or_default()
            .push(number);
    }
    let kind = |numbers: Vec<usize>| {
        let (place, _) = spots.get(*numbers.first()?)?;
        Some(Kind {
            members: Members::these(spots.len(), &numbers),
            place: *place,
        })
    };
    kinds.into_values().filter_map(kind).collect()
}

fn sent(marks: &[Marks]) -> Vec<(Box<[bool]>, Members)> {
    let mut sent: FxIndexMap<&[bool], Vec<usize>> = IndexMap::default();
    marks
        .iter()
        .enumerate()
        .for_each(|(number, marks)| sent.entry(&marks.sent).or_default().push(number));
    sent.into_iter()
        .map(|(asked, numbers)| (asked.into(), Members::these(marks.len(), &numbers)))
        .collect()
}

fn of_hosts(place: &Place, owed: &Owed<'_, '_>) -> OfHosts {
    let mut said = Vec::new();
    owed.hosts.at(place.class, &mut said);
    (said, held(place.address, owed))
}

fn is_unknown(
    (resolved, node, options): (&Resolved<'_>, NodeId, &Options),
    class: &PlaceClass,
    address: IpAddr,
) -> bool {
    let in_range = || {
        resolved
            .inventory
            .node(node)
            .pod_ranges
            .iter()
            .any(|range| range.holds(address))
    };
    options.unknown_endpoint == UnknownEndpoint::Drop && class.owner.is_none() && in_range()
}

/// Which addresses of host endpoints, and which failsafe prefixes, hold an address.
fn held(address: IpAddr, owed: &Owed<'_, '_>) -> Vec<bool> {
    let failsafes = Direction::BOTH
        .into_iter()
        .flat_map(|direction| owed.options.failsafes.of(direction));
    let nets = failsafes
        .filter_map(|failsafe| failsafe.net)
        .map(|net| net.holds(address));
    owed.hosts
        .all()
        .map(|host| host.addresses.contains(&address))
        .chain(nets.filter(|_| !owed.hosts.is_empty()))
        .collect()
}
