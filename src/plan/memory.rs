//! How the tools printed what we wrote.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::net::Family;
use crate::observe::{Backend, Observed, Tools};
use crate::plan::set_references::Looks;
use crate::plan::tables::Comparison;
use crate::plan::targets::Targets;
use crate::plan::{Desired, Plan, between};
use crate::ruleset::{Rule, TableId};

/// What was written last, and how it was read back. It is kept as long as the kernel runs; without
/// it a plan is as right, and may write more than it must.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// Version of this layout; another one is forgotten.
    pub version: u32,
    /// The build of iptables: `legacy` or `nft`.
    pub backend: String,
    /// The node.
    pub node: String,
    /// SHA-256 of the node's scripts, in hexadecimal.
    pub scripts: String,
    /// Chains, by table (`filter.v4`) and name.
    pub chains: BTreeMap<String, BTreeMap<String, Printed>>,
    /// Hooks, by table and the kernel's chain.
    pub hooks: BTreeMap<String, BTreeMap<String, Printed>>,
}

/// SHA-256 of rules as they were written, and as they were read back, in hexadecimal; for rules
/// whose words were not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printed {
    /// As they were written.
    pub wrote: String,
    /// As they were read back.
    pub read: String,
}

impl Memory {
    /// The version of this layout.
    pub const VERSION: u32 = 1;

    /// Whether it is of this layout, and about what this build prints.
    pub(super) fn is_about(&self, backend: Backend) -> bool {
        self.version == Self::VERSION && self.backend == backend.word()
    }

    /// Whether these rules were once read back, as they stand, for those that are wanted.
    pub(super) fn has_chain(
        &self,
        id: TableId,
        name: &str,
        wrote: &[&Rule],
        read: &[&Rule],
    ) -> bool {
        has(&self.chains, (id, name), wrote, read)
    }

    /// The same of jumps from one of the kernel's chains.
    pub(super) fn has_hooks(
        &self,
        id: TableId,
        name: &str,
        wrote: &[&Rule],
        read: &[&Rule],
    ) -> bool {
        has(&self.hooks, (id, name), wrote, read)
    }
}

/// What to keep in mind when a plan has run and what it did is read back.
///
/// In: the previous memory, with whatever is new in its other fields. A chain that is right by its
/// words needs no memory. One that is not, and that the plan wrote, is taken for what the tools
/// make of ours where its rules are as many and say the same ([`Rule::is_printed_as`]); it is
/// remembered, so that any change to it will be seen. Anything else keeps what is known of it. So a
/// plan between the same states, with this memory, is in sync, or else somebody has changed what we
/// wrote.
///
/// Cost: linear in the rules.
pub fn remember(desired: &Desired, observed: &Observed, plan: &Plan, previous: Memory) -> Memory {
    let comparison = Comparison {
        desired,
        observed,
        memory: None,
    };
    let looks = Looks::of(&observed.tables);
    let targets = Targets::choose(&comparison, &looks);
    let mut memory = Memory {
        version: Memory::VERSION,
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
            let (wrote, read): (Vec<&Rule>, Vec<&Rule>) = (
                wrote.iter().map(AsRef::as_ref).collect(),
                read.iter().collect(),
            );
            let is_known = has(&chains, (change.id, name), &wrote, &read);
            if is_known || plan.has_written(change.id, name) && are_alike(&wrote, &read) {
                put(&mut memory.chains, (change.id, name), &wrote, &read);
            }
        }
        for hook in change.hooks.iter().filter(|hook| hook.is_placed()) {
            let (wrote, read) = (hook.wrote(), hook.read());
            let is_known = has(&hooks, (change.id, hook.chain), &wrote, &read);
            if is_known || plan.has_written(change.id, hook.chain) && are_alike(&wrote, &read) {
                put(&mut memory.hooks, (change.id, hook.chain), &wrote, &read);
            }
        }
    }
    memory
}

/// What to keep in mind when a plan has run, and the plan from there: [`remember`] and then
/// [`between`], in one comparison where the tools print nothing in their own way.
pub fn remember_and_plan(
    desired: &Desired,
    observed: &Observed,
    (ran, previous): (&Plan, Memory),
    tools: &Tools,
) -> (Memory, Plan) {
    let nothing = Memory {
        version: Memory::VERSION,
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

type Kept = BTreeMap<String, BTreeMap<String, Printed>>;

fn has(kept: &Kept, (id, name): (TableId, &str), wrote: &[&Rule], read: &[&Rule]) -> bool {
    let printed = kept.get(&key(id)).and_then(|table| table.get(name));
    printed.is_some_and(|printed| printed.wrote == digest(wrote) && printed.read == digest(read))
}

fn put(kept: &mut Kept, (id, name): (TableId, &str), wrote: &[&Rule], read: &[&Rule]) {
    let printed = Printed {
        wrote: digest(wrote),
        read: digest(read),
    };
    kept.entry(key(id))
        .or_default()
        .insert(name.to_owned(), printed);
}

/// Whether rules that were read back say the same as those that were written, printed in the tools'
/// own way.
fn are_alike(wrote: &[&Rule], read: &[&Rule]) -> bool {
    wrote.len() == read.len()
        && wrote
            .iter()
            .zip(read)
            .all(|(wrote, read)| wrote.is_printed_as(read))
}

/// `filter.v4`.
fn key(id: TableId) -> String {
    let family = match id.family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    format!("{}.{family}", id.kind.word())
}

fn digest(rules: &[&Rule]) -> String {
    let mut digest = Sha256::new();
    for rule in rules {
        digest.update(rule.text().as_bytes());
        digest.update(b"\n");
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
