//! The text for `iptables-restore`, and of `iptables-save`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::net::Family;
use crate::ruleset::{RuleCounters, RuleJump, RuleText, is_ours, lines};

/// A table of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableId {
    /// The family.
    pub family: Family,
    /// Which table.
    pub kind: TableKind,
}

/// The kernel's tables that we have chains in, in the order in which packets meet them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableKind {
    /// Before connections are tracked.
    Raw,
    /// Before destinations are translated.
    Mangle,
    /// Where verdicts are due.
    Filter,
    /// Behind the filter table, with the same chains of the kernel. No bundle has it: it is ours
    /// while several tables change.
    Security,
}

/// Our part of a table, and what others have to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedTable {
    /// Our chains and their rules, in order.
    pub chains: BTreeMap<String, Vec<RuleText>>,
    /// The jumps into our chains, in order.
    pub hooks: Vec<HookRule>,
    /// Chains that are not ours: how many rules each has.
    pub lengths: BTreeMap<String, usize>,
    /// Sets that rules of others look into.
    pub sets_of_others: BTreeSet<String>,
}

/// A rule in a chain that is not ours which leads into one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRule {
    /// The chain: `FORWARD`, or any of somebody else's.
    pub from: String,
    /// The rule.
    pub rule: RuleText,
    /// Where it stands, or is to stand.
    pub place: RulePosition,
}

/// Where a rule stands in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulePosition {
    /// Before all others: `-I chain 1`.
    Head,
    /// At this number, from 1: `-A` in what the kernel has. In a script of ours it stands for the
    /// end of the chain.
    Number(usize),
    /// At this number and no other, from 1: where a jump was that is to come back.
    At(usize),
}

/// A kernel's chain, by its name.
pub type KernelChain = &'static str;

/// A line that is none of a script for iptables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl TableKind {
    /// All of them.
    pub const ALL: [TableKind; 4] = [
        TableKind::Raw,
        TableKind::Mangle,
        TableKind::Filter,
        TableKind::Security,
    ];

    /// Those that bundles have scripts of.
    pub const OF_BUNDLES: [TableKind; 3] = [TableKind::Raw, TableKind::Mangle, TableKind::Filter];

    /// The kernel's name for it.
    pub fn label(self) -> &'static str {
        match self {
            TableKind::Raw => "raw",
            TableKind::Mangle => "mangle",
            TableKind::Filter => "filter",
            TableKind::Security => "security",
        }
    }

    /// The kernel's chains that palisade hooks into.
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
    /// The tables of both families that bundles have scripts of.
    pub fn of_bundles() -> impl Iterator<Item = TableId> {
        Family::BOTH.into_iter().flat_map(|family| {
            TableKind::OF_BUNDLES
                .into_iter()
                .map(move |kind| TableId { family, kind })
        })
    }

    /// The name of its script in a bundle: `filter.v4.rules`.
    pub fn file(self) -> String {
        let family = match self.family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        };
        format!("{}.{family}.rules", self.kind.label())
    }
}

impl ParsedTable {
    /// Reads tables of a family that palisade has chains in; others in the text are left out.
    ///
    /// # Errors
    /// A line that is unknown, or a table that does not end in `COMMIT`.
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

    /// Whether nothing of ours is in it.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.hooks.is_empty()
    }
}

/// What the lines belong to.
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

    /// A rule in a chain that is not ours.
    fn foreign(&mut self, chain: &str, rule: RuleText, is_at_head: bool) {
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

/// `[12:3456] -A …` or `-A …`.
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
    /// `line 3: there is no chain pal-x`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.problem)
    }
}

impl fmt::Display for TableId {
    /// `filter table of IPv4`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} table of {}", self.kind.label(), self.family)
    }
}
