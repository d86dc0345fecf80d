//! The slot of each set, and how the set gets its members.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::delta::{MemberDelta, is_roomy};
use crate::plan::slots::base;
use crate::ruleset::ParsedSet;

/// Targets by the sets' own names.
#[derive(Debug, Default)]
pub(super) struct SetTargets<'desired> {
    pub(super) sets: BTreeMap<&'desired str, SetTarget<'desired>>,
    /// Kernel names that stay as they are.
    pub(super) untouched: Option<&'desired BTreeSet<String>>,
}

/// Kernel names (slots) by the sets' own names.
pub(super) type SlotNames<'targets> = BTreeMap<&'targets str, &'targets str>;

/// The target of one set.
#[derive(Debug)]
pub(super) struct SetTarget<'desired> {
    /// The desired contents.
    pub(super) set: &'desired ParsedSet,
    /// The kernel name that rules should reference.
    pub(super) slot: String,
    /// How the slot gets its members.
    pub(super) way: FillStrategy,
}

/// How a set gets its members.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FillStrategy {
    /// The slot already has the members.
    Stands,
    /// Filled in a slot that no rule references yet.
    Fresh,
    /// Filled in a slot that only foreign rules reference.
    Lent,
    /// Changed line by line, while rules reference the set.
    InPlace(MemberDelta),
    /// Swapped with a filled copy, while rules reference the set. Holds the copy's name.
    Swap(String),
    /// A gate: it gains members before all other changes, and loses members after them.
    Gate {
        /// Members to add and remove.
        delta: MemberDelta,
        /// The copy to swap with in order to lose members. `None` if lines can remove them.
        copy: Option<String>,
    },
    /// Changed line by line while rules reference the set, because all its slots are taken. Packets
    /// may see a partial change.
    Exposed(MemberDelta),
}

impl FillStrategy {
    /// Returns the slot that holds the old contents after a swap.
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
    /// Returns the slots that rules should reference, for sets whose slot is not their own name.
    pub(super) fn moved(&self) -> SlotNames<'_> {
        self.sets
            .iter()
            .filter(|(name, target)| target.slot != **name)
            .map(|(name, target)| (*name, target.slot.as_str()))
            .collect()
    }

    /// Returns whether a kernel name must stay.
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

/// Returns whether an existing set can hold the members of a desired one: same type, enough room.
pub(super) fn can_be_filled(found: &ParsedSet, wanted: &ParsedSet) -> bool {
    wanted.is_like(found) && is_roomy(found, wanted.members.len())
}
