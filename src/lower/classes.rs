//! Classes: the endpoints of a node that have the same policies in one tier and direction.

use std::collections::BTreeMap;

use crate::inventory::{EndpointId, NodeId};
use crate::net::Direction;
use crate::policy::{Policy, PolicyListKind};
use crate::resolve::ResolvedPolicy;

/// Endpoints of one node to which the same policies of one tier apply in one direction.
pub(super) struct EndpointPolicyClass<'input> {
    /// The policies, in order of evaluation. Never empty.
    pub(super) policies: Vec<&'input Policy>,
    /// The endpoints, ordered by id.
    pub(super) endpoints: Vec<EndpointId>,
}

/// Returns the classes of the tier at a position, ordered by their policies. Endpoints without any
/// policy in the tier belong to no class.
///
/// Cost: for every endpoint of the node, the policies that apply to it, in any tier.
pub(super) fn of_tier<'input>(
    tier: usize,
    direction: Direction,
    resolved: &ResolvedPolicy<'input>,
    node: NodeId,
) -> Vec<EndpointPolicyClass<'input>> {
    let policies = resolved
        .policies
        .tiers
        .get(tier)
        .map_or(&[][..], |tier| &tier.policies);
    let speaks =
        |policy: &Policy| policy.is_on(PolicyListKind::Normal) && policy.rules(direction).is_some();
    let mut classes: BTreeMap<Vec<usize>, Vec<EndpointId>> = BTreeMap::new();

    for endpoint in resolved.endpoints_on(node) {
        let places = resolved
            .applied_to(*endpoint)
            .iter()
            .flat_map(|selector| resolved.policies_of(*selector));
        let mut positions: Vec<usize> = places
            .filter(|place| place.tier == tier)
            .map(|place| place.policy)
            .filter(|position| policies.get(*position).is_some_and(speaks))
            .collect();
        // Selectors are not in order of evaluation. Sorted positions are, and serve as the key.
        positions.sort_unstable();
        if !positions.is_empty() {
            classes.entry(positions).or_default().push(*endpoint);
        }
    }

    let chosen = |positions: Vec<usize>| {
        positions
            .into_iter()
            .filter_map(|position| policies.get(position))
            .collect()
    };

    classes
        .into_iter()
        .map(|(positions, endpoints)| EndpointPolicyClass {
            policies: chosen(positions),
            endpoints,
        })
        .collect()
}
