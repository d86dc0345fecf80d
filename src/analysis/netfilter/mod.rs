//! The kernel's part, played on the text of scripts: sets and one filter table per family are loaded strictly, and a packet
//! runs through a built-in chain with jump, goto and return as in the kernel.
//!
//! In: the texts of one node's scripts, and packets. Out: a [`Kernel`] and what it does with a packet, rule by rule. An option
//! that palisade does not write is an error, and so is whatever the stock tools would refuse. Absent: the rooms that write
//! scripts.

mod reader;
mod sets;
mod table;

use std::fmt;

use crate::analysis::Flow;
use crate::net::Family;

use sets::Sets;
use table::{Condition, Rule, Table};

/// One node's kernel with the scripts loaded.
#[derive(Debug)]
pub struct Kernel {
    sets: Sets,
    v4: Table,
    v6: Table,
}

/// The texts of one node's scripts.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'text> {
    /// For `ipset restore`.
    pub sets: &'text str,
    /// For `iptables-restore --noflush`.
    pub v4: &'text str,
    /// For `ip6tables-restore --noflush`.
    pub v6: &'text str,
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
    /// The filter table of a family.
    Filter(Family),
}

/// A packet as a node sees it.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// Who sends what to whom.
    pub flow: Flow,
    /// Where the node sees it.
    pub hook: Hook,
    /// What connection tracking says.
    pub state: State,
    /// Whether it came over the loopback interface.
    pub is_loopback: bool,
}

/// Where a node sees a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// On its way through.
    Forward,
    /// At its end.
    Input,
    /// At its beginning.
    Output,
}

/// The state of a packet's conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The packet begins it.
    New,
    /// Both sides have sent.
    Established,
    /// It belongs to another one.
    Related,
    /// It can belong to none.
    Invalid,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A rule accepts it.
    Accept,
    /// A rule drops it.
    Drop,
    /// No rule decides: it is left to whatever else the kernel's chains hold.
    Undecided,
}

/// What becomes of a packet, and why.
#[derive(Debug, Clone)]
pub struct Run<'kernel> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The rules that matched, in order.
    pub passed: Vec<Passed<'kernel>>,
}

/// A rule that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed<'kernel> {
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
    /// To another chain, and back.
    Jump(String),
    /// To another chain, from which the way leads back over this one.
    Goto(String),
}

/// What reading a part of a script yields, or what is wrong with it.
type Read<T> = Result<T, String>;

impl Kernel {
    /// Loads scripts.
    ///
    /// # Errors
    /// The first line that the tools would refuse or that palisade would not write.
    pub fn load(texts: &Texts<'_>) -> Result<Self, LoadError> {
        let sets = Sets::load(texts.sets)?;
        let v4 = Table::load(texts.v4, Family::V4, &sets)?;
        let v6 = Table::load(texts.v6, Family::V6, &sets)?;
        Ok(Self { sets, v4, v6 })
    }

    /// What becomes of a packet.
    pub fn run(&self, packet: &Packet) -> Run<'_> {
        let table = match packet.flow.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let mut passed = Vec::new();
        let verdict = self.walk(table, packet.hook.chain(), packet, &mut passed);
        Run { verdict: verdict.unwrap_or(Verdict::Undecided), passed }
    }

    /// Goes through a chain; none when the packet comes back from it. A goto gives the rest of the chain up. Loading has seen
    /// to it that chains do not nest deep.
    fn walk<'kernel>(
        &'kernel self,
        table: &'kernel Table,
        chain: &str,
        packet: &Packet,
        passed: &mut Vec<Passed<'kernel>>,
    ) -> Option<Verdict> {
        let (chain, rules) = table.chain(chain)?;
        for (number, rule) in (1..).zip(rules).filter(|(_, rule)| self.matches(rule, packet)) {
            passed.push(Passed { chain, number, line: rule.line, comment: &rule.comment, target: &rule.target });
            let verdict = match &rule.target {
                Target::Accept => Some(Verdict::Accept),
                Target::Drop => Some(Verdict::Drop),
                Target::Return => return None,
                Target::Log => None,
                Target::Goto(other) => return self.walk(table, other, packet, passed),
                Target::Jump(other) => self.walk(table, other, packet, passed),
            };
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    fn matches(&self, rule: &Rule, packet: &Packet) -> bool {
        rule.conditions.iter().all(|(is_negated, condition)| self.holds(condition, packet) != *is_negated)
    }

    fn holds(&self, condition: &Condition, packet: &Packet) -> bool {
        let flow = &packet.flow;
        match condition {
            Condition::Protocol(protocol) => flow.protocol == *protocol,
            Condition::Address(side, net) => net.holds(flow.address(*side)),
            Condition::Loopback => packet.is_loopback,
            Condition::Set(name, sides) => self.sets.get(name).is_some_and(|set| set.has(sides, flow)),
            Condition::Ports(side, ranges) => flow.port(*side).is_some_and(|port| ranges.iter().any(|range| range.holds(port))),
            Condition::Icmp(icmp) => {
                flow.icmp.is_some_and(|found| found.kind == icmp.kind && icmp.code.is_none_or(|code| code == found.code))
            }
            Condition::States(states) => states.contains(&packet.state),
            Condition::Limit => true,
        }
    }
}

impl Hook {
    fn chain(self) -> &'static str {
        match self {
            Hook::Forward => "FORWARD",
            Hook::Input => "INPUT",
            Hook::Output => "OUTPUT",
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
            Script::Filter(family) => write!(out, "filter table of {family}")?,
        }
        match self.line {
            Some(line) => write!(out, ", line {line}: {}", self.problem),
            None => write!(out, ": {}", self.problem),
        }
    }
}

impl fmt::Display for Passed<'_> {
    /// `FORWARD: the comment: goto pal-x`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.chain, self.comment, self.target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Accept => out.write_str("accept"),
            Target::Drop => out.write_str("drop"),
            Target::Return => out.write_str("return"),
            Target::Log => out.write_str("log"),
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
