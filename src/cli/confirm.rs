//! `palisade confirm`: keeps what was applied with `--confirm`.

use clap::Args;

use crate::apply::{self, Confirmed, Node};
use crate::cli::Status;
use crate::cli::node::{self, Options};
use crate::cli::report::{self, Report};

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
    options: Options,
}

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Status {
    let mut processes = arguments.options.processes();
    let mut node = Node {
        runner: &mut processes,
        settings: arguments.options.settings(),
    };
    let (text, status) = match (arguments.guard, arguments.undo) {
        (true, _) => return guard(&mut node, report),
        (false, true) => match apply::undo(&mut node) {
            Ok(Some(_)) => (
                "taken back: the policy before is in force again",
                Status::Clean,
            ),
            Ok(None) => ("nothing waits to be confirmed", Status::Differs),
            Err(error) => return node::fail(&error, &processes, report),
        },
        (false, false) => match apply::confirm(&mut node) {
            Ok(Confirmed::Kept) => ("kept", Status::Clean),
            Ok(Confirmed::Nothing) => (
                "nothing waits to be confirmed: nothing was applied with --confirm, or it was \
                 taken back",
                Status::Differs,
            ),
            Ok(Confirmed::TooLate(_)) => (
                "too late: the policy before is in force again",
                Status::Differs,
            ),
            Err(error) => return node::fail(&error, &processes, report),
        },
    };
    report.remark(text);
    status
}

/// In a session of its own, so that no terminal takes it along.
fn guard(node: &mut Node<'_>, report: &mut Report) -> Status {
    // whoever leads a session is alone already
    let _ = rustix::process::setsid();
    match apply::guard(node, report::ready) {
        Ok(()) => Status::Clean,
        Err(error) => node::fail(&error, node.runner, report),
    }
}
