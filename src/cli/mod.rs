//! The command line: arguments, commands, and what they print.
//!
//! In: arguments, the environment, files, standard input. Out: data on standard output, everything
//! else on standard error, and an exit [`Status`]. One file a command; each reads, calls the
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

use crate::cli::report::Report;
use crate::diagnostic::{Code, Diagnostic};

/// What the program returns to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
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

impl From<Status> for std::process::ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Clean => 0,
            Status::Differs => 1,
            Status::Invalid => 2,
            Status::Refused => 3,
            Status::Busy => 4,
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
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
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
    format: Format,
    /// When to use colour; NO_COLOR is heeded
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "PALISADE_COLOR",
        hide_env_values = true
    )]
    color: Color,
    /// Print errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// How data and problems are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
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
enum Color {
    /// On a terminal
    Auto,
    /// Also into files and pipes
    Always,
    /// Not at all
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
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
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Command {
    /// Whether it writes files.
    fn writes(&self) -> bool {
        matches!(self, Command::Render(_))
    }

    /// The formats that it has.
    fn formats(&self) -> &'static [Format] {
        match self {
            Command::Check(_)
            | Command::Render(_)
            | Command::Eval(_)
            | Command::Explain(_)
            | Command::Verify(_)
            | Command::Selector(_) => &[Format::Text, Format::Json],
            Command::Apply(_)
            | Command::Confirm(_)
            | Command::Reconcile(_)
            | Command::Uninstall(_)
            | Command::Doctor(_) => &[Format::Text, Format::Json],
            Command::Status(_) => &[Format::Text, Format::Json, Format::Prometheus],
            Command::Connectivity(_) => &[
                Format::Text,
                Format::Json,
                Format::Csv,
                Format::Md,
                Format::Dot,
            ],
            Command::Diff(_) => &[Format::Text, Format::Json, Format::Md, Format::Sarif],
            Command::Test(_) => &[Format::Text, Format::Json, Format::Junit],
            Command::Completions(_) | Command::Man(_) => &[Format::Text],
        }
    }
}

/// Runs the program with the arguments of this process.
pub fn run() -> Status {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return report::usage(&error),
    };
    let mut report = Report::new(&arguments.global, arguments.command.writes());
    let formats = arguments.command.formats();
    if !formats.contains(&arguments.global.format) {
        return report.diagnostic(unknown_format(arguments.global.format, formats));
    }
    match arguments.command {
        Command::Check(own) => check::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Render(own) => render::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Eval(own) => eval::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Explain(own) => {
            explain::run(&own, arguments.global.config.as_deref(), &mut report)
        }
        Command::Connectivity(own) => connectivity::run(&own, &mut report),
        Command::Diff(own) => diff::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Test(own) => test::run(&own, &mut report),
        Command::Verify(own) => verify::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Selector(own) => selector::run(&own, &mut report),
        Command::Apply(own) => apply::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Confirm(own) => confirm::run(&own, &mut report),
        Command::Reconcile(own) => {
            reconcile::run(&own, arguments.global.config.as_deref(), &mut report)
        }
        Command::Uninstall(own) => uninstall::run(&own, &mut report),
        Command::Status(own) => status::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Doctor(own) => doctor::run(&own, &mut report),
        Command::Completions(own) => completions::completions(&own, &mut report),
        Command::Man(_) => completions::man(&mut report),
    }
}

fn unknown_format(format: Format, formats: &[Format]) -> Diagnostic {
    let word = |format: &Format| {
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
