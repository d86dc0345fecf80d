//! Compares tables, and writes the scripts that remove the differences.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::net::Family;
use crate::observe::ObservedKernel;
use crate::plan::targets::{SetTargets, SlotNames};
use crate::plan::{DesiredKernel, PrintCache};
use crate::ruleset::{HookRule, ParsedTable, RulePosition, RuleText, TableId, TableKind, is_ours};

/// The changes to one table.
#[derive(Debug)]
pub(super) struct TableChange<'all> {
    pub(super) id: TableId,
    /// Chains to write, with their rules. A chain may have none.
    pub(super) chains: Vec<(&'all str, Vec<Cow<'all, RuleText>>)>,
    /// Built-in chains whose hooks are rewritten.
    pub(super) hooks: Vec<HookJumps<'all>>,
    /// Chains that the desired state does not contain. Once the other changes are written, no rule
    /// leads to them.
    pub(super) unwanted: Vec<&'all str>,
    pub(super) stage: TableStage,
}

/// How the packet path through a table changes when it is written. The order is the write order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TableStage {
    /// So far, no packet enters Palisade chains in this table.
    New,
    /// Packets enter Palisade chains before and after, but meet other rules.
    Other,
    /// No packet will enter Palisade chains in this table.
    Left,
}

/// The hooks in one built-in chain.
#[derive(Debug)]
pub(super) struct HookJumps<'all> {
    pub(super) chain: &'all str,
    pub(super) wanted: Vec<(RulePosition, Cow<'all, RuleText>)>,
    pub(super) found: Vec<&'all HookRule>,
    /// Number of rules that the chain has now, hooks included.
    length: usize,
}

/// Inputs of the comparison of tables.
pub(super) struct TableComparison<'all> {
    pub(super) desired: &'all DesiredKernel,
    pub(super) observed: &'all ObservedKernel,
    /// How the tools print rules, if the cache describes this iptables build.
    pub(super) memory: Option<&'all PrintCache>,
}

static NOTHING: ParsedTable = ParsedTable {
    chains: BTreeMap::new(),
    hooks: Vec::new(),
    lengths: BTreeMap::new(),
    sets_of_others: BTreeSet::new(),
};

impl<'all> TableComparison<'all> {
    /// Returns all tables with changes, in packet order.
    pub(super) fn changes(&self, targets: &SetTargets<'_>) -> Vec<TableChange<'all>> {
        let moved = targets.moved();
        let ids: BTreeSet<TableId> = self
            .desired
            .tables
            .keys()
            .chain(self.observed.tables.keys())
            .copied()
            .collect();

        let changes = ids.into_iter().map(|id| self.change(id, &moved));
        changes
            .filter(|change| change.is_commit() || !change.unwanted.is_empty())
            .collect()
    }

    /// Returns the families in which a table must be written.
    pub(super) fn committing(&self, targets: &SetTargets<'_>) -> BTreeSet<Family> {
        self.changes(targets)
            .iter()
            .filter(|change| change.is_commit())
            .map(|change| change.id.family)
            .collect()
    }

    /// Returns the desired and the observed state of a table. An absent table is empty.
    pub(super) fn tables(&self, id: TableId) -> (&'all ParsedTable, &'all ParsedTable) {
        (
            self.desired.tables.get(&id).unwrap_or(&NOTHING),
            self.observed.tables.get(&id).unwrap_or(&NOTHING),
        )
    }

    /// Returns the changes to a table, which may be empty. `moved` maps the sets that are in other
    /// slots.
    pub(super) fn change(&self, id: TableId, moved: &SlotNames<'_>) -> TableChange<'all> {
        let (wanted, found) = self.tables(id);
        let is_unwanted = |name: &&'all str| !wanted.chains.contains_key(*name);
        let mut chains: Vec<_> = wanted
            .chains
            .iter()
            .filter_map(|(name, rules)| self.chain(id, name, rules, moved))
            .collect();
        let is_left = |(name, rules): &(&'all String, &Vec<RuleText>)| {
            !wanted.chains.contains_key(*name) && !rules.is_empty()
        };

        // Unwanted chains are emptied in this transaction and deleted in a later one.
        chains.extend(
            found
                .chains
                .iter()
                .filter(is_left)
                .map(|(name, _)| (name.as_str(), Vec::new())),
        );

        // The kernel refuses to delete a chain that a foreign rule references.
        let unwanted = found
            .chains
            .keys()
            .map(String::as_str)
            .filter(is_unwanted)
            .filter(|name| !is_held(found, id.kind, name));
        let hooks = hooked_from(id.kind, wanted)
            .into_iter()
            .filter_map(|chain| self.hooks(id, chain, moved))
            .collect();
        let stage = match (found.hooks.is_empty(), wanted.hooks.is_empty()) {
            (true, _) => TableStage::New,
            (false, true) => TableStage::Left,
            (false, false) => TableStage::Other,
        };

        TableChange {
            id,
            chains,
            hooks,
            unwanted: unwanted.collect(),
            stage,
        }
    }

    /// Returns a desired chain with its rules, or `None` if the observed chain already equals it.
    fn chain(
        &self,
        id: TableId,
        name: &'all str,
        rules: &'all [RuleText],
        moved: &SlotNames<'_>,
    ) -> Option<(&'all str, Vec<Cow<'all, RuleText>>)> {
        let rules: Vec<Cow<'all, RuleText>> =
            rules.iter().map(|rule| rendered(rule, moved)).collect();
        let found = self.tables(id).1.chains.get(name);

        let is_right = found.is_some_and(|found| {
            let (wrote, read): (Vec<&RuleText>, Vec<&RuleText>) = (
                rules.iter().map(Cow::as_ref).collect(),
                found.iter().collect(),
            );
            are_equal(&wrote, &read)
                || self
                    .memory
                    .is_some_and(|memory| memory.has_chain(id, name, &wrote, &read))
        });
        (!is_right).then_some((name, rules))
    }

    /// Returns the hooks in a foreign chain, or `None` if the observed hooks already equal the
    /// desired ones.
    fn hooks(
        &self,
        id: TableId,
        chain: &'all str,
        moved: &SlotNames<'_>,
    ) -> Option<HookJumps<'all>> {
        let (wanted, found) = self.tables(id);
        let length = found.lengths.get(chain).copied().unwrap_or_default();
        let found = found
            .hooks
            .iter()
            .filter(|hook| hook.from == chain)
            .collect();
        let of_chain = wanted.hooks.iter().filter(|hook| hook.from == chain);
        let wanted = of_chain
            .map(|hook| (hook.place, rendered(&hook.rule, moved)))
            .collect();
        let hooks = HookJumps {
            chain,
            wanted,
            found,
            length,
        };
        let is_remembered = || {
            self.memory
                .is_some_and(|memory| memory.has_hooks(id, chain, &hooks.wrote(), &hooks.read()))
        };

        let is_right =
            hooks.is_placed() && (are_equal(&hooks.wrote(), &hooks.read()) || is_remembered());
        (!is_right).then_some(hooks)
    }
}

impl HookJumps<'_> {
    /// Returns the desired hooks in their final order.
    pub(super) fn wrote(&self) -> Vec<&RuleText> {
        self.standing().into_iter().map(|(_, rule)| rule).collect()
    }

    /// Returns the observed hooks.
    pub(super) fn read(&self) -> Vec<&RuleText> {
        self.found.iter().map(|hook| &hook.rule).collect()
    }

    /// Returns the lines that delete the observed hooks. `iptables-restore` cannot read a rule with
    /// a newline, so such a hook is deleted by number, highest number first, which keeps the lower
    /// numbers valid.
    fn removals(&self) -> impl Iterator<Item = String> {
        let (by_number, by_text): (Vec<&HookRule>, Vec<&HookRule>) = self
            .found
            .iter()
            .partition(|hook| hook.rule.text().contains('\n'));

        let by_number = by_number
            .into_iter()
            .rev()
            .map(|hook| format!("-D {} {}", self.chain, number(hook.place)));
        by_number.chain(
            by_text
                .into_iter()
                .map(|hook| format!("-D {} {}", self.chain, hook.rule.text())),
        )
    }

    /// Returns whether the number of hooks and their positions are as desired.
    pub(super) fn is_placed(&self) -> bool {
        self.standing()
            .iter()
            .map(|(number, _)| *number)
            .eq(self.found.iter().map(|hook| number(hook.place)))
    }

    /// Returns the desired hooks in their final order, each with its number if the chain has no
    /// foreign rules between them.
    fn standing(&self) -> Vec<(usize, &RuleText)> {
        let exact = self.exact();
        if !exact.is_empty() {
            return exact;
        }

        let (mut heads, tails): (Vec<_>, Vec<_>) = self
            .wanted
            .iter()
            .partition(|(place, _)| *place == RulePosition::Head);
        heads.reverse(); // each was put before those that were there

        // Tails are appended, so they are the last rules of the chain.
        let tails = ((self.length + 1).saturating_sub(tails.len())..).zip(tails);
        (1..)
            .zip(heads)
            .chain(tails)
            .map(|(number, (_, rule))| (number, rule.as_ref()))
            .collect()
    }
}

impl HookJumps<'_> {
    /// Returns the hooks with an exact number, each at that number, or at the end if the chain is
    /// shorter.
    fn exact(&self) -> Vec<(usize, &RuleText)> {
        let mut exact: Vec<(usize, &RuleText)> = Vec::new();
        for (place, rule) in &self.wanted {
            exact.extend(if let RulePosition::At(number) = place {
                Some((*number, rule.as_ref()))
            } else {
                None
            });
        }

        exact.sort_by_key(|(number, _)| *number);
        let others = self.length.saturating_sub(self.found.len());
        let ends = others.saturating_add(1)..;
        exact
            .into_iter()
            .zip(ends)
            .map(|((number, rule), end)| (number.min(end), rule))
            .collect()
    }
}

impl TableChange<'_> {
    /// Returns whether the change writes rules, and does not only delete chains.
    pub(super) fn is_commit(&self) -> bool {
        !self.chains.is_empty() || !self.hooks.is_empty()
    }

    /// Writes one transaction with everything that differs. `--noflush` restore flushes a declared
    /// chain before it adds rules; packets see neither step, because the commit is atomic.
    pub(super) fn write(&self, out: &mut String) {
        let mut lines = vec![format!("*{}", self.id.kind.label())];
        lines.extend(
            self.chains
                .iter()
                .map(|(name, _)| format!(":{name} - [0:0]")),
        );
        // Old hooks go first, so that exact numbers count only foreign rules and new hooks.
        self.hooks
            .iter()
            .for_each(|hooks| lines.extend(hooks.removals()));

        for (name, rules) in &self.chains {
            lines.extend(
                rules
                    .iter()
                    .map(|rule| format!("-A {name} {}", rule.text())),
            );
        }

        for hooks in &self.hooks {
            lines.extend(hooks.wanted.iter().filter_map(|(place, rule)| match place {
                RulePosition::Head => Some(format!("-I {} 1 {}", hooks.chain, rule.text())),
                RulePosition::Number(_) => Some(format!("-A {} {}", hooks.chain, rule.text())),
                RulePosition::At(_) => None,
            }));
            let exact = hooks.exact().into_iter();
            lines.extend(
                exact.map(|(number, rule)| format!("-I {} {number} {}", hooks.chain, rule.text())),
            );
        }

        lines.push("COMMIT".to_owned());
        lines.iter().for_each(|line| push_line(out, line));
    }

    /// Writes one transaction that deletes chains, which are empty and unreferenced by then.
    pub(super) fn remove(&self, out: &mut String) {
        push_line(out, &format!("*{}", self.id.kind.label()));
        self.unwanted
            .iter()
            .for_each(|name| push_line(out, &format!("-X {name}")));
        push_line(out, "COMMIT");
    }
}

/// Formats `filter: 3 chains, jumps from FORWARD and INPUT`.
impl fmt::Display for TableChange<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.id.kind.label())?;
        let mut parts = Vec::new();
        let (empty, full): (Vec<_>, Vec<_>) =
            self.chains.iter().partition(|(_, rules)| rules.is_empty());

        for (chains, about) in [(full, ""), (empty, " without rules")] {
            match chains.len() {
                0 => {}
                1 => parts.push(format!("1 chain{about}")),
                many => parts.push(format!("{many} chains{about}")),
            }
        }

        if !self.hooks.is_empty() {
            let chains: Vec<&str> = self.hooks.iter().map(|hooks| hooks.chain).collect();
            parts.push(format!("jumps from {}", chains.join(", ")));
        }

        parts
            .iter()
            .enumerate()
            .try_for_each(|(at, part)| write!(out, "{} {part}", if at == 0 { ":" } else { "," }))
    }
}

/// Returns Palisade's part of a table with the kernel names of its sets. Its hooks go to the end of
/// the built-in chains.
pub(super) fn copied(table: &ParsedTable, moved: &SlotNames<'_>) -> ParsedTable {
    let owned = |rule: &RuleText| rendered(rule, moved).into_owned();
    let chains = table
        .chains
        .iter()
        .map(|(name, rules)| (name.clone(), rules.iter().map(owned).collect()));
    let hooks = table.hooks.iter().map(|hook| HookRule {
        from: hook.from.clone(),
        rule: owned(&hook.rule),
        place: RulePosition::Number(1),
    });

    ParsedTable {
        chains: chains.collect(),
        hooks: hooks.collect(),
        ..ParsedTable::default()
    }
}

/// Returns a rule with the kernel names of its sets. `moved` holds the names that differ from the
/// sets' own.
fn rendered<'rule>(rule: &'rule RuleText, moved: &SlotNames<'_>) -> Cow<'rule, RuleText> {
    match moved.is_empty() || !rule.sets().iter().any(|set| moved.contains_key(set)) {
        true => Cow::Borrowed(rule),
        false => {
            Cow::Owned(rule.with_sets(|set| moved.get(set).copied().unwrap_or(set).to_owned()))
        }
    }
}

/// Returns whether two lists have the same length and their rules do the same, one by one.
pub(super) fn are_equal(left: &[&RuleText], right: &[&RuleText]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| left.does_same(right))
}

/// Returns the number of a rule in its chain, from 1.
pub(super) fn number(place: RulePosition) -> usize {
    match place {
        RulePosition::Head => 1,
        RulePosition::Number(number) | RulePosition::At(number) => number,
    }
}

/// Returns the chains whose hooks Palisade owns: the built-in ones. Rules in other foreign chains
/// stay as they are.
pub(super) fn hooked_from(kind: TableKind, wanted: &ParsedTable) -> BTreeSet<&str> {
    wanted
        .hooks
        .iter()
        .map(|hook| hook.from.as_str())
        .chain(kind.built_in().iter().copied())
        .collect()
}

/// Returns whether a foreign chain references this Palisade chain. The kernel then refuses to
/// delete it.
fn is_held(found: &ParsedTable, kind: TableKind, name: &str) -> bool {
    let of_others = found
        .hooks
        .iter()
        .filter(|hook| !is_ours(&hook.from) && !kind.built_in().contains(&hook.from.as_str()));
    of_others
        .filter_map(|hook| hook.rule.leads())
        .any(|leads| leads.chain() == name)
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}
