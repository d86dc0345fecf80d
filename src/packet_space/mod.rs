//! The whole packet space of a cluster, decided.
//!
//! In: [`Resolved`] policy. Out: for every two places, all the traffic that may go from one to the
//! other: exact, not sampled. What packets carry is cut into classes that no rule tells apart
//! ([`Traffic`]), and so is who can send and receive them ([`Places`]); [`Relation`] decides each
//! pair of classes once. Absent: chains, nodes, hooks, host endpoints' own policy.
//!
//! Two clusters can be asked about the same traffic, when [`Cuts`] of both go into one [`Traffic`].

mod address_atoms;
mod pair_set;
mod cascade;
mod endpoint_class;
mod reachability;
mod rows;
mod peer_table;
mod header_space;
pub(crate) mod traffic_pattern;

pub use address_atoms::Range;
pub use endpoint_class::{ClassId, Place, PlaceClass, Places};
pub use header_space::{Class, Cuts, Traffic, TrafficId, is_usual};
pub use reachability::{Cause, Decided, HostList, ListId, ListWay, Relation, RuleOf, ViewId};
pub use rows::Rows;
pub use traffic_pattern::What;

pub(crate) use cascade::{Cascade, Taken};
pub(crate) use pair_set::{Block, Members, merged};
pub(crate) use peer_table::{SideId, Sides, Workshop};

use crate::net::Cidr;
use crate::resolve::Resolved;

/// A cluster's places, and what may go between them.
#[derive(Debug)]
pub struct Space<'input> {
    /// Who can be at an end.
    pub places: Places<'input>,
    /// What may go from one to the other.
    pub relation: Relation<'input>,
}

impl<'input> Space<'input> {
    /// Decides about everything. The traffic must be made from cuts that have this policy's.
    pub fn of(resolved: &Resolved<'input>, traffic: &mut Traffic) -> Self {
        let places = Places::of(resolved);
        let relation = Relation::of(resolved, &places, traffic);
        Self { places, relation }
    }

    /// The same with the lists of host endpoints, in classes of places that some lists of prefixes
    /// do not tell apart either.
    pub fn with_hosts(
        resolved: &Resolved<'input>,
        prefixes: Vec<Vec<Cidr>>,
        traffic: &mut Traffic,
    ) -> Self {
        let places = Places::told_apart(resolved, prefixes);
        let relation = Relation::with_hosts(resolved, &places, traffic);
        Self { places, relation }
    }
}

impl Cuts {
    /// Adds what the rules of some policy tell apart.
    pub fn of_policy(&mut self, resolved: &Resolved<'_>) {
        let named = endpoint_class::port_numbers(resolved);
        endpoint_class::rules(resolved)
            .for_each(|rule| endpoint_class::cut(rule, resolved.inventory, &named, self));
    }
}

#[cfg(test)]
mod tests;
