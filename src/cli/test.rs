//! `palisade test`: assertions about connections, proven.

use std::path::PathBuf;

use clap::Args;

use crate::assertions::{self, Coverage};
use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, OutputFormat, input};
use crate::diagnostic::Diagnostics;
use crate::output::BufferedOutput;
use crate::report::assertions::{TestedAssertions, json, junit, text};
use crate::resolve;

/// Do assertions about connections hold?
///
/// Every packet that an assertion covers is decided about, at both ends, by classes that policy
/// does not tell apart; none is drawn. A failed assertion comes with a packet for which it does not
/// hold, and with what decides about it. An assertion that covers nothing has failed, and so has
/// any about an input without policies.
///
/// Exit status: 0 all hold, 1 one does not (or --require-tests, --min-coverage), 2 invalid input or
/// assertions.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File of assertions, or directory of such files; not read as policy, where it lies below a
    /// PATH
    #[arg(value_name = "ASSERTIONS")]
    assertions: PathBuf,
    /// Files, directories (*.yaml, *.yml, *.json below them), or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Fail where there is no assertion at all
    #[arg(long)]
    require_tests: bool,
    /// Also tell which rules no assertion touches
    #[arg(long)]
    coverage: bool,
    /// Fail where assertions touch fewer of a hundred rules
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    min_coverage: Option<u8>,
    /// Test as if staged policies were in force
    #[arg(long)]
    staged: bool,
}

pub(super) fn run(arguments: &Arguments, report: &mut OutputStreams) -> ExitStatus {
    let mut found = Diagnostics::default();
    let mut files = input::read_but(&arguments.paths, &arguments.assertions, &mut found);
    let input = crate::read(&files, input::staging(arguments.staged), &mut found);
    let own = input::add_to(&mut files, &arguments.assertions, &mut found);
    let assertions = assertions::read(&files, &own, &mut found);
    if found.has_errors() {
        return report.diagnostics(&found, &files);
    }

    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
    let wants_coverage = arguments.coverage || arguments.min_coverage.is_some();
    let proof = assertions::prove(&resolved, &assertions, wants_coverage)
        .map_err(|diagnostic| found.push(diagnostic))
        .ok();

    let status = report.diagnostics(&found, &files);
    let Some(proof) = proof.filter(|_| status == ExitStatus::Clean) else {
        return status;
    };

    let tested = TestedAssertions {
        assertions: &assertions,
        proof: &proof,
        resolved: &resolved,
        files: &files,
    };
    let format = report.format();

    let told = BufferedOutput::capture(|out| match format {
        // a command without a format never gets here with it
        OutputFormat::Text
        | OutputFormat::Csv
        | OutputFormat::Md
        | OutputFormat::Dot
        | OutputFormat::Sarif
        | OutputFormat::Prometheus => text(&tested, out),
        OutputFormat::Json => json(&tested, out),
        OutputFormat::Junit => junit(&tested, out),
    });
    match report.data(&told) {
        Ok(()) => arguments.judge(&tested, report),
        Err(diagnostic) => report.diagnostic(diagnostic),
    }
}

impl Arguments {
    fn judge(&self, tested: &TestedAssertions<'_, '_>, report: &mut OutputStreams) -> ExitStatus {
        let mut status = if tested.failed() > 0 {
            ExitStatus::Differs
        } else {
            ExitStatus::Clean
        };

        if tested.assertions.is_empty() && self.require_tests {
            report.remark(&format!(
                "there is no assertion in `{}`, and `--require-tests` wants one",
                self.assertions.display()
            ));
            status = ExitStatus::Differs;
        }

        if tested.resolved.policies.policies().next().is_none() {
            report.remark("there is no policy in the input, so that no assertion proves anything");
            status = ExitStatus::Differs;
        }

        let percent = tested.proof.coverage.as_ref().map(Coverage::percent);
        if let Some((percent, least)) = percent
            .zip(self.min_coverage.map(usize::from))
            .filter(|(percent, least)| percent < least)
        {
            report.remark(&format!(
                "assertions touch {percent}% of the rules, and `--min-coverage` wants {least}%"
            ));
            status = ExitStatus::Differs;
        }

        status
    }
}
