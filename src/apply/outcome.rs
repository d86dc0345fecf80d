//! What an apply did.

use std::fmt;

use serde::Serialize;

use crate::apply::Inspection;
use crate::observe::IptablesBackend;
use crate::plan::{HookProblem, KernelDifference};

/// What an apply did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOutcome {
    /// The node; empty where nothing was to be left of any.
    pub node: String,
    /// The build of iptables.
    pub backend: IptablesBackend,
    /// What differed before.
    pub counts: DifferenceCounts,
    /// Calls that wrote.
    pub calls: usize,
    /// How often was written before it held; 0 where it held already.
    pub rounds: usize,
    /// What is no longer used and could not be removed yet.
    pub left: Vec<String>,
    /// Whether an apply that nobody confirmed in time was taken back first.
    pub took_back: bool,
    /// Whether one could not be taken back, since the last good bundle was damaged, and this one
    /// took the place of both.
    pub gave_up: bool,
    /// The last look at the kernel, which found what is wanted; none where something was removed
    /// behind it. It is as large as the kernel's sets.
    pub look: Option<Box<Inspection>>,
}

/// How much differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferenceCounts {
    /// Sets that were missing, or of another type.
    pub sets_made: usize,
    /// Sets whose members differed.
    pub sets_changed: usize,
    /// Members that were missing from those.
    pub members_added: usize,
    /// Members that were too many in those.
    pub members_removed: usize,
    /// Sets that nobody wants.
    pub sets_removed: usize,
    /// Chains that were missing, or had other rules.
    pub chains_written: usize,
    /// Chains that nobody wants.
    pub chains_removed: usize,
    /// Jumps from the kernel's chains that were not right.
    pub jumps: usize,
    /// Such jumps that nobody wants.
    pub jumps_removed: usize,
}

impl DifferenceCounts {
    /// Counts differences.
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

    /// Whether nothing was written.
    pub fn is_in_sync(&self) -> bool {
        self.calls == 0
    }

    /// The same node by the other build of iptables.
    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.rounds = self.rounds.max(other.rounds);
        self.left = other.left;
        self.look = None;
        let (mine, its) = (&mut self.counts, other.counts);
        mine.sets_removed = mine.sets_removed.max(its.sets_removed);
        mine.chains_removed += its.chains_removed;
        mine.jumps += its.jumps;
        mine.jumps_removed += its.jumps_removed;
    }
}

impl fmt::Display for DifferenceCounts {
    /// `3 sets made, 2 sets changed (+4 -1 members), 12 chains written`.
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
