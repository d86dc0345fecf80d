//! Updates the print cache after a plan has run.

use std::collections::BTreeMap;

use crate::observe::{ObservedKernel, ToolSettings};
use crate::plan::memory::{has, put};
use crate::plan::set_references::SetReferences;
use crate::plan::tables::TableComparison;
use crate::plan::targets::SetTargets;
use crate::plan::{DesiredKernel, Plan, PrintCache, between};
use crate::ruleset::RuleText;

/// Returns the print cache after a plan has run and the kernel was read back.
///
/// In: the previous cache, whose other fields are already up to date. A chain whose text matches
/// needs no entry. If the text of a chain differs and the plan wrote the chain, the printed rules
/// count as ours if their number is the same and each says the same ([`RuleText::is_printed_as`]).
/// An entry then records their digest, so that any later change is a difference. All other entries
/// stay. So a plan between the same states, with this cache, is in sync unless another program has
/// changed the rules.
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
            // Rules that the plan did not write are not trusted, however alike.
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

/// Returns the print cache after a plan has run, and the next plan: [`remember`], then [`between`].
/// Needs only one comparison if the tools print every rule as written.
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

    // The tools print most rules as written, so this comparison usually suffices.
    let next = between(desired, observed, &nothing, tools);
    if next.written.is_empty() {
        return (nothing, next);
    }

    let memory = remember(desired, observed, ran, previous);
    let next = between(desired, observed, &memory, tools);
    (memory, next)
}

/// Returns whether rules that were read back mean the same as the written ones, printed in the
/// tools' own form.
fn are_alike(wrote: &[&RuleText], read: &[&RuleText]) -> bool {
    wrote.len() == read.len()
        && wrote
            .iter()
            .zip(read)
            .all(|(wrote, read)| wrote.is_printed_as(read))
}
