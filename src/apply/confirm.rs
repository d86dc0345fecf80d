//! Apply with confirmation: a rollback follows unless the operator confirms in time.
//!
//! A file records the pending confirmation. It is written before the kernel changes. The guard, a
//! process that outlives the terminal, rolls back after the time limit. If the guard is killed or
//! the node reboots, the next command that changes the node rolls back first ([`settle`]).

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

/// A pending confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PendingConfirmation {
    /// Boot id of the boot in which the bundle was applied.
    boot: String,
    /// Deadline, in milliseconds since that boot.
    until: u64,
}

/// Result of a confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfirmOutcome {
    /// The applied bundle is kept.
    Kept,
    /// No confirmation is pending.
    Nothing,
    /// The deadline has passed: the previous policy is in force again.
    TooLate(ApplyOutcome),
}

/// Longest sleep of the guard between two looks at the file, and the pause between two attempts to
/// roll back.
const NAP: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(5);

/// Like [`run`](crate::apply::run), but rolls back unless the operator confirms within `limit`.
/// `guard` is the command that starts the guard process. If nothing had to change, no confirmation
/// is pending.
///
/// # Errors
/// As for `run`. Changes are rolled back if possible.
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
        // A failed start must not leave a pending record.
        begin(node, wanted, observed, limit, guard).inspect_err(|_| drop(forget(node.runner)))?;
        has_begun = true;
        Ok(())
    };

    let brought =
        converge::converge_with_first_step(node, ConvergenceGoal::for_target(wanted), &mut first);
    match (brought, has_begun) {
        (Ok(outcome), true) => {
            // The operator gets the whole limit, however long the apply took.
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
        // The snapshot is at least as new as the last good bundle, so the rollback has restored
        // enough.
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

/// Confirms a pending apply and keeps its bundle.
///
/// # Errors
/// If the bundle cannot be kept for the next boot. The confirmation stays pending then.
pub fn confirm(node: &mut ApplyTarget<'_>) -> Result<ConfirmOutcome, ApplyError> {
    let _lock = node.lock()?;
    state_store::check(node.runner).map_err(ApplyError::Files)?;

    match left(node.runner)? {
        None => Ok(ConfirmOutcome::Nothing),
        Some(Duration::ZERO) => take_back(node).map(ConfirmOutcome::TooLate),
        Some(_) => {
            let waiting = state_store::bundle(node.runner, WAITING)
                .map_err(|bad| ApplyError::Bundle(Box::new(bad)))?;
            // Kept before the record goes: a crash in between leaves the apply pending, not lost.
            state_store::keep_good(node.runner, &waiting)
                .and_then(|()| forget(node.runner))
                .map_err(ApplyError::Files)?;
            Ok(ConfirmOutcome::Kept)
        }
    }
}

/// Rolls back a pending apply at once. Returns `None` if none is pending.
///
/// # Errors
/// If the rollback fails.
pub fn undo(node: &mut ApplyTarget<'_>) -> Result<Option<ApplyOutcome>, ApplyError> {
    let _lock = node.lock()?;
    state_store::check(node.runner).map_err(ApplyError::Files)?;
    left(node.runner)?.map(|_| take_back(node)).transpose()
}

/// Returns the time left to confirm, or `None` if no apply is pending.
///
/// # Errors
/// If Palisade's files cannot be read.
pub fn waits(node: &mut ApplyTarget<'_>) -> Result<Option<Duration>, ApplyError> {
    left(node.runner)
}

/// Runs the guard: waits, and rolls back after the deadline. Calls `ready` once, at the start.
///
/// # Errors
/// If Palisade's files cannot be read. A failed rollback is tried again.
pub fn guard(node: &mut ApplyTarget<'_>, ready: impl FnOnce()) -> Result<(), ApplyError> {
    ready();
    loop {
        match left(node.runner)? {
            None => return Ok(()),
            Some(Duration::ZERO) => {
                let settled = node.lock().and_then(|_lock| settle(node));
                // `Waiting` means that the deadline was extended meanwhile.
                if settled.is_err_and(|error| !matches!(error, ApplyError::Waiting(_))) {
                    thread::sleep(RETRY);
                }
            }
            Some(left) => thread::sleep(left.min(NAP)),
        }
    }
}

/// Rolls back an unconfirmed apply after its deadline, and returns whether it did. The caller holds
/// the node lock. Fails with [`ApplyError::Waiting`] if an apply is still pending.
pub(super) fn settle(node: &mut ApplyTarget<'_>) -> Result<bool, ApplyError> {
    match left(node.runner)? {
        None => Ok(false),
        Some(Duration::ZERO) => take_back(node).map(|_| true),
        Some(left) => Err(ApplyError::Waiting(left)),
    }
}

/// Prepares a pending apply, before the first kernel write.
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
    // A kernel state that was not read completely could not be restored.
    if last_good(node.runner)?.is_none() && holds_ours {
        return Err(ApplyError::NoWayBack);
    }

    node.runner
        .write_folder(Retention::Always, WAITING, Some(wanted.folder()))
        .map_err(ApplyError::Files)?;
    // File first, guard second: a guard that finds no file ends.
    write_pending(node.runner, limit).map_err(ApplyError::Files)?;
    start_apart(node.runner, guard).map_err(ApplyError::Files)
}

/// Options of `systemd-run`. When systemd stops a unit or a session, it kills all processes of its
/// control group. A scope is a control group of its own.
const SCOPE: [&str; 6] = [
    "--scope",
    "--quiet",
    "--collect",
    "--no-ask-password",
    "--description=palisade: takes back what is not confirmed",
    "--",
];

/// Starts the guard in its own scope if systemd runs and permits that, or else as an ordinary
/// process.
fn start_apart(runner: &mut dyn Runner, guard: &ToolCall) -> Result<(), RunnerFailure> {
    let mut apart = ToolCall::new("systemd-run", &SCOPE);
    apart.arguments.push(guard.program.clone());
    apart.arguments.extend(guard.arguments.iter().cloned());
    runner.start(&apart).or_else(|_| runner.start(guard))
}

/// Restores the last good bundle, or removes all policy if there is none. The caller holds the node
/// lock.
fn take_back(node: &mut ApplyTarget<'_>) -> Result<ApplyOutcome, ApplyError> {
    let outcome = match last_good(node.runner)? {
        Some(good) => converge::converge(node, ConvergenceGoal::for_target(&good)),
        None => converge::converge(node, ConvergenceGoal::nothing(&DesiredKernel::default())),
    }?;
    forget(node.runner).map_err(ApplyError::NotKept)?;
    Ok(outcome)
}

/// Returns the directory of the bundle that was applied last, and the time left to confirm it.
/// Returns `None` if there is no bundle.
///
/// # Errors
/// If Palisade's files cannot be read.
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

/// Removes the files of a pending apply. The record goes first: without it, the good bundle counts.
pub(super) fn forget(runner: &mut dyn Runner) -> Result<(), RunnerFailure> {
    runner.write(Retention::Always, PENDING, None)?;
    runner.write_folder(Retention::Always, WAITING, None)
}

/// Returns the time left to confirm. It is zero if the apply belongs to an earlier boot, or if the
/// file cannot be parsed.
fn left(runner: &mut dyn Runner) -> Result<Option<Duration>, ApplyError> {
    let Some(content) = runner
        .read(Retention::Always, PENDING)
        .map_err(ApplyError::Files)?
    else {
        return Ok(None);
    };
    // A record that cannot be parsed may have expired, so it counts as expired.
    let Ok(pending) = serde_json::from_slice::<PendingConfirmation>(&content) else {
        return Ok(Some(Duration::ZERO));
    };

    let (boot, now) = clock(runner).map_err(ApplyError::Files)?;
    // Uptime restarts at 0 with each boot, so deadlines of other boots are meaningless.
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

/// Returns the boot id, and the milliseconds since boot, including suspend.
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
