//! `palisade help`: help of commands, and entries of diagnostics and lints.

use std::ffi::OsStr;

use clap::Args;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};

use crate::cli::format::FORMATS;
use crate::cli::report::{self, OutputStreams};
use crate::cli::{ExitStatus, program};
use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::output::TerminalWriter;

/// Print the help of a command, or the entry of a diagnostic or lint
///
/// `palisade help render` prints what `palisade render --help` does. `palisade help unknown-tier`
/// explains `error[unknown-tier]`: what it means, an example, and how to fix it.
///
/// Exit status: 0, or 2 when there is no command and no code of this name.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A command, or the code of a diagnostic or lint
    #[arg(value_name = "COMMAND|CODE", value_parser = TopicParser, hide_possible_values = true)]
    topic: Vec<String>,
}

/// Takes any word, and tells shells which words there are.
#[derive(Debug, Clone)]
struct TopicParser;

impl TypedValueParser for TopicParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(topics().map(PossibleValue::new)))
    }
}

/// All commands, then all codes.
fn topics() -> impl Iterator<Item = &'static str> {
    let commands = FORMATS.iter().map(|row| row.command);
    commands.chain(Code::ALL.iter().map(|code| code.name()))
}

pub(super) fn run(arguments: &Arguments, report: &mut OutputStreams) -> ExitStatus {
    if let [word] = arguments.topic.as_slice()
        && let Some(code) = Code::by_name(word)
    {
        return report.data_by(|_, out| entry(code, &mut TerminalWriter::on(out)));
    }
    if let Some(word) = unknown(&arguments.topic) {
        return report.diagnostic(refusal(word));
    }

    let words = ["palisade"].into_iter();
    let words = words.chain(arguments.topic.iter().map(String::as_str));
    match program().try_get_matches_from(words.chain(["--help"])) {
        Ok(_) => ExitStatus::Clean,
        Err(help) => report::usage(&help),
    }
}

/// The first word that no command has, or `None` if they lead to a command.
fn unknown(words: &[String]) -> Option<&str> {
    let mut program = program();
    program.build();
    let mut command = &program;
    for word in words {
        match command.find_subcommand(word) {
            Some(next) => command = next,
            None => return Some(word),
        }
    }
    None
}

fn refusal(word: &str) -> Diagnostic {
    let help = match nearest(word, topics()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "`palisade help` lists the commands, docs/diagnostics.md the codes".to_owned(),
    };
    let message = format!("there is no command and no code `{word}`");
    Diagnostic::new(Code::InvalidConfig, message).help(help)
}

/// Prints an entry: the fences of Markdown become an indent.
fn entry(code: Code, out: &mut TerminalWriter<'_, '_>) {
    out.literal(code.severity().name());
    out.line(format_args!("[{code}]: {}", code.description()));
    out.literal("\n");
    let mut is_block = false;

    for line in code.entry().lines() {
        if let Some(about) = line.strip_prefix("```") {
            is_block = !is_block;
            if let Some((_, name)) = about.split_once(' ') {
                out.line(format_args!("{name}:"));
            }
            continue;
        }
        match is_block {
            true => out.indented(BLOCK, line),
            false => out.line(line),
        }
    }
}

/// The level of a block.
const BLOCK: usize = 2;
