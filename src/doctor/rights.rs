//! What this process may do here.

use crate::doctor::{Finding, Node};
use crate::observe::Backend;
use crate::runner::Keep;

/// Capabilities: their bit (linux/capability.h), name, and what for.
const CAPABILITIES: [(u32, &str, &str); 2] = [
    (12, "CAP_NET_ADMIN", "sets and rules are changed with it"),
    (13, "CAP_NET_RAW", "iptables-legacy opens a raw socket"),
];

/// The lock of iptables-legacy.
const LOCK: &str = "/run/xtables.lock";

/// File systems that a container has as its root.
const CONTAINER_ROOTS: [&str; 3] = ["overlay", "fuse-overlayfs", "aufs"];

/// What the programs that are run may do.
pub(super) fn capabilities(node: &mut Node<'_>) -> Vec<Finding> {
    const WHAT: &str = "capabilities";
    let status = node.file("self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let Some(effective) = effective else {
        return vec![Finding::warning(
            WHAT,
            "/proc/self/status does not tell",
            "mount /proc",
        )];
    };
    let lacks = |(bit, ..): &&(u32, &str, &str)| effective >> bit & 1 == 0;
    let lacking: Vec<Finding> = CAPABILITIES
        .iter()
        .filter(lacks)
        .map(|(_, name, why)| {
            Finding::missing(
                *name,
                "not given",
                format!("run as root with {name}: {why}"),
            )
        })
        .collect();
    match lacking.is_empty() {
        true => vec![Finding::good(
            WHAT,
            CAPABILITIES.map(|(_, name, _)| name).join(", "),
        )],
        false => lacking,
    }
}

/// Whether the lock is the one that the host's programs take (projectcalico/calicoctl#1655).
pub(super) fn lock(node: &mut Node<'_>) -> Vec<Finding> {
    let mounts = node.file("self/mountinfo").unwrap_or_default();
    let mounted: Vec<(&str, &str)> = mounts.lines().filter_map(mount).collect();
    let is_container = mounted
        .iter()
        .any(|(place, kind)| *place == "/" && CONTAINER_ROOTS.contains(kind));
    let is_shared = mounted.iter().any(|(place, kind)| {
        *place == LOCK || (*place == "/run" && !CONTAINER_ROOTS.contains(kind))
    });
    let finding = match (is_container, is_shared, node.backend) {
        (false, _, _) => Finding::good(LOCK, "the host's"),
        (true, true, _) => Finding::good(LOCK, "mounted into this container"),
        (true, false, Backend::Nft) => {
            let advice = "iptables-nft takes no lock; mount the host's file if a node may switch \
                          to iptables-legacy";
            Finding::warning(LOCK, "this container's own", advice)
        }
        (true, false, Backend::Legacy) => {
            let advice = "mount the host's file (hostPath, type FileOrCreate), else writes of \
                          others and ours undo each other";
            Finding::missing(LOCK, "this container's own", advice)
        }
    };
    vec![finding]
}

/// Where a mount is and of which type: `36 35 98:0 / /run rw shared:1 - tmpfs tmpfs rw`.
fn mount(line: &str) -> Option<(&str, &str)> {
    let (own, source) = line.split_once(" - ")?;
    Some((own.split(' ').nth(4)?, source.split(' ').next()?))
}

/// Our own directories.
pub(super) fn directories(node: &mut Node<'_>) -> Vec<Finding> {
    let places = [
        (
            Keep::UntilBoot,
            "run directory",
            "`--run-dir` or PALISADE_RUN_DIR names another one",
        ),
        (
            Keep::Always,
            "state directory",
            "`--state-dir` or PALISADE_STATE_DIR names another one",
        ),
    ];
    let mut findings = Vec::new();
    for (keep, what, advice) in places {
        findings.push(match node.runner.try_to_keep(keep) {
            Ok(()) => Finding::good(what, "can be written"),
            Err(failure) => Finding::missing(what, failure.to_string(), advice),
        });
    }
    findings
}
