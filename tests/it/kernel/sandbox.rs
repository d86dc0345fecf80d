//! One process in fresh user, network and mount namespaces does each job; nothing outlives it.
//!
//! The process is this test binary again, told to run [`child`] only. The job goes in on its
//! standard input, which then stays open as a lifeline: when it closes, because the test ended,
//! panicked or was killed, the child exits, and its namespaces, interfaces and rules go with it.
//! The report comes back as the one marked line of its standard output.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::process::{Child, Stdio};
use std::sync::{Condvar, Mutex};

use serde::{Deserialize, Serialize};

use super::tools::{self, NEEDS};
use super::topology::Topology;
use super::{Build, Cluster, Node, Question, Scripts, Trial, forger, prober};
use crate::tools::command;

/// What the child is to do.
#[derive(Serialize, Deserialize)]
pub(super) enum Job {
    /// Build the cluster and ask.
    Ask {
        cluster: Cluster,
        build: Build,
        questions: Vec<(Question, bool)>,
    },
    /// The same, and send what is forged.
    Forge { trial: Trial, build: Build },
    /// See whether the scripts load.
    Restore { scripts: Scripts, build: Build },
}

/// What the child found.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// In the order of the questions.
    pub(super) answers: Vec<bool>,
    /// In the order of what is forged.
    pub(super) arrived: Vec<bool>,
    /// By node: the counters of those that an unexpected answer concerns.
    pub(super) counters: BTreeMap<String, String>,
}

const CHILD: &str = "kernel::sandbox::child";
const CHILD_MARK: &str = "PALISADE_KERNEL_CHILD";
const REPORT_MARK: &str = "palisade-report ";

/// `/run` becomes our own: for `ip netns`, and for the lock of iptables. Every question takes a
/// descriptor or two.
const PREPARE: &str =
    r#"mount -t tmpfs tmpfs /run && mkdir /run/netns && ulimit -n "$(ulimit -H -n)" && exec "$@""#;

/// Two at a time: more would only slow each other down on a small machine.
static FREE: Mutex<u8> = Mutex::new(2);
static FREED: Condvar = Condvar::new();

/// Does the job in a process of its own; an error is what a tool said. Panics if the process itself
/// cannot do its work.
pub(super) fn run(job: &Job) -> Result<Report, String> {
    let _turn = Turn::take();
    let mut child = start();
    let mut lifeline = child.stdin.take().expect("standard input is piped");
    let sent = writeln!(
        lifeline,
        "{}",
        serde_json::to_string(job).expect("a job is plain data")
    );
    let output = child
        .wait_with_output()
        .expect("the child can be waited for");

    drop(lifeline);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let Some(report) = stdout
        .lines()
        .find_map(|line| line.strip_prefix(REPORT_MARK))
    else {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!(
            "the kernel test could not be run ({}, job sent: \
             {sent:?}):\n{errors}\n{stdout}\n{NEEDS}",
            output.status
        );
    };

    serde_json::from_str(report).expect("a report is plain data")
}

fn start() -> Child {
    let itself = std::env::current_exe().expect("the test binary has a path");

    command("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "sh",
            "-c",
            PREPARE,
            "sh",
        ])
        .arg(itself)
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .env(CHILD_MARK, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `unshare`: {error}\n{NEEDS}"))
}

/// A test only in name: the entry of the process that [`run`] starts.
#[test]
#[ignore = "runs inside of the other kernel tests"]
fn child() {
    if std::env::var_os(CHILD_MARK).is_none() {
        return;
    }

    let mut job = String::new();
    io::stdin().lock().read_line(&mut job).unwrap();
    std::thread::spawn(exit_with_parent);
    let report = perform(serde_json::from_str(&job).unwrap());
    writeln!(
        io::stdout(),
        "\n{REPORT_MARK}{}",
        serde_json::to_string(&report).unwrap()
    )
    .unwrap();
}

fn exit_with_parent() {
    let _end = io::copy(&mut io::stdin(), &mut io::sink());
    std::process::exit(1);
}

fn perform(job: Job) -> Result<Report, String> {
    match job {
        Job::Ask {
            cluster,
            build,
            questions,
        } => ask(&cluster, build, &questions),
        Job::Forge { trial, build } => forge(&trial, build),
        Job::Restore { scripts, build } => {
            tools::load(&scripts, build, &["--noflush", "--test"]).map(|()| Report::default())
        }
    }
}

fn forge(trial: &Trial, build: Build) -> Result<Report, String> {
    let Trial {
        cluster,
        changes,
        questions,
        forgeries,
    } = trial;
    let topology = Topology::of(cluster);
    topology.build()?;
    for (namespace, commands) in changes {
        tools::enter(namespace)?;
        tools::run("ip", &["-batch", "-"], commands)
            .map_err(|error| format!("`{namespace}`: {error}"))?;
    }
    load(cluster, &topology, build)?;

    let answers = prober::ask(&topology, questions)?;
    let forgeries: Vec<_> = forgeries
        .iter()
        .map(|(forgery, _)| forgery.clone())
        .collect();
    let arrived = forger::send(&topology, &forgeries)?;

    let mut counters = BTreeMap::new();
    for node in &cluster.nodes {
        tools::enter(topology.namespace_of(&node.name))?;
        counters.insert(node.name.clone(), tools::counters(build)?);
    }
    Ok(Report {
        answers,
        arrived,
        counters,
    })
}

fn load(cluster: &Cluster, topology: &Topology, build: Build) -> Result<(), String> {
    for node in &cluster.nodes {
        tools::enter(topology.namespace_of(&node.name))?;
        tools::load(&node.scripts, build, &["--noflush"])
            .map_err(|error| format!("node `{}`: {error}", node.name))?;
    }
    Ok(())
}

fn ask(cluster: &Cluster, build: Build, questions: &[(Question, bool)]) -> Result<Report, String> {
    let topology = Topology::of(cluster);
    topology.build()?;
    load(cluster, &topology, build)?;
    let answers = prober::ask(&topology, questions)?;
    let counters = counters(cluster, &topology, build, &concerned(questions, &answers))?;
    Ok(Report {
        answers,
        counters,
        ..Report::default()
    })
}

fn concerned<'a>(questions: &'a [(Question, bool)], answers: &[bool]) -> Vec<&'a Question> {
    let differ = questions
        .iter()
        .zip(answers)
        .filter(|((_, expected), got)| expected != *got);
    differ.map(|((question, _), _)| question).collect()
}

fn counters(
    cluster: &Cluster,
    topology: &Topology,
    build: Build,
    concerned: &[&Question],
) -> Result<BTreeMap<String, String>, String> {
    let mut counters = BTreeMap::new();
    for node in &cluster.nodes {
        if concerned.iter().any(|question| concerns(question, node)) {
            tools::enter(topology.namespace_of(&node.name))?;
            counters.insert(node.name.clone(), tools::counters(build)?);
        }
    }
    Ok(counters)
}

fn concerns(question: &Question, node: &Node) -> bool {
    let asks = node.name == question.from || node.pods.iter().any(|pod| pod.name == question.from);
    asks || node.addresses.contains(&question.to)
        || node
            .pods
            .iter()
            .any(|pod| pod.addresses.contains(&question.to))
}

struct Turn;

impl Turn {
    fn take() -> Self {
        let free = FREE.lock().expect("nobody panics while counting");
        *FREED
            .wait_while(free, |free| *free == 0)
            .expect("nobody panics while counting") -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *FREE.lock().expect("nobody panics while counting") += 1;
        FREED.notify_one();
    }
}
