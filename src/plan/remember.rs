//! What to keep in mind of a plan that has run.

use std::collections::BTreeMap;

use crate::observe::{ObservedKernel, ToolSettings};
use crate::plan::memory::{has, put};
use crate::plan::set_references::SetReferences;
use crate::plan::tables::TableComparison;
use crate::plan::targets::SetTargets;
use crate::plan::{DesiredKernel, Plan, PrintCache, between};
use crate::ruleset::RuleText;

/// What to keep in mind when a plan has run and what it did is read back.
///
/// In: the previous memory, with whatever is new in its other fields. A chain that is right by its
/// words needs no memory. One that is not, and that the plan wrote, is taken for what the tools
/// make of ours where its rules are as many and say the same ([`RuleText::is_printed_as`]); it is
/// remembered, so that any change to it will be seen. Anything else keeps what is known of it. So a
/// plan between the same states, with this memory, is in sync, or else somebody has changed what we
/// wrote.
///
/// Cost: linear in the rules.
pub fn remember(
    desired: &DesiredKernel,
    observed: &ObservedKernel,
    plan: &Plan,
    previous: PrintCache,
) -> PrintCache {
    let comparison = TableComparison {
        desired,
        observed,
        memory: None,
    };
    let looks = SetReferences::collect(&observed.tables);
    let targets = SetTargets::choose(&comparison, &looks);
    let mut memory = PrintCache {
        version: PrintCache::VERSION,
        ..previous
    };
    let (chains, hooks) = (
        std::mem::take(&mut memory.chains),
        std::mem::take(&mut memory.hooks),
    );

    for change in comparison.changes(&targets) {
        let (_, found) = comparison.tables(change.id);
        for (name, wrote) in &change.chains {
            let Some(read) = found.chains.get(*name) else {
                continue;
            };
            let (wrote, read): (Vec<&RuleText>, Vec<&RuleText>) = (
                wrote.iter().map(AsRef::as_ref).collect(),
                read.iter().collect(),
            );
            let is_known = has(&chains, change.id, name, &wrote, &read);
            if is_known || plan.has_written(change.id, name) && are_alike(&wrote, &read) {
                put(&mut memory.chains, change.id, name, &wrote, &read);
            }
        }
        for hook in change.hooks.iter().filter(|hook| hook.is_placed()) {
            let (wrote, read) = (hook.wrote(), hook.read());
            let is_known = has(&hooks, change.id, hook.chain, &wrote, &read);
            if is_known || plan.has_written(change.id, hook.chain) && are_alike(&wrote, &read) {
                put(&mut memory.hooks, change.id, hook.chain, &wrote, &read);
            }
        }
    }

    memory
}

/// What to keep in mind when a plan has run, and the plan from there: [`remember`] and then
/// [`between`], in one comparison where the tools print nothing in their own way.
pub fn remember_and_plan(
    desired: &DesiredKernel,
    observed: &ObservedKernel,
    ran: &Plan,
    previous: PrintCache,
    tools: &ToolSettings,
) -> (PrintCache, Plan) {
    let nothing = PrintCache {
        version: PrintCache::VERSION,
        chains: BTreeMap::new(),
        hooks: BTreeMap::new(),
        ..previous.clone()
    };

    let next = between(desired, observed, &nothing, tools);
    if next.written.is_empty() {
        return (nothing, next);
    }

    let memory = remember(desired, observed, ran, previous);
    let next = between(desired, observed, &memory, tools);
    (memory, next)
}

/// Whether rules that were read back say the same as those that were written, printed in the tools'
/// own way.
fn are_alike(wrote: &[&RuleText], read: &[&RuleText]) -> bool {
    wrote.len() == read.len()
        && wrote
            .iter()
            .zip(read)
            .all(|(wrote, read)| wrote.is_printed_as(read))
}
