//! Under which name each set is to stand, and how it gets its members there.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::delta::{MemberDelta, is_roomy};
use crate::plan::slots::base;
use crate::ruleset::ParsedSet;

/// What becomes of each set, by its own name.
#[derive(Debug, Default)]
pub(super) struct SetTargets<'desired> {
    pub(super) sets: BTreeMap<&'desired str, SetTarget<'desired>>,
    /// Names in the kernel that stay as they are.
    pub(super) untouched: Option<&'desired BTreeSet<String>>,
}

/// Names in the kernel by the sets' own.
pub(super) type SlotNames<'targets> = BTreeMap<&'targets str, &'targets str>;

/// What becomes of a set.
#[derive(Debug)]
pub(super) struct SetTarget<'desired> {
    /// What it is to hold.
    pub(super) set: &'desired ParsedSet,
    /// The name that rules are to look into.
    pub(super) slot: String,
    /// How it gets there.
    pub(super) way: FillStrategy,
}

/// How a set gets its members.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FillStrategy {
    /// It has them.
    Stands,
    /// It gets them where nobody looks yet.
    Fresh,
    /// It gets them where only rules of others look.
    Lent,
    /// Line by line, while rules look into it.
    InPlace(MemberDelta),
    /// By a swap with a copy, while rules look into it.
    Swap(String),
    /// It is a gate: it gains members before all other changes and loses members behind them.
    Gate {
        /// What it gains and loses.
        delta: MemberDelta,
        /// The copy that it is swapped with to lose members, where lines would not do.
        copy: Option<String>,
    },
    /// Line by line, while rules look into it and packets may see it half, since all its names are
    /// taken.
    Exposed(MemberDelta),
}

impl FillStrategy {
    /// The name under which the set stood that a swap put away.
    pub(super) fn copy(&self) -> Option<&str> {
        match self {
            FillStrategy::Swap(copy)
            | FillStrategy::Gate {
                copy: Some(copy), ..
            } => Some(copy),
            FillStrategy::Gate { copy: None, .. }
            | FillStrategy::Stands
            | FillStrategy::Fresh
            | FillStrategy::Lent
            | FillStrategy::InPlace(_)
            | FillStrategy::Exposed(_) => None,
        }
    }
}

impl<'desired> SetTargets<'desired> {
    /// The names that rules are to look into, by the sets' own names, where they are others.
    pub(super) fn moved(&self) -> SlotNames<'_> {
        self.sets
            .iter()
            .filter(|(name, target)| target.slot != **name)
            .map(|(name, target)| (*name, target.slot.as_str()))
            .collect()
    }

    /// Whether a name in the kernel is to stay.
    pub(super) fn keeps(&self, slot: &str) -> bool {
        let is_target = self
            .sets
            .get(base(slot).as_str())
            .is_some_and(|target| target.slot == slot);
        is_target
            || self
                .untouched
                .is_some_and(|untouched| untouched.contains(slot))
    }
}

/// Whether a set may be filled with the members of another.
pub(super) fn can_be_filled(found: &ParsedSet, wanted: &ParsedSet) -> bool {
    wanted.is_like(found) && is_roomy(found, wanted.members.len())
}
