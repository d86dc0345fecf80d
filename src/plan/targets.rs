//! Under which name each set is to stand, and how it gets its members there.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::delta::{Delta, is_roomy};
use crate::plan::slots::base;
use crate::ruleset::Set;

/// What becomes of each set, by its own name.
#[derive(Debug, Default)]
pub(super) struct Targets<'desired> {
    pub(super) sets: BTreeMap<&'desired str, Target<'desired>>,
    /// Names in the kernel that stay as they are.
    pub(super) untouched: Option<&'desired BTreeSet<String>>,
}

/// Names in the kernel by the sets' own.
pub(super) type Moved<'targets> = BTreeMap<&'targets str, &'targets str>;

/// What becomes of a set.
#[derive(Debug)]
pub(super) struct Target<'desired> {
    /// What it is to hold.
    pub(super) set: &'desired Set,
    /// The name that rules are to look into.
    pub(super) slot: String,
    /// How it gets there.
    pub(super) way: Way,
}

/// How a set gets its members.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It has them.
    Stands,
    /// It gets them where nobody looks yet.
    Fresh,
    /// It gets them where only rules of others look.
    Lent,
    /// Line by line, while rules look into it.
    InPlace(Delta),
    /// By a swap with a copy, while rules look into it.
    Swap(String),
    /// It is a gate: it gains members before all other changes and loses members behind them.
    Gate {
        /// What it gains and loses.
        delta: Delta,
        /// The copy that it is swapped with to lose members, where lines would not do.
        copy: Option<String>,
    },
    /// Line by line, while rules look into it and packets may see it half, since all its names are
    /// taken.
    Exposed(Delta),
}

impl Way {
    /// The name under which the set stood that a swap put away.
    pub(super) fn copy(&self) -> Option<&str> {
        match self {
            Way::Swap(copy)
            | Way::Gate {
                copy: Some(copy), ..
            } => Some(copy),
            Way::Gate { copy: None, .. }
            | Way::Stands
            | Way::Fresh
            | Way::Lent
            | Way::InPlace(_)
            | Way::Exposed(_) => None,
        }
    }
}

impl<'desired> Targets<'desired> {
    /// The names that rules are to look into, by the sets' own names, where they are others.
    pub(super) fn moved(&self) -> Moved<'_> {
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
pub(super) fn can_be_filled(found: &Set, wanted: &Set) -> bool {
    wanted.is_like(found) && is_roomy(found, wanted.members.len())
}
