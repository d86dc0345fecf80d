//! Golden cases: every folder of `golden/` is an input and what it gives. See `golden/README.md`.
//!
//! `UPDATE_GOLDEN=1` writes what is given now.
#![expect(clippy::disallowed_methods, reason = "tests read and write files")]
#![expect(clippy::panic, reason = "this is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use palisade::diagnostic::Code;

use crate::line_diff::line_diff;
use crate::palisade::{files_below, root, run, run_with_input};
use crate::transcripts;

/// Files of a case that are no input.
const ABOUT: &str = "about.md";
const ARGUMENTS: &str = "arguments";
const ERRORS: &str = "errors.txt";
const NOTES: &str = "notes.txt";
const BUNDLE: &str = "bundle";
/// In place of all others: what `palisade check` says, and its exit status on the last line.
const CHECK: &str = "check.txt";

/// Codes that no small text file can bring about, and where they are tested.
const ELSEWHERE: [(Code, &str); 22] = [
    (Code::HiddenManifests, "tests/it/bad_input.rs"),
    (Code::NotProven, "tests/it/verify/mod.rs"),
    (Code::NotUtf8, "tests/it/bad_input.rs"),
    (Code::TooLarge, "tests/it/bad_input.rs"),
    (Code::Unwritable, "tests/it/bad_input.rs"),
    (Code::EntriesKept, "src/bundle/tests.rs"),
    (Code::NotABundle, "tests/it/bad_input.rs"),
    (Code::InvalidConfig, "tests/it/bad_input.rs"),
    (Code::InvalidTemplate, "tests/it/bad_input.rs"),
    (Code::NameCollision, "src/lower/tests.rs"),
    (Code::SetTooLarge, "tests/it/bad_input.rs"),
    (Code::InternalError, "src/cli/tests.rs"),
    (Code::NotARepository, "tests/it/diff.rs"),
    (Code::UnknownRevision, "tests/it/diff.rs"),
    (Code::NotInRevision, "tests/it/diff.rs"),
    (Code::NodeBusy, "tests/it/apply/faults.rs"),
    (Code::KernelRefused, "tests/it/apply/faults.rs"),
    (Code::ToolMissing, "tests/it/apply/faults.rs"),
    (Code::OtherBackend, "tests/it/apply/plain.rs"),
    (Code::NotSettled, "tests/it/apply/faults.rs"),
    (Code::NoWayBack, "tests/it/apply/confirmed.rs"),
    (Code::RolledBack, "tests/it/apply/confirmed.rs"),
];

/// Folders of transcripts and of plans, which are cases of another sort: see `transcripts.rs` and
/// `node/plans.rs`.
const OTHERS: [&str; 2] = ["commands", "plans"];

/// All cases, in the order of their names.
pub(crate) fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("golden")).expect("golden/");
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir() && !OTHERS.iter().any(|other| path.ends_with(other)))
        .collect();
    cases.sort_unstable();
    assert!(cases.len() > 30, "golden cases are missing");
    cases
}

/// The input files of a case, in the order of their names.
fn inputs(case: &Path) -> Vec<String> {
    let entries = fs::read_dir(case)
        .expect("a case")
        .map(|entry| entry.expect("an entry"));
    let names = entries
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().into_string().expect("a name"));

    let mut inputs: Vec<String> = names
        .filter(|name| ![ABOUT, ARGUMENTS, ERRORS, NOTES, CHECK].contains(&name.as_str()))
        .collect();
    inputs.sort_unstable();
    inputs
}

/// What a case is to give, or gives: files by path in the case.
type Outputs = BTreeMap<String, String>;

fn expected(case: &Path) -> Outputs {
    files_below(case)
        .into_iter()
        .filter(|(path, _)| {
            [ERRORS, NOTES, CHECK].contains(&path.as_str()) || path.starts_with(BUNDLE)
        })
        .collect()
}

/// Renders `paths` in a case and gives what comes out.
fn render(case: &Path, paths: &[String], input: &str) -> Outputs {
    let place = tempfile::tempdir().expect("a directory");
    let bundle = place.path().join("bundle");
    let mut words = vec![
        "render".to_owned(),
        "--out".to_owned(),
        bundle.display().to_string(),
    ];

    let own = fs::read_to_string(case.join(ARGUMENTS)).unwrap_or_default();
    words.extend(own.split_whitespace().map(str::to_owned));
    words.extend(paths.iter().cloned());
    let outcome = run_with_input(case, &words, input.as_bytes());
    let mut outputs: Outputs = files_below(&bundle)
        .into_iter()
        .map(|(path, text)| (format!("{BUNDLE}/{path}"), text))
        .collect();
    let name = match outcome.status {
        0 => NOTES,
        2 => ERRORS,
        other => panic!(
            "{}: exit status {other}\n{}",
            case.display(),
            outcome.stderr
        ),
    };

    assert_eq!(
        outcome.status == 2,
        outputs.is_empty(),
        "{}: a refused input must write nothing, any other a bundle",
        case.display()
    );

    if !outcome.stderr.is_empty() {
        outputs.insert(name.to_owned(), outcome.stderr);
    }

    outputs
}

/// Checks a case and gives what is said.
fn check(case: &Path, paths: &[String], input: &str) -> Outputs {
    let own = fs::read_to_string(case.join(ARGUMENTS)).unwrap_or_default();
    let mut words = vec!["check".to_owned()];
    words.extend(own.split_whitespace().map(str::to_owned));
    words.extend(paths.iter().cloned());
    let outcome = run_with_input(case, &words, input.as_bytes());
    assert_eq!(outcome.stdout, "", "{}", case.display());
    Outputs::from([(
        CHECK.to_owned(),
        format!("{}exit status {}\n", outcome.stderr, outcome.status),
    )])
}

/// Writes what came out in place of what was expected.
fn update(case: &Path, outputs: &Outputs) {
    for path in expected(case).into_keys() {
        fs::remove_file(case.join(path)).expect("removed");
    }
    let _ = fs::remove_dir_all(case.join(BUNDLE));
    for (path, text) in outputs {
        let target = case.join(path);
        fs::create_dir_all(target.parent().expect("a parent")).expect("a directory");
        fs::write(target, text).expect("written");
    }
}

#[test]
fn every_case_gives_what_it_should() {
    let wants_update = env::var_os("UPDATE_GOLDEN").is_some_and(|value| !value.is_empty());
    let mut wrong = Vec::new();
    for case in cases() {
        assert!(
            case.join(ABOUT).is_file(),
            "{}: what is the idea? write {ABOUT}",
            case.display()
        );
        let outputs = match case.join(CHECK).is_file() {
            true => check(&case, &inputs(&case), ""),
            false => render(&case, &inputs(&case), ""),
        };
        match wants_update {
            true => update(&case, &outputs),
            false => wrong.extend(differences(&case, &expected(&case), &outputs)),
        }
    }

    assert!(
        wrong.is_empty(),
        "{}\nUPDATE_GOLDEN=1 accepts this",
        wrong.join("\n")
    );
}

/// Files that are missing, too many, or different.
fn differences(case: &Path, expected: &Outputs, found: &Outputs) -> Vec<String> {
    let paths: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differ = paths
        .into_iter()
        .filter(|path| expected.get(*path) != found.get(*path));
    differ
        .map(|path| difference(&case.join(path), expected.get(path), found.get(path)))
        .collect()
}

fn difference(path: &Path, expected: Option<&String>, found: Option<&String>) -> String {
    match (expected, found) {
        (Some(expected), Some(found)) => {
            format!("{}:\n{}", path.display(), line_diff(expected, found))
        }
        (Some(_), None) => format!("{}: expected, and not given", path.display()),
        (None, _) => format!(
            "{}: given, and not expected:\n{}",
            path.display(),
            found.map_or("", |found| found)
        ),
    }
}

#[test]
fn the_order_of_files_and_objects_changes_no_byte() {
    for case in cases()
        .into_iter()
        .filter(|case| case.join(BUNDLE).is_dir())
    {
        let expected: Outputs = expected(&case)
            .into_iter()
            .filter(|(path, _)| path.starts_with(BUNDLE))
            .collect();
        let backwards: Vec<String> = inputs(&case).into_iter().rev().collect();
        for outputs in [
            render(&case, &backwards, ""),
            render(&case, &["-".to_owned()], &shuffled(&case)),
        ] {
            let bundle: Outputs = outputs
                .into_iter()
                .filter(|(path, _)| path.starts_with(BUNDLE))
                .collect();
            assert_eq!(differences(&case, &expected, &bundle).join("\n"), "");
        }
    }
}

/// All objects of a case's input as one stream, last first. Cases with JSON or lists have one file,
/// which stays whole.
fn shuffled(case: &Path) -> String {
    let texts: Vec<String> = inputs(case)
        .iter()
        .map(|name| fs::read_to_string(case.join(name)).expect("a text"))
        .collect();
    let json = texts.iter().any(|text| text.starts_with(['{', '[']));
    let documents: Vec<String> = texts.iter().flat_map(|text| documents(text)).collect();

    match json {
        true => texts.concat(),
        false => documents
            .iter()
            .rev()
            .map(|document| format!("---\n{document}"))
            .collect(),
    }
}

fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        match line.starts_with("---") {
            true => documents.push(String::new()),
            false => documents
                .iter_mut()
                .last()
                .expect("one")
                .extend([line, "\n"]),
        }
    }

    documents
}

#[test]
fn a_bundle_on_disk_is_in_sync_with_its_input() {
    for case in cases()
        .into_iter()
        .filter(|case| case.join(BUNDLE).is_dir())
    {
        let mut words = vec![
            "render".to_owned(),
            "--check".to_owned(),
            "--out".to_owned(),
            BUNDLE.to_owned(),
        ];
        let own = fs::read_to_string(case.join(ARGUMENTS)).unwrap_or_default();
        words.extend(own.split_whitespace().map(str::to_owned));
        words.extend(inputs(&case));
        let outcome = run(&case, &words);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (0, ""),
            "{}",
            case.display()
        );
    }
}

#[test]
fn every_code_has_a_case() {
    let texts: Vec<String> = cases()
        .iter()
        .flat_map(|case| expected(case))
        .map(|(_, text)| text)
        .chain(transcripts::texts())
        .collect();
    let shown = |code: Code| {
        texts
            .iter()
            .any(|text| text.contains(&format!("[{}]: ", code.name())))
    };
    let elsewhere = |code: Code| ELSEWHERE.iter().any(|row| row.0 == code);

    let missing: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| !shown(**code) && !elsewhere(**code))
        .map(|code| code.name())
        .collect();
    assert!(missing.is_empty(), "no golden case shows {missing:?}");

    for (code, place) in ELSEWHERE {
        let text = fs::read_to_string(root().join(place)).expect("a test");
        let names = [format!("[{}]", code.name()), format!("Code::{code:?}")];
        assert!(
            names.iter().any(|name| text.contains(name)),
            "{place} has nothing of {code}"
        );
    }
}

#[test]
fn every_lint_has_a_case_and_can_be_left_out() {
    for (code, _) in palisade::lint::LINTS {
        let case = root().join("golden").join(format!("lint-{code}"));
        let own = fs::read_to_string(case.join(ARGUMENTS)).unwrap_or_default();
        let mut words = vec!["check".to_owned()];
        words.extend(own.split_whitespace().map(str::to_owned));
        words.extend(inputs(&case));
        let finding = format!("lint[{code}]: ");
        assert!(
            run(&case, &words).stderr.contains(&finding),
            "{code}: {} does not show it",
            case.display()
        );
        words.extend(["--allow".to_owned(), code.name().to_owned()]);
        let outcome = run(&case, &words);
        assert!(
            !outcome.stderr.contains(&finding) && outcome.status < 2,
            "{code}: --allow does not leave it out\n{}",
            outcome.stderr
        );
    }
}
