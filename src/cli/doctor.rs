//! `palisade doctor`: what this node lacks.

use clap::Args;

use crate::cli::ExitStatus;
use crate::cli::node::NodeArguments;
use crate::cli::report::OutputStreams;
use crate::doctor;

/// Say what this node lacks to enforce policy, and what to do about it
///
/// Looks at programs and their versions, whose rules stand in which build of iptables, what the
/// kernel can do (tried in a network namespace of its own, which may load modules), rights, the
/// lock of iptables, directories and settings of the host. Changes no set and no rule.
///
/// Exit status: 0 nothing is missing, 1 something is.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: NodeArguments,
}

pub(super) fn run(arguments: &Arguments, report: &mut OutputStreams) -> ExitStatus {
    let found = doctor::examine(
        &mut arguments.options.processes(),
        arguments.options.settings().backend,
    );
    let is_json = report.is_json();

    let told = report.data_by(|_, out| {
        if is_json {
            found.json(out)
        } else {
            found.text(out)
        }
    });
    if told == ExitStatus::Clean && !found.is_fit() {
        ExitStatus::Differs
    } else {
        told
    }
}
