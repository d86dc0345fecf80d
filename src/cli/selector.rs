//! `palisade selector`: try the selector language.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

use crate::cli::ExitStatus;
use crate::cli::report::OutputStreams;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::output::TerminalWriter;
use crate::selector::{self, Expr};
use crate::source::SourceFiles;

/// Try the selector language
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: SelectorCommand,
}

#[derive(Debug, Subcommand)]
enum SelectorCommand {
    /// Does a selector match these labels?
    ///
    /// Exit status: 0 it does, 1 it does not, 2 it does not parse.
    Match {
        /// The selector
        #[arg(value_name = "EXPR")]
        selector: String,
        /// A label; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
    },
    /// Print a selector in its canonical form
    ///
    /// Exit status: 0, or 2 when it does not parse.
    Format {
        /// The selector
        #[arg(value_name = "EXPR")]
        selector: String,
    },
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected `key=value`")?;
    match key.is_empty() {
        true => Err("expected `key=value`, found no key".to_owned()),
        false => Ok((key.to_owned(), value.to_owned())),
    }
}

pub(super) fn run(arguments: &Arguments, report: &mut OutputStreams) -> ExitStatus {
    match &arguments.command {
        SelectorCommand::Match { selector, labels } => with(selector, report, |expr, _| {
            let labels: BTreeMap<String, String> = labels.iter().cloned().collect();
            if expr.matches(&labels) {
                ExitStatus::Clean
            } else {
                ExitStatus::Differs
            }
        }),
        SelectorCommand::Format { selector } => with(selector, report, |expr, report| {
            report.data_by(|_, out| TerminalWriter::on(out).line(expr))
        }),
    }
}

/// Parses a selector and goes on with it, or points at what is wrong.
fn with(
    text: &str,
    report: &mut OutputStreams,
    go_on: impl FnOnce(&Expr, &mut OutputStreams) -> ExitStatus,
) -> ExitStatus {
    let error = match selector::parse(text) {
        Ok(expr) => return go_on(&expr, report),
        Err(error) => error,
    };
    let mut files = SourceFiles::default();
    let mut found = Diagnostics::default();
    let mut diagnostic =
        Diagnostic::new(Code::SelectorSyntax, error.message).maybe_help(error.help);

    if let Ok(file) = files.add("<selector>", text.to_owned()) {
        diagnostic = diagnostic.label(file.span(error.range), "");
    }

    found.push(diagnostic);
    report.diagnostics(&found, &files)
}
