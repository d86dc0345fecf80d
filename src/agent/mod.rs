//! The loop of a node: a round when there is reason to, until it is told to stop.
//!
//! In: a [`World`] that tells what happens, a [`Pace`], and what a round does. Out: rounds, each
//! with its reason. A round that fails is tried again soon, and then less and less often; one that
//! finds a lock held is tried again soon. Absent: what a round does.
//!
//! Stopping leaves policy in place: it is the kernel's, not the loop's.
#![expect(
    clippy::disallowed_methods,
    reason = "this room watches files and writes metrics"
)]

mod http;
mod system;

pub use http::Listener;
pub use system::{System, Unwatchable, tell_ready, tell_stopping, write_metrics};

use std::time::Duration;

/// What happened while the loop waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
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
pub enum Why {
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
pub enum Health {
    /// The kernel holds what it is to hold.
    Good,
    /// A lock is held by somebody else.
    Busy,
    /// Something failed.
    Failed,
}

/// What happens round the loop.
pub trait World {
    /// Waits for an event, at most so long.
    fn wait(&mut self, most: Duration) -> Event;
}

/// How long the loop waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between rounds that succeed.
    pub interval: Duration,
    /// After the first one that fails; twice as long after each other, up to the interval or
    /// [`LONGEST_WAIT`], whichever is longer.
    pub retry: Duration,
}

/// The longest wait after failures, where the interval is shorter.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl Pace {
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
pub fn run(world: &mut dyn World, pace: &Pace, round: &mut dyn FnMut(Why) -> Health) {
    let mut failures = 0u32;
    let mut why = Why::Start;
    loop {
        let wait = match round(why) {
            Health::Good => {
                failures = 0;
                pace.interval
            }
            Health::Busy => pace.retry.min(pace.interval),
            Health::Failed => {
                failures = failures.saturating_add(1);
                pace.after(failures)
            }
        };
        why = match world.wait(wait) {
            Event::Stop => return,
            Event::Changed => Why::Changed,
            Event::Asked => Why::Asked,
            Event::Elapsed if failures > 0 => Why::Retry,
            Event::Elapsed => Why::Interval,
        };
    }
}

#[cfg(test)]
mod tests;
