//! `palisade eval`: one connection's verdict.

use std::path::Path;

use clap::Args;

use crate::cli::Status;
use crate::cli::ask::{self, Asked};
use crate::cli::report::Report;
use crate::report::eval::Detail;

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
    asked: Asked,
}

pub(super) fn run(arguments: &Arguments, config: Option<&Path>, report: &mut Report) -> Status {
    ask::run(&arguments.asked, (config, Detail::Verdict), report)
}
