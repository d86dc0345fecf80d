//! The whole packet space of a cluster, with policy evaluated on it.
//!
//! In: [`ResolvedPolicy`]. Out: for every two locations, all traffic that may go from one to the
//! other; exact, not sampled. Packet headers are partitioned into classes that no rule
//! distinguishes ([`HeaderSpace`]), and so are senders and receivers ([`EndpointClasses`]).
//! [`ReachabilityMatrix`] evaluates each pair of endpoint classes once. Absent: chains, nodes,
//! hooks, and policy of host endpoints except in [`ClusterSpace::with_hosts`].
//!
//! Two clusters can share one [`HeaderSpace`] if the [`PartitionBuilder`] contains the conditions
//! of both. Their sets of packets can then be compared.

mod address_atoms;
mod pair_set;
mod cascade;
mod endpoint_class;
mod reachability;
mod rows;
mod peer_table;
mod header_space;
pub(crate) mod traffic_pattern;

pub use address_atoms::AddressRange;
pub use endpoint_class::{EndpointClass, EndpointClassId, EndpointClasses, EndpointLocation};
pub use header_space::{
    DYNAMIC_PORTS, HeaderClass, HeaderSetId, HeaderSpace, PartitionBuilder, PortBlock,
};
pub use reachability::{
    DecidedTraffic, DecisionCause, HostList, HostListId, HostListStage, PolicyProfileId,
    ReachabilityMatrix, RuleId,
};
pub use rows::ReachabilityRows;
pub use traffic_pattern::TrafficPattern;

pub(crate) use cascade::{CascadeRule, RuleCascade};
pub(crate) use pair_set::{LocationSet, PairBlock, merged};
pub(crate) use peer_table::{PeerTable, SideContext, SideId};

use crate::net::Cidr;
use crate::resolve::ResolvedPolicy;

/// The locations of a cluster, and what may go between them.
#[derive(Debug)]
pub struct ClusterSpace<'input> {
    /// The possible senders and receivers, in classes.
    pub places: EndpointClasses<'input>,
    /// What may go from one class to another.
    pub relation: ReachabilityMatrix<'input>,
}

impl<'input> ClusterSpace<'input> {
    /// Evaluates the policy for all pairs of classes. `traffic` must come from a
    /// [`PartitionBuilder`] that contains this policy's conditions.
    pub fn new(resolved: &ResolvedPolicy<'input>, traffic: &mut HeaderSpace) -> Self {
        let places = EndpointClasses::new(resolved);
        let relation = ReachabilityMatrix::new(resolved, &places, traffic);
        Self { places, relation }
    }

    /// As [`Self::new`], but evaluates the lists of host endpoints too. No endpoint class contains
    /// addresses that the additional prefix lists distinguish.
    pub fn with_hosts(
        resolved: &ResolvedPolicy<'input>,
        prefixes: Vec<Vec<Cidr>>,
        traffic: &mut HeaderSpace,
    ) -> Self {
        let places = EndpointClasses::told_apart(resolved, prefixes);
        let relation = ReachabilityMatrix::with_hosts(resolved, &places, traffic);
        Self { places, relation }
    }
}

impl PartitionBuilder {
    /// Adds the conditions of all rules of a policy.
    pub fn of_policy(&mut self, resolved: &ResolvedPolicy<'_>) {
        let named = endpoint_class::port_numbers(resolved);
        endpoint_class::rules(resolved)
            .for_each(|rule| endpoint_class::add_rule_cuts(rule, resolved.inventory, &named, self));
    }
}

#[cfg(test)]
mod tests;
