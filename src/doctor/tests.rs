use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Examination, FindingGrade, examine};
use crate::observe::IptablesBackend;
use crate::output::BufferedOutput;
use crate::runner::{
    FileTree, NodeLock, ProcessOutput, Retention, Runner, RunnerFailure, ToolCall,
};

/// A node that lacks nothing: outputs of calls, and files below /proc.
const SAID: [(&str, &str); 19] = [
    ("ipset --version", "ipset v7.17, protocol version: 7\n"),
    ("ipset list -n", "pal-local4~\n"),
    (
        "ipset list pal-local4~",
        "Name: pal-local4~\nType: hash:net\nMembers:\n10.1.0.1\n10.1.0.2\n",
    ),
    (
        "ip -o -force -batch -",
        "10.1.0.1 dev cali1 src 192.0.2.1 uid 0 \\    cache \n10.1.0.2 dev cali2 src 192.0.2.1\n",
    ),
    (
        "ip -o link show type bridge",
        "4: cni0: <BROADCAST,UP> mtu 1500 qdisc noqueue\n",
    ),
    (
        "ip -o -4 route show table all",
        "default via 192.0.2.254 dev eth0 proto dhcp\n10.1.0.1 dev cali1 scope link\n",
    ),
    (
        "ip -o -6 route show table all",
        "default via fe80::1 dev eth0 metric 1024\nunreachable default dev lo metric 4294967295\n",
    ),
    (
        "iptables-nft-save -t filter",
        "*filter\n:pal-FORWARD - [0:0]\nCOMMIT\n",
    ),
    ("iptables-nft-save -t raw", STRICT),
    ("iptables -V", "iptables v1.8.9 (nf_tables)\n"),
    ("ip6tables -V", "ip6tables v1.8.9 (nf_tables)\n"),
    (
        "iptables-nft-save -V",
        "iptables-nft-save v1.8.9 (nf_tables)\n",
    ),
    (
        "iptables-nft-restore -V",
        "iptables-nft-restore v1.8.9 (nf_tables)\n",
    ),
    (
        "ip6tables-nft-save -V",
        "ip6tables-nft-save v1.8.9 (nf_tables)\n",
    ),
    (
        "ip6tables-nft-restore -V",
        "ip6tables-nft-restore v1.8.9 (nf_tables)\n",
    ),
    (
        "iptables-nft-save",
        "*filter\n:pal-FORWARD - [0:0]\n:KUBE-FORWARD - [0:0]\n-A FORWARD -j pal-FORWARD\n-A \
         FORWARD -j KUBE-FORWARD\nCOMMIT\n",
    ),
    (
        "ip6tables-nft-save",
        "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n",
    ),
    ("unshare --net true", ""),
    ("unshare --net ipset restore", ""),
];
/// A raw table with source validation.
const STRICT: &str = "*raw\n-A pal-validate-source -m set --match-set pal-pods4 src -g \
                      pal-spoofed\n-A pal-spoofed -j DROP\nCOMMIT\n";
const LOOSE: &str = "*raw\n-A pal-validate-source -m set --match-set pal-here4 src -g \
                     pal-spoofed\n-A pal-validate-source -m set --match-set pal-pods4 src -m \
                     rpfilter --loose --validmark --invert -g pal-spoofed\n-A pal-spoofed -j \
                     DROP\nCOMMIT\n";
const LOOSE_WITH_INTERFACES: &str = "*raw\n-A pal-validate-source -i cali+ -g pal-spoofed\n-A \
                                     pal-validate-source -m set --match-set pal-here4 src -g \
                                     pal-spoofed\n-A pal-validate-source -m set --match-set \
                                     pal-pods4 src -m rpfilter --loose --validmark --invert -g \
                                     pal-spoofed\n-A pal-spoofed -j DROP\nCOMMIT\n";
const LOG: &str = "*raw\n-A pal-validate-source -m set --match-set pal-pods4 src -g \
                   pal-spoofed\n-A pal-spoofed -j RETURN\nCOMMIT\n";

const FILES: [(&str, &str); 9] = [
    (
        "self/status",
        "Name:\tpalisade\nCapEff:\t0000000000003000\n",
    ),
    (
        "self/mountinfo",
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 0:20 / /run rw - tmpfs tmpfs rw\n",
    ),
    ("sys/net/ipv4/ip_forward", "1\n"),
    ("sys/net/ipv6/conf/all/forwarding", "1\n"),
    ("sys/net/ipv4/conf/all/rp_filter", "1\n"),
    ("sys/net/bridge/bridge-nf-call-iptables", "1\n"),
    ("sys/net/bridge/bridge-nf-call-ip6tables", "1\n"),
    ("sys/net/netfilter/nf_conntrack_count", "10\n"),
    ("sys/net/netfilter/nf_conntrack_max", "1000\n"),
];

/// A node as a table. A call without a matching row fails.
struct Table {
    said: BTreeMap<String, Result<String, String>>,
    files: BTreeMap<String, String>,
    /// Lines of input for which a call fails.
    refused: Vec<&'static str>,
    unwritable: Option<Retention>,
}

impl Table {
    fn healthy() -> Self {
        let mut said: BTreeMap<String, Result<String, String>> = SAID
            .iter()
            .map(|(call, output)| ((*call).to_owned(), Ok((*output).to_owned())))
            .collect();

        for (family, tool) in [("inet", "iptables"), ("inet6", "ip6tables")] {
            said.insert(
                format!(
                    "unshare --net sh -c {} sh {family} {tool}-nft-restore",
                    super::kernel::TRY_RULES
                ),
                Ok(String::new()),
            );
        }

        let files = FILES
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        Self {
            said,
            files,
            refused: Vec::new(),
            unwritable: None,
        }
    }
}

impl Runner for Table {
    fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
        let refused = self.refused.iter().find(|line| call.input.contains(**line));
        let said = self
            .said
            .get(&call.to_string())
            .cloned()
            .ok_or_else(|| RunnerFailure::NotFound(call.program.clone()))?;

        Ok(match (said, refused) {
            (Ok(output), None) => ProcessOutput {
                status: Some(0),
                output,
                errors: String::new(),
            },
            (Ok(_), Some(line)) => ProcessOutput {
                status: Some(1),
                output: String::new(),
                errors: format!("\nno `{line}`\n"),
            },
            (Err(errors), _) => ProcessOutput {
                status: Some(1),
                output: String::new(),
                errors,
            },
        })
    }

    fn start(&mut self, call: &ToolCall) -> Result<(), RunnerFailure> {
        panic!("started {call}")
    }

    fn lock(&mut self, _: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        panic!("locked")
    }

    fn read(&mut self, file: Retention, name: &str) -> Result<Option<Vec<u8>>, RunnerFailure> {
        assert_eq!(file, Retention::Kernel);
        Ok(self.files.get(name).map(|text| text.clone().into_bytes()))
    }

    fn write(&mut self, _: Retention, name: &str, _: Option<&[u8]>) -> Result<(), RunnerFailure> {
        panic!("wrote {name}")
    }

    fn try_to_keep(&mut self, file: Retention) -> Result<(), RunnerFailure> {
        if self.unwritable == Some(file) {
            Err(RunnerFailure::Other("no room".to_owned()))
        } else {
            Ok(())
        }
    }

    fn write_folder(
        &mut self,
        _: Retention,
        name: &str,
        _: Option<&FileTree>,
    ) -> Result<(), RunnerFailure> {
        panic!("wrote {name}")
    }

    fn place(&self, _: Retention, name: &str) -> PathBuf {
        PathBuf::from(name)
    }
}

/// Returns the findings that are not good, as `grade what: found`.
fn text(examination: &Examination) -> String {
    BufferedOutput::capture(|out| examination.text(out))
        .as_str()
        .to_owned()
}

fn complaints(examination: &Examination) -> Vec<String> {
    let complaints = examination
        .findings
        .iter()
        .filter(|finding| finding.grade != FindingGrade::Good);

    complaints
        .map(|finding| {
            format!(
                "{} {}: {}",
                finding.grade.label(),
                finding.what,
                finding.found
            )
        })
        .collect()
}

#[test]
fn a_healthy_node_lacks_nothing() {
    let examination = examine(&mut Table::healthy(), None);
    assert_eq!(complaints(&examination), [""; 0]);
    assert!(examination.is_fit());
    let text = text(&examination);
    assert!(
        text.contains(" 2, with chains of Kubernetes, palisade\n"),
        "{text}"
    );
    assert!(
        text.ends_with("nothing is missing; warnings: 0\n"),
        "{text}"
    );

    assert!(
        examination
            .findings
            .iter()
            .all(|finding| finding.advice.is_empty())
    );
}

/// A change that breaks something on a node.
type Harm = fn(&mut Table);

fn gone(table: &mut Table, call: &str) {
    assert!(table.said.remove(call).is_some(), "{call} is made");
}

fn says(table: &mut Table, call: &str, answer: Result<&str, &str>) {
    table.said.insert(
        call.to_owned(),
        answer.map(str::to_owned).map_err(str::to_owned),
    );
}

fn file(table: &mut Table, path: &str, text: Option<&str>) {
    match text {
        Some(text) => table.files.insert(path.to_owned(), text.to_owned()),
        None => table.files.remove(path),
    };
}

const CONTAINER: &str =
    "27 1 0:50 / / rw - overlay overlay rw\n28 27 0:20 / /run/palisade rw - tmpfs tmpfs rw\n";

/// What is broken, and the expected findings.
const CASES: [(Harm, &[&str]); 32] = [
    (
        |node| gone(node, "ipset --version"),
        &["missing ipset: there is no program `ipset`"],
    ),
    (
        |node| {
            says(
                node,
                "ipset list -n",
                Err("ipset v7.1: Kernel error received: set type not supported\n"),
            )
        },
        &[
            "missing ipset: ipset v7.17, protocol version: 7; it cannot list sets: ipset v7.1: \
             Kernel error received: set type not supported",
        ],
    ),
    (
        |node| says(node, "ip6tables -V", Ok("ip6tables v1.8.9 (legacy)\n")),
        &["warning build of iptables: iptables: nft, ip6tables: legacy; palisade takes nft"],
    ),
    (
        |node| gone(node, "ip6tables-nft-restore -V"),
        &["missing ip6tables-nft-restore: there is no program `ip6tables-nft-restore`"],
    ),
    (
        |node| {
            says(
                node,
                "ip6tables-nft-save -V",
                Ok("ip6tables-nft-save v1.8.4 (nf_tables)\n"),
            )
        },
        &["warning iptables-nft programs: v1.8.9, v1.8.4, v1.8.9"],
    ),
    (
        |node| {
            says(
                node,
                "iptables-nft-save",
                Err(
                    "iptables-nft-save: Could not fetch rule set generation id: Permission \
                     denied\n",
                ),
            )
        },
        &[
            "missing rules in iptables-nft: iptables-nft-save: Could not fetch rule set \
             generation id: Permission denied",
        ],
    ),
    (
        |node| {
            file(node, "net/ip_tables_names", Some("filter\n"));
            says(
                node,
                "iptables-legacy-save",
                Ok("*filter\n:DOCKER - [0:0]\n-A FORWARD -j DOCKER\nCOMMIT\n"),
            );
        },
        &["warning rules in iptables-legacy: 1, with chains of Docker"],
    ),
    (
        |node| {
            file(node, "net/ip_tables_names", Some("filter\n"));
            says(
                node,
                "iptables-legacy-save",
                Ok("*filter\n:pal-FORWARD - [0:0]\nCOMMIT\n"),
            );
        },
        &["missing rules in iptables-legacy: 0, with chains of palisade"],
    ),
    (
        |node| file(node, "net/ip6_tables_names", Some("filter\n")),
        &["warning rules in iptables-legacy: there is no program `ip6tables-legacy-save`"],
    ),
    (
        |node| {
            says(
                node,
                "ip6tables-nft-save",
                Ok("*filter\n:cali-FORWARD - [0:0]\nCOMMIT\n"),
            )
        },
        &["warning rules in iptables-nft: 2, with chains of Calico, Kubernetes, palisade"],
    ),
    (
        |node| {
            says(
                node,
                "unshare --net true",
                Err("unshare: unshare failed: Operation not permitted\n"),
            )
        },
        &[
            "warning kernel: not tried: no network namespace can be made: unshare: unshare \
             failed: Operation not permitted",
        ],
    ),
    (
        |node| node.refused = vec!["hash:ip,port family inet6"],
        &["missing set type hash:ip,port, IPv6: no `hash:ip,port family inet6`"],
    ),
    (
        |node| node.refused = vec!["-m limit"],
        &[
            "missing xt_limit, IPv4: no `-m limit`",
            "missing xt_limit, IPv6: no `-m limit`",
        ],
    ),
    (
        |node| node.refused = vec!["-m rpfilter"],
        &[
            "missing ipt_rpfilter, IPv4: no `-m rpfilter`",
            "missing ip6t_rpfilter, IPv6: no `-m rpfilter`",
        ],
    ),
    (
        |node| {
            says(
                node,
                "ip -o -force -batch -",
                Ok("10.1.0.1 dev cni0 src 10.1.0.254\n"),
            )
        },
        &[
            "warning pods' interfaces: cni0: pods on one bridge can send with each other's \
             addresses",
        ],
    ),
    (
        |node| {
            says(
                node,
                "ip -o -4 route show table all",
                Ok(
                    "default proto static \\\tnexthop via 192.0.2.1 dev eth0 weight 1 \\\tnexthop \
                     via 198.51.100.1 dev eth1 weight 1\n",
                ),
            )
        },
        &["warning uplinks: default routes by eth0, eth1"],
    ),
    (
        |node| file(node, "sys/net/ipv4/conf/all/rp_filter", Some("2\n")),
        &["warning uplinks: rp_filter is 2: the kernel lets asymmetric routes pass"],
    ),
    (
        |node| says(node, "iptables-nft-save -t raw", Ok(LOOSE)),
        &[
            "warning source validation: loose: a pod here can send with the address of a pod of \
             another node",
        ],
    ),
    (
        |node| says(node, "iptables-nft-save -t raw", Ok(LOG)),
        &[
            "warning source validation: log: packets with an address of another pod are counted, \
             and pass",
        ],
    ),
    (
        |node| says(node, "iptables-nft-save -t raw", Ok("*raw\nCOMMIT\n")),
        &[
            "warning source validation: off: whoever sends with a pod's address is that pod to \
             every rule",
        ],
    ),
    (
        |node| gone(node, "ip -o link show type bridge"),
        &["warning pods' interfaces: there is no program `ip`"],
    ),
    (
        |node| node.refused = vec!["-j CT"],
        &[
            "warning xt_CT, IPv4: no `-j CT`",
            "warning xt_CT, IPv6: no `-j CT`",
        ],
    ),
    (
        |node| node.refused = vec!["*security"],
        &[
            "warning iptable_security, IPv4: no `*security`",
            "warning ip6table_security, IPv6: no `*security`",
        ],
    ),
    (
        |node| file(node, "self/status", Some("CapEff:\t0000000000001000\n")),
        &["missing CAP_NET_RAW: not given"],
    ),
    (
        |node| file(node, "self/status", Some("CapEff:\t00000000a80425fb\n")),
        &["missing CAP_NET_ADMIN: not given"],
    ),
    (
        |node| file(node, "self/mountinfo", Some(CONTAINER)),
        &["warning /run/xtables.lock: this container's own"],
    ),
    (
        |node| node.unwritable = Some(Retention::UntilBoot),
        &["missing run directory: no room"],
    ),
    (
        |node| node.unwritable = Some(Retention::Always),
        &["missing state directory: no room"],
    ),
    (
        |node| file(node, "sys/net/ipv4/ip_forward", Some("0\n")),
        &[
            "warning net.ipv4.ip_forward: 0: no packet is forwarded, so pods reach nobody and \
             policy is asked about nothing",
        ],
    ),
    (
        |node| {
            file(node, "sys/net/bridge/bridge-nf-call-iptables", None);
            file(node, "sys/net/bridge/bridge-nf-call-ip6tables", None);
        },
        &[
            "warning bridges: br_netfilter is not loaded: packets between pods on one bridge pass \
             policy by",
        ],
    ),
    (
        |node| file(node, "sys/net/netfilter/nf_conntrack_count", Some("801\n")),
        &["warning connection tracking: 801 connections, room for 1000"],
    ),
    (
        |node| says(node, "firewall-cmd --state", Ok("running\n")),
        &["warning firewalld: running"],
    ),
];

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    for (harm, expected) in CASES {
        let mut node = Table::healthy();
        harm(&mut node);
        let examination = examine(&mut node, None);
        assert_eq!(complaints(&examination), expected);
        assert_eq!(
            examination.is_fit(),
            !expected
                .iter()
                .any(|complaint| complaint.starts_with("missing")),
            "{expected:?}"
        );
        let advised = examination
            .findings
            .iter()
            .filter(|finding| !finding.advice.is_empty())
            .count();
        assert_eq!(advised, expected.len(), "{}", text(&examination));
    }
}

/// In mode `loose` with the pods' interfaces named, uplinks need no finding.
#[test]
fn loose_with_interfaces_is_what_was_recommended() {
    let mut node = Table::healthy();
    says(
        &mut node,
        "iptables-nft-save -t raw",
        Ok(LOOSE_WITH_INTERFACES),
    );
    file(&mut node, "sys/net/ipv4/conf/all/rp_filter", Some("2\n"));
    assert_eq!(complaints(&examine(&mut node, None)), [""; 0]);
}

#[test]
fn the_legacy_build_needs_the_lock_of_the_host() {
    let mut node = Table::healthy();
    file(&mut node, "self/mountinfo", Some(CONTAINER));
    let found = |node: &mut Table| {
        let examination = examine(node, Some(IptablesBackend::Legacy));
        complaints(&examination)
            .into_iter()
            .find(|complaint| complaint.contains("xtables.lock"))
    };

    assert_eq!(
        found(&mut node).as_deref(),
        Some("missing /run/xtables.lock: this container's own")
    );
    file(
        &mut node,
        "self/mountinfo",
        Some(&format!(
            "{CONTAINER}29 27 0:21 /xtables.lock /run/xtables.lock rw - tmpfs tmpfs rw\n"
        )),
    );

    assert_eq!(found(&mut node), None);
}

#[test]
fn a_table_that_the_kernel_does_not_ask_is_found_by_nft() {
    let found = |flags: &str| {
        let mut node = Table::healthy();
        says(&mut node, "nft --version", Ok("nftables v1.0.6\n"));
        says(
            &mut node,
            "nft --terse list table ip filter",
            Ok(&format!(
                "table ip filter {{\n{flags}\tchain FORWARD {{\n\t}}\n}}\n"
            )),
        );
        says(
            &mut node,
            "nft --terse list table ip6 filter",
            Ok("table ip6 filter {\n\tflags dormant\n}\n"),
        );
        text(&examine(&mut node, None))
    };

    for flags in [
        "\tflags dormant\n\n",
        "\tcomment \"x\"\n\tflags owner, dormant\n",
    ] {
        let both = found(flags);
        assert!(
            both.contains("  ip filter, ip6 filter\n")
                && both.contains("`nft add table ip filter`"),
            "{both}"
        );
    }

    for flags in ["", "\tflags owner\n", "\tcomment \"dormant\"\n"] {
        let one = found(flags);
        assert!(one.contains("  ip6 filter\n"), "{one}");
    }

    let without = text(&examine(&mut Table::healthy(), None));
    assert!(!without.contains("dormant"), "{without}");
}

#[test]
fn chains_of_a_build_that_is_not_installed_are_seen_by_name() {
    let found = |chains: Option<&str>| {
        let mut node = Table::healthy();
        file(&mut node, "net/ip_tables_names", Some("filter\n"));
        says(
            &mut node,
            "iptables-legacy-save",
            Ok("*filter\n:pal-FORWARD - [0:0]\n-A FORWARD -j pal-FORWARD\nCOMMIT\n"),
        );
        gone(&mut node, "iptables-nft-save");
        if let Some(chains) = chains {
            says(&mut node, "nft list chains", Ok(chains));
        }
        let complaints = complaints(&examine(&mut node, Some(IptablesBackend::Legacy)));
        complaints
            .into_iter()
            .find(|complaint| complaint.contains("rules in iptables-nft"))
    };
    let ours = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority \
                filter; policy accept;\n\t}\n\tchain pal-FORWARD {\n\t}\n}\n";

    let words = "missing rules in iptables-nft: not counted, since only `nft` is there to ask, \
                 with chains of palisade";
    assert_eq!(found(Some(ours)).as_deref(), Some(words));
    assert_eq!(found(Some("")), None);
    assert_eq!(
        found(None).as_deref(),
        Some("warning rules in iptables-nft: there is no program `iptables-nft-save`")
    );
}
