//! Parses scripts into sets and members, tables, chains, rules and hooks.
//!
//! In: the input of `ipset restore` and `iptables-restore`, as written by Palisade or by `ipset
//! save` and `iptables-save`. Out: [`ParsedSets`] and [`ParsedTable`]s, which can be compared and
//! written again. Foreign objects are kept apart: a name is Palisade's if it begins with
//! [`PREFIX`]. Absent: the meaning of rules, files, and the kernel.
//!
//! Truncated text (a table without `COMMIT`) is an error, never "nothing": iptables-save has
//! printed half a table and exited with 0 (projectcalico/felix#2501).
//!
//! Cost: linear in the text, plus a sort of each set's members.

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

/// Prefix of all names that Palisade gives in the kernel.
pub const PREFIX: &str = "pal-";

/// Returns whether a set or chain is Palisade's, by its name.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

#[cfg(test)]
mod tests;
