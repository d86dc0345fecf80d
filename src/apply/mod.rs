//! A [`Plan`](crate::plan::Plan) to the kernel, through one [`Runner`].
//!
//! In: a node's part of a bundle ([`Wanted`]), and the [`Runner`]. Out: an [`Outcome`], once the
//! kernel was read back and holds what is wanted, or an [`Error`] that says what to do next. One
//! apply at a time; an apply that is killed leaves a state from which the next one goes on. Absent:
//! what scripts mean, and which order is safe (`plan`).
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

pub use confirm::{Confirmed, confirm, guard, last_applied, run_to_be_confirmed, undo, waits};
pub use error::{Enforced, Error, Kind};
pub use file_names::{COMPILED, GOOD};
pub use inspect::{Look, look};
pub use outcome::{Counts, Outcome};
pub use state_store::{Written, last_good, last_node, last_written};
pub use target_bundle::{Known, Named, Wanted, node_of};
pub use uninstall::uninstall;

use std::time::Duration;

use crate::observe::{Backend, Problem, Scope, Tools, refuse_other};
use crate::plan::Desired;
use crate::runner::{Failure, Keep, Lock, Runner};

use goal::Goal;
use journal::Start;
use state_store::Remembered;

/// The node that is worked on.
pub struct Node<'run> {
    /// Its world.
    pub runner: &'run mut dyn Runner,
    /// How.
    pub settings: Settings,
}

/// How a node is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The build of iptables; none to find out.
    pub backend: Option<Backend>,
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
pub fn run(node: &mut Node<'_>, wanted: &Wanted) -> Result<Outcome, Error> {
    let _lock = node.lock()?;
    state_store::check(node.runner).map_err(Error::Files)?;
    let (took_back, gave_up) = match confirm::settle(node) {
        Err(Error::Good(_)) => (false, true),
        settled => (settled?, false),
    };
    let mut outcome = Outcome {
        took_back,
        gave_up,
        ..converge::bring(node, Goal::of(wanted))?
    };
    if node.settings.takes_over {
        clear_other(node, &mut outcome)?;
    }
    state_store::keep_good(node.runner, wanted).map_err(Error::NotKept)?;
    if gave_up {
        confirm::forget(node.runner).map_err(Error::NotKept)?;
    }
    Ok(outcome)
}

/// Takes our chains out of the other build of iptables, if there are any.
fn clear_other(node: &mut Node<'_>, outcome: &mut Outcome) -> Result<(), Error> {
    let tools = state_store::tools(node)?;
    let other = match refuse_other(node.runner, tools) {
        Ok(()) => return Ok(()),
        Err(Problem::OtherBackend(backend)) => Tools { backend, ..tools },
        Err(problem) => return Err(Error::Kernel(problem)),
    };
    let mut start = Start::default();
    match round::bring_with(
        node,
        Goal::no_chains(&Desired::default()),
        other,
        &mut start,
    ) {
        Ok(cleared) => {
            outcome.add(cleared);
            Ok(())
        }
        Err(error) => {
            let mut error = start.journal.roll_back(node, error);
            if let Error::RolledBack { enforced, .. } = &mut error {
                *enforced = Enforced::Both(other.backend);
            }
            Err(error)
        }
    }
}

/// The host's name.
///
/// # Errors
/// When the kernel does not say.
pub fn host_name(runner: &mut dyn Runner) -> Result<Option<String>, Failure> {
    let name = runner.read(Keep::Kernel, "sys/kernel/hostname")?;
    Ok(name
        .map(|name| String::from_utf8_lossy(&name).trim().to_owned())
        .filter(|name| !name.is_empty()))
}

impl Node<'_> {
    /// Waits for another apply.
    pub(crate) fn lock(&mut self) -> Result<Lock, Error> {
        self.runner
            .lock(self.settings.wait)
            .map_err(Error::Files)?
            .ok_or(Error::Locked)
    }

    /// Waits for another apply, to look at no half of it.
    fn lock_to_look(&mut self) -> Result<Lock, Error> {
        self.runner
            .lock_to_look(self.settings.wait)
            .map_err(Error::Files)?
            .ok_or(Error::Locked)
    }
}

/// Which tables there may be something of ours in.
fn scope(remembered: Option<&Remembered>, wants_early: bool) -> Scope {
    match remembered {
        Some(remembered) if !remembered.early && !wants_early => Scope::Filter,
        Some(_) | None => Scope::All,
    }
}
