//! Finds and ends known connections that the policy in force denies.
//!
//! Packets of known connections pass before any policy rule (semantics §9.14), so an allowed
//! connection continues under a policy that denies it. By option, Palisade deletes the conntrack
//! entries of denied connections, and only those. Their next packet is new again, and policy denies
//! it.
//!
//! In: the scripts in force, as a [`NodeKernel`], and a [`Runner`]. Out: the number of connections,
//! and those that were ended. Palisade deletes entries one by one over netlink, each by its
//! identifier, because the `conntrack` tool walks through the whole table for each. An entry that
//! cannot be parsed stays. So does one whose interface matters and is unknown, if policy allows it
//! on any interface. Absent: the change of policy. All entries are checked, also those from before
//! the change.
//!
//! A TCP connection without an entry may resume with a packet from its server, if policy allows the
//! server to connect to that client (`nf_conntrack_tcp_loose` is 1 by default; see
//! deploy/README.md).
//!
//! Cost: one walk through the scripts per connection; three processes, three more if scripts name
//! interfaces, and two more if a connection ended meanwhile; two system calls per deleted entry.

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

/// Result of a conntrack cleanup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConntrackCleanup {
    /// Number of known connections.
    pub known: usize,
    /// Connections that policy denies.
    pub denied: Vec<TrackedConnection>,
    /// Number of deleted entries. The others ended by themselves before their deletion.
    pub ended: usize,
    /// Number of entries that could not be parsed. They stay.
    pub unread: usize,
}

/// The line that `conntrack` prints on standard error after a success, with the number of entries.
const COUNT: (&str, &str) = ("conntrack v", " flow entries have been ");

/// Deletes the entries of connections that the scripts deny.
///
/// # Errors
/// If `conntrack` is missing or fails, or if its output is incomplete.
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

    // The kernel did not know these entries. They ended by themselves, unless the table still lists
    // them.
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

/// Returns the known connections, and the number of entries that could not be parsed.
fn list_connections(
    runner: &mut dyn Runner,
) -> Result<(Vec<TrackedConnection>, usize), KernelProblem> {
    let [v4, v6] = Family::BOTH.map(list);
    let (mut known, unread) = TrackedConnection::read_all(&listing(runner, &v4)?);
    let (others, unread_others) = TrackedConnection::read_all(&listing(runner, &v6)?);
    known.extend(others);
    Ok((known, unread + unread_others))
}

/// Deletes entries. Returns those that the kernel did not know.
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

/// Returns the connections that the scripts would deny if they began now. If several hooks are
/// possible, all of them must deny.
fn denied(
    kernel: &NodeKernel,
    known: Vec<TrackedConnection>,
    interfaces: &NodeInterfaces,
) -> Vec<TrackedConnection> {
    let is_denied = |connection: &TrackedConnection| {
        let flow = connection.flow();
        let hooks = interfaces.hooks(&flow);
        // Without hooks, both ends are the node's own, and the entry stays.
        !hooks.is_empty()
            && hooks.into_iter().all(|hook| {
                // State NEW, because the question is whether the connection may begin now.
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

/// Returns a listing. `conntrack` prints the number of entries, and the listing must have as many
/// lines.
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

/// Returns what is wrong with an answer: its status, or an error on standard error.
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
