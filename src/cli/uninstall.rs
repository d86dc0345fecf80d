//! `palisade uninstall`: takes everything of ours away.

use clap::Args;

use crate::apply::{self, ApplyTarget};
use crate::cli::ExitStatus;
use crate::cli::node::{self, ApplyNotes, NodeArguments};
use crate::cli::report::OutputStreams;

/// Remove every chain, rule and set of ours from this node's kernel, and the bundle that was kept;
/// nothing decides packets then
///
/// What is not ours is left alone. Both builds of iptables are looked at. Where rules of others
/// lead to a chain or set of ours, that stays, and the rules are named.
///
/// Exit status: 0 nothing of ours is left, 2 our files cannot be read or written, 3 something is
/// left, or the kernel or a tool refused, 4 somebody else is changing the node.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: NodeArguments,
}

pub(super) fn run(arguments: &Arguments, report: &mut OutputStreams) -> ExitStatus {
    let mut processes = arguments.options.processes();
    let mut node = ApplyTarget {
        runner: &mut processes,
        settings: arguments.options.settings(),
    };

    match apply::uninstall(&mut node) {
        Ok(outcome) => node::report_outcome(
            &outcome,
            "nothing of ours is left",
            &ApplyNotes::default(),
            report,
        ),
        Err(error) => node::fail(&error, &processes, report),
    }
}
