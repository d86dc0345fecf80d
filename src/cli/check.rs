//! `palisade check`: is the input valid?

use std::path::PathBuf;

use clap::Args;

use crate::cli::report::Report;
use crate::cli::{Status, input};
use crate::diagnostic::Diagnostics;

/// Parse and validate policies and inventory
///
/// Exit status: 0 valid, 2 invalid. All problems are listed at once.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files, directories (*.yaml, *.yml, *.json below them), or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Check the policies as they would be with the staged ones in force
    #[arg(long)]
    staged: bool,
}

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> Status {
    let mut found = Diagnostics::default();
    let files = input::read(&arguments.paths, &mut found);
    let input = crate::read(&files, input::staging(arguments.staged), &mut found);
    let status = report.diagnostics(&found, &files);
    if status == Status::Clean {
        let policies = input.policies.policies().count();
        let tiers = input.policies.tiers.len();
        let endpoints = input.inventory.endpoints.len();
        report.remark(&format!(
            "valid: {policies} policies in {tiers} tiers, {endpoints} endpoints on {} nodes",
            input.inventory.nodes.len()
        ));
    }
    status
}
