//! Result of an apply.

use std::fmt;

use serde::Serialize;

use crate::apply::Inspection;
use crate::observe::IptablesBackend;
use crate::plan::{HookProblem, KernelDifference};

/// Result of an apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOutcome {
    /// The node's name. Empty after an uninstall.
    pub node: String,
    /// The iptables build.
    pub backend: IptablesBackend,
    /// Differences before the apply.
    pub counts: DifferenceCounts,
    /// Number of calls that wrote.
    pub calls: usize,
    /// Number of write rounds until the kernel was in sync. 0 if it was in sync before.
    pub rounds: usize,
    /// Unused objects that could not be removed yet, with the reasons.
    pub left: Vec<String>,
    /// Whether an unconfirmed earlier apply was rolled back first.
    pub took_back: bool,
    /// Whether the last good bundle was damaged, so that this bundle replaced it and an unconfirmed
    /// apply.
    pub gave_up: bool,
    /// The last reading of the kernel, which was in sync. `None` if objects were removed after it.
    /// As large as the kernel's sets.
    pub look: Option<Box<Inspection>>,
}

/// Number of differences by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferenceCounts {
    /// Sets that were missing, or had another type.
    pub sets_made: usize,
    /// Sets with other members.
    pub sets_changed: usize,
    /// Members missing from these sets.
    pub members_added: usize,
    /// Extra members of these sets.
    pub members_removed: usize,
    /// Unwanted sets.
    pub sets_removed: usize,
    /// Chains that were missing, or had other rules.
    pub chains_written: usize,
    /// Unwanted chains.
    pub chains_removed: usize,
    /// Hooks in built-in chains that were missing, moved or changed.
    pub jumps: usize,
    /// Unwanted hooks.
    pub jumps_removed: usize,
}

impl DifferenceCounts {
    /// Counts differences. Several differing rules of a chain count as one chain.
    pub fn from_differences(differences: &[KernelDifference]) -> Self {
        let mut counts = Self::default();
        let mut chain = None;
        for difference in differences {
            match difference {
                KernelDifference::NoSet(_)
                | KernelDifference::SetKind(_)
                | KernelDifference::SetUnlisted(_)
                | KernelDifference::SetSplit(_) => counts.sets_made += 1,
                KernelDifference::Members { missing, extra, .. } => {
                    counts.sets_changed += 1;
                    counts.members_added += missing.1;
                    counts.members_removed += extra.1;
                }
                KernelDifference::ExtraSet(_) => counts.sets_removed += 1,
                KernelDifference::NoChain(..) => counts.chains_written += 1,
                KernelDifference::ExtraChain(..) => counts.chains_removed += 1,
                KernelDifference::Rule {
                    table, chain: name, ..
                } => {
                    // Differing rules of one chain follow each other in the list.
                    let is_new = chain.replace((table, name)) != Some((table, name));
                    counts.chains_written += usize::from(is_new);
                }
                KernelDifference::Hook {
                    problem: HookProblem::Extra,
                    ..
                } => counts.jumps_removed += 1,
                KernelDifference::Hook { .. } => counts.jumps += 1,
            }
        }

        counts
    }
}

impl ApplyOutcome {
    pub(super) fn new(node: &str, backend: IptablesBackend) -> Self {
        Self {
            node: node.to_owned(),
            backend,
            counts: DifferenceCounts::default(),
            calls: 0,
            rounds: 0,
            left: Vec::new(),
            took_back: false,
            gave_up: false,
            look: None,
        }
    }

    /// Returns whether nothing was written.
    pub fn is_in_sync(&self) -> bool {
        self.calls == 0
    }

    /// Adds the result of a run on the same node with the other iptables build.
    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.rounds = self.rounds.max(other.rounds);
        self.left = other.left;
        self.look = None;
        let (mine, its) = (&mut self.counts, other.counts);
        // Both builds list the same sets, so a sum would count them twice.
        mine.sets_removed = mine.sets_removed.max(its.sets_removed);
        mine.chains_removed += its.chains_removed;
        mine.jumps += its.jumps;
        mine.jumps_removed += its.jumps_removed;
    }
}

impl fmt::Display for DifferenceCounts {
    /// Formats `3 sets made, 2 sets changed (+4 -1 members), 12 chains written`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = format!(
            " changed (+{} -{} members)",
            self.members_added, self.members_removed
        );
        let parts = [
            (self.sets_made, "set", " made"),
            (self.sets_changed, "set", members.as_str()),
            (self.chains_written, "chain", " written"),
            (self.jumps, "jump", " set right"),
            (self.jumps_removed, "jump", " removed"),
            (self.chains_removed, "chain", " removed"),
            (self.sets_removed, "set", " removed"),
        ];

        let part = |(count, what, done): &(usize, &str, &str)| {
            format!("{count} {what}{}{done}", if *count == 1 { "" } else { "s" })
        };

        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(part)
            .collect();
        out.write_str(&if parts.is_empty() {
            "nothing".to_owned()
        } else {
            parts.join(", ")
        })
    }
}
