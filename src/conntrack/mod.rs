//! Known connections that the policy in force denies, and their end.
//!
//! Replies and whatever belongs to a known connection pass before policy is asked (semantics
//! §9.14), so that a connection that was allowed once goes on under a policy that denies it. By
//! option, the entries of such connections are deleted from the kernel's table, and only those:
//! their next packet is a new one again, which policy denies.
//!
//! In: the scripts in force, as a [`NodeKernel`], and a [`Runner`]. Out: how many connections there
//! were, and which were cut. Entries are deleted one by one over netlink, each by its identifier
//! (`conntrack` itself walks through the whole table for each). An entry that is not understood
//! stays, and so does one whose interface matters and is not known, if it is allowed over any.
//! Absent: the change of policy; all entries are asked, also those from before it.
//!
//! A TCP connection whose entry is gone may be taken up again by a packet of its server where
//! policy allows the server to begin one to that client (`nf_conntrack_tcp_loose` is 1 by default;
//! see deploy/README.md).
//!
//! Cost: a walk through the scripts for each connection; three processes, three more where scripts
//! name interfaces, and two more where a connection ended meanwhile; two calls of the kernel for
//! each entry that is deleted.

mod deletion;
mod entry;
mod interfaces;

pub use entry::{ConnectionTuple, TrackedConnection};

use std::collections::BTreeSet;
use std::io::ErrorKind;

use interfaces::NodeInterfaces;

use crate::net::{Family, State};
use crate::netfilter::NodeKernel;
use crate::observe::KernelProblem;
use crate::packet::{Packet, ReversePath, Verdict};
use crate::runner::{NetfilterRequest, ProcessOutput, Runner, RunnerFailure, ToolCall};

/// What became of the known connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConntrackCleanup {
    /// How many there were.
    pub known: usize,
    /// Those that are denied.
    pub denied: Vec<TrackedConnection>,
    /// How many were deleted; others ended by themselves before it came to them.
    pub ended: usize,
    /// How many entries were not understood, and stay.
    pub unread: usize,
}

/// What `conntrack` says on standard error of a call that went well: how many entries there were.
const COUNT: (&str, &str) = ("conntrack v", " flow entries have been ");

/// Deletes the entries of connections that scripts deny.
///
/// # Errors
/// When there is no `conntrack`, it refuses, or what it says is not whole.
pub fn cut_denied(
    runner: &mut dyn Runner,
    kernel: &NodeKernel,
) -> Result<ConntrackCleanup, KernelProblem> {
    let (known, unread) = list_connections(runner)?;
    let interfaces = NodeInterfaces::ask(runner, kernel, &known)?;
    let mut cut = ConntrackCleanup {
        known: known.len() + unread,
        denied: denied(kernel, known, &interfaces),
        ended: 0,
        unread,
    };

    let unknown = delete(runner, &cut.denied)?;
    cut.ended = cut.denied.len() - unknown.len();
    if unknown.is_empty() {
        return Ok(cut);
    }

    // each has ended by itself, unless it is listed still
    let listed = BTreeSet::from_iter(list_connections(runner)?.0);
    match unknown
        .iter()
        .filter(|connection| listed.contains(connection))
        .count()
    {
        0 => Ok(cut),
        there => Err(not_deleted(
            there,
            "the kernel lists them, and does not find them",
        )),
    }
}

/// What is known now, and how many entries were not understood.
fn list_connections(
    runner: &mut dyn Runner,
) -> Result<(Vec<TrackedConnection>, usize), KernelProblem> {
    let [v4, v6] = Family::BOTH.map(list);
    let (mut known, unread) = TrackedConnection::read_all(&listing(runner, &v4)?);
    let (others, unread_others) = TrackedConnection::read_all(&listing(runner, &v6)?);
    known.extend(others);
    Ok((known, unread + unread_others))
}

/// Deletes entries; gives those that the kernel did not know.
fn delete(
    runner: &mut dyn Runner,
    connections: &[TrackedConnection],
) -> Result<Vec<TrackedConnection>, KernelProblem> {
    let requests: Vec<NetfilterRequest> = connections.iter().map(deletion::request).collect();
    let answers = runner.ask(&requests).map_err(KernelProblem::NoAnswer)?;
    let of_kind = |is_unknown: bool| {
        let refused = connections
            .iter()
            .zip(&answers)
            .filter_map(|(connection, answer)| Some((connection, answer.as_ref().err()?)));
        refused.filter(move |(_, error)| (error.kind() == ErrorKind::NotFound) == is_unknown)
    };
    match of_kind(false).next() {
        Some((_, error)) => Err(not_deleted(of_kind(false).count(), &error.to_string())),
        None => Ok(of_kind(true).map(|(connection, _)| *connection).collect()),
    }
}

fn not_deleted(count: usize, why: &str) -> KernelProblem {
    KernelProblem::NoAnswer(RunnerFailure::Other(format!(
        "{count} of their entries cannot be deleted: {why}"
    )))
}

/// The connections that scripts deny if they began now.
fn denied(
    kernel: &NodeKernel,
    known: Vec<TrackedConnection>,
    interfaces: &NodeInterfaces,
) -> Vec<TrackedConnection> {
    let is_denied = |connection: &TrackedConnection| {
        let flow = connection.flow();
        let hooks = interfaces.hooks(&flow);
        !hooks.is_empty()
            && hooks.into_iter().all(|hook| {
                let packet = Packet {
                    flow,
                    original: connection.original(),
                    hook,
                    state: State::New,
                    reverse_path: ReversePath::Arriving,
                };
                kernel.run(&packet).verdict == Verdict::Drop
            })
    };

    known.into_iter().filter(is_denied).collect()
}

fn list(family: Family) -> ToolCall {
    let word = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    ToolCall::new(
        "conntrack",
        &["--dump", "--output", "extended,id", "--family", word],
    )
}

/// A listing with as many lines as `conntrack` says that it showed.
fn listing(runner: &mut dyn Runner, call: &ToolCall) -> Result<String, KernelProblem> {
    let answer = runner.run(call).map_err(KernelProblem::NoAnswer)?;
    if let Some(problem) = said_wrong(call, &answer) {
        return Err(problem);
    }

    let lines = answer.output.lines().count().to_string();
    let shown = answer
        .errors
        .lines()
        .filter_map(|line| line.split_once(COUNT.1)?.0.rsplit(' ').next())
        .next_back();

    let is_cut = !answer.output.is_empty() && !answer.output.ends_with('\n');
    match shown == Some(lines.as_str()) && !is_cut {
        true => Ok(answer.output),
        false => Err(refused(
            call,
            &format!(
                "its output is not whole: {lines} lines of {}",
                shown.unwrap_or("no number")
            ),
        )),
    }
}

/// What is wrong with an answer: its status, or an error on standard error.
fn said_wrong(call: &ToolCall, answer: &ProcessOutput) -> Option<KernelProblem> {
    let is_count = |line: &&str| line.starts_with(COUNT.0) && line.contains(COUNT.1);
    let said: Vec<&str> = answer
        .errors
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !is_count(line))
        .collect();

    let problem = match answer.status {
        Some(0) => said.join("; "),
        Some(status) if said.is_empty() => format!("exit status {status}"),
        None if said.is_empty() => "it was killed by a signal".to_owned(),
        Some(_) | None => said.join("; "),
    };
    (!problem.is_empty()).then(|| refused(call, &problem))
}

fn refused(call: &ToolCall, said: &str) -> KernelProblem {
    KernelProblem::Refused {
        call: call.to_string(),
        said: said.to_owned(),
    }
}

#[cfg(test)]
mod tests;
