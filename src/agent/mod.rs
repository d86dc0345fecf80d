//! The loop of a node: a round when there is reason to, until it is told to stop.
//!
//! In: a [`LoopEnvironment`] that tells what happens, a [`LoopTiming`], and what a round does. Out:
//! rounds, each with its reason. A round that fails is tried again soon, and then less and less
//! often; one that finds a lock held is tried again soon. Absent: what a round does.
//!
//! Stopping leaves policy in place: it is the kernel's, not the loop's.
#![expect(
    clippy::disallowed_methods,
    reason = "this room watches files and writes metrics"
)]

mod http;
mod system;

pub use http::MetricsServer;
pub use system::{SystemEvents, WatchFailure, tell_ready, tell_stopping, write_metrics};

use std::time::Duration;

/// What happened while the loop waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeEvent {
    /// The time is over.
    Elapsed,
    /// Something that is read has changed.
    Changed,
    /// Somebody asks for a round now (SIGHUP).
    Asked,
    /// Somebody asks to end (SIGTERM, SIGINT).
    Stop,
}

/// Why there is a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundReason {
    /// It is the first one.
    Start,
    /// The interval is over: look for drift.
    Interval,
    /// What is read has changed.
    Changed,
    /// Somebody asked.
    Asked,
    /// The last one did not succeed.
    Retry,
}

/// How a round went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundHealth {
    /// The kernel holds what it is to hold.
    Good,
    /// A lock is held by somebody else.
    Busy,
    /// Something failed.
    Failed,
}

/// What happens round the loop.
pub trait LoopEnvironment {
    /// Waits for an event, at most so long.
    fn wait(&mut self, most: Duration) -> WakeEvent;
}

/// How long the loop waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopTiming {
    /// Between rounds that succeed.
    pub interval: Duration,
    /// After the first one that fails; twice as long after each other, up to the interval or
    /// [`LONGEST_WAIT`], whichever is longer.
    pub retry: Duration,
}

/// The longest wait after failures, where the interval is shorter.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl LoopTiming {
    /// How long to wait after so many rounds in a row that failed.
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

/// Goes round until told to stop.
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
