//! What the kernel can do, tried in a network namespace that goes away with the process.

use crate::doctor::{Finding, Grade, Node};
use crate::net::Family;
use crate::runner::Call;

/// Types of sets: what they are, and how one is made.
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

/// What rules of ours use: the kernel's module, the table, a rule, and what its lack means.
const EXTENSIONS: [(&str, &str, &str, Grade); 9] = [
    (
        "xt_set",
        "filter",
        "-m set --match-set pal-doctor src -j DROP",
        Grade::Missing,
    ),
    (
        "xt_conntrack",
        "filter",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        Grade::Missing,
    ),
    (
        "xt_comment",
        "filter",
        "-m comment --comment doctor -j RETURN",
        Grade::Missing,
    ),
    (
        "xt_multiport",
        "filter",
        "-p tcp -m multiport --dports 1,2:3 -j DROP",
        Grade::Missing,
    ),
    (
        "xt_limit",
        "filter",
        "-m limit --limit 10/second --limit-burst 20 -j RETURN",
        Grade::Missing,
    ),
    (
        "xt_LOG",
        "filter",
        "-j LOG --log-prefix doctor --log-level 5",
        Grade::Missing,
    ),
    (
        "ipt_rpfilter",
        "raw",
        "-m rpfilter --loose --validmark --invert -j DROP",
        Grade::Missing,
    ),
    ("xt_CT", "raw", "-j CT --notrack", Grade::Warning),
    (
        "iptable_security",
        "security",
        "-m comment --comment guard -j RETURN",
        Grade::Warning,
    ),
];

/// Makes a set for the rules to look into, then commits what it reads.
pub(super) const TRY_RULES: &str =
    r#"ipset create pal-doctor hash:net family "$1" && exec "$2" -w 5"#;

/// Set types.
pub(super) fn sets(node: &mut Node<'_>) -> Vec<Finding> {
    if let Err(said) = apart(node) {
        let advice = "run `palisade doctor` once as root with CAP_SYS_ADMIN, on the host, to have \
                      set types and modules tried";
        return vec![Finding::warning(
            "kernel",
            format!("not tried: no network namespace can be made: {said}"),
            advice,
        )];
    }
    let mut attempt = |lines: &str| {
        node.ask(&Call::of("unshare", &["--net", "ipset", "restore"]).with_input(lines.to_owned()))
            .err()
    };
    let all: String = SET_TYPES.iter().map(|(_, line)| *line).collect();
    if attempt(&all).is_none() {
        return vec![Finding::good(
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
        .map(|(what, said)| Finding::missing(*what, said, advice))
        .collect()
}

/// Matches and targets, in the build that palisade takes.
pub(super) fn rules(node: &mut Node<'_>) -> Vec<Finding> {
    match apart(node) {
        Ok(()) => Family::BOTH
            .into_iter()
            .flat_map(|family| rules_of(node, family))
            .collect(),
        Err(_) => Vec::new(),
    }
}

fn rules_of(node: &mut Node<'_>, family: Family) -> Vec<Finding> {
    let everything: Vec<_> = EXTENSIONS.iter().collect();
    if attempt(node, family, &everything).is_none() {
        let modules = EXTENSIONS
            .map(|(module, ..)| module_of(module, family))
            .join(", ");
        return vec![Finding::good(format!("rules, {family}"), modules)];
    }
    let mut findings = Vec::new();
    for row in &EXTENSIONS {
        let (module, .., grade) = *row;
        let module = module_of(module, family);
        let Some(said) = attempt(node, family, &[row]) else {
            continue;
        };
        let advice = match grade {
            Grade::Good | Grade::Missing if row.0 == "ipt_rpfilter" => {
                format!("`modprobe {module}`, or render with `--source-validation off`")
            }
            Grade::Good | Grade::Missing => {
                format!("`modprobe {module}`, or use a kernel that has it")
            }
            Grade::Warning => format!(
                "`modprobe {module}`, if untracked or pre-DNAT policy of host endpoints is used"
            ),
        };
        findings.push(Finding {
            what: format!("{module}, {family}"),
            grade,
            found: said,
            advice,
        });
    }
    if findings.is_empty() {
        let advice =
            "each of them loads alone; see whether a module comes too late: load them at boot";
        findings.push(Finding::warning(
            format!("rules, {family}"),
            "all together did not load",
            advice,
        ));
    }
    findings
}

/// Tables have modules of their own in each family.
fn module_of(module: &str, family: Family) -> String {
    match family {
        Family::V4 => module.to_owned(),
        Family::V6 => module
            .replace("iptable_", "ip6table_")
            .replace("ipt_", "ip6t_"),
    }
}

/// Whether a network namespace can be made; an error is why not.
fn apart(node: &mut Node<'_>) -> Result<(), String> {
    node.ask(&Call::of("unshare", &["--net", "true"]))
        .map(|_| ())
}

/// Commits rules; gives what is said against it.
fn attempt(
    node: &mut Node<'_>,
    family: Family,
    rows: &[&(&str, &str, &str, Grade)],
) -> Option<String> {
    let (tool, word) = match family {
        Family::V4 => ("iptables", "inet"),
        Family::V6 => ("ip6tables", "inet6"),
    };
    let program = format!("{tool}-{}-restore", node.backend.word());
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
    let call = Call::of(
        "unshare",
        &["--net", "sh", "-c", TRY_RULES, "sh", word, &program],
    )
    .with_input(input);
    node.ask(&call).err()
}
