//! The meaning of checked policy: a flow's way through tiers, policies and rules (reference §4), without a chain.
//!
//! In: [`Resolved`] and a [`Flow`]. Out: a [`Decision`] that names every tier, policy and rule passed. Absent: nodes, hooks and
//! connection tracking; what a node does before policy (decisions 14 to 17) is not asked here.
//!
//! Cost: once all endpoints, then for a flow all policies, and the rules of those that apply.

use crate::analysis::matching::Matcher;
use crate::analysis::{Conversation, Flow, Side};
use crate::inventory::{EndpointId, ProfileName, Profiles, profile_name};
use crate::net::Direction;
use crate::policy::{Action, DefaultAction, List, Policy, Rule, Tier};
use crate::resolve::Resolved;

/// Decides about the flows of one cluster.
#[derive(Debug)]
pub struct Evaluator<'resolved, 'input> {
    pub(super) matcher: Matcher<'resolved, 'input>,
}

/// What policy says of a flow, at both ends of it.
#[derive(Debug, Clone)]
pub struct Decision<'input> {
    /// Egress policy of the sender; none where the sender is no known endpoint.
    pub egress: Option<Passage<'input>>,
    /// Ingress policy of the receiver; none where the receiver is no known endpoint.
    pub ingress: Option<Passage<'input>>,
}

/// A flow's way through the policies of one endpoint in one direction.
#[derive(Debug, Clone)]
pub struct Passage<'input> {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The tiers that have a policy for it in this direction, in order, up to the one that decides.
    pub tiers: Vec<TierPassed<'input>>,
    /// What the endpoint's profiles say where no tier decides; for a pod, whose first profile allows everything, always yes.
    pub profiles_allow: bool,
}

/// A tier on the way.
#[derive(Debug, Clone)]
pub struct TierPassed<'input> {
    /// The tier.
    pub tier: &'input Tier,
    /// Its policies that apply, in order, up to the one that ends the tier.
    pub policies: Vec<PolicyPassed<'input>>,
    /// How the tier ends.
    pub end: TierEnd,
}

/// A policy on the way.
#[derive(Debug, Clone)]
pub struct PolicyPassed<'input> {
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

impl Decision<'_> {
    /// Whether both ends allow it.
    pub fn is_allowed(&self) -> bool {
        [&self.egress, &self.ingress].into_iter().flatten().all(Passage::is_allowed)
    }
}

impl Passage<'_> {
    /// Whether the flow may pass: what a tier decides, and else what the profiles say.
    pub fn is_allowed(&self) -> bool {
        match self.tiers.last().map(|last| last.end) {
            Some(TierEnd::Allowed) => true,
            Some(TierEnd::Denied | TierEnd::DeniedByDefault) => false,
            None | Some(TierEnd::Passed | TierEnd::PassedByDefault) => self.profiles_allow,
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

    fn by_default(tier: &Tier) -> Self {
        match tier.default_action {
            DefaultAction::Deny => TierEnd::DeniedByDefault,
            DefaultAction::Pass => TierEnd::PassedByDefault,
        }
    }
}

impl<'resolved, 'input> Evaluator<'resolved, 'input> {
    /// Learns whose every address is.
    pub fn of(resolved: &'resolved Resolved<'input>) -> Self {
        Self { matcher: Matcher::of(resolved) }
    }

    /// What policy says of a flow.
    pub fn decide(&self, flow: &Flow) -> Decision<'input> {
        self.judge(&self.matcher.conversation(flow))
    }

    /// What policy says of a flow of which an end may have no address.
    pub fn judge(&self, flow: &Conversation) -> Decision<'input> {
        Decision { egress: self.passage(Direction::Egress, flow), ingress: self.passage(Direction::Ingress, flow) }
    }

    fn passage(&self, direction: Direction, flow: &Conversation) -> Option<Passage<'input>> {
        let own_side = match direction {
            Direction::Ingress => Side::Destination,
            Direction::Egress => Side::Source,
        };
        let endpoint = flow.party(own_side).owner?;
        let mut tiers = Vec::new();
        for tier in &self.matcher.resolved.policies.tiers {
            tiers.extend(self.tier(tier, endpoint, direction, flow));
            if tiers.last().is_some_and(|passed: &TierPassed<'_>| !passed.end.goes_on()) {
                break;
            }
        }
        Some(Passage { endpoint, tiers, profiles_allow: self.profiles_allow(endpoint, direction, flow) })
    }

    /// What an endpoint's profiles say, asked in order: the first verdict counts, Pass is none, and what no profile decides
    /// is denied (reference §4.3.6). A profile that is not in the input denies.
    fn profiles_allow(&self, endpoint: EndpointId, direction: Direction, flow: &Conversation) -> bool {
        let resolved = self.matcher.resolved;
        let profiles = &resolved.inventory.endpoint(endpoint).profiles;
        if *profiles == Profiles::OfPod {
            return true;
        }
        for name in profiles.names() {
            let verdict = match profile_name(name) {
                ProfileName::Namespace(_) | ProfileName::AllowAll => Some(TierEnd::Allowed),
                ProfileName::ServiceAccount(..) => None,
                ProfileName::Named(name) => match resolved.policies.profiles.get(name) {
                    Some(profile) => self.rules(profile.rules(direction), flow).1,
                    None => Some(TierEnd::Denied),
                },
            };
            match verdict {
                Some(TierEnd::Allowed) => return true,
                Some(TierEnd::Denied | TierEnd::DeniedByDefault) => return false,
                None | Some(TierEnd::Passed | TierEnd::PassedByDefault) => {}
            }
        }
        false
    }

    /// A tier's part of the way; none where it has nothing to say of the endpoint.
    fn tier(&self, tier: &'input Tier, endpoint: EndpointId, direction: Direction, flow: &Conversation) -> Option<TierPassed<'input>> {
        let applied = self.matcher.resolved.applied_to(endpoint);
        let mut passed = TierPassed { tier, policies: Vec::new(), end: TierEnd::by_default(tier) };
        for policy in tier.policies.iter().filter(|policy| policy.is_on(List::Normal) && applied.binary_search(&policy.applies_to).is_ok())
        {
            let Some(rules) = policy.rules(direction) else { continue };
            let (rules, end) = self.rules(rules, flow);
            passed.policies.push(PolicyPassed { policy, rules });
            if let Some(end) = end {
                return Some(TierPassed { end, ..passed });
            }
        }
        (!passed.policies.is_empty()).then_some(passed)
    }

    /// The rules that match up to the first that ends the tier, and what that one says.
    pub(super) fn rules(&self, rules: &'input [Rule], flow: &Conversation) -> (Vec<&'input Rule>, Option<TierEnd>) {
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
