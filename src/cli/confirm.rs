//! `palisade confirm`: keeps what was applied with `--confirm`.

use clap::Args;

use crate::apply::{self, ApplyTarget, ConfirmOutcome};
use crate::cli::ExitStatus;
use crate::cli::node::{self, NodeArguments};
use crate::cli::report::{self, OutputStreams};

/// Keep an apply that waits to be confirmed
///
/// Exit status: 0 kept (or taken back, with --undo), 1 nothing waits, or it is too late, 2 our
/// files cannot be read or written, 3 the kernel or a tool refused, 4 somebody else is changing the
/// node.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Take it back at once instead
    #[arg(long)]
    undo: bool,
    /// Wait, and take back what is not confirmed in time
    #[arg(long, hide = true, conflicts_with = "undo")]
    guard: bool,
    #[command(flatten)]
    options: NodeArguments,
}

pub(super) fn run(arguments: &Arguments, report: &mut OutputStreams) -> ExitStatus {
    let mut processes = arguments.options.processes();
    let mut node = ApplyTarget {
        runner: &mut processes,
        settings: arguments.options.settings(),
    };
    let (text, status) = match (arguments.guard, arguments.undo) {
        (true, _) => return guard(&mut node, report),
        (false, true) => match apply::undo(&mut node) {
            Ok(Some(_)) => (
                "taken back: the policy before is in force again",
                ExitStatus::Clean,
            ),
            Ok(None) => ("nothing waits to be confirmed", ExitStatus::Differs),
            Err(error) => return node::fail(&error, &processes, report),
        },
        (false, false) => match apply::confirm(&mut node) {
            Ok(ConfirmOutcome::Kept) => ("kept", ExitStatus::Clean),
            Ok(ConfirmOutcome::Nothing) => (
                "nothing waits to be confirmed: nothing was applied with --confirm, or it was \
                 taken back",
                ExitStatus::Differs,
            ),
            Ok(ConfirmOutcome::TooLate(_)) => (
                "too late: the policy before is in force again",
                ExitStatus::Differs,
            ),
            Err(error) => return node::fail(&error, &processes, report),
        },
    };

    report.remark(text);
    status
}

/// In a session of its own, so that no terminal takes it along.
fn guard(node: &mut ApplyTarget<'_>, report: &mut OutputStreams) -> ExitStatus {
    // whoever leads a session is alone already
    let _ = rustix::process::setsid();
    match apply::guard(node, report::ready) {
        Ok(()) => ExitStatus::Clean,
        Err(error) => node::fail(&error, node.runner, report),
    }
}
