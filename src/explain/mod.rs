//! Why: what an [`Evaluator`] decides about the cases of a question, with every rule that was
//! asked, why those that do not match do not, and what would have to be otherwise for a denied flow
//! to be allowed.
//!
//! The ways told here are made from the [`PolicyDecision`] and hold every rule that it came past,
//! so that the two cannot disagree.
//!
//! Cost: the decisions; then for each group of cases that go the same way one explanation.

pub mod query;

use std::collections::BTreeMap;

use crate::explain::query::QueryCase;
use crate::inventory::{EndpointId, NodeId, ProfileList, ProfileName, profile_name};
use crate::name::reserved::{NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX};
use crate::net::{Direction, Side};
use crate::packet::{Conversation, Verdict};
use crate::policy::{
    Action, AddressCondition, IcmpMatch, PeerSelection, Policy, PolicyKey, PolicyListKind,
    PortCondition, PortList, ProtocolMatch, Rule, RuleFamilies, SelectorDomain, SelectorId, Tier,
};
use crate::selector::{Expr, LabelTest, Labels};
use crate::semantics::evaluate::{
    EvaluatedPolicy, EvaluatedTier, Evaluator, ListOutcome, ListTrace, PolicyDecision,
    PolicySubject, TierEnd,
};
use crate::semantics::node::VerdictCause;
use crate::semantics::path::{AssumedInterface, FlowRouter, NodeHop};
use crate::semantics::rule_match::side_of;
use crate::semantics::{RulePart, SidePart};

/// Cases that go the same way, and why.
#[derive(Debug, Clone)]
pub struct ExplainedGroup<'input> {
    /// The cases, in order; one at least.
    pub cases: Vec<QueryCase>,
    /// Whether they are allowed: by policy at both ends and, where nodes were asked, by every node
    /// on the way.
    pub is_allowed: bool,
    /// Egress policy of the senders; none where they are no known endpoints, or where a node lets
    /// them pass without.
    pub egress: Option<PolicyTrace<'input>>,
    /// Ingress policy of the receivers; none where they are no known endpoints, or where a node
    /// lets them pass without.
    pub ingress: Option<PolicyTrace<'input>>,
    /// The nodes on the way of the first case, and what they owe to it; none where nodes were not
    /// asked.
    pub stops: Vec<NodeTrace<'input>>,
}

/// A node on the way.
#[derive(Debug, Clone)]
pub struct NodeTrace<'input> {
    /// The node, and what it owes to the packet.
    pub stop: NodeHop<'input>,
    /// The lists of its host endpoints that were asked, in order.
    pub hosts: Vec<PolicyTrace<'input>>,
}

/// The way through the policies of one end, told of the first case of a group.
#[derive(Debug, Clone)]
pub struct PolicyTrace<'input> {
    /// Whose policies these are.
    pub whose: PolicySubject,
    /// The list; of an endpoint always the normal one.
    pub list: PolicyListKind,
    /// The direction.
    pub direction: Direction,
    /// What is said of it.
    pub outcome: ListOutcome,
    /// The tiers on the way.
    pub tiers: Vec<TierTrace<'input>>,
    /// What profiles say, where no tier of the normal list decides; none for a pod, whose first
    /// profile allows everything.
    pub profiles: Vec<ProfileTrace<'input>>,
    /// What would have to be otherwise, nearest first; none where this end allows it.
    pub near: Vec<NearMiss<'input>>,
}

/// A tier on the way.
#[derive(Debug, Clone)]
pub struct TierTrace<'input> {
    /// The tier.
    pub tier: &'input Tier,
    /// The policies that were asked, in order.
    pub policies: Vec<PolicyRulesTrace<'input>>,
    /// How it ends.
    pub end: TierEnd,
}

/// A policy on the way.
#[derive(Debug, Clone)]
pub struct PolicyRulesTrace<'input> {
    /// The policy.
    pub policy: &'input Policy,
    /// The rules that were asked, in order.
    pub rules: Vec<RuleTrace<'input>>,
}

/// A profile on the way.
#[derive(Debug, Clone)]
pub struct ProfileTrace<'input> {
    /// Its name, as the endpoint lists it.
    pub name: &'input str,
    /// What identifies it; none for one that Calico makes, or that is not in the input.
    pub key: Option<&'input PolicyKey>,
    /// The rules that were asked, in order.
    pub rules: Vec<RuleTrace<'input>>,
    /// What it says; none where the next one is asked.
    pub end: Option<TierEnd>,
}

/// A rule that was asked.
#[derive(Debug, Clone)]
pub struct RuleTrace<'input> {
    /// The rule.
    pub rule: &'input Rule,
    /// Its parts that do not hold; none in a rule that matches.
    pub misses: Vec<RulePart>,
}

/// A rule that would allow the flow, were it not for one of its parts.
#[derive(Debug, Clone)]
pub struct NearMiss<'input> {
    /// Whose rule it is.
    pub key: &'input PolicyKey,
    /// The rule.
    pub rule: &'input Rule,
    /// The part that does not hold.
    pub part: RulePart,
    /// Labels that would make it hold, where labels would.
    pub labels: Vec<NearMissTerm<'input>>,
}

/// A label that would have to be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMissTerm<'input> {
    /// Whose label it is.
    pub endpoint: EndpointId,
    /// Who has it.
    pub bearer: LabelOwner,
    /// The label's name there.
    pub label: &'input str,
    /// The test.
    pub test: &'input LabelTest,
    /// Whether the test would have to hold, or to fail.
    pub holds: bool,
}

/// Who a label is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelOwner {
    /// The endpoint itself.
    Endpoint,
    /// Its namespace.
    Namespace,
    /// Its service account.
    ServiceAccount,
}

/// Near misses that are told of one end.
const MOST_NEAR: usize = 5;
/// Labels that a near miss may want.
const MOST_LABELS: usize = 3;

/// A node that has a say of its own, and what it says.
type NodeKey<'input> = (
    NodeId,
    Verdict,
    VerdictCause,
    bool,
    Option<AssumedInterface>,
    Vec<(PolicySubject, PolicyListKind, Direction, TraceKey<'input>)>,
);
/// A way without what differs between endpoints.
type TraceKey<'input> = (bool, Vec<(&'input str, Vec<PolicyMark<'input>>, TierEnd)>);
/// A policy and where its rules stand that match.
type PolicyMark<'input> = (&'input PolicyKey, Vec<(usize, usize)>);

/// Decides about every case, and explains each way that is gone once; what is denied first,
/// then in the order of the cases. Nodes have no say.
pub fn answer<'input>(
    evaluator: &Evaluator<'_, 'input>,
    cases: &[QueryCase],
) -> Vec<ExplainedGroup<'input>> {
    grouped(evaluator, cases, |_| Vec::new())
}

/// As [`answer`], with all that the nodes on the way have to say.
pub fn answer_on_nodes<'input>(
    evaluator: &Evaluator<'_, 'input>,
    router: &mut FlowRouter<'_, '_, 'input>,
    cases: &[QueryCase],
) -> Vec<ExplainedGroup<'input>> {
    grouped(evaluator, cases, |case| router.stops(&case.flow))
}

/// Cases that go one way, with what decides about the first.
type MatchingCases<'input> = (PolicyDecision<'input>, Vec<NodeHop<'input>>, Vec<QueryCase>);

fn grouped<'input>(
    evaluator: &Evaluator<'_, 'input>,
    cases: &[QueryCase],
    mut stops: impl FnMut(&QueryCase) -> Vec<NodeHop<'input>>,
) -> Vec<ExplainedGroup<'input>> {
    let mut places: BTreeMap<([Option<TraceKey<'input>>; 2], Vec<NodeKey<'input>>), usize> =
        BTreeMap::new();
    let mut found: Vec<MatchingCases<'input>> = Vec::new();

    for case in cases {
        let stops = stops(case);
        let decision = asked(evaluator.judge(&case.flow), &stops);
        let key =
            [&decision.egress, &decision.ingress].map(|passage| passage.as_ref().map(way_key));
        let key = (key, stops.iter().filter_map(stop_key).collect());
        let place = *places.entry(key).or_insert(found.len());
        match found.get_mut(place) {
            Some((.., cases)) => cases.push(*case),
            None => found.push((decision, stops, vec![*case])),
        }
    }

    let groups = found
        .into_iter()
        .filter_map(|found| group(evaluator, found));
    let (allowed, mut groups): (Vec<ExplainedGroup<'input>>, Vec<ExplainedGroup<'input>>) =
        groups.partition(|group| group.is_allowed);

    groups.extend(allowed);
    groups
}

/// A decision without the policy that a node lets the packet pass without.
fn asked<'input>(
    decision: PolicyDecision<'input>,
    stops: &[NodeHop<'input>],
) -> PolicyDecision<'input> {
    let is_taken = |stop: &NodeHop<'_>, direction| {
        let is_asked = |passage: &ListTrace<'_>| {
            matches!(passage.whose, PolicySubject::Endpoint(_)) && passage.direction == direction
        };
        stop.expected.verdict != Verdict::Drop && !stop.expected.passages.iter().any(is_asked)
    };
    let asked = |passage: Option<ListTrace<'input>>| {
        passage.filter(|passage| {
            !stops
                .iter()
                .any(|stop| stop.is_at(passage.whose) && is_taken(stop, passage.direction))
        })
    };

    PolicyDecision {
        egress: asked(decision.egress),
        ingress: asked(decision.ingress),
    }
}

fn group<'input>(
    evaluator: &Evaluator<'_, 'input>,
    (decision, stops, cases): MatchingCases<'input>,
) -> Option<ExplainedGroup<'input>> {
    let flow = &cases.first()?.flow;
    let way = |passage: &ListTrace<'input>| {
        Explainer {
            evaluator,
            flow,
            direction: passage.direction,
        }
        .way(passage)
    };

    let is_allowed = decision.is_allowed()
        && stops
            .iter()
            .all(|stop| stop.expected.verdict != Verdict::Drop);
    let stops = stops.into_iter().map(|stop| {
        let of_hosts = stop
            .expected
            .passages
            .iter()
            .filter(|passage| matches!(passage.whose, PolicySubject::HostEndpoint(_)));
        NodeTrace {
            hosts: of_hosts.map(way).collect(),
            stop,
        }
    });
    let stops = stops.collect();

    Some(ExplainedGroup {
        is_allowed,
        egress: decision.egress.as_ref().map(way),
        ingress: decision.ingress.as_ref().map(way),
        stops,
        cases,
    })
}

/// What tells a stop from others; none where nothing but policy of endpoints speaks there.
fn stop_key<'input>(stop: &NodeHop<'input>) -> Option<NodeKey<'input>> {
    let expected = &stop.expected;
    let of_hosts = expected
        .passages
        .iter()
        .filter(|passage| matches!(passage.whose, PolicySubject::HostEndpoint(_)));

    let hosts: Vec<_> = of_hosts
        .map(|passage| {
            (
                passage.whose,
                passage.list,
                passage.direction,
                way_key(passage),
            )
        })
        .collect();

    let is_silent = hosts.is_empty()
        && stop.assumed.is_none()
        && matches!(expected.cause, VerdictCause::Policy | VerdictCause::Nothing)
        && !stop.is_probe;
    (!is_silent).then(|| {
        (
            stop.node,
            expected.verdict,
            expected.cause,
            expected.is_untracked,
            stop.assumed.clone(),
            hosts,
        )
    })
}

fn way_key<'input>(passage: &ListTrace<'input>) -> TraceKey<'input> {
    let place = |rule: &&Rule| (rule.number, rule.span.range().start);
    let policy = |passed: &EvaluatedPolicy<'input>| {
        (&passed.policy.key, passed.rules.iter().map(place).collect())
    };

    let tiers = passage.tiers.iter().map(|passed| {
        (
            passed.tier.name.as_str(),
            passed.policies.iter().map(policy).collect(),
            passed.end,
        )
    });
    (passage.is_allowed(), tiers.collect())
}

impl ExplainedGroup<'_> {
    /// The ways of both ends, and between them those of host endpoints.
    pub fn ways(&self) -> impl Iterator<Item = &PolicyTrace<'_>> {
        self.egress
            .iter()
            .chain(self.stops.iter().flat_map(|stop| &stop.hosts))
            .chain(&self.ingress)
    }
}

impl<'input> PolicyTrace<'input> {
    /// Whether the flow may pass.
    pub fn is_allowed(&self) -> bool {
        self.outcome != ListOutcome::Denied
    }

    /// Every rule that was asked, with whose it is, in order.
    pub fn rules(&self) -> impl Iterator<Item = (&'input PolicyKey, &RuleTrace<'input>)> {
        let of_policies = self.tiers.iter().flat_map(|tier| &tier.policies);
        let of_policies = of_policies.flat_map(|passed| {
            passed
                .rules
                .iter()
                .map(move |rule| (&passed.policy.key, rule))
        });
        let of_profiles = self
            .profiles
            .iter()
            .filter_map(|passed| passed.key.map(|key| (key, &passed.rules)));

        of_policies
            .chain(of_profiles.flat_map(|(key, rules)| rules.iter().map(move |rule| (key, rule))))
    }

    /// The rules that match or do not for nothing but these parts.
    pub fn depends_on(
        &self,
        parts: &[RulePart],
    ) -> impl Iterator<Item = (&'input PolicyKey, &'input Rule)> {
        let alone = |asked: &RuleTrace<'_>| asked.misses.iter().all(|part| parts.contains(part));
        let asks = |rule: &Rule| parts.iter().any(|part| is_said(*part, rule));
        self.rules()
            .filter(move |(_, asked)| alone(asked) && asks(asked.rule))
            .map(|(key, asked)| (key, asked.rule))
    }
}

/// Whether a rule says anything in a part.
fn is_said(part: RulePart, rule: &Rule) -> bool {
    match part {
        RulePart::Family => rule.families != RuleFamilies::Both,
        RulePart::Protocol => rule.protocol != ProtocolMatch::Any,
        RulePart::Icmp => rule.icmp != IcmpMatch::Any,
        RulePart::Of(side, part) => {
            let peer = side_of(rule, side);
            match part {
                SidePart::Selected => peer.selected != PeerSelection::Anyone,
                SidePart::NotSelected => peer.not_selected.is_some(),
                SidePart::Nets => peer.nets != AddressCondition::Any,
                SidePart::NotNets => !peer.not_nets.is_empty(),
                SidePart::Service => peer.service.is_some(),
                SidePart::Ports => peer.ports != PortCondition::Any,
                SidePart::NotPorts => !peer.not_ports.is_empty(),
            }
        }
    }
}

/// A rule that says nothing in a part.
fn without(part: RulePart, rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    let RulePart::Of(side, part) = part else {
        match part {
            RulePart::Family => rule.families = RuleFamilies::Both,
            RulePart::Protocol => rule.protocol = ProtocolMatch::Any,
            RulePart::Icmp => rule.icmp = IcmpMatch::Any,
            RulePart::Of(..) => {}
        }
        return rule;
    };

    let peer = match side {
        Side::Source => &mut rule.source,
        Side::Destination => &mut rule.destination,
    };

    match part {
        SidePart::Selected => peer.selected = PeerSelection::Anyone,
        SidePart::NotSelected => peer.not_selected = None,
        SidePart::Nets => peer.nets = AddressCondition::Any,
        SidePart::NotNets => peer.not_nets.clear(),
        SidePart::Service => peer.service = None,
        SidePart::Ports => peer.ports = PortCondition::Any,
        SidePart::NotPorts => peer.not_ports = PortList::default(),
    }

    rule
}

/// Tells the ways of one flow in one direction.
struct Explainer<'teller, 'resolved, 'input> {
    evaluator: &'teller Evaluator<'resolved, 'input>,
    flow: &'teller Conversation,
    direction: Direction,
}

impl<'input> Explainer<'_, '_, 'input> {
    fn way(&self, passage: &ListTrace<'input>) -> PolicyTrace<'input> {
        let tiers: Vec<TierTrace<'input>> = passage
            .tiers
            .iter()
            .map(|passed| self.tier(passed))
            .collect();

        let is_open = tiers.last().is_none_or(|last| last.end.goes_on())
            && passage.list == PolicyListKind::Normal;
        let profiles = if is_open {
            self.profiles(passage.whose)
        } else {
            Vec::new()
        };

        let (whose, list, direction, outcome) = (
            passage.whose,
            passage.list,
            passage.direction,
            passage.outcome(),
        );

        let mut way = PolicyTrace {
            whose,
            list,
            direction,
            outcome,
            tiers,
            profiles,
            near: Vec::new(),
        };
        if !way.is_allowed() {
            way.near = self.near_misses(&way);
        }

        way
    }

    fn tier(&self, passed: &EvaluatedTier<'input>) -> TierTrace<'input> {
        let policies = passed.policies.iter().map(|passed| {
            let rules = passed.policy.rules(self.direction).unwrap_or_default();
            PolicyRulesTrace {
                policy: passed.policy,
                rules: self.asked(rules, &passed.rules),
            }
        });

        TierTrace {
            tier: passed.tier,
            policies: policies.collect(),
            end: passed.end,
        }
    }

    /// The rules of a list that were asked: all up to the one that ends the tier, of those that
    /// match.
    fn asked(&self, rules: &'input [Rule], matching: &[&'input Rule]) -> Vec<RuleTrace<'input>> {
        let last = matching.last().filter(|last| last.action != Action::Log);
        let end = last.and_then(|last| rules.iter().position(|rule| std::ptr::eq(rule, *last)));
        let asked = rules
            .get(..end.map_or(rules.len(), |end| end + 1))
            .unwrap_or_default();
        asked
            .iter()
            .map(|rule| RuleTrace {
                rule,
                misses: self.misses(rule),
            })
            .collect()
    }

    fn misses(&self, rule: &Rule) -> Vec<RulePart> {
        RulePart::ALL
            .into_iter()
            .filter(|part| !self.evaluator.matcher.holds(*part, rule, self.flow))
            .collect()
    }

    /// The listed profiles up to the one that decides, as the evaluator asks them.
    fn profiles(&self, whose: PolicySubject) -> Vec<ProfileTrace<'input>> {
        let resolved = self.evaluator.matcher.resolved;
        let listed = match whose {
            PolicySubject::Endpoint(id) => &resolved.inventory.endpoint(id).profiles,
            PolicySubject::HostEndpoint(id) => match resolved.host_endpoint(id) {
                Some(host) => &host.profiles,
                None => return Vec::new(),
            },
        };
        if *listed == ProfileList::OfPod {
            return Vec::new();
        }

        let mut ways = Vec::new();
        for name in listed.names() {
            let of_calico = |end| ProfileTrace {
                name,
                key: None,
                rules: Vec::new(),
                end,
            };
            let way = match profile_name(name) {
                ProfileName::Namespace(_) | ProfileName::AllowAll => {
                    of_calico(Some(TierEnd::Allowed))
                }
                ProfileName::ServiceAccount(..) => of_calico(None),
                ProfileName::Named(own) => match resolved.policies.profiles.get(own) {
                    None => of_calico(Some(TierEnd::Denied)),
                    Some(profile) => {
                        let rules = profile.rules(self.direction);
                        let (matching, end) = self.evaluator.rules(rules, self.flow);
                        ProfileTrace {
                            name,
                            key: Some(&profile.key),
                            rules: self.asked(rules, &matching),
                            end,
                        }
                    }
                },
            };
            let decides = way.end.is_some_and(|end| !end.goes_on());
            ways.push(way);
            if decides {
                break;
            }
        }

        ways
    }

    /// Rules that allow, that were asked, and that would match without one of their parts.
    fn near_misses(&self, way: &PolicyTrace<'input>) -> Vec<NearMiss<'input>> {
        let mut near = Vec::new();
        for (key, asked) in way
            .rules()
            .filter(|(_, asked)| asked.rule.action == Action::Allow)
        {
            let alone = |part: &&RulePart| {
                self.evaluator
                    .matcher
                    .matches(&without(**part, asked.rule), self.flow)
            };
            let parts = asked.misses.iter().filter(alone);
            near.extend(parts.flat_map(|part| self.near_misses_by(key, asked.rule, *part)));
        }
        near.sort_by_key(|miss| miss.labels.len().max(1));
        near.truncate(MOST_NEAR);

        near
    }

    /// The ways in which one part of a rule would hold.
    fn near_misses_by(
        &self,
        key: &'input PolicyKey,
        rule: &'input Rule,
        part: RulePart,
    ) -> Vec<NearMiss<'input>> {
        let (selector, side, wanted) = match part {
            RulePart::Of(side, SidePart::Selected) => match side_of(rule, side).selected {
                PeerSelection::By(selector) => (Some(selector), side, true),
                PeerSelection::Anyone => (None, side, true),
            },
            RulePart::Of(side, SidePart::NotSelected) => {
                (side_of(rule, side).not_selected, side, false)
            }
            RulePart::Of(side, _) => (None, side, true),
            RulePart::Family | RulePart::Protocol | RulePart::Icmp => (None, Side::Source, true),
        };
        let owner = self.flow.party(side).owner;
        let near = |labels| NearMiss {
            key,
            rule,
            part,
            labels,
        };

        match selector.zip(owner) {
            Some((selector, owner)) if self.is_of_endpoints(selector) => self
                .labels(selector, owner, wanted)
                .into_iter()
                .map(near)
                .collect(),
            Some(_) | None => vec![near(Vec::new())],
        }
    }

    fn is_of_endpoints(&self, selector: SelectorId) -> bool {
        self.evaluator
            .matcher
            .resolved
            .policies
            .selectors
            .domain(selector)
            == SelectorDomain::Endpoints
    }

    /// Every few labels that would bring an endpoint under a selector or out of it.
    fn labels(
        &self,
        selector: SelectorId,
        endpoint: EndpointId,
        wanted: bool,
    ) -> Vec<Vec<NearMissTerm<'input>>> {
        let resolved = self.evaluator.matcher.resolved;
        let inventory = resolved.inventory;
        let labels = inventory.labels(inventory.endpoint(endpoint));
        let term = |(name, test, holds): NearMissLabel<'input>| {
            let (bearer, label) = bearer(name);
            NearMissTerm {
                endpoint,
                bearer,
                label,
                test,
                holds,
            }
        };
        let ways = alternatives(resolved.policies.selectors.get(selector), wanted).into_iter();

        let ways = ways
            .filter_map(|expr| repair(expr, wanted, &labels))
            .filter(|wishes| (1..=MOST_LABELS).contains(&wishes.len()));
        ways.map(|wishes| wishes.into_iter().map(term).collect())
            .collect()
    }
}

/// The parts of a selector of which one is enough for the answer that is wanted.
fn alternatives(expr: &Expr, wanted: bool) -> Vec<&Expr> {
    match expr {
        Expr::Or(parts) if wanted => parts.iter().collect(),
        Expr::And(parts) if !wanted => parts.iter().collect(),
        Expr::All
        | Expr::Global
        | Expr::Label { .. }
        | Expr::Not(_)
        | Expr::And(_)
        | Expr::Or(_) => vec![expr],
    }
}

/// Label, test, and whether it would have to hold.
type NearMissLabel<'expr> = (&'expr str, &'expr LabelTest, bool);

/// The fewest tests whose answers must change for a selector to give the answer that is wanted;
/// none where that cannot be.
fn repair<'expr>(
    expr: &'expr Expr,
    wanted: bool,
    labels: &impl Labels,
) -> Option<Vec<NearMissLabel<'expr>>> {
    match expr {
        Expr::All | Expr::Global => wanted.then(Vec::new),
        Expr::Label { name, test } if test.holds(labels.get(name)) == wanted => Some(Vec::new()),
        Expr::Label { name, test } => Some(vec![(name, test, wanted)]),
        Expr::Not(operand) => repair(operand, !wanted, labels),
        Expr::And(parts) if wanted => every(parts, wanted, labels),
        Expr::Or(parts) if !wanted => every(parts, wanted, labels),
        Expr::And(parts) | Expr::Or(parts) => parts
            .iter()
            .filter_map(|part| repair(part, wanted, labels))
            .min_by_key(|wishes| wishes.len()),
    }
}

fn every<'expr>(
    parts: &'expr [Expr],
    wanted: bool,
    labels: &impl Labels,
) -> Option<Vec<NearMissLabel<'expr>>> {
    let mut wishes = Vec::new();
    for part in parts {
        let more = repair(part, wanted, labels)?;
        wishes.extend(
            more.into_iter()
                .filter(|wish| !wishes.contains(wish))
                .collect::<Vec<_>>(),
        );
    }
    Some(wishes)
}

/// Who has a label, and its name there.
fn bearer(name: &str) -> (LabelOwner, &str) {
    match (
        name.strip_prefix(NAMESPACE_PREFIX),
        name.strip_prefix(SERVICE_ACCOUNT_PREFIX),
    ) {
        (Some(own), _) => (LabelOwner::Namespace, own),
        (None, Some(own)) => (LabelOwner::ServiceAccount, own),
        (None, None) => (LabelOwner::Endpoint, name),
    }
}

#[cfg(test)]
mod tests;
