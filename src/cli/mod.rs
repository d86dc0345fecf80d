//! The command line: arguments, commands, and what they print.
//!
//! In: arguments, the environment, files, standard input. Out: data on standard output, everything
//! else on standard error, and an exit [`ExitStatus`]. One file a command; each reads, calls the
//! compile, and prints.
#![expect(
    clippy::disallowed_methods,
    reason = "this room reads files and writes to the terminal"
)]

mod apply;
mod ask;
mod build_roots;
mod check;
mod completions;
mod config;
mod confirm;
mod connectivity;
mod diff;
mod doctor;
mod eval;
mod explain;
mod git;
mod input;
mod emptiness;
mod node;
mod nodes;
mod proof;
mod reconcile;
mod render;
mod report;
mod selector;
mod status;
mod test;
mod trace;
mod uninstall;
mod verify;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::report::OutputStreams;
use crate::diagnostic::{Code, Diagnostic};

/// What the program returns to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done, and nothing to say against it: 0.
    Clean,
    /// Done, with a difference, a finding or a "no": 1.
    Differs,
    /// The input is refused, or something could not be read or written: 2.
    Invalid,
    /// The kernel, or one of its tools, refused: 3.
    Refused,
    /// Somebody else is at it; later it may go: 4.
    Busy,
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Clean => 0,
            ExitStatus::Differs => 1,
            ExitStatus::Invalid => 2,
            ExitStatus::Refused => 3,
            ExitStatus::Busy => 4,
        })
    }
}

/// Compiles Calico and Kubernetes network policy to ipset and iptables scripts for each node.
#[derive(Debug, Parser)]
#[command(
    name = "palisade",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(flatten)]
    global: GlobalArguments,
    #[command(subcommand)]
    command: CliCommand,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct GlobalArguments {
    /// Configuration file (YAML: endpointToHost, unknownEndpoint, hookPosition, encapsulated,
    /// sourceValidation, podInterface, failsafeInbound, failsafeOutbound, templates,
    /// allowExtensions, lints, with the values of the flags of these names); flags and PALISADE_*
    /// variables win over it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PALISADE_CONFIG",
        hide_env_values = true
    )]
    config: Option<std::path::PathBuf>,
    /// How data is printed to standard output, where a command has this format for it; problems, on
    /// standard error, are JSON with `json` and text with all others
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        env = "PALISADE_FORMAT",
        hide_env_values = true
    )]
    format: OutputFormat,
    /// When to use colour; NO_COLOR is heeded
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "PALISADE_COLOR",
        hide_env_values = true
    )]
    color: ColorChoice,
    /// Print errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// How data and problems are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people
    Text,
    /// JSON; of problems one object a line, for the first 1,000 errors
    Json,
    /// Comma-separated values
    Csv,
    /// Markdown
    Md,
    /// A graph for Graphviz
    Dot,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit's XML
    Junit,
    /// Metrics for Prometheus
    Prometheus,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorChoice {
    /// On a terminal
    Auto,
    /// Also into files and pipes
    Always,
    /// Not at all
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum CliCommand {
    Check(check::Arguments),
    Render(render::Arguments),
    Eval(eval::Arguments),
    Explain(explain::Arguments),
    Connectivity(connectivity::Arguments),
    Diff(diff::Arguments),
    Test(test::Arguments),
    Selector(selector::Arguments),
    Verify(verify::Arguments),
    Apply(apply::Arguments),
    Confirm(confirm::Arguments),
    Reconcile(Box<reconcile::Arguments>),
    Uninstall(uninstall::Arguments),
    Status(status::Arguments),
    Doctor(doctor::Arguments),
    Completions(completions::CompletionsArguments),
    Man(completions::ManArguments),
}

impl CliCommand {
    /// Whether it writes files.
    fn writes(&self) -> bool {
        matches!(self, CliCommand::Render(_))
    }

    /// The formats that it has.
    fn formats(&self) -> &'static [OutputFormat] {
        match self {
            CliCommand::Check(_)
            | CliCommand::Render(_)
            | CliCommand::Eval(_)
            | CliCommand::Explain(_)
            | CliCommand::Verify(_)
            | CliCommand::Selector(_) => &[OutputFormat::Text, OutputFormat::Json],
            CliCommand::Apply(_)
            | CliCommand::Confirm(_)
            | CliCommand::Reconcile(_)
            | CliCommand::Uninstall(_)
            | CliCommand::Doctor(_) => &[OutputFormat::Text, OutputFormat::Json],
            CliCommand::Status(_) => &[
                OutputFormat::Text,
                OutputFormat::Json,
                OutputFormat::Prometheus,
            ],
            CliCommand::Connectivity(_) => &[
                OutputFormat::Text,
                OutputFormat::Json,
                OutputFormat::Csv,
                OutputFormat::Md,
                OutputFormat::Dot,
            ],
            CliCommand::Diff(_) => &[
                OutputFormat::Text,
                OutputFormat::Json,
                OutputFormat::Md,
                OutputFormat::Sarif,
            ],
            CliCommand::Test(_) => &[OutputFormat::Text, OutputFormat::Json, OutputFormat::Junit],
            CliCommand::Completions(_) | CliCommand::Man(_) => &[OutputFormat::Text],
        }
    }
}

/// Runs the program with the arguments of this process.
pub fn run() -> ExitStatus {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return report::usage(&error),
    };
    let mut report = OutputStreams::new(&arguments.global, arguments.command.writes());
    let formats = arguments.command.formats();
    if !formats.contains(&arguments.global.format) {
        return report.diagnostic(unknown_format(arguments.global.format, formats));
    }
    match arguments.command {
        CliCommand::Check(own) => check::run(&own, arguments.global.config.as_deref(), &mut report),
        CliCommand::Render(own) => {
            render::run(&own, arguments.global.config.as_deref(), &mut report)
        }
        CliCommand::Eval(own) => eval::run(&own, arguments.global.config.as_deref(), &mut report),
        CliCommand::Explain(own) => {
            explain::run(&own, arguments.global.config.as_deref(), &mut report)
        }
        CliCommand::Connectivity(own) => connectivity::run(&own, &mut report),
        CliCommand::Diff(own) => diff::run(&own, arguments.global.config.as_deref(), &mut report),
        CliCommand::Test(own) => test::run(&own, &mut report),
        CliCommand::Verify(own) => {
            verify::run(&own, arguments.global.config.as_deref(), &mut report)
        }
        CliCommand::Selector(own) => selector::run(&own, &mut report),
        CliCommand::Apply(own) => apply::run(&own, arguments.global.config.as_deref(), &mut report),
        CliCommand::Confirm(own) => confirm::run(&own, &mut report),
        CliCommand::Reconcile(own) => {
            reconcile::run(&own, arguments.global.config.as_deref(), &mut report)
        }
        CliCommand::Uninstall(own) => uninstall::run(&own, &mut report),
        CliCommand::Status(own) => {
            status::run(&own, arguments.global.config.as_deref(), &mut report)
        }
        CliCommand::Doctor(own) => doctor::run(&own, &mut report),
        CliCommand::Completions(own) => completions::completions(&own, &mut report),
        CliCommand::Man(_) => completions::man(&mut report),
    }
}

fn unknown_format(format: OutputFormat, formats: &[OutputFormat]) -> Diagnostic {
    let word = |format: &OutputFormat| {
        format
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    };
    let known = formats
        .iter()
        .map(|format| format!("`{}`", word(format)))
        .collect::<Vec<_>>()
        .join(" and ");
    let message = format!("this command has no format `{}`", word(&format));
    Diagnostic::new(Code::InvalidConfig, message)
        .help(format!("`--format` and PALISADE_FORMAT take {known} here"))
}

#[cfg(test)]
mod tests;
