//! Determines the host endpoint of a packet, and the policies of that host endpoint.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::{NodeId, ProfileName, profile_name};
use crate::net::{Direction, Family};
use crate::policy::{Action, HostEndpoint, HostPlace, Policy, PolicyListKind, Rule, Tier};
use crate::resolve::{HostEndpointId, ResolvedPolicy};

/// The host endpoints of a node, without shadowed ones. A packet belongs to the host endpoint of
/// its interface, else to the host endpoint with its address, else to the one for all interfaces.
#[derive(Debug, Default)]
pub struct HostsOnNode {
    /// Host endpoints of one interface, by interface name.
    pub interfaces: BTreeMap<String, HostEndpointId>,
    /// Host endpoints identified by address, by their own names.
    pub addresses: Vec<HostEndpointId>,
    /// The host endpoint of all other interfaces.
    pub everywhere: Option<HostEndpointId>,
}

/// A tier with those of its policies that are on a list of an endpoint, in order. Has at least one
/// policy.
#[derive(Debug, Clone)]
pub struct ListedTier<'input> {
    /// The tier.
    pub tier: &'input Tier,
    /// The policies.
    pub policies: Vec<&'input Policy>,
}

/// A tier with those of its pre-DNAT policies and rules that determine what is allowed. Rules after
/// the last Allow are omitted.
#[derive(Debug, Clone)]
pub struct RecheckedTier<'input> {
    /// The tier.
    pub tier: &'input Tier,
    /// The policies with their rules. Has at least one policy.
    pub policies: Vec<(&'input Policy, &'input [Rule])>,
}

impl HostsOnNode {
    /// All host endpoints, in the order in which they are tried.
    pub fn all(&self) -> impl Iterator<Item = HostEndpointId> {
        self.interfaces
            .values()
            .chain(&self.addresses)
            .chain(&self.everywhere)
            .copied()
    }
}

impl<'input> ResolvedPolicy<'input> {
    /// The host endpoints of a node. If several have the same place, the first by name wins
    /// (semantics §7.5).
    pub fn hosts_on(&self, node: NodeId) -> HostsOnNode {
        let mut hosts = HostsOnNode::default();
        let name = &*self.inventory.node(node).name;
        for (id, host) in self
            .host_endpoints_with_ids()
            .filter(|(_, host)| host.node == name)
        {
            match &host.place {
                HostPlace::Interface(interface) => {
                    // Host endpoints are ordered by name, so the first one wins.
                    hosts.interfaces.entry(interface.clone()).or_insert(id);
                }
                HostPlace::Addresses => hosts.addresses.push(id),
                HostPlace::Everywhere => {
                    hosts.everywhere.get_or_insert(id);
                }
            }
        }

        hosts
    }

    /// A policy list of a host endpoint in one direction: the policies on it that apply to that
    /// direction, by tier, in order of evaluation.
    pub fn listed(
        &self,
        host: HostEndpointId,
        list: PolicyListKind,
        direction: Direction,
    ) -> Vec<ListedTier<'input>> {
        let applies = |policy: &Policy| {
            self.members(policy.applies_to)
                .host_endpoints
                .binary_search(&host)
                .is_ok()
        };

        let listed = self.policies.tiers.iter().map(|tier| {
            let policies = tier
                .policies
                .iter()
                .filter(|policy| policy.is_on(list) && policy.rules(direction).is_some());
            ListedTier {
                tier,
                policies: policies.filter(|policy| applies(policy)).collect(),
            }
        });
        listed
            .filter(|listed| !listed.policies.is_empty())
            .collect()
    }

    /// The pre-DNAT policy of a host endpoint that is evaluated again after DNAT, because nothing
    /// else may deny what it allows. Empty if it allows nothing.
    pub fn asked_again(&self, host: HostEndpointId) -> Vec<RecheckedTier<'input>> {
        let mut tiers = Vec::new();
        for listed in self
            .listed(host, PolicyListKind::PreDnat, Direction::Ingress)
            .into_iter()
            .rev()
        {
            let mut policies = Vec::new();
            for policy in listed.policies.into_iter().rev() {
                let rules = policy.rules(Direction::Ingress).unwrap_or_default();
                // Going backwards, rules after the last Allow are dropped: evaluating them again
                // cannot allow anything.
                let counts = match tiers.is_empty() && policies.is_empty() {
                    true => rules
                        .iter()
                        .rposition(|rule| rule.action == Action::Allow)
                        .map_or(0, |last| last + 1),
                    false => rules.len(),
                };
                let rules = rules.get(..counts).unwrap_or_default();
                policies.extend((!rules.is_empty()).then_some((policy, rules)));
            }
            policies.reverse();
            tiers.extend((!policies.is_empty()).then_some(RecheckedTier {
                tier: listed.tier,
                policies,
            }));
        }
        // Back into the order of evaluation.
        tiers.reverse();

        tiers
    }

    /// The first policy on a list of a host endpoint, in either direction.
    fn first_on(&self, host: HostEndpointId, list: PolicyListKind) -> Option<&'input Policy> {
        let lists = Direction::BOTH
            .into_iter()
            .flat_map(|direction| self.listed(host, list, direction));
        lists.flat_map(|listed| listed.policies).next()
    }
}

/// Lists for packets without the host's own address, or without it yet.
const BEYOND_THE_HOST: [PolicyListKind; 3] = [
    PolicyListKind::Forward,
    PolicyListKind::Untracked,
    PolicyListKind::PreDnat,
];

/// Refuses lists that iptables cannot express, and warns about host endpoints that no packet
/// reaches.
pub(super) fn check(resolved: &ResolvedPolicy<'_>, diagnostics: &mut Diagnostics) {
    for (node, _) in resolved.inventory.nodes_with_ids() {
        let hosts = resolved.hosts_on(node);
        warn_of_shadowed(resolved, &hosts, node, diagnostics);
        hosts
            .addresses
            .iter()
            .for_each(|id| refuse_by_address(resolved, *id, diagnostics));
        if let Some(id) = hosts.everywhere {
            refuse_everywhere(resolved, &hosts, id, diagnostics);
        }
        hosts
            .all()
            .for_each(|id| refuse_pre_dnat(resolved, id, diagnostics));
    }
}

fn warn_of_shadowed(
    resolved: &ResolvedPolicy<'_>,
    hosts: &HostsOnNode,
    node: NodeId,
    diagnostics: &mut Diagnostics,
) {
    let name = &*resolved.inventory.node(node).name;
    for (id, host) in resolved
        .host_endpoints_with_ids()
        .filter(|(_, host)| host.node == name)
    {
        if hosts.all().all(|known| known != id) {
            let message = format!(
                "another host endpoint comes before `{}` on its interface, so no packet meets it",
                host.name
            );
            diagnostics.push(
                Diagnostic::at(Code::HostEndpointShadowed, host.span, message)
                    .help("of several, the first by name counts"),
            );
        }
    }
}

/// Refuses lists beyond the host for a host endpoint without interface. Forwarded packets have none
/// of its addresses, so nothing identifies it.
fn refuse_by_address(
    resolved: &ResolvedPolicy<'_>,
    id: HostEndpointId,
    diagnostics: &mut Diagnostics,
) {
    let Some(host) = resolved.host_endpoint(id) else {
        return;
    };

    for policy in BEYOND_THE_HOST
        .into_iter()
        .filter_map(|list| resolved.first_on(id, list))
    {
        let message = format!(
            "`{}` names no interface, and {} is for packets that its addresses do not tell",
            host.name, policy.key
        );
        diagnostics
            .push(refusal(host, policy, message).help("give the host endpoint an `interfaceName`"));
    }
}

fn refuse_everywhere(
    resolved: &ResolvedPolicy<'_>,
    hosts: &HostsOnNode,
    id: HostEndpointId,
    diagnostics: &mut Diagnostics,
) {
    let Some(host) = resolved.host_endpoint(id) else {
        return;
    };

    if let Some(policy) = resolved.first_on(id, PolicyListKind::Untracked) {
        let message = format!(
            "`{}` is of every interface, for which there is no untracked policy such as {}",
            host.name, policy.key
        );
        diagnostics.push(
            refusal(host, policy, message)
                .help("name the interfaces (Calico ignores such a policy)"),
        );
    }

    let beyond = [PolicyListKind::Forward, PolicyListKind::PreDnat]
        .into_iter()
        .filter_map(|list| resolved.first_on(id, list))
        .next();

    if let (Some(policy), Some(other)) = (
        beyond,
        hosts
            .addresses
            .first()
            .and_then(|other| resolved.host_endpoint(*other)),
    ) {
        let message = format!(
            "which packets {} is for cannot be told: `{}` on the same node names no interface",
            policy.key, other.name
        );
        diagnostics.push(
            refusal(other, policy, message).help("give that host endpoint an `interfaceName`"),
        );
    }
}

/// Refuses pre-DNAT rules that cannot be evaluated again after DNAT.
///
/// In Calico, a packet that pre-DNAT policy allows skips further ingress policy of the host
/// endpoint. Calico uses a packet mark for this. Palisade sets no mark and evaluates the policy
/// again after DNAT, on the original destination in conntrack.
fn refuse_pre_dnat(
    resolved: &ResolvedPolicy<'_>,
    id: HostEndpointId,
    diagnostics: &mut Diagnostics,
) {
    let Some(host) = resolved.host_endpoint(id) else {
        return;
    };
    if !may_deny_ingress(resolved, id, host) {
        return;
    }

    for (policy, rule) in resolved
        .asked_again(id)
        .iter()
        .flat_map(|asked| &asked.policies)
        .flat_map(with_rules)
    {
        let mut reasons = Family::BOTH
            .into_iter()
            .filter_map(|family| resolved.original_destinations(rule, family).err());
        // A Log rule allows nothing, so it is not evaluated again.
        if let Some(reason) = reasons.find(|_| rule.action != Action::Log) {
            let message = format!(
                "rule {} of {} cannot be asked again behind DNAT: it {reason}",
                rule.number, policy.key
            );
            let problem = Diagnostic::at(Code::UnenforceableList, rule.span, message)
                .label(host.span, "of this host endpoint");
            diagnostics.push(problem.help(
                "what it allows must pass the policies behind DNAT too: write fewer and wider \
                 prefixes and ports",
            ));
        }
    }
}

fn with_rules<'rule>(
    (policy, rules): &(&'rule Policy, &'rule [Rule]),
) -> impl Iterator<Item = (&'rule Policy, &'rule Rule)> {
    let policy = *policy;
    rules.iter().map(move |rule| (policy, rule))
}

/// Whether any policy after DNAT may deny packets that arrive at a host endpoint.
fn may_deny_ingress(
    resolved: &ResolvedPolicy<'_>,
    id: HostEndpointId,
    host: &HostEndpoint,
) -> bool {
    let has_policy = |list| !resolved.listed(id, list, Direction::Ingress).is_empty();
    let says_nothing = |name: &ProfileName<'_>| match name {
        ProfileName::ServiceAccount(..) => true,
        ProfileName::Named(name) => resolved
            .policies
            .profiles
            .get(*name)
            .is_some_and(|profile| profile.ingress.is_empty()),
        ProfileName::AllowAll | ProfileName::Namespace(_) => false,
    };

    let first = host
        .profiles
        .names()
        .map(profile_name)
        .find(|name| !says_nothing(name));

    let allows = matches!(
        first,
        Some(ProfileName::AllowAll | ProfileName::Namespace(_))
    );
    has_policy(PolicyListKind::Normal) || has_policy(PolicyListKind::Forward) || !allows
}

fn refusal(host: &HostEndpoint, policy: &Policy, message: String) -> Diagnostic {
    Diagnostic::at(Code::UnenforceableList, policy.span, message)
        .label(host.span, "of this host endpoint")
}
