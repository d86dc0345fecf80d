//! The meaning of checked policy: a flow's way through tiers, policies and rules (semantics §4),
//! without a chain.
//!
//! In: [`ResolvedPolicy`] and a [`Flow`]. Out: a [`PolicyDecision`] that names every tier, policy
//! and rule passed. Absent: nodes, hooks and connection tracking; what a node does before policy,
//! and which host endpoint a packet meets, is [`node`](super::node)'s.
//!
//! Cost: once all endpoints, then for a flow all policies, and the rules of those that apply.

use std::net::IpAddr;

use crate::inventory::{EndpointId, ProfileList, ProfileName, profile_name};
use crate::net::{Direction, Side};
use crate::packet::{Conversation, Flow};
use crate::policy::{Action, DefaultAction, Policy, PolicyListKind, Rule, Tier};
use crate::resolve::{HostEndpointId, ResolvedPolicy};
use crate::semantics::rule_match::RuleMatcher;

/// Decides about the flows of one cluster.
#[derive(Debug)]
pub struct Evaluator<'resolved, 'input> {
    pub(crate) matcher: RuleMatcher<'resolved, 'input>,
}

/// What policy says of a flow, at both ends of it.
#[derive(Debug, Clone)]
pub struct PolicyDecision<'input> {
    /// Egress policy of the sender; none where the sender is no known endpoint.
    pub egress: Option<ListTrace<'input>>,
    /// Ingress policy of the receiver; none where the receiver is no known endpoint.
    pub ingress: Option<ListTrace<'input>>,
}

/// A flow's way through one list of the policies of one endpoint in one direction.
#[derive(Debug, Clone)]
pub struct ListTrace<'input> {
    /// Whose policies these are.
    pub whose: PolicySubject,
    /// The direction.
    pub direction: Direction,
    /// The list; of an endpoint always the normal one.
    pub list: PolicyListKind,
    /// The tiers that have a policy on the list in this direction, in order, up to the one that
    /// decides.
    pub tiers: Vec<EvaluatedTier<'input>>,
    /// What is said where no tier decides. On the normal list the profiles say it; for a pod, whose
    /// first profile allows everything, they always allow.
    pub rest: ListOutcome,
}

/// Who has policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicySubject {
    /// A pod, or another workload.
    Endpoint(EndpointId),
    /// An interface of a node.
    HostEndpoint(HostEndpointId),
}

/// What a list says of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListOutcome {
    /// It may pass.
    Allowed,
    /// It may not.
    Denied,
    /// Neither, which the normal list never says: the flow goes on to what comes next.
    Undecided,
}

/// A tier on the way.
#[derive(Debug, Clone)]
pub struct EvaluatedTier<'input> {
    /// The tier.
    pub tier: &'input Tier,
    /// Its policies that apply, in order, up to the one that ends the tier.
    pub policies: Vec<EvaluatedPolicy<'input>>,
    /// How the tier ends.
    pub end: TierEnd,
}

/// A policy on the way.
#[derive(Debug, Clone)]
pub struct EvaluatedPolicy<'input> {
    /// The policy.
    pub policy: &'input Policy,
    /// Its rules that match, in order, up to the one that ends the tier: those before it only log.
    pub rules: Vec<&'input Rule>,
}

/// How a tier ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TierEnd {
    /// A rule allows.
    Allowed,
    /// A rule denies.
    Denied,
    /// A rule passes on to the next tier.
    Passed,
    /// No rule ends the tier, and the tier denies.
    DeniedByDefault,
    /// No rule ends the tier, and the tier passes on.
    PassedByDefault,
}

impl PolicyDecision<'_> {
    /// Whether both ends allow it.
    pub fn is_allowed(&self) -> bool {
        [&self.egress, &self.ingress]
            .into_iter()
            .flatten()
            .all(ListTrace::is_allowed)
    }
}

impl ListTrace<'_> {
    /// What the tiers decide, and else the rest.
    pub fn outcome(&self) -> ListOutcome {
        match self.tiers.last().map(|last| last.end) {
            Some(TierEnd::Allowed) => ListOutcome::Allowed,
            Some(TierEnd::Denied | TierEnd::DeniedByDefault) => ListOutcome::Denied,
            None | Some(TierEnd::Passed | TierEnd::PassedByDefault) => self.rest,
        }
    }

    /// Whether the flow may pass.
    pub fn is_allowed(&self) -> bool {
        match self.outcome() {
            ListOutcome::Allowed | ListOutcome::Undecided => true,
            ListOutcome::Denied => false,
        }
    }
}

impl TierEnd {
    /// Whether the next tier is asked.
    pub fn goes_on(self) -> bool {
        match self {
            TierEnd::Passed | TierEnd::PassedByDefault => true,
            TierEnd::Allowed | TierEnd::Denied | TierEnd::DeniedByDefault => false,
        }
    }

    fn by_rule(action: Action) -> Option<Self> {
        match action {
            Action::Allow => Some(TierEnd::Allowed),
            Action::Deny => Some(TierEnd::Denied),
            Action::Pass => Some(TierEnd::Passed),
            Action::Log => None,
        }
    }

    /// Before connections and before DNAT, every tier passes on (semantics §4.2).
    fn by_default(tier: &Tier, list: PolicyListKind) -> Self {
        match (list, tier.default_action) {
            (PolicyListKind::Normal | PolicyListKind::Forward, DefaultAction::Deny) => {
                TierEnd::DeniedByDefault
            }
            (PolicyListKind::Normal | PolicyListKind::Forward, DefaultAction::Pass)
            | (PolicyListKind::Untracked | PolicyListKind::PreDnat, _) => TierEnd::PassedByDefault,
        }
    }
}

impl<'resolved, 'input> Evaluator<'resolved, 'input> {
    /// Learns whose every address is.
    pub fn new(resolved: &'resolved ResolvedPolicy<'input>) -> Self {
        Self {
            matcher: RuleMatcher::new(resolved),
        }
    }

    /// What policy says of a flow.
    pub fn decide(&self, flow: &Flow) -> PolicyDecision<'input> {
        self.judge(&self.matcher.conversation(flow))
    }

    /// What policy says of a flow of which an end may have no address.
    pub fn judge(&self, flow: &Conversation) -> PolicyDecision<'input> {
        PolicyDecision {
            egress: self.passage(Direction::Egress, flow),
            ingress: self.passage(Direction::Ingress, flow),
        }
    }

    fn passage(&self, direction: Direction, flow: &Conversation) -> Option<ListTrace<'input>> {
        let own_side = match direction {
            Direction::Ingress => Side::Destination,
            Direction::Egress => Side::Source,
        };
        flow.party(own_side)
            .owner
            .map(|endpoint| self.endpoint(endpoint, direction, flow))
    }

    /// The policy that this decides by.
    pub fn resolved(&self) -> &'resolved ResolvedPolicy<'input> {
        self.matcher.resolved
    }

    /// The endpoint that has an address.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<EndpointId> {
        self.matcher.party(address).owner
    }

    /// A flow's way through the policies of an endpoint.
    pub(crate) fn of_endpoint(
        &self,
        endpoint: EndpointId,
        direction: Direction,
        flow: &Flow,
    ) -> ListTrace<'input> {
        self.endpoint(endpoint, direction, &self.matcher.conversation(flow))
    }

    fn endpoint(
        &self,
        endpoint: EndpointId,
        direction: Direction,
        flow: &Conversation,
    ) -> ListTrace<'input> {
        let applied = self.resolved().applied_to(endpoint);
        let applies = |policy: &&'input Policy| {
            policy.is_on(PolicyListKind::Normal)
                && applied.binary_search(&policy.applies_to).is_ok()
        };
        let tiers = self.resolved().policies.tiers.iter();
        let tiers = tiers.map(|tier| {
            (
                tier,
                tier.policies
                    .iter()
                    .filter(applies)
                    .collect::<Vec<&Policy>>(),
            )
        });

        let rest = self.profiles(
            &self.resolved().inventory.endpoint(endpoint).profiles,
            direction,
            flow,
        );
        let tiers = self.tiers(tiers, PolicyListKind::Normal, direction, flow);

        ListTrace {
            whose: PolicySubject::Endpoint(endpoint),
            direction,
            list: PolicyListKind::Normal,
            tiers,
            rest,
        }
    }

    /// A flow's way through a list of a host endpoint.
    pub fn of_host(
        &self,
        id: HostEndpointId,
        list: PolicyListKind,
        direction: Direction,
        flow: &Flow,
    ) -> ListTrace<'input> {
        let flow = &self.matcher.conversation(flow);
        let listed = self
            .resolved()
            .listed(id, list, direction)
            .into_iter()
            .map(|listed| (listed.tier, listed.policies));
        let rest = match (list, self.resolved().host_endpoint(id)) {
            (PolicyListKind::Normal, Some(host)) => self.profiles(&host.profiles, direction, flow),
            (PolicyListKind::Normal, None) => ListOutcome::Denied,
            (PolicyListKind::Forward | PolicyListKind::Untracked | PolicyListKind::PreDnat, _) => {
                ListOutcome::Undecided
            }
        };

        ListTrace {
            whose: PolicySubject::HostEndpoint(id),
            direction,
            list,
            tiers: self.tiers(listed, list, direction, flow),
            rest,
        }
    }

    /// The tiers that have something to say, up to the one that decides.
    fn tiers(
        &self,
        tiers: impl Iterator<Item = (&'input Tier, Vec<&'input Policy>)>,
        list: PolicyListKind,
        direction: Direction,
        flow: &Conversation,
    ) -> Vec<EvaluatedTier<'input>> {
        let mut passed: Vec<EvaluatedTier<'input>> = Vec::new();
        for (tier, policies) in tiers {
            passed.extend(self.tier(tier, &policies, list, direction, flow));
            if passed.last().is_some_and(|last| !last.end.goes_on()) {
                break;
            }
        }
        passed
    }

    /// What profiles say, asked in order: the first verdict counts, Pass is none, and what no
    /// profile decides is denied (semantics §4.3.6). A profile that is not in the input denies.
    fn profiles(
        &self,
        profiles: &ProfileList,
        direction: Direction,
        flow: &Conversation,
    ) -> ListOutcome {
        if *profiles == ProfileList::OfPod {
            return ListOutcome::Allowed;
        }

        for name in profiles.names() {
            let verdict = match profile_name(name) {
                ProfileName::Namespace(_) | ProfileName::AllowAll => Some(TierEnd::Allowed),
                ProfileName::ServiceAccount(..) => None,
                ProfileName::Named(name) => match self.resolved().policies.profiles.get(name) {
                    Some(profile) => self.rules(profile.rules(direction), flow).1,
                    None => Some(TierEnd::Denied),
                },
            };
            match verdict {
                Some(TierEnd::Allowed) => return ListOutcome::Allowed,
                Some(TierEnd::Denied | TierEnd::DeniedByDefault) => return ListOutcome::Denied,
                None | Some(TierEnd::Passed | TierEnd::PassedByDefault) => {}
            }
        }

        ListOutcome::Denied
    }

    /// A tier's part of the way; none where it has nothing to say.
    fn tier(
        &self,
        tier: &'input Tier,
        policies: &[&'input Policy],
        list: PolicyListKind,
        direction: Direction,
        flow: &Conversation,
    ) -> Option<EvaluatedTier<'input>> {
        let mut passed = EvaluatedTier {
            tier,
            policies: Vec::new(),
            end: TierEnd::by_default(tier, list),
        };

        for policy in policies {
            let Some(rules) = policy.rules(direction) else {
                continue;
            };
            let (rules, end) = self.rules(rules, flow);
            passed.policies.push(EvaluatedPolicy { policy, rules });
            if let Some(end) = end {
                return Some(EvaluatedTier { end, ..passed });
            }
        }

        (!passed.policies.is_empty()).then_some(passed)
    }

    /// The rules that match up to the first that ends the tier, and what that one says.
    pub(crate) fn rules(
        &self,
        rules: &'input [Rule],
        flow: &Conversation,
    ) -> (Vec<&'input Rule>, Option<TierEnd>) {
        let mut matching = Vec::new();
        for rule in rules.iter().filter(|rule| self.matcher.matches(rule, flow)) {
            matching.push(rule);
            if let Some(end) = TierEnd::by_rule(rule.action) {
                return (matching, Some(end));
            }
        }
        (matching, None)
    }
}
