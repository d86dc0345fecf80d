//! Finds the pairs of classes whose allowed traffic differs between both states, in groups with the
//! same change.
//!
//! Cost: where a profile differs for most classes, two look-ups for each pair of its members with
//! them; else the pairs with the classes that it names. The change of a pair is computed once for
//! each two cells. Pairs are stored by sender, and senders with the same receivers share one list.

use std::collections::BTreeMap;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::diff::OldNew;
use crate::diff::causes::{LocalSide, PolicySpeaker};
use crate::diff::cells::{CellId, DiffCellTable, DiffRow};
use crate::net::{Direction, Family};
use crate::packet_space::{HeaderSpace, PolicyProfileId};

/// The indices of two joint classes: sender, receiver.
pub(super) type ClassPairId = (usize, usize);

/// Pairs of classes with the same change.
#[derive(Debug)]
pub(super) struct PairGroup {
    /// The smallest pair.
    pub(super) first: ClassPairId,
    /// The senders of each list of receivers, all in order.
    pub(super) senders: BTreeMap<ReceiverListId, Vec<usize>>,
}

/// The index of a list of receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ReceiverListId(usize);

/// All pairs with a change, grouped by the change.
#[derive(Debug)]
pub(super) struct PairGroups<Key> {
    pub(super) all: IndexMap<Key, PairGroup, FxBuildHasher>,
    lists: IndexSet<Vec<usize>, FxBuildHasher>,
}

/// Classes with the same profiles and policies in one direction.
#[derive(Debug)]
struct AlikeClasses {
    near: OldNew<LocalSide>,
    family: Family,
    members: Vec<usize>,
    is_touched: bool,
    /// Their row; computed on first use.
    row: Option<DiffRow>,
}

/// The properties by which classes are grouped.
type AlikeKey = (Family, OldNew<PolicyProfileId>, OldNew<usize>);

/// All classes, grouped for one direction.
#[derive(Debug)]
struct ClassesOfDirection {
    direction: Direction,
    all: Vec<AlikeClasses>,
    /// For every class, the index of its group.
    of_class: Vec<usize>,
}

/// The search for pairs with a change.
pub(super) struct PairWalk<'walk, 'work, 'input, Key, Find> {
    pub(super) cells: &'walk mut DiffCellTable<'work, 'input>,
    pub(super) traffic: &'walk mut HeaderSpace,
    /// Returns the change for the cells of a sender and a receiver, or `None` if nothing changes.
    pub(super) find: Find,
    groups: PairGroups<Key>,
    known: FxHashMap<(CellId, CellId), Option<usize>>,
}

impl<Key> PairGroups<Key> {
    /// Returns the receivers of a list.
    pub(super) fn receivers(&self, list: ReceiverListId) -> &[usize] {
        self.lists.get_index(list.0).map_or(&[], Vec::as_slice)
    }
}

impl ClassesOfDirection {
    fn new(cells: &mut DiffCellTable<'_, '_>, direction: Direction) -> Self {
        let mut side = Self {
            direction,
            all: Vec::new(),
            of_class: Vec::new(),
        };
        let mut known: FxHashMap<AlikeKey, usize> = FxHashMap::default();
        let mut touched: FxHashMap<OldNew<PolicyProfileId>, bool> = FxHashMap::default();

        for (index, class) in cells.joint.classes.iter().enumerate() {
            let near = |known: crate::diff::DecidedState<'_, '_>, class| LocalSide {
                view: known.space.relation.view(class, direction),
                speaker: PolicySpeaker::Class(class),
            };
            let near = OldNew {
                old: near(cells.both.old, class.classes.old),
                new: near(cells.both.new, class.classes.new),
            };
            let views = OldNew {
                old: near.old.view,
                new: near.new.view,
            };
            let speaking = cells
                .deciders
                .speaking(cells.both, class.classes, direction);
            let position = *known
                .entry((class.family, views, speaking))
                .or_insert_with(|| {
                    let is_touched = *touched
                        .entry(views)
                        .or_insert_with(|| cells.is_touched(views));
                    side.all.push(AlikeClasses {
                        near,
                        family: class.family,
                        members: Vec::new(),
                        is_touched,
                        row: None,
                    });
                    side.all.len() - 1
                });
            side.all
                .get_mut(position)
                .into_iter()
                .for_each(|alike| alike.members.push(index));
            side.of_class.push(position);
        }

        side
    }

    fn make(
        &mut self,
        position: usize,
        cells: &mut DiffCellTable<'_, '_>,
        traffic: &mut HeaderSpace,
    ) {
        let Some(alike) = self
            .all
            .get_mut(position)
            .filter(|alike| alike.row.is_none())
        else {
            return;
        };
        alike.row = Some(cells.row(alike.near, self.direction, traffic));
    }

    fn row(&self, position: usize) -> Option<&DiffRow> {
        self.all.get(position).and_then(|alike| alike.row.as_ref())
    }

    fn at(&self, class: usize) -> Option<&AlikeClasses> {
        self.of_class
            .get(class)
            .and_then(|position| self.all.get(*position))
    }

    /// Returns the pairs whose far class is named by a row, with a cell that differs between both
    /// states.
    fn named_pairs(&self, cells: &DiffCellTable<'_, '_>) -> Vec<ClassPairId> {
        let mut pairs = Vec::new();
        for alike in self.all.iter().filter(|alike| alike.is_touched) {
            let differing = alike
                .row
                .iter()
                .flat_map(|row| &row.named)
                .filter(|(_, cell)| cells.differs(*cell))
                .map(|row| row.0);
            let is_of = |far: &usize| {
                cells
                    .joint
                    .classes
                    .get(*far)
                    .is_some_and(|class| class.family == alike.family)
            };
            let far: Vec<usize> = differing.filter(is_of).collect();
            let each = alike
                .members
                .iter()
                .flat_map(|near| far.iter().map(move |far| (*near, *far)));
            pairs.extend(each.map(|(near, far)| match self.direction {
                Direction::Egress => (near, far),
                Direction::Ingress => (far, near),
            }));
        }

        pairs
    }

    /// Returns, for every class, the rows that name it, in order, with their cells.
    fn naming(&self) -> FxHashMap<usize, Vec<(usize, CellId)>> {
        let mut naming: FxHashMap<usize, Vec<(usize, CellId)>> = FxHashMap::default();
        for (position, alike) in self.all.iter().enumerate() {
            let named = alike.row.iter().flat_map(|row| &row.named);
            named.for_each(|(far, cell)| naming.entry(*far).or_default().push((position, *cell)));
        }
        naming
    }

    /// Returns the cells of all groups for one class. `named` contains the rows that name this
    /// class.
    fn entering(&self, named: &[(usize, CellId)]) -> impl Iterator<Item = (&AlikeClasses, CellId)> {
        let mut named = named.iter().peekable();

        self.all.iter().enumerate().map(move |(position, alike)| {
            let by_default = || {
                alike
                    .row
                    .as_ref()
                    .map(|row| row.by_default)
                    .unwrap_or_default()
            };
            (
                alike,
                named
                    .next_if(|row| row.0 == position)
                    .map_or_else(by_default, |row| row.1),
            )
        })
    }

    /// Computes the rows of profiles that differ between both states. Returns `true` if any row
    /// differs for most classes.
    fn make_touched(
        &mut self,
        cells: &mut DiffCellTable<'_, '_>,
        traffic: &mut HeaderSpace,
    ) -> bool {
        let mut is_wide = false;
        for position in 0..self.all.len() {
            if self.all.get(position).is_some_and(|alike| alike.is_touched) {
                self.make(position, cells, traffic);
                is_wide |= self
                    .row(position)
                    .is_some_and(|row| cells.differs(row.by_default));
            }
        }
        is_wide
    }
}

impl<'walk, 'work, 'input, Key: std::hash::Hash + Eq, Find>
    PairWalk<'walk, 'work, 'input, Key, Find>
where
    Find: FnMut(&DiffCellTable<'work, 'input>, (CellId, CellId), &mut HeaderSpace) -> Option<Key>,
{
    pub(super) fn new(
        cells: &'walk mut DiffCellTable<'work, 'input>,
        traffic: &'walk mut HeaderSpace,
        find: Find,
    ) -> Self {
        let groups = PairGroups {
            all: IndexMap::default(),
            lists: IndexSet::default(),
        };
        Self {
            cells,
            traffic,
            find,
            groups,
            known: FxHashMap::default(),
        }
    }

    /// Returns all groups.
    pub(super) fn groups(mut self) -> PairGroups<Key> {
        let [mut senders, mut receivers] = [Direction::Egress, Direction::Ingress]
            .map(|direction| ClassesOfDirection::new(self.cells, direction));
        let is_wide =
            [&mut senders, &mut receivers].map(|side| side.make_touched(self.cells, self.traffic));
        // a change of a default may affect every pair; else only pairs that a rule names
        if is_wide.contains(&true) {
            self.all_pairs(&mut senders, &mut receivers);
        } else {
            self.named_pairs(&senders, &receivers);
        }
        self.groups
    }

    /// Searches only pairs in which one side names the other.
    fn named_pairs(&mut self, senders: &ClassesOfDirection, receivers: &ClassesOfDirection) {
        let mut pairs: Vec<ClassPairId> = [senders, receivers]
            .into_iter()
            .flat_map(|side| side.named_pairs(self.cells))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();

        let single = |index: usize| self.cells.joint.single(index);
        // a pod's traffic to itself never leaves it
        pairs.retain(|(from, to)| single(*from).is_none() || single(*from) != single(*to));
        for of_sender in pairs.chunk_by(|left, right| left.0 == right.0) {
            let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for pair in of_sender {
                let group = self.group_of_named(*pair, senders, receivers);
                group
                    .into_iter()
                    .for_each(|group| found.entry(group).or_default().push(pair.1));
            }
            let from = of_sender.first().map_or(0, |pair| pair.0);
            self.keep(from, found);
        }
    }

    fn group_of_named(
        &mut self,
        (from, to): ClassPairId,
        senders: &ClassesOfDirection,
        receivers: &ClassesOfDirection,
    ) -> Option<usize> {
        let (sender, receiver) = (senders.at(from)?, receivers.at(to)?);
        let leaving = self
            .cells
            .between(sender.near, to, Direction::Egress, self.traffic);
        let entering = self
            .cells
            .between(receiver.near, from, Direction::Ingress, self.traffic);
        self.group((leaving, entering), (from, to))
    }

    fn all_pairs(&mut self, senders: &mut ClassesOfDirection, receivers: &mut ClassesOfDirection) {
        (0..receivers.all.len())
            .for_each(|position| receivers.make(position, self.cells, self.traffic));
        let naming = receivers.naming();
        let mut leaving = vec![CellId::default(); senders.of_class.len()];

        // groups one after the other, so that `leaving` is filled once for all senders of a group
        for position in 0..senders.all.len() {
            senders.make(position, self.cells, self.traffic);
            let Some(alike) = senders.all.get_mut(position) else {
                continue;
            };
            let Some(row) = alike.row.take() else {
                continue;
            };
            leaving.fill(row.by_default);
            row.named.iter().for_each(|(far, cell)| {
                leaving
                    .get_mut(*far)
                    .into_iter()
                    .for_each(|place| *place = *cell)
            });
            for from in &alike.members {
                let named = naming.get(from).map_or(&[][..], Vec::as_slice);
                self.with_receivers(*from, alike, receivers.entering(named), &leaving);
            }
        }
    }

    /// Searches the pairs of one sender.
    fn with_receivers<'side>(
        &mut self,
        from: usize,
        alike: &AlikeClasses,
        entering: impl Iterator<Item = (&'side AlikeClasses, CellId)>,
        leaving: &[CellId],
    ) {
        let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (receiver, cell) in entering.filter(|(receiver, _)| receiver.family == alike.family) {
            if alike.is_touched || self.cells.differs(cell) {
                self.between(from, receiver, leaving, cell, &mut found);
            }
        }
        found.values_mut().for_each(|receivers| receivers.sort());
        self.keep(from, found);
    }

    /// Searches the pairs of a sender with the receivers of one group.
    fn between(
        &mut self,
        from: usize,
        receiver: &AlikeClasses,
        leaving: &[CellId],
        entering: CellId,
        found: &mut BTreeMap<usize, Vec<usize>>,
    ) {
        let mut last: Option<(CellId, Option<usize>)> = None;
        let single = self.cells.joint.single(from);
        let others = receiver
            .members
            .iter()
            .filter(|to| single.is_none() || self.cells.joint.single(**to) != single);

        for to in others {
            let cell = leaving.get(*to).copied().unwrap_or_default();
            let group = match last {
                // neighbouring receivers mostly have the same cell
                Some((same, group)) if same == cell => group,
                Some(_) | None => self.group((cell, entering), (from, *to)),
            };
            last = Some((cell, group));
            group
                .into_iter()
                .for_each(|group| found.entry(group).or_default().push(*to));
        }
    }

    /// Returns the group of a pair, or `None` if nothing changes.
    fn group(&mut self, cells: (CellId, CellId), pair: ClassPairId) -> Option<usize> {
        if let Some(known) = self.known.get(&cells) {
            return *known;
        }

        let key = (self.find)(self.cells, cells, self.traffic);
        let group = key.map(|key| {
            let entry = self.groups.all.entry(key);
            let index = entry.index();
            entry.or_insert_with(|| PairGroup {
                first: pair,
                senders: BTreeMap::new(),
            });
            index
        });
        self.known.insert(cells, group);

        group
    }

    /// Stores the receivers of a sender, by group.
    fn keep(&mut self, from: usize, found: BTreeMap<usize, Vec<usize>>) {
        for (group, to) in found {
            let first = to.first().map(|to| (from, *to));
            let list = ReceiverListId(self.groups.lists.insert_full(to).0);
            if let Some((_, group)) = self.groups.all.get_index_mut(group) {
                group.first = first.map_or(group.first, |first| first.min(group.first));
                group.senders.entry(list).or_default().push(from);
            }
        }
    }
}
