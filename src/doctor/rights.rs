//! Checks of this process's privileges.

use crate::doctor::{CheckContext, NodeFinding};
use crate::observe::IptablesBackend;
use crate::runner::Retention;

/// Capabilities: bit (linux/capability.h), name, and purpose.
const CAPABILITIES: [(u32, &str, &str); 2] = [
    (12, "CAP_NET_ADMIN", "sets and rules are changed with it"),
    (13, "CAP_NET_RAW", "iptables-legacy opens a raw socket"),
];

/// The lock file of iptables-legacy.
const LOCK: &str = "/run/xtables.lock";

/// Types of a container's root file system.
const CONTAINER_ROOTS: [&str; 3] = ["overlay", "fuse-overlayfs", "aufs"];

/// Checks the effective capabilities, which the tools need.
pub(super) fn capabilities(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    const WHAT: &str = "capabilities";
    let status = node.file("self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let Some(effective) = effective else {
        return vec![NodeFinding::warning(
            WHAT,
            "/proc/self/status does not tell",
            "mount /proc",
        )];
    };

    let lacks = |(bit, ..): &&(u32, &str, &str)| effective >> bit & 1 == 0;
    let lacking: Vec<NodeFinding> = CAPABILITIES
        .iter()
        .filter(lacks)
        .map(|(_, name, why)| {
            NodeFinding::missing(
                *name,
                "not given",
                format!("run as root with {name}: {why}"),
            )
        })
        .collect();
    match lacking.is_empty() {
        true => vec![NodeFinding::good(
            WHAT,
            CAPABILITIES.map(|(_, name, _)| name).join(", "),
        )],
        false => lacking,
    }
}

/// Checks whether the xtables lock file is the host's (projectcalico/calicoctl#1655).
pub(super) fn lock(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    let mounts = node.file("self/mountinfo").unwrap_or_default();
    let mounted: Vec<(&str, &str)> = mounts.lines().filter_map(mount).collect();
    let is_container = mounted
        .iter()
        .any(|(place, kind)| *place == "/" && CONTAINER_ROOTS.contains(kind));
    // The lock is the host's if its file, or all of /run, is mounted into the container.
    let is_shared = mounted.iter().any(|(place, kind)| {
        *place == LOCK || (*place == "/run" && !CONTAINER_ROOTS.contains(kind))
    });

    let finding = match (is_container, is_shared, node.backend) {
        (false, _, _) => NodeFinding::good(LOCK, "the host's"),
        (true, true, _) => NodeFinding::good(LOCK, "mounted into this container"),
        (true, false, IptablesBackend::Nft) => {
            let advice = "iptables-nft takes no lock; mount the host's file if a node may switch \
                          to iptables-legacy";
            NodeFinding::warning(LOCK, "this container's own", advice)
        }
        (true, false, IptablesBackend::Legacy) => {
            let advice = "mount the host's file (hostPath, type FileOrCreate), else writes of \
                          others and ours undo each other";
            NodeFinding::missing(LOCK, "this container's own", advice)
        }
    };
    vec![finding]
}

/// Parses mount point and type from `36 35 98:0 / /run rw shared:1 - tmpfs tmpfs rw`.
fn mount(line: &str) -> Option<(&str, &str)> {
    let (own, source) = line.split_once(" - ")?;
    Some((own.split(' ').nth(4)?, source.split(' ').next()?))
}

/// Checks Palisade's directories.
pub(super) fn directories(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    let places = [
        (
            Retention::UntilBoot,
            "run directory",
            "`--run-dir` or PALISADE_RUN_DIR names another one",
        ),
        (
            Retention::Always,
            "state directory",
            "`--state-dir` or PALISADE_STATE_DIR names another one",
        ),
    ];
    let mut findings = Vec::new();

    for (keep, what, advice) in places {
        findings.push(match node.runner.try_to_keep(keep) {
            Ok(()) => NodeFinding::good(what, "can be written"),
            Err(failure) => NodeFinding::missing(what, failure.to_string(), advice),
        });
    }

    findings
}
