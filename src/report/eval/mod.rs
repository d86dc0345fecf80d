//! What becomes of a connection, and why: the answer of `eval` and of `explain`.
//!
//! In: a [`Query`], the [`ExplainedGroup`]s of its cases, and the rules of scripts that a packet
//! passed ([`TracedScripts`]). Out: text for people, JSON for machines. A word printed here for a
//! verdict is the verdict of a [`ExplainedGroup`].

mod json;
mod pairs;
mod hops;
mod text;
mod phrases;

pub(super) use json::IcmpView;
pub use json::json;
pub(super) use pairs::pairs;
pub(super) use phrases::stranger;
pub use text::{text, verdict_line};

use crate::explain::ExplainedGroup;
use crate::explain::query::Query;
use crate::resolve::ResolvedPolicy;
use crate::source::SourceFiles;

/// What was asked and what was found.
#[derive(Debug, Clone, Copy)]
pub struct QueryReport<'answer, 'input> {
    /// The question.
    pub question: &'answer Query,
    /// The groups of its cases; one at least.
    pub groups: &'answer [ExplainedGroup<'input>],
    /// What the scripts do with the first case of each group; none where nobody asked.
    pub traced: &'answer [TracedScripts],
    /// What the groups speak of.
    pub resolved: &'answer ResolvedPolicy<'input>,
    /// Where the policies were read.
    pub files: &'answer SourceFiles,
}

/// What scripts do with a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TracedScripts {
    /// Its way on each node that polices it.
    pub traces: Vec<ScriptTrace>,
    /// What is to be known beside.
    pub notes: Vec<String>,
}

/// A packet's way through a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptTrace {
    /// The node.
    pub node: String,
    /// The script that decides, by its path in the bundle.
    pub script: String,
    /// What becomes of the packet.
    pub verdict: String,
    /// The rules that it matched, in order.
    pub steps: Vec<TraceStep>,
}

/// A rule of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// Its script, by its path in the bundle.
    pub script: String,
    /// Its chain.
    pub chain: String,
    /// Its number there, from 1, as `iptables -L --line-numbers` counts.
    pub number: usize,
    /// Its line in the script, from 1.
    pub line: usize,
    /// What it does.
    pub action: String,
    /// Its comment.
    pub comment: String,
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DetailLevel {
    /// The verdict and what decides.
    Verdict,
    /// All that was passed on the way, near misses, and scripts.
    Way,
    /// That, and why the other rules do not match.
    Rules,
}

/// What becomes of all cases of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueryVerdict {
    /// All are allowed.
    Allowed,
    /// None is allowed.
    Denied,
    /// Some are allowed.
    Mixed,
}

impl QueryReport<'_, '_> {
    /// What becomes of the cases.
    pub fn verdict(&self) -> QueryVerdict {
        let allowed = self.groups.iter().filter(|group| group.is_allowed).count();
        match allowed {
            0 => QueryVerdict::Denied,
            all if all == self.groups.len() => QueryVerdict::Allowed,
            _ => QueryVerdict::Mixed,
        }
    }
}

impl QueryVerdict {
    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            QueryVerdict::Allowed => "allowed",
            QueryVerdict::Denied => "denied",
            QueryVerdict::Mixed => "denied for some",
        }
    }
}
