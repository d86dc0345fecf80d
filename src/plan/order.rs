//! The order in which a family's tables are written. Tables commit one by one, so between two
//! commits packets meet some old tables and some new ones.
//!
//! A packet passes only if every table accepts it. So nothing opens while all old tables, or all
//! new tables, are in force, whatever other tables exist. Nothing is lost while only those tables
//! exist. Therefore a new table is written first, and a table that Palisade leaves is written last.
//! Among the tables that change, the plan may write a single one; or the filter table and another
//! one with a [`TransitionGuard`] around both: then the old tables are in force until the other one
//! is written, and the new tables from then on.
//!
//! Only the raw table decides which packets conntrack tracks, and the other tables match that
//! state. So a raw table that changes tracking always counts as a table that changes.

use std::collections::BTreeMap;
use std::fmt;

use crate::net::Family;
use crate::plan::guard::TransitionGuard;
use crate::plan::tables::{TableChange, TableComparison, TableStage};
use crate::plan::targets::SetTargets;
use crate::ruleset::{ParsedTable, RuleJump, TableId, TableKind};

/// The tables of a family in write order.
#[derive(Debug)]
pub(super) struct FamilyOrder<'all> {
    pub(super) family: Family,
    changes: Vec<&'all TableChange<'all>>,
    guard: Option<TransitionGuard>,
    breaches: Vec<TransitionBreach>,
}

/// A way in which a packet may meet a mixture of tables that matches neither the old nor the new
/// policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransitionBreach {
    /// The raw and the mangle table both change, and no order is safe.
    Mixed,
    /// A killed plan left a guard for another state, which this plan replaces.
    Replaced,
    /// The plan changes which packets conntrack tracks.
    Lost,
}

impl TransitionBreach {
    /// Returns the description for the operator.
    fn description(self) -> &'static str {
        match self {
            TransitionBreach::Mixed => {
                "a packet may pass between the raw table of one policy and the mangle table of the \
                 other"
            }
            TransitionBreach::Replaced => {
                "a packet may pass that the plan before, which was killed, denied already"
            }
            TransitionBreach::Lost => {
                "a packet that is tracked from now on, or no longer, may be lost"
            }
        }
    }
}

/// How the raw and the mangle table of a family change. A field is `None` if its table stays.
struct EarlyTables {
    raw: Option<TableStage>,
    mangle: Option<TableStage>,
    /// Whether the plan changes which packets conntrack tracks while policy is in force.
    moves_tracking: bool,
}

impl EarlyTables {
    fn new(family: Family, changes: &[&TableChange<'_>], comparison: &TableComparison<'_>) -> Self {
        let stage = |kind: TableKind| {
            changes
                .iter()
                .find(|change| change.id.kind == kind && change.is_commit())
                .map(|change| change.stage)
        };
        let (raw, mangle) = (stage(TableKind::Raw), stage(TableKind::Mangle));
        let (wanted, found) = comparison.tables(TableId {
            family,
            kind: TableKind::Raw,
        });
        let [is_wanted, is_found] = [&comparison.desired.tables, &comparison.observed.tables]
            .map(|tables| is_in_force(tables, family));
        // Tracking matters only if policy is in force before and after the plan.
        let moves_tracking = raw.is_some()
            && is_wanted
            && is_found
            && [wanted, found].into_iter().any(keeps_from_tracking);

        Self {
            raw,
            mangle,
            moves_tracking,
        }
    }

    /// Returns whether no order is safe.
    fn is_mixed(&self) -> bool {
        self.mangle == Some(TableStage::Other)
            && (self.raw == Some(TableStage::Other) || self.moves_tracking)
    }

    fn stage(&self, change: &TableChange<'_>) -> TableStage {
        match change.id.kind {
            TableKind::Raw if self.moves_tracking && !self.is_mixed() => TableStage::Other,
            TableKind::Raw | TableKind::Mangle | TableKind::Filter | TableKind::Security => {
                change.stage
            }
        }
    }
}

impl<'all> FamilyOrder<'all> {
    /// Orders the changes of one family. `changes` holds those of all families.
    pub(super) fn new(
        family: Family,
        changes: &'all [TableChange<'all>],
        comparison: &TableComparison<'_>,
        targets: &SetTargets<'_>,
    ) -> Self {
        let mut changes: Vec<&TableChange<'_>> = changes
            .iter()
            .filter(|change| change.id.family == family)
            .collect();
        let early = EarlyTables::new(family, &changes, comparison);

        changes.sort_by_key(|change| {
            let stage = early.stage(change);
            (stage, place(change.id.kind, stage))
        });

        let written = changes
            .iter()
            .filter(|change| change.is_commit() && change.id.kind != TableKind::Security);
        let between = written
            .clone()
            .filter(|change| early.stage(change) == TableStage::Other)
            .map(|change| change.id.kind);
        // A single changed table switches atomically by its own commit.
        let is_guarded = between.clone().count() > 1
            && between.into_iter().any(|kind| kind == TableKind::Filter);
        let guard = is_guarded.then(|| TransitionGuard::new(family, comparison, targets));

        let breaches = [
            (TransitionBreach::Mixed, early.is_mixed()),
            (
                TransitionBreach::Replaced,
                guard.as_ref().is_some_and(|guard| guard.is_replaced),
            ),
            (
                TransitionBreach::Lost,
                early.moves_tracking && written.count() > 1,
            ),
        ];
        let breaches = breaches
            .into_iter()
            .filter_map(|(breach, is_there)| is_there.then_some(breach))
            .collect();

        Self {
            family,
            changes,
            guard,
            breaches,
        }
    }

    /// Returns one transaction per table, between those that install and remove the guard. Empty if
    /// there is nothing to write.
    pub(super) fn write(&self) -> String {
        let guard = self.guard.as_ref();
        let mut out = guard.map(|guard| guard.on.clone()).unwrap_or_default();
        self.commits().for_each(|change| change.write(&mut out));
        out.push_str(guard.map_or("", |guard| &guard.off));
        out
    }

    /// Returns the script that deletes unwanted chains, and the number of these chains.
    pub(super) fn remove(&self) -> (String, usize) {
        let (mut out, mut count) = (String::new(), 0);
        for change in self.own().filter(|change| !change.unwanted.is_empty()) {
            change.remove(&mut out);
            count += change.unwanted.len();
        }
        if let Some(guard) = &self.guard {
            out.push_str(&guard.removal);
            count += guard.chains;
        }
        (out, count)
    }

    fn commits(&self) -> impl Iterator<Item = &TableChange<'all>> {
        self.own().filter(|change| change.is_commit())
    }

    /// Returns the tables that the guard does not use.
    fn own(&self) -> impl Iterator<Item = &TableChange<'all>> {
        self.changes
            .iter()
            .copied()
            .filter(|change| self.guard.is_none() || change.id.kind != TableKind::Security)
    }
}

/// Formats `IPv4: write mangle: 1 chain; filter: 2 chains`, and the breaches that may occur
/// meanwhile.
impl fmt::Display for FamilyOrder<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guarded = |words: &str| {
            self.guard
                .iter()
                .map(|_| words.to_owned())
                .collect::<Vec<_>>()
        };

        let mut parts = guarded("security: the filter table that will be, as a guard");
        parts.extend(self.commits().map(ToString::to_string));
        parts.extend(guarded("security: nothing"));
        write!(out, "{}: write {}", self.family, parts.join("; "))?;
        self.breaches.iter().try_for_each(|breach| {
            write!(
                out,
                "; meanwhile, in {}, {}",
                self.family,
                breach.description()
            )
        })
    }
}

/// Returns the position of a table in its stage. Tables follow packet order. Tables that Palisade
/// leaves go in reverse order, so that none of them sees packets whose tracking the raw table has
/// just changed.
fn place(kind: TableKind, stage: TableStage) -> usize {
    let place = TableKind::ALL
        .iter()
        .position(|other| *other == kind)
        .unwrap_or_default();
    if stage == TableStage::Left {
        TableKind::ALL.len() - place
    } else {
        place
    }
}

/// Returns whether packets enter Palisade chains.
fn is_in_force(tables: &BTreeMap<TableId, ParsedTable>, family: Family) -> bool {
    tables
        .iter()
        .any(|(id, table)| id.family == family && !table.hooks.is_empty())
}

fn keeps_from_tracking(raw: &ParsedTable) -> bool {
    raw.chains
        .values()
        .flatten()
        .any(|rule| rule.leads() == Some(RuleJump::Jump("CT")))
}
