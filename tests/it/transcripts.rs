//! Transcripts: every folder of `golden/commands/` is an input and a file `transcript.txt`, which
//! holds command lines, `$ palisade …`, and under each what it prints: standard output, then
//! standard error behind a line `[stderr]`, then `[status N]`. Commands run in a copy of the
//! folder, one after another, so that they may write files; `$ sed …` and `$ rm …` change them in
//! between. `UPDATE_GOLDEN=1` writes what they print now.
#![expect(clippy::disallowed_methods, reason = "tests read and write files")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::line_diff::line_diff;
use crate::palisade::{files_below, root, run};
use crate::tools::command;

/// The commands and what they print.
const TRANSCRIPT: &str = "transcript.txt";
/// The idea of a case, in one sentence.
const ABOUT: &str = "about.md";
/// What a command line begins with.
pub(crate) const PROMPT: &str = "$ ";
/// The program, and tools that a user would change files with.
pub(crate) const PROGRAM: &str = "palisade";
const TOOLS: [&str; 2] = ["sed", "rm"];

/// All cases, in the order of their names.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("golden/commands")).expect("golden/commands/");
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort_unstable();
    cases
}

/// The texts of all transcripts.
pub(crate) fn texts() -> impl Iterator<Item = String> {
    cases()
        .into_iter()
        .map(|case| fs::read_to_string(case.join(TRANSCRIPT)).expect("a transcript"))
}

#[test]
fn every_transcript_is_what_happens() {
    let wants_update = env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty());
    let mut wrong = Vec::new();
    for case in cases() {
        assert!(
            case.join(ABOUT).is_file(),
            "{}: what is the idea? write {ABOUT}",
            case.display()
        );
        let expected = fs::read_to_string(case.join(TRANSCRIPT)).expect("a transcript");
        let found = play(&case, &expected);
        if wants_update {
            fs::write(case.join(TRANSCRIPT), &found).expect("written");
        } else if expected != found {
            wrong.push(format!(
                "{}:\n{}",
                case.display(),
                line_diff(&expected, &found)
            ));
        }
    }

    assert!(
        wrong.is_empty(),
        "{}\nUPDATE_GOLDEN=1 accepts this",
        wrong.join("\n")
    );
}

/// The transcript of the same commands now.
fn play(case: &Path, transcript: &str) -> String {
    let place = tempfile::tempdir().expect("a directory");
    for (path, text) in files_below(case)
        .into_iter()
        .filter(|(path, _)| ![TRANSCRIPT, ABOUT].contains(&path.as_str()))
    {
        let target = place.path().join(path);
        fs::create_dir_all(target.parent().expect("a parent")).expect("a directory");
        fs::write(target, text).expect("written");
    }

    let commands: Vec<&str> = transcript
        .lines()
        .filter_map(|line| line.strip_prefix(PROMPT))
        .collect();
    assert!(
        !commands.is_empty(),
        "{}: no line begins with `{PROMPT}`",
        case.display()
    );

    let played = commands.into_iter().map(|command| {
        let words = words(command);
        let (program, arguments) = words.split_first().expect("a command");
        if TOOLS.contains(&program.as_str()) {
            change(place.path(), program, arguments);
            return format!("{PROMPT}{command}\n");
        }
        assert_eq!(program, PROGRAM, "{}", case.display());
        let outcome = run(place.path(), arguments);
        let stderr = if outcome.stderr.is_empty() {
            String::new()
        } else {
            format!("[stderr]\n{}", ended(&outcome.stderr))
        };
        format!(
            "{PROMPT}{command}\n{}{stderr}[status {}]\n",
            ended(&outcome.stdout),
            outcome.status
        )
    });
    played.collect::<Vec<_>>().join("\n")
}

/// Runs a tool, which must change a file.
fn change(place: &Path, tool: &str, arguments: &[String]) {
    let before = files_below(place);
    let status = command(tool)
        .args(arguments)
        .current_dir(place)
        .status()
        .expect("the tool starts");
    assert!(
        status.success() && files_below(place) != before,
        "{tool} {arguments:?} changes nothing"
    );
}

/// A text whose last line ends.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

/// The words of a command line; single quotes hold one together.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        let is_quoted = index % 2 == 1;
        let last = words.last_mut().expect("one");
        if is_quoted {
            last.push_str(part);
            continue;
        }
        let mut pieces = part.split(' ');
        last.push_str(pieces.next().unwrap_or_default());
        words.extend(pieces.map(str::to_owned));
    }

    words.retain(|word| !word.is_empty());
    words
}
