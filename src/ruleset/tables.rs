//! Text of `iptables-restore` and `iptables-save`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::net::Family;
use crate::ruleset::{RuleCounters, RuleJump, RuleText, is_ours, lines};

/// A table of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableId {
    /// The family.
    pub family: Family,
    /// The kind of table.
    pub kind: TableKind,
}

/// The tables in which Palisade has chains, in packet order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableKind {
    /// Before connection tracking.
    Raw,
    /// Before destination NAT.
    Mangle,
    /// Decides about packets.
    Filter,
    /// After the filter table, with the same built-in chains. No bundle contains it. Palisade uses
    /// it only while several tables change.
    Security,
}

/// Palisade's part of a table, and the foreign rules that concern it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedTable {
    /// Palisade's chains with their rules, in order.
    pub chains: BTreeMap<String, Vec<RuleText>>,
    /// Rules in foreign chains that lead to Palisade's chains, in order.
    pub hooks: Vec<HookRule>,
    /// Number of rules of each foreign chain.
    pub lengths: BTreeMap<String, usize>,
    /// Sets that foreign rules reference.
    pub sets_of_others: BTreeSet<String>,
}

/// A rule in a foreign chain that leads to a Palisade chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRule {
    /// The foreign chain: `FORWARD`, or a chain of another program.
    pub from: String,
    /// The rule.
    pub rule: RuleText,
    /// The rule's actual or desired position.
    pub place: RulePosition,
}

/// The position of a rule in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulePosition {
    /// Before all other rules: `-I chain 1`.
    Head,
    /// At this number, from 1. In a script of Palisade's, it comes from `-A` and means the end of
    /// the chain.
    Number(usize),
    /// At exactly this number, from 1: the old position of a hook that a rollback restores.
    At(usize),
}

/// Name of a built-in chain.
pub type KernelChain = &'static str;

/// A line that does not belong in a script for iptables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with the line.
    pub problem: String,
}

impl TableKind {
    /// All tables.
    pub const ALL: [TableKind; 4] = [
        TableKind::Raw,
        TableKind::Mangle,
        TableKind::Filter,
        TableKind::Security,
    ];

    /// The tables for which bundles have scripts.
    pub const OF_BUNDLES: [TableKind; 3] = [TableKind::Raw, TableKind::Mangle, TableKind::Filter];

    /// Returns the kernel's name of the table.
    pub fn label(self) -> &'static str {
        match self {
            TableKind::Raw => "raw",
            TableKind::Mangle => "mangle",
            TableKind::Filter => "filter",
            TableKind::Security => "security",
        }
    }

    /// Returns the built-in chains that Palisade hooks into.
    pub fn built_in(self) -> &'static [KernelChain] {
        match self {
            TableKind::Raw => &["PREROUTING", "OUTPUT"],
            TableKind::Mangle => &["PREROUTING"],
            TableKind::Filter | TableKind::Security => &["INPUT", "FORWARD", "OUTPUT"],
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == word)
    }
}

impl TableId {
    /// Returns the tables of both families for which bundles have scripts.
    pub fn of_bundles() -> impl Iterator<Item = TableId> {
        Family::BOTH.into_iter().flat_map(|family| {
            TableKind::OF_BUNDLES
                .into_iter()
                .map(move |kind| TableId { family, kind })
        })
    }

    /// Returns the file name of the table's script in a bundle: `filter.v4.rules`.
    pub fn file(self) -> String {
        let family = match self.family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        };
        format!("{}.{family}.rules", self.kind.label())
    }
}

impl ParsedTable {
    /// Reads the tables of a family in which Palisade has chains, and skips others.
    ///
    /// # Errors
    /// An unknown line, or a table without `COMMIT`.
    pub fn read(text: &str, family: Family) -> Result<BTreeMap<TableId, ParsedTable>, TableError> {
        let mut reader = TableReader {
            family,
            tables: BTreeMap::new(),
            open: OpenTable::Nothing,
        };
        let mut last = 0;

        for (number, line) in lines(text) {
            last = number;
            reader.line(line).map_err(|problem| TableError {
                line: number,
                problem,
            })?;
        }

        match reader.open {
            OpenTable::Nothing => Ok(reader.tables),
            OpenTable::Ours(_) | OpenTable::Others => Err(TableError {
                line: last,
                problem: "the table does not end in `COMMIT`".to_owned(),
            }),
        }
    }

    /// Returns whether the table contains nothing of Palisade.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.hooks.is_empty()
    }
}

/// The table to which the current line belongs.
#[derive(Debug, Clone, Copy)]
enum OpenTable {
    Nothing,
    Ours(TableKind),
    Others,
}

struct TableReader {
    family: Family,
    tables: BTreeMap<TableId, ParsedTable>,
    open: OpenTable,
}

impl TableReader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }

        match (line.strip_prefix('*'), self.open) {
            (Some(word), OpenTable::Nothing) => {
                self.open = TableKind::from_word(word).map_or(OpenTable::Others, OpenTable::Ours);
                if let OpenTable::Ours(kind) = self.open {
                    self.tables
                        .entry(TableId {
                            family: self.family,
                            kind,
                        })
                        .or_default();
                }
                Ok(())
            }
            // Tables such as nat are foreign as a whole.
            (None, OpenTable::Others) if line != "COMMIT" => Ok(()),
            (None, OpenTable::Ours(_) | OpenTable::Others) if line == "COMMIT" => {
                self.open = OpenTable::Nothing;
                Ok(())
            }
            (None, OpenTable::Ours(kind)) => self
                .tables
                .entry(TableId {
                    family: self.family,
                    kind,
                })
                .or_default()
                .take(line),
            (Some(_), OpenTable::Ours(_) | OpenTable::Others)
            | (None, OpenTable::Nothing | OpenTable::Others) => {
                Err(format!("unknown line `{line}`"))
            }
        }
    }
}

impl ParsedTable {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let unknown = || format!("unknown line `{line}`");
        if let Some(declared) = line.strip_prefix(':') {
            let name = declared.split(' ').next().unwrap_or_default();
            // A chain exists from its declaration, even without rules.
            if is_ours(name) {
                self.chains.entry(name.to_owned()).or_default();
            }
            return Ok(());
        }

        let (counters, line) = counted(line).ok_or_else(unknown)?;
        let (verb, rest) = line.split_once(' ').ok_or_else(unknown)?;
        let (chain, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (is_at_head, text) = match (verb, rest.strip_prefix("1 ")) {
            ("-A", _) => (false, rest),
            ("-I", Some(text)) => (true, text),
            _ => return Err(unknown()),
        };

        let mut rule = RuleText::new(text);
        rule.counters = counters;
        match self.chains.get_mut(chain) {
            Some(rules) if is_ours(chain) => rules.push(rule),
            Some(_) | None if is_ours(chain) => return Err(format!("there is no chain `{chain}`")),
            Some(_) | None => self.foreign(chain, rule, is_at_head),
        }

        Ok(())
    }

    /// Records a rule in a foreign chain: as a hook, or for the sets that it references.
    fn foreign(&mut self, chain: &str, rule: RuleText, is_at_head: bool) {
        // The kernel numbers all rules of a chain, so foreign rules count too.
        let length = self.lengths.entry(chain.to_owned()).or_default();
        *length += 1;
        let leads_to_us = rule.leads().map(RuleJump::chain).is_some_and(is_ours);

        match leads_to_us {
            true => {
                let place = if is_at_head {
                    RulePosition::Head
                } else {
                    RulePosition::Number(*length)
                };
                self.hooks.push(HookRule {
                    from: chain.to_owned(),
                    rule,
                    place,
                });
            }
            false => self
                .sets_of_others
                .extend(rule.sets().into_iter().map(str::to_owned)),
        }
    }
}

/// Splits the counters from `[12:3456] -A …` or `-A …`. Returns `None` if they are malformed.
fn counted(line: &str) -> Option<(Option<RuleCounters>, &str)> {
    let Some(inner) = line.strip_prefix('[') else {
        return Some((None, line));
    };

    let (counters, rest) = inner.split_once("] ")?;
    let (packets, bytes) = counters.split_once(':')?;
    Some((
        Some(RuleCounters {
            packets: packets.parse().ok()?,
            bytes: bytes.parse().ok()?,
        }),
        rest,
    ))
}

impl std::error::Error for TableError {}

impl fmt::Display for TableError {
    /// Formats `line 3: there is no chain pal-x`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.problem)
    }
}

impl fmt::Display for TableId {
    /// Formats `filter table of IPv4`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} table of {}", self.kind.label(), self.family)
    }
}
