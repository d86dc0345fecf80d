//! The entry of every code: its example gives the code, and its fix does not. `docs/diagnostics.md`
//! and `docs/lints.md` hold all entries; `UPDATE_GOLDEN=1` writes them.
//!
//! A block of an entry is a file, `example.yaml` unless it names another, or a `console` block with
//! commands. Without commands, the example is checked with `palisade check`.
#![expect(clippy::disallowed_methods, reason = "tests read and write files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use palisade::diagnostic::{Code, Severity};
use palisade::lint::{LINTS, LintLevel};

use crate::line_diff::line_diff;
use crate::palisade::root;
use crate::tools;

/// Codes whose example is in words, and why.
const IN_WORDS: [(Code, &str); 13] = [
    (Code::TooLarge, "the example would have 64 MiB"),
    (
        Code::NameCollision,
        "no two selectors with one hash are known",
    ),
    (
        Code::SetTooLarge,
        "the example would have a million addresses",
    ),
    (
        Code::ChainsTooDeep,
        "the example would have 14 tiers and policies",
    ),
    (Code::InternalError, "no input is known that gives it"),
    (Code::NodeBusy, "two processes must change one node"),
    (Code::KernelRefused, "a kernel must refuse a call"),
    (Code::ToolMissing, "a tool must be missing"),
    (
        Code::OtherBackend,
        "a kernel must hold chains of two builds of iptables",
    ),
    (
        Code::NotSettled,
        "another process must change the kernel meanwhile",
    ),
    (Code::NoWayBack, "a kernel must hold policy"),
    (Code::RolledBack, "a kernel must refuse a call after others"),
    (Code::EntriesKept, "another process must write meanwhile"),
];

/// What an entry begins its example and its fix with.
const EXAMPLE: &str = "\n\nExample:";
const FIX: &str = "\n\nFix:";

/// Widest line of prose: entries are read in a terminal.
const WIDTH: usize = 82;

/// The three parts of an entry.
struct Entry {
    meaning: &'static str,
    example: Part,
    fix: Part,
}

/// The files and commands of a part.
struct Part {
    files: BTreeMap<String, String>,
    commands: Vec<String>,
}

/// How a run of a part ended.
struct Run {
    status: i32,
    stderr: String,
}

impl Entry {
    fn new(code: Code) -> Self {
        let text = code.entry();
        let (meaning, rest) = text.split_once(EXAMPLE).expect("an example");
        let (example, fix) = rest.split_once(FIX).expect("a fix");
        assert!(
            !fix.contains(FIX) && !rest.contains(EXAMPLE),
            "{code}: a part is there twice"
        );

        Self {
            meaning,
            example: Part::new(example),
            fix: Part::new(fix),
        }
    }

    /// Runs the example.
    fn run_example(&self) -> Run {
        run(&self.example.files, &self.example.commands)
    }

    /// Runs the example with the files of the fix in place of its own, by the commands of the fix
    /// if it has any. `None` if the fix is in words.
    fn run_fix(&self) -> Option<Run> {
        if self.fix.is_in_words() {
            return None;
        }

        let mut files = self.example.files.clone();
        files.extend(self.fix.files.clone());
        let commands = if self.fix.commands.is_empty() {
            &self.example.commands
        } else {
            &self.fix.commands
        };

        Some(run(&files, commands))
    }
}

impl Part {
    fn new(text: &str) -> Self {
        let mut part = Self {
            files: BTreeMap::new(),
            commands: Vec::new(),
        };

        // prose and blocks take turns
        for block in text.split("```").skip(1).step_by(2) {
            let (about, content) = block.split_once('\n').expect("a block has lines");
            let (language, name) = about.split_once(' ').unwrap_or((about, ""));
            if language == "console" {
                let commands = content
                    .lines()
                    .map(|line| line.strip_prefix("$ ").expect("a command").to_owned());
                part.commands.extend(commands);
                continue;
            }
            let name = if name.is_empty() {
                format!("example.{language}")
            } else {
                name.to_owned()
            };
            part.files.insert(name, content.to_owned());
        }

        part
    }

    fn is_in_words(&self) -> bool {
        self.files.is_empty() && self.commands.is_empty()
    }
}

/// Runs commands, or `palisade check`, in a directory with these files.
fn run(files: &BTreeMap<String, String>, commands: &[String]) -> Run {
    let place = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    let check = files.keys().map(|name| format!("palisade check {name}"));
    let commands: Vec<String> = if commands.is_empty() {
        check.collect()
    } else {
        commands.to_vec()
    };
    let script = format!(
        "set -e\npalisade() {{ \"$P\" \"$@\"; }}\n{}",
        commands.join("\n")
    );
    shell(place.path(), &script)
}

fn shell(directory: &Path, script: &str) -> Run {
    let output = tools::command("bash")
        .args(["-c", script])
        .current_dir(directory)
        .env_clear()
        .env("PATH", tools::PATH)
        .env("P", env!("CARGO_BIN_EXE_palisade"))
        .output()
        .expect("bash starts");

    Run {
        status: output.status.code().expect("no signal"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

#[test]
fn every_example_gives_its_code_and_every_fix_does_not() {
    for code in Code::ALL {
        let entry = Entry::new(*code);
        if entry.example.is_in_words() {
            continue;
        }
        let finding = format!("{}[{code}]: ", code.severity().name());
        let example = entry.run_example();
        assert!(
            example.stderr.contains(&finding),
            "{code}:\n{}",
            example.stderr
        );
        assert_eq!(
            example.status == 2,
            code.severity() == Severity::Error,
            "{code}:\n{}",
            example.stderr
        );
        if let Some(fixed) = entry.run_fix() {
            assert!(
                fixed.status < 2 && !fixed.stderr.contains(&finding),
                "{code}, the fix:\n{}",
                fixed.stderr
            );
        }
    }
}

#[test]
fn examples_in_words_are_those_that_cannot_run() {
    let in_words: BTreeSet<Code> = Code::ALL
        .iter()
        .copied()
        .filter(|code| Entry::new(*code).example.is_in_words())
        .collect();
    assert_eq!(in_words, IN_WORDS.iter().map(|row| row.0).collect());
}

#[test]
fn every_lint_has_an_example_and_a_fix_that_run() {
    for (code, _) in LINTS {
        let entry = Entry::new(*code);
        assert!(
            !entry.example.is_in_words() && !entry.fix.is_in_words(),
            "{code}"
        );
    }
}

#[test]
fn entries_have_one_form() {
    for code in Code::ALL {
        let meaning = Entry::new(*code).meaning;
        assert!(meaning.ends_with('.'), "{code}: {meaning}");
        let text = code.entry();
        assert!(text.ends_with('\n') && !text.contains("\n\n\n"), "{code}");
        let prose = text.split("```").step_by(2).flat_map(str::lines);
        let wide: Vec<&str> = prose.filter(|line| line.chars().count() > WIDTH).collect();
        assert!(wide.is_empty(), "{code}: {wide:?}");
    }
}

#[test]
fn the_pages_hold_all_entries() {
    for (name, expected) in [
        ("docs/diagnostics.md", diagnostics()),
        ("docs/lints.md", lints()),
    ] {
        let path = root().join(name);
        if env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty()) {
            fs::write(&path, &expected).expect("written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == expected,
            "{name}:\n{}\nUPDATE_GOLDEN=1 accepts this",
            line_diff(&found, &expected)
        );
    }
}

const MADE: &str =
    "<!-- Made from src/diagnostic/entries by tests/it/entries.rs: change it there. -->";

/// The page of all codes but lints, which it links to.
fn diagnostics() -> String {
    let mut page = format!(
        "# Diagnostics

{MADE}

Palisade reports a problem as `SEVERITY[CODE]: MESSAGE`, with the place in the input and advice.
`palisade help CODE` prints the entry of a code. Codes never change their meaning.

| severity | meaning |
|---|---|
| error | The input is refused, and nothing is written. The exit status is 2; of the commands on a node it is 2, 3 or 4. |
| warning | Probably not what was meant. The exit status stays. |
| lint | Valid, and questionable. `palisade check` alone looks for lints, and exits with 1. |
| note | Something to know. |
"
    );
    for (title, severity) in [
        ("Errors", Severity::Error),
        ("Warnings", Severity::Warning),
        ("Lints", Severity::Lint),
        ("Notes", Severity::Note),
    ] {
        let codes = Code::ALL.iter().filter(|code| code.severity() == severity);
        let codes: Vec<Code> = codes.copied().collect();
        let file = if severity == Severity::Lint {
            "lints.md"
        } else {
            ""
        };
        page.push_str(&format!("\n## {title}\n\n| code | meaning |\n|---|---|\n"));
        for code in &codes {
            page.push_str(&format!(
                "| [`{code}`]({file}#{code}) | {} |\n",
                code.description()
            ));
        }
        for code in codes.iter().filter(|_| severity != Severity::Lint) {
            page.push_str(&format!("\n### {code}\n\n{}", code.entry()));
        }
    }
    page
}

/// The page of all lints.
fn lints() -> String {
    let mut page = format!(
        "# Lints

{MADE}

`palisade check` looks for policy that is valid, and does something else than its author may think.
It exits with 1 if it finds any. `--allow LINT` leaves a lint out; so does the configuration file
with `lints: {{LINT: allow}}`, and `lints: {{LINT: deny}}` switches a lint on. `palisade help LINT`
prints an entry of this page.

| lint | finds | default |
|---|---|---|
"
    );
    for (code, level) in LINTS {
        let level = if *level == LintLevel::Deny {
            "deny"
        } else {
            "allow"
        };
        page.push_str(&format!(
            "| [`{code}`](#{code}) | {} | {level} |\n",
            code.description()
        ));
    }
    for (code, _) in LINTS {
        page.push_str(&format!("\n## {code}\n\n{}", code.entry()));
    }
    page
}
