//! Lists the differences, in terms that do not depend on how the plan removes them.

use std::collections::BTreeSet;

use crate::observe::ObservedKernel;
use crate::plan::delta::MemberDelta;
use crate::plan::set_references::SetReferences;
use crate::plan::slots::{base, is_copy, slots};
use crate::plan::tables::{HookJumps, TableChange, TableComparison};
use crate::plan::targets::{FillStrategy, SetTarget, SetTargets, can_be_filled};
use crate::plan::{HookProblem, KernelDifference};
use crate::ruleset::{ParsedSet, RulePosition, RuleText, TableId};

/// How many of the differing members a difference lists by name.
const NAMED: usize = 5;

/// Returns all differences: sets first, then tables.
pub(super) fn differences(
    comparison: &TableComparison<'_>,
    targets: &SetTargets<'_>,
    looks: &SetReferences<'_>,
    changes: &[TableChange<'_>],
) -> Vec<KernelDifference> {
    let mut found = Vec::new();
    let copied: BTreeSet<String> = looks
        .sets()
        .filter(|slot| is_copy(slot))
        .map(base)
        .collect();

    for (name, target) in &targets.sets {
        let is_as_ever =
            target.way == FillStrategy::Stands && target.slot == *name && !copied.contains(*name);
        found.extend(if is_as_ever {
            None
        } else {
            of_set(name, target, comparison.observed, looks)
        });
    }

    // A slot that rules still reference is reported as part of its set.
    let is_live = |slot: &str| looks.has(slot) && targets.sets.contains_key(base(slot).as_str());
    let unused = unused(targets, comparison.observed, looks)
        .into_iter()
        .filter(|slot| !is_live(slot));
    found.extend(unused.map(|slot| KernelDifference::ExtraSet(slot.to_owned())));
    changes
        .iter()
        .for_each(|change| of_table(change, comparison, &mut found));

    found
}

/// Returns the Palisade sets that no rule will reference after the plan, except those that foreign
/// rules reference.
pub(super) fn unused<'all>(
    targets: &SetTargets<'_>,
    observed: &'all ObservedKernel,
    looks: &SetReferences<'_>,
) -> Vec<&'all str> {
    let all: BTreeSet<&str> = observed
        .sets
        .keys()
        .chain(&observed.unlisted)
        .map(String::as_str)
        .collect();
    all.into_iter()
        .filter(|slot| !targets.keeps(slot) && !looks.is_of_others(slot))
        .collect()
}

/// Formats a count: `1 set`, `3 sets`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// Compares a set with the slot that rules reference, or else with the first slot that exists.
fn of_set(
    name: &str,
    target: &SetTarget<'_>,
    observed: &ObservedKernel,
    looks: &SetReferences<'_>,
) -> Option<KernelDifference> {
    let looked: Vec<String> = slots(name).filter(|slot| looks.has(slot)).collect();
    if target.way == FillStrategy::Stands {
        let other = looked.into_iter().find(|slot| *slot != target.slot)?;
        let found = observed.sets.get(&other).filter(|found| {
            can_be_filled(found, target.set) && found.members != target.set.members
        });
        return Some(found.map_or_else(
            || KernelDifference::SetSplit(name.to_owned()),
            |found| of_members(name, target.set, found),
        ));
    }

    let found = looked
        .into_iter()
        .chain(slots(name))
        .find(|slot| observed.sets.contains_key(slot) || observed.unlisted.contains(slot));
    let Some(slot) = found else {
        return Some(KernelDifference::NoSet(name.to_owned()));
    };
    let Some(found) = observed.sets.get(&slot) else {
        return Some(KernelDifference::SetUnlisted(name.to_owned()));
    };
    if !can_be_filled(found, target.set) {
        return Some(KernelDifference::SetKind(name.to_owned()));
    }

    Some(of_members(name, target.set, found))
}

fn of_members(name: &str, wanted: &ParsedSet, found: &ParsedSet) -> KernelDifference {
    let MemberDelta { missing, extra } = MemberDelta::between(&wanted.members, &found.members);
    let [missing, extra] = [missing, extra].map(|members| {
        (
            members
                .iter()
                .take(NAMED)
                .map(ToString::to_string)
                .collect(),
            members.len(),
        )
    });

    KernelDifference::Members {
        set: name.to_owned(),
        missing,
        extra,
    }
}

fn of_table(
    change: &TableChange<'_>,
    comparison: &TableComparison<'_>,
    out: &mut Vec<KernelDifference>,
) {
    let (wanted, found) = comparison.tables(change.id);
    for name in change.chains.iter().map(|(name, _)| *name) {
        match (wanted.chains.get(name), found.chains.get(name)) {
            (Some(_), None) => out.push(KernelDifference::NoChain(change.id, name.to_owned())),
            (Some(wanted), Some(found)) => of_chain(change.id, name, wanted, found, out),
            (None, _) => out.push(KernelDifference::ExtraChain(change.id, name.to_owned())),
        }
    }

    let is_named = |name: &&&str| !change.chains.iter().any(|(other, _)| other == *name);
    out.extend(
        change
            .unwanted
            .iter()
            .filter(is_named)
            .map(|name| KernelDifference::ExtraChain(change.id, (*name).to_owned())),
    );

    out.extend(change.hooks.iter().map(|hooks| KernelDifference::Hook {
        table: change.id,
        chain: hooks.chain.to_owned(),
        problem: problem(hooks),
    }));
}

/// Reports the rules that differ by more than the slots that they reference, since set differences
/// report those. Skips the equal rules at both ends, so that one missing or extra rule is one
/// difference and does not shift all the rules after it.
fn of_chain(
    id: TableId,
    name: &str,
    wanted: &[RuleText],
    found: &[RuleText],
    out: &mut Vec<KernelDifference>,
) {
    let [left, right] = [wanted, found].map(|rules| {
        rules
            .iter()
            .map(|rule| rule.with_sets(base))
            .collect::<Vec<RuleText>>()
    });
    let is_same = |pair: &(&RuleText, &RuleText)| pair.0.does_same(pair.1);
    let before = left.iter().zip(&right).take_while(is_same).count();
    let [left, right] = [&left, &right].map(|rules| rules.get(before..).unwrap_or_default());
    let behind = left
        .iter()
        .rev()
        .zip(right.iter().rev())
        .take_while(is_same)
        .count();
    let [left, right] =
        [left, right].map(|rules| rules.get(..rules.len() - behind).unwrap_or_default());

    for at in 0..left.len().max(right.len()) {
        let [wanted, found] = [left.get(at), right.get(at)];
        if wanted.map(RuleText::split_words) != found.map(RuleText::split_words) {
            let [wanted, found] =
                [wanted, found].map(|rule| rule.map(|rule| rule.text().to_owned()));
            out.push(KernelDifference::Rule {
                table: id,
                chain: name.to_owned(),
                number: before + at + 1,
                wanted,
                found,
            });
        }
    }
}

fn problem(hooks: &HookJumps<'_>) -> HookProblem {
    match (hooks.wanted.as_slice(), hooks.found.as_slice()) {
        ([], _) => HookProblem::Extra,
        (_, []) => HookProblem::Missing,
        ([_], [_, _, ..]) => HookProblem::Repeated(hooks.found.len()),
        (_, [first, ..]) if !hooks.is_placed() => HookProblem::Moved(match first.place {
            RulePosition::Head => 1,
            RulePosition::Number(number) | RulePosition::At(number) => number,
        }),
        (_, [_, ..]) => HookProblem::Changed,
    }
}
