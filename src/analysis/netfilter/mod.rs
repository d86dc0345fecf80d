//! The kernel's part, played on the text of scripts: sets and the tables of both families are loaded strictly, and a packet
//! runs through the built-in chains on its way with jump, goto and return as in the kernel.
//!
//! In: the texts of one node's scripts, and packets. Out: a [`Kernel`] and what it does with a packet, rule by rule. An option
//! that palisade does not write is an error, and so is whatever the stock tools would refuse. Absent: the rooms that write
//! scripts.

mod apart;
mod reader;
mod sets;
mod symbolic;
mod table;
mod walk;

pub use apart::Misplaced;
pub(super) use symbolic::{Columns, Marks, Symbolic};
pub(super) use walk::{At, Early, Out};

use std::fmt;

use crate::analysis::{Flow, Hook, Packet, ReversePath, State, Verdict};
use crate::net::Family;

use sets::Sets;
use table::{Condition, Connection, Rule, Table};

/// One node's kernel with the scripts loaded.
#[derive(Debug)]
pub struct Kernel {
    sets: Sets,
    v4: Tables,
    v6: Tables,
}

/// The tables of a family.
#[derive(Debug)]
struct Tables {
    raw: Option<Table>,
    mangle: Option<Table>,
    filter: Table,
}

/// The texts of one node's scripts.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'text> {
    /// For `ipset restore`.
    pub sets: &'text str,
    /// For `iptables-restore --noflush`.
    pub v4: TableTexts<'text>,
    /// For `ip6tables-restore --noflush`.
    pub v6: TableTexts<'text>,
}

/// The texts of a family's tables.
#[derive(Debug, Clone, Copy)]
pub struct TableTexts<'text> {
    /// The raw table, where the node has one.
    pub raw: Option<&'text str>,
    /// The mangle table, where the node has one.
    pub mangle: Option<&'text str>,
    /// The filter table.
    pub filter: &'text str,
}

/// Why scripts cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The script.
    pub script: Script,
    /// The line, from 1; none where it is about the script as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

/// A script of [`Texts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    /// The sets.
    Sets,
    /// A table of a family.
    Table(TableName, Family),
}

/// A table of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableName {
    /// Before connections are tracked.
    Raw,
    /// Before destinations are translated.
    Mangle,
    /// Behind both.
    Filter,
}

/// What becomes of a packet, and why.
#[derive(Debug, Clone)]
pub struct Run<'kernel> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Whether it is kept from connection tracking.
    pub is_untracked: bool,
    /// The rules that matched, in order.
    pub passed: Vec<Passed<'kernel>>,
}

/// A rule that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed<'kernel> {
    /// The table.
    pub table: TableName,
    /// The chain it stands in.
    pub chain: &'kernel str,
    /// Its number in the chain, from 1.
    pub number: usize,
    /// Its line in the script, from 1.
    pub line: usize,
    /// Its comment; may be empty.
    pub comment: &'kernel str,
    /// What it does.
    pub target: &'kernel Target,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The packet is accepted.
    Accept,
    /// The packet is dropped.
    Drop,
    /// Back to where the chain was jumped to.
    Return,
    /// A line goes to the kernel's log.
    Log,
    /// No connection is made of the packet.
    NoTrack,
    /// To another chain, and back.
    Jump(String),
    /// To another chain, from which the way leads back over this one.
    Goto(String),
}

/// What reading a part of a script yields, or what is wrong with it.
type Read<T> = Result<T, String>;

/// A packet in a table.
struct Seen<'packet> {
    table: TableName,
    packet: &'packet Packet,
    flow: Flow,
    state: State,
}

impl Kernel {
    /// Loads scripts.
    ///
    /// # Errors
    /// The first line that the tools would refuse or that palisade would not write.
    pub fn load(texts: &Texts<'_>) -> Result<Self, LoadError> {
        let sets = Sets::load(texts.sets)?;
        let v4 = Tables::load(&texts.v4, Family::V4, &sets)?;
        let v6 = Tables::load(&texts.v6, Family::V6, &sets)?;
        Ok(Self { sets, v4, v6 })
    }

    /// What becomes of a packet, through all tables on its way.
    pub fn run(&self, packet: &Packet) -> Run<'_> {
        let tables = match packet.flow.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let mut run = Run { verdict: Verdict::Undecided, is_untracked: packet.state == State::Untracked, passed: Vec::new() };
        for (name, chain) in way(&packet.hook) {
            let Some(table) = tables.get(*name) else { continue };
            let state = if run.is_untracked { State::Untracked } else { packet.state };
            let flow = match name {
                TableName::Raw | TableName::Mangle => packet.sent(),
                TableName::Filter => packet.filtered(state),
            };
            let verdict = self.walk(table, chain, &Seen { table: *name, packet, flow, state }, &mut run);
            match (name, verdict) {
                (TableName::Filter, verdict) => run.verdict = verdict.unwrap_or(Verdict::Undecided),
                (TableName::Raw | TableName::Mangle, Some(Verdict::Drop)) => {
                    run.verdict = Verdict::Drop;
                    break;
                }
                (TableName::Raw | TableName::Mangle, _) => {}
            }
        }
        run
    }

    /// Goes through a chain; none when the packet comes back from it. A goto gives the rest of the chain up. Loading has seen
    /// to it that chains do not nest deep.
    fn walk<'kernel>(&'kernel self, table: &'kernel Table, chain: &str, seen: &Seen<'_>, run: &mut Run<'kernel>) -> Option<Verdict> {
        let (chain, rules) = table.chain(chain)?;
        for (number, rule) in (1..).zip(rules).filter(|(_, rule)| self.matches(rule, seen)) {
            run.passed.push(Passed { table: seen.table, chain, number, line: rule.line, comment: &rule.comment, target: &rule.target });
            let verdict = match &rule.target {
                Target::Accept => Some(Verdict::Accept),
                Target::Drop => Some(Verdict::Drop),
                Target::Return => return None,
                Target::Log => None,
                Target::NoTrack => {
                    run.is_untracked = true;
                    None
                }
                Target::Goto(other) => return self.walk(table, other, seen, run),
                Target::Jump(other) => self.walk(table, other, seen, run),
            };
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    fn matches(&self, rule: &Rule, seen: &Seen<'_>) -> bool {
        rule.conditions.iter().all(|(is_negated, condition)| self.holds(condition, seen) != *is_negated)
    }

    fn holds(&self, condition: &Condition, seen: &Seen<'_>) -> bool {
        let flow = &seen.flow;
        match condition {
            Condition::Protocol(protocol) => flow.protocol == *protocol,
            Condition::Address(side, net) => net.holds(flow.address(*side)),
            Condition::Arrives(interface) => seen.packet.hook.arrives().is_some_and(|name| interface.is(name)),
            Condition::ReversePath { is_loose } => leads_back(seen.packet.reverse_path, *is_loose),
            Condition::Leaves(interface) => seen.packet.hook.leaves() == Some(interface),
            Condition::Set(name, sides) => self.sets.get(name).is_some_and(|set| set.has(sides, flow)),
            Condition::Ports(side, ranges) => flow.port(*side).is_some_and(|port| ranges.iter().any(|range| range.holds(port))),
            Condition::Icmp(icmp) => {
                flow.icmp.is_some_and(|found| found.kind == icmp.kind && icmp.code.is_none_or(|code| code == found.code))
            }
            Condition::Connection(connection) => connection.holds(seen),
            Condition::Limit => true,
        }
    }
}

/// Whether a packet has the route back that `rpfilter` asks for. What arrives over the loopback
/// interface always has.
fn leads_back(reverse_path: ReversePath, is_loose: bool) -> bool {
    match reverse_path {
        ReversePath::Arriving => true,
        ReversePath::Elsewhere => is_loose,
        ReversePath::Nowhere => false,
    }
}

impl Connection {
    /// As `conntrack_mt` in net/netfilter/xt_conntrack.c: a packet without a connection is only asked its state, and matches
    /// nothing that asks no state, negated or not. We take the packet for one of the connection's original direction.
    fn holds(&self, seen: &Seen<'_>) -> bool {
        let is = |(is_negated, holds): (bool, bool)| holds != is_negated;
        let state = self.states.as_ref().is_none_or(|(is_negated, states)| is((*is_negated, states.contains(&seen.state))));
        if matches!(seen.state, State::Untracked | State::Invalid) {
            return state && self.states.is_some();
        }
        let sent = seen.packet.sent();
        let port = sent.ports.map(|ports| ports.destination);
        state
            && self.address.is_none_or(|(is_negated, net)| is((is_negated, net.holds(sent.destination))))
            && self.port.is_none_or(|(is_negated, range)| is((is_negated, port.is_some_and(|port| range.holds(port)))))
    }
}

impl Tables {
    fn load(texts: &TableTexts<'_>, family: Family, sets: &Sets) -> Result<Self, LoadError> {
        let table = |name, text| Table::load(text, (name, family), sets);
        Ok(Self {
            raw: texts.raw.map(|text| table(TableName::Raw, text)).transpose()?,
            mangle: texts.mangle.map(|text| table(TableName::Mangle, text)).transpose()?,
            filter: table(TableName::Filter, texts.filter)?,
        })
    }

    fn get(&self, name: TableName) -> Option<&Table> {
        match name {
            TableName::Raw => self.raw.as_ref(),
            TableName::Mangle => self.mangle.as_ref(),
            TableName::Filter => Some(&self.filter),
        }
    }
}

/// The built-in chains that a packet passes, of those that palisade hooks into.
fn way(hook: &Hook) -> &'static [(TableName, &'static str)] {
    match hook {
        Hook::Forward { .. } => &[(TableName::Raw, "PREROUTING"), (TableName::Mangle, "PREROUTING"), (TableName::Filter, "FORWARD")],
        Hook::Input { .. } => &[(TableName::Raw, "PREROUTING"), (TableName::Mangle, "PREROUTING"), (TableName::Filter, "INPUT")],
        Hook::Output { .. } => &[(TableName::Raw, "OUTPUT"), (TableName::Filter, "OUTPUT")],
    }
}

impl TableName {
    /// The name that scripts begin with.
    pub fn word(self) -> &'static str {
        match self {
            TableName::Raw => "raw",
            TableName::Mangle => "mangle",
            TableName::Filter => "filter",
        }
    }

    /// The kernel's chains that palisade hooks into.
    fn built_in(self) -> &'static [&'static str] {
        match self {
            TableName::Raw => &["PREROUTING", "OUTPUT"],
            TableName::Mangle => &["PREROUTING"],
            TableName::Filter => &["FORWARD", "INPUT", "OUTPUT"],
        }
    }
}

impl State {
    /// The state of an iptables word.
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "NEW" => Some(State::New),
            "ESTABLISHED" => Some(State::Established),
            "RELATED" => Some(State::Related),
            "INVALID" => Some(State::Invalid),
            "UNTRACKED" => Some(State::Untracked),
            _ => None,
        }
    }
}

impl std::error::Error for LoadError {}

impl fmt::Display for LoadError {
    /// `sets, line 3: no set web`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.script {
            Script::Sets => out.write_str("sets")?,
            Script::Table(table, family) => write!(out, "{} table of {family}", table.word())?,
        }
        match self.line {
            Some(line) => write!(out, ", line {line}: {}", self.problem),
            None => write!(out, ": {}", self.problem),
        }
    }
}

impl fmt::Display for Script {
    /// Its name in a bundle: `filter.v4.rules`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Script::Sets => out.write_str("sets.ipset"),
            Script::Table(table, Family::V4) => write!(out, "{}.v4.rules", table.word()),
            Script::Table(table, Family::V6) => write!(out, "{}.v6.rules", table.word()),
        }
    }
}

impl fmt::Display for Passed<'_> {
    /// `filter FORWARD: the comment: goto pal-x`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}: {}", self.table.word(), self.chain, self.comment, self.target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Accept => out.write_str("accept"),
            Target::Drop => out.write_str("drop"),
            Target::Return => out.write_str("return"),
            Target::Log => out.write_str("log"),
            Target::NoTrack => out.write_str("no tracking"),
            Target::Jump(chain) => write!(out, "jump {chain}"),
            Target::Goto(chain) => write!(out, "goto {chain}"),
        }
    }
}

/// Lines that say something, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Read<()> {
    if holds { Ok(()) } else { Err(problem()) }
}

#[cfg(test)]
mod tests;
