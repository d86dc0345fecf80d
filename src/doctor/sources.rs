//! Checks what hides the sender of a packet from source validation, and which mode fits this node.

use std::collections::BTreeSet;

use crate::doctor::{CheckContext, NodeFinding};
use crate::observe::IptablesBackend;
use crate::plan::base;
use crate::runner::ToolCall;

/// The sets with this node's endpoints.
const ENDPOINTS: [&str; 2] = ["pal-local4", "pal-local6"];

/// Maximum number of endpoints per set whose interface is looked up.
const MOST_ENDPOINTS: usize = 256;

/// Advice if packets from other nodes may arrive on another interface than replies leave by.
const LOOSE: &str = "if replies may leave by another interface than requests come by, render with \
                     `--source-validation loose` and name the pods' interfaces with \
                     `--pod-interface`";

/// The source validation mode that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValidationMode {
    Strict,
    Loose { has_interfaces: bool },
    Log,
    Off,
}

/// Returns all findings about packet sources.
pub(super) fn sources(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    let mode = mode(node);
    let mut findings = Vec::new();
    findings.extend(mode.map(ValidationMode::finding));
    if !matches!(
        mode,
        Some(ValidationMode::Loose { .. } | ValidationMode::Off)
    ) {
        findings.push(uplinks(node));
    }

    findings.push(behind_bridges(node));
    findings
}

/// Returns the source validation mode in force, or `None` if there is no Palisade policy.
fn mode(node: &mut CheckContext<'_>) -> Option<ValidationMode> {
    let build = node.backend.label();
    let is_there = node.backend == IptablesBackend::Nft
        || node
            .file("net/ip_tables_names")
            .is_some_and(|names| names.contains("filter"));
    if !is_there {
        return None;
    }
    let table = |node: &mut CheckContext<'_>, table: &str| {
        let call = ToolCall::new(&format!("iptables-{build}-save"), &["-t", table]);
        node.ask(&call).unwrap_or_default()
    };
    if !table(node, "filter").contains(":pal-FORWARD ") {
        return None;
    }

    let raw = table(node, "raw");
    let of = |chain: &'static str| raw.lines().filter(move |line| line.starts_with(chain));
    let checks = || of("-A pal-validate-source ");
    Some(if checks().next().is_none() {
        ValidationMode::Off
    } else if !of("-A pal-spoofed ").any(|line| line.ends_with("-j DROP")) {
        ValidationMode::Log
    } else if checks().any(|line| line.contains(" --loose ")) {
        ValidationMode::Loose {
            has_interfaces: checks().any(|line| line.contains(" -i ")),
        }
    } else {
        ValidationMode::Strict
    })
}

impl ValidationMode {
    fn finding(self) -> NodeFinding {
        const WHAT: &str = "source validation";

        match self {
            ValidationMode::Strict => NodeFinding::good(WHAT, "strict"),
            ValidationMode::Loose {
                has_interfaces: true,
            } => NodeFinding::good(WHAT, "loose, and strict on the pods' interfaces"),
            ValidationMode::Loose {
                has_interfaces: false,
            } => {
                let found = "loose: a pod here can send with the address of a pod of another node";
                NodeFinding::warning(
                    WHAT,
                    found,
                    "name the pods' interfaces with `--pod-interface`, as `cali+`",
                )
            }
            ValidationMode::Log => {
                let found = "log: packets with an address of another pod are counted, and pass";
                NodeFinding::warning(
                    WHAT,
                    found,
                    "when `palisade status` counts no packets that should pass, render without it",
                )
            }
            ValidationMode::Off => {
                let found = "off: whoever sends with a pod's address is that pod to every rule";
                NodeFinding::warning(WHAT, found, "render without `--source-validation off`")
            }
        }
    }
}

/// Checks whether packets from other nodes may arrive on another interface than replies leave by.
fn uplinks(node: &mut CheckContext<'_>) -> NodeFinding {
    const WHAT: &str = "uplinks";
    let mut uplinks = BTreeSet::new();
    for family in ["-4", "-6"] {
        let routes = node.ask(&ToolCall::new(
            "ip",
            &["-o", family, "route", "show", "table", "all"],
        ));
        let routes = match routes {
            Ok(routes) => routes,
            Err(said) => {
                return NodeFinding::warning(
                    WHAT,
                    said,
                    "install iproute2 to have routes looked at",
                );
            }
        };
        let defaults = routes.lines().filter(|line| line.starts_with("default "));
        uplinks.extend(defaults.flat_map(devices).map(str::to_owned));
    }
    // Replies may leave by another default route than the one that requests arrived on.
    if uplinks.len() > 1 {
        let names = uplinks.into_iter().collect::<Vec<_>>().join(", ");
        return NodeFinding::warning(WHAT, format!("default routes by {names}"), LOOSE);
    }

    let filter = node
        .file("sys/net/ipv4/conf/all/rp_filter")
        .unwrap_or_default();
    // Loose rp_filter suggests that replies may take another route than requests.
    if filter.trim() == "2" {
        return NodeFinding::warning(
            WHAT,
            "rp_filter is 2: the kernel lets asymmetric routes pass",
            LOOSE,
        );
    }
    NodeFinding::good(
        WHAT,
        uplinks
            .into_iter()
            .next()
            .unwrap_or_else(|| "no default route".to_owned()),
    )
}

/// Checks whether several endpoints of this node share a bridge, which is a single interface to
/// rules.
fn behind_bridges(node: &mut CheckContext<'_>) -> NodeFinding {
    const WHAT: &str = "pods' interfaces";
    let bridges = node.ask(&ToolCall::new(
        "ip",
        &["-o", "link", "show", "type", "bridge"],
    ));
    let bridges: BTreeSet<String> = match &bridges {
        Ok(links) => links
            .lines()
            .filter_map(link_name)
            .map(str::to_owned)
            .collect(),
        Err(said) => {
            return NodeFinding::warning(
                WHAT,
                said.clone(),
                "install iproute2 to have bridges looked at",
            );
        }
    };
    let Some(interfaces) = interfaces_of_endpoints(node) else {
        return NodeFinding::good(WHAT, "not known: no pod of this node is");
    };

    let shared: Vec<&str> = interfaces
        .intersection(&bridges)
        .map(String::as_str)
        .collect();
    match shared.as_slice() {
        [] => NodeFinding::good(WHAT, "no bridge"),
        names => {
            let found = format!(
                "{}: pods on one bridge can send with each other's addresses",
                names.join(", ")
            );
            let advice = "give each pod an interface of its own (a routed CNI, as Calico or the \
                          `ptp` plugin), or let each port of the bridge send with its pod's \
                          address only (`nft` family `bridge`, or `ebtables`)";
            NodeFinding::warning(WHAT, found, advice)
        }
    }
}

/// Returns the interfaces that lead to this node's endpoints, or `None` if no endpoint is known.
fn interfaces_of_endpoints(node: &mut CheckContext<'_>) -> Option<BTreeSet<String>> {
    let names = node.ask(&ToolCall::new("ipset", &["list", "-n"])).ok()?;
    let mut questions = String::new();
    for name in names
        .lines()
        .filter(|name| ENDPOINTS.contains(&base(name).as_str()))
    {
        let set = node
            .ask(&ToolCall::new("ipset", &["list", name]))
            .unwrap_or_default();
        let members = set.lines().skip_while(|line| *line != "Members:").skip(1);
        members
            .take(MOST_ENDPOINTS)
            .for_each(|member| questions.push_str(&format!("route get {member}\n")));
    }
    if questions.is_empty() {
        return None;
    }

    // One process answers for all addresses.
    let call = ToolCall::new("ip", &["-o", "-force", "-batch", "-"]).with_input(questions);
    let answer = node.runner.run(&call).ok()?; // its status tells of addresses without a route, too
    Some(
        answer
            .output
            .lines()
            .flat_map(devices)
            .map(str::to_owned)
            .collect(),
    )
}

/// Returns the interfaces of a route. A multipath route has several.
fn devices(route: &str) -> impl Iterator<Item = &str> {
    let words: Vec<&str> = route.split_whitespace().collect();
    let named = |pair: &[&str]| pair.first() == Some(&"dev");
    let devices: Vec<usize> = (1..words.len())
        .filter(|at| words.get(at - 1..*at).is_some_and(named))
        .collect();
    devices
        .into_iter()
        .filter_map(move |at| words.get(at).copied())
}

/// Returns `cni0` for `5: cni0: <BROADCAST…` and for `5: cni0@eth0: …`.
fn link_name(line: &str) -> Option<&str> {
    let name = line.split_whitespace().nth(1)?;
    name.split([':', '@']).next()
}
