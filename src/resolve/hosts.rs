//! Which host endpoint a packet of a node meets, and which policies that has.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::NodeId;
use crate::net::Direction;
use crate::policy::{Action, HostEndpoint, HostPlace, List, Policy, Tier};
use crate::resolve::{HostEndpointId, Resolved};

/// The host endpoints of a node, those that another one comes before left out. A packet is that one's whose interface it
/// passes, else that one's whose address it has, else the last one's.
#[derive(Debug, Default)]
pub struct HostsOnNode {
    /// Those of one interface, by its name.
    pub interfaces: BTreeMap<String, HostEndpointId>,
    /// Those of addresses, by their own names.
    pub addresses: Vec<HostEndpointId>,
    /// The one of all other interfaces.
    pub everywhere: Option<HostEndpointId>,
}

/// A tier with those of its policies that are on a list of an endpoint, in order; one at least.
#[derive(Debug, Clone)]
pub struct Listed<'input> {
    /// The tier.
    pub tier: &'input Tier,
    /// The policies.
    pub policies: Vec<&'input Policy>,
}

impl HostsOnNode {
    /// All of them, in the order in which they are asked.
    pub fn all(&self) -> impl Iterator<Item = HostEndpointId> {
        self.interfaces.values().chain(&self.addresses).chain(&self.everywhere).copied()
    }
}

impl<'input> Resolved<'input> {
    /// The host endpoints of a node. Of several for one place the first by name counts (reference §7.5).
    pub fn hosts_on(&self, node: NodeId) -> HostsOnNode {
        let mut hosts = HostsOnNode::default();
        let name = &*self.inventory.node(node).name;
        for (id, host) in self.host_endpoints_with_ids().filter(|(_, host)| host.node == name) {
            match &host.place {
                HostPlace::Interface(interface) => drop(hosts.interfaces.entry(interface.clone()).or_insert(id)),
                HostPlace::Addresses => hosts.addresses.push(id),
                HostPlace::Everywhere => drop(hosts.everywhere.get_or_insert(id)),
            }
        }
        hosts
    }

    /// A list of a host endpoint in one direction: its policies that speak about it, by tier, in the order of evaluation.
    pub fn listed(&self, host: HostEndpointId, list: List, direction: Direction) -> Vec<Listed<'input>> {
        let applies = |policy: &Policy| self.members(policy.applies_to).host_endpoints.binary_search(&host).is_ok();
        let listed = self.policies.tiers.iter().map(|tier| {
            let policies = tier.policies.iter().filter(|policy| policy.is_on(list) && policy.rules(direction).is_some());
            Listed { tier, policies: policies.filter(|policy| applies(policy)).collect() }
        });
        listed.filter(|listed| !listed.policies.is_empty()).collect()
    }

    /// The first policy on a list of a host endpoint, in any direction.
    fn first_on(&self, host: HostEndpointId, list: List) -> Option<&'input Policy> {
        let lists = Direction::BOTH.into_iter().flat_map(|direction| self.listed(host, list, direction));
        lists.flat_map(|listed| listed.policies).next()
    }
}

/// Lists for packets that do not bear the host's own addresses, or do not bear them yet.
const BEYOND_THE_HOST: [List; 3] = [List::Forward, List::Untracked, List::PreDnat];

/// Refuses lists that the kernel cannot be told as they are meant, and warns of host endpoints that no packet meets.
pub(super) fn check(resolved: &Resolved<'_>, found: &mut Diagnostics) {
    for (node, _) in resolved.inventory.nodes_with_ids() {
        let hosts = resolved.hosts_on(node);
        warn_of_shadowed(resolved, &hosts, node, found);
        hosts.addresses.iter().for_each(|id| refuse_by_address(resolved, *id, found));
        if let Some(id) = hosts.everywhere {
            refuse_everywhere(resolved, &hosts, id, found);
        }
        hosts.all().for_each(|id| refuse_pre_dnat(resolved, id, found));
    }
}

fn warn_of_shadowed(resolved: &Resolved<'_>, hosts: &HostsOnNode, node: NodeId, found: &mut Diagnostics) {
    let name = &*resolved.inventory.node(node).name;
    for (id, host) in resolved.host_endpoints_with_ids().filter(|(_, host)| host.node == name) {
        if hosts.all().all(|known| known != id) {
            let message = format!("another host endpoint comes before `{}` on its interface, so no packet meets it", host.name);
            found.push(Diagnostic::at(Code::HostEndpointShadowed, host.span, message).help("of several, the first by name counts"));
        }
    }
}

/// What is forwarded bears none of the host's addresses, so that nothing tells whose it is.
fn refuse_by_address(resolved: &Resolved<'_>, id: HostEndpointId, found: &mut Diagnostics) {
    let Some(host) = resolved.host_endpoint(id) else { return };
    for policy in BEYOND_THE_HOST.into_iter().filter_map(|list| resolved.first_on(id, list)) {
        let message = format!("`{}` names no interface, and {} is for packets that its addresses do not tell", host.name, policy.key);
        found.push(refusal(host, policy, message).help("give the host endpoint an `interfaceName`"));
    }
}

fn refuse_everywhere(resolved: &Resolved<'_>, hosts: &HostsOnNode, id: HostEndpointId, found: &mut Diagnostics) {
    let Some(host) = resolved.host_endpoint(id) else { return };
    if let Some(policy) = resolved.first_on(id, List::Untracked) {
        let message = format!("`{}` is of every interface, for which there is no untracked policy such as {}", host.name, policy.key);
        found.push(refusal(host, policy, message).help("name the interfaces (Calico ignores such a policy)"));
    }
    let beyond = [List::Forward, List::PreDnat].into_iter().filter_map(|list| resolved.first_on(id, list)).next();
    if let (Some(policy), Some(other)) = (beyond, hosts.addresses.first().and_then(|other| resolved.host_endpoint(*other))) {
        let message = format!("which packets {} is for cannot be told: `{}` on the same node names no interface", policy.key, other.name);
        found.push(refusal(other, policy, message).help("give that host endpoint an `interfaceName`"));
    }
}

/// In Calico, what pre-DNAT policy allows meets no further policy of the host endpoint, which takes a mark on the packet. We
/// set none, so that the rest must allow everything.
fn refuse_pre_dnat(resolved: &Resolved<'_>, id: HostEndpointId, found: &mut Diagnostics) {
    let Some(host) = resolved.host_endpoint(id) else { return };
    let allows =
        |policy: &&Policy| policy.rules(Direction::Ingress).is_some_and(|rules| rules.iter().any(|rule| rule.action == Action::Allow));
    let listed = resolved.listed(id, List::PreDnat, Direction::Ingress);
    let Some(policy) = listed.iter().flat_map(|listed| &listed.policies).copied().find(allows) else { return };
    let further = [List::Normal, List::Forward].into_iter().flat_map(|list| resolved.listed(id, list, Direction::Ingress));
    let further = further.flat_map(|listed| listed.policies).next();
    if let Some(other) = further {
        let message = format!("{} allows before DNAT what {} would have to decide again behind it", policy.key, other.key);
        found.push(refusal(host, policy, message).help("let the pre-DNAT policy deny only, or let it decide ingress alone"));
    } else if !host.allows_by_default {
        let message = format!("{} allows before DNAT what `{}` denies behind it, for want of a profile", policy.key, host.name);
        found.push(refusal(host, policy, message).help("add the profile `projectcalico-default-allow` to the host endpoint"));
    }
}

fn refusal(host: &HostEndpoint, policy: &Policy, message: String) -> Diagnostic {
    Diagnostic::at(Code::UnenforceableList, policy.span, message).label(host.span, "of this host endpoint")
}
