//! The kernel's part, played on checked scripts: a packet runs through the built-in chains on its
//! way with jump, goto and return as in the kernel.
//!
//! In: [`CheckedScripts`], and packets. Out: a [`NodeKernel`] and what it does with a packet, rule
//! by rule. Absent: the rooms that write scripts, and text.

mod atoms;
mod front;
mod graph;
mod sets;
mod symbolic;
mod model;
mod residual;
mod sequence;
mod trace;

pub use atoms::MisplacedRule;
pub(crate) use graph::{AnswerColumns, HookContext};
pub(crate) use residual::TableOutcome;
pub(crate) use symbolic::{AddressAnswers, SymbolicTables};
pub(crate) use trace::EarlyOutcome;

use std::collections::BTreeMap;
use std::fmt;

use crate::net::{Family, State};
use crate::packet::{Flow, Hook, Packet, ReversePath, Verdict};
pub use crate::ruleset::CheckedTarget;
use crate::ruleset::{CheckedScripts, KernelContents, TableId, TableKind};

use model::{ConntrackMatch, LoadedTable, Rule, RuleCondition};
use sets::LoadedSets;

/// One node's kernel with the scripts loaded.
#[derive(Debug)]
pub struct NodeKernel {
    sets: LoadedSets,
    v4: FamilyTables,
    v6: FamilyTables,
}

/// The tables of a family.
#[derive(Debug)]
struct FamilyTables {
    raw: Option<LoadedTable>,
    mangle: Option<LoadedTable>,
    filter: LoadedTable,
}

/// A script of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptFile {
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
pub struct PacketTrace<'kernel> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Whether it is kept from connection tracking.
    pub is_untracked: bool,
    /// The rules that matched, in order.
    pub passed: Vec<MatchedRule<'kernel>>,
}

/// A rule that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchedRule<'kernel> {
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
    pub target: &'kernel CheckedTarget,
}

/// A packet in a table.
struct PacketInTable<'packet> {
    table: TableName,
    packet: &'packet Packet,
    flow: Flow,
    state: State,
}

impl NodeKernel {
    /// Loads a bundle's scripts.
    pub fn load(scripts: &CheckedScripts) -> Self {
        Self::of_holdings(scripts.holdings())
    }

    /// Loads what some kernel holds.
    pub fn of_holdings(holdings: &KernelContents) -> Self {
        let [v4, v6] = Family::BOTH.map(|family| FamilyTables::from_contents(holdings, family));
        Self {
            sets: LoadedSets::from_parsed(holdings.sets()),
            v4,
            v6,
        }
    }

    /// What becomes of a packet, through all tables on its way.
    pub fn run(&self, packet: &Packet) -> PacketTrace<'_> {
        let tables = match packet.flow.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let mut run = PacketTrace {
            verdict: Verdict::Undecided,
            is_untracked: packet.state == State::Untracked,
            passed: Vec::new(),
        };

        for (name, chain) in way(&packet.hook) {
            let Some(table) = tables.get(*name) else {
                continue;
            };
            let state = if run.is_untracked {
                State::Untracked
            } else {
                packet.state
            };
            let flow = match name {
                TableName::Raw | TableName::Mangle => packet.sent(),
                TableName::Filter => packet.filtered(state),
            };
            let verdict = self.walk(
                table,
                chain,
                &PacketInTable {
                    table: *name,
                    packet,
                    flow,
                    state,
                },
                &mut run,
            );
            match (name, verdict) {
                (TableName::Filter, verdict) => run.verdict = verdict.unwrap_or(Verdict::Undecided),
                (TableName::Raw | TableName::Mangle, Some(Verdict::Drop)) => {
                    run.verdict = Verdict::Drop;
                    break;
                }
                // bundles have no ACCEPT here; an ACCEPT in a kernel ends this table only
                (TableName::Raw | TableName::Mangle, _) => {}
            }
        }

        run
    }

    /// Goes through a chain; none when the packet comes back from it. A goto gives the rest of the
    /// chain up. Loading has seen to it that chains do not nest deep.
    fn walk<'kernel>(
        &'kernel self,
        table: &'kernel LoadedTable,
        chain: &str,
        seen: &PacketInTable<'_>,
        run: &mut PacketTrace<'kernel>,
    ) -> Option<Verdict> {
        let (chain, rules) = table.chain(chain)?;
        for (number, rule) in (1..)
            .zip(rules)
            .filter(|(_, rule)| self.matches(rule, seen))
        {
            run.passed.push(MatchedRule {
                table: seen.table,
                chain,
                number,
                line: rule.line,
                comment: &rule.comment,
                target: &rule.target,
            });
            let verdict = match &rule.target {
                CheckedTarget::Accept => Some(Verdict::Accept),
                CheckedTarget::Drop => Some(Verdict::Drop),
                CheckedTarget::Return => return None,
                CheckedTarget::Log => None,
                CheckedTarget::NoTrack => {
                    run.is_untracked = true;
                    None
                }
                CheckedTarget::Goto(other) => return self.walk(table, other, seen, run),
                CheckedTarget::Jump(other) => self.walk(table, other, seen, run),
            };
            if verdict.is_some() {
                return verdict;
            }
        }

        None
    }

    fn matches(&self, rule: &Rule, seen: &PacketInTable<'_>) -> bool {
        rule.conditions
            .iter()
            .all(|(is_negated, condition)| self.holds(condition, seen) != *is_negated)
    }

    fn holds(&self, condition: &RuleCondition, seen: &PacketInTable<'_>) -> bool {
        let flow = &seen.flow;

        match condition {
            RuleCondition::Protocol(protocol) => flow.protocol == *protocol,
            RuleCondition::Address(side, net) => net.holds(flow.address(*side)),
            RuleCondition::Arrives(interface) => seen
                .packet
                .hook
                .arrives()
                .is_some_and(|name| interface.is(name)),
            RuleCondition::ReversePath { is_loose } => {
                leads_back(seen.packet.reverse_path, *is_loose)
            }
            RuleCondition::Leaves(interface) => seen.packet.hook.leaves() == Some(interface),
            RuleCondition::Set(name, sides) => {
                self.sets.get(name).is_some_and(|set| set.has(sides, flow))
            }
            RuleCondition::Ports(side, ranges) => flow
                .port(*side)
                .is_some_and(|port| ranges.iter().any(|range| range.holds(port))),
            RuleCondition::Icmp(icmp) => flow.icmp.is_some_and(|found| {
                found.kind == icmp.kind && icmp.code.is_none_or(|code| code == found.code)
            }),
            RuleCondition::Connection(connection) => connection.holds(seen),
            RuleCondition::Limit => true,
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

impl ConntrackMatch {
    /// As `conntrack_mt` in net/netfilter/xt_conntrack.c: a packet without a connection is only
    /// asked its state, and matches nothing that asks no state, negated or not. We take the packet
    /// for one of the connection's original direction.
    fn holds(&self, seen: &PacketInTable<'_>) -> bool {
        let is = |(is_negated, holds): (bool, bool)| holds != is_negated;
        let state = self
            .states
            .as_ref()
            .is_none_or(|(is_negated, states)| is((*is_negated, states.contains(&seen.state))));
        if matches!(seen.state, State::Untracked | State::Invalid) {
            return state && self.states.is_some();
        }

        let sent = seen.packet.sent();
        let port = sent.ports.map(|ports| ports.destination);
        state
            && self
                .address
                .is_none_or(|(is_negated, net)| is((is_negated, net.holds(sent.destination))))
            && self.port.is_none_or(|(is_negated, range)| {
                is((is_negated, port.is_some_and(|port| range.holds(port))))
            })
    }
}

impl FamilyTables {
    fn from_contents(holdings: &KernelContents, family: Family) -> Self {
        let table = |name: TableName| {
            let id = TableId {
                family,
                kind: name.kind(),
            };
            holdings
                .tables()
                .get(&id)
                .map(|checked| LoadedTable::from_checked(name, checked))
        };

        let empty = || LoadedTable {
            name: TableName::Filter,
            chains: BTreeMap::new(),
        };
        Self {
            raw: table(TableName::Raw),
            mangle: table(TableName::Mangle),
            filter: table(TableName::Filter).unwrap_or_else(empty),
        }
    }

    fn get(&self, name: TableName) -> Option<&LoadedTable> {
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
        Hook::Forward { .. } => &[
            (TableName::Raw, "PREROUTING"),
            (TableName::Mangle, "PREROUTING"),
            (TableName::Filter, "FORWARD"),
        ],
        Hook::Input { .. } => &[
            (TableName::Raw, "PREROUTING"),
            (TableName::Mangle, "PREROUTING"),
            (TableName::Filter, "INPUT"),
        ],
        Hook::Output { .. } => &[(TableName::Raw, "OUTPUT"), (TableName::Filter, "OUTPUT")],
    }
}

impl TableName {
    /// The name that scripts begin with.
    pub fn label(self) -> &'static str {
        match self {
            TableName::Raw => "raw",
            TableName::Mangle => "mangle",
            TableName::Filter => "filter",
        }
    }

    fn kind(self) -> TableKind {
        match self {
            TableName::Raw => TableKind::Raw,
            TableName::Mangle => TableKind::Mangle,
            TableName::Filter => TableKind::Filter,
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

impl fmt::Display for ScriptFile {
    /// Its name in a bundle: `filter.v4.rules`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScriptFile::Sets => out.write_str("sets.ipset"),
            ScriptFile::Table(table, Family::V4) => write!(out, "{}.v4.rules", table.label()),
            ScriptFile::Table(table, Family::V6) => write!(out, "{}.v6.rules", table.label()),
        }
    }
}

impl fmt::Display for MatchedRule<'_> {
    /// `filter FORWARD: the comment: goto pal-x`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {}: {}: {}",
            self.table.label(),
            self.chain,
            self.comment,
            self.target
        )
    }
}

#[cfg(test)]
mod tests;
