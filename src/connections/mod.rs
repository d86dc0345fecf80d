//! Known connections that the policy in force denies, and their end.
//!
//! Replies and whatever belongs to a known connection pass before policy is asked (decision 14), so that a connection that was allowed
//! once goes on under a policy that denies it. By option, the entries of such connections are deleted from the kernel's table, and only
//! those: their next packet is a new one again, which policy denies.
//!
//! In: the scripts in force, as a [`Kernel`], and a [`Runner`]. Out: how many connections there were, and which were cut. An entry that is
//! not understood, and one that is denied over one interface only and allowed over another one, stays. Absent: the change of policy;
//! all entries are asked, also those from before it.
//!
//! A TCP connection whose entry is gone may be taken up again by a packet of its server where policy allows the server to begin one to
//! that client (`nf_conntrack_tcp_loose` is 1 by default; see deploy/README.md).
//!
//! Cost: a walk through the scripts for each connection, over every kind of interface; four processes, and three more for each time that not
//! all of it was deleted.

mod entry;

pub use entry::{Connection, Ends};

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::analysis::netfilter::Kernel;
use crate::analysis::{Hook, Packet, State, Verdict};
use crate::net::Family;
use crate::observe::Problem;
use crate::runner::{Answer, Call, Runner};

/// What became of the known connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    /// How many there were.
    pub known: usize,
    /// Those that are denied.
    pub denied: Vec<Connection>,
    /// How many were deleted; others ended by themselves before it came to them.
    pub ended: usize,
    /// How many entries were not understood, and stay.
    pub unread: usize,
}

/// How often is looked and deleted: a connection may end, or `conntrack` give up, in between.
const ATTEMPTS: usize = 3;

/// What `conntrack` says on standard error of a call that went well: how many entries there were.
const COUNT: (&str, &str) = ("conntrack v", " flow entries have been ");

/// Deletes the entries of connections that scripts deny.
///
/// # Errors
/// When there is no `conntrack`, it refuses, or what it says is not whole.
pub fn cut_denied(runner: &mut dyn Runner, kernel: &Kernel) -> Result<Cut, Problem> {
    let own = addresses(&answer(runner, &Call::of("ip", &["-o", "address", "show"]))?);
    let mut cut = look(runner, kernel, &own)?;
    let mut left = cut.denied.clone();
    let mut refusal = None;
    for _ in 0..ATTEMPTS {
        if left.is_empty() {
            return Ok(cut);
        }
        let (ended, problem) = delete(runner, &left)?;
        cut.ended += ended;
        if ended == left.len() && problem.is_none() {
            return Ok(cut);
        }
        refusal = problem;
        left = look(runner, kernel, &own)?.denied;
    }
    let is_left = || refused(&deletion(), &format!("{} entries are there still", left.len()));
    if left.is_empty() { Ok(cut) } else { Err(refusal.unwrap_or_else(is_left)) }
}

/// What is known and denied now.
fn look(runner: &mut dyn Runner, kernel: &Kernel, own: &BTreeSet<IpAddr>) -> Result<Cut, Problem> {
    let mut cut = Cut::default();
    for family in Family::BOTH {
        let (known, unread) = Connection::read_all(&listing(runner, &list(family))?);
        cut.known += known.len() + unread;
        cut.unread += unread;
        cut.denied.extend(denied(kernel, known, own));
    }
    Ok(cut)
}

/// Deletes entries; how many it did, and why not all.
fn delete(runner: &mut dyn Runner, connections: &[Connection]) -> Result<(usize, Option<Problem>), Problem> {
    let call = deletion().with_input(connections.iter().map(Connection::deletion).collect());
    let answer = runner.run(&call).map_err(Problem::NoAnswer)?;
    let (gone, _) = Connection::read_all(&answer.output);
    Ok((gone.len(), said_wrong(&call, &answer)))
}

fn deletion() -> Call {
    Call::of("conntrack", &["--load-file", "-"])
}

/// The connections that scripts deny if they began now, over whatever interfaces.
pub fn denied(kernel: &Kernel, known: Vec<Connection>, own: &BTreeSet<IpAddr>) -> Vec<Connection> {
    let mut interfaces: Vec<String> = kernel.interfaces().into_iter().map(str::to_owned).collect();
    let other = (0..).map(|number| format!("other{number}")).find(|name| !interfaces.contains(name));
    interfaces.extend(other);
    let is_denied = |connection: &Connection| {
        let flow = connection.flow();
        let hooks = hooks(connection, own, &interfaces);
        !hooks.is_empty()
            && hooks.into_iter().all(|hook| {
                let packet = Packet { flow, original: connection.original(), hook, state: State::New };
                kernel.run(&packet).verdict == Verdict::Drop
            })
    };
    known.into_iter().filter(is_denied).collect()
}

/// Where the node sees the connection's packets; nowhere where both ends are its own.
fn hooks(connection: &Connection, own: &BTreeSet<IpAddr>, interfaces: &[String]) -> Vec<Hook> {
    let flow = connection.flow();
    let each = |hook: &dyn Fn(String) -> Hook| interfaces.iter().cloned().map(hook).collect();
    match (own.contains(&flow.source), own.contains(&flow.destination)) {
        (true, true) => Vec::new(),
        (true, false) => each(&|leaves| Hook::Output { leaves }),
        (false, true) => each(&|arrives| Hook::Input { arrives }),
        (false, false) => {
            let pairs = interfaces.iter().flat_map(|arrives| interfaces.iter().map(move |leaves| (arrives, leaves)));
            pairs.map(|(arrives, leaves)| Hook::Forward { arrives: arrives.clone(), leaves: leaves.clone() }).collect()
        }
    }
}

fn list(family: Family) -> Call {
    let word = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    Call::of("conntrack", &["--dump", "--output", "extended", "--family", word])
}

/// The node's own addresses, of what `ip -o address show` prints: `2: eth0    inet 10.0.0.1/24 brd …`.
fn addresses(text: &str) -> BTreeSet<IpAddr> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| !matches!(*word, "inet" | "inet6")).skip(1);
        words.next()?.split('/').next()?.parse().ok()
    };
    text.lines().filter_map(of_line).collect()
}

/// A listing with as many lines as `conntrack` says that it showed.
fn listing(runner: &mut dyn Runner, call: &Call) -> Result<String, Problem> {
    let answer = runner.run(call).map_err(Problem::NoAnswer)?;
    if let Some(problem) = said_wrong(call, &answer) {
        return Err(problem);
    }
    let lines = answer.output.lines().count().to_string();
    let shown = answer.errors.lines().filter_map(|line| line.split_once(COUNT.1)?.0.rsplit(' ').next()).next_back();
    let is_cut = !answer.output.is_empty() && !answer.output.ends_with('\n');
    match shown == Some(lines.as_str()) && !is_cut {
        true => Ok(answer.output),
        false => Err(refused(call, &format!("its output is not whole: {lines} lines of {}", shown.unwrap_or("no number")))),
    }
}

/// Standard output of a call that must succeed.
fn answer(runner: &mut dyn Runner, call: &Call) -> Result<String, Problem> {
    let answer = runner.run(call).map_err(Problem::NoAnswer)?;
    said_wrong(call, &answer).map_or(Ok(answer.output), Err)
}

/// What is wrong with an answer: its status, or an error on standard error.
fn said_wrong(call: &Call, answer: &Answer) -> Option<Problem> {
    let is_count = |line: &&str| line.starts_with(COUNT.0) && line.contains(COUNT.1);
    let said: Vec<&str> = answer.errors.lines().map(str::trim).filter(|line| !line.is_empty() && !is_count(line)).collect();
    let problem = match answer.status {
        Some(0) => said.join("; "),
        Some(status) if said.is_empty() => format!("exit status {status}"),
        None if said.is_empty() => "it was killed by a signal".to_owned(),
        Some(_) | None => said.join("; "),
    };
    (!problem.is_empty()).then(|| refused(call, &problem))
}

fn refused(call: &Call, said: &str) -> Problem {
    Problem::Refused { call: call.to_string(), said: said.to_owned() }
}

#[cfg(test)]
mod tests;
