//! `shadowed-rule`: rules that decide nothing in any cluster.

use crate::diagnostic::{Code, Diagnostic};
use crate::lint::cover::RuleCover;
use crate::lint::{ExplainedSelectors, LintFindings};
use crate::net::Direction;
use crate::policy::{Action, PeerSelection, Rule};
use crate::resolve::ResolvedPolicy;

/// Maximum number of earlier rules of a policy and direction that a rule is compared with. It keeps
/// the cost linear for long policies.
const COMPARED: usize = 200;

pub(super) fn lint(
    resolved: &ResolvedPolicy<'_>,
    explained: &ExplainedSelectors,
    findings: &mut LintFindings<'_>,
) {
    for (_, policy) in resolved.policies.policies() {
        let mut cover = RuleCover::new(&resolved.policies.selectors);
        for direction in Direction::BOTH {
            let rules = policy.rules(direction).unwrap_or_default();
            // a Kubernetes rule becomes several checked rules with one number
            let written = rules.chunk_by(|left, right| left.number == right.number);
            for written in
                written.filter(|parts| !parts.iter().any(|rule| is_explained(rule, explained)))
            {
                let shadow = shadow(written, rules, &mut cover);
                shadow
                    .into_iter()
                    .for_each(|(wide, narrow)| findings.push(shadowed(wide, narrow, direction)));
            }
        }
    }
}

/// Whether another lint already has a finding about the peers that a rule selects.
fn is_explained(rule: &Rule, explained: &ExplainedSelectors) -> bool {
    let sides = [&rule.source, &rule.destination];
    sides
        .into_iter()
        .any(|peer| matches!(peer.selected, PeerSelection::By(id) if explained.contains(&id)))
}

/// Returns the first of the earlier rules that together cover a written rule, and the rule itself.
/// Returns `None` if they do not cover all of it.
fn shadow<'input>(
    written: &'input [Rule],
    rules: &'input [Rule],
    cover: &mut RuleCover<'input>,
) -> Option<(&'input Rule, &'input Rule)> {
    let narrow = written.first()?;
    let earlier = || {
        rules
            .iter()
            .take_while(|rule| rule.number < narrow.number)
            .filter(|rule| rule.action != Action::Log)
            .take(COMPARED)
    };
    let mut covering = written
        .iter()
        .map(|part| earlier().find(|wide| cover.covers(wide, part)));
    let wide = covering.next()??;

    covering
        .all(|wide| wide.is_some())
        .then_some((wide, narrow))
}

fn shadowed(wide: &Rule, narrow: &Rule, direction: Direction) -> Diagnostic {
    let message = format!(
        "{direction} rule {} decides nothing: rule {} takes all of its packets",
        narrow.number, wide.number
    );
    let help = match wide.action == narrow.action {
        true => "remove it; the verdicts stay the same",
        false => "put it before the other rule if it is meant as an exception, else remove it",
    };
    let verdict = format!("this one says {}", wide.action);

    Diagnostic::new(Code::ShadowedRule, message)
        .label(narrow.span, format!("this one says {}", narrow.action))
        .label(wide.span, verdict)
        .help(help)
}
