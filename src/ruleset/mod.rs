//! Scripts by their parts: sets and members, tables, chains, rules and hooks.
//!
//! In: the text that `ipset restore` and `iptables-restore` take, whether palisade wrote it or
//! `ipset save` and `iptables-save` did. Out: [`ParsedSets`] and [`ParsedTable`]s, which can be
//! compared and written again. What is not ours is kept apart: a name is ours when it begins with
//! [`PREFIX`]. Absent: what rules mean, files, and the kernel.
//!
//! Text that ends before its end (a table without `COMMIT`) is an error and never "nothing":
//! iptables-save has printed half a table and exited with 0 (projectcalico/felix#2501).
//!
//! Cost: linear in the text, and a sort of each set's members.

mod checked;
mod lines;
mod member;
mod rule;
mod canonical;
mod sets;
mod tables;

pub use checked::{
    CheckedRule, CheckedScripts, CheckedTable, CheckedTarget, ConntrackMatch, InterfaceMatch,
    KernelContents, RuleCondition, SETS_FILE, ScriptError,
};
pub use lines::lines;
pub use member::{ParsedMember, SetKind};
pub use rule::{RuleCounters, RuleJump, RuleText, SetMatch};
pub use sets::{ParsedSet, ParsedSets, SetError};
pub use tables::{
    HookRule, KernelChain, ParsedTable, RulePosition, TableError, TableId, TableKind,
};

/// What every name of ours begins with.
pub const PREFIX: &str = "pal-";

/// Whether a set or a chain is ours, by its name.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

#[cfg(test)]
mod tests;
