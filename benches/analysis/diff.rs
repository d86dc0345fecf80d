//! Time of comparing a case with itself, changed.

use std::io::{self, Write};

use palisade::diagnostic::Diagnostics;
use palisade::diff::{self, ConnectionChange};
use palisade::options::CompileOptions;
use palisade::output::BufferedOutput;
use palisade::policy::StagedPolicies;
use palisade::source::SourceFiles;
use palisade::{Input, report, resolve};

use super::timed;

/// A policy that closes what no other policy speaks about.
const CLOSED: &str = "---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: closed}
spec: {order: 100000, types: [Ingress, Egress]}
";

const EMPTY: &str = r#"{"apiVersion": "v1", "kind": "List", "items": []}"#;

/// Compares a cluster with itself less its last policy, and with itself closed by default.
pub(super) fn measure(inventory: &str, policies: &str, out: &mut dyn Write) -> io::Result<()> {
    let less = policies
        .rfind("---\n")
        .and_then(|at| policies.get(..at))
        .unwrap_or_default();
    compare(
        "diff, one policy less",
        [(inventory, policies), (inventory, less)],
        out,
    )?;
    compare(
        "diff, closed by default",
        [
            (inventory, policies),
            (inventory, &format!("{policies}{CLOSED}")),
        ],
        out,
    )?;

    compare(
        "diff, all pods new",
        [(EMPTY, policies), (inventory, policies)],
        out,
    )
}

fn compare(stage: &str, [old, new]: [(&str, &str); 2], out: &mut dyn Write) -> io::Result<()> {
    let (_, before) = read(old.0, old.1)?;
    let (files, after) = read(new.0, new.1)?;
    let [before, after] = [&before, &after].map(|input| {
        resolve::selectors(
            &input.policies,
            &input.inventory,
            &mut Diagnostics::default(),
        )
    });
    let mut difference = timed(stage, out, || {
        diff::between(&before, &after, &CompileOptions::default())
    })?;
    let pairs = |change: &ConnectionChange<'_>| {
        change
            .blocks
            .iter()
            .map(|block| difference.pairs(block))
            .sum::<usize>()
    };
    let (changes, pairs): (usize, usize) = (
        difference.changes.len(),
        difference.changes.iter().map(pairs).sum(),
    );
    let files = diff::OldNew {
        old: &files,
        new: &files,
    };
    let comparison = report::diff::DiffReport::new(
        &mut difference,
        files,
        diff::OldNew {
            old: "old",
            new: "new",
        },
        None,
    );
    let text = timed("as text", out, || {
        BufferedOutput::capture(|out| report::diff::text(&comparison, out))
    })?;
    let json = timed("as JSON", out, || {
        BufferedOutput::capture(|out| report::diff::json(&comparison, out))
    })?;
    let (text, json) = (text.as_str().len(), json.as_str().len());

    writeln!(
        out,
        "| {changes} changes between {pairs} pairs, {text} bytes of text, {json} of JSON | |"
    )
}

fn read(inventory: &str, policies: &str) -> io::Result<(SourceFiles, Input)> {
    let mut files = SourceFiles::default();
    for (name, text) in [("inventory.json", inventory), ("policies.yaml", policies)] {
        files
            .add(name, text.to_owned())
            .map_err(|length| io::Error::other(format!("`{name}` has {length} bytes")))?;
    }

    let input = palisade::read(
        &files,
        StagedPolicies::Proposed,
        &mut Diagnostics::default(),
    );
    Ok((files, input))
}
