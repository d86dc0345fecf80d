//! Compares the desired kernel state with the observed one, and plans the calls that close the gap.
//!
//! In: a [`DesiredKernel`], an [`ObservedKernel`], and the [`PrintCache`], which records how the
//! tools print rules that Palisade wrote. Out: a [`Plan`], a value that can be printed, or that
//! `apply` can run. Absent: processes, files, time.
//!
//! Invariant: at every instant of a plan, traffic that both the old and the new policy allow
//! passes, and traffic that both deny is dropped. Each line of `ipset restore` is an instant, and
//! so is each table commit. `docs/design/updates.md` explains how, and `docs/limits.md` lists the
//! exceptions.

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

/// Ordered steps, and the differences that they remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Differences between the desired and the observed state. Empty if the kernel is in sync.
    pub differences: Vec<KernelDifference>,
    /// Steps that remove the differences, in order.
    pub steps: Vec<PlanStep>,
    /// Chains that the plan writes: Palisade chains, and built-in chains whose hooks it rewrites.
    written: BTreeSet<(TableId, String)>,
}

/// One step of a plan. A step ends before the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// Description for the operator.
    pub about: String,
    /// Calls of this step. They are independent of each other and run concurrently.
    pub calls: Vec<ToolCall>,
    /// Effect of a failed call on the rest of the plan.
    pub weight: StepWeight,
}

/// Whether the plan depends on the success of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepWeight {
    /// A failure ends the plan.
    Must,
    /// The step removes unused objects. After a failure, the next plan tries again.
    BestEffort,
}

/// One difference between the desired and the observed state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelDifference {
    /// A set is missing.
    NoSet(String),
    /// A set has another type, or its `maxelem` is too small.
    SetKind(String),
    /// `ipset` cannot list a set.
    SetUnlisted(String),
    /// Rules reference a slot of the set other than the one that the plan keeps.
    SetSplit(String),
    /// A set lacks members or has extra ones.
    Members {
        /// The set.
        set: String,
        /// Missing members: the first few, and the total count.
        missing: (Vec<String>, usize),
        /// Extra members: the first few, and the total count.
        extra: (Vec<String>, usize),
    },
    /// A Palisade set that the desired state does not contain.
    ExtraSet(String),
    /// A chain is missing.
    NoChain(TableId, String),
    /// A Palisade chain that the desired state does not contain.
    ExtraChain(TableId, String),
    /// A rule of a chain differs.
    Rule {
        /// The table.
        table: TableId,
        /// The chain.
        chain: String,
        /// The rule's number, from 1.
        number: usize,
        /// The desired rule. `None` if the chain has an extra rule here.
        wanted: Option<String>,
        /// The observed rule. `None` if it is missing.
        found: Option<String>,
    },
    /// The hook in a built-in chain is missing, moved, changed or repeated.
    Hook {
        /// The table.
        table: TableId,
        /// The built-in chain.
        chain: String,
        /// What is wrong.
        problem: HookProblem,
    },
}

/// What is wrong with a hook, the jump from a built-in chain to a Palisade chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookProblem {
    /// The hook does not exist.
    Missing,
    /// The hook is the rule at this number, from 1, instead of at the desired position.
    Moved(usize),
    /// Another rule is in the place of the hook.
    Changed,
    /// The hook exists this many times.
    Repeated(usize),
    /// The hook exists, but the desired state does not contain it.
    Extra,
}

/// Maximum number of calls that remove sets. `ipset restore` stops at the first set that the kernel
/// refuses to destroy; the sets after it in the same call remain until the next plan.
const MOST_REMOVALS: usize = 64;

/// Returns the plan that takes a kernel from the observed to the desired state. The plan is empty
/// if the kernel is in sync.
///
/// Cost: linear in sets and rules, plus a sort of the changed members if several members change.
pub fn between(
    desired: &DesiredKernel,
    observed: &ObservedKernel,
    memory: &PrintCache,
    tools: &ToolSettings,
) -> Plan {
    // A cache from another iptables build describes the output of other tools.
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
    // Gates lose members only after the commits: see `gates`.
    steps.extend(shrink(&targets, tools));
    steps.extend(by_family(
        tools,
        orders
            .iter()
            .filter_map(|order| remove_chains(order, tools)),
    ));
    // Chains go before sets: the kernel refuses to destroy a set that a rule references.
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

/// Returns the plan that removes every Palisade object from a kernel.
pub fn removal(observed: &ObservedKernel, tools: &ToolSettings) -> Plan {
    between(
        &DesiredKernel::default(),
        observed,
        &PrintCache::default(),
        tools,
    )
}

impl Plan {
    /// Returns whether the kernel enforces the desired policy. Only removals of unused objects may
    /// remain.
    pub fn is_in_force(&self) -> bool {
        self.steps
            .iter()
            .all(|step| step.weight == StepWeight::BestEffort)
    }

    /// Returns whether the plan writes the rules of a chain, or the hooks of a built-in chain.
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

/// Removes the extra members of gates, after all the changes that must precede it.
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

/// Merges the steps of both families into one that runs them concurrently. The legacy build keeps
/// them apart, because its xtables lock would make one family wait for the other.
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

/// Removes the sets that no rule references, including those that a swap put aside. Uses one call
/// for each set while [`MOST_REMOVALS`] allows, so that a set which the kernel refuses to destroy
/// does not block the others.
fn remove_sets(
    targets: &SetTargets<'_>,
    observed: &ObservedKernel,
    looks: &SetReferences<'_>,
) -> Vec<PlanStep> {
    let mut unused: BTreeSet<&str> = differences::unused(targets, observed, looks)
        .into_iter()
        .collect();
    // A swap leaves the old contents in the copy.
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
    /// Merges two steps into one that runs the calls of both.
    fn beside(mut self, other: Self) -> Self {
        self.about = format!("{}; {}", self.about, other.about);
        self.calls.extend(other.calls);
        self
    }
}

#[cfg(test)]
mod tests;
