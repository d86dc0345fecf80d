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
mod format;
mod git;
mod help;
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

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::cli::format::OutputFormat;
use crate::cli::report::OutputStreams;

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
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(flatten)]
    global: GlobalArguments,
    #[command(subcommand)]
    command: CliCommand,
}

/// The heading of [`GlobalArguments`] in help.
const GLOBAL_HEADING: &str = "Options of every command";

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = GLOBAL_HEADING)]
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
    /// How data is printed on standard output; the help of a command lists its formats
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = format::DEFAULT,
        env = "PALISADE_FORMAT",
        hide_env_values = true,
        hide_possible_values = true
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
    Help(help::Arguments),
}

impl CliCommand {
    /// Whether it writes files.
    fn writes(&self) -> bool {
        matches!(self, CliCommand::Render(_))
    }
}

/// The program as clap knows it.
fn program() -> clap::Command {
    // the program's own `help` knows codes too; below `selector`, clap's stays
    let with_help = |selector: clap::Command| {
        selector.defer(|selector| selector.disable_help_subcommand(false))
    };
    format::with_formats(Arguments::command().mut_subcommand("selector", with_help))
}

/// The arguments of this process.
///
/// # Errors
/// If they are refused, or ask for help or the version.
fn parse() -> Result<Arguments, clap::Error> {
    let mut program = program();
    let matches = program.try_get_matches_from_mut(std::env::args_os())?;
    let arguments =
        Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut program))?;

    let command = matches
        .subcommand_name()
        .and_then(|name| program.find_subcommand(name));
    if let Some(command) = command {
        format::check(arguments.global.format, command)?;
    }

    Ok(arguments)
}

/// Runs the program with the arguments of this process.
pub fn run() -> ExitStatus {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => return report::usage(&error),
    };
    let mut report = OutputStreams::new(&arguments.global, arguments.command.writes());

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
        CliCommand::Help(own) => help::run(&own, &mut report),
    }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
