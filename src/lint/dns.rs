//! `no-dns`: endpoints with isolated egress that cannot reach any DNS server.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic};
use crate::inventory::Endpoint;
use crate::lint::LintFindings;
use crate::net::Protocol;
use crate::policy::{
    Action, DefaultAction, Policy, PolicyListKind, PortCondition, ProtocolMatch, Rule, SelectorId,
    Tier,
};
use crate::resolve::ResolvedPolicy;

/// The DNS port.
const DNS: u16 = 53;

/// A policy that applies to egress, and its position in the order of evaluation.
#[derive(Clone, Copy)]
struct EgressPolicy<'input> {
    order: usize,
    tier: &'input Tier,
    policy: &'input Policy,
}

pub(super) fn lint(resolved: &ResolvedPolicy<'_>, findings: &mut LintFindings<'_>) {
    let mut policies: BTreeMap<SelectorId, Vec<EgressPolicy<'_>>> = BTreeMap::new();
    for (order, (tier, policy)) in resolved
        .policies
        .policies()
        .enumerate()
        .filter(|(_, (_, policy))| policy.egress.is_some() && policy.is_on(PolicyListKind::Normal))
    {
        policies
            .entry(policy.applies_to)
            .or_default()
            .push(EgressPolicy {
                order,
                tier,
                policy,
            });
    }

    // By class, because endpoints of one class get the same verdicts.
    for (selectors, (first, count)) in classes(resolved) {
        let mut applied: Vec<EgressPolicy<'_>> = selectors
            .iter()
            .filter_map(|id| policies.get(id))
            .flatten()
            .copied()
            .collect();
        // The order of the selectors is not the order of evaluation.
        applied.sort_by_key(|egress| egress.order);
        if let Some(policy) = deaf(&applied) {
            findings.push(finding(policy, first, count));
        }
    }
}

/// Classes of endpoints with the same policies: one example each, and their number.
fn classes<'run>(
    resolved: &'run ResolvedPolicy<'_>,
) -> BTreeMap<&'run [SelectorId], (&'run Endpoint, usize)> {
    let mut classes = BTreeMap::new();
    for (id, endpoint) in resolved.inventory.endpoints_with_ids() {
        classes
            .entry(resolved.applied_to(id))
            .or_insert((endpoint, 0))
            .1 += 1;
    }
    classes
}

/// The first policy of the tier in which all queries to DNS servers end, or `None` if some queries
/// may pass.
fn deaf<'input>(applied: &[EgressPolicy<'input>]) -> Option<&'input Policy> {
    for tier in applied.chunk_by(|left, right| left.tier.name == right.tier.name) {
        let mut rules = tier
            .iter()
            .flat_map(|egress| egress.policy.egress.iter().flatten());
        if rules
            .clone()
            .any(|rule| rule.action == Action::Allow && may_ask(rule))
        {
            return None;
        }
        let goes_on = rules.any(|rule| rule.action == Action::Pass && may_ask(rule));
        let first = tier.first()?;
        if first.tier.default_action == DefaultAction::Deny && !goes_on {
            return Some(first.policy);
        }
    }

    None
}

/// Whether a rule may match a query to a DNS server.
fn may_ask(rule: &Rule) -> bool {
    let is_udp = match rule.protocol {
        ProtocolMatch::Any => true,
        ProtocolMatch::Is(protocol) => protocol == Protocol::UDP,
        ProtocolMatch::IsNot(protocol) => protocol != Protocol::UDP,
    };
    let is_dns = match &rule.destination.ports {
        PortCondition::Any => true,
        PortCondition::In(ports) => {
            !ports.names.is_empty()
                || ports
                    .numbers
                    .iter()
                    .any(|range| range.first() <= DNS && DNS <= range.last())
        }
    };

    let excluded = rule
        .destination
        .not_ports
        .numbers
        .iter()
        .any(|range| range.first() <= DNS && DNS <= range.last());
    is_udp && is_dns && !excluded
}

fn finding(policy: &Policy, example: &Endpoint, count: usize) -> Diagnostic {
    let others = match count {
        1 => String::new(),
        2 => " and one pod like it".to_owned(),
        _ => format!(" and {} pods like it", count - 1),
    };
    let message = format!(
        "`{}` isolates the egress of `{example}`{others}, which no rule lets ask a DNS server",
        policy.key
    );

    let help =
        "allow UDP and TCP port 53 to the cluster's resolver, in this policy or in one beside it";
    Diagnostic::at(Code::NoDns, policy.span, message).help(help)
}
