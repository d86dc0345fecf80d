//! Formats: the one table of which command has which.

use std::ffi::OsStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command, ValueEnum};

/// How data and problems are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
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

/// The formats of a command.
pub(super) struct CommandFormats {
    pub(super) command: &'static str,
    pub(super) formats: &'static [OutputFormat],
}

const fn row(command: &'static str, formats: &'static [OutputFormat]) -> CommandFormats {
    CommandFormats { command, formats }
}

/// Every command with its formats. Help, completion, parsing and `docs/cli.md` follow it.
pub(super) const FORMATS: &[CommandFormats] = {
    use OutputFormat::{Csv, Dot, Json, Junit, Md, Prometheus, Sarif, Text};
    &[
        row("check", &[Text, Json]),
        row("render", &[Text, Json]),
        row("eval", &[Text, Json]),
        row("explain", &[Text, Json]),
        row("connectivity", &[Text, Json, Csv, Md, Dot]),
        row("diff", &[Text, Json, Md, Sarif]),
        row("test", &[Text, Json, Junit]),
        row("selector", &[Text, Json]),
        row("verify", &[Text, Json]),
        row("apply", &[Text, Json]),
        row("confirm", &[Text, Json]),
        row("reconcile", &[Text, Json]),
        row("uninstall", &[Text, Json]),
        row("status", &[Text, Json, Prometheus]),
        row("doctor", &[Text, Json]),
        row("completions", &[Text]),
        row("man", &[Text]),
        row(HELP, &[Text]),
    ]
};

/// The command that is indifferent to the variable, since help is needed when something is wrong.
const HELP: &str = "help";

/// The name of the argument, which is also that of the program's own, so that clap puts a command's
/// in its place.
pub(super) const ID: &str = "format";

const HELP_TEXT: &str = "How data is printed on standard output; problems are printed on standard \
                         error, as JSON with `json`, else as text [env: PALISADE_FORMAT]";

/// What every command prints where no format is asked for.
pub(super) const DEFAULT: &str = "text";

/// Where `--format` is shown among the options of every command: after `--config`.
const DISPLAY_ORDER: usize = 1;

/// Gives every command its own `--format`, which takes the formats of the table only.
///
/// The program keeps one that takes all formats, for `palisade --format json check` and for the
/// variable; see [`check`].
pub(super) fn with_formats(program: Command) -> Command {
    FORMATS.iter().fold(program, |program, row| {
        program.mut_subcommand(row.command, |command| command.arg(argument(row)))
    })
}

/// Checks a format that was given before the command, or by the variable.
///
/// # Errors
/// What clap says of the same format after the command, if the command does not have it.
pub(super) fn check(format: OutputFormat, command: &Command) -> Result<(), clap::Error> {
    let row = FORMATS.iter().find(|row| row.command == command.get_name());
    let row = row.filter(|row| row.command != HELP);
    let (Some(row), Some(word)) = (row, format.to_possible_value()) else {
        return Ok(());
    };
    let argument = command.get_arguments().find(|known| known.get_id() == ID);
    parser(row.formats)
        .parse_ref(command, argument, OsStr::new(word.get_name()))
        .map(|_| ())
}

/// `--format` of one command. The variable is read for the program's own, which is weaker than a
/// flag at either place; here help only names it.
fn argument(row: &CommandFormats) -> Arg {
    Arg::new(ID)
        .long(ID)
        .global(true)
        .value_name("FORMAT")
        .help(HELP_TEXT)
        .help_heading(super::GLOBAL_HEADING)
        .display_order(DISPLAY_ORDER)
        .default_value(DEFAULT)
        .hide(row.command == HELP)
        .value_parser(parser(row.formats))
}

/// Takes the names of some formats.
fn parser(formats: &[OutputFormat]) -> impl TypedValueParser<Value = OutputFormat> + use<> {
    PossibleValuesParser::new(formats.iter().filter_map(ValueEnum::to_possible_value))
        .try_map(|name| OutputFormat::from_str(&name, false))
}
