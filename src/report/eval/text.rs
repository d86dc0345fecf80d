//! Answers as text: the verdict first, then the reasons.

use std::collections::BTreeSet;

use crate::explain::query::{QueryCase, SOURCE_PORT};
use crate::explain::{
    ExplainedGroup, PolicyRulesTrace, PolicyTrace, ProfileTrace, RuleTrace, TierTrace,
};
use crate::net::{Direction, Side};
use crate::output::{OutputSink, TerminalWriter};
use crate::policy::Rule;
use crate::report::eval::hops::forged_words;
use crate::report::eval::pairs::pairs;
use crate::report::eval::phrases::action;
use crate::report::eval::{DetailLevel, QueryReport, QueryVerdict, ScriptTrace, TracedScripts};
use crate::semantics::evaluate::{PolicySubject, TierEnd};
use crate::semantics::{RulePart, SidePart};

/// The maximum number of groups in an answer, and of pairs in a group.
const MOST_GROUPS: usize = 20;
const MOST_PAIRS: usize = 10;

/// Returns the first line of every answer: `denied: shop/web to shop/db, TCP port 5432`.
pub fn verdict_line(answer: &QueryReport<'_, '_>) -> String {
    let question = answer.question;
    let count: usize = answer.groups.iter().map(|group| pairs(group).len()).sum();
    let of = if count > 1 && answer.verdict() != QueryVerdict::Mixed {
        format!(" (all {count} pairs)")
    } else {
        String::new()
    };

    format!(
        "{}: {} to {}, {}{of}",
        answer.verdict().label(),
        question.from,
        question.to,
        question.traffic
    )
}

/// Writes the answer line by line.
pub fn text(answer: &QueryReport<'_, '_>, detail: DetailLevel, out: &mut OutputSink<'_>) {
    let mut lines = LineSink {
        out: TerminalWriter::on(out),
    };
    lines.add(0, &verdict_line(answer));
    notes(answer).iter().for_each(|note| lines.add(1, note));

    let is_brief = detail == DetailLevel::Verdict;
    match answer.groups {
        [only] if is_brief => {
            reasons(answer, only, 1, &mut lines);
            add_notes(answer.traced, 1, &mut lines);
        }
        several if is_brief && answer.verdict() != QueryVerdict::Mixed => {
            lines.add(
                1,
                &format!("in {} ways, which `palisade explain` tells", several.len()),
            );
            add_notes(answer.traced, 1, &mut lines);
        }
        groups => groups
            .iter()
            .take(MOST_GROUPS)
            .enumerate()
            .for_each(|(index, group)| {
                let traced = answer.traced.get(index);
                add_group(answer, group, traced, detail, &mut lines);
            }),
    }

    let rest = answer.groups.len().saturating_sub(MOST_GROUPS);
    if rest > 0 && !(is_brief && answer.verdict() != QueryVerdict::Mixed) {
        lines.add(
            0,
            &format!("and {rest} groups more, which `--format json` lists"),
        );
    }
}

/// Returns notes about values that the question leaves open and that a rule depends on.
pub(super) fn notes(answer: &QueryReport<'_, '_>) -> Vec<String> {
    let mut notes = Vec::new();
    let question = answer.question;
    let ways = || answer.groups.iter().flat_map(ExplainedGroup::ways);
    let teller = |parts: &[RulePart], what: &str| {
        let rule = ways().find_map(|way| {
            way.depends_on(parts)
                .next()
                .map(|(key, rule)| answer.rule(way.direction, key, rule))
        });
        rule.map_or_else(String::new, |rule| format!("; {rule} tells {what} apart"))
    };

    // a default only deserves a note if some rule's result depends on it
    if question.source_port.is_none() && question.traffic.port.is_some() {
        let parts =
            [SidePart::Ports, SidePart::NotPorts].map(|part| RulePart::Of(Side::Source, part));
        let told = teller(&parts, "source ports");
        if !told.is_empty() {
            notes.push(format!(
                "from source port {SOURCE_PORT}, our choice{told}: `--source-port N` asks about \
                 another"
            ));
        }
    }

    if question.traffic.leaves_message_open() {
        let told = teller(&[RulePart::Icmp], "messages");
        if !told.is_empty() {
            notes.push(format!(
                "{} is our choice{told}: `--port icmp/TYPE/CODE` asks about another",
                question.traffic
            ));
        }
    }

    notes
}

/// The receiver of lines.
struct LineSink<'sink, 'out> {
    out: TerminalWriter<'sink, 'out>,
}

impl LineSink<'_, '_> {
    fn add(&mut self, depth: usize, line: &str) {
        self.out.indented(depth, line);
    }
}

fn add_group(
    answer: &QueryReport<'_, '_>,
    group: &ExplainedGroup<'_>,
    traced: Option<&TracedScripts>,
    detail: DetailLevel,
    lines: &mut LineSink<'_, '_>,
) {
    lines.out.literal("\n");
    let depth = usize::from(answer.groups.len() > 1);
    if depth > 0 {
        lines.add(
            0,
            if group.is_allowed {
                "allowed:"
            } else {
                "denied:"
            },
        );
    }

    add_pairs(answer, group, depth, lines);
    if detail == DetailLevel::Verdict {
        reasons(answer, group, depth + 1, lines);
        return add_notes(
            traced.map(std::slice::from_ref).unwrap_or_default(),
            depth + 1,
            lines,
        );
    }

    add_end(answer, group, Direction::Egress, detail, depth, lines);
    for way in &group.stops {
        for host in &way.hosts {
            lines.add(depth, &answer.host_line(host));
            add_lists(answer, host, detail, depth + 1, lines);
        }
        answer
            .doing(&way.stop)
            .iter()
            .for_each(|line| lines.add(depth, line));
    }

    add_end(answer, group, Direction::Ingress, detail, depth, lines);
    add_beside(answer, group, detail, depth, lines);
    add_near_misses(answer, group, depth, lines);
    if let Some(traced) = traced {
        let of_first = if group.cases.len() > 1 {
            ", the first pair"
        } else {
            ""
        };
        add_traced(traced, of_first, depth, lines);
    }
}

fn add_pairs(
    answer: &QueryReport<'_, '_>,
    group: &ExplainedGroup<'_>,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    let pairs = pairs(group);
    for pair in pairs.iter().take(MOST_PAIRS) {
        lines.add(depth, &pair.text(answer.resolved.inventory));
    }
    if let Some(more) = pairs.len().checked_sub(MOST_PAIRS).filter(|more| *more > 0) {
        lines.add(depth, &format!("and {more} more pairs"));
    }
}

/// Adds what decides, one line for each end and each host endpoint.
fn reasons(
    answer: &QueryReport<'_, '_>,
    group: &ExplainedGroup<'_>,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    let end = |direction| {
        answer
            .end(group, direction)
            .map(|reason| format!("{direction}: {reason}"))
    };
    end(Direction::Egress)
        .iter()
        .for_each(|line| lines.add(depth, line));

    for way in &group.stops {
        way.hosts
            .iter()
            .for_each(|host| lines.add(depth, &answer.host_line(host)));
        answer
            .doing(&way.stop)
            .iter()
            .for_each(|line| lines.add(depth, line));
    }

    end(Direction::Ingress)
        .iter()
        .for_each(|line| lines.add(depth, line));
    add_beside(answer, group, DetailLevel::Verdict, depth, lines);
}

/// Adds assumptions and notes.
fn add_beside(
    answer: &QueryReport<'_, '_>,
    group: &ExplainedGroup<'_>,
    detail: DetailLevel,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    group
        .stops
        .iter()
        .flat_map(|way| answer.beside(way))
        .for_each(|line| lines.add(depth, &line));

    let forged = group
        .stops
        .iter()
        .filter_map(|way| forged_words(&way.stop, detail));
    let forged: BTreeSet<&str> = forged.collect();
    forged.into_iter().for_each(|line| lines.add(depth, line));
}

/// Adds the policy of the endpoint at an end.
fn add_end(
    answer: &QueryReport<'_, '_>,
    group: &ExplainedGroup<'_>,
    direction: Direction,
    detail: DetailLevel,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    let way = match direction {
        Direction::Egress => &group.egress,
        Direction::Ingress => &group.ingress,
    };
    let Some(reason) = answer.end(group, direction) else {
        return;
    };
    let Some(way) = way else {
        return lines.add(depth, &format!("{direction}: {reason}"));
    };

    let end = |case: &QueryCase| match direction {
        Direction::Egress => case.flow.source.owner,
        Direction::Ingress => case.flow.destination.owner,
    };

    let is_alone = group
        .cases
        .iter()
        .all(|case| end(case).map(PolicySubject::Endpoint) == Some(way.whose));
    let whose = if is_alone {
        format!(" of {}", answer.whose(way.whose))
    } else {
        String::new()
    };

    lines.add(depth, &format!("{direction}{whose}: {reason}"));
    add_lists(answer, way, detail, depth + 1, lines);
}

/// Adds the tiers and profiles of a trace.
fn add_lists(
    answer: &QueryReport<'_, '_>,
    way: &PolicyTrace<'_>,
    detail: DetailLevel,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    way.tiers
        .iter()
        .for_each(|tier| add_tier(answer, way.direction, tier, detail, depth, lines));
    way.profiles
        .iter()
        .for_each(|profile| add_profile(answer, way.direction, profile, detail, depth, lines));
}

fn add_tier(
    answer: &QueryReport<'_, '_>,
    direction: Direction,
    tier: &TierTrace<'_>,
    detail: DetailLevel,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    let end = match tier.end {
        TierEnd::Allowed => "a rule allows",
        TierEnd::Denied => "a rule denies",
        TierEnd::Passed => "a rule passes on to the next tier",
        TierEnd::DeniedByDefault => "no rule decides, and the tier denies",
        TierEnd::PassedByDefault => "no rule decides, and the tier passes on",
    };
    lines.add(depth, &format!("tier {}: {end}", tier.tier.name));

    for PolicyRulesTrace { policy, rules } in &tier.policies {
        let applies = answer
            .resolved
            .policies
            .selectors
            .describe(policy.applies_to);
        let applies = if detail == DetailLevel::Rules {
            format!(", applies to `{applies}`")
        } else {
            String::new()
        };
        lines.add(
            depth + 1,
            &format!("{} ({}){applies}", policy.key, answer.place(policy.span)),
        );
        add_rules(answer, direction, rules, detail, depth + 2, lines);
    }
}

fn add_profile(
    answer: &QueryReport<'_, '_>,
    direction: Direction,
    profile: &ProfileTrace<'_>,
    detail: DetailLevel,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    let end = match (profile.end, profile.key) {
        (Some(TierEnd::Allowed), _) => "allows",
        (Some(TierEnd::Denied | TierEnd::DeniedByDefault), None) => {
            "is not in the input, and denies"
        }
        (Some(TierEnd::Denied | TierEnd::DeniedByDefault), Some(_)) => "denies",
        (Some(TierEnd::Passed | TierEnd::PassedByDefault) | None, _) => "decides nothing",
    };
    lines.add(depth, &format!("profile {}: {end}", profile.name));

    if profile.key.is_some() {
        add_rules(answer, direction, &profile.rules, detail, depth + 1, lines);
    }
}

fn add_rules(
    answer: &QueryReport<'_, '_>,
    direction: Direction,
    rules: &[RuleTrace<'_>],
    detail: DetailLevel,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    let head = |rule: &Rule| {
        format!(
            "{direction} rule {} ({})",
            rule.number,
            answer.place(rule.span)
        )
    };

    for asked in rules {
        match asked.is_match() {
            true => lines.add(
                depth,
                &format!(
                    "{} matches and {}",
                    head(asked.rule),
                    action(asked.rule.action)
                ),
            ),
            false if detail == DetailLevel::Rules => {
                let misses: Vec<String> = asked
                    .misses
                    .iter()
                    .map(|part| answer.miss(*part, asked.rule))
                    .collect();
                lines.add(
                    depth,
                    &format!("{} does not match: {}", head(asked.rule), misses.join("; ")),
                );
            }
            false => {}
        }
    }

    if rules.is_empty() {
        lines.add(depth, &format!("it has no {direction} rule"));
    } else if !rules.iter().any(RuleTrace::is_match) && detail != DetailLevel::Rules {
        let count = if rules.len() == 1 {
            "its rule does not match".to_owned()
        } else {
            format!("none of its {} rules matches", rules.len())
        };
        lines.add(depth, &count);
    }
}

fn add_near_misses(
    answer: &QueryReport<'_, '_>,
    group: &ExplainedGroup<'_>,
    depth: usize,
    lines: &mut LineSink<'_, '_>,
) {
    let mut near: Vec<String> = Vec::new();
    for way in group.ways() {
        for miss in &way.near {
            let words = answer.near_miss(miss, way.direction);
            if !near.contains(&words) {
                near.push(words);
            }
        }
    }

    if near.is_empty() {
        return;
    }
    let of_first = if group.cases.len() > 1 {
        " of the first pair"
    } else {
        ""
    };

    lines.add(depth, &format!("near misses{of_first}:"));
    near.iter().for_each(|words| lines.add(depth + 1, words));
}

fn add_traced(traced: &TracedScripts, of_first: &str, depth: usize, lines: &mut LineSink<'_, '_>) {
    for ScriptTrace {
        node,
        script,
        verdict,
        steps,
    } in &traced.traces
    {
        lines.add(
            depth,
            &format!("scripts of node {node}{of_first}: {verdict}, by {script}"),
        );
        for step in steps {
            let comment = if step.comment.is_empty() {
                String::new()
            } else {
                format!(" ({})", step.comment)
            };
            let other = if step.script == *script {
                ""
            } else {
                step.script.rsplit('/').next().unwrap_or_default()
            };
            let other = if other.is_empty() {
                String::new()
            } else {
                format!("{other} ")
            };
            lines.add(
                depth + 1,
                &format!(
                    "{other}line {}: {} rule {}: {}{comment}",
                    step.line, step.chain, step.number, step.action
                ),
            );
        }
    }

    add_notes(std::slice::from_ref(traced), depth, lines);
}

/// Adds the notes of all groups, each once.
fn add_notes(traced: &[TracedScripts], depth: usize, lines: &mut LineSink<'_, '_>) {
    let notes: BTreeSet<&String> = traced.iter().flat_map(|traced| &traced.notes).collect();
    notes
        .into_iter()
        .for_each(|note| lines.add(depth, &format!("note: {note}")));
}
