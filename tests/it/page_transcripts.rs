//! Transcripts in the README and the book: `console` blocks with lines `$ palisade …`, and under
//! each what it prints: standard output, then standard error.
//!
//! The commands of a page run one after another in a directory with a copy of `examples/`. Tools
//! such as `sed` and `cp` show or change files there; `$ echo $?` prints the last status of
//! `palisade`. A last line `…` stands for the rest of an output. Blocks that begin with `# ` are
//! for root on a node and are not run, nor is `cargo` or `tests/run`. `UPDATE_GOLDEN=1` writes what
//! is printed now.
#![expect(clippy::disallowed_methods, reason = "tests read and write files")]

use std::path::Path;
use std::{env, fs};

use crate::documents;
use crate::line_diff::line_diff;
use crate::palisade::{Outcome, files_below, root, run};
use crate::tools::command;
use crate::transcripts::{PROGRAM, PROMPT, words};

/// How a block with a transcript begins.
const OPENING: &str = "```console";
/// How a block ends.
const CLOSING: &str = "```";
/// Stands for the rest of an output.
const REST: &str = "…";
/// Prints the last status.
const STATUS: &str = "echo $?";
/// Tools that show or change files.
const TOOLS: [&str; 6] = ["cat", "cp", "find", "mkdir", "rm", "sed"];
/// What is not run: other tests do so, or the page would run itself.
const NOT_RUN: [&str; 2] = ["cargo", "tests/run"];

#[test]
fn every_transcript_of_a_page_is_what_happens() {
    let wants_update = env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty());
    let mut pages = documents::pages();
    pages.insert("README.md".to_owned(), documents::read("README.md"));

    let mut wrong = Vec::new();
    let mut commands = 0;
    for (page, text) in pages {
        // `entries.rs` makes these, and runs their examples
        if ["docs/diagnostics.md", "docs/lints.md"].contains(&page.as_str()) {
            continue;
        }
        let mut shell = Shell::new();
        let played = play(&mut shell, &page, &text);
        commands += shell.commands;
        if played == text {
            continue;
        }
        if wants_update {
            fs::write(root().join(&page), played).expect("written");
        } else {
            wrong.push(format!("{page}:\n{}", line_diff(&text, &played)));
        }
    }
    assert!(commands > 20, "{commands} commands in all pages");
    assert!(
        wrong.is_empty(),
        "{}\nUPDATE_GOLDEN=1 accepts this",
        wrong.join("\n")
    );
}

/// Where the commands of a page run.
struct Shell {
    directory: tempfile::TempDir,
    /// The last status of the program.
    status: i32,
    /// How many commands ran.
    commands: usize,
}

impl Shell {
    /// A directory with a copy of `examples/`.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (path, text) in files_below(&root().join("examples")) {
            let target = directory.path().join("examples").join(path);
            fs::create_dir_all(target.parent().expect("a parent")).expect("a directory");
            fs::write(target, text).expect("written");
        }

        Self {
            directory,
            status: 0,
            commands: 0,
        }
    }

    /// What a command line prints; `None` if it is not run.
    fn output(&mut self, page: &str, line: &str) -> Option<String> {
        if line == STATUS {
            return Some(format!("{}\n", self.status));
        }
        let words = words(line);
        let (program, arguments) = words.split_first().expect("a command");
        if NOT_RUN.contains(&program.as_str()) {
            return None;
        }

        self.commands += 1;
        if program == PROGRAM {
            let Outcome {
                status,
                stdout,
                stderr,
            } = run(self.directory.path(), arguments);
            self.status = status;
            return Some(stdout + &stderr);
        }
        assert!(
            TOOLS.contains(&program.as_str()),
            "{page}: `{program}` is none of {TOOLS:?}"
        );
        Some(show(self.directory.path(), page, program, arguments))
    }
}

/// What a tool prints, which must succeed.
fn show(directory: &Path, page: &str, program: &str, arguments: &[String]) -> String {
    let output = command(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the tool starts");
    assert!(
        output.status.success(),
        "{page}: {program} {arguments:?} fails"
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A page with what its commands print now.
fn play(shell: &mut Shell, page: &str, text: &str) -> String {
    let mut lines = text.lines().peekable();
    let mut played = String::new();
    let mut push = |line: &str| {
        played.push_str(line);
        played.push('\n');
    };

    while let Some(line) = lines.next() {
        push(line);
        if line != OPENING {
            continue;
        }
        while let Some(line) = lines.next_if(|line| *line != CLOSING) {
            push(line);
            let mut expected = Vec::new();
            let is_output = |line: &&str| *line != CLOSING && !line.starts_with(PROMPT);
            while let Some(line) = lines.next_if(is_output) {
                expected.push(line);
            }
            let output = line
                .strip_prefix(PROMPT)
                .and_then(|line| shell.output(page, line));
            let Some(output) = output else {
                expected.into_iter().for_each(&mut push);
                continue;
            };
            let printed = output.trim_end_matches('\n').lines();
            if expected.last() == Some(&REST) {
                printed.take(expected.len() - 1).for_each(&mut push);
                push(REST);
            } else {
                printed.for_each(&mut push);
            }
        }
    }

    played
}
