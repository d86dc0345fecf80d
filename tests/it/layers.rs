//! Data flows one way: a room names only rooms declared above it in `src/lib.rs`.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::file_graph::FileGraph;

/// Rooms that judge policies and scripts. They may not know who writes scripts, so that no mistake
/// of the compile is theirs too.
const JUDGES: [&str; 8] = [
    "semantics",
    "packet_space",
    "netfilter",
    "verify",
    "explain",
    "connectivity",
    "diff",
    "assertions",
];

/// Edges of circles that stand: which file names which, and why it may.
const STANDING: [(&str, &str, &str); 0] = [];

#[test]
fn data_flows_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = fs::read_to_string(source.join("lib.rs")).expect("src/lib.rs");
    let rooms: Vec<&str> = map
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("pub ")
                .strip_prefix("mod ")?
                .strip_suffix(';')
        })
        .collect();
    assert!(rooms.len() > 10, "no rooms found in lib.rs");

    let upward: Vec<String> = rooms
        .iter()
        .enumerate()
        .flat_map(|(rank, room)| upward(&source, room, rooms.get(rank + 1..).unwrap_or_default()))
        .collect();
    assert!(upward.is_empty(), "{}", upward.join("\n"));

    for judge in JUDGES {
        assert!(rooms.contains(&judge), "there is no room `{judge}`");
        let writers = self::upward(&source, judge, &["lower", "render", "bundle"]);
        assert!(
            writers.is_empty(),
            "what judges scripts may not know who writes them: {}",
            writers.join("\n")
        );
    }
}

/// Files of a room may use each other, but none needs itself by way of others: each can be read
/// after those that it names.
#[test]
fn no_cycle_between_files() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a source file");
        (file, text)
    };
    let files: Vec<(PathBuf, String)> = rust_files(&source).into_iter().map(read).collect();
    let mut graph = FileGraph::new(&source, &files);
    assert!(graph.len() > 100, "no files found in src");
    for (from, to, _) in STANDING {
        let stood = graph.remove(from, to);
        assert!(
            stood,
            "{from} no longer names {to}: take it out of STANDING"
        );
    }

    let circles = graph.circles();

    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

/// Standard output and standard error are opened in one place, which takes escaped text only; and
/// only what a renderer laid out may bring its own lines.
#[test]
fn what_is_printed_is_escaped() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: [(&str, &[&str]); 5] = [
        ("io::stdout", &["cli/report.rs"]),
        ("io::stderr", &["cli/report.rs"]),
        ("println!", &["resolve/measure.rs", "verify/tests.rs"]),
        (
            ".rendered(",
            &["cli/report.rs", "metrics/mod.rs", "output/tests.rs"],
        ),
        (".without_input(", &["cli/completions.rs"]),
    ];

    for (word, files) in allowed {
        let names = |file: &PathBuf| {
            fs::read_to_string(file)
                .expect("a source file")
                .contains(word)
        };
        let found = rust_files(&source).into_iter().filter(names);
        let found = found.map(|file| {
            file.strip_prefix(&source)
                .expect("below")
                .display()
                .to_string()
        });
        let mut found: Vec<String> = found.collect();
        found.sort_unstable();
        assert_eq!(found, files, "{word}");
    }
}

/// Where a room names a later one.
fn upward(source: &Path, room: &str, later: &[&str]) -> Vec<String> {
    let forbidden = |named: &String| named == "{" || later.contains(&named.as_str());
    let in_file = |file: PathBuf| {
        let named = rooms_named(&fs::read_to_string(&file).expect("a source file"))
            .into_iter()
            .filter(forbidden);
        named
            .map(|named| format!("{}: `{room}` names `{named}`", file.display()))
            .collect::<Vec<_>>()
    };

    rust_files(&source.join(room))
        .into_iter()
        .flat_map(in_file)
        .collect()
}

/// The word after each `crate::`; a `{` means a grouped import, which would hide the room.
/// `super::super::` out of a room would hide it too, and counts as one.
fn rooms_named(text: &str) -> Vec<String> {
    let word = |rest: &str| {
        rest.chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect::<String>()
    };
    let named = text.split("crate::").skip(1).map(|rest| {
        Some(word(rest))
            .filter(|word| !word.is_empty())
            .unwrap_or_else(|| "{".to_owned())
    });

    let hidden = text
        .matches("super::super::super::")
        .map(|_| "{".to_owned());
    named.chain(hidden).collect()
}

fn rust_files(room: &Path) -> Vec<PathBuf> {
    let mut open = vec![room.to_owned()];
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        match path.is_dir() {
            true => open.extend(
                fs::read_dir(&path)
                    .expect("a room")
                    .map(|entry| entry.expect("an entry").path()),
            ),
            false => files.extend(
                path.extension()
                    .is_some_and(|ending| ending == "rs")
                    .then(|| path.clone()),
            ),
        }
    }

    files
}
