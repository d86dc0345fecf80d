//! The outcome of a connection and its reasons: the answer of `eval` and `explain`.
//!
//! In: a [`Query`], the [`ExplainedGroup`]s of its cases, and the script rules that a packet
//! matched ([`TracedScripts`]). Out: text for people, JSON for programs. Every printed verdict is
//! the verdict of an [`ExplainedGroup`].

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

/// A question and its answer.
#[derive(Debug, Clone, Copy)]
pub struct QueryReport<'answer, 'input> {
    /// The question.
    pub question: &'answer Query,
    /// The groups of its cases; never empty.
    pub groups: &'answer [ExplainedGroup<'input>],
    /// What the scripts do with the first case of each group; empty if scripts were not traced.
    pub traced: &'answer [TracedScripts],
    /// The policy that the groups refer to.
    pub resolved: &'answer ResolvedPolicy<'input>,
    /// The files of the policies.
    pub files: &'answer SourceFiles,
}

/// What scripts do with a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TracedScripts {
    /// The trace on each node that polices the packet.
    pub traces: Vec<ScriptTrace>,
    /// Notes about the traces.
    pub notes: Vec<String>,
}

/// A packet's trace through the scripts of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptTrace {
    /// The node.
    pub node: String,
    /// The script that decides, as a path in the bundle.
    pub script: String,
    /// The verdict for the packet.
    pub verdict: String,
    /// The rules that the packet matched, in order.
    pub steps: Vec<TraceStep>,
}

/// A rule of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// The script, as a path in the bundle.
    pub script: String,
    /// The chain.
    pub chain: String,
    /// The number of the rule in the chain, from 1, as in `iptables -L --line-numbers`.
    pub number: usize,
    /// The line of the rule in the script, from 1.
    pub line: usize,
    /// The target of the rule.
    pub action: String,
    /// The comment of the rule.
    pub comment: String,
}

/// The level of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DetailLevel {
    /// The verdict and what decides.
    Verdict,
    /// Also everything that was evaluated, near misses, and scripts.
    Way,
    /// Also why the other rules do not match.
    Rules,
}

/// The verdict for all cases of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueryVerdict {
    /// All cases are allowed.
    Allowed,
    /// No case is allowed.
    Denied,
    /// Some cases are allowed.
    Mixed,
}

impl QueryReport<'_, '_> {
    /// Returns the verdict for all cases.
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
    /// Returns the word for the verdict.
    pub fn label(self) -> &'static str {
        match self {
            QueryVerdict::Allowed => "allowed",
            QueryVerdict::Denied => "denied",
            QueryVerdict::Mixed => "denied for some",
        }
    }
}
