//! The reconcile loop of a node: it runs rounds until it is stopped.
//!
//! In: a [`LoopEnvironment`], which reports events; a [`LoopTiming`]; and the function for a round.
//! Out: rounds, each with its reason. A failed round is tried again soon, and then at growing
//! intervals. A round that finds a lock held is tried again soon. Absent: what a round does.
//!
//! Stopping the loop leaves policy in place, because the kernel enforces it.
#![expect(
    clippy::disallowed_methods,
    reason = "this room watches files and writes metrics"
)]

mod http;
mod system;

pub use http::MetricsServer;
pub use system::{SystemEvents, WatchFailure, tell_ready, tell_stopping, write_metrics};

use std::time::Duration;

/// The event that ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeEvent {
    /// The wait timed out.
    Elapsed,
    /// A watched file has changed.
    Changed,
    /// A round was requested (SIGHUP).
    Asked,
    /// The process should stop (SIGTERM, SIGINT).
    Stop,
}

/// Why a round runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundReason {
    /// It is the first round.
    Start,
    /// The interval is over. The round looks for drift.
    Interval,
    /// A watched file has changed.
    Changed,
    /// A round was requested.
    Asked,
    /// The last round failed.
    Retry,
}

/// Result of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundHealth {
    /// The kernel holds the desired state.
    Good,
    /// Another process holds a lock.
    Busy,
    /// The round failed.
    Failed,
}

/// The source of the loop's events.
pub trait LoopEnvironment {
    /// Waits for an event, at most for this long.
    fn wait(&mut self, most: Duration) -> WakeEvent;
}

/// How long the loop waits between rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopTiming {
    /// Wait after a successful round.
    pub interval: Duration,
    /// Wait after the first failed round. It doubles with each further failure, up to the interval
    /// or [`LONGEST_WAIT`], whichever is longer.
    pub retry: Duration,
}

/// Longest wait after failures, if the interval is shorter.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl LoopTiming {
    /// Returns the wait after this many failed rounds in a row.
    pub fn after(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => self.interval,
            Some(doublings) => {
                let wait = self.retry.saturating_mul(2u32.saturating_pow(doublings));
                wait.min(self.interval.max(LONGEST_WAIT))
            }
        }
    }
}

/// Runs rounds until a stop event.
pub fn run(
    world: &mut dyn LoopEnvironment,
    pace: &LoopTiming,
    round: &mut dyn FnMut(RoundReason) -> RoundHealth,
) {
    let mut failures = 0u32;
    let mut why = RoundReason::Start;

    loop {
        let wait = match round(why) {
            RoundHealth::Good => {
                failures = 0;
                pace.interval
            }
            // A held lock is not a failure, so the wait does not grow.
            RoundHealth::Busy => pace.retry.min(pace.interval),
            RoundHealth::Failed => {
                failures = failures.saturating_add(1);
                pace.after(failures)
            }
        };
        why = match world.wait(wait) {
            WakeEvent::Stop => return,
            WakeEvent::Changed => RoundReason::Changed,
            WakeEvent::Asked => RoundReason::Asked,
            WakeEvent::Elapsed if failures > 0 => RoundReason::Retry,
            WakeEvent::Elapsed => RoundReason::Interval,
        };
    }
}

#[cfg(test)]
mod tests;
