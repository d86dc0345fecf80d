//! The text for `iptables-restore`, and of `iptables-save`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::net::Family;
use crate::ruleset::{Counters, Leads, Rule, is_ours, lines};

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
pub struct Table {
    /// Our chains and their rules, in order.
    pub chains: BTreeMap<String, Vec<Rule>>,
    /// The jumps into our chains, in order.
    pub hooks: Vec<Hook>,
    /// Chains that are not ours: how many rules each has.
    pub lengths: BTreeMap<String, usize>,
    /// Sets that rules of others look into.
    pub sets_of_others: BTreeSet<String>,
}

/// A rule in a chain that is not ours which leads into one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The chain: `FORWARD`, or any of somebody else's.
    pub from: String,
    /// The rule.
    pub rule: Rule,
    /// Where it stands, or is to stand.
    pub place: Place,
}

/// Where a rule stands in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
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
    pub fn word(self) -> &'static str {
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
        Self::ALL.into_iter().find(|kind| kind.word() == word)
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
        format!("{}.{family}.rules", self.kind.word())
    }
}

impl Table {
    /// Reads tables of a family that palisade has chains in; others in the text are left out.
    ///
    /// # Errors
    /// A line that is unknown, or a table that does not end in `COMMIT`.
    pub fn read(text: &str, family: Family) -> Result<BTreeMap<TableId, Table>, TableError> {
        let mut reader = Reader {
            family,
            tables: BTreeMap::new(),
            open: Open::Nothing,
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
            Open::Nothing => Ok(reader.tables),
            Open::Ours(_) | Open::Others => Err(TableError {
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
enum Open {
    Nothing,
    Ours(TableKind),
    Others,
}

struct Reader {
    family: Family,
    tables: BTreeMap<TableId, Table>,
    open: Open,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        match (line.strip_prefix('*'), self.open) {
            (Some(word), Open::Nothing) => {
                self.open = TableKind::from_word(word).map_or(Open::Others, Open::Ours);
                if let Open::Ours(kind) = self.open {
                    self.tables
                        .entry(TableId {
                            family: self.family,
                            kind,
                        })
                        .or_default();
                }
                Ok(())
            }
            (None, Open::Others) if line != "COMMIT" => Ok(()),
            (None, Open::Ours(_) | Open::Others) if line == "COMMIT" => {
                self.open = Open::Nothing;
                Ok(())
            }
            (None, Open::Ours(kind)) => self
                .tables
                .entry(TableId {
                    family: self.family,
                    kind,
                })
                .or_default()
                .take(line),
            (Some(_), Open::Ours(_) | Open::Others) | (None, Open::Nothing | Open::Others) => {
                Err(format!("unknown line `{line}`"))
            }
        }
    }
}

impl Table {
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
        let mut rule = Rule::of(text);
        rule.counters = counters;
        match self.chains.get_mut(chain) {
            Some(rules) if is_ours(chain) => rules.push(rule),
            Some(_) | None if is_ours(chain) => return Err(format!("there is no chain `{chain}`")),
            Some(_) | None => self.foreign(chain, rule, is_at_head),
        }
        Ok(())
    }

    /// A rule in a chain that is not ours.
    fn foreign(&mut self, chain: &str, rule: Rule, is_at_head: bool) {
        let length = self.lengths.entry(chain.to_owned()).or_default();
        *length += 1;
        let leads_to_us = rule.leads().map(Leads::chain).is_some_and(is_ours);
        match leads_to_us {
            true => {
                let place = if is_at_head {
                    Place::Head
                } else {
                    Place::Number(*length)
                };
                self.hooks.push(Hook {
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
fn counted(line: &str) -> Option<(Option<Counters>, &str)> {
    let Some(inner) = line.strip_prefix('[') else {
        return Some((None, line));
    };
    let (counters, rest) = inner.split_once("] ")?;
    let (packets, bytes) = counters.split_once(':')?;
    Some((
        Some(Counters {
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
        write!(out, "{} table of {}", self.kind.word(), self.family)
    }
}
