//! `shadowed-rule`: rules that decide nothing, whoever is in the cluster.

use crate::diagnostic::{Code, Diagnostic};
use crate::lint::Findings;
use crate::lint::cover::Cover;
use crate::net::Direction;
use crate::policy::{Action, Rule};
use crate::resolve::Resolved;

/// Rules of one policy and direction that later ones are compared with. It keeps the cost linear in long policies.
const COMPARED: usize = 200;

pub(super) fn lint(resolved: &Resolved<'_>, findings: &mut Findings<'_>) {
    let mut cover = Cover::of(&resolved.policies.selectors);
    for (_, policy) in resolved.policies.policies() {
        for direction in Direction::BOTH {
            let rules = policy.rules(direction).unwrap_or_default();
            // one Kubernetes rule is several of ours, with one number
            for written in rules.chunk_by(|left, right| left.number == right.number) {
                let earlier = |rule: &Rule| written.first().is_some_and(|first| rule.number < first.number);
                let earlier = || rules.iter().take_while(|rule| earlier(rule)).filter(|rule| rule.action != Action::Log).take(COMPARED);
                let mut covering = written.iter().map(|narrow| earlier().find(|wide| cover.covers(wide, narrow)));
                let first = covering.next().flatten();
                if let (Some(wide), Some(narrow), true) = (first, written.first(), covering.all(|wide| wide.is_some())) {
                    findings.push(shadowed(wide, narrow, direction));
                }
            }
        }
    }
}

fn shadowed(wide: &Rule, narrow: &Rule, direction: Direction) -> Diagnostic {
    let message = format!("{direction} rule {} decides nothing: rule {} takes all of its packets", narrow.number, wide.number);
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
