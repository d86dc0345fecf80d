//! An apply that is taken back unless somebody confirms it.
//!
//! That something waits is a file, written before the kernel is touched. A guard, a process that
//! outlives the terminal, takes back what is not confirmed in time. Where it is killed or the node
//! boots, everything that works on the node does so first ([`settle`]).

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::apply::converge;
use crate::apply::file_names::{GOOD, PENDING, WAITING};
use crate::apply::goal::ConvergenceGoal;
use crate::apply::state_store::last_good;
use crate::apply::{ApplyError, ApplyOutcome, ApplyTarget, TargetBundle, state_store};
use crate::observe::ObservedKernel;
use crate::plan::DesiredKernel;
use crate::runner::{EntryType, Retention, Runner, RunnerFailure, ToolCall};

/// Something that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PendingConfirmation {
    /// The boot in which it was applied.
    boot: String,
    /// Until when, in milliseconds since that boot.
    until: u64,
}

/// What came of a confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfirmOutcome {
    /// It is kept.
    Kept,
    /// Nothing waits.
    Nothing,
    /// It came too late: the policy before is in force again.
    TooLate(ApplyOutcome),
}

/// How long the guard sleeps at most, and between two tries to take something back.
const NAP: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(5);

/// As [`run`](crate::apply::run), but what is applied is taken back when it is not confirmed within
/// `limit`. `guard` is the process that sees to that. Nothing waits where nothing was to be
/// changed.
///
/// # Errors
/// As there; what was begun is taken back then, if it can be.
pub fn run_to_be_confirmed(
    node: &mut ApplyTarget<'_>,
    wanted: &TargetBundle,
    limit: Duration,
    guard: &ToolCall,
) -> Result<ApplyOutcome, ApplyError> {
    let _lock = node.lock()?;
    state_store::check(node.runner).map_err(ApplyError::Files)?;
    let took_back = settle(node)?;
    let mut has_begun = false;
    let mut first = |node: &mut ApplyTarget<'_>, observed: &ObservedKernel| {
        begin(node, wanted, observed, limit, guard).inspect_err(|_| drop(forget(node.runner)))?;
        has_begun = true;
        Ok(())
    };

    let brought =
        converge::converge_with_first_step(node, ConvergenceGoal::for_target(wanted), &mut first);
    match (brought, has_begun) {
        (Ok(outcome), true) => {
            // the time is the user's, however long the apply took
            write_pending(node.runner, limit).map_err(ApplyError::NotKept)?;
            Ok(ApplyOutcome {
                took_back,
                ..outcome
            })
        }
        (Ok(outcome), false) => state_store::keep_good(node.runner, wanted)
            .map(|()| ApplyOutcome {
                took_back,
                ..outcome
            })
            .map_err(ApplyError::NotKept),
        (Err(error), false) => Err(error),
        // what the kernel held before is newer than the last good bundle, or the same
        (Err(error @ ApplyError::RolledBack { .. }), true) => Err(match forget(node.runner) {
            Ok(()) => ApplyError::TakenBack(Box::new(error)),
            Err(failure) => {
                ApplyError::NotTakenBack(Box::new(error), Box::new(ApplyError::Files(failure)))
            }
        }),
        (Err(error), true) => Err(match take_back(node) {
            Ok(_) => ApplyError::TakenBack(Box::new(error)),
            Err(then) => ApplyError::NotTakenBack(Box::new(error), Box::new(then)),
        }),
    }
}

/// Keeps what waits.
///
/// # Errors
/// When it cannot be kept for the next boot; it waits on then.
pub fn confirm(node: &mut ApplyTarget<'_>) -> Result<ConfirmOutcome, ApplyError> {
    let _lock = node.lock()?;
    state_store::check(node.runner).map_err(ApplyError::Files)?;

    match left(node.runner)? {
        None => Ok(ConfirmOutcome::Nothing),
        Some(Duration::ZERO) => take_back(node).map(ConfirmOutcome::TooLate),
        Some(_) => {
            let waiting = state_store::bundle(node.runner, WAITING)
                .map_err(|bad| ApplyError::Bundle(Box::new(bad)))?;
            state_store::keep_good(node.runner, &waiting)
                .and_then(|()| forget(node.runner))
                .map_err(ApplyError::Files)?;
            Ok(ConfirmOutcome::Kept)
        }
    }
}

/// Takes back what waits, at once; none where nothing does.
///
/// # Errors
/// When it cannot be taken back.
pub fn undo(node: &mut ApplyTarget<'_>) -> Result<Option<ApplyOutcome>, ApplyError> {
    let _lock = node.lock()?;
    state_store::check(node.runner).map_err(ApplyError::Files)?;
    left(node.runner)?.map(|_| take_back(node)).transpose()
}

/// How long something waits yet; none where nothing does.
///
/// # Errors
/// When our files cannot be read.
pub fn waits(node: &mut ApplyTarget<'_>) -> Result<Option<Duration>, ApplyError> {
    left(node.runner)
}

/// Waits, and takes back what is not confirmed in time. `ready` is called when the guard stands.
///
/// # Errors
/// When our files cannot be read. While something cannot be taken back, it is tried again.
pub fn guard(node: &mut ApplyTarget<'_>, ready: impl FnOnce()) -> Result<(), ApplyError> {
    ready();
    loop {
        match left(node.runner)? {
            None => return Ok(()),
            Some(Duration::ZERO) => {
                let settled = node.lock().and_then(|_lock| settle(node));
                if settled.is_err_and(|error| !matches!(error, ApplyError::Waiting(_))) {
                    thread::sleep(RETRY);
                }
            }
            Some(left) => thread::sleep(left.min(NAP)),
        }
    }
}

/// Under the lock: takes back what was not confirmed in time, and refuses to go on where something
/// waits yet. Whether it took back.
pub(super) fn settle(node: &mut ApplyTarget<'_>) -> Result<bool, ApplyError> {
    match left(node.runner)? {
        None => Ok(false),
        Some(Duration::ZERO) => take_back(node).map(|_| true),
        Some(left) => Err(ApplyError::Waiting(left)),
    }
}

/// Before the kernel is touched.
fn begin(
    node: &mut ApplyTarget<'_>,
    wanted: &TargetBundle,
    observed: &ObservedKernel,
    limit: Duration,
    guard: &ToolCall,
) -> Result<(), ApplyError> {
    let holds_ours = !observed.sets.is_empty()
        || !observed.unlisted.is_empty()
        || observed.tables.values().any(|table| !table.is_empty());
    // what cannot be read whole could not be brought back
    if last_good(node.runner)?.is_none() && holds_ours {
        return Err(ApplyError::NoWayBack);
    }

    node.runner
        .write_folder(Retention::Always, WAITING, Some(wanted.folder()))
        .map_err(ApplyError::Files)?;
    write_pending(node.runner, limit).map_err(ApplyError::Files)?;
    start_apart(node.runner, guard).map_err(ApplyError::Files)
}

/// What systemd ends with a unit or a session are the processes of its control group; a scope is
/// one of its own.
const SCOPE: [&str; 6] = [
    "--scope",
    "--quiet",
    "--collect",
    "--no-ask-password",
    "--description=palisade: takes back what is not confirmed",
    "--",
];

/// Starts the guard in a scope of its own, where systemd runs and allows it, else as a process like
/// any other.
fn start_apart(runner: &mut dyn Runner, guard: &ToolCall) -> Result<(), RunnerFailure> {
    let mut apart = ToolCall::new("systemd-run", &SCOPE);
    apart.arguments.push(guard.program.clone());
    apart.arguments.extend(guard.arguments.iter().cloned());
    runner.start(&apart).or_else(|_| runner.start(guard))
}

/// Under the lock: brings back the last good bundle, or nothing where there was none.
fn take_back(node: &mut ApplyTarget<'_>) -> Result<ApplyOutcome, ApplyError> {
    let outcome = match last_good(node.runner)? {
        Some(good) => converge::converge(node, ConvergenceGoal::for_target(&good)),
        None => converge::converge(node, ConvergenceGoal::nothing(&DesiredKernel::default())),
    }?;
    forget(node.runner).map_err(ApplyError::NotKept)?;
    Ok(outcome)
}

/// Where the bundle is that was applied last, and how long it waits yet to be confirmed; none where
/// there was none.
///
/// # Errors
/// When our files cannot be read.
pub fn last_applied(
    runner: &mut dyn Runner,
) -> Result<Option<(PathBuf, Option<Duration>)>, ApplyError> {
    let waits = left(runner)?.filter(|left| !left.is_zero());
    let is_there = waits.is_some() || state_store::has_good(runner);
    let name = if waits.is_some() { WAITING } else { GOOD };
    runner
        .check(Retention::Always, name, EntryType::Folder)
        .map_err(ApplyError::Files)?;
    Ok(is_there.then(|| (runner.place(Retention::Always, name), waits)))
}

/// First that something waits: from then on the good bundle is the one.
pub(super) fn forget(runner: &mut dyn Runner) -> Result<(), RunnerFailure> {
    runner.write(Retention::Always, PENDING, None)?;
    runner.write_folder(Retention::Always, WAITING, None)
}

/// How long something waits yet: no time, where it was applied before this boot, or nobody can say
/// when.
fn left(runner: &mut dyn Runner) -> Result<Option<Duration>, ApplyError> {
    let Some(content) = runner
        .read(Retention::Always, PENDING)
        .map_err(ApplyError::Files)?
    else {
        return Ok(None);
    };
    let Ok(pending) = serde_json::from_slice::<PendingConfirmation>(&content) else {
        return Ok(Some(Duration::ZERO));
    };

    let (boot, now) = clock(runner).map_err(ApplyError::Files)?;
    let left = if pending.boot == boot {
        pending.until.saturating_sub(now)
    } else {
        0
    };

    Ok(Some(Duration::from_millis(left)))
}

fn write_pending(runner: &mut dyn Runner, limit: Duration) -> Result<(), RunnerFailure> {
    let (boot, now) = clock(runner)?;
    let pending = PendingConfirmation {
        boot,
        until: now.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
    };
    let text =
        serde_json::to_vec(&pending).map_err(|error| RunnerFailure::Other(error.to_string()))?;
    runner.write(Retention::Always, PENDING, Some(&text))
}

/// Which boot this is, and the milliseconds since it, time asleep included.
fn clock(runner: &mut dyn Runner) -> Result<(String, u64), RunnerFailure> {
    let mut text = |file: &str| -> Result<String, RunnerFailure> {
        let content = runner
            .read(Retention::Kernel, file)?
            .ok_or_else(|| RunnerFailure::Other(format!("there is no `/proc/{file}`")))?;
        Ok(String::from_utf8_lossy(&content).trim().to_owned())
    };
    let (boot, uptime) = (text("sys/kernel/random/boot_id")?, text("uptime")?);
    let seconds = uptime.split(' ').next().unwrap_or_default();
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let hundredths = part.parse::<u64>().ok();
    let now = whole
        .parse::<u64>()
        .ok()
        .zip(hundredths)
        .map(|(whole, part)| whole * 1000 + part * 10);

    Ok((
        boot,
        now.ok_or_else(|| RunnerFailure::Other(format!("`/proc/uptime` says `{uptime}`")))?,
    ))
}
