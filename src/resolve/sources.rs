//! The addresses that belong to pods, as far as the input determines them.
//!
//! In: the inventory. Out: prefixes for the sets of source validation. A pod range includes all of
//! its addresses, so its pods need not be listed.
//!
//! Cost: the set of the cluster is computed once for all nodes. The set of a node takes time
//! proportional to its own ranges and endpoints.

use std::net::IpAddr;

use crate::inventory::NodeId;
use crate::net::{Cidr, Family, merge_prefixes};
use crate::resolve::ResolvedPolicy;

impl ResolvedPolicy<'_> {
    /// The source addresses of pods in the whole cluster: the pod ranges of all nodes, merged, and
    /// the endpoints outside of them. In order, without duplicates, and never a whole family.
    pub fn pod_sources(&self, family: Family) -> &[Cidr] {
        let [v4, v6] = &self.pod_sources;
        let made = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };

        made.get_or_init(|| {
            let nodes = self.inventory.nodes.iter();
            let ranges = nodes.flat_map(|node| node.pod_ranges.iter().copied());
            let endpoints = self.inventory.endpoints.iter();
            sources(
                family,
                ranges,
                endpoints.flat_map(|endpoint| endpoint.addresses.iter().copied()),
            )
        })
    }

    /// The source addresses of pods on this node: its pod ranges, merged, and its endpoints outside
    /// of them, whose addresses may be in another node's range.
    pub fn pod_sources_of(&self, node: NodeId, family: Family) -> Vec<Cidr> {
        let ranges = self.inventory.node(node).pod_ranges.iter().copied();
        let endpoints = self
            .endpoints_on(node)
            .iter()
            .map(|id| self.inventory.endpoint(*id));
        sources(
            family,
            ranges,
            endpoints.flat_map(|endpoint| endpoint.addresses.iter().copied()),
        )
    }
}

/// Ranges of a family, and the addresses outside of them.
fn sources(
    family: Family,
    ranges: impl Iterator<Item = Cidr>,
    addresses: impl Iterator<Item = IpAddr>,
) -> Vec<Cidr> {
    let ranges = merge_prefixes(ranges.filter(|range| range.family() == family).collect());
    let hosts = addresses
        .map(Cidr::host)
        .filter(|host| host.family() == family);
    let outside = |host: &Cidr| {
        let before = ranges.partition_point(|range| range <= host);
        !before
            .checked_sub(1)
            .and_then(|at| ranges.get(at))
            .is_some_and(|range| range.contains(*host))
    };

    let mut sources: Vec<Cidr> = hosts.filter(outside).collect();
    sources.extend_from_slice(&ranges);
    sources.sort_unstable();
    sources.dedup();
    sources
}
