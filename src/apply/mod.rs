//! A [`Plan`](crate::plan::Plan) to the kernel, through one [`Runner`].
//!
//! In: a node's part of a bundle ([`TargetBundle`]), and the [`Runner`]. Out: an [`ApplyOutcome`],
//! once the kernel was read back and holds what is wanted, or an [`ApplyError`] that says what to
//! do next. One apply at a time; an apply that is killed leaves a state from which the next one
//! goes on. Absent: what scripts mean, and which order is safe (`plan`).
//!
//! Cost: two looks at the kernel and the calls of the plan; one look where nothing is to be done.

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

/// The node that is worked on.
pub struct ApplyTarget<'run> {
    /// Its world.
    pub runner: &'run mut dyn Runner,
    /// How.
    pub settings: ApplySettings,
}

/// How a node is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplySettings {
    /// The build of iptables; none to find out.
    pub backend: Option<IptablesBackend>,
    /// How long to wait for another apply, and for the xtables lock.
    pub wait: Duration,
    /// Whether chains of ours in the other build of iptables give way to the new ones, in place of
    /// an error.
    pub takes_over: bool,
}

/// Brings the kernel to what is wanted, and keeps it for the next boot. Where something was not
/// confirmed in time and cannot be taken back, since the last good bundle is damaged, this one
/// takes the place of both.
///
/// # Errors
/// When it cannot. The kernel holds what it held before; where that cannot be brought back, the
/// error says so, and the next run goes on from what there is.
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

    if node.settings.takes_over {
        clear_other(node, &mut outcome)?;
    }

    state_store::keep_good(node.runner, wanted).map_err(ApplyError::NotKept)?;
    if gave_up {
        confirm::forget(node.runner).map_err(ApplyError::NotKept)?;
    }

    Ok(outcome)
}

/// Takes our chains out of the other build of iptables, if there are any.
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

/// The host's name.
///
/// # Errors
/// When the kernel does not say.
pub fn host_name(runner: &mut dyn Runner) -> Result<Option<String>, RunnerFailure> {
    let name = runner.read(Retention::Kernel, "sys/kernel/hostname")?;
    Ok(name
        .map(|name| String::from_utf8_lossy(&name).trim().to_owned())
        .filter(|name| !name.is_empty()))
}

impl ApplyTarget<'_> {
    /// Waits for another apply.
    pub(crate) fn lock(&mut self) -> Result<NodeLock, ApplyError> {
        self.runner
            .lock(self.settings.wait)
            .map_err(ApplyError::Files)?
            .ok_or(ApplyError::Locked)
    }

    /// Waits for another apply, to look at no half of it.
    fn lock_to_look(&mut self) -> Result<NodeLock, ApplyError> {
        self.runner
            .lock_to_look(self.settings.wait)
            .map_err(ApplyError::Files)?
            .ok_or(ApplyError::Locked)
    }
}

/// Which tables there may be something of ours in.
fn scope(remembered: Option<&AppliedState>, wants_early: bool) -> TableScope {
    match remembered {
        Some(remembered) if !remembered.early && !wants_early => TableScope::Filter,
        Some(_) | None => TableScope::All,
    }
}
