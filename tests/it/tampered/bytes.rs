//! Bad bytes in every line of every golden bundle.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use palisade::apply::TargetBundle;
use palisade::bundle::BundleOnDisk;
use palisade::options::ExtensionSet;
use palisade::ruleset::CheckedScripts;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::agree::random::Dice;
use crate::golden;
use crate::palisade::{files_below, root};

/// Bytes that no script has, as the reader of bundles gives them on.
fn bad_bytes() -> Vec<char> {
    let controls = (0..=0x1f_u8)
        .chain([0x7f])
        .filter(|byte| *byte != b'\n')
        .map(char::from);
    controls
        .chain(['\u{80}', '\u{e9}', '\u{a0}', '\u{202e}', '\u{fffd}'])
        .collect()
}

#[test]
fn every_line_with_a_bad_byte_is_refused() {
    let (bad, mut dice, mut tried) = (bad_bytes(), Dice(11), 0);
    for folder in golden::cases().iter().flat_map(|case| node_folders(case)) {
        let texts = files_below(&folder);
        for (name, mutant) in mutants(&texts, &bad, &mut dice) {
            let text = |own: &String, text| if *own == name { mutant.as_str() } else { text };
            let files = texts
                .iter()
                .map(|(own, old)| (own.as_str(), text(own, old.as_str())));
            let read = CheckedScripts::read(files, &ExtensionSet::every());
            assert!(read.is_err(), "{} {name}: {mutant:?}", folder.display());
            tried += 1;
        }
    }

    println!("{tried} lines with a bad byte, all refused");
    assert!(tried > 5_000, "{tried}");
}

/// For each line of each script, the script with a bad byte somewhere in the line.
fn mutants(
    texts: &BTreeMap<String, String>,
    bad: &[char],
    dice: &mut Dice,
) -> Vec<(String, String)> {
    let mut mutants = Vec::new();
    for (name, text) in texts {
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let mut mutant = text.clone();
            mutant.insert(start + dice.below(line.len()), dice.pick(bad));
            mutants.push((name.clone(), mutant));
            start += line.len();
        }
    }

    mutants
}

/// The folders of nodes in a case's bundle.
fn node_folders(case: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(case.join("bundle/nodes")) else {
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The same through the files that `apply`, `reconcile` and `status` read, with digests to match.
#[test]
fn a_bundle_on_disk_with_a_bad_byte_is_refused() {
    let bundle = root().join("golden/dual-stack/bundle");
    let files = files_below(&bundle);
    let mut dice = Dice(12);
    let place = tempfile::tempdir().unwrap();

    for bad in bad_bytes() {
        for (name, text) in files
            .iter()
            .filter(|(name, _)| name.starts_with("nodes/n1/"))
        {
            let mut mutant = text.clone();
            mutant.insert(dice.below(text.len()), bad);
            write_bundle(place.path(), &files, name, &mutant);
            let opened = BundleOnDisk::open(place.path()).unwrap();
            let read = TargetBundle::read(&opened, "n1", &ExtensionSet::default());
            let refused = read.err().unwrap_or_else(|| panic!("{bad:?} in {name}"));
            assert!(
                refused.message.contains("cannot be applied"),
                "{}",
                refused.message
            );
        }
    }
}

/// Writes a bundle of which one file is another, whose digest the index has.
fn write_bundle(place: &Path, files: &BTreeMap<String, String>, name: &str, mutant: &str) {
    for (path, text) in files {
        let text = if path == name { mutant } else { text };
        let path = place.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    let mut index: Value = serde_json::from_str(&files["palisade.json"]).unwrap();
    let digest = Sha256::digest(mutant);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    index["files"][name]["sha256"] = json!(digest);
    index["files"][name]["bytes"] = json!(mutant.len());
    fs::write(place.join("palisade.json"), index.to_string()).unwrap();
}
