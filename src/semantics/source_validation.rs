//! Decides which packets source validation drops (semantics §9.27), from the source address, the
//! input interface and the route back.
//!
//! In: the inventory and the options of the compile. Absent: how scripts implement it.
//!
//! Cost: the pod ranges of all nodes, once for each evaluated node; then one look-up for each
//! prefix length among them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustc_hash::FxHashSet;

use crate::inventory::NodeId;
use crate::net::Cidr;
use crate::options::{CompileOptions, SourceValidation};
use crate::packet::ReversePath;
use crate::resolve::ResolvedPolicy;

/// The owner of a packet's source address, as source validation sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SourceClaim {
    /// No pod has the address.
    Nobody,
    /// A pod of another node.
    Pod,
    /// A pod of this node.
    OwnPod,
}

/// What a node does to packets that carry a pod's source address and arrive on another interface
/// than the one that the route back uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForgedSource {
    /// The node drops them.
    Dropped,
    /// The node drops them only if it has no route back.
    DroppedWithoutRoute,
    /// The node logs them.
    Logged,
    /// The node does nothing.
    Passed,
}

/// The addresses that pods may have, whether or not an endpoint has them today.
#[derive(Debug)]
pub(crate) struct SourceValidator {
    /// The pod ranges of all nodes.
    ranges: FxHashSet<Cidr>,
    /// The prefix lengths of `ranges`.
    lengths: BTreeSet<u8>,
    /// The pod ranges of this node.
    own: Vec<Cidr>,
}

impl SourceValidator {
    /// Builds the validator of one node.
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

    /// Returns the owner of an address. `owner` is `Some(true)` if an endpoint of this node has it,
    /// `Some(false)` if an endpoint elsewhere has it, and `None` if no endpoint has it.
    pub(crate) fn claim(&self, address: IpAddr, owner: Option<bool>) -> SourceClaim {
        let is_in_a_range = || {
            let mut around = self
                .lengths
                .iter()
                .filter_map(|length| Cidr::around(address, *length));
            around.any(|net| self.ranges.contains(&net))
        };

        // the node's own ranges first: an address there is claimed by this node, whoever has it
        // today
        if owner == Some(true) || self.own.iter().any(|range| range.holds(address)) {
            SourceClaim::OwnPod
        } else if owner.is_some() || is_in_a_range() {
            SourceClaim::Pod
        } else {
            SourceClaim::Nobody
        }
    }
}

/// Returns `true` if source validation drops a packet.
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
        // a pod interface carries only its pod's packets, so every other source is forged there
        (_, SourceClaim::Nobody, _) => is_of_a_pod,
        (SourceValidation::Loose, SourceClaim::Pod, ReversePath::Elsewhere) => is_of_a_pod,
        (
            SourceValidation::Strict | SourceValidation::Loose,
            SourceClaim::Pod | SourceClaim::OwnPod,
            _,
        ) => true,
    }
}
