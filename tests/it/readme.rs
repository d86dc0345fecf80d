//! The README and the tables of the book say what the code does.

use std::collections::{BTreeMap, BTreeSet};

use palisade::document::{KINDS, KindRole, ObjectKind};
use palisade::lint::{LINTS, LintLevel};

use crate::documents::{pages, read, section};
use crate::palisade::{root, run};

/// The rows of a table whose first cell is code.
fn rows(section: &str) -> Vec<&str> {
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect()
}

#[test]
fn the_table_of_kinds_is_that_of_the_code() {
    let page = read("docs/policies.md");
    let written = rows(section(&page, "## Kinds"));
    // the internal group reads like the public one, and the old one is refused for what it is
    let kinds = KINDS
        .iter()
        .filter(|row| !["crd.projectcalico.org", "extensions"].contains(&row.group));
    let mut expected = Vec::new();

    for row in kinds {
        let group = if row.group.is_empty() {
            String::new()
        } else {
            format!("{}/", row.group)
        };
        let fate = match row.role {
            KindRole::Read(ObjectKind::Manifest(_)) => "compiled",
            KindRole::Read(ObjectKind::Inventory(_)) => "inventory",
            KindRole::Refused => "refused, not there yet",
            KindRole::Skipped => continue,
        };
        expected.extend(
            row.versions
                .iter()
                .map(|version| format!("| `{}` | `{group}{version}` | {fate} |", row.name)),
        );
    }

    assert_eq!(written, expected);
}

#[test]
fn the_table_of_lints_is_that_of_the_code() {
    let page = read("docs/policies.md");
    let written = rows(section(&page, "## Lints"));
    let level = |level| {
        if level == LintLevel::Deny {
            "deny"
        } else {
            "allow"
        }
    };

    let rows = LINTS
        .iter()
        .map(|(code, own)| format!("| `{code}` | {} | {} |", code.description(), level(*own)));
    assert_eq!(written, rows.collect::<Vec<String>>());
}

#[test]
fn the_main_job_of_the_readme_works() {
    assert!(read("README.md").contains("render examples/service-accounts --out /tmp/bundle"));
    let place = tempfile::tempdir().expect("a directory");
    let out = place.path().join("bundle").display().to_string();
    let outcome = run(
        &root(),
        &["render", "examples/service-accounts", "--out", &out],
    );
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
}

/// A row of the table of commands.
struct CommandRow {
    /// The command and its subcommand, such as `selector match`.
    command: String,
    /// The cell about exit statuses.
    statuses: String,
    /// The formats that it has.
    formats: Vec<String>,
}

/// The table of commands in `docs/commands.md`.
fn commands() -> Vec<CommandRow> {
    let page = read("docs/commands.md");
    let table = rows(section(&page, "## Exit statuses and formats"));
    let table = table
        .into_iter()
        .filter(|row| row.starts_with("| `palisade "));
    table.map(command_row).collect()
}

fn command_row(row: &str) -> CommandRow {
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [command, _, statuses, formats] = cells
        .try_into()
        .map_err(|_| row)
        .expect("a row of four cells");
    let line = command.split('`').nth(1).expect("a command");
    let is_name = |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase());
    let words: Vec<&str> = line.split(' ').skip(1).take_while(is_name).collect();

    CommandRow {
        command: words.join(" "),
        statuses: statuses.to_owned(),
        formats: formats.split(", ").map(str::to_owned).collect(),
    }
}

/// The numbers of one digit in a text.
fn digits(text: &str) -> BTreeSet<&str> {
    let is_digit =
        |word: &&str| word.len() == 1 && word.starts_with(|it: char| it.is_ascii_digit());
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(is_digit)
        .collect()
}

#[test]
fn the_exit_statuses_of_the_table_are_those_of_the_help() {
    let table = commands();
    let mut written: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in &table {
        let statuses = written.entry(&row.command).or_default();
        statuses.extend(digits(&row.statuses));
    }
    for row in &table {
        let other = row.statuses.split("as `").nth(1);
        let other = other.and_then(|rest| rest.split('`').next());
        if let Some(other) = other {
            let more = written.get(other).expect("a command").clone();
            written.entry(&row.command).or_default().extend(more);
        }
    }

    for (command, statuses) in written {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--help");
        let help = run(&root(), &words).stdout;
        let Some((_, rest)) = help.split_once("\nExit status") else {
            assert!(["completions", "man"].contains(&command), "{help}");
            continue;
        };
        let paragraph = rest.split("\n\n").next().unwrap_or_default();
        assert_eq!(statuses, digits(paragraph), "{command}: {paragraph}");
    }
}

#[test]
fn every_command_is_in_the_table_and_the_reverse() {
    let help = run(&root(), &["--help"]).stdout;
    let (_, listed) = help.split_once("Commands:\n").expect("commands");
    let (listed, _) = listed.split_once("\n\n").expect("an end");
    let name = |line: &str| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty() && name != "help").then(|| name.to_owned())
    };
    let mut listed: Vec<String> = listed.lines().filter_map(name).collect();
    let table = commands();
    let first = |words: &str| words.split(' ').next().unwrap_or_default().to_owned();
    let mut written: Vec<String> = table.iter().map(|row| first(&row.command)).collect();

    listed.sort_unstable();
    written.sort_unstable();
    written.dedup();
    assert_eq!(written, listed);
}

/// A command refuses a format that it does not have before it does anything else.
#[test]
fn the_formats_of_each_command_are_those_of_the_table() {
    let arguments = |command: &str| -> &[&str] {
        match command {
            "check" | "connectivity" => &["no/such/path"],
            "render" => &["no/such/path", "--out", "no/such/place"],
            "eval" | "explain" => &[
                "no/such/path",
                "--from",
                "a/b",
                "--to",
                "a/b",
                "--port",
                "tcp/1",
            ],
            "diff" | "test" => &["no/such/path", "no/such/path"],
            "verify" => &["no/such/path", "--bundle", "no/such/bundle"],
            "selector match" | "selector format" => &["all()"],
            "apply" | "reconcile" | "status" => &["no/such/bundle"],
            "completions" => &["bash"],
            "confirm" | "uninstall" | "doctor" | "man" => &[],
            other => panic!("{other}: which arguments does it need?"),
        }
    };

    let formats = [
        "text",
        "json",
        "csv",
        "md",
        "dot",
        "sarif",
        "junit",
        "prometheus",
    ];

    for row in commands() {
        let (command, written) = (row.command, row.formats);
        let is_of_a_node = [
            "apply",
            "confirm",
            "doctor",
            "reconcile",
            "status",
            "uninstall",
        ]
        .contains(&command.as_str());
        for format in formats {
            // only what is refused is run, since anything else would act on this machine
            if is_of_a_node && written.iter().any(|has| has == format) {
                continue;
            }
            let mut words: Vec<&str> = command.split(' ').collect();
            words.extend(arguments(&command));
            words.extend(["--format", format]);
            let outcome = run(&root(), &words);
            let refusal = format!("invalid value '{format}' for '--format");
            let is_refused = outcome.stderr.contains(&refusal);
            assert_eq!(
                is_refused,
                !written.iter().any(|has| has == format),
                "{words:?}: {}",
                outcome.stderr
            );
        }
    }
}

#[test]
fn every_option_of_the_pages_is_there() {
    let help = commands()
        .into_iter()
        .map(|row| {
            let mut words: Vec<&str> = row.command.split(' ').collect();
            words.push("--help");
            run(&root(), &words).stdout
        })
        .collect::<Vec<String>>()
        .concat();
    let written = pages().into_values().collect::<Vec<String>>().concat();

    for option in [
        "--out",
        "--node",
        "--check",
        "--verify",
        "--allow",
        "--staged",
        "--templates",
        "--endpoint-to-host",
        "--unknown-endpoint",
        "--hook-position",
        "--encapsulated",
        "--failsafe-inbound",
        "--failsafe-outbound",
        "--source-validation",
        "--pod-interface",
        "--allow-extension",
        "--allow-no-endpoints",
        "--by",
        "--from",
        "--to",
        "--port",
        "--source-port",
        "--set-label",
        "--with",
        "--nodes",
        "--require-tests",
        "--coverage",
        "--min-coverage",
        "--bundle",
        "--dry-run",
        "--confirm",
        "--undo",
        "--cut-denied",
        "--take-over",
        "--backend",
        "--lock-wait",
        "--timeout",
        "--run-dir",
        "--state-dir",
        "--interval",
        "--once",
        "--policies",
        "--metrics-file",
        "--metrics-listen",
    ] {
        assert!(
            written.contains(option) && help.contains(option),
            "{option}"
        );
    }
}
