use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::path::BundlePath;
use super::{
    BundleComparison, BundleFiles, BundleWriter, INDEX_FILE, NodePart, Provenance, ScriptCounts,
    clear,
};
use crate::diagnostic::Code;
use crate::render::{NodeScripts, SCRIPT_FILES};

fn part(node: &str, sets: &str) -> NodePart {
    let scripts = NodeScripts {
        sets: sets.to_owned(),
        filter_v4: "four\n".to_owned(),
        filter_v6: "six\n".to_owned(),
        early: Vec::new(),
    };
    let table = ScriptCounts::Table {
        chains: 0,
        rules: 0,
    };

    NodePart {
        node: node.to_owned(),
        scripts,
        counts: vec![
            ScriptCounts::Sets {
                sets: 0,
                members: 0,
            },
            table,
            table,
        ],
        extensions: BTreeSet::new(),
    }
}

fn provenance() -> Provenance {
    Provenance {
        inputs: "digest".to_owned(),
        staged: false,
    }
}

fn write(place: &Path, parts: &[NodePart]) -> Result<(), String> {
    let mut writer =
        BundleWriter::new(place, provenance()).map_err(|diagnostic| diagnostic.message)?;
    parts
        .iter()
        .try_for_each(|part| writer.add(part))
        .map_err(|diagnostic| diagnostic.message)?;
    let left = writer.finish().map_err(|diagnostic| diagnostic.message)?;
    assert_eq!(left, None);
    Ok(())
}

fn compare(place: &Path, parts: &[NodePart]) -> String {
    let mut comparison = BundleComparison::new(place, provenance()).unwrap();
    parts.iter().for_each(|part| comparison.add(part).unwrap());
    comparison.finish().unwrap().as_str().to_owned()
}

#[test]
fn a_bundle_replaces_a_bundle_whole() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("deep/bundle");
    write(&place, &[part("a", "old\n"), part("b", "old\n")]).unwrap();
    write(&place, &[part("a", "new\n")]).unwrap();
    assert_eq!(
        fs::read_to_string(place.join("nodes/a/sets.ipset")).unwrap(),
        "new\n"
    );
    assert!(!place.join("nodes/b").exists());

    assert_eq!(
        fs::read_dir(home.path().join("deep")).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn a_directory_keeps_its_mode_when_a_bundle_replaces_it() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("bundle");

    for mode in [0o700, 0o2750, 0o755] {
        let _ = fs::remove_dir_all(&place);
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
        for text in ["first\n", "second\n"] {
            write(&place, &[part("a", text)]).unwrap();
            assert_eq!(
                fs::metadata(&place).unwrap().permissions().mode() & 0o7777,
                mode,
                "{text}"
            );
        }
    }
}

#[test]
fn nothing_but_a_bundle_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("letter.txt"), "dear").unwrap();
    assert!(
        write(home.path(), &[part("a", "x\n")])
            .unwrap_err()
            .contains("holds what is no part of a bundle: `letter.txt`")
    );
    assert!(
        write(&home.path().join("letter.txt"), &[])
            .unwrap_err()
            .contains("is a file")
    );
    assert_eq!(
        fs::read_to_string(home.path().join("letter.txt")).unwrap(),
        "dear"
    );

    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

/// An entry that appears before the exchange is an error. One that appears after it is kept, and
/// only the bundle's files are removed.
#[test]
fn what_comes_meanwhile_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("bundle");
    write(&place, &[part("a", "old\n")]).unwrap();
    let mut writer = BundleWriter::new(&place, provenance()).unwrap();
    writer.add(&part("a", "new\n")).unwrap();
    fs::write(place.join("nodes/a/letter"), "dear").unwrap();
    let refused = writer.finish().unwrap_err().message;
    assert!(
        refused.contains("no part of a bundle: `nodes/a/letter`"),
        "{refused}"
    );
    assert_eq!(
        fs::read_to_string(place.join("nodes/a/sets.ipset")).unwrap(),
        "old\n"
    );

    fs::remove_file(place.join("nodes/a/letter")).unwrap();
    let owned = BundleFiles::listed(&place).unwrap();
    let draft = tempfile::tempdir_in(home.path()).unwrap();
    let old = draft.path().join("old");
    fs::rename(&place, &old).unwrap();
    fs::write(old.join("nodes/a/letter"), "dear").unwrap();
    fs::write(old.join("letter"), "dear").unwrap();
    assert_eq!(
        owned.remove_from(&old).unwrap(),
        ["letter", "nodes/a/letter"].map(Path::new)
    );
    let left = clear(draft, &BundleFiles::default()).unwrap();
    assert_eq!(left.entries, [Path::new("old")]);
    assert_eq!(left.diagnostic().code, Code::EntriesKept);
    assert!(!old.join(INDEX_FILE).exists() && !old.join("nodes/a/sets.ipset").exists());
    assert_eq!(
        fs::read_to_string(left.place.join("old/nodes/a/letter")).unwrap(),
        "dear"
    );
}

#[test]
fn only_scripts_of_nodes_have_paths_in_a_bundle() {
    let longest = "n".repeat(253);
    for node in ["n1", "a.b-c", &longest] {
        for file in SCRIPT_FILES {
            let path = format!("nodes/{node}/{file}");
            let folder = BundlePath::parse(&path).unwrap().node_folder();
            assert_eq!(folder.join(file), Path::new(&path));
        }
    }

    let too_long = format!("nodes/{longest}n/sets.ipset");
    let others = [
        "",
        "palisade.json",
        "nodes",
        "nodes/n1",
        "nodes/n1/",
        "nodes//sets.ipset",
        "nodes/./sets.ipset",
        "nodes/../sets.ipset",
        "nodes/n1/../sets.ipset",
        "nodes/n1/x/sets.ipset",
        "nodes/n1/sets.ipset/",
        "nodes/n1/sets.ipset\0",
        "nodes/n1/nat.v4.rules",
        "nodes/N1/sets.ipset",
        "/nodes/n1/sets.ipset",
        "./nodes/n1/sets.ipset",
        "nodesn1/sets.ipset",
        &too_long,
    ];
    for path in others {
        assert_eq!(BundlePath::parse(path), None, "{path}");
    }
}

#[test]
fn a_bundle_that_is_not_finished_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut writer = BundleWriter::new(&home.path().join("bundle"), provenance()).unwrap();
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
    for line in [
        "--- a/nodes/a/sets.ipset",
        "-2",
        "+3",
        "--- a/nodes/b/sets.ipset",
        "-x",
        "--- a/palisade.json",
    ] {
        assert!(
            diff.lines().any(|found| found == line),
            "{line} in:\n{diff}"
        );
    }

    fs::write(place.join(INDEX_FILE), "{}\n").unwrap();
    assert!(compare(&place, &all).contains("+++ b/palisade.json"));
}
