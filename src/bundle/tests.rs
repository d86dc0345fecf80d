use std::fs;
use std::path::Path;

use super::{Comparison, Counts, INDEX_FILE, NodePart, Provenance, Writer};
use crate::render::Scripts;

fn part(node: &str, sets: &str) -> NodePart {
    let scripts = Scripts { sets: sets.to_owned(), filter_v4: "four\n".to_owned(), filter_v6: "six\n".to_owned(), early: Vec::new() };
    let table = Counts::Table { chains: 0, rules: 0 };
    NodePart { node: node.to_owned(), scripts, counts: vec![Counts::Sets { sets: 0, members: 0 }, table, table] }
}

fn provenance() -> Provenance {
    Provenance { inputs: "digest".to_owned(), staged: false }
}

fn write(place: &Path, parts: &[NodePart]) -> Result<(), String> {
    let mut writer = Writer::new(place, provenance()).map_err(|diagnostic| diagnostic.message)?;
    parts.iter().try_for_each(|part| writer.add(part)).map_err(|diagnostic| diagnostic.message)?;
    writer.finish().map_err(|diagnostic| diagnostic.message)
}

fn compare(place: &Path, parts: &[NodePart]) -> String {
    let mut comparison = Comparison::new(place, provenance());
    parts.iter().for_each(|part| comparison.add(part).unwrap());
    comparison.finish().unwrap().as_str().to_owned()
}

#[test]
fn a_bundle_replaces_a_bundle_whole() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("deep/bundle");
    write(&place, &[part("a", "old\n"), part("b", "old\n")]).unwrap();
    write(&place, &[part("a", "new\n")]).unwrap();
    assert_eq!(fs::read_to_string(place.join("nodes/a/sets.ipset")).unwrap(), "new\n");
    assert!(!place.join("nodes/b").exists());
    assert_eq!(fs::read_dir(home.path().join("deep")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn nothing_but_a_bundle_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("letter.txt"), "dear").unwrap();
    assert!(write(home.path(), &[part("a", "x\n")]).unwrap_err().contains("holds something else than a bundle"));
    assert!(write(&home.path().join("letter.txt"), &[]).unwrap_err().contains("is a file"));
    assert_eq!(fs::read_to_string(home.path().join("letter.txt")).unwrap(), "dear");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_bundle_that_is_not_finished_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(&home.path().join("bundle"), provenance()).unwrap();
    writer.add(&part("a", "x\n")).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_comparison_shows_what_differs_and_what_is_too_much() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("bundle");
    let all = [part("a", "1\n2\n"), part("b", "x\n")];
    write(&place, &all).unwrap();
    assert_eq!(compare(&place, &all), "");
    let diff = compare(&place, &[part("a", "1\n3\n")]);
    for line in ["--- a/nodes/a/sets.ipset", "-2", "+3", "--- a/nodes/b/sets.ipset", "-x", "--- a/palisade.json"] {
        assert!(diff.lines().any(|found| found == line), "{line} in:\n{diff}");
    }
    fs::write(place.join(INDEX_FILE), "{}\n").unwrap();
    assert!(compare(&place, &all).contains("+++ b/palisade.json"));
}
