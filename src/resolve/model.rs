//! Resolved policy.

use std::{fmt, net::IpAddr, sync::OnceLock};

use crate::inventory::{EndpointId, Inventory, NodeId};
use crate::net::{Cidr, Family};
use crate::policy::{HostEndpoint, NetworkSet, PolicyListKind, PolicySet, SelectorId};
use crate::resolve::applied::PolicyClasses;
use crate::selector::Expr;

/// Policies, the cluster, and the members of every selector.
#[derive(Debug)]
pub struct ResolvedPolicy<'input> {
    /// The policies.
    pub policies: &'input PolicySet,
    /// The cluster.
    pub inventory: &'input Inventory,
    selections: Vec<SelectedEndpoints>,
    /// Addresses of each selector, for IPv4 and IPv6. Computed on demand.
    addresses: Vec<[OnceLock<Vec<Cidr>>; 2]>,
    /// For each selector, the policies that apply to what it selects.
    places: Vec<Vec<PolicyPosition>>,
    applied: PolicyClasses,
    on_node: Vec<Vec<EndpointId>>,
    /// Addresses of all endpoints, in order. Computed on demand.
    endpoint_addresses: OnceLock<Vec<IpAddr>>,
    /// Addresses of pods, for IPv4 and IPv6. Computed on demand.
    pub(super) pod_sources: [OnceLock<Vec<Cidr>>; 2],
}

/// Position of a policy in a [`PolicySet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyPosition {
    /// Index of the tier.
    pub tier: usize,
    /// Index of the policy in the tier.
    pub policy: usize,
}

/// The objects that a selector selects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SelectedEndpoints {
    /// Endpoints, in order.
    pub endpoints: Vec<EndpointId>,
    /// Network sets, in order.
    pub network_sets: Vec<NetworkSetId>,
    /// Host endpoints, in order.
    pub host_endpoints: Vec<HostEndpointId>,
    /// Nodes, in order. Only for a selector over nodes, which selects nothing else.
    pub nodes: Vec<NodeId>,
}

/// Index of a network set in [`PolicySet::network_sets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkSetId(u32);

/// Index of a host endpoint in [`PolicySet::host_endpoints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostEndpointId(u32);

/// Stand-in for an id from another policy set. Selects nothing.
static NOBODY: SelectedEndpoints = SelectedEndpoints {
    endpoints: Vec::new(),
    network_sets: Vec::new(),
    host_endpoints: Vec::new(),
    nodes: Vec::new(),
};

impl<'input> ResolvedPolicy<'input> {
    pub(super) fn new(
        policies: &'input PolicySet,
        inventory: &'input Inventory,
        selections: Vec<SelectedEndpoints>,
    ) -> Self {
        let addresses = selections.iter().map(|_| Default::default()).collect();
        let places = by_selector(policies);
        let all = policies.selectors.iter().zip(&selections).zip(&places);
        let members = all
            .filter(|(_, places)| !places.is_empty())
            .map(|(((id, ..), selection), _)| (id, selection.endpoints.as_slice()));
        let applied = PolicyClasses::new(members, inventory.endpoints.len());
        let on_node = by_node(inventory);
        let (endpoint_addresses, pod_sources) = Default::default();

        Self {
            policies,
            inventory,
            places,
            applied,
            on_node,
            selections,
            addresses,
            endpoint_addresses,
            pod_sources,
        }
    }

    /// The objects that a selector selects.
    pub fn members(&self, id: SelectorId) -> &SelectedEndpoints {
        self.selections.get(id.index()).unwrap_or(&NOBODY)
    }

    /// The selectors that select this endpoint and determine the endpoints of some policy, in
    /// order. Endpoints with the same policies share one list.
    pub fn applied_to(&self, endpoint: EndpointId) -> &[SelectorId] {
        self.applied.to(endpoint)
    }

    /// The policies that use exactly this selector to determine their endpoints, in order of
    /// evaluation.
    pub fn policies_of(&self, selector: SelectorId) -> &[PolicyPosition] {
        self.places.get(selector.index()).map_or(&[], Vec::as_slice)
    }

    /// The endpoints of a node, in order.
    pub fn endpoints_on(&self, node: NodeId) -> &[EndpointId] {
        self.on_node.get(node.index()).map_or(&[], Vec::as_slice)
    }

    /// The network set with an id, or `None` if the id comes from another policy set.
    pub fn network_set(&self, id: NetworkSetId) -> Option<&'input NetworkSet> {
        self.policies.network_sets.get(id.index())
    }

    /// The host endpoint with an id, or `None` if the id comes from another policy set.
    pub fn host_endpoint(&self, id: HostEndpointId) -> Option<&'input HostEndpoint> {
        self.policies.host_endpoints.get(id.index())
    }

    /// All host endpoints with their ids, by name.
    pub fn host_endpoints_with_ids(
        &self,
    ) -> impl Iterator<Item = (HostEndpointId, &'input HostEndpoint)> {
        (0u32..)
            .map(HostEndpointId)
            .zip(&self.policies.host_endpoints)
    }

    /// The addresses that a selector selects in a family, as members of a set: the addresses of
    /// endpoints and the prefixes of network sets, in numeric order, without duplicates. A prefix
    /// of length 0 becomes its two halves, because ipset has no `/0`. Computed once per selector
    /// and family.
    pub fn addresses(&self, id: SelectorId, family: Family) -> &[Cidr] {
        let made = self.addresses.get(id.index()).map(|[v4, v6]| match family {
            Family::V4 => v4,
            Family::V6 => v6,
        });

        made.map_or(&[], |made| {
            // All nodes use the same cluster-wide addresses, so these are computed once.
            made.get_or_init(|| {
                self.collect(
                    family,
                    self.members(id),
                    &self.members(id).endpoints,
                    &self.members(id).host_endpoints,
                )
            })
        })
    }

    /// Like [`ResolvedPolicy::addresses`], with the endpoints of one node only and without host
    /// endpoints. Network sets are included on every node.
    pub fn local_addresses(&self, id: SelectorId, family: Family, node: NodeId) -> Vec<Cidr> {
        let selection = self.members(id);
        self.collect(
            family,
            selection,
            &common(&selection.endpoints, self.endpoints_on(node)),
            &[],
        )
    }

    /// The addresses of endpoints on any node that are in a prefix, in order.
    pub fn endpoint_addresses_in(&self, range: Cidr) -> &[IpAddr] {
        // Sorted once, so that each prefix is found by binary search.
        let all = self.endpoint_addresses.get_or_init(|| {
            let mut all: Vec<IpAddr> = self
                .inventory
                .endpoints
                .iter()
                .flat_map(|endpoint| endpoint.addresses.iter().copied())
                .collect();
            all.sort_unstable();
            all
        });

        let from = all
            .get(all.partition_point(|address| *address < range.address())..)
            .unwrap_or_default();
        from.get(..from.partition_point(|address| range.holds(*address)))
            .unwrap_or_default()
    }

    /// Collects the addresses of these endpoints and host endpoints, and of the network sets and
    /// nodes of a selection.
    fn collect(
        &self,
        family: Family,
        selection: &SelectedEndpoints,
        endpoints: &[EndpointId],
        hosts: &[HostEndpointId],
    ) -> Vec<Cidr> {
        let sets = selection
            .network_sets
            .iter()
            .filter_map(|id| self.network_set(*id));
        let nets = sets
            .flat_map(|set| set.nets.iter().copied())
            .flat_map(without_everything);
        let own = endpoints.iter().flat_map(|id| {
            self.inventory
                .endpoint(*id)
                .addresses
                .iter()
                .copied()
                .map(Cidr::host)
        });

        let nodes = selection.nodes.iter().flat_map(|id| {
            self.inventory
                .node(*id)
                .addresses
                .iter()
                .copied()
                .map(Cidr::host)
        });
        let hosts = hosts.iter().filter_map(|id| self.host_endpoint(*id));
        let hosts = hosts.flat_map(|host| host.addresses.iter().copied().map(Cidr::host));

        let mut members: Vec<Cidr> = nets
            .chain(own)
            .chain(hosts)
            .chain(nodes)
            .filter(|member| member.family() == family)
            .collect();
        members.sort_unstable();
        members.dedup();
        members.shrink_to_fit();

        members
    }
}

/// A prefix, or its two halves if it is a whole family, because ipset cannot hold `/0`.
fn without_everything(net: Cidr) -> impl Iterator<Item = Cidr> {
    let halves = if net.is_everything() {
        net.halves()
    } else {
        None
    };
    let whole = if halves.is_none() { Some(net) } else { None };
    halves.into_iter().flatten().chain(whole)
}

/// Ids in both of two sorted lists. Looks up the shorter list in the longer one.
fn common(left: &[EndpointId], right: &[EndpointId]) -> Vec<EndpointId> {
    let (few, many) = if left.len() <= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    few.iter()
        .copied()
        .filter(|id| many.binary_search(id).is_ok())
        .collect()
}

fn by_selector(policies: &PolicySet) -> Vec<Vec<PolicyPosition>> {
    let mut places: Vec<Vec<PolicyPosition>> =
        policies.selectors.iter().map(|_| Vec::new()).collect();
    for (tier, row) in policies.tiers.iter().enumerate() {
        for (policy, row) in row.policies.iter().enumerate() {
            if let Some(places) = places.get_mut(row.applies_to.index()) {
                places.push(PolicyPosition { tier, policy });
            }
        }
    }
    places
}

fn by_node(inventory: &Inventory) -> Vec<Vec<EndpointId>> {
    let mut on_node: Vec<Vec<EndpointId>> = inventory.nodes.iter().map(|_| Vec::new()).collect();
    for (id, endpoint) in inventory.endpoints_with_ids() {
        if let Some(endpoints) = endpoint.node.and_then(|node| on_node.get_mut(node.index())) {
            endpoints.push(id);
        }
    }
    on_node
}

impl SelectedEndpoints {
    /// The nodes whose labels match. Cost: all nodes.
    pub(super) fn of_nodes(expr: &Expr, inventory: &Inventory) -> Self {
        let nodes = inventory
            .nodes_with_ids()
            .filter(|(_, node)| expr.matches(&node.labels));
        Self {
            nodes: nodes.map(|(id, _)| id).collect(),
            ..Self::default()
        }
    }

    /// The members with these numbers. The numbers count endpoints first, then network sets, then
    /// host endpoints.
    pub(super) fn from_ids(ids: &[u32], policies: &PolicySet, inventory: &Inventory) -> Self {
        let first_set = inventory.endpoints.len();
        let first_host = first_set + policies.network_sets.len();
        let (endpoints, others) =
            ids.split_at(ids.partition_point(|id| (*id as usize) < first_set));
        let (sets, hosts) =
            others.split_at(others.partition_point(|id| (*id as usize) < first_host));
        let [first_set, first_host] =
            [first_set, first_host].map(|first| u32::try_from(first).unwrap_or(u32::MAX));

        Self {
            endpoints: endpoints.iter().copied().map(EndpointId::at).collect(),
            network_sets: sets.iter().map(|id| NetworkSetId(id - first_set)).collect(),
            host_endpoints: hosts
                .iter()
                .map(|id| HostEndpointId(id - first_host))
                .collect(),
            nodes: Vec::new(),
        }
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.network_sets.is_empty() && self.host_endpoints.is_empty()
    }
}

impl NetworkSetId {
    /// Index in [`PolicySet::network_sets`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl HostEndpointId {
    /// Index in [`PolicySet::host_endpoints`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ResolvedPolicy<'_> {
    /// Every selector with its members, ordered by the selectors' text; then every endpoint with
    /// its policies, in order of evaluation.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut selectors: Vec<(String, SelectorId)> = self
            .policies
            .selectors
            .iter()
            .map(|(id, _, _)| (self.policies.selectors.describe(id), id))
            .collect();
        selectors.sort_unstable();

        for (text, id) in selectors {
            writeln!(out, "selector {text}")?;
            self.write_members(out, self.members(id))?;
        }

        self.inventory
            .endpoints_with_ids()
            .try_for_each(|(id, _)| self.write_policies(out, id))
    }
}

impl ResolvedPolicy<'_> {
    fn write_members(
        &self,
        out: &mut fmt::Formatter<'_>,
        selection: &SelectedEndpoints,
    ) -> fmt::Result {
        for id in &selection.endpoints {
            let endpoint = self.inventory.endpoint(*id);
            writeln!(
                out,
                "  {} {endpoint}: {}",
                endpoint.kind.label(),
                listed(endpoint.addresses.iter())
            )?;
        }

        for set in selection
            .network_sets
            .iter()
            .filter_map(|id| self.network_set(*id))
        {
            match &set.namespace {
                Some(namespace) => writeln!(
                    out,
                    "  network set {namespace}/{}: {}",
                    set.name,
                    listed(set.nets.iter())
                )?,
                None => writeln!(
                    out,
                    "  global network set {}: {}",
                    set.name,
                    listed(set.nets.iter())
                )?,
            }
        }

        for host in selection
            .host_endpoints
            .iter()
            .filter_map(|id| self.host_endpoint(*id))
        {
            writeln!(
                out,
                "  host endpoint {}: {}",
                host.name,
                listed(host.addresses.iter())
            )?;
        }

        Ok(())
    }

    fn write_policies(&self, out: &mut fmt::Formatter<'_>, id: EndpointId) -> fmt::Result {
        let endpoint = self.inventory.endpoint(id);
        let node = endpoint
            .node
            .map_or("no node", |node| &self.inventory.node(node).name);
        writeln!(out, "{} {endpoint} on {node}", endpoint.kind.label())?;

        let applied = self.applied_to(id);
        let policies = self.policies.policies().filter(|(_, policy)| {
            policy.is_on(PolicyListKind::Normal)
                && applied.binary_search(&policy.applies_to).is_ok()
        });
        for (tier, policy) in policies {
            writeln!(out, "  {}: {}", tier.name, policy.key)?;
        }

        Ok(())
    }
}

fn listed(items: impl Iterator<Item = impl fmt::Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() {
        "no address".to_owned()
    } else {
        items.join(", ")
    }
}
