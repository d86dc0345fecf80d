//! A node's scripts into the kernel of a private network namespace, by the stock tools.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{succeed, tools};

/// Script, and the tool and arguments that load it.
type Step = (&'static str, &'static str, &'static [&'static str]);

const SETS: Step = ("sets.ipset", "ipset", &["restore"]);

const BUILDS: [[Step; 2]; 2] = [
    [
        ("filter.v4.rules", "iptables-nft-restore", &["--noflush"]),
        ("filter.v6.rules", "ip6tables-nft-restore", &["--noflush"]),
    ],
    [
        ("filter.v4.rules", "iptables-legacy-restore", &["--noflush"]),
        (
            "filter.v6.rules",
            "ip6tables-legacy-restore",
            &["--noflush"],
        ),
    ],
];

/// `/run` of our own has the lock of iptables, which would be the host's else.
const PREPARE: &str = r#"mount -t tmpfs tmpfs /run && exec "$@""#;

/// Lets a child load the scripts of a bundle's first node.
pub(super) fn in_namespace(this: &Path, bundle: &Path) -> io::Result<()> {
    let mut nodes: Vec<PathBuf> = fs::read_dir(bundle.join("nodes"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    nodes.sort_unstable();
    let Some(first) = nodes.first() else {
        return Ok(());
    };
    if !is_root() {
        return writeln!(io::stdout(), "\nNot loaded: that takes root.");
    }

    let mut child = tools::command("unshare");
    child
        .args(["--net", "--mount", "sh", "-c", PREPARE, "sh"])
        .arg(this)
        .arg("--restore")
        .arg(first);

    succeed(&mut child)
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| {
        line.strip_prefix("Uid:")
            .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
    })
}

/// Loads the scripts of a directory here: the sets, then the rules by both builds of iptables.
pub(super) fn restore(scripts: &Path) -> io::Result<()> {
    writeln!(
        io::stdout(),
        "\n| load one node | s | and again, s |\n|---|---:|---:|"
    )?;

    for step in std::iter::once(SETS).chain(BUILDS.into_iter().flatten()) {
        let again = (step.1 != SETS.1).then_some(step);
        let first = seconds(scripts, step)?;
        let second = again.map_or(Ok(String::new()), |step| {
            seconds(scripts, step).map(|time| format!("{time:.2}"))
        })?;
        writeln!(
            io::stdout(),
            "| {} {} | {first:.2} | {second} |",
            step.1,
            step.0
        )?;
    }

    Ok(())
}

fn seconds(scripts: &Path, (script, tool, arguments): Step) -> io::Result<f64> {
    let input = File::open(scripts.join(script))?;
    let started = Instant::now();
    succeed(tools::command(tool).args(arguments).stdin(input))?;
    Ok(started.elapsed().as_secs_f64())
}
