//! `unused-rules`, `log-only`, `pass-only`: policies that do not do what their rules look like.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic};
use crate::lint::Findings;
use crate::net::Direction;
use crate::policy::{Action, DefaultAction, Policy, Tier};
use crate::resolve::Resolved;

pub(super) fn lint(resolved: &Resolved<'_>, findings: &mut Findings<'_>) {
    for (_, policy) in resolved.policies.policies() {
        unused(policy).into_iter().for_each(|finding| findings.push(finding));
    }
    for direction in Direction::BOTH {
        let tiers = &resolved.policies.tiers;
        let speaks = |tier: &&Tier| tier.policies.iter().any(|policy| policy.rules(direction).is_some());
        let last = tiers.iter().rfind(speaks).map(|tier| &tier.name);
        for tier in tiers.iter().filter(|tier| tier.default_action == DefaultAction::Deny) {
            powerless(tier, direction, Some(&tier.name) == last, findings);
        }
    }
}

/// `unused-rules`
fn unused(policy: &Policy) -> Option<Diagnostic> {
    let place = policy.unused?;
    let direction = if policy.ingress.is_none() { Direction::Ingress } else { Direction::Egress };
    let word = if direction == Direction::Ingress { "Ingress" } else { "Egress" };
    let message = format!("the {direction} rules of `{}` are switched off", policy.key);
    let help = format!("its types leave {direction} out: add `{word}` to them, or remove the rules");
    Some(Diagnostic::at(Code::UnusedRules, place, message).help(help))
}

/// `log-only` and `pass-only`, in a tier that ends in a deny. Policies beside others for the same endpoints are left alone.
fn powerless(tier: &Tier, direction: Direction, is_last: bool, findings: &mut Findings<'_>) {
    let only = |policy: &Policy, actions: &[Action]| {
        let rules = policy.rules(direction).unwrap_or_default();
        !rules.is_empty() && rules.iter().all(|rule| actions.contains(&rule.action))
    };
    let has_others = |policy: &&Policy| policy.rules(direction).is_some() && !only(policy, &[Action::Log, Action::Pass]);
    let accompanied: BTreeSet<_> = tier.policies.iter().filter(has_others).map(|policy| policy.applies_to).collect();
    for policy in tier.policies.iter().filter(|policy| !accompanied.contains(&policy.applies_to)) {
        if only(policy, &[Action::Log]) {
            let message = format!("`{}` only logs {direction}, and so denies all of it", policy.key);
            let help = "a policy isolates whom it applies to, whatever its rules: add a rule that allows or passes";
            findings.push(Diagnostic::at(Code::LogOnly, policy.span, message).help(help));
        } else if is_last && only(policy, &[Action::Log, Action::Pass]) {
            let message = format!("`{}` only passes {direction}, but no tier comes after `{}`", policy.key, tier.name);
            let help = "what it passes is allowed and the rest denied: write `Allow`, which says so";
            findings.push(Diagnostic::at(Code::PassOnly, policy.span, message).help(help));
        }
    }
}
