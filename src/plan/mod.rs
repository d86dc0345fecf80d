//! What the kernel is to hold and what it holds, to the calls that bring it there.
//!
//! In: a [`DesiredKernel`] state, what was [`ObservedKernel`], and the [`PrintCache`] of how the
//! tools printed what we wrote. Out: a [`Plan`], a value that can be printed, or run by `apply`.
//! Absent: processes, files, time.
//!
//! The law: at every instant of a plan, what was allowed and will be allowed passes, and what was
//! denied and will be denied does not. Each line for ipset is an instant, and each table's commit.
//! `docs/design/updates.md` explains it, and `docs/limits.md` has the exceptions.

mod delta;
mod desired;
mod differences;
mod fill;
mod gates;
mod guard;
mod set_references;
mod memory;
mod order;
mod print;
mod remember;
mod restore;
mod slots;
mod tables;
mod target_planner;
mod targets;

pub use desired::DesiredKernel;
pub use memory::{PrintCache, PrintedDigest};
pub use remember::{remember, remember_and_plan};
pub use slots::{base, slots};

use std::collections::BTreeSet;

use crate::net::Family;
use crate::observe::{IptablesBackend, ObservedKernel, ToolSettings};
use crate::ruleset::TableId;
use crate::runner::ToolCall;

use fill::FillScript;
use order::FamilyOrder;
use set_references::SetReferences;
use tables::TableComparison;
use targets::SetTargets;

/// Steps in their order, and what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What differs now; nothing where the kernel is in sync.
    pub differences: Vec<KernelDifference>,
    /// What is done about it, in order.
    pub steps: Vec<PlanStep>,
    /// Chains that are written, ours and those of the kernel whose jumps are.
    written: BTreeSet<(TableId, String)>,
}

/// One step of a plan, which ends before the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// What it does, for people.
    pub about: String,
    /// How it is done: calls that do not depend on each other, and run at once.
    pub calls: Vec<ToolCall>,
    /// What becomes of the plan when a call fails.
    pub weight: StepWeight,
}

/// How much a step matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepWeight {
    /// The plan ends where it fails.
    Must,
    /// It removes what is no longer used; where it fails it is tried again with the next plan.
    BestEffort,
}

/// How the kernel differs from what it is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelDifference {
    /// A set is missing.
    NoSet(String),
    /// A set is of another type, or too small.
    SetKind(String),
    /// `ipset` cannot list a set.
    SetUnlisted(String),
    /// Rules look into a copy of a set that is not the one to stay.
    SetSplit(String),
    /// Members of a set are missing, or too many: the first of each, and how many there are.
    Members {
        /// The set.
        set: String,
        /// Missing: the first few, and how many.
        missing: (Vec<String>, usize),
        /// Too many: the first few, and how many.
        extra: (Vec<String>, usize),
    },
    /// A set of ours that nobody wants.
    ExtraSet(String),
    /// A chain is missing.
    NoChain(TableId, String),
    /// A chain of ours that nobody wants.
    ExtraChain(TableId, String),
    /// A rule of a chain differs: its number from 1, what is wanted, what is there.
    Rule {
        /// The table.
        table: TableId,
        /// The chain.
        chain: String,
        /// The rule's number, from 1.
        number: usize,
        /// What it is to be; none where there is one too many.
        wanted: Option<String>,
        /// What it is; none where it is missing.
        found: Option<String>,
    },
    /// The jump from one of the kernel's chains into ours is missing, moved, changed or there more
    /// than once.
    Hook {
        /// The table.
        table: TableId,
        /// The kernel's chain.
        chain: String,
        /// What is wrong.
        problem: HookProblem,
    },
}

/// What can be wrong with a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookProblem {
    /// It is not there.
    Missing,
    /// It stands at this number, and is to stand at the other end.
    Moved(usize),
    /// It is another rule than ours.
    Changed,
    /// It is there so many times.
    Repeated(usize),
    /// It is there, and nobody wants it.
    Extra,
}

/// The most calls that remove sets. A set that cannot be removed keeps back those behind it in its
/// call, until the next plan.
const MOST_REMOVALS: usize = 64;

/// The plan that brings a kernel from what was observed to what is desired, or tells that it is
/// there.
///
/// Cost: linear in sets and rules, and a sort of the members that change where several do.
pub fn between(
    desired: &DesiredKernel,
    observed: &ObservedKernel,
    memory: &PrintCache,
    tools: &ToolSettings,
) -> Plan {
    let memory = Some(memory).filter(|memory| memory.is_about(tools.backend));
    let comparison = TableComparison {
        desired,
        observed,
        memory,
    };
    let looks = SetReferences::collect(&observed.tables);
    let targets = SetTargets::choose(&comparison, &looks);
    let changes = comparison.changes(&targets);

    let mut steps = Vec::new();
    steps.extend(fill(&targets, observed, tools));
    let orders =
        Family::BOTH.map(|family| FamilyOrder::new(family, &changes, &comparison, &targets));
    steps.extend(by_family(
        tools,
        orders.iter().filter_map(|order| commit(order, tools)),
    ));
    steps.extend(shrink(&targets, tools));
    steps.extend(by_family(
        tools,
        orders
            .iter()
            .filter_map(|order| remove_chains(order, tools)),
    ));
    steps.extend(remove_sets(&targets, observed, &looks));

    let chains = changes.iter().flat_map(|change| {
        let names = change
            .chains
            .iter()
            .map(|(name, _)| *name)
            .chain(change.hooks.iter().map(|hooks| hooks.chain));
        names.map(|name| (change.id, name.to_owned()))
    });

    Plan {
        differences: differences::differences(&comparison, &targets, &looks, &changes),
        steps,
        written: chains.collect(),
    }
}

/// The plan that takes everything of ours out of a kernel.
pub fn removal(observed: &ObservedKernel, tools: &ToolSettings) -> Plan {
    between(
        &DesiredKernel::default(),
        observed,
        &PrintCache::default(),
        tools,
    )
}

impl Plan {
    /// Whether policy is in force as desired: at most, something unused is left to remove.
    pub fn is_in_force(&self) -> bool {
        self.steps
            .iter()
            .all(|step| step.weight == StepWeight::BestEffort)
    }

    /// Whether a chain's rules, or the jumps from one of the kernel's, are written.
    fn has_written(&self, table: TableId, chain: &str) -> bool {
        self.written.contains(&(table, chain.to_owned()))
    }
}

fn fill(
    targets: &SetTargets<'_>,
    observed: &ObservedKernel,
    tools: &ToolSettings,
) -> Vec<PlanStep> {
    let call = |text: String| tools.sets_restore().with_input(text);
    let step = |(about, texts): (String, Vec<String>)| PlanStep {
        about,
        calls: texts.into_iter().map(call).collect(),
        weight: StepWeight::Must,
    };

    FillScript::new(targets, observed)
        .parts()
        .into_iter()
        .map(step)
        .collect()
}

/// Takes out of gates what they are to lose, behind all that they may not lose it before.
fn shrink(targets: &SetTargets<'_>, tools: &ToolSettings) -> Option<PlanStep> {
    let (input, count) = fill::shrink(targets);
    let sets = differences::counted(count, "set");
    let about = format!("take out of {sets} of source validation what is to go");
    let calls = vec![tools.sets_restore().with_input(input)];
    (count > 0).then_some(PlanStep {
        about,
        calls,
        weight: StepWeight::Must,
    })
}

/// The steps of both families: at once where nothing keeps one waiting for the other, as the lock
/// of the legacy build does.
fn by_family(tools: &ToolSettings, steps: impl Iterator<Item = PlanStep>) -> Vec<PlanStep> {
    match tools.backend {
        IptablesBackend::Legacy => steps.collect(),
        IptablesBackend::Nft => steps.reduce(PlanStep::beside).into_iter().collect(),
    }
}

fn commit(order: &FamilyOrder<'_>, tools: &ToolSettings) -> Option<PlanStep> {
    let input = order.write();
    let calls = |input: String| vec![tools.restore(order.family).with_input(input)];
    (!input.is_empty()).then(|| PlanStep {
        about: order.to_string(),
        calls: calls(input),
        weight: StepWeight::Must,
    })
}

fn remove_chains(order: &FamilyOrder<'_>, tools: &ToolSettings) -> Option<PlanStep> {
    let (input, count) = order.remove();
    let about = format!(
        "{}: remove chains that nobody wants ({count})",
        order.family
    );
    (count > 0).then(|| PlanStep {
        about,
        calls: vec![tools.restore(order.family).with_input(input)],
        weight: StepWeight::BestEffort,
    })
}

/// Removes sets that no rule looks into any more, those among them that were swapped out: one by
/// one, so that one which the kernel keeps does not keep others back.
fn remove_sets(
    targets: &SetTargets<'_>,
    observed: &ObservedKernel,
    looks: &SetReferences<'_>,
) -> Vec<PlanStep> {
    let mut unused: BTreeSet<&str> = differences::unused(targets, observed, looks)
        .into_iter()
        .collect();
    unused.extend(targets.sets.values().filter_map(|target| target.way.copy()));

    let unused: Vec<&str> = unused.into_iter().collect();
    let size = unused.len().div_ceil(MOST_REMOVALS).max(1);
    let step = |names: &[&str]| {
        let call = match names {
            [only] => ToolCall::new("ipset", &["destroy", only]),
            many => ToolCall::new("ipset", &["restore"]).with_input(
                many.iter()
                    .map(|name| format!("destroy {name}\n"))
                    .collect(),
            ),
        };
        PlanStep {
            about: format!(
                "remove {} that no rule looks into",
                differences::counted(names.len(), "set")
            ),
            calls: vec![call],
            weight: StepWeight::BestEffort,
        }
    };
    unused.chunks(size).map(step).collect()
}

impl PlanStep {
    /// Both as one.
    fn beside(mut self, other: Self) -> Self {
        self.about = format!("{}; {}", self.about, other.about);
        self.calls.extend(other.calls);
        self
    }
}

#[cfg(test)]
mod tests;
