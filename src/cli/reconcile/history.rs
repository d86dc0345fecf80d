//! What the loop says of itself.

use crate::apply::ApplyOutcome;
use crate::cli::ExitStatus;
use crate::metrics::MetricFamilies;
use crate::status;

/// What has happened since the loop began.
#[derive(Debug, Default)]
pub(super) struct ReconcileStats {
    rounds: [u64; 4],
    repairs: u64,
    calls: u64,
    cut: u64,
    failures: u64,
    is_bad: bool,
    applies: u64,
    last: Option<ExitStatus>,
}

/// How rounds end, in the order of [`ReconcileStats::rounds`].
const ENDS: [&str; 4] = ["done", "bad", "refused", "busy"];

impl ReconcileStats {
    /// A round is over.
    pub(super) fn count(&mut self, status: ExitStatus, is_bad: bool) {
        let end = match status {
            ExitStatus::Clean | ExitStatus::Differs => 0,
            ExitStatus::Invalid => 1,
            ExitStatus::Refused => 2,
            ExitStatus::Busy => 3,
        };

        if let Some(count) = self.rounds.get_mut(end) {
            *count += 1;
        }

        self.failures = if end == 0 { 0 } else { self.failures + 1 };
        self.is_bad = is_bad;
        self.last = Some(status);
    }

    /// An apply is done.
    pub(super) fn apply(&mut self, outcome: &ApplyOutcome) {
        self.applies += 1;
        self.calls += u64::try_from(outcome.calls).unwrap_or(u64::MAX);
        self.repairs += u64::from(outcome.rounds > 0);
    }

    /// So many connections were ended.
    pub(super) fn record_conntrack_cleanup(&mut self, connections: usize) {
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
        self.last == Some(ExitStatus::Busy)
    }

    /// The last round, for `systemctl status`.
    pub(super) fn description(&self) -> &'static str {
        match (self.last, self.is_bad) {
            (_, true) => "the bundle is bad; the last good one is in force",
            (Some(ExitStatus::Clean | ExitStatus::Differs) | None, false) => "in sync",
            (Some(ExitStatus::Invalid), false) => "our files cannot be written",
            (Some(ExitStatus::Refused), false) => "the kernel refuses; trying again",
            (Some(ExitStatus::Busy), false) => "somebody else has the lock; trying again",
        }
    }

    /// All of it, and how the kernel is, where it could be seen.
    pub(super) fn metrics(&self, kernel: Option<&status::EnforcementStatus>) -> String {
        let mut metrics = MetricFamilies::default();
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
