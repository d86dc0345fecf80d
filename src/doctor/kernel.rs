//! Tests the kernel's features in a network namespace that disappears with the process.

use crate::doctor::{CheckContext, FindingGrade, NodeFinding};
use crate::net::Family;
use crate::runner::ToolCall;

/// Set types: description, and the line that creates one.
const SET_TYPES: [(&str, &str); 5] = [
    (
        "set type hash:net, IPv4",
        "create pal-doctor1 hash:net family inet\n",
    ),
    (
        "set type hash:net, IPv6",
        "create pal-doctor2 hash:net family inet6\n",
    ),
    (
        "set type hash:ip,port, IPv4",
        "create pal-doctor3 hash:ip,port family inet\n",
    ),
    (
        "set type hash:ip,port, IPv6",
        "create pal-doctor4 hash:ip,port family inet6\n",
    ),
    (
        "set type bitmap:port",
        "create pal-doctor5 bitmap:port range 0-65535\n",
    ),
];

/// Features that Palisade's rules use: kernel module, table, a rule, and the grade if it is
/// missing.
const EXTENSIONS: [(&str, &str, &str, FindingGrade); 9] = [
    (
        "xt_set",
        "filter",
        "-m set --match-set pal-doctor src -j DROP",
        FindingGrade::Missing,
    ),
    (
        "xt_conntrack",
        "filter",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        FindingGrade::Missing,
    ),
    (
        "xt_comment",
        "filter",
        "-m comment --comment doctor -j RETURN",
        FindingGrade::Missing,
    ),
    (
        "xt_multiport",
        "filter",
        "-p tcp -m multiport --dports 1,2:3 -j DROP",
        FindingGrade::Missing,
    ),
    (
        "xt_limit",
        "filter",
        "-m limit --limit 10/second --limit-burst 20 -j RETURN",
        FindingGrade::Missing,
    ),
    (
        "xt_LOG",
        "filter",
        "-j LOG --log-prefix doctor --log-level 5",
        FindingGrade::Missing,
    ),
    (
        "ipt_rpfilter",
        "raw",
        "-m rpfilter --loose --validmark --invert -j DROP",
        FindingGrade::Missing,
    ),
    ("xt_CT", "raw", "-j CT --notrack", FindingGrade::Warning),
    (
        "iptable_security",
        "security",
        "-m comment --comment guard -j RETURN",
        FindingGrade::Warning,
    ),
];

/// Creates a set that the rules can reference, then commits the rules from standard input.
pub(super) const TRY_RULES: &str =
    r#"ipset create pal-doctor hash:net family "$1" && exec "$2" -w 5"#;

/// Tests the set types.
pub(super) fn sets(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    if let Err(said) = in_namespace(node) {
        let advice = "run `palisade doctor` once as root with CAP_SYS_ADMIN, on the host, to have \
                      set types and modules tried";
        return vec![NodeFinding::warning(
            "kernel",
            format!("not tried: no network namespace can be made: {said}"),
            advice,
        )];
    }

    let mut attempt = |lines: &str| {
        node.ask(
            &ToolCall::new("unshare", &["--net", "ipset", "restore"]).with_input(lines.to_owned()),
        )
        .err()
    };

    // All types in one process first; one by one only to find the missing ones.
    let all: String = SET_TYPES.iter().map(|(_, line)| *line).collect();
    if attempt(&all).is_none() {
        return vec![NodeFinding::good(
            "set types",
            "hash:net, hash:ip,port, bitmap:port",
        )];
    }

    let failed = SET_TYPES
        .iter()
        .filter_map(|(what, line)| Some((what, attempt(line)?)));
    let advice = "load the modules `ip_set_hash_net`, `ip_set_hash_ipport` and \
                  `ip_set_bitmap_port`, or use a kernel that has them";

    failed
        .map(|(what, said)| NodeFinding::missing(*what, said, advice))
        .collect()
}

/// Tests matches and targets with the iptables build that Palisade uses.
pub(super) fn rules(node: &mut CheckContext<'_>) -> Vec<NodeFinding> {
    match in_namespace(node) {
        Ok(()) => Family::BOTH
            .into_iter()
            .flat_map(|family| rules_of(node, family))
            .collect(),
        Err(_) => Vec::new(),
    }
}

fn rules_of(node: &mut CheckContext<'_>, family: Family) -> Vec<NodeFinding> {
    let everything: Vec<_> = EXTENSIONS.iter().collect();
    // All features in one process first; one by one only to find the missing ones.
    if attempt(node, family, &everything).is_none() {
        let modules = EXTENSIONS
            .map(|(module, ..)| module_of(module, family))
            .join(", ");
        return vec![NodeFinding::good(format!("rules, {family}"), modules)];
    }

    let mut findings = Vec::new();
    for row in &EXTENSIONS {
        let (module, .., grade) = *row;
        let module = module_of(module, family);
        let Some(said) = attempt(node, family, &[row]) else {
            continue;
        };
        let advice = match grade {
            FindingGrade::Good | FindingGrade::Missing if row.0 == "ipt_rpfilter" => {
                format!("`modprobe {module}`, or render with `--source-validation off`")
            }
            FindingGrade::Good | FindingGrade::Missing => {
                format!("`modprobe {module}`, or use a kernel that has it")
            }
            FindingGrade::Warning => format!(
                "`modprobe {module}`, if untracked or pre-DNAT policy of host endpoints is used"
            ),
        };
        findings.push(NodeFinding {
            what: format!("{module}, {family}"),
            grade,
            found: said,
            advice,
        });
    }

    // Each feature loads alone, so a module is probably loaded too late.
    if findings.is_empty() {
        let advice =
            "each of them loads alone; see whether a module comes too late: load them at boot";
        findings.push(NodeFinding::warning(
            format!("rules, {family}"),
            "all together did not load",
            advice,
        ));
    }

    findings
}

/// Returns the module's name for a family. Each family has its own table modules.
fn module_of(module: &str, family: Family) -> String {
    match family {
        Family::V4 => module.to_owned(),
        Family::V6 => module
            .replace("iptable_", "ip6table_")
            .replace("ipt_", "ip6t_"),
    }
}

/// Tests whether a network namespace can be created, or returns why not.
fn in_namespace(node: &mut CheckContext<'_>) -> Result<(), String> {
    node.ask(&ToolCall::new("unshare", &["--net", "true"]))
        .map(|_| ())
}

/// Commits rules. Returns the tool's error message, or `None` if they load.
fn attempt(
    node: &mut CheckContext<'_>,
    family: Family,
    rows: &[&(&str, &str, &str, FindingGrade)],
) -> Option<String> {
    let (tool, word) = match family {
        Family::V4 => ("iptables", "inet"),
        Family::V6 => ("ip6tables", "inet6"),
    };
    let program = format!("{tool}-{}-restore", node.backend.label());
    let mut input = String::new();

    for table in ["filter", "raw", "security"] {
        let rules: Vec<String> = rows
            .iter()
            .filter(|row| row.1 == table)
            .map(|row| format!("-A pal-doctor {}\n", row.2))
            .collect();
        if !rules.is_empty() {
            input.push_str(&format!(
                "*{table}\n:pal-doctor - [0:0]\n{}COMMIT\n",
                rules.concat()
            ));
        }
    }

    let call = ToolCall::new(
        "unshare",
        &["--net", "sh", "-c", TRY_RULES, "sh", word, &program],
    )
    .with_input(input);
    node.ask(&call).err()
}
