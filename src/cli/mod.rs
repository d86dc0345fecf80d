//! The command line: arguments, commands, and what they print.
//!
//! In: arguments, the environment, files, standard input. Out: data on standard output, everything else on standard error,
//! and an exit [`Status`]. One file a command; each reads, calls the compile, and prints.
#![expect(clippy::disallowed_methods, reason = "this room reads files and writes to the terminal")]

mod ask;
mod check;
mod config;
mod eval;
mod explain;
mod input;
mod render;
mod report;
mod selector;
mod trace;
mod verify;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::report::Report;

/// What the program returns to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done, and nothing to say against it: 0.
    Clean,
    /// Done, with a difference, a finding or a "no": 1.
    Differs,
    /// The input is refused, or something could not be read or written: 2.
    Invalid,
}

impl From<Status> for std::process::ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Clean => 0,
            Status::Differs => 1,
            Status::Invalid => 2,
        })
    }
}

/// Compiles Calico and Kubernetes network policy to ipset and iptables scripts for each node.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, arg_required_else_help = true, max_term_width = 100)]
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
    /// Configuration file (YAML: endpointToHost, unknownEndpoint, hookPosition, encapsulated, templates, with the values
    /// of the flags of these names); flags and PALISADE_* variables win over it
    #[arg(long, global = true, value_name = "FILE", env = "PALISADE_CONFIG", hide_env_values = true)]
    config: Option<std::path::PathBuf>,
    /// How answers are printed to standard output and problems to standard error
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", env = "PALISADE_FORMAT", hide_env_values = true)]
    format: Format,
    /// When to use colour; NO_COLOR is heeded
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", env = "PALISADE_COLOR", hide_env_values = true)]
    color: Color,
    /// Print errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// How answers and problems are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line; of problems for the first 1,000 errors
    Json,
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
    Selector(selector::Arguments),
    Verify(verify::Arguments),
}

/// Runs the program with the arguments of this process.
pub fn run() -> Status {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return report::usage(&error),
    };
    let mut report = Report::new(&arguments.global);
    match arguments.command {
        Command::Check(own) => check::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Render(own) => render::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Eval(own) => eval::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Explain(own) => explain::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Verify(own) => verify::run(&own, arguments.global.config.as_deref(), &mut report),
        Command::Selector(own) => selector::run(&own, &mut report),
    }
}

#[cfg(test)]
mod tests;
