//! Programs that tests start are those of `tests/tools.tsv`, and start in one place.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::palisade::root;
use crate::tools::{LIST, is_listed};

const SOURCES: [&str; 5] = ["debian", "pypi", "go", "npm", "cargo"];
const GROUPS: [&str; 5] = ["unit", "cli", "kernel", "bench", "ci"];

/// Where a process may be made: for tests in one place, for `palisade` itself in another.
const STARTERS: [&str; 2] = ["tests/tools/mod.rs", "src/runner/programs.rs"];

/// Calls that take a program's name first, as a text.
const CALLS: [&str; 7] = [
    " command(\"",
    "::command(\"",
    ".tool(\"",
    "try_tool(\"",
    "tools::run(\"",
    "world.replace(\"",
    "ToolCall::new(\"",
];

/// What `palisade` and its tests run only where it is there, and names that no program has.
const OPTIONAL: [&str; 4] = [
    "systemd-run",
    "firewall-cmd",
    "no-such-tool",
    "palisade-no-such-program",
];

/// All Rust files of the package, by their paths in it.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut open: Vec<PathBuf> = ["src", "tests", "benches"]
        .map(|name| root.join(name))
        .into();

    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path
                .strip_prefix(&root)
                .expect("below the root")
                .display()
                .to_string();
            found.push((name, fs::read_to_string(&path).expect("a source file")));
        }
    }
    found
}

#[test]
fn the_list_is_well_formed() {
    let rows: Vec<&str> = LIST.lines().filter(|line| !line.starts_with('#')).collect();
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    assert_eq!(rows, sorted, "in the order of names");

    let mut names = BTreeSet::new();
    for row in rows {
        let columns: Vec<&str> = row.split('\t').collect();
        let [name, source, package, version, groups] = columns[..] else {
            panic!("{row}")
        };
        assert!(names.insert(name), "`{name}` is listed twice");
        assert!(SOURCES.contains(&source), "{row}");
        assert!(
            !package.is_empty() && (version == "-") == (source == "debian"),
            "{row}"
        );
        assert!(
            groups.split(',').all(|group| GROUPS.contains(&group)),
            "{row}"
        );
    }
}

#[test]
fn processes_are_made_in_one_place() {
    let maker = ["Command", "::new"].concat();
    let renamed = ["process::Command", " as "].concat();
    let sources = sources();
    assert!(sources.len() > 200, "{} files", sources.len());

    let mut found: Vec<&str> = sources
        .iter()
        .filter(|(_, text)| text.contains(&maker) || text.contains(&renamed))
        .map(|(name, _)| name.as_str())
        .collect();
    found.sort_unstable();
    let mut expected = STARTERS.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "start programs by `tools::command`");
}

#[test]
fn programs_that_sources_name_are_listed() {
    let mut named = 0;
    for (file, text) in sources() {
        for name in CALLS
            .iter()
            .flat_map(|call| text.split(call).skip(1))
            .filter_map(first_text)
        {
            named += 1;
            assert!(
                is_listed(name) || OPTIONAL.contains(&name),
                "{file}: `{name}`"
            );
        }
    }

    assert!(named > 80, "{named}");
}

/// Returns the text up to the closing quote.
fn first_text(rest: &str) -> Option<&str> {
    rest.split_once('"').map(|(text, _)| text)
}

/// In `tests/run`, the directories of the system hold listed programs only.
#[test]
fn nothing_else_is_there() {
    let restricted = std::env::var_os("PALISADE_ONLY_LISTED").is_some();

    for directory in [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ] {
        let Ok(entries) = fs::read_dir(Path::new(directory)) else {
            continue;
        };
        for entry in entries.filter(|_| restricted) {
            let name = entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a text");
            assert!(is_listed(&name), "{directory}/{name}");
        }
    }
}
