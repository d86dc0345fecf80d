//! Chooses a slot and a fill strategy for each set, so that no packet sees a state between old and
//! new.

use std::collections::{BTreeMap, BTreeSet};

use crate::net::Family;
use crate::observe::ObservedKernel;
use crate::plan::delta::{MemberDelta, is_hitless, is_roomy};
use crate::plan::set_references::SetReferences;
use crate::plan::slots::slots;
use crate::plan::tables::TableComparison;
use crate::plan::targets::{FillStrategy, SetTarget, SetTargets, can_be_filled};
use crate::plan::{DesiredKernel, gates};
use crate::ruleset::{ParsedMember, ParsedSet};

/// A candidate for a change in place, while rules reference the set.
#[derive(Debug)]
struct InPlaceChange {
    slot: String,
    delta: MemberDelta,
}

type InPlaceChanges<'desired> = BTreeMap<&'desired str, InPlaceChange>;

/// How a set is changed in place.
enum ChangeKind {
    Lines,
    Swap(String),
}

struct TargetPlanner<'all, 'desired> {
    desired: &'desired DesiredKernel,
    observed: &'all ObservedKernel,
    looks: &'all SetReferences<'all>,
    wanted_looks: SetReferences<'desired>,
    targets: SetTargets<'desired>,
    changes: InPlaceChanges<'desired>,
    /// Number of candidates that each family's rules reference.
    seen: BTreeMap<Family, usize>,
}

impl<'desired> SetTargets<'desired> {
    /// Chooses a target for each set.
    ///
    /// A set with the right members stays. A set that rules reference is changed in place if no
    /// packet can see a state between old and new ([`is_hitless`]). Otherwise its new members go to
    /// another slot, and the rules that reference it are rewritten. The commit of those rules is
    /// the atomic switch, for all sets of the family.
    pub(super) fn choose(
        comparison: &TableComparison<'desired>,
        looks: &SetReferences<'_>,
    ) -> Self {
        let TableComparison {
            desired, observed, ..
        } = *comparison;
        let targets = Self {
            untouched: Some(&desired.untouched),
            ..Self::default()
        };
        let wanted_looks = SetReferences::default();
        let mut chooser = TargetPlanner {
            desired,
            observed,
            looks,
            wanted_looks,
            targets,
            changes: InPlaceChanges::new(),
            seen: BTreeMap::new(),
        };

        desired
            .sets
            .iter()
            .for_each(|(name, set)| chooser.begin(name, set));

        // Gates need not change together with other sets.
        if !chooser.changes.is_empty() {
            chooser.open_and_close(&gates::gate_sets(comparison, &chooser.targets));
        }

        if chooser.changes.is_empty() {
            return chooser.targets; // no rule looks into what is filled, but for gates
        }

        chooser.wanted_looks = SetReferences::collect(&desired.tables);
        let committing = comparison.committing(&chooser.targets);
        chooser.settle(committing);
        chooser.targets
    }
}

impl<'desired> TargetPlanner<'_, 'desired> {
    /// Makes a first choice, without regard to rules that differ.
    fn begin(&mut self, name: &'desired str, set: &'desired ParsedSet) {
        let (slot, way) = match (self.standing(name, set), self.live(name, set)) {
            (Some(slot), _) => (slot, FillStrategy::Stands),
            (None, Some((slot, found))) => {
                let delta = MemberDelta::between(&set.members, &found.members);
                self.looks
                    .families(&slot)
                    .into_iter()
                    .for_each(|family| *self.seen.entry(family).or_default() += 1);
                self.changes.insert(
                    name,
                    InPlaceChange {
                        slot: slot.clone(),
                        delta,
                    },
                );
                (slot, FillStrategy::Fresh)
            }
            (None, None) => self.fresh(name, set),
        };

        self.targets.sets.insert(name, SetTarget { set, slot, way });
    }

    /// Removes gates from the sets that must change atomically with others, if they have room for
    /// the old and the new members at once.
    fn open_and_close(&mut self, gates: &BTreeSet<&str>) {
        let is_gate = |change: &InPlaceChange| gates.contains(change.slot.as_str());
        let names = self
            .changes
            .iter()
            .filter(|(_, change)| is_gate(change))
            .map(|(name, _)| *name);

        for name in names.collect::<Vec<&str>>() {
            let Some((way, families)) = self.gate(name) else {
                continue;
            };
            for family in families {
                self.seen.entry(family).and_modify(|count| *count -= 1);
            }
            self.changes.remove(name);
            self.targets
                .sets
                .entry(name)
                .and_modify(|target| target.way = way);
        }
    }

    /// Returns how a gate changes, and the families that reference it. `None` if it cannot hold the
    /// old and the new members at once.
    fn gate(&self, name: &str) -> Option<(FillStrategy, BTreeSet<Family>)> {
        let (InPlaceChange { slot, delta }, set) =
            (self.changes.get(name)?, self.desired.sets.get(name)?);
        let found = self.observed.sets.get(slot)?;
        let most = set.members.len() + delta.extra.len();
        let is_plain = |member: &ParsedMember| !matches!(member, ParsedMember::Net(_, true));
        // An exception (`nomatch`) works in reverse, so the union of old and new members drops
        // less.
        if !is_roomy(found, most) || !delta.missing.iter().chain(&delta.extra).all(is_plain) {
            return None;
        }

        // Between gain and loss the set holds the old and the new members.
        let mut together = found.members.clone();
        together.extend_from_slice(&delta.missing);
        let copy = match delta.ends_a_length(&together) {
            true => Some(self.free(name, set)?),
            false => None,
        };
        let way = FillStrategy::Gate {
            delta: delta.clone(),
            copy,
        };
        Some((way, self.families(name)))
    }

    /// Returns a slot with the right members: the one that rules reference, or else the first.
    fn standing(&self, name: &str, set: &ParsedSet) -> Option<String> {
        let is_right = |slot: &String| {
            let found = self.observed.sets.get(slot);
            found.is_some_and(|found| {
                set.is_like(found)
                    && is_roomy(found, set.members.len())
                    && found.members == set.members
            })
        };
        let live = slots(name).find(|slot| self.looks.has(slot) && is_right(slot));
        live.or_else(|| slots(name).find(is_right))
    }

    /// Returns the slot that all rules reference, if it is the only one and its type can hold the
    /// members.
    fn live(&self, name: &str, set: &ParsedSet) -> Option<(String, &ParsedSet)> {
        let mut looked = slots(name).filter(|slot| self.looks.has(slot));
        // If rules reference two slots, no single change reaches all of them.
        let (slot, None) = (looked.next()?, looked.next()) else {
            return None;
        };
        let found = self.observed.sets.get(&slot)?;
        set.is_like(found).then_some((slot, found))
    }

    /// Returns a slot that no rule references. Prefers one that can be refilled, then one that does
    /// not exist, then one that must be destroyed first.
    fn free(&self, name: &str, set: &ParsedSet) -> Option<String> {
        let is_free = |slot: &String| {
            let is_looked_into = self.looks.has(slot) || self.looks.is_of_others(slot);
            let is_fixed =
                self.observed.unlisted.contains(slot) || self.desired.untouched.contains(slot);
            !is_looked_into && !is_fixed
        };

        slots(name)
            .filter(is_free)
            .min_by_key(|slot| match self.observed.sets.get(slot) {
                Some(found) if can_be_filled(found, set) => 0,
                None => 1,
                Some(_) => 2,
            })
    }

    /// Returns where a set is filled: a slot that no rule references, or else a slot that only
    /// foreign rules reference, or else, visibly, a slot that rules reference.
    fn fresh(&self, name: &str, set: &ParsedSet) -> (String, FillStrategy) {
        let free = self.free(name, set).map(|slot| (slot, FillStrategy::Fresh));
        if let Some(found) = free.or_else(|| Some((self.lent(name, set)?, FillStrategy::Lent))) {
            return found;
        }

        let mut there = slots(name).filter_map(|slot| {
            Some((
                self.observed
                    .sets
                    .get(&slot)
                    .filter(|found| can_be_filled(found, set))?,
                slot,
            ))
        });
        match there.next() {
            Some((found, slot)) => (
                slot,
                FillStrategy::Exposed(MemberDelta::between(&set.members, &found.members)),
            ),
            None => (name.to_owned(), FillStrategy::Fresh), // which the kernel refuses
        }
    }

    /// Returns a slot that can hold the members and that only foreign rules reference.
    fn lent(&self, name: &str, set: &ParsedSet) -> Option<String> {
        let can_be_filled = |slot: &String| {
            self.observed
                .sets
                .get(slot)
                .is_some_and(|found| can_be_filled(found, set))
        };
        slots(name)
            .filter(|slot| !self.looks.has(slot))
            .find(can_be_filled)
    }

    /// Decides which candidates are changed in place. Repeats until nothing changes: a set that
    /// moves to another slot makes its families commit, and a family that commits must switch all
    /// its candidates.
    fn settle(&mut self, mut committing: BTreeSet<Family>) {
        loop {
            let seen = |name: &&str| !self.families(name).is_disjoint(&committing);
            let switched: Vec<&str> = self.changes.keys().copied().filter(seen).collect();
            for name in &switched {
                committing.extend(self.wanted_looks.families(name));
                self.switch(name);
            }
            let unsafe_family = Family::BOTH
                .into_iter()
                .find(|family| !self.can_change(*family));
            match unsafe_family {
                // This family's sets cannot all change in place, so its rules must be rewritten.
                Some(family) => drop(committing.insert(family)),
                None if switched.is_empty() => break,
                None => {}
            }
        }

        let hows: Vec<(&str, ChangeKind)> = self
            .changes
            .keys()
            .filter_map(|name| Some((*name, self.in_place(name)?)))
            .collect();
        for (name, how) in hows {
            let (Some(change), Some(target)) =
                (self.changes.remove(name), self.targets.sets.get_mut(name))
            else {
                continue;
            };
            target.way = match how {
                ChangeKind::Lines => FillStrategy::InPlace(change.delta),
                ChangeKind::Swap(copy) => FillStrategy::Swap(copy),
            };
        }
    }

    /// Moves a set to another slot.
    fn switch(&mut self, name: &str) {
        for family in self.families(name) {
            self.seen.entry(family).and_modify(|count| *count -= 1);
        }

        self.changes.remove(name);
        let Some(set) = self.desired.sets.get(name) else {
            return;
        };

        let (slot, way) = self.fresh(name, set);
        if let Some(target) = self.targets.sets.get_mut(name) {
            (target.slot, target.way) = (slot, way);
        }
    }

    /// Returns whether every candidate that a family references may be changed in place.
    fn can_change(&self, family: Family) -> bool {
        let seen: Vec<&str> = self
            .changes
            .keys()
            .copied()
            .filter(|name| self.families(name).contains(&family))
            .collect();
        seen.iter().all(|name| self.in_place(name).is_some())
            && self.is_hitless_or_one(&seen, family)
    }

    fn is_hitless_or_one(&self, seen: &[&str], family: Family) -> bool {
        if let [only] = seen
            && self.is_alone(only)
        {
            return true; // `in_place` has seen to it
        }

        let changes: Vec<(&str, &MemberDelta)> = seen
            .iter()
            .filter_map(|name| self.changes.get(name))
            .map(|change| (change.slot.as_str(), &change.delta))
            .collect();
        is_hitless(&changes, family, self.looks)
    }

    /// Returns how one set may be changed in place, or `None` if it may not. A set may change line
    /// by line; or by a swap, if it is the only set that changes for its families. Takes the
    /// shorter of the safe ways.
    fn in_place(&self, name: &str) -> Option<ChangeKind> {
        let (InPlaceChange { slot, delta }, set) =
            (self.changes.get(name)?, self.desired.sets.get(name)?);
        let found = self.observed.sets.get(slot)?;
        let is_alone = self.is_alone(name);
        let families = self.families(name);
        let is_hitless = !is_alone
            || families
                .iter()
                .all(|family| is_hitless(&[(slot, delta)], *family, self.looks));
        // Removals come first, so only the final number of members must fit.
        let by_lines = is_hitless
            && is_roomy(found, set.members.len())
            && !delta.ends_a_length(&found.members);

        // A swap fills a whole copy, so lines are used while they are fewer than the members.
        let copy = self
            .free(name, set)
            .filter(|_| is_alone && (!by_lines || delta.len() > set.members.len().max(1)));
        match copy {
            Some(copy) => Some(ChangeKind::Swap(copy)),
            None => by_lines.then_some(ChangeKind::Lines),
        }
    }

    /// Returns whether no other set changes in any family that references this one.
    fn is_alone(&self, name: &str) -> bool {
        self.families(name)
            .iter()
            .all(|family| self.seen.get(family) == Some(&1))
    }

    /// Returns the families whose rules reference a candidate.
    fn families(&self, name: &str) -> BTreeSet<Family> {
        self.changes
            .get(name)
            .map(|change| self.looks.families(&change.slot))
            .unwrap_or_default()
    }
}
