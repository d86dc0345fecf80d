//! Finds out which programs have rules in which iptables build.

use std::collections::BTreeSet;

use crate::doctor::{CheckContext, NodeFinding};
use crate::observe::{IptablesBackend, nft_chains};
use crate::ruleset::{PREFIX, TableKind, is_ours, lines};
use crate::runner::ToolCall;

/// Owners of chains, by name prefix.
const OWNERS: [(&str, &str); 14] = [
    (PREFIX, "palisade"),
    // The first match counts, so longer prefixes precede `KUBE-`.
    ("KUBE-ROUTER", "kube-router"),
    ("KUBE-NWPLCY", "kube-router"),
    ("KUBE-", "Kubernetes"),
    ("DOCKER", "Docker"),
    ("cali-", "Calico"),
    ("CILIUM_", "Cilium"),
    ("WEAVE", "Weave"),
    ("FLANNEL", "Flannel"),
    ("CNI-", "CNI plugins"),
    ("LIBVIRT_", "libvirt"),
    ("ufw", "ufw"),
    ("f2b-", "fail2ban"),
    ("IN_", "firewalld"),
];

/// Programs that enforce network policy themselves.
const ENFORCERS: [&str; 4] = ["Calico", "Cilium", "kube-router", "Weave"];

/// Rules in one iptables build.
struct BackendRules {
    build: IptablesBackend,
    /// Number of rules. `None` if they cannot be listed.
    rules: Option<usize>,
    owners: BTreeSet<&'static str>,
}

/// Lists the rules of each build, and reports conflicts between builds.
pub(super) fn by_build(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    let mut findings = Vec::new();
    let mut standing = Vec::new();
    for build in [IptablesBackend::Legacy, IptablesBackend::Nft] {
        match inspect(node, build) {
            Ok(found) => standing.push(found),
            Err(said) if build == node.backend => {
                findings.push(NodeFinding::missing(
                    what(build),
                    said,
                    "without a look at the rules nothing can be compared",
                ));
            }
            Err(said) => match names_only(node, build) {
                Some(found) => standing.push(found),
                None => {
                    let advice = format!(
                        "install iptables-{}-save to see what stands there: rules of both builds \
                         are in force",
                        build.label()
                    );
                    findings.push(NodeFinding::warning(what(build), said, advice));
                }
            },
        }
    }

    // Packets traverse the rules of both builds.
    let is_mixed = standing
        .iter()
        .filter(|found| found.rules.is_none_or(|rules| rules > 0))
        .count()
        > 1;

    for found in &standing {
        findings.push(judge(node.backend, is_mixed, found));
    }

    findings
}

fn judge(chosen: IptablesBackend, is_mixed: bool, found: &BackendRules) -> NodeFinding {
    let BackendRules {
        build,
        rules,
        owners,
    } = found;
    let whose = owners.iter().copied().collect::<Vec<_>>().join(", ");
    let count = rules.map_or_else(
        || "not counted, since only `nft` is there to ask".to_owned(),
        |rules| rules.to_string(),
    );

    let words = if owners.is_empty() {
        count
    } else {
        format!("{count}, with chains of {whose}")
    };
    if *build != chosen && owners.contains("palisade") {
        let advice = format!(
            "both would be in force: run `palisade uninstall --backend {}` first",
            build.label()
        );
        return NodeFinding::missing(what(*build), words, advice);
    }
    if ENFORCERS.iter().any(|name| owners.contains(name)) {
        let advice = "two engines would enforce policy, and what either denies is denied: remove \
                      the other one's policy or chains";
        return NodeFinding::warning(what(*build), words, advice);
    }
    if is_mixed && *build != chosen {
        let advice = "a packet meets the rules of both builds, and palisade's stand in the other \
                      one: move these to it if they are policy";
        return NodeFinding::warning(what(*build), words, advice);
    }

    NodeFinding::good(what(*build), words)
}

fn what(build: IptablesBackend) -> String {
    format!("rules in iptables-{}", build.label())
}

/// Returns the owners of nf_tables chains by name, for nodes without iptables-nft. Returns `None`
/// if `nft` cannot list them.
fn names_only(node: &mut CheckContext<'_>, build: IptablesBackend) -> Option<BackendRules> {
    let chains = match build {
        IptablesBackend::Nft => nft_chains(node.runner)?,
        IptablesBackend::Legacy => return None,
    };
    // Without iptables-nft, the rules in these chains cannot be counted.
    let rules = if chains.is_empty() { Some(0) } else { None };
    Some(BackendRules {
        build,
        rules,
        owners: chains.iter().filter_map(|chain| owner(chain)).collect(),
    })
}

/// Counts the rules of a build in both families. Does not call the legacy programs if the kernel
/// has no legacy tables.
fn inspect(node: &mut CheckContext<'_>, build: IptablesBackend) -> Result<BackendRules, String> {
    let (mut rules, mut owners) = (0, BTreeSet::new());
    for (tool, tables) in [
        ("iptables", "net/ip_tables_names"),
        ("ip6tables", "net/ip6_tables_names"),
    ] {
        if build == IptablesBackend::Legacy
            && node
                .file(tables)
                .is_none_or(|names| names.trim().is_empty())
        {
            continue;
        }
        let text = node.ask(&ToolCall::new(
            &format!("{tool}-{}-save", build.label()),
            &[],
        ))?;
        rules += lines(&text)
            .filter(|(_, line)| line.starts_with("-A "))
            .count();
        owners.extend(lines(&text).filter_map(|(_, line)| owner(line.strip_prefix(':')?)));
    }

    Ok(BackendRules {
        build,
        rules: Some(rules),
        owners,
    })
}

/// Checks for dormant tables. The kernel ignores the rules of a dormant table. iptables-nft does
/// not show this state; only `nft` does.
pub(super) fn dormant(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    const WHAT: &str = "dormant tables";
    if node.backend != IptablesBackend::Nft
        || node.ask(&ToolCall::new("nft", &["--version"])).is_err()
    {
        return Vec::new();
    }

    let tables = ["ip", "ip6"]
        .into_iter()
        .flat_map(|family| TableKind::ALL.map(|kind| (family, kind.label())));
    let is_dormant = |(family, table): &(&str, &str)| {
        let text = node
            .ask(&ToolCall::new(
                "nft",
                &["--terse", "list", "table", family, table],
            ))
            .unwrap_or_default();
        // The line `flags dormant` is in the head of a table, before its first chain.
        let mut head = text.lines().skip(1).take_while(|line| !line.contains('{'));
        head.any(|line| line.trim_start().starts_with("flags ") && line.contains("dormant"))
    };

    let names: Vec<String> = tables
        .filter(is_dormant)
        .map(|(family, table)| format!("{family} {table}"))
        .collect();
    match names.as_slice() {
        [] => vec![NodeFinding::good(WHAT, "none")],
        [first, ..] => {
            let advice = format!(
                "no rule in it is in force: wake it with `nft add table {first}`, and find out \
                 who put it to sleep"
            );
            vec![NodeFinding::missing(WHAT, names.join(", "), advice)]
        }
    }
}

fn owner(chain: &str) -> Option<&'static str> {
    match is_ours(chain) {
        true => Some("palisade"),
        false => OWNERS
            .iter()
            .find(|(begin, _)| chain.starts_with(begin))
            .map(|(_, name)| *name),
    }
}
