//! Assertions about who may talk to whom, proven.
//!
//! In: an assertions file, and [`Resolved`](crate::resolve::Resolved) policy. Out: for each
//! [`Assertion`] whether it holds for every packet that it covers, or a packet for which it does
//! not and why; and which rules no assertion touches. All packets are decided, by their classes in
//! [`packet_space`](crate::packet_space); none is drawn. Absent: nodes, host endpoints' own policy,
//! words.
//!
//! Cost: for each assertion the pairs of classes that it covers.

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

/// That all of some packets are allowed, or that none is.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// Where it stands.
    pub span: Span,
    /// What it is for, in the author's words.
    pub description: Option<String>,
    /// What it says of the packets.
    pub expected: ExpectedOutcome,
    /// The senders: each of these.
    pub from: Vec<PartySelector>,
    /// The receivers: each of these.
    pub to: Vec<PartySelector>,
    /// What is sent: all of these; none is everything.
    pub what: Vec<TrafficPattern>,
    /// Whether it holds where it covers nothing.
    pub may_be_empty: bool,
}

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpectedOutcome {
    /// They are allowed.
    Allowed,
    /// They are denied.
    Denied,
}

impl Assertion {
    /// What it is called, on one line: its description, or what it says.
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
