//! A model of the kernel's netfilter that runs packets through checked scripts: the built-in chains
//! of a hook, with jump, goto and return as in the kernel.
//!
//! In: [`CheckedScripts`] and packets. Out: a [`NodeKernel`], and what it does with a packet, rule
//! by rule. Absent: the modules that write scripts, and text.

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

/// The netfilter state of one node with its scripts loaded.
#[derive(Debug)]
pub struct NodeKernel {
    sets: LoadedSets,
    v4: FamilyTables,
    v6: FamilyTables,
}

/// The tables of one family.
#[derive(Debug)]
struct FamilyTables {
    raw: Option<LoadedTable>,
    mangle: Option<LoadedTable>,
    filter: LoadedTable,
}

/// A script of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptFile {
    /// The `ipset restore` script.
    Sets,
    /// The `iptables-restore` script of a table.
    Table(TableName, Family),
}

/// A netfilter table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableName {
    /// Runs before connection tracking.
    Raw,
    /// Runs after connection tracking and before DNAT.
    Mangle,
    /// Runs after DNAT.
    Filter,
}

/// The outcome for a packet, with the rules that led to it.
#[derive(Debug, Clone)]
pub struct PacketTrace<'kernel> {
    /// The verdict.
    pub verdict: Verdict,
    /// `true` if the packet is untracked.
    pub is_untracked: bool,
    /// The rules that matched, in order.
    pub passed: Vec<MatchedRule<'kernel>>,
}

/// A rule that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchedRule<'kernel> {
    /// The table.
    pub table: TableName,
    /// The chain that contains the rule.
    pub chain: &'kernel str,
    /// The number of the rule in the chain, from 1.
    pub number: usize,
    /// The line of the rule in the script, from 1.
    pub line: usize,
    /// The comment of the rule; may be empty.
    pub comment: &'kernel str,
    /// The target of the rule.
    pub target: &'kernel CheckedTarget,
}

/// A packet as one table sees it.
struct PacketInTable<'packet> {
    table: TableName,
    packet: &'packet Packet,
    flow: Flow,
    state: State,
}

impl NodeKernel {
    /// Loads the scripts of a bundle.
    pub fn load(scripts: &CheckedScripts) -> Self {
        Self::of_holdings(scripts.holdings())
    }

    /// Loads the contents of a kernel.
    pub fn of_holdings(holdings: &KernelContents) -> Self {
        let [v4, v6] = Family::BOTH.map(|family| FamilyTables::from_contents(holdings, family));
        Self {
            sets: LoadedSets::from_parsed(holdings.sets()),
            v4,
            v6,
        }
    }

    /// Runs a packet through all tables of its hook.
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
            // NOTRACK in raw decides the state that the later tables see
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
                // bundles have no ACCEPT here; in a live kernel, ACCEPT ends only this table
                (TableName::Raw | TableName::Mangle, _) => {}
            }
        }

        run
    }

    /// Runs a packet through a chain. Returns `None` if the packet returns to the calling chain.
    /// After a goto, the rest of the chain is skipped. The recursion is bounded because loading
    /// rejects deep chains.
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
                // NOTRACK is not terminating: the packet continues with the next rule
                CheckedTarget::NoTrack => {
                    run.is_untracked = true;
                    None
                }
                // a return from the target chain goes to the caller of this chain
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
            // rates are not modelled; the first packets are within every limit
            RuleCondition::Limit => true,
        }
    }
}

/// Returns `true` if an `rpfilter` match accepts the route back. It always accepts packets that
/// arrive on the loopback interface.
fn leads_back(reverse_path: ReversePath, is_loose: bool) -> bool {
    match reverse_path {
        ReversePath::Arriving => true,
        ReversePath::Elsewhere => is_loose,
        ReversePath::Nowhere => false,
    }
}

impl ConntrackMatch {
    /// Follows `conntrack_mt` in net/netfilter/xt_conntrack.c: for a packet without a connection,
    /// only the state is compared, and a match without a state fails even if it is negated. The
    /// packet counts as one of the connection's original direction.
    fn holds(&self, seen: &PacketInTable<'_>) -> bool {
        let is = |(is_negated, holds): (bool, bool)| holds != is_negated;
        let state = self
            .states
            .as_ref()
            .is_none_or(|(is_negated, states)| is((*is_negated, states.contains(&seen.state))));
        // such packets have no connection whose original destination could be compared
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

/// Returns the built-in chains that a packet passes, of those that Palisade hooks into.
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
    /// Returns the table name in scripts.
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

    /// Returns the built-in chains of the table that Palisade hooks into.
    fn built_in(self) -> &'static [&'static str] {
        match self {
            TableName::Raw => &["PREROUTING", "OUTPUT"],
            TableName::Mangle => &["PREROUTING"],
            TableName::Filter => &["FORWARD", "INPUT", "OUTPUT"],
        }
    }
}

impl fmt::Display for ScriptFile {
    /// Prints the file name in a bundle: `filter.v4.rules`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScriptFile::Sets => out.write_str("sets.ipset"),
            ScriptFile::Table(table, Family::V4) => write!(out, "{}.v4.rules", table.label()),
            ScriptFile::Table(table, Family::V6) => write!(out, "{}.v6.rules", table.label()),
        }
    }
}

impl fmt::Display for MatchedRule<'_> {
    /// Prints `filter FORWARD: the comment: goto pal-x`.
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
