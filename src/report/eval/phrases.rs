//! Rules, and parts of rules, as phrases.

use std::collections::BTreeSet;

use crate::explain::{LabelOwner, NearMiss, NearMissTerm, PolicyTrace, ProfileTrace, RuleTrace};
use crate::inventory::ProfileList;
use crate::name::reserved::{METADATA_NAME, NAME, NAMESPACE, SERVICE_ACCOUNT};
use crate::net::{Cidr, Direction, Side};
use crate::policy::{
    Action, AddressCondition, Icmp, IcmpMatch, PeerSelection, Policy, PolicyKey, PortCondition,
    PortList, ProtocolMatch, Rule, RuleFamilies, RulePeer, SelectorId,
};
use crate::report::eval::QueryReport;
use crate::selector::{Expr, LabelTest};
use crate::semantics::evaluate::{ListOutcome, PolicySubject, TierEnd};
use crate::semantics::{RulePart, SidePart};
use crate::source::Span;

/// The maximum number of prefixes in a phrase.
const MOST_NETS: usize = 4;

impl<'input> QueryReport<'_, 'input> {
    /// Formats a location: `policies.yaml:12`.
    pub(super) fn place(&self, span: Span) -> String {
        format!(
            "{}:{}",
            self.files.get(span.file).name,
            self.files.position(span).line
        )
    }

    /// Formats a rule: `ingress rule 2 of NetworkPolicy shop/web (policies.yaml:12)`.
    pub(super) fn rule(&self, direction: Direction, key: &PolicyKey, rule: &Rule) -> String {
        format!(
            "{direction} rule {} of {key} ({})",
            rule.number,
            self.place(rule.span)
        )
    }

    fn policy(&self, policy: &Policy) -> String {
        format!("{} ({})", policy.key, self.place(policy.span))
    }

    /// Returns what decides at an end.
    pub(in crate::report) fn reason(&self, way: &PolicyTrace<'input>) -> String {
        let Some(last) = way.tiers.last() else {
            return self.reason_of_profiles(way);
        };

        let decider = last
            .policies
            .last()
            .and_then(|passed| Some((passed.policy, passed.rules.last()?.rule)));
        let by_rule = decider.map_or_else(String::new, |(policy, rule)| {
            format!(" by {}", self.rule(way.direction, &policy.key, rule))
        });

        match last.end {
            TierEnd::Allowed => format!("allowed{by_rule}"),
            TierEnd::Denied => format!("denied{by_rule}"),
            TierEnd::DeniedByDefault => {
                let policies: Vec<String> = last
                    .policies
                    .iter()
                    .map(|passed| self.policy(passed.policy))
                    .collect();
                let is_logged = last
                    .policies
                    .iter()
                    .flat_map(|passed| &passed.rules)
                    .any(RuleTrace::is_match);
                let matched = if is_logged {
                    "no rule matched but such as only log"
                } else {
                    "no rule matched"
                };
                format!(
                    "denied: isolated by {} in tier {}; {matched}",
                    listed(&policies, "and"),
                    last.tier.name
                )
            }
            TierEnd::Passed | TierEnd::PassedByDefault => self.reason_of_profiles(way),
        }
    }

    fn reason_of_profiles(&self, way: &PolicyTrace<'input>) -> String {
        let before = if way.tiers.is_empty() {
            "no policy applies"
        } else {
            "every tier passes on"
        };
        if way.outcome == ListOutcome::Undecided {
            return format!("goes on: {before}");
        }
        if self.has_profiles_of_pod(way.whose) {
            return format!("allowed: {before}, and its namespace's profile allows");
        }

        let decider = way
            .profiles
            .last()
            .filter(|last| last.end.is_some_and(|end| !end.goes_on()));
        let Some(decider) = decider else {
            let names: Vec<String> = way
                .profiles
                .iter()
                .map(|profile| format!("`{}`", profile.name))
                .collect();
            return match names.is_empty() {
                true => format!("denied: {before}, and it has no profile"),
                false => format!(
                    "denied: {before}, and none of its profiles allows ({})",
                    names.join(", ")
                ),
            };
        };
        let word = if way.is_allowed() {
            "allowed"
        } else {
            "denied"
        };

        format!(
            "{word}: {before}, and {}",
            self.decision_of(decider, way.direction)
        )
    }

    fn has_profiles_of_pod(&self, whose: PolicySubject) -> bool {
        match whose {
            PolicySubject::Endpoint(id) => {
                self.resolved.inventory.endpoint(id).profiles == ProfileList::OfPod
            }
            PolicySubject::HostEndpoint(_) => false,
        }
    }

    /// Formats the subject of policies: `shop/web`, `HostEndpoint n1-eth0`.
    pub(super) fn whose(&self, whose: PolicySubject) -> String {
        match whose {
            PolicySubject::Endpoint(id) => self.resolved.inventory.endpoint(id).notation(),
            PolicySubject::HostEndpoint(id) => self
                .resolved
                .host_endpoint(id)
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }

    fn decision_of(&self, profile: &ProfileTrace<'input>, direction: Direction) -> String {
        match (profile.key.zip(profile.rules.last()), profile.end) {
            (Some((key, asked)), Some(end)) => {
                let verb = if end == TierEnd::Allowed {
                    "allows"
                } else {
                    "denies"
                };
                format!("{} {verb}", self.rule(direction, key, asked.rule))
            }
            (None, Some(TierEnd::Allowed)) => format!("its profile `{}` allows", profile.name),
            (_, _) => format!("its profile `{}` is not in the input", profile.name),
        }
    }

    /// Returns why a part of a rule does not match.
    pub(super) fn miss(&self, part: RulePart, rule: &Rule) -> String {
        match part {
            RulePart::Family => format!("it is for {} only", family(rule)),
            RulePart::Protocol => match rule.protocol {
                ProtocolMatch::Is(protocol) => format!("the protocol is not {protocol}"),
                ProtocolMatch::IsNot(protocol) => {
                    format!("the protocol is {protocol}, which it leaves out")
                }
                ProtocolMatch::Any => String::new(),
            },
            RulePart::Icmp => match rule.icmp {
                IcmpMatch::Is(icmp) => format!("the message is not {}", message(icmp)),
                IcmpMatch::IsNot(icmp) => {
                    format!("the message is {}, which it leaves out", message(icmp))
                }
                IcmpMatch::Any => String::new(),
            },
            RulePart::Of(side, part) => format!(
                "the {} {}",
                side_name(side),
                self.side_miss(part, peer(rule, side))
            ),
        }
    }

    fn side_miss(&self, part: SidePart, peer: &RulePeer) -> String {
        match part {
            SidePart::Selected => match peer.selected {
                PeerSelection::By(selector) => {
                    format!("is not selected by {}", self.selector(selector))
                }
                PeerSelection::Anyone => String::new(),
            },
            SidePart::NotSelected => {
                let selector = peer
                    .not_selected
                    .map(|selector| self.selector(selector))
                    .unwrap_or_default();
                format!("is selected by {selector}, which it leaves out")
            }
            SidePart::Nets => format!("is not in {}", wanted_nets(peer)),
            SidePart::NotNets => format!("is in {}, which it leaves out", prefixes(&peer.not_nets)),
            SidePart::Service => format!("is no backend of {}", service(peer)),
            SidePart::Ports => format!("port is not {}", wanted_ports(peer)),
            SidePart::NotPorts => {
                format!("port is {}, which it leaves out", ports(&peer.not_ports))
            }
        }
    }

    fn selector(&self, selector: SelectorId) -> String {
        format!("`{}`", self.resolved.policies.selectors.describe(selector))
    }

    /// Formats a near miss: `ingress rule 1 of … would match if the service account `shop/web` had
    /// the label role=db`.
    pub(super) fn near_miss(&self, near: &NearMiss<'input>, direction: Direction) -> String {
        format!(
            "{} would match if {}",
            self.rule(direction, near.key, near.rule),
            self.wish(near)
        )
    }

    /// Returns the change by which a near miss would match.
    pub(super) fn wish(&self, near: &NearMiss<'input>) -> String {
        let rule = near.rule;
        if !near.labels.is_empty() {
            let mut seen = BTreeSet::new();
            let terms = near
                .labels
                .iter()
                .map(|term| self.term(term))
                .filter(|term| seen.insert(term.clone()));
            return terms.collect::<Vec<_>>().join(" and ");
        }

        match near.part {
            RulePart::Family => format!("it were {}", family(rule)),
            RulePart::Protocol => match rule.protocol {
                ProtocolMatch::Is(protocol) => format!("the protocol were {protocol}"),
                ProtocolMatch::IsNot(protocol) => format!("the protocol were not {protocol}"),
                ProtocolMatch::Any => String::new(),
            },
            RulePart::Icmp => match rule.icmp {
                IcmpMatch::Is(icmp) => format!("the message were {}", message(icmp)),
                IcmpMatch::IsNot(icmp) => format!("the message were not {}", message(icmp)),
                IcmpMatch::Any => String::new(),
            },
            RulePart::Of(side, part) => format!(
                "the {} {}",
                side_name(side),
                self.side_wish(part, peer(rule, side))
            ),
        }
    }

    fn side_wish(&self, part: SidePart, peer: &RulePeer) -> String {
        match part {
            SidePart::Selected => match peer.selected {
                PeerSelection::By(selector) => format!(
                    "were an endpoint or in a network set that {} selects",
                    self.selector(selector)
                ),
                PeerSelection::Anyone => String::new(),
            },
            SidePart::NotSelected => {
                format!(
                    "were nobody that is selected by {}",
                    peer.not_selected
                        .map(|selector| self.selector(selector))
                        .unwrap_or_default()
                )
            }
            SidePart::Nets => format!("were in {}", wanted_nets(peer)),
            SidePart::NotNets => format!("were not in {}", prefixes(&peer.not_nets)),
            SidePart::Service => format!("were a backend of {}", service(peer)),
            SidePart::Ports => format!("port were {}", wanted_ports(peer)),
            SidePart::NotPorts => format!("port were not {}", ports(&peer.not_ports)),
        }
    }

    fn term(&self, term: &NearMissTerm<'_>) -> String {
        let endpoint = self.resolved.inventory.endpoint(term.endpoint);
        let own = format!("{} `{endpoint}`", endpoint.kind.label());
        let places_in_namespace = match term.bearer {
            LabelOwner::Endpoint => term.label == NAMESPACE,
            LabelOwner::Namespace => [NAME, METADATA_NAME].contains(&term.label),
            LabelOwner::ServiceAccount => false,
        };
        let runs_as = match term.bearer {
            LabelOwner::Endpoint => term.label == SERVICE_ACCOUNT,
            LabelOwner::ServiceAccount => term.label == NAME,
            LabelOwner::Namespace => false,
        };

        if let Some((values, holds)) = names(term) {
            let not = if holds { "" } else { "not " };
            if places_in_namespace {
                return format!("the {own} were {not}in the namespace {values}");
            }
            if runs_as && holds {
                return format!("the {own} ran as the service account {values}");
            }
            if runs_as {
                return format!("the {own} did not run as the service account {values}");
            }
        }

        let account = endpoint.service_account.as_deref().unwrap_or_default();
        let bearer = match term.bearer {
            LabelOwner::Endpoint => own,
            LabelOwner::Namespace => format!("namespace `{}`", endpoint.namespace),
            LabelOwner::ServiceAccount => {
                format!("service account `{}/{account}`", endpoint.namespace)
            }
        };
        format!("the {bearer} {}", label_words(term))
    }
}

impl RuleTrace<'_> {
    /// Returns `true` if the rule matches.
    pub(super) fn is_match(&self) -> bool {
        self.misses.is_empty()
    }
}

/// Returns the values that a test compares with, and `true` if the label would have to be one of
/// them.
fn names(term: &NearMissTerm<'_>) -> Option<(String, bool)> {
    let quoted = |value: &String| format!("`{value}`");

    match term.test {
        LabelTest::Equals(value) => Some((quoted(value), term.holds)),
        LabelTest::NotEquals(value) => Some((quoted(value), !term.holds)),
        LabelTest::In(values) => Some((
            listed(&values.iter().map(quoted).collect::<Vec<_>>(), "or"),
            term.holds,
        )),
        LabelTest::NotIn(values) => Some((
            listed(&values.iter().map(quoted).collect::<Vec<_>>(), "or"),
            !term.holds,
        )),
        LabelTest::Present
        | LabelTest::Contains(_)
        | LabelTest::StartsWith(_)
        | LabelTest::EndsWith(_) => None,
    }
}

fn label_words(term: &NearMissTerm<'_>) -> String {
    let label = term.label;
    let is_had = match term.test {
        LabelTest::NotEquals(_) | LabelTest::NotIn(_) => !term.holds,
        LabelTest::Present
        | LabelTest::Equals(_)
        | LabelTest::In(_)
        | LabelTest::Contains(_)
        | LabelTest::StartsWith(_)
        | LabelTest::EndsWith(_) => term.holds,
    };
    let had = if is_had { "had" } else { "did not have" };

    match term.test {
        LabelTest::Present => format!("{had} the label {label}"),
        LabelTest::Equals(value) | LabelTest::NotEquals(value) => {
            format!("{had} the label {label}={value}")
        }
        LabelTest::In(values) | LabelTest::NotIn(values) => {
            let values: Vec<String> = values
                .iter()
                .map(|value| format!("{label}={value}"))
                .collect();
            format!("{had} the label {}", listed(&values, "or"))
        }
        LabelTest::Contains(_) | LabelTest::StartsWith(_) | LabelTest::EndsWith(_) => {
            format!(
                "{had} a label so that `{}`",
                Expr::label(label, term.test.clone())
            )
        }
    }
}

/// Returns the phrase for an end that no endpoint has.
pub(in crate::report) fn stranger(direction: Direction) -> String {
    let side = match direction {
        Direction::Egress => "sender",
        Direction::Ingress => "receiver",
    };
    format!("the {side} is no known endpoint, so no policy applies")
}

pub(super) fn listed(items: &[String], joint: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {joint} {last}", first.join(", ")),
    }
}

fn peer(rule: &Rule, side: Side) -> &RulePeer {
    match side {
        Side::Source => &rule.source,
        Side::Destination => &rule.destination,
    }
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Source => "source",
        Side::Destination => "destination",
    }
}

fn family(rule: &Rule) -> String {
    match rule.families {
        RuleFamilies::Both => String::new(),
        RuleFamilies::Only(family) => family.to_string(),
    }
}

fn message(icmp: Icmp) -> String {
    match icmp.code {
        Some(code) => format!("type {} code {code}", icmp.kind),
        None => format!("type {}", icmp.kind),
    }
}

fn wanted_nets(peer: &RulePeer) -> String {
    match &peer.nets {
        AddressCondition::Any => String::new(),
        AddressCondition::In(nets) => prefixes(nets),
    }
}

fn prefixes(nets: &[Cidr]) -> String {
    let shown: Vec<String> = nets
        .iter()
        .take(MOST_NETS)
        .map(ToString::to_string)
        .collect();
    match nets.len().checked_sub(MOST_NETS) {
        None | Some(0) => listed(&shown, "or"),
        Some(more) => format!("{} or {more} more", shown.join(", ")),
    }
}

fn service(peer: &RulePeer) -> String {
    peer.service
        .as_ref()
        .map(|service| format!("the service `{service}`"))
        .unwrap_or_default()
}

fn wanted_ports(peer: &RulePeer) -> String {
    match &peer.ports {
        PortCondition::Any => String::new(),
        PortCondition::In(list) => ports(list),
    }
}

fn ports(list: &PortList) -> String {
    let names = list.names.iter().map(|name| format!("one named `{name}`"));
    let all: Vec<String> = list
        .numbers
        .iter()
        .map(ToString::to_string)
        .chain(names)
        .collect();
    if all.is_empty() {
        "any".to_owned()
    } else {
        listed(&all, "or")
    }
}

/// Returns what a rule does, in the third person.
pub(super) fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allows",
        Action::Deny => "denies",
        Action::Log => "logs",
        Action::Pass => "passes on",
    }
}
