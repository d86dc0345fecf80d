//! Which packets source validation is to drop (semantics §9.27): by the address that they come
//! from, the interface that they arrive on, and where the route back leads.
//!
//! In: the inventory and the options of the compile. Absent: how scripts ask for it.
//!
//! Cost: the pod ranges of all nodes, once for each node that is asked about; then a look-up for
//! each length of prefix that they have.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustc_hash::FxHashSet;

use crate::inventory::NodeId;
use crate::net::Cidr;
use crate::options::{CompileOptions, SourceValidation};
use crate::packet::ReversePath;
use crate::resolve::ResolvedPolicy;

/// Whose the source address of a packet is, as source validation sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SourceClaim {
    /// No pod's.
    Nobody,
    /// A pod's of another node.
    Pod,
    /// A pod's of this node.
    OwnPod,
}

/// What a node does to packets that claim a pod's address and come by another interface than the
/// route back to that address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForgedSource {
    /// It drops them.
    Dropped,
    /// It drops them only if it has no route back at all.
    DroppedWithoutRoute,
    /// It logs them.
    Logged,
    /// Nothing.
    Passed,
}

/// Who may have an address, whether or not an endpoint has it today.
#[derive(Debug)]
pub(crate) struct SourceValidator {
    /// The pod ranges of all nodes.
    ranges: FxHashSet<Cidr>,
    /// The lengths of these prefixes.
    lengths: BTreeSet<u8>,
    /// Those of this node.
    own: Vec<Cidr>,
}

impl SourceValidator {
    /// What a node validates.
    pub(crate) fn new(resolved: &ResolvedPolicy<'_>, node: NodeId) -> Self {
        let nodes = resolved.inventory.nodes.iter();
        let ranges: FxHashSet<Cidr> = nodes
            .flat_map(|node| node.pod_ranges.iter().copied())
            .collect();
        let lengths = ranges.iter().map(|range| range.prefix()).collect();
        Self {
            ranges,
            lengths,
            own: resolved.inventory.node(node).pod_ranges.clone(),
        }
    }

    /// Whose an address is. `owner` says whether the endpoint that has it is on this node; `None`
    /// if no endpoint has it.
    pub(crate) fn claim(&self, address: IpAddr, owner: Option<bool>) -> SourceClaim {
        let is_in_a_range = || {
            let mut around = self
                .lengths
                .iter()
                .filter_map(|length| Cidr::around(address, *length));
            around.any(|net| self.ranges.contains(&net))
        };

        if owner == Some(true) || self.own.iter().any(|range| range.holds(address)) {
            SourceClaim::OwnPod
        } else if owner.is_some() || is_in_a_range() {
            SourceClaim::Pod
        } else {
            SourceClaim::Nobody
        }
    }
}

/// Whether a packet is dropped for its source.
pub(crate) fn drops(
    options: &CompileOptions,
    claim: SourceClaim,
    arrives: &str,
    reverse_path: ReversePath,
) -> bool {
    let mode = options.source_validation;
    let is_of_a_pod = options
        .pod_interfaces
        .iter()
        .any(|pattern| pattern.matches(arrives));

    match (mode, claim, reverse_path) {
        (SourceValidation::Log | SourceValidation::Off, ..) | (_, _, ReversePath::Arriving) => {
            false
        }
        (_, SourceClaim::Nobody, _) => is_of_a_pod,
        (SourceValidation::Loose, SourceClaim::Pod, ReversePath::Elsewhere) => is_of_a_pod,
        (
            SourceValidation::Strict | SourceValidation::Loose,
            SourceClaim::Pod | SourceClaim::OwnPod,
            _,
        ) => true,
    }
}
