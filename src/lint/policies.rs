//! `unused-rules`, `log-only`, `pass-only`: policies whose effect differs from what their rules
//! suggest.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic};
use crate::inventory::ProfileList;
use crate::lint::LintFindings;
use crate::net::Direction;
use crate::policy::{Action, DefaultAction, Policy, PolicyListKind, SelectorId, Tier};
use crate::resolve::ResolvedPolicy;

pub(super) fn lint(resolved: &ResolvedPolicy<'_>, findings: &mut LintFindings<'_>) {
    for (_, policy) in resolved.policies.policies() {
        unused(policy)
            .into_iter()
            .for_each(|finding| findings.push(finding));
    }

    for direction in Direction::BOTH {
        let tiers = &resolved.policies.tiers;
        let speaks = |tier: &&Tier| {
            tier.policies
                .iter()
                .any(|policy| isolates(policy, direction))
        };
        let last = tiers.iter().rfind(speaks).map(|tier| &tier.name);
        for tier in tiers
            .iter()
            .filter(|tier| tier.default_action == DefaultAction::Deny)
        {
            powerless(
                resolved,
                tier,
                Some(&tier.name) == last,
                direction,
                findings,
            );
        }
    }
}

/// `unused-rules`
fn unused(policy: &Policy) -> Option<Diagnostic> {
    let place = policy.unused?;
    let direction = if policy.ingress.is_none() {
        Direction::Ingress
    } else {
        Direction::Egress
    };
    let word = if direction == Direction::Ingress {
        "Ingress"
    } else {
        "Egress"
    };

    let message = format!("the {direction} rules of `{}` are switched off", policy.key);
    let help =
        format!("its types leave {direction} out: add `{word}` to them, or remove the rules");
    Some(Diagnostic::at(Code::UnusedRules, place, message).help(help))
}

/// Whether the policy isolates its endpoints: traffic that no policy of the tier matches gets the
/// tier's default action.
fn isolates(policy: &Policy, direction: Direction) -> bool {
    policy.is_on(PolicyListKind::Normal) && policy.rules(direction).is_some()
}

/// `log-only` and `pass-only`, in a tier that ends with a deny. Policies are skipped if all of
/// their endpoints have other policies in the tier too.
fn powerless(
    resolved: &ResolvedPolicy<'_>,
    tier: &Tier,
    is_last: bool,
    direction: Direction,
    findings: &mut LintFindings<'_>,
) {
    let only = |policy: &Policy, actions: &[Action]| {
        let rules = policy.rules(direction).unwrap_or_default();
        !rules.is_empty() && rules.iter().all(|rule| actions.contains(&rule.action))
    };
    let policies = || {
        tier.policies
            .iter()
            .filter(|policy| isolates(policy, direction))
    };
    let has_others = |policy: &&Policy| !only(policy, &[Action::Log, Action::Pass]);
    let accompanied: BTreeSet<_> = policies()
        .filter(has_others)
        .map(|policy| policy.applies_to)
        .collect();

    for policy in policies().filter(|policy| {
        only(policy, &[Action::Log, Action::Pass]) && is_alone(resolved, policy, &accompanied)
    }) {
        if only(policy, &[Action::Log]) {
            let message = format!(
                "`{}` only logs {direction}, and so denies all of it",
                policy.key
            );
            let help = "a policy isolates whom it applies to, whatever its rules: add a rule that \
                        allows or passes";
            findings.push(Diagnostic::at(Code::LogOnly, policy.span, message).help(help));
        } else if is_last && !has_profiles(resolved, policy) {
            let message = format!(
                "`{}` only passes {direction}, but no tier comes after `{}`",
                policy.key, tier.name
            );
            let help =
                "what it passes is allowed and the rest denied: write `Allow`, which says so";
            findings.push(Diagnostic::at(Code::PassOnly, policy.span, message).help(help));
        }
    }
}

/// Whether some endpoint has this policy and none of the others.
fn is_alone(resolved: &ResolvedPolicy<'_>, policy: &Policy, others: &BTreeSet<SelectorId>) -> bool {
    let endpoints = &resolved.members(policy.applies_to).endpoints;
    let has_others = |selectors: &[SelectorId]| selectors.iter().any(|id| others.contains(id));
    let alone = endpoints.is_empty()
        || endpoints
            .iter()
            .any(|id| !has_others(resolved.applied_to(*id)));
    alone && !others.contains(&policy.applies_to)
}

/// Whether profiles may deny after the last tier for some endpoint of the policy. True for host
/// endpoints, because they list their own profiles.
fn has_profiles(resolved: &ResolvedPolicy<'_>, policy: &Policy) -> bool {
    let members = resolved.members(policy.applies_to);
    let has_own = |profiles: &ProfileList| *profiles != ProfileList::OfPod;
    !members.host_endpoints.is_empty()
        || members
            .endpoints
            .iter()
            .any(|id| has_own(&resolved.inventory.endpoint(*id).profiles))
}
