//! Classes: a node's endpoints with the same policies in a tier and a direction.

use std::collections::BTreeMap;

use crate::inventory::{EndpointId, NodeId};
use crate::net::Direction;
use crate::policy::{List, Policy, SelectorId, Tier};
use crate::resolve::Resolved;

/// Endpoints of one node to which the same policies of one tier apply in one direction.
pub(super) struct Class<'input> {
    /// The policies, first evaluated first; never empty.
    pub(super) policies: Vec<&'input Policy>,
    /// The endpoints, by id.
    pub(super) endpoints: Vec<EndpointId>,
}

/// The classes of a tier, in the order of their policies. Endpoints without any policy there are in none.
///
/// Cost: a tier's policies, plus for every endpoint of the node the policies that apply to it.
pub(super) fn of_tier<'input>(tier: &'input Tier, direction: Direction, resolved: &Resolved<'input>, node: NodeId) -> Vec<Class<'input>> {
    let by_selector = by_selector(tier, direction);
    let mut classes: BTreeMap<Vec<usize>, Vec<EndpointId>> = BTreeMap::new();
    for endpoint in resolved.endpoints_on(node) {
        let applying = resolved.applied_to(*endpoint).iter().filter_map(|selector| by_selector.get(selector));
        let mut policies: Vec<usize> = applying.flatten().copied().collect();
        policies.sort_unstable();
        if !policies.is_empty() {
            classes.entry(policies).or_default().push(*endpoint);
        }
    }
    let policies = |positions: Vec<usize>| positions.into_iter().filter_map(|position| tier.policies.get(position)).collect();
    classes.into_iter().map(|(positions, endpoints)| Class { policies: policies(positions), endpoints }).collect()
}

/// Positions of the tier's policies that speak about the direction, by the selector of the endpoints they apply to.
fn by_selector(tier: &Tier, direction: Direction) -> BTreeMap<SelectorId, Vec<usize>> {
    let mut by_selector: BTreeMap<SelectorId, Vec<usize>> = BTreeMap::new();
    for (position, policy) in
        tier.policies.iter().enumerate().filter(|(_, policy)| policy.is_on(List::Normal) && policy.rules(direction).is_some())
    {
        by_selector.entry(policy.applies_to).or_default().push(position);
    }
    by_selector
}
