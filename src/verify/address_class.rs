//! Classes of addresses that one node's policy and scripts do not distinguish.

use std::collections::BTreeSet;
use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::inventory::{EndpointId, NodeId};
use crate::net::{Cidr, Direction, Family};
use crate::netfilter::{AddressAnswers, AnswerColumns, NodeKernel, SymbolicTables};
use crate::options::{CompileOptions, UnknownEndpoint};
use crate::packet::Hook;
use crate::packet_space::{
    EndpointClass, EndpointClassId, EndpointClasses, HeaderSetId, HeaderSpace, LocationSet,
    PairBlock, PolicyProfileId, ReachabilityMatrix,
};
use crate::resolve::ResolvedPolicy;
use crate::semantics::source_validation::{SourceClaim, SourceValidator};
use crate::verify::crossing::{LocationRole, PolicyTraffic};
use crate::verify::expected::ExpectedVerdicts;
use crate::verify::host_endpoints;

/// All address classes of one family, by number, with their properties.
#[derive(Debug)]
pub(super) struct AddressClasses {
    pub(super) places: Vec<LocationRole>,
    /// The answers of all rules for each class.
    pub(super) columns: AnswerColumns,
    /// The classes grouped by what the expected verdict depends on, apart from policies of
    /// endpoints.
    pub(super) kinds: Vec<LocationKind>,
    /// The classes grouped by the answers of matches on the original destination.
    pub(super) sent: Vec<(Box<[bool]>, LocationSet)>,
    policies: EndpointPolicies,
}

/// Locations with the same expected verdicts, apart from policies of endpoints: all or none are
/// endpoints of this node, all or none are unknown endpoints, all have the same source claim, and
/// host endpoints' policies and failsafe prefixes treat them alike. The expected verdict for
/// packets between two locations depends only on this and on the policies of this node's endpoints.
#[derive(Debug)]
pub(super) struct LocationKind {
    pub(super) members: LocationSet,
    /// One of the locations.
    pub(super) place: LocationRole,
}

/// The traffic that the policies of this node's endpoints allow with all locations.
#[derive(Debug)]
struct EndpointPolicies {
    views: Vec<Vec<HeaderSetId>>,
    /// For each location, the indices of the egress and the ingress profile; `None` if it is not an
    /// endpoint of this node.
    of_places: Vec<Option<[usize; 2]>>,
}

/// The pairs of a block whose ends have given kinds.
#[derive(Debug)]
pub(super) struct KindPair {
    pub(super) block: PairBlock,
    pub(super) source: usize,
    pub(super) destination: usize,
}

/// The properties that distinguish classes: for an endpoint of this node its endpoint class, for
/// other locations everything that policies, host endpoints and rules of this node depend on.
type LocationKey = (
    Option<LocationRole>,
    (bool, SourceClaim),
    AddressAnswers,
    Vec<(usize, HeaderSetId)>,
    HostEndpointAnswers,
);

/// The traffic that host endpoints' rules match at an address, and which host endpoint addresses
/// and failsafe prefixes contain it.
type HostEndpointAnswers = (Vec<HeaderSetId>, Vec<bool>);

type FxIndexMap<Key, Value> = IndexMap<Key, Value, FxBuildHasher>;

/// Returns `true` if an endpoint is on a node.
pub(super) fn is_local(
    resolved: &ResolvedPolicy<'_>,
    node: NodeId,
    owner: Option<EndpointId>,
) -> bool {
    owner.is_some_and(|owner| resolved.inventory.endpoint(owner).node == Some(node))
}

/// Returns the prefix lists that the node's expected verdicts or its scripts distinguish, in
/// addition to those of policy.
pub(super) fn lists(
    resolved: &ResolvedPolicy<'_>,
    node: NodeId,
    options: &CompileOptions,
    kernel: &NodeKernel,
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
    // source validation distinguishes endpoints from addresses outside, even if no policy does
    lists.push(addresses(&|_| true));
    lists.extend(host_endpoints::prefixes(resolved, node));

    let failsafes = Direction::BOTH
        .into_iter()
        .flat_map(|direction| options.failsafes.in_direction(direction));
    lists.extend(
        failsafes
            .filter_map(|failsafe| failsafe.net)
            .map(|net| vec![net]),
    );

    lists
}

impl AddressClasses {
    /// Builds the address classes of a family.
    pub(super) fn new(
        resolved: &ResolvedPolicy<'_>,
        node: NodeId,
        options: &CompileOptions,
        places: &EndpointClasses<'_>,
        family: Family,
        (symbolic, relation, owed): (
            &SymbolicTables<'_>,
            &ReachabilityMatrix<'_>,
            &ExpectedVerdicts<'_, '_>,
        ),
        traffic: &mut HeaderSpace,
    ) -> Self {
        let of_family = || places.classes().filter(|(_, class)| class.family == family);
        let is_local = |class: &EndpointClass| is_local(resolved, node, class.owner);
        let views: BTreeSet<PolicyProfileId> = of_family()
            .filter(|(_, class)| is_local(class))
            .flat_map(|(id, _)| Direction::BOTH.map(|direction| relation.view(id, direction)))
            .collect();
        let exceptions = exceptions(&views, relation);
        let validation = SourceValidator::new(resolved, node);
        let mut known: FxHashSet<LocationKey> = FxHashSet::default();
        let (mut spots, mut all_marks) = (Vec::new(), Vec::new());

        for (id, class) in of_family() {
            let Some(address) = class.address else {
                continue;
            };
            let is_unknown = is_unknown(resolved, node, options, class, address);
            let claim = validation.claim(address, class.owner.map(|_| is_local(class)));
            let place = LocationRole {
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
            // one location of each key is enough: scripts and policy treat the others alike
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

        let places: Vec<LocationRole> = spots.iter().map(|(place, _)| *place).collect();
        Self {
            columns: symbolic.columns(&all_marks.iter().collect::<Vec<&AddressAnswers>>(), traffic),
            kinds: kinds(&spots),
            sent: sent(&all_marks),
            policies: EndpointPolicies::new(&places, &views, relation),
            places,
        }
    }

    /// Returns all pairs of a hook. A packet to an endpoint of this node is never in INPUT, and a
    /// packet from one is never in OUTPUT. Returns `None` if there are no pairs.
    pub(super) fn possible(&self, hook: &Hook) -> Option<PairBlock> {
        let all = |is_there: &dyn Fn(&LocationRole) -> bool| {
            LocationSet::filter(self.places.len(), |number| {
                self.places.get(number).is_some_and(is_there)
            })
        };
        let (any, foreign) = (all(&|_| true), all(&|place| !place.is_local));
        let (sources, destinations) = match hook {
            Hook::Forward { .. } => (any.clone(), any.clone()),
            Hook::Input { .. } => (any.clone(), foreign),
            // the node itself sends OUTPUT packets, so their source is never an endpoint
            Hook::Output { .. } => (foreign, any.clone()),
        };

        PairBlock {
            sources: any.clone(),
            destinations: any,
        }
        .within(&sources, &destinations)
    }

    /// Splits a block by the kinds of its ends.
    pub(super) fn parts(&self, block: &PairBlock) -> Vec<KindPair> {
        let ends = |members: &LocationSet| -> Vec<(usize, LocationSet)> {
            let kinds = self.kinds.iter().enumerate();
            kinds
                .filter_map(|(number, kind)| Some((number, members.split(&kind.members).0?)))
                .collect()
        };
        let (sources, destinations) = (ends(&block.sources), ends(&block.destinations));
        let part = |from: &(usize, LocationSet), to: &(usize, LocationSet)| KindPair {
            block: PairBlock {
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

    /// Returns the traffic that endpoints' policies allow between two locations.
    pub(super) fn policy(&self, source: usize, destination: usize) -> PolicyTraffic {
        PolicyTraffic {
            leaves: self.policies.allowed(source, 0, destination),
            enters: self.policies.allowed(destination, 1, source),
        }
    }
}

impl EndpointPolicies {
    fn new(
        places: &[LocationRole],
        views: &BTreeSet<PolicyProfileId>,
        relation: &ReachabilityMatrix<'_>,
    ) -> Self {
        let number = |class, direction| {
            views
                .iter()
                .position(|view| *view == relation.view(class, direction))
        };
        let of_place = |place: &LocationRole| {
            let place = Some(place).filter(|place| place.is_local)?;
            Some([
                number(place.class, Direction::Egress)?,
                number(place.class, Direction::Ingress)?,
            ])
        };
        let row = |view: &PolicyProfileId| {
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

    fn allowed(&self, near: usize, direction: usize, far: usize) -> HeaderSetId {
        let views = self.of_places.get(near).copied().flatten();
        let row = views.and_then(|views| self.views.get(*views.get(direction)?));
        row.and_then(|row| row.get(far))
            .copied()
            .unwrap_or(HeaderSpace::NONE)
    }
}

/// Returns, for each class, the profiles that have an exception for it, with the traffic that they
/// allow there.
fn exceptions(
    views: &BTreeSet<PolicyProfileId>,
    relation: &ReachabilityMatrix<'_>,
) -> FxHashMap<EndpointClassId, Vec<(usize, HeaderSetId)>> {
    let mut exceptions: FxHashMap<EndpointClassId, Vec<(usize, HeaderSetId)>> =
        FxHashMap::default();
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

fn kinds(spots: &[(LocationRole, HostEndpointAnswers)]) -> Vec<LocationKind> {
    let mut kinds: FxIndexMap<(bool, bool, SourceClaim, &HostEndpointAnswers), Vec<usize>> =
        IndexMap::default();
    for (number, (place, of_hosts)) in spots.iter().enumerate() {
        kinds
            .entry((place.is_local, place.is_unknown, place.claim, of_hosts))
            .or_default()
            .push(number);
    }

    let kind = |numbers: Vec<usize>| {
        let (place, _) = spots.get(*numbers.first()?)?;
        Some(LocationKind {
            members: LocationSet::these(spots.len(), &numbers),
            place: *place,
        })
    };
    kinds.into_values().filter_map(kind).collect()
}

fn sent(marks: &[AddressAnswers]) -> Vec<(Box<[bool]>, LocationSet)> {
    let mut sent: FxIndexMap<&[bool], Vec<usize>> = IndexMap::default();
    marks
        .iter()
        .enumerate()
        .for_each(|(number, marks)| sent.entry(&marks.sent).or_default().push(number));
    sent.into_iter()
        .map(|(asked, numbers)| (asked.into(), LocationSet::these(marks.len(), &numbers)))
        .collect()
}

fn of_hosts(place: &LocationRole, owed: &ExpectedVerdicts<'_, '_>) -> HostEndpointAnswers {
    let mut said = Vec::new();
    owed.hosts.at(place.class, &mut said);
    (said, held(place.address, owed))
}

fn is_unknown(
    resolved: &ResolvedPolicy<'_>,
    node: NodeId,
    options: &CompileOptions,
    class: &EndpointClass,
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

/// Returns which addresses of host endpoints and which failsafe prefixes contain an address.
fn held(address: IpAddr, owed: &ExpectedVerdicts<'_, '_>) -> Vec<bool> {
    let failsafes = Direction::BOTH
        .into_iter()
        .flat_map(|direction| owed.options.failsafes.in_direction(direction));
    let nets = failsafes
        .filter_map(|failsafe| failsafe.net)
        .map(|net| net.holds(address));

    owed.hosts
        .all()
        .map(|host| host.addresses.contains(&address))
        .chain(nets.filter(|_| !owed.hosts.is_empty()))
        .collect()
}
