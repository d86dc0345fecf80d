//! The documents say what is there: links, the book's summary, the map of rooms, JSON forms, and
//! the numbers by which code cites `docs/semantics.md`.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::palisade::{files_below, root};
use crate::transcripts;

/// Documents outside of the book.
const BESIDE_THE_BOOK: [&str; 10] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "benches/README.md",
    "deploy/README.md",
    "examples/online-boutique/README.md",
    "golden/README.md",
    "templates/README.md",
];
/// The book's table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";
/// What code cites.
const SEMANTICS: &str = "docs/semantics.md";

/// The text of a file of the repository.
pub(crate) fn read(path: &str) -> String {
    let text = fs::read_to_string(root().join(path));
    text.map_err(|error| format!("{path}: {error}"))
        .expect("a document")
}

/// The pages of the book, by their paths, without its summary.
pub(crate) fn pages() -> BTreeMap<String, String> {
    files_below(&root().join("docs"))
        .into_iter()
        .map(|(path, text)| (format!("docs/{path}"), text))
        .filter(|(path, _)| path.ends_with(".md") && path != SUMMARY)
        .collect()
}

/// All documents whose links are checked.
fn documents() -> BTreeMap<String, String> {
    let mut documents = pages();
    for path in BESIDE_THE_BOOK.into_iter().chain([SUMMARY]) {
        documents.insert(path.to_owned(), read(path));
    }
    documents
}

/// The lines of a document that are not in a fenced block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fence && !is_fenced
    })
}

/// The targets of the links in a document. Code spans have none.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for rest in outside.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            links.push(target.to_owned());
        }
    }
    links
}

/// The anchors of a document's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let slug = slug(line.trim_start_matches('#').trim());
            let earlier = seen.entry(slug.clone()).or_default();
            *earlier += 1;
            match *earlier {
                1 => slug,
                count => format!("{slug}-{}", count - 1),
            }
        })
        .collect()
}

/// A heading in lower case, with hyphens for spaces and without punctuation.
fn slug(heading: &str) -> String {
    let kept = |letter: char| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then_some(letter),
    };
    heading.to_lowercase().chars().filter_map(kept).collect()
}

/// A path relative to a document, without `.` and `..`.
fn resolve(document: &str, target: &str) -> String {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for part in folder.join(target).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => path.push(part),
        }
    }
    path.display().to_string()
}

#[test]
fn links_resolve() {
    let documents = documents();
    let mut broken = Vec::new();
    for (name, text) in &documents {
        for link in links(text) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => name.clone(),
                _ => resolve(name, path),
            };
            let has_anchor = || {
                let text = documents.get(&target).cloned();
                anchors(&text.unwrap_or_else(|| read(&target))).contains(anchor)
            };
            if !root().join(&target).exists() {
                broken.push(format!("{name}: `{link}`: no such file"));
            } else if !anchor.is_empty() && !has_anchor() {
                broken.push(format!("{name}: `{link}`: no such heading"));
            } else if name.starts_with("docs/") && !target.starts_with("docs/") {
                broken.push(format!("{name}: `{link}` leads out of the book"));
            }
        }
    }

    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_page_is_in_the_summary_and_in_the_readme() {
    let listed = |document: &str| -> BTreeSet<String> {
        links(&read(document))
            .iter()
            .map(|link| resolve(document, link))
            .filter(|path| path.starts_with("docs/") && path.ends_with(".md"))
            .collect()
    };
    let pages: BTreeSet<String> = pages().into_keys().collect();

    assert_eq!(listed(SUMMARY), pages);
    assert_eq!(listed("README.md"), pages);
}

#[test]
fn the_first_documents_are_short() {
    for (path, most) in [("README.md", 150), ("ARCHITECTURE.md", 130)] {
        let lines = read(path).lines().count();
        assert!(lines <= most, "{path} has {lines} lines, at most {most}");
    }
}

/// The rooms, in the order of `src/lib.rs`.
fn rooms() -> Vec<String> {
    let rooms = read("src/lib.rs");
    let rooms = rooms.lines().filter_map(|line| {
        let room = line.strip_prefix("pub mod ").or(line.strip_prefix("mod "));
        room?.strip_suffix(';').map(str::to_owned)
    });
    rooms.collect()
}

#[test]
fn every_room_is_on_the_map_in_order() {
    let map = read("ARCHITECTURE.md");
    let table = section(&map, "## Rooms");
    let rows: Vec<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(rows, rooms());
}

#[test]
fn every_edge_is_on_the_map() {
    let map = read("ARCHITECTURE.md");
    let listed: Vec<String> = section(&map, "## I/O edges")
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split('`').next())
        .map(str::to_owned)
        .collect();

    let opens = |text: &String| {
        let attributes = text.split("#![expect(").skip(1);
        attributes
            .map(|rest| rest.split(")]").next().unwrap_or_default())
            .any(|attribute| attribute.contains("clippy::disallowed_methods"))
    };
    let edges: Vec<String> = files_below(&root().join("src"))
        .into_iter()
        .filter(|(path, text)| path.ends_with(".rs") && !path.ends_with("tests.rs") && opens(text))
        .map(|(path, _)| format!("src/{}", path.trim_end_matches("/mod.rs")))
        .collect();
    assert_eq!(listed, edges);
}

/// The part of a document from a heading to the next one of the same depth or less.
pub(crate) fn section<'text>(text: &'text str, heading: &str) -> &'text str {
    let start = text
        .find(&format!("\n{heading}\n"))
        .ok_or(heading)
        .expect("a heading");
    let rest = &text[start + heading.len() + 2..];
    let depth = heading.chars().take_while(|letter| *letter == '#').count();
    let ends = (1..=depth).filter_map(|depth| rest.find(&format!("\n{} ", "#".repeat(depth))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// The numbers of `docs/semantics.md`: `4` and `4.3` of headings, `4.3.6` of items of a list.
fn numbers() -> BTreeSet<String> {
    let text = read(SEMANTICS);
    let mut numbers = BTreeSet::new();
    let mut current = String::new();

    for line in prose(&text) {
        let (heading, is_heading) = match line.split_once(' ') {
            Some(("##" | "###", rest)) => (rest, true),
            _ => (line, false),
        };
        let word = heading.split(' ').next().unwrap_or_default();
        let number = word.trim_end_matches('.');
        let is_number =
            !number.is_empty() && number.split('.').all(|part| part.parse::<u32>().is_ok());
        if is_heading && is_number {
            current = number.to_owned();
            assert!(numbers.insert(current.clone()), "§{current} exists twice");
        } else if is_number && word.ends_with('.') {
            numbers.insert(format!("{current}.{number}"));
        }
    }

    numbers
}

/// The numbers after each `§`, with what is before it.
fn cited(text: &str) -> Vec<(String, String)> {
    let mut cited = Vec::new();
    let mut before = String::new();
    let mut parts = text.split('§');
    before.push_str(parts.next().unwrap_or_default());

    for part in parts {
        let is_number = |letter: &char| letter.is_ascii_digit() || *letter == '.';
        let number: String = part.chars().take_while(is_number).collect();
        let rest = &part[number.len()..];
        cited.push((before.clone(), number.trim_end_matches('.').to_owned()));
        before = rest.to_owned();
    }

    cited
}

/// A text in one line, without the marks of comments at line ends.
fn unwrapped(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.trim();
        let comment = ["//!", "///", "//"]
            .iter()
            .find_map(|mark| line.strip_prefix(mark));
        comment.unwrap_or(line).trim()
    });
    lines.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_citation_resolves() {
    let numbers = numbers();
    assert!(numbers.contains("4.3.6"), "{numbers:?}");
    let mut wrong = Vec::new();
    for (path, text) in pages() {
        let unknown = cited(&text)
            .into_iter()
            .filter(|(_, number)| !numbers.contains(number));
        wrong.extend(unknown.map(|(_, number)| format!("{path}: no §{number} in {SEMANTICS}")));
    }

    for folder in ["src", "tests", "benches"] {
        for (path, text) in files_below(&root().join(folder)) {
            if path.ends_with(".rs") && path != "it/documents.rs" {
                let problems = citations(&unwrapped(&text), &numbers);
                wrong.extend(
                    problems
                        .into_iter()
                        .map(|problem| format!("{folder}/{path}: {problem}")),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the citations in a file of code: each is `semantics §1.2`, perhaps with more
/// numbers: `semantics §1.2, §3`, `semantics §1 to §3`.
fn citations(text: &str, numbers: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (before, number) in cited(text) {
        let is_citation = before.to_lowercase().ends_with("semantics ");
        let continues = [", ", " and ", " to "].contains(&before.as_str());
        if !is_citation && !continues {
            wrong.push(format!("§{number} does not say `semantics`"));
        }
        if !numbers.contains(&number) {
            wrong.push(format!("no §{number} in {SEMANTICS}"));
        }
    }

    let lower = text.to_lowercase();
    for old in ["decision ", "decisions "] {
        let numbered = lower
            .split(old)
            .skip(1)
            .any(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
        if numbered {
            wrong.push(format!("`{old}N` is cited as `semantics §9.N`"));
        }
    }
    for old in ["calico-reference", "decisions.md"] {
        if lower.contains(old) {
            wrong.push(format!("`{old}` is not in this repository"));
        }
    }
    wrong
}

/// Which section of `docs/json.md` has the form of a command.
fn form_of(command: &str) -> &str {
    match command {
        "explain" => "eval",
        command => command,
    }
}

/// All keys of a value, except names of files and the like.
fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                if !key.contains('/') {
                    found.insert(key.clone());
                }
                keys(value, found);
            }
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// Adds the keys of what a command of a transcript prints as JSON, by the form.
fn add_printed_keys(block: &str, printed: &mut BTreeMap<String, BTreeSet<String>>) {
    let (line, output) = block.split_once('\n').unwrap_or((block, ""));
    if !line.contains("--format json") {
        return;
    }
    let command = line
        .split(' ')
        .find(|word| !word.starts_with('-') && *word != "json");
    let (data, problems) = output.split_once("[stderr]").unwrap_or((output, ""));
    let forms = [
        (data, form_of(command.unwrap_or_default())),
        (problems, "Problems"),
    ];
    for (text, form) in forms {
        let text = text.split("[status").next().unwrap_or_default();
        let values = serde_json::Deserializer::from_str(text).into_iter();
        for value in values {
            let value = value
                .map_err(|error| format!("{line}: {error}"))
                .expect("JSON");
            keys(&value, printed.entry(form.to_owned()).or_default());
        }
    }
}

#[test]
fn every_key_of_the_json_forms_is_documented() {
    let page = read("docs/json.md");
    let mut printed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for transcript in transcripts::texts() {
        for block in transcript.split("$ palisade ").skip(1) {
            add_printed_keys(block, &mut printed);
        }
    }
    let index = read("golden/host-untracked/bundle/palisade.json");
    let index = serde_json::from_str(&index).expect("an index");
    keys(
        &index,
        printed
            .entry("The index of a bundle".to_owned())
            .or_default(),
    );

    assert!(printed.len() > 5, "{:?}", printed.keys());
    for (form, keys) in printed {
        let section = section(&page, &format!("## {form}"));
        for key in keys {
            assert!(
                section.contains(&format!("\"{key}\"")),
                "docs/json.md, {form}: no `{key}`"
            );
        }
    }
}
