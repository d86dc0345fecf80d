//! Nothing of the input steers what reads the output: every command in every format, from files
//! that are full of hostile text.
//!
//! [`COMMANDS`] is the table of all commands and their formats; a test compares it with the
//! program. A failure prints its seed, and `PALISADE_HOSTILE_SEED=n` runs it again.
#![expect(
    clippy::disallowed_methods,
    reason = "tests write files and read the environment"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it drew"
)]

pub(crate) mod media;
mod place;
pub(crate) mod texts;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::agree::random::Dice;
use crate::palisade::{Outcome, root, run};

use media::Medium;
use place::Place;
use texts::MARK;

/// A command with its formats.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) reads: Reads,
    pub(crate) formats: &'static [&'static str],
}

/// What a command works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Files; they are run here.
    Files,
    /// The kernel; they are run in the sandbox of `apply`.
    Node,
    /// Nothing.
    Nothing,
}

const PLAIN: &[&str] = &["text", "json"];

/// Every command.
pub(crate) const COMMANDS: [Command; 17] = [
    Command {
        name: "check",
        reads: Reads::Files,
        formats: PLAIN,
    },
    Command {
        name: "render",
        reads: Reads::Files,
        formats: PLAIN,
    },
    Command {
        name: "eval",
        reads: Reads::Files,
        formats: PLAIN,
    },
    Command {
        name: "explain",
        reads: Reads::Files,
        formats: PLAIN,
    },
    Command {
        name: "connectivity",
        reads: Reads::Files,
        formats: &["text", "json", "csv", "md", "dot"],
    },
    Command {
        name: "diff",
        reads: Reads::Files,
        formats: &["text", "json", "md", "sarif"],
    },
    Command {
        name: "test",
        reads: Reads::Files,
        formats: &["text", "json", "junit"],
    },
    Command {
        name: "selector",
        reads: Reads::Files,
        formats: PLAIN,
    },
    Command {
        name: "verify",
        reads: Reads::Files,
        formats: PLAIN,
    },
    Command {
        name: "apply",
        reads: Reads::Node,
        formats: PLAIN,
    },
    Command {
        name: "confirm",
        reads: Reads::Node,
        formats: PLAIN,
    },
    Command {
        name: "reconcile",
        reads: Reads::Node,
        formats: PLAIN,
    },
    Command {
        name: "uninstall",
        reads: Reads::Node,
        formats: PLAIN,
    },
    Command {
        name: "status",
        reads: Reads::Node,
        formats: &["text", "json", "prometheus"],
    },
    Command {
        name: "doctor",
        reads: Reads::Node,
        formats: PLAIN,
    },
    Command {
        name: "completions",
        reads: Reads::Nothing,
        formats: &["text"],
    },
    Command {
        name: "man",
        reads: Reads::Nothing,
        formats: &["text"],
    },
];

/// Places with texts that are drawn, beside the fixed ones; `PALISADE_HOSTILE_PLACES=n` makes more.
const DRAWN: u64 = 1;

#[test]
fn every_command_is_in_the_table() {
    let help = run(&root(), &["--help"]).stdout;
    let commands = help
        .split("\nCommands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let found = commands
        .lines()
        .filter(is_name)
        .filter_map(|line| line.split_whitespace().next());
    let found: BTreeSet<&str> = found.filter(|name| *name != "help").collect();

    assert_eq!(
        found,
        COMMANDS.iter().map(|command| command.name).collect(),
        "add it to the table"
    );
}

/// All words that `--format` takes for any command.
pub(crate) fn all_formats() -> Vec<String> {
    let refusal = run(&root(), &["--format", "no-such-format", "man"]).stderr;
    let words = refusal
        .split("[possible values: ")
        .nth(1)
        .unwrap()
        .split(']')
        .next()
        .unwrap();
    words.split(", ").map(str::to_owned).collect()
}

/// Whether a run was refused for its format.
pub(crate) fn has_no_format(said: &str) -> bool {
    said.contains("for '--format <FORMAT>'")
}

#[test]
fn nothing_hostile_gets_through() {
    let fixed = texts::FIXED.to_vec();
    let mut half = fixed.clone();
    half.rotate_left(fixed.len() / 2);
    for texts in [fixed, half] {
        sweep(&texts.into_iter().map(str::to_owned).collect::<Vec<_>>());
    }

    let drawn = std::env::var("PALISADE_HOSTILE_PLACES")
        .ok()
        .and_then(|text| text.parse().ok());
    for index in 0..drawn.unwrap_or(DRAWN) {
        let seed = texts::seed().wrapping_add(index);
        println!("PALISADE_HOSTILE_SEED={seed}");
        sweep(&texts::drawn(&mut Dice(seed)));
    }
}

/// Runs every command on files in every format.
fn sweep(texts: &[String]) {
    let place = Place::new(texts);
    let formats = all_formats();
    let commands = COMMANDS
        .iter()
        .filter(|command| command.reads != Reads::Node);
    let pairs = commands.flat_map(|command| formats.iter().map(move |format| (command, format)));
    // `render` writes what others read
    let (writing, reading): (Vec<_>, Vec<_>) =
        pairs.partition(|(command, _)| command.name == "render");

    writing
        .iter()
        .for_each(|(command, format)| run_all(&place, command, format));
    on_all_cores(&reading, |(command, format)| {
        run_all(&place, command, format)
    });

    on_all_cores(texts, |text| refuse_words(&place, &text.replace('\0', "")));
}

/// Does something with each of some items, as many at a time as there are cores.
fn on_all_cores<Item: Sync>(items: &[Item], work: impl Fn(&Item) + Sync) {
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);

    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(worker);
        }
    });
}

/// Runs command lines that are refused for a hostile word, which the refusal repeats.
fn refuse_words(place: &Place, text: &str) {
    let ends = ["--to", "shop/db", "--port", "tcp/80"];
    let lines = [
        vec![
            "eval", "with", "--from", text, "--to", "a/b", "--port", "tcp/80",
        ],
        [
            &["explain", "with", "--set-label", text, "--from", "a/b"][..],
            &ends,
        ]
        .concat(),
        vec!["connectivity", "with", "--port", text],
        vec!["check", "with", "--format", text],
        vec!["help", text],
        vec!["apply", "with", "--confirm", text],
        vec!["selector", text, "all()"],
        vec![text],
    ];

    for words in lines {
        let outcome = run(place.path(), &words);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (2, ""),
            "{words:?}"
        );
        Medium::Terminal.judge(&outcome.stderr, &format!("{words:?}"));
    }
}

/// Runs all command lines of a command in a format.
fn run_all(place: &Place, command: &Command, format: &str) {
    let is_known = command.formats.contains(&format);
    let mut marked = 0;
    let lines = place.words(command.name);

    // what is refused for its format is refused before anything is read
    let count = if is_known { lines.len() } else { 1 };
    for mut words in lines.into_iter().take(count) {
        words.splice(1..1, ["--format".to_owned(), format.to_owned()]);
        let outcome = run(place.path(), &words);
        assert_eq!(
            !has_no_format(&outcome.stderr),
            is_known,
            "{words:?}: add it to the table"
        );
        marked += if is_known {
            judge(&words, format, &outcome)
        } else {
            0
        };
    }

    let is_tested = !is_known || command.reads == Reads::Nothing || marked > 0;
    assert!(
        is_tested,
        "`{}` shows nothing of the input as {format}, so this tests nothing",
        command.name
    );
}

/// Fails unless all that a run printed is harmless; whether any of it is from the input.
fn judge(words: &[String], format: &str, outcome: &Outcome) -> usize {
    let about = format!("{words:?}, status {}", outcome.status);
    assert!(
        !outcome.stderr.contains("panicked") && outcome.status < 3,
        "{about}: {}",
        outcome.stderr
    );

    let medium = match words[0].as_str() {
        "completions" | "man" => Medium::Terminal,
        // it prints a unified diff in all formats
        "render" => Medium::Terminal,
        "selector" => Medium::Terminal,
        _ => Medium::of(format),
    };
    medium.judge(&outcome.stdout, &about);

    let is_usage = outcome.stderr.starts_with("error: ");
    let problems = if format == "json" && !is_usage {
        Medium::JsonLines
    } else {
        Medium::Terminal
    };

    problems.judge(&outcome.stderr, &about);
    usize::from(
        [&outcome.stdout, &outcome.stderr]
            .iter()
            .any(|text| text.contains(MARK)),
    )
}
