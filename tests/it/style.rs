//! Measures of the source that a reader notices: names, lines, paragraphs, parameters, rooms.
//!
//! Each has a limit, and a change that exceeds it names a better way or raises the limit with a
//! reason. Tests in `src` do not count.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Names that many types have by convention: what `clap`, `FromStr` and `Iterator` ask for.
const CONVENTIONAL: [&str; 5] = ["Arguments", "Error", "Err", "Output", "Item"];

/// Words that may stand before `struct`, `fn` and their like.
const VISIBILITY: [&str; 5] = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async "];

/// A file of `src`, with its path there.
struct SourceFile {
    path: PathBuf,
    text: String,
}

fn source_files() -> Vec<SourceFile> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }

    let is_test =
        |path: &Path| path.ends_with("tests.rs") || path.iter().any(|folder| folder == "tests");
    files.retain(|path| !is_test(path));
    files.sort_unstable();
    let read = |path: PathBuf| SourceFile {
        text: fs::read_to_string(&path).expect("a file of src"),
        path: path.strip_prefix(&source).expect("below src").to_owned(),
    };
    files.into_iter().map(read).collect()
}

/// The line without visibility and qualifiers.
fn unqualified(line: &str) -> &str {
    let mut rest = line.trim_start();
    while let Some(shorter) = VISIBILITY.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = shorter;
    }
    rest
}

/// Every name of a type that is declared in `src`, and how often.
fn type_names(files: &[SourceFile]) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    let lines = files.iter().flat_map(|file| file.text.lines());
    for line in lines {
        let declared = ["struct ", "enum ", "trait ", "type ", "union "];
        let Some(rest) = declared
            .iter()
            .find_map(|word| unqualified(line).strip_prefix(word))
        else {
            continue;
        };
        let name: String = rest
            .chars()
            .take_while(|letter| letter.is_alphanumeric())
            .collect();
        let is_type = name.starts_with(|first: char| first.is_uppercase());
        if is_type && !CONVENTIONAL.contains(&name.as_str()) {
            *names.entry(name).or_insert(0) += 1;
        }
    }
    names
}

/// Of so many, these are how many in a thousand.
fn per_mille(part: usize, all: usize) -> usize {
    part * 1_000 / all.max(1)
}

#[test]
fn names_of_types_are_understood_without_their_paths() {
    let names = type_names(&source_files());
    let all: usize = names.values().sum();
    assert!(all > 500, "{all} types found");

    let is_word = |name: &str| name.chars().filter(|letter| letter.is_uppercase()).count() == 1;
    let words: usize = names
        .iter()
        .filter(|row| is_word(row.0))
        .map(|row| row.1)
        .sum();
    assert!(
        per_mille(words, all) <= 350,
        "{words} of {all} types are named by one word"
    );

    let shared: Vec<(&String, &usize)> = names.iter().filter(|row| *row.1 > 1).collect();
    let count: usize = shared.iter().map(|row| row.1).sum();
    assert!(
        per_mille(count, all) <= 150,
        "types share their names: {shared:?}"
    );
}

#[test]
fn lines_are_short() {
    let files = source_files();
    let lines = || files.iter().flat_map(|file| file.text.lines());
    let long = lines().filter(|line| line.chars().count() > 100).count();
    let all = lines().count();
    assert!(
        per_mille(long, all) <= 5,
        "{long} of {all} lines have over 100 columns"
    );
}

/// A function by its lines, from `fn` to the brace that closes it.
fn functions<'text>(text: &'text str) -> Vec<Vec<&'text str>> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = (0..lines.len()).map(|begin| lines.split_at(begin).1);
    let function = |rest: &[&'text str]| {
        let first = rest
            .first()
            .filter(|line| unqualified(line).starts_with("fn "))?;
        let indent = first.len() - first.trim_start().len();
        let last = format!("{}}}", " ".repeat(indent));
        let length = rest.iter().position(|line| *line == last)?;
        Some(rest.split_at(length + 1).0.to_vec())
    };
    begins.filter_map(function).collect()
}

#[test]
fn long_functions_have_paragraphs() {
    let files = source_files();
    let all: Vec<Vec<&str>> = files
        .iter()
        .flat_map(|file| functions(&file.text))
        .collect();
    let long: Vec<&Vec<&str>> = all.iter().filter(|function| function.len() > 15).collect();
    let solid = long
        .iter()
        .filter(|function| function.iter().all(|line| !line.is_empty()));
    let solid = solid.count();
    assert!(long.len() > 500, "{} functions found", long.len());
    assert!(
        per_mille(solid, long.len()) <= 350,
        "{solid} of {} functions over 15 lines have no blank line",
        long.len()
    );
}

#[test]
fn parameters_are_no_tuples() {
    let files = source_files();
    let is_tuple = |line: &&str| {
        let line = line.trim_start();
        let line = line.strip_prefix("mut ").unwrap_or(line);
        line.starts_with('(') && line.contains("): (") && line.ends_with(',')
    };
    let signatures = files.iter().flat_map(|file| functions(&file.text));
    let tuples: Vec<String> = signatures
        .flat_map(|function| {
            let head = function.iter().take_while(|line| !line.ends_with('{'));
            let head: Vec<&str> = head.copied().collect();
            head.into_iter()
                .filter(|line| is_tuple(line))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(tuples.len() <= 10, "{tuples:#?}");
}

#[test]
fn no_room_is_large() {
    let files = source_files();
    let mut rooms: BTreeMap<String, usize> = BTreeMap::new();
    for file in &files {
        let room = file.path.iter().next().expect("a room");
        *rooms
            .entry(room.to_string_lossy().into_owned())
            .or_insert(0) += file.text.lines().count();
    }

    let all: usize = rooms.values().sum();
    let large: Vec<_> = rooms
        .iter()
        .filter(|row| per_mille(*row.1, all) > 100)
        .collect();
    assert!(large.is_empty(), "over a tenth of {all} lines: {large:?}");
}
