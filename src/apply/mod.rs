//! Executes a [`Plan`](crate::plan::Plan) on the kernel, through one [`Runner`].
//!
//! In: one node's part of a bundle ([`TargetBundle`]), and the [`Runner`]. Out: an
//! [`ApplyOutcome`], after a read-back has shown that the kernel holds the desired state; or an
//! [`ApplyError`], which says what to do next. Only one apply runs at a time. After a killed apply,
//! the next one continues from the state that it left. Absent: the meaning of scripts, and safe
//! orders (`plan`).
//!
//! Cost: two readings of the kernel and the calls of the plan; one reading if there is nothing to
//! do.

mod confirm;
mod converge;
mod error;
mod file_names;
mod goal;
mod inspect;
mod journal;
mod outcome;
mod rollback;
mod round;
mod state_store;
mod target_bundle;
mod uninstall;

pub use confirm::{ConfirmOutcome, confirm, guard, last_applied, run_to_be_confirmed, undo, waits};
pub use error::{ApplyError, EnforcedState, ErrorKind};
pub use file_names::{COMPILED, GOOD};
pub use inspect::{Inspection, inspect};
pub use outcome::{ApplyOutcome, DifferenceCounts};
pub use state_store::{WrittenState, last_good, last_node, last_written};
pub use target_bundle::{NodeNameHints, NodeNameSource, TargetBundle, node_of};
pub use uninstall::uninstall;

use std::time::Duration;

use crate::observe::{IptablesBackend, KernelProblem, TableScope, ToolSettings, refuse_other};
use crate::plan::DesiredKernel;
use crate::runner::{NodeLock, Retention, Runner, RunnerFailure};

use goal::ConvergenceGoal;
use journal::RunStart;
use state_store::AppliedState;

/// The node to change.
pub struct ApplyTarget<'run> {
    /// Access to the node: processes, files, locks.
    pub runner: &'run mut dyn Runner,
    /// Settings of the run.
    pub settings: ApplySettings,
}

/// Settings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplySettings {
    /// The iptables build. `None` to detect it.
    pub backend: Option<IptablesBackend>,
    /// How long to wait for another apply, and for the xtables lock.
    pub wait: Duration,
    /// Whether to remove Palisade chains from the other iptables build, instead of failing.
    pub takes_over: bool,
}

/// Brings the kernel to the desired state, and keeps the bundle for the next boot. If an earlier
/// apply was not confirmed in time, it is rolled back first. If that rollback is impossible because
/// the last good bundle is damaged, this bundle replaces both.
///
/// # Errors
/// If the kernel or Palisade's files cannot be changed. The kernel then holds what it held before.
/// If the rollback fails too, the error says so, and the next run continues from the actual state.
pub fn run(node: &mut ApplyTarget<'_>, wanted: &TargetBundle) -> Result<ApplyOutcome, ApplyError> {
    let _lock = node.lock()?;
    state_store::check(node.runner).map_err(ApplyError::Files)?;
    let (took_back, gave_up) = match confirm::settle(node) {
        Err(ApplyError::Good(_)) => (false, true),
        settled => (settled?, false),
    };
    let mut outcome = ApplyOutcome {
        took_back,
        gave_up,
        ..converge::converge(node, ConvergenceGoal::for_target(wanted))?
    };

    // The new chains are in force already, so policy has no gap.
    if node.settings.takes_over {
        clear_other(node, &mut outcome)?;
    }

    // Kept only after success: a boot and a rollback restore this bundle.
    state_store::keep_good(node.runner, wanted).map_err(ApplyError::NotKept)?;
    if gave_up {
        confirm::forget(node.runner).map_err(ApplyError::NotKept)?;
    }

    Ok(outcome)
}

/// Removes Palisade's chains from the other iptables build, if there are any.
fn clear_other(node: &mut ApplyTarget<'_>, outcome: &mut ApplyOutcome) -> Result<(), ApplyError> {
    let tools = state_store::tools(node)?;
    let other = match refuse_other(node.runner, tools) {
        Ok(()) => return Ok(()),
        Err(KernelProblem::OtherBackend(backend)) => ToolSettings { backend, ..tools },
        Err(problem) => return Err(ApplyError::Kernel(problem)),
    };
    let mut start = RunStart::default();

    match round::converge_with(
        node,
        ConvergenceGoal::no_chains(&DesiredKernel::default()),
        other,
        &mut start,
    ) {
        Ok(cleared) => {
            outcome.add(cleared);
            Ok(())
        }
        Err(error) => {
            let mut error = start.journal.roll_back(node, error);
            if let ApplyError::RolledBack { enforced, .. } = &mut error {
                *enforced = EnforcedState::Both(other.backend);
            }
            Err(error)
        }
    }
}

/// Returns the host's name, or `None` if it is empty or unknown.
///
/// # Errors
/// If `/proc/sys/kernel/hostname` cannot be read.
pub fn host_name(runner: &mut dyn Runner) -> Result<Option<String>, RunnerFailure> {
    let name = runner.read(Retention::Kernel, "sys/kernel/hostname")?;
    Ok(name
        .map(|name| String::from_utf8_lossy(&name).trim().to_owned())
        .filter(|name| !name.is_empty()))
}

impl ApplyTarget<'_> {
    /// Acquires the node lock. Fails with [`ApplyError::Locked`] if another process holds it too
    /// long.
    pub(crate) fn lock(&mut self) -> Result<NodeLock, ApplyError> {
        self.runner
            .lock(self.settings.wait)
            .map_err(ApplyError::Files)?
            .ok_or(ApplyError::Locked)
    }

    /// Acquires the lock in shared mode, so that no apply changes the node during a reading.
    fn lock_to_look(&mut self) -> Result<NodeLock, ApplyError> {
        self.runner
            .lock_to_look(self.settings.wait)
            .map_err(ApplyError::Files)?
            .ok_or(ApplyError::Locked)
    }
}

/// Returns which tables may contain Palisade's chains.
fn scope(remembered: Option<&AppliedState>, wants_early: bool) -> TableScope {
    match remembered {
        Some(remembered) if !remembered.early && !wants_early => TableScope::Filter,
        Some(_) | None => TableScope::All,
    }
}
