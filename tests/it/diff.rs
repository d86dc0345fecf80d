//! `palisade diff`: revisions of a repository, the form of SARIF, and what another tool found in
//! clusters of other people. That data is no part of the project: `PALISADE_TEST_DATA` names its
//! folder, and without it nothing is compared.
#![expect(
    clippy::disallowed_methods,
    reason = "tests write files, start git and read data outside of the project"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::palisade::{Outcome, run};
use crate::tools;

const CLOSED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db}]}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
";
const OPEN: &str =
    "  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}]}]\n";

pub(crate) fn git(directory: &Path, words: &[&str]) {
    let mut command = tools::command("git");
    command
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.org",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(words);

    let output = command.current_dir(directory).output().expect("git starts");
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A repository with a revision `closed`, and a working tree that is open.
fn repository() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let folder = place.path().join("deploy/policies");
    fs::create_dir_all(folder.join(".hidden")).expect("a directory");
    fs::write(folder.join("all.yaml"), CLOSED).expect("written");
    fs::write(folder.join("notes.txt"), "no manifest").expect("written");
    fs::write(folder.join(".hidden/bad.yaml"), "a: [").expect("written");
    fs::create_dir(place.path().join("notes")).expect("a directory");
    fs::write(place.path().join("notes/readme.txt"), "no manifest").expect("written");
    git(place.path(), &["init", "-q"]);
    git(place.path(), &["add", "-A"]);
    git(place.path(), &["commit", "-qm", "closed"]);
    git(place.path(), &["tag", "closed"]);
    fs::write(folder.join("all.yaml"), format!("{CLOSED}{OPEN}")).expect("written");

    place
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

/// Entries of `PATH`, for a process in a directory `place` that has a program `git` of its own, and
/// one below `bin`; and whether a user's process may run one of those.
const PATHS: [(&str, bool); 12] = [
    ("", false),
    (".", false),
    ("./", false),
    (":", false),
    ("::/usr/bin", false),
    ("bin", false),
    ("./bin:/usr/bin", false),
    ("bin/../bin:.", false),
    ("PLACE/bin", true),
    ("PLACE:/usr/bin", true),
    ("PLACE/bin/../bin", true),
    ("/usr/bin:PLACE", false),
];

/// Sets `PATH` to the first argument for the others.
const WITH_PATH: &str = "export PATH=\"$1\"; shift; exec \"$@\"";

/// Runs `palisade diff` with a `PATH`, as root or not; whether it ran a `git` of the place.
fn runs_foreign_git(place: &Path, path: &str, is_root: bool) -> bool {
    let user: &[&str] = if is_root {
        &["--user", "--map-root-user"]
    } else {
        &["--user"]
    };

    let path = path.replace("PLACE", &place.display().to_string());
    let output = tools::command("unshare")
        .args(user)
        .args([
            "sh",
            "-c",
            WITH_PATH,
            "sh",
            &path,
            env!("CARGO_BIN_EXE_palisade"),
        ])
        .args(["diff", "git:closed:deploy/policies", "deploy/policies"])
        .current_dir(place)
        .output()
        .expect("unshare starts");
    let ran = fs::remove_file(place.join("ran")).is_ok();
    let is_expected = if ran { Some(2) } else { Some(1) };
    let said = String::from_utf8_lossy(&output.stderr);

    assert_eq!(
        output.status.code(),
        is_expected,
        "PATH `{path}`, root: {is_root}: {said}"
    );
    ran
}

#[test]
fn git_is_found_in_absolute_directories_only() {
    let place = repository();
    fs::create_dir(place.path().join("bin")).expect("a directory");
    for program in ["git", "bin/git"] {
        let path = place.path().join(program);
        fs::write(
            &path,
            format!("#!/bin/sh\n: > '{}/ran'\nexit 1\n", place.path().display()),
        )
        .expect("written");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("executable");
    }

    for (path, may_run) in PATHS {
        assert_eq!(
            runs_foreign_git(place.path(), path, false),
            may_run,
            "PATH `{path}`"
        );
        assert!(
            !runs_foreign_git(place.path(), path, true),
            "PATH `{path}`, as root"
        );
    }
}

#[test]
fn a_revision_is_read_as_a_directory_is() {
    let place = repository();
    let outcome = run(
        place.path(),
        &[
            "diff",
            "git:closed:deploy/policies",
            "deploy/policies",
            "--format",
            "json",
        ],
    );
    assert_eq!(outcome.status, 1, "{}", outcome.stderr);

    let found = json(&outcome);
    assert_eq!(found["changes"][0]["after"]["text"], "TCP 5432");
    assert_eq!(
        found["changes"][0]["gained"][0]["reasons"][0]["old"]["policies"][0]["file"],
        "git:closed:deploy/policies/all.yaml"
    );

    for same in [
        "git:HEAD:deploy/policies",
        "git:closed:deploy",
        "git:closed:./deploy/policies/",
        "git:closed:",
        "git:closed:deploy/policies/all.yaml",
    ] {
        let outcome = run(place.path(), &["diff", "git:closed:deploy/policies", same]);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (0, ""),
            "{same}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn what_git_does_not_have_is_refused() {
    let place = repository();
    let outside = tempfile::tempdir().expect("a directory");
    let cases = [
        (outside.path(), "git:HEAD:deploy", "[not-a-repository]"),
        (place.path(), "git:nowhere:deploy", "[unknown-revision]"),
        (place.path(), "git:--all:deploy", "[unknown-revision]"),
        (place.path(), "git::deploy", "[unknown-revision]"),
        (place.path(), "git:HEAD", "[unknown-revision]"),
        (place.path(), "git:HEAD:nothing", "[not-in-revision]"),
        (place.path(), "git:HEAD:../etc", "[not-in-revision]"),
        (
            place.path(),
            "git:HEAD:notes",
            "there is no manifest in the directory `git:HEAD:notes`",
        ),
    ];
    for (directory, path, code) in cases {
        let outcome = run(directory, &["diff", path, path]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (2, ""), "{path}");
        assert!(outcome.stderr.contains(code), "{path}: {}", outcome.stderr);
    }

    std::os::unix::fs::symlink("all.yaml", place.path().join("deploy/policies/link.yaml"))
        .expect("a link");
    git(place.path(), &["add", "-A"]);
    git(place.path(), &["commit", "-qm", "link"]);

    let outcome = run(
        place.path(),
        &["diff", "git:HEAD:deploy", "git:HEAD:deploy"],
    );
    assert!(
        outcome.status == 2 && outcome.stderr.contains("git worktree add"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn sarif_has_what_its_schema_demands() {
    let place = repository();
    for (old, new, rule, level) in [
        (
            "git:closed:deploy",
            "deploy",
            "connection-gained",
            "warning",
        ),
        ("deploy", "git:closed:deploy", "connection-lost", "note"),
    ] {
        let outcome = run(place.path(), &["diff", old, new, "--format", "sarif"]);
        assert_eq!(outcome.status, 1, "{}", outcome.stderr);
        let log = json(&outcome);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let driver = &run["tool"]["driver"];
        assert_eq!(driver["name"], "palisade");
        let results = run["results"].as_array().expect("results");
        assert_eq!(results.len(), 1, "{results:?}");
        for result in results {
            assert_eq!(
                (result["ruleId"].as_str(), result["level"].as_str()),
                (Some(rule), Some(level))
            );
            let index =
                usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
            assert_eq!(driver["rules"][index]["id"], rule);
            assert!(
                result["message"]["text"]
                    .as_str()
                    .is_some_and(|text| text.contains("TCP 5432"))
            );
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "deploy/policies/all.yaml");
            assert!(
                place["region"]["startLine"].as_u64() > Some(0)
                    && place["region"]["startColumn"].as_u64() > Some(0)
            );
        }
    }

    let equal = run(
        place.path(),
        &["diff", "deploy", "deploy", "--format", "sarif"],
    );
    assert_eq!(
        (
            equal.status,
            json(&equal)["runs"][0]["results"].as_array().map(Vec::len)
        ),
        (0, Some(0))
    );
}

#[test]
fn formats_of_other_commands_stay() {
    let place = repository();
    let outcome = run(place.path(), &["check", "deploy", "--format", "md"]);
    assert!(
        outcome.status == 2 && outcome.stderr.contains("[possible values: text, json]"),
        "{}",
        outcome.stderr
    );
}

/// Where the data is; says so if it is nowhere.
#[expect(clippy::print_stderr, reason = "a test that was not run must say so")]
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("PALISADE_TEST_DATA");
    if folder.is_none() {
        eprintln!("diff skipped: PALISADE_TEST_DATA is not set");
    }
    folder.map(PathBuf::from)
}

/// Cases whose pods are all on the host's network: a side has no endpoint, which the other tool
/// takes.
const HOST_NETWORK_ONLY: [&str; 1] =
    ["semanticDiff-same-topologies-old3__to__semanticDiff-same-topologies-new3"];

#[test]
fn differences_of_other_clusters() {
    let Some(data) = data() else { return };
    let mut cases = 0;
    for entry in fs::read_dir(data.join("diff")).expect("the data of PALISADE_TEST_DATA") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned();
        let (old, new) = name.split_once("__to__").expect("two cases");
        let [old, new] = [old, new].map(|case| {
            data.join("connectivity")
                .join(case)
                .join("manifests")
                .display()
                .to_string()
        });
        let mut words = vec!["diff", &old, &new, "--format", "json", "--nodes", "never"];
        words.extend(
            HOST_NETWORK_ONLY
                .contains(&name.as_str())
                .then_some("--allow-no-endpoints"),
        );

        let outcome = run(&data, &words);
        let expected: BTreeSet<String> = fs::read_to_string(&path)
            .expect("a text")
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect();
        assert_eq!(
            outcome.status,
            i32::from(!expected.is_empty()),
            "{name}: {}",
            outcome.stderr
        );
        let found = json(&outcome);
        let changes = found["changes"].as_array().expect("changes");
        assert_eq!(
            changes.iter().flat_map(lines).collect::<BTreeSet<String>>(),
            expected,
            "{name}"
        );
        cases += 1;
    }
    assert!(cases >= 5, "only {cases} cases");
}

/// A change as the other tool writes it, which knows no IPv6.
fn lines(change: &Value) -> Vec<String> {
    let kind = change["kind"].as_str().expect("a kind");
    let (before, after) = (
        connections(&change["before"]),
        connections(&change["after"]),
    );
    let mut lines = Vec::new();

    for block in change["between"].as_array().expect("blocks") {
        let [from, to] = ["from", "to"].map(|side| {
            block[side]
                .as_array()
                .expect("peers")
                .iter()
                .filter_map(peer)
                .collect::<Vec<_>>()
        });
        for source in &from {
            for destination in to.iter().filter(|other| *other != source) {
                lines.push(format!(
                    "diff-type: {kind}, source: {source}, destination: {destination}, ref1: \
                     {before}, ref2: {after}"
                ));
            }
        }
    }

    lines
}

fn peer(peer: &Value) -> Option<String> {
    match (&peer["namespace"], &peer["kind"], &peer["name"]) {
        (Value::String(namespace), Value::String(kind), Value::String(name)) => {
            Some(format!("{namespace}/{name}[{kind}]"))
        }
        _ => {
            let (from, to) = (
                peer["from"].as_str().expect("an address"),
                peer["to"].as_str().expect("an address"),
            );
            (!from.contains(':')).then(|| format!("{from}-{to}[External]"))
        }
    }
}

/// TCP, UDP and SCTP, as the other tool knows no others.
fn connections(traffic: &Value) -> String {
    if traffic["everything"] == true {
        return "All Connections".to_owned();
    }

    let protocols = traffic["protocols"].as_array().expect("protocols");
    let with_ports = protocols.iter().filter_map(|one| {
        Some(format!(
            "{} {}",
            one["protocol"].as_str()?,
            one["ports"].as_str()?
        ))
    });

    let sorted: BTreeSet<String> = with_ports.collect();
    if sorted.is_empty() {
        "No Connections".to_owned()
    } else {
        sorted.into_iter().collect::<Vec<_>>().join(",")
    }
}
