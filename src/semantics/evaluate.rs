//! Evaluates checked policy for one flow: tiers, policies and rules (semantics §4), without chains.
//!
//! In: [`ResolvedPolicy`] and a [`Flow`]. Out: a [`PolicyDecision`] with every tier, policy and
//! rule that was evaluated. Absent: nodes, hooks and connection tracking. [`node`](super::node)
//! handles the stages of a node and selects the host endpoint that a packet meets.
//!
//! Cost: all endpoints once; then, for each flow, all policies and the rules of those that apply.

use std::net::IpAddr;

use crate::inventory::{EndpointId, ProfileList, ProfileName, profile_name};
use crate::net::{Direction, Side};
use crate::packet::{Conversation, Flow};
use crate::policy::{Action, DefaultAction, Policy, PolicyListKind, Rule, Tier};
use crate::resolve::{HostEndpointId, ResolvedPolicy};
use crate::semantics::rule_match::RuleMatcher;

/// Evaluates the policy of one cluster.
#[derive(Debug)]
pub struct Evaluator<'resolved, 'input> {
    pub(crate) matcher: RuleMatcher<'resolved, 'input>,
}

/// The result of policy for a flow, at both ends.
#[derive(Debug, Clone)]
pub struct PolicyDecision<'input> {
    /// Egress policy of the sender; `None` if the sender is not a known endpoint.
    pub egress: Option<ListTrace<'input>>,
    /// Ingress policy of the receiver; `None` if the receiver is not a known endpoint.
    pub ingress: Option<ListTrace<'input>>,
}

/// The evaluation of one policy list for a flow: one subject, one direction.
#[derive(Debug, Clone)]
pub struct ListTrace<'input> {
    /// The endpoint or host endpoint that the policies apply to.
    pub whose: PolicySubject,
    /// The direction.
    pub direction: Direction,
    /// The list; always the normal list for an endpoint.
    pub list: PolicyListKind,
    /// The tiers with a policy on the list in this direction, in order, up to the tier that
    /// decides.
    pub tiers: Vec<EvaluatedTier<'input>>,
    /// The outcome if no tier decides. On the normal list the profiles decide. A pod's first
    /// profile allows everything, so for a pod the outcome is always `Allowed`.
    pub rest: ListOutcome,
}

/// The endpoint or host endpoint that policies apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicySubject {
    /// A pod or another workload.
    Endpoint(EndpointId),
    /// A host endpoint: an interface of a node.
    HostEndpoint(HostEndpointId),
}

/// The outcome of a policy list for a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListOutcome {
    /// The list allows the flow.
    Allowed,
    /// The list denies the flow.
    Denied,
    /// Neither: the next stage decides. The normal list never has this outcome.
    Undecided,
}

/// An evaluated tier.
#[derive(Debug, Clone)]
pub struct EvaluatedTier<'input> {
    /// The tier.
    pub tier: &'input Tier,
    /// The policies that apply, in order, up to the policy that ends the tier.
    pub policies: Vec<EvaluatedPolicy<'input>>,
    /// How the tier ends.
    pub end: TierEnd,
}

/// An evaluated policy.
#[derive(Debug, Clone)]
pub struct EvaluatedPolicy<'input> {
    /// The policy.
    pub policy: &'input Policy,
    /// The matching rules, in order, up to the rule that ends the tier. The rules before that one
    /// only log.
    pub rules: Vec<&'input Rule>,
}

/// How a tier ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TierEnd {
    /// A rule allows.
    Allowed,
    /// A rule denies.
    Denied,
    /// A rule passes to the next tier.
    Passed,
    /// No rule ends the tier, and the tier's default action is Deny.
    DeniedByDefault,
    /// No rule ends the tier, and the tier's default action is Pass.
    PassedByDefault,
}

impl PolicyDecision<'_> {
    /// Returns `true` if both ends allow the flow. An end without policy allows it.
    pub fn is_allowed(&self) -> bool {
        [&self.egress, &self.ingress]
            .into_iter()
            .flatten()
            .all(ListTrace::is_allowed)
    }
}

impl ListTrace<'_> {
    /// Returns the outcome of the tiers, or [`Self::rest`] if no tier decides.
    pub fn outcome(&self) -> ListOutcome {
        match self.tiers.last().map(|last| last.end) {
            Some(TierEnd::Allowed) => ListOutcome::Allowed,
            Some(TierEnd::Denied | TierEnd::DeniedByDefault) => ListOutcome::Denied,
            None | Some(TierEnd::Passed | TierEnd::PassedByDefault) => self.rest,
        }
    }

    /// Returns `true` unless the list denies the flow.
    pub fn is_allowed(&self) -> bool {
        match self.outcome() {
            ListOutcome::Allowed | ListOutcome::Undecided => true,
            ListOutcome::Denied => false,
        }
    }
}

impl TierEnd {
    /// Returns `true` if evaluation continues with the next tier.
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

    /// Returns how a tier ends if no rule ends it. On the untracked and pre-DNAT lists, every tier
    /// passes (semantics §4.2).
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
    /// Builds an evaluator. Indexes the addresses of all endpoints and host endpoints.
    pub fn new(resolved: &'resolved ResolvedPolicy<'input>) -> Self {
        Self {
            matcher: RuleMatcher::new(resolved),
        }
    }

    /// Evaluates policy for a flow.
    pub fn decide(&self, flow: &Flow) -> PolicyDecision<'input> {
        self.judge(&self.matcher.conversation(flow))
    }

    /// Evaluates policy for a flow whose ends may have no address.
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

    /// Returns the policy that this evaluator evaluates.
    pub fn resolved(&self) -> &'resolved ResolvedPolicy<'input> {
        self.matcher.resolved
    }

    /// Returns the endpoint that has an address.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<EndpointId> {
        self.matcher.party(address).owner
    }

    /// Evaluates the policies of an endpoint in one direction, whatever node it runs on.
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

        // only used if no tier decides
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

    /// Evaluates one list of a host endpoint in one direction. An unknown host endpoint denies on
    /// the normal list.
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

    /// Evaluates tiers up to the tier that decides. Leaves out tiers that have no rules for this
    /// direction.
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

    /// Evaluates profiles in order. The first Allow or Deny decides. Pass continues with the next
    /// profile, and the end of the profiles denies (semantics §4.3.6). A profile that is not in the
    /// input denies.
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
                // Calico generates this profile for labels only; it has no rules
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

    /// Evaluates one tier. Returns `None` if no policy of the tier has rules for this direction.
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
            // a policy without rules for this direction does not isolate in it
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

    /// Returns the matching rules up to the first that ends the tier, and how that rule ends it.
    /// Returns `None` for the end if all matching rules only log.
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
