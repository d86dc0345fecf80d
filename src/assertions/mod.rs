//! Assertions about allowed and denied traffic, and their proof.
//!
//! In: an assertions file and [`ResolvedPolicy`](crate::resolve::ResolvedPolicy). Out: for each
//! [`Assertion`], whether it holds for every packet that it covers, or else a counterexample packet
//! with an explanation; and the rules that no assertion touches. The proof covers all packets, by
//! their classes in [`packet_space`](crate::packet_space); it does not sample. Absent: nodes,
//! policy of host endpoints, text.
//!
//! Cost: for each assertion, the pairs of classes that it covers.

mod coverage;
mod prove;
mod parse;
mod endpoint_selection;

pub use coverage::Coverage;
pub use endpoint_selection::PartySelector;
pub use parse::read;
pub use prove::{AssertionReport, AssertionVerdict, prove};

use crate::packet_space::TrafficPattern;
use crate::source::Span;

/// An assertion: some packets are all allowed, or all denied.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The location in the assertions file.
    pub span: Span,
    /// The author's description.
    pub description: Option<String>,
    /// The expected outcome for all covered packets.
    pub expected: ExpectedOutcome,
    /// The senders: the union of these.
    pub from: Vec<PartySelector>,
    /// The receivers: the union of these.
    pub to: Vec<PartySelector>,
    /// The traffic: the union of these; empty means everything.
    pub what: Vec<TrafficPattern>,
    /// `true` if the assertion may cover nothing.
    pub may_be_empty: bool,
}

/// The expected outcome of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpectedOutcome {
    /// All are allowed.
    Allowed,
    /// All are denied.
    Denied,
}

impl Assertion {
    /// Returns a title of one line: the description, or the assertion's content.
    pub fn title(&self) -> String {
        let title = self.description.clone().unwrap_or_else(|| self.text());
        let shown = |letter: char| {
            if letter.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                letter
            }
        };

        title
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .map(shown)
            .collect()
    }

    fn text(&self) -> String {
        let verb = match self.expected {
            ExpectedOutcome::Allowed => "allow",
            ExpectedOutcome::Denied => "deny",
        };
        let who = |who: &[PartySelector]| {
            who.iter()
                .map(PartySelector::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };

        let what = self
            .what
            .iter()
            .map(TrafficPattern::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let what = if what.is_empty() {
            what
        } else {
            format!(" on {what}")
        };

        format!("{verb} {} to {}{what}", who(&self.from), who(&self.to))
    }
}
