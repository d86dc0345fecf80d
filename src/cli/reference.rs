//! `docs/cli.md`, made from what clap knows: every command with its arguments, options and
//! environment variables. `UPDATE_GOLDEN=1` writes it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, ValueEnum};

use crate::cli::format::FORMATS;
use crate::cli::program;

const HEAD: &str = "# Commands

<!-- Made from the arguments in src/cli by src/cli/reference.rs. -->

Data goes to standard output, everything else to standard error. A flag wins over its environment
variable, and the variable over the configuration file. `palisade help COMMAND` prints the help of a
command.

## Formats

`--format` chooses how data is printed. Problems are JSON, one object a line, with `json`, and text
with every other format.

| command | formats |
|---|---|
";

#[test]
fn the_page_of_commands_is_what_clap_knows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let expected = page();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty()) {
        fs::write(&path, &expected).unwrap();
    }

    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found
        .lines()
        .zip(expected.lines())
        .find(|(old, new)| old != new);

    assert!(
        found == expected,
        "docs/cli.md is another: {differs:?}; UPDATE_GOLDEN=1 accepts this"
    );
}

fn page() -> String {
    let mut program = program();
    program.build();
    let mut page = HEAD.to_owned();

    for row in FORMATS {
        let formats = row.formats.iter().filter_map(ValueEnum::to_possible_value);
        let formats: Vec<String> = formats
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let _ = writeln!(page, "| `{}` | {} |", row.command, formats.join(", "));
    }

    section(&program, 2, &mut page);
    page
}

/// A command and those below it, each under a heading of this level.
fn section(command: &Command, level: usize, page: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let _ = write!(page, "\n{} {name}\n", "#".repeat(level));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = write!(page, "\n{}\n", plain(&about.to_string()));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(page, "\n```text\n{usage}\n```\n");

    // the options of every command are those of the program, but for the formats
    let is_program = level == 2;
    let is_own = |argument: &&Arg| {
        let is_everywhere = argument.is_global_set() && argument.get_id() != super::format::ID;
        let is_claps = ["help", "version"].contains(&argument.get_id().as_str());
        (is_program || !is_everywhere) && !is_claps && !argument.is_hide_set()
    };
    let mut arguments = command.get_arguments().filter(is_own).peekable();
    if arguments.peek().is_some() {
        page.push('\n');
    }
    for argument in arguments {
        item(argument, page);
    }

    // clap's own `help` below `selector` repeats the commands beside it
    let below = command
        .get_subcommands()
        .filter(|below| is_program || below.get_name() != "help");
    for below in below {
        section(below, level + 1, page);
    }
}

/// An argument or option, with its values, default and variable.
fn item(argument: &Arg, page: &mut String) {
    let help = argument.get_long_help().or(argument.get_help());
    let help = help
        .map(|help| help.to_string().replace('\n', " "))
        .unwrap_or_default();
    let (help, said_variable) = without_note(&help, "env: ");
    let (help, said_default) = without_note(&help, "default: ");
    let _ = write!(
        page,
        "- `{}`: {}.",
        name(argument),
        plain(help.trim_end_matches('.'))
    );
    let takes_values = argument.get_action().takes_values();
    if takes_values && !argument.is_hide_possible_values_set() {
        list(
            "Values",
            argument
                .get_possible_values()
                .iter()
                .map(|value| value.get_name()),
            page,
        );
    }

    let defaults = argument
        .get_default_values()
        .iter()
        .filter(|_| takes_values);
    let defaults: Vec<String> = defaults.map(|value| value.display().to_string()).collect();
    let default = said_default.or(defaults.first().cloned());
    if let Some(default) = default {
        let _ = write!(page, " Default: {default}.");
    }
    let variable = argument
        .get_env()
        .map(|variable| variable.display().to_string());
    list(
        "Variable",
        variable.or(said_variable).iter().map(String::as_str),
        page,
    );
    page.push('\n');
}

/// Adds a list of literals, if there are any.
fn list<'word>(title: &str, words: impl Iterator<Item = &'word str>, page: &mut String) {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    if !words.is_empty() {
        let _ = write!(page, " {title}: {}.", words.join(", "));
    }
}

/// A text without its note ` [NAME: VALUE]`, and the value.
fn without_note(text: &str, name: &str) -> (String, Option<String>) {
    let found = text.split_once(&format!(" [{name}"));
    let Some((before, (value, after))) =
        found.and_then(|(before, rest)| Some((before, rest.split_once(']')?)))
    else {
        return (text.to_owned(), None);
    };
    (format!("{before}{after}"), Some(value.to_owned()))
}

/// `-o, --out <DIR>`, or `<PATH>...`.
fn name(argument: &Arg) -> String {
    let shown = argument.to_string();
    match argument.get_short() {
        Some(short) if argument.get_long().is_some() => format!("-{short}, {shown}"),
        _ => shown,
    }
}

/// Text of help in Markdown, where `<` and `*` outside of code have a meaning.
fn plain(text: &str) -> String {
    let parts = text.trim_end().split('`').enumerate();
    let parts: Vec<String> = parts
        .map(|(index, part)| match index % 2 == 0 {
            true => part.replace('<', "&lt;").replace('*', "\\*"),
            false => part.to_owned(),
        })
        .collect();
    parts.join("`")
}
