//! The whole packet space of a cluster, decided.
//!
//! In: [`ResolvedPolicy`] policy. Out: for every two places, all the traffic that may go from one
//! to the other: exact, not sampled. What packets carry is cut into classes that no rule tells
//! apart ([`HeaderSpace`]), and so is who can send and receive them ([`EndpointClasses`]);
//! [`ReachabilityMatrix`] decides each pair of classes once. Absent: chains, nodes, hooks, host
//! endpoints' own policy.
//!
//! Two clusters can be asked about the same traffic, when [`PartitionBuilder`] of both go into one
//! [`HeaderSpace`].

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

/// A cluster's places, and what may go between them.
#[derive(Debug)]
pub struct ClusterSpace<'input> {
    /// Who can be at an end.
    pub places: EndpointClasses<'input>,
    /// What may go from one to the other.
    pub relation: ReachabilityMatrix<'input>,
}

impl<'input> ClusterSpace<'input> {
    /// Decides about everything. The traffic must be made from cuts that have this policy's.
    pub fn new(resolved: &ResolvedPolicy<'input>, traffic: &mut HeaderSpace) -> Self {
        let places = EndpointClasses::new(resolved);
        let relation = ReachabilityMatrix::new(resolved, &places, traffic);
        Self { places, relation }
    }

    /// The same with the lists of host endpoints, in classes of places that some lists of prefixes
    /// do not tell apart either.
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
    /// Adds what the rules of some policy tell apart.
    pub fn of_policy(&mut self, resolved: &ResolvedPolicy<'_>) {
        let named = endpoint_class::port_numbers(resolved);
        endpoint_class::rules(resolved)
            .for_each(|rule| endpoint_class::add_rule_cuts(rule, resolved.inventory, &named, self));
    }
}

#[cfg(test)]
mod tests;
