//! `palisade explain`: one connection's verdict, and why.

use std::path::Path;

use clap::Args;

use crate::cli::ExitStatus;
use crate::cli::ask::{self, QueryArguments};
use crate::cli::report::OutputStreams;
use crate::report::eval::DetailLevel;

/// Why is a connection allowed or denied?
///
/// Says what `eval` says, and then all that the connection comes past, egress of the sender first:
/// tiers, policies and rules with file and line, who isolates where no rule matches, what would
/// have to be otherwise for a rule to allow it, and the rules of the nodes' scripts that decide.
///
/// Exit status: 0 all is allowed, 1 something is denied, 2 invalid input or question.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: QueryArguments,
    /// Also say why the other rules do not match
    #[arg(short, long)]
    verbose: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    config: Option<&Path>,
    report: &mut OutputStreams,
) -> ExitStatus {
    let detail = if arguments.verbose {
        DetailLevel::Rules
    } else {
        DetailLevel::Way
    };
    ask::run(&arguments.asked, config, detail, report)
}
