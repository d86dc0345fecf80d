//! `palisade eval`: one connection's verdict.

use std::path::Path;

use clap::Args;

use crate::cli::ExitStatus;
use crate::cli::ask::{self, QueryArguments};
use crate::cli::report::OutputStreams;
use crate::report::eval::DetailLevel;

/// Is a connection allowed?
///
/// The first packet of the connection is decided about, at both ends. WHO may stand for several
/// endpoints or addresses; then every pair is decided about, and CIDRs are cut where anything in
/// the input tells their addresses apart.
///
/// Exit status: 0 all is allowed, 1 something is denied, 2 invalid input or question.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: QueryArguments,
}

pub(super) fn run(
    arguments: &Arguments,
    config: Option<&Path>,
    report: &mut OutputStreams,
) -> ExitStatus {
    ask::run(&arguments.asked, config, DetailLevel::Verdict, report)
}
