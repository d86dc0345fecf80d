//! What the loop says of itself.

use crate::apply::Outcome;
use crate::cli::Status;
use crate::metrics::Metrics;
use crate::status;

/// What has happened since the loop began.
#[derive(Debug, Default)]
pub(super) struct Told {
    rounds: [u64; 4],
    repairs: u64,
    calls: u64,
    cut: u64,
    failures: u64,
    is_bad: bool,
    applies: u64,
    last: Option<Status>,
}

/// How rounds end, in the order of [`Told::rounds`].
const ENDS: [&str; 4] = ["done", "bad", "refused", "busy"];

impl Told {
    /// A round is over.
    pub(super) fn count(&mut self, status: Status, is_bad: bool) {
        let end = match status {
            Status::Clean | Status::Differs => 0,
            Status::Invalid => 1,
            Status::Refused => 2,
            Status::Busy => 3,
        };
        if let Some(count) = self.rounds.get_mut(end) {
            *count += 1;
        }
        self.failures = if end == 0 { 0 } else { self.failures + 1 };
        self.is_bad = is_bad;
        self.last = Some(status);
    }

    /// An apply is done.
    pub(super) fn apply(&mut self, outcome: &Outcome) {
        self.applies += 1;
        self.calls += u64::try_from(outcome.calls).unwrap_or(u64::MAX);
        self.repairs += u64::from(outcome.rounds > 0);
    }

    /// So many connections were ended.
    pub(super) fn cut(&mut self, connections: usize) {
        self.cut += u64::try_from(connections).unwrap_or(u64::MAX);
    }

    /// Whether there was no apply before the last one.
    pub(super) fn is_first(&self) -> bool {
        self.applies == 1
    }

    /// Whether the round before did not end well.
    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether the round before found a lock held.
    pub(super) fn is_busy(&self) -> bool {
        self.last == Some(Status::Busy)
    }

    /// The last round, for `systemctl status`.
    pub(super) fn words(&self) -> &'static str {
        match (self.last, self.is_bad) {
            (_, true) => "the bundle is bad; the last good one is in force",
            (Some(Status::Clean | Status::Differs) | None, false) => "in sync",
            (Some(Status::Invalid), false) => "our files cannot be written",
            (Some(Status::Refused), false) => "the kernel refuses; trying again",
            (Some(Status::Busy), false) => "somebody else has the lock; trying again",
        }
    }

    /// All of it, and how the kernel is, where it could be seen.
    pub(super) fn metrics(&self, kernel: Option<&status::Status>) -> String {
        let mut metrics = Metrics::default();
        let rounds = metrics.counter(
            "palisade_rounds_total",
            "Rounds of the loop, by how they ended.",
        );
        ENDS.into_iter()
            .zip(self.rounds)
            .for_each(|(end, count)| rounds.add(&[("end", end)], count));
        let counts = [
            (
                "palisade_applies_total",
                "Rounds that changed what is in force.",
                self.repairs,
            ),
            (
                "palisade_calls_total",
                "Calls of tools that wrote to the kernel.",
                self.calls,
            ),
            (
                "palisade_connections_cut_total",
                "Known connections that were ended because policy denies them now.",
                self.cut,
            ),
        ];
        counts
            .into_iter()
            .for_each(|(name, help, count)| metrics.counter(name, help).add(&[], count));
        metrics
            .gauge(
                "palisade_failed_rounds",
                "Rounds in a row that did not end well, up to now.",
            )
            .add(&[], self.failures);
        metrics
            .gauge(
                "palisade_bundle_bad",
                "Whether the bundle that was read last is bad, and another one in force.",
            )
            .add(&[], self.is_bad);
        if let Some(kernel) = kernel {
            kernel.measure(&mut metrics);
        }
        metrics.to_string()
    }
}
