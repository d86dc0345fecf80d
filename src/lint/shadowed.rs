//! `shadowed-rule`: rules that decide nothing, whoever is in the cluster.

use crate::diagnostic::{Code, Diagnostic};
use crate::lint::cover::RuleCover;
use crate::lint::{ExplainedSelectors, LintFindings};
use crate::net::Direction;
use crate::policy::{Action, PeerSelection, Rule};
use crate::resolve::ResolvedPolicy;

/// Rules of one policy and direction that later ones are compared with. It keeps the cost linear in
/// long policies.
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
            // one Kubernetes rule is several of ours, with one number
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

/// Whether another lint has spoken about whom a rule selects.
fn is_explained(rule: &Rule, explained: &ExplainedSelectors) -> bool {
    let sides = [&rule.source, &rule.destination];
    sides
        .into_iter()
        .any(|peer| matches!(peer.selected, PeerSelection::By(id) if explained.contains(&id)))
}

/// The first of the rules before a written rule that together leave nothing to it, and the rule
/// itself.
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
