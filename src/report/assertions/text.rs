//! Assertion results as text: a line for each assertion, and the reasons after each failed one.

use crate::assertions::{Assertion, AssertionVerdict, Coverage};
use crate::output::{OutputSink, TerminalWriter};
use crate::packet_space::RuleId;
use crate::report::assertions::TestedAssertions;

/// Writes the results line by line.
pub fn text(tested: &TestedAssertions<'_, '_>, out: &mut OutputSink<'_>) {
    let mut lines = Vec::new();
    for (assertion, verdict) in tested.found() {
        let word = if verdict.is_passed(assertion) {
            "ok     "
        } else {
            "FAILED "
        };
        lines.push(format!(
            "{word}{}:{}: {}",
            tested.file(assertion.span),
            tested.line(assertion.span),
            assertion.title()
        ));
        lines.extend(
            details(tested, assertion, verdict)
                .into_iter()
                .map(|line| format!("  {line}")),
        );
    }

    let (all, failed) = (tested.assertions.len(), tested.failed());
    let word = if all == 1 { "assertion" } else { "assertions" };
    lines.push(if failed == 0 {
        format!("{all} {word} passed")
    } else {
        format!("{failed} of {all} {word} failed")
    });

    if let Some(coverage) = &tested.proof.coverage {
        add_coverage(tested, coverage, &mut lines);
    }

    let mut out = TerminalWriter::on(out);
    lines.iter().for_each(|line| out.line(line));
}

/// Adds what is wrong, and what decides about the counterexample.
pub(super) fn details(
    tested: &TestedAssertions<'_, '_>,
    assertion: &Assertion,
    verdict: &AssertionVerdict<'_>,
) -> Vec<String> {
    let mut lines: Vec<String> = tested.message(assertion, verdict).into_iter().collect();
    if let AssertionVerdict::Fails(group) = verdict {
        lines.extend(
            tested
                .reasons(group)
                .into_iter()
                .map(|(direction, reason)| format!("  {direction}: {reason}")),
        );
    }
    lines
}

fn add_coverage(
    tested: &TestedAssertions<'_, '_>,
    coverage: &Coverage<'_>,
    lines: &mut Vec<String>,
) {
    let (touched, all) = (coverage.touched(), coverage.rules.len());
    lines.push(format!(
        "coverage: {}%, {touched} of {all} rules",
        coverage.percent()
    ));

    let place = |rule: &RuleId<'_>| {
        format!(
            "{}:{}",
            tested.file(rule.rule.span),
            tested.line(rule.rule.span)
        )
    };

    lines.extend(coverage.untouched().map(|rule| {
        format!(
            "  no assertion touches {} ({})",
            TestedAssertions::rule(rule),
            place(rule)
        )
    }));
}
