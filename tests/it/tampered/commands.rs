//! Bundles that were tampered with, through every command that takes one.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::apply::world::World;
use crate::palisade::{files_below, root, run};

const CASE: &str = "dual-stack";
const SETS: &str = "nodes/n1/sets.ipset";
const FILTER: &str = "nodes/n1/filter.v4.rules";
const RAW: &str = "nodes/n1/raw.v4.rules";
/// The case has no such table.
const MANGLE: &str = "nodes/n1/mangle.v4.rules";

/// A file, and what becomes of its text.
type Change = (&'static str, fn(&str) -> String);

/// Each is an example of a class.
const CHANGES: [Change; 13] = [
    // the tail of a comment, or of a rule, that is longer than the tool reads
    (FILTER, |text| {
        text.replace(
            "COMMIT\n",
            &format!("#{}-I FORWARD 1 -j ACCEPT\nCOMMIT\n", " ".repeat(10_238)),
        )
    }),
    (FILTER, |text| {
        let rule = "-A pal-OUTPUT -m comment --comment \"x\" -j RETURN";
        let filler = " ".repeat(10_239 - rule.len());
        text.replace(
            "COMMIT\n",
            &format!("{rule}{filler}-I INPUT 1 -j ACCEPT\nCOMMIT\n"),
        )
    }),
    (SETS, |text| {
        format!("{text}#{}add pal-local4 203.0.113.66\n", " ".repeat(1_022))
    }),
    // bytes
    (FILTER, |text| text.replacen("end of", "end\0of", 1)),
    (FILTER, |text| text.replace('\n', "\r\n")),
    // rules of others' chains, and a policy
    (FILTER, |text| {
        text.replace("COMMIT\n", "-I INPUT 1 -j ACCEPT\nCOMMIT\n")
    }),
    (FILTER, |text| {
        text.replace("*filter\n", "*filter\n:FORWARD ACCEPT [0:0]\n")
    }),
    // ranges that are many members each
    (SETS, |text| {
        let more = "add pal-p-x 1-65535\n".repeat(1_200);
        format!("{text}create pal-p-x bitmap:port range 0-65535\n{more}")
    }),
    // ACCEPT before the filter table: no verdict of ours, and rules of others are skipped
    (RAW, |text| {
        text.replacen(
            "-A pal-PREROUTING ",
            "-A pal-PREROUTING -j ACCEPT\n-A pal-PREROUTING ",
            1,
        )
    }),
    (RAW, |text| {
        text.replace(
            "# hooks",
            "-A pal-PREROUTING -m rpfilter -j ACCEPT\n# hooks",
        )
    }),
    (RAW, |text| text.replacen("-j DROP", "-j ACCEPT", 1)),
    (MANGLE, |_| {
        let rules = "-A pal-PREROUTING -j ACCEPT\n-I PREROUTING 1 -m comment --comment \
                     \"palisade\" -j pal-PREROUTING";
        format!("*mangle\n:pal-PREROUTING - [0:0]\n{rules}\nCOMMIT\n")
    }),
    // chains that lead nowhere
    (FILTER, |text| {
        let is_kept =
            |line: &&str| !line.starts_with("-A pal-FORWARD") && !line.starts_with("-A pal-INPUT");
        text.lines()
            .filter(is_kept)
            .map(|line| format!("{line}\n"))
            .collect()
    }),
];

/// The kernel stays as it is, and every command says which file it is.
pub(super) fn every_command_refuses_what_was_tampered_with(world: &World) {
    let before = world.print();
    let case = root().join("golden").join(CASE);
    let files = files_below(&case.join("bundle"));
    for (number, (name, change)) in CHANGES.into_iter().enumerate() {
        let place = Path::new("/run/tampered").join(number.to_string());
        let original = files.get(name).map_or("", String::as_str);
        let mutant = change(original);
        assert_ne!(mutant, original, "{number}");
        for (path, text) in &files {
            let to = place.join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, text).unwrap();
        }
        fs::write(place.join(name), &mutant).unwrap();
        sign(&place, name, &mutant);

        let bundle = place.display().to_string();
        let file = name.rsplit('/').next().unwrap();
        for words in [
            &["apply", &bundle][..],
            &["apply", &bundle, "--dry-run"],
            &["status", &bundle],
        ] {
            let (status, said) = world.palisade(words);
            assert!(
                status == 2 && said.contains(file),
                "{number} {words:?}: {status} {said}"
            );
        }
        let (status, said) = world.palisade(&["reconcile", &bundle, "--once"]);
        assert!(
            status == 2 && said.contains(file),
            "{number}: {status} {said}"
        );
        let verified = run(
            &case,
            &[
                "verify",
                "manifest.yaml",
                "inventory.yaml",
                "--bundle",
                &bundle,
            ],
        );
        assert!(
            verified.status == 1 && verified.stdout.contains(file),
            "{number}: {}",
            verified.stdout
        );
        assert_eq!(world.print(), before, "{number}");
    }
}

/// Puts a file's digest into the index, as whoever forges a bundle does.
fn sign(place: &Path, name: &str, text: &str) {
    let path = place.join("palisade.json");
    let mut index: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let digest: String = Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();

    if index["files"].get(name).is_none() {
        index["files"][name] = json!({"chains": 1, "rules": 2});
    }

    index["files"][name]["sha256"] = json!(digest);
    index["files"][name]["bytes"] = json!(text.len());
    fs::write(path, index.to_string()).unwrap();
}

/// A node takes an extension only if its own configuration names it.
pub(super) fn extensions_are_taken_where_they_are_allowed(world: &World) {
    let place = Path::new("/run/extensions");
    fs::create_dir_all(place).unwrap();
    let template = fs::read_to_string(root().join("templates/filter.rules.hbs")).unwrap();
    let rule = "-A pal-INPUT -p tcp -m tcp --dport 22 -m comment --comment \"own\" -j REJECT \
                --reject-with tcp-reset";
    let own = template.replace("\n{{hooks}}", &format!("\n{rule}\n{{{{hooks}}}}"));
    fs::write(place.join("filter.rules.hbs"), own).unwrap();
    let [templates, bundle] =
        [place.to_owned(), place.join("bundle")].map(|path| path.display().to_string());
    let case = root().join("golden").join(CASE);
    let words = [
        "render",
        "manifest.yaml",
        "inventory.yaml",
        "--templates",
        &templates,
        "--out",
        &bundle,
    ];
    assert_eq!(run(&case, &words).status, 2);
    let allowed = ["--allow-extension", "tcp", "--allow-extension", "REJECT"];
    let rendered = run(&case, &[&words[..], &allowed].concat());
    assert_eq!(rendered.status, 0, "{}", rendered.stderr);
    let index = fs::read_to_string(place.join("bundle/palisade.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&index).unwrap()["extensions"],
        json!(["REJECT", "tcp"])
    );

    let before = world.print();
    for more in [&[][..], &["--allow-extension", "tcp"]] {
        let (status, said) = world.palisade(&[&["apply", &bundle][..], more].concat());
        assert!(
            status == 2 && said.contains("filter.v4.rules"),
            "{status} {said}"
        );
        assert_eq!(world.print(), before);
    }
    fs::write("/run/config.yaml", "allowExtensions: [tcp, REJECT]\n").unwrap();
    for words in [
        ["apply", &bundle],
        ["status", &bundle],
        ["reconcile", &bundle],
    ] {
        let once = ["--once"].into_iter().filter(|_| words[0] == "reconcile");
        let more = ["--config", "/run/config.yaml"].into_iter().chain(once);
        let (status, said) = world.palisade(&words.into_iter().chain(more).collect::<Vec<&str>>());
        assert_eq!(status, 0, "{words:?}: {said}");
    }
    assert!(world.print().contains("--dport 22"));

    // what was accepted here is known as the last good bundle
    let (status, said) = world.palisade(&["status"]);
    assert_eq!(status, 0, "{said}");
    let verify = [
        "verify",
        "manifest.yaml",
        "inventory.yaml",
        "--bundle",
        &bundle,
    ];
    assert_eq!(run(&case, &verify).status, 1);
    let proven = run(&case, &[&verify[..], &allowed].concat());
    assert!(
        proven.status == 0 && proven.stdout.contains("REJECT in 2 rules"),
        "{}",
        proven.stdout
    );
}
