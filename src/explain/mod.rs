//! Explains what an [`Evaluator`] decides about the cases of a question: every evaluated rule, why
//! rules do not match, and what would have to change for a denied flow to be allowed.
//!
//! The traces are built from the [`PolicyDecision`] and contain every rule that it evaluated, so an
//! explanation cannot disagree with the decision.
//!
//! Cost: one decision for each case, and one explanation for each group of cases with the same
//! trace.

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

/// Cases with the same trace, and its explanation.
#[derive(Debug, Clone)]
pub struct ExplainedGroup<'input> {
    /// The cases, in order; never empty.
    pub cases: Vec<QueryCase>,
    /// `true` if policy at both ends allows the cases and, if nodes were evaluated, no node on the
    /// path drops them.
    pub is_allowed: bool,
    /// Egress policy of the senders; `None` if they are not known endpoints, or if a node does not
    /// evaluate it.
    pub egress: Option<PolicyTrace<'input>>,
    /// Ingress policy of the receivers; `None` if they are not known endpoints, or if a node does
    /// not evaluate it.
    pub ingress: Option<PolicyTrace<'input>>,
    /// The nodes on the path of the first case, with their expected verdicts. Empty if nodes were
    /// not evaluated.
    pub stops: Vec<NodeTrace<'input>>,
}

/// A node on the path.
#[derive(Debug, Clone)]
pub struct NodeTrace<'input> {
    /// The node and its expected verdict.
    pub stop: NodeHop<'input>,
    /// The evaluated lists of the node's host endpoints, in order.
    pub hosts: Vec<PolicyTrace<'input>>,
}

/// The evaluation of one policy list, for the first case of a group.
#[derive(Debug, Clone)]
pub struct PolicyTrace<'input> {
    /// The endpoint or host endpoint that the policies apply to.
    pub whose: PolicySubject,
    /// The list; always the normal list for an endpoint.
    pub list: PolicyListKind,
    /// The direction.
    pub direction: Direction,
    /// The outcome.
    pub outcome: ListOutcome,
    /// The evaluated tiers.
    pub tiers: Vec<TierTrace<'input>>,
    /// The evaluated profiles, if no tier of the normal list decides. Empty for a pod, whose first
    /// profile allows everything.
    pub profiles: Vec<ProfileTrace<'input>>,
    /// The near misses, nearest first; empty if this end allows the flow.
    pub near: Vec<NearMiss<'input>>,
}

/// An evaluated tier.
#[derive(Debug, Clone)]
pub struct TierTrace<'input> {
    /// The tier.
    pub tier: &'input Tier,
    /// The evaluated policies, in order.
    pub policies: Vec<PolicyRulesTrace<'input>>,
    /// How the tier ends.
    pub end: TierEnd,
}

/// An evaluated policy.
#[derive(Debug, Clone)]
pub struct PolicyRulesTrace<'input> {
    /// The policy.
    pub policy: &'input Policy,
    /// The evaluated rules, in order.
    pub rules: Vec<RuleTrace<'input>>,
}

/// An evaluated profile.
#[derive(Debug, Clone)]
pub struct ProfileTrace<'input> {
    /// The profile's name in the endpoint's list.
    pub name: &'input str,
    /// The profile's key; `None` if Calico generates the profile, or if it is not in the input.
    pub key: Option<&'input PolicyKey>,
    /// The evaluated rules, in order.
    pub rules: Vec<RuleTrace<'input>>,
    /// How the profile ends; `None` if evaluation continues with the next profile.
    pub end: Option<TierEnd>,
}

/// An evaluated rule.
#[derive(Debug, Clone)]
pub struct RuleTrace<'input> {
    /// The rule.
    pub rule: &'input Rule,
    /// The parts that do not match; empty if the rule matches.
    pub misses: Vec<RulePart>,
}

/// A near miss: a rule that would allow the flow if one of its parts matched.
#[derive(Debug, Clone)]
pub struct NearMiss<'input> {
    /// The policy or profile that contains the rule.
    pub key: &'input PolicyKey,
    /// The rule.
    pub rule: &'input Rule,
    /// The part that does not match.
    pub part: RulePart,
    /// The label changes that would make the part match; empty if labels cannot.
    pub labels: Vec<NearMissTerm<'input>>,
}

/// A label that would have to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMissTerm<'input> {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The object that has the label.
    pub bearer: LabelOwner,
    /// The label's name on that object.
    pub label: &'input str,
    /// The test.
    pub test: &'input LabelTest,
    /// `true` if the test would have to hold, `false` if it would have to fail.
    pub holds: bool,
}

/// The object that a label is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelOwner {
    /// The endpoint itself.
    Endpoint,
    /// The endpoint's namespace.
    Namespace,
    /// The endpoint's service account.
    ServiceAccount,
}

/// The maximum number of near misses of one end.
const MOST_NEAR: usize = 5;
/// The maximum number of label changes in a near miss.
const MOST_LABELS: usize = 3;

/// The properties of a node hop by which cases are grouped.
type NodeKey<'input> = (
    NodeId,
    Verdict,
    VerdictCause,
    bool,
    Option<AssumedInterface>,
    Vec<(PolicySubject, PolicyListKind, Direction, TraceKey<'input>)>,
);
/// The properties of a list trace by which cases are grouped: everything that does not depend on
/// the endpoint.
type TraceKey<'input> = (bool, Vec<(&'input str, Vec<PolicyMark<'input>>, TierEnd)>);
/// A policy, with the positions of its matching rules.
type PolicyMark<'input> = (&'input PolicyKey, Vec<(usize, usize)>);

/// Decides every case, and explains each group of cases with the same trace. Denied groups come
/// first; else the order of the cases is kept. Nodes are not evaluated.
pub fn answer<'input>(
    evaluator: &Evaluator<'_, 'input>,
    cases: &[QueryCase],
) -> Vec<ExplainedGroup<'input>> {
    grouped(evaluator, cases, |_| Vec::new())
}

/// As [`answer`], and evaluates the nodes on each path too.
pub fn answer_on_nodes<'input>(
    evaluator: &Evaluator<'_, 'input>,
    router: &mut FlowRouter<'_, '_, 'input>,
    cases: &[QueryCase],
) -> Vec<ExplainedGroup<'input>> {
    grouped(evaluator, cases, |case| router.stops(&case.flow))
}

/// Cases with the same trace, with the decision and the node hops of the first.
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

    // users look for what is denied, so allowed groups come last
    groups.extend(allowed);
    groups
}

/// Removes from a decision the policies that a node lets the packet pass without.
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

/// Returns the grouping key of a hop, or `None` if only policy of endpoints decides there.
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
    /// Returns the traces of both ends, with those of host endpoints between them.
    pub fn ways(&self) -> impl Iterator<Item = &PolicyTrace<'_>> {
        self.egress
            .iter()
            .chain(self.stops.iter().flat_map(|stop| &stop.hosts))
            .chain(&self.ingress)
    }
}

impl<'input> PolicyTrace<'input> {
    /// Returns `true` unless the list denies the flow.
    pub fn is_allowed(&self) -> bool {
        self.outcome != ListOutcome::Denied
    }

    /// Returns every evaluated rule with its policy or profile, in order.
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

    /// Returns the rules that match, or that fail only in these parts.
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

/// Returns `true` if a rule has a condition in a part.
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

/// Returns the rule without its condition in a part.
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

/// Explains the evaluation of one flow in one direction.
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
        // near misses cost an evaluation of each rule for each part, so only denied flows pay for
        // them
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

    /// Returns the evaluated rules of a list: all up to the matching rule that ends the tier.
    fn asked(&self, rules: &'input [Rule], matching: &[&'input Rule]) -> Vec<RuleTrace<'input>> {
        // a Log rule never ends a tier, so all rules after it are evaluated too
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

    /// Returns the evaluated profiles up to the one that decides, in the same way as the evaluator.
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

    /// Returns the evaluated Allow rules that would match without one of their parts.
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
        // a stable sort keeps the order of evaluation among equally near misses
        near.sort_by_key(|miss| miss.labels.len().max(1));
        near.truncate(MOST_NEAR);

        near
    }

    /// Returns the changes by which one part of a rule would match.
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
            // labels of an endpoint do not change what a selector of another domain selects
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

    /// Returns the small sets of label changes that would make a selector select an endpoint
    /// (`wanted`), or not select it.
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
            // none would mean that the part matches already
            .filter(|wishes| (1..=MOST_LABELS).contains(&wishes.len()));
        ways.map(|wishes| wishes.into_iter().map(term).collect())
            .collect()
    }
}

/// Returns the parts of a selector of which one is enough for the wanted result.
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

/// A label, a test, and `true` if the test would have to hold.
type NearMissLabel<'expr> = (&'expr str, &'expr LabelTest, bool);

/// Returns the fewest tests whose results must change for a selector to give the wanted result, or
/// `None` if that is impossible.
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

/// Returns the object that has a label, and the label's name there.
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
