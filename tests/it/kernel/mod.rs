//! Kernel tests: a cluster of network namespaces, the stock tools, real packets, and who got
//! through.
//!
//! In: a [`Cluster`] with the scripts of each node, and questions with the answers expected. Out:
//! the answers, or a table of those that differ ([`check`]). Every call lives in one process of its
//! own ([`sandbox`]) that makes the namespaces ([`topology`]), loads the scripts ([`tools`]) and
//! asks ([`prober`], answered by [`echo`]); when it ends, or the test does, the kernel takes
//! everything away. Absent: root, traces on the host, and any knowledge of policy.
//!
//! A kernel test fails where a tool is missing. `PALISADE_SKIP_KERNEL=1` turns all of them off.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start programs and read files"
)]
#![expect(clippy::panic, reason = "this is how a test fails")]

mod echo;
mod forger;
mod prober;
mod sandbox;
mod tests;
pub(crate) mod tools;
pub(crate) mod topology;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use sandbox::{Job, Report};

pub(crate) use forger::Forgery;
pub(crate) use tools::enter;

/// A cluster to build. Names and addresses are unique in it; nodes and outside hosts meet in one
/// router that filters nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// The nodes with their pods.
    pub(crate) nodes: Vec<Node>,
    /// Hosts that are not part of the cluster.
    pub(crate) outside: Vec<Host>,
}

/// A router with its own netfilter state, and pods behind it on interfaces `cali0`, `cali1`, …; its
/// uplink is `eth0`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Name to ask from.
    pub(crate) name: String,
    /// Its own addresses; the first of a family is the source of its questions.
    pub(crate) addresses: Vec<IpAddr>,
    /// The hosts behind it.
    pub(crate) pods: Vec<Host>,
    /// What is loaded into its kernel.
    pub(crate) scripts: Scripts,
}

/// A pod, or a host outside of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Host {
    /// Name to ask from.
    pub(crate) name: String,
    /// Any addresses; the first of a family is the source of its questions.
    pub(crate) addresses: Vec<IpAddr>,
}

/// The scripts of one node, loaded in this order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Scripts {
    /// For `ipset restore`.
    pub(crate) sets: String,
    /// For `iptables-restore --noflush`.
    pub(crate) v4: String,
    /// For `ip6tables-restore --noflush`.
    pub(crate) v6: String,
}

/// Which build of iptables loads the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Build {
    /// `iptables-legacy`: the xtables of the kernel.
    Legacy,
    /// `iptables-nft`: nf_tables behind the same syntax.
    Nft,
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Probe {
    /// Connect to the port, send bytes, read them back.
    Tcp(u16),
    /// Send a datagram to the port, receive it back.
    Udp(u16),
    /// Echo request and reply of the family of the address.
    Icmp,
}

/// May `from` reach `to`? The address must belong to a host of the cluster: it is made to answer.
///
/// Do not ask both `a:p → b:q` and `b:q → a:p` over UDP with both source ports fixed: one flow is
/// the reply of the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// Name of a pod, a node or an outside host.
    pub(crate) from: String,
    /// The address tried.
    pub(crate) to: IpAddr,
    /// How.
    pub(crate) probe: Probe,
    /// The port to ask from; the kernel chooses if absent. Not for ICMP.
    pub(crate) source_port: Option<u16>,
}

/// Asks everything at once and panics with a table, and the counters of the nodes concerned, unless
/// all is as expected.
pub(crate) fn check(cluster: &Cluster, build: Build, questions: &[(Question, bool)]) {
    if skipped() {
        return;
    }

    let report = report(cluster, build, questions);
    let table = mismatches(questions, &report.answers);
    assert!(
        table.is_empty(),
        "{build}: {} of {} answers differ\n{}",
        table.len(),
        questions.len(),
        complaint(&table, &report)
    );
}

/// Asks everything at once; the answers in the order of the questions: true means a full round
/// trip.
///
/// The expectation decides only how long to wait for an answer: see [`prober`]. Panics if a script
/// is refused.
pub(crate) fn ask_expecting(
    cluster: &Cluster,
    build: Build,
    questions: &[Question],
    expected: &[bool],
) -> Vec<bool> {
    assert_eq!(
        questions.len(),
        expected.len(),
        "every question needs its expectation"
    );
    if skipped() {
        return expected.to_vec();
    }

    let pairs: Vec<_> = questions
        .iter()
        .cloned()
        .zip(expected.iter().copied())
        .collect();
    report(cluster, build, &pairs).answers
}

/// What is done to a built cluster before its scripts are loaded: lines for `ip -batch`, by
/// namespace. Nodes are `n0`, `n1`, …, the router between them is `fabric`; each node's link to it
/// is called there as the node is.
pub(crate) type Changes = Vec<(String, String)>;

/// A cluster with its changes, what is asked of it, and what is sent with sources of others, each
/// with whether it is to get through.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) cluster: Cluster,
    pub(crate) changes: Changes,
    pub(crate) questions: Vec<(Question, bool)>,
    pub(crate) forgeries: Vec<(Forgery, bool)>,
}

/// Asks all questions, and then sends what is forged; panics unless all is as expected. Gives the
/// counters of all nodes, by name, without the rules never met.
pub(crate) fn check_forgeries(trial: &Trial, build: Build) -> BTreeMap<String, String> {
    if skipped() {
        return BTreeMap::new();
    }
    let job = Job::Forge {
        trial: trial.clone(),
        build,
    };
    let report = sandbox::run(&job).unwrap_or_else(|error| panic!("kernel test, {build}: {error}"));

    let mut table = mismatches(&trial.questions, &report.answers);
    for ((forgery, expected), got) in trial.forgeries.iter().zip(&report.arrived) {
        if expected != got {
            let Forgery { from, claims, to } = forgery;
            let from = format!("{from} as {claims}");
            let (expected, got) = (word(*expected), word(*got));
            table.push(format!(
                "{from:<28} {:<28} {:<10} {expected:<9} {got}",
                to.to_string(),
                "datagram"
            ));
        }
    }
    assert!(
        table.is_empty(),
        "{build}: {} differ\n{}",
        table.len(),
        complaint(&table, &report)
    );
    report.counters
}

/// Loads the sets and tries both restore scripts with `--test`; the tool's complaint if one is
/// refused.
pub(crate) fn restores(scripts: &Scripts, build: Build) -> Result<(), String> {
    if skipped() {
        return Ok(());
    }
    sandbox::run(&Job::Restore {
        scripts: scripts.clone(),
        build,
    })
    .map(|_report| ())
}

/// Whether `PALISADE_SKIP_KERNEL=1` is set; says so.
#[expect(clippy::print_stderr, reason = "a test that was not run must say so")]
pub(crate) fn skipped() -> bool {
    let skip = std::env::var_os("PALISADE_SKIP_KERNEL").is_some_and(|value| value == "1");
    if skip {
        eprintln!("kernel test skipped: PALISADE_SKIP_KERNEL=1");
    }
    skip
}

fn report(cluster: &Cluster, build: Build, questions: &[(Question, bool)]) -> Report {
    let job = Job::Ask {
        cluster: cluster.clone(),
        build,
        questions: questions.to_vec(),
    };
    sandbox::run(&job).unwrap_or_else(|error| panic!("kernel test, {build}: {error}"))
}

fn mismatches(questions: &[(Question, bool)], answers: &[bool]) -> Vec<String> {
    let differ = questions
        .iter()
        .zip(answers)
        .filter(|((_, expected), got)| expected != *got);
    differ
        .map(|((question, expected), got)| row(question, word(*expected), word(*got)))
        .collect()
}

fn row(question: &Question, expected: &str, got: &str) -> String {
    let Question {
        from,
        to,
        probe,
        source_port,
    } = question;
    let source_port = source_port.map_or_else(String::new, |port| format!(":{port}"));

    format!(
        "{:<28} {:<28} {:<10} {expected:<9} {got}",
        format!("{from}{source_port}"),
        to.to_string(),
        probe.to_string()
    )
}

fn word(through: bool) -> &'static str {
    if through { "through" } else { "stopped" }
}

fn complaint(table: &[String], report: &Report) -> String {
    let head = format!(
        "{:<28} {:<28} {:<10} {:<9} got",
        "from", "to", "probe", "expected"
    );
    let counters = report.counters.iter().map(|(node, counters)| {
        format!("\ncounters of {node}, without the rules never met:\n{counters}")
    });

    format!(
        "{head}\n{}\n{}",
        table.join("\n"),
        counters.collect::<String>()
    )
}

impl Build {
    /// `iptables` → `iptables-nft-restore`.
    fn tool(self, table: &str, verb: &str) -> String {
        format!("{table}-{self}-{verb}")
    }
}

impl fmt::Display for Build {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        })
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(out, "tcp/{port}"),
            Self::Udp(port) => write!(out, "udp/{port}"),
            Self::Icmp => out.write_str("icmp"),
        }
    }
}
