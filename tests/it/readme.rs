//! The README says what the code does.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::fs;

use palisade::document::{KINDS, KindRole, ObjectKind};
use palisade::lint::{LINTS, LintLevel};

use crate::palisade::{root, run};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md")
}

#[test]
fn the_table_of_kinds_is_that_of_the_code() {
    let readme = readme();
    let table = readme
        .split("## Kinds")
        .nth(1)
        .and_then(|rest| rest.split("Calico's kinds are also read").next())
        .expect("the table");
    let written: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    // the internal group reads like the public one, and the old one is refused for what it is
    let rows = KINDS
        .iter()
        .filter(|row| !["crd.projectcalico.org", "extensions"].contains(&row.group));
    let mut expected = Vec::new();
    for row in rows {
        let group = if row.group.is_empty() {
            String::new()
        } else {
            format!("{}/", row.group)
        };
        let fate = match row.role {
            KindRole::Read(ObjectKind::Manifest(_)) => "compiled",
            KindRole::Read(ObjectKind::Inventory(_)) => "inventory",
            KindRole::Refused => "refused, not there yet",
            KindRole::Skipped => continue,
        };
        expected.extend(
            row.versions
                .iter()
                .map(|version| format!("| `{}` | `{group}{version}` | {fate} |", row.name)),
        );
    }
    assert_eq!(written, expected);
}

#[test]
fn the_table_of_lints_is_that_of_the_code() {
    let readme = readme();
    let table = readme
        .split("## Lints")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the table");
    let written: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let level = |level| {
        if level == LintLevel::Deny {
            "deny"
        } else {
            "allow"
        }
    };
    let rows = LINTS
        .iter()
        .map(|(code, own)| format!("| `{code}` | {} | {} |", code.description(), level(*own)));
    assert_eq!(written, rows.collect::<Vec<String>>());
}

#[test]
fn the_main_job_of_the_readme_works() {
    assert!(readme().contains("render examples/service-accounts --out /tmp/bundle"));
    let place = tempfile::tempdir().expect("a directory");
    let out = place.path().join("bundle").display().to_string();
    let outcome = run(
        &root(),
        &["render", "examples/service-accounts", "--out", &out],
    );
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn every_command_and_option_of_the_readme_is_there() {
    let help = [
        "check",
        "render",
        "eval",
        "explain",
        "connectivity",
        "diff",
        "selector",
    ]
    .map(|command| run(&root(), &[command, "--help"]).stdout)
    .concat();
    for option in [
        "--out",
        "--node",
        "--check",
        "--allow",
        "--staged",
        "--templates",
        "--endpoint-to-host",
        "--unknown-endpoint",
        "--hook-position",
        "--encapsulated",
        "--failsafe-inbound",
        "--failsafe-outbound",
        "--by",
        "--from",
        "--to",
        "--port",
        "--source-port",
        "--set-label",
        "--with",
        "--nodes",
    ] {
        assert!(
            readme().contains(option) && help.contains(option),
            "{option}"
        );
    }
}
