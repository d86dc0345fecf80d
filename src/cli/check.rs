//! `palisade check`: is the input valid, and does it look right?

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, config, input};
use crate::diagnostic::{Diagnostics, MOST};
use crate::lint;
use crate::resolve;

/// Parse, validate and lint policies and inventory
///
/// Exit status: 0 clean, 1 lint findings, 2 invalid. All problems are listed at once; an invalid
/// input is not linted.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files, directories (*.yaml, *.yml, *.json below them), or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Leave a lint out (may be repeated); the configuration file does it by `lints: {LINT: allow}`
    #[arg(long, value_name = "LINT")]
    allow: Vec<String>,
    /// Check the policies as they would be with the staged ones in force
    #[arg(long)]
    staged: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    config: Option<&Path>,
    report: &mut OutputStreams,
) -> ExitStatus {
    let levels = match config::lints(&arguments.allow, config) {
        Ok(levels) => levels,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let mut found = Diagnostics::default();
    let files = input::read(&arguments.paths, &mut found);
    let input = crate::read(&files, input::staging(arguments.staged), &mut found);

    if !found.has_errors() {
        let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
        lint::all(&resolved, &levels, &mut found);
    }

    if report.diagnostics(&found, &files) != ExitStatus::Clean {
        return ExitStatus::Invalid;
    }

    let policies = input.policies.policies().count();
    let tiers = input.policies.tiers.len();
    let endpoints = input.inventory.endpoints.len();
    let nodes = input.inventory.nodes.len();
    report.remark(&format!(
        "valid: {policies} policies in {tiers} tiers, {endpoints} endpoints on {nodes} nodes"
    ));

    match found.lint_count() {
        0 => ExitStatus::Clean,
        findings => {
            let word = if findings == 1 { "finding" } else { "findings" };
            let shown = if findings > MOST {
                format!(", of which at most {MOST} are shown")
            } else {
                String::new()
            };
            report.remark(&format!(
                "{findings} {word} of lints{shown}; `--allow LINT` leaves a lint out"
            ));
            ExitStatus::Differs
        }
    }
}
