//! Cells: the allowed traffic of both states in one direction, for each class at the other end.
//!
//! Cost: for profiles that differ between both states, the classes that their rules name, each with
//! an evaluation of the rules; for other profiles, their exceptions.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use crate::diff::causes::{DeciderTable, LocalSide, TurnedTraffic};
use crate::diff::matched_peers::MatchedPeers;
use crate::diff::{DecidedState, DiffState, OldNew};
use crate::net::Direction;
use crate::packet_space::{EndpointClassId, HeaderSetId, HeaderSpace, PolicyProfileId};

/// The traffic that a profile allows with a class, in both states.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DiffCell {
    pub(super) seen: OldNew<HeaderSetId>,
    /// The traffic whose verdict changed, in parts with one cause each.
    pub(super) turned: Vec<TurnedTraffic>,
}

/// The id of a cell. Equal cells have equal ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CellId(u32);

/// The cells of a profile for all classes at the other end.
#[derive(Debug, Default)]
pub(super) struct DiffRow {
    /// The cell for the classes that are not in `named`.
    pub(super) by_default: CellId,
    /// The cells of the other classes, in order, by index of the joint class.
    pub(super) named: Vec<(usize, CellId)>,
}

/// All cells computed so far.
#[derive(Debug)]
pub(super) struct DiffCellTable<'work, 'input> {
    pub(super) both: OldNew<DecidedState<'work, 'input>>,
    pub(super) joint: &'work MatchedPeers<'input>,
    pub(super) deciders: DeciderTable<'input>,
    all: IndexSet<DiffCell, FxBuildHasher>,
}

impl Default for CellId {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl DiffRow {
    /// Returns the cell for a class.
    pub(super) fn at(&self, far: usize) -> CellId {
        let found = self.named.binary_search_by_key(&far, |row| row.0).ok();
        found
            .and_then(|at| self.named.get(at))
            .map_or(self.by_default, |row| row.1)
    }
}

impl<'work, 'input> DiffCellTable<'work, 'input> {
    pub(super) fn new(
        both: OldNew<DecidedState<'work, 'input>>,
        joint: &'work MatchedPeers<'input>,
    ) -> Self {
        Self {
            both,
            joint,
            deciders: DeciderTable::default(),
            all: IndexSet::default(),
        }
    }

    /// Returns a cell by its id.
    pub(super) fn get(&self, id: CellId) -> Option<&DiffCell> {
        self.all.get_index(id.0 as usize)
    }

    /// Returns `true` if a cell differs between both states.
    pub(super) fn differs(&self, id: CellId) -> bool {
        self.get(id)
            .is_some_and(|cell| cell.seen.old != cell.seen.new)
    }

    /// Returns `true` if a profile differs between both states for any class.
    pub(super) fn is_touched(&self, views: OldNew<PolicyProfileId>) -> bool {
        let [old, new] = [self.both.old, self.both.new].map(|known| &known.space.relation);
        let differs = |index: &usize| {
            let far = self.joint.classes.get(*index).map(|class| class.classes);
            far.is_some_and(|far| old.seen(views.old, far.old) != new.seen(views.new, far.new))
        };
        let before = || {
            old.exceptions(views.old)
                .iter()
                .flat_map(|row| self.joint.within(DiffState::Old, row.0))
        };
        let after = || {
            new.exceptions(views.new)
                .iter()
                .flat_map(|row| self.joint.within(DiffState::New, row.0))
        };

        old.seen_by_default(views.old) != new.seen_by_default(views.new)
            || before().any(differs)
            || after().any(differs)
    }

    /// Returns the cell of a local side with one class.
    pub(super) fn between(
        &mut self,
        near: OldNew<LocalSide>,
        far: usize,
        direction: Direction,
        traffic: &mut HeaderSpace,
    ) -> CellId {
        let far = self.joint.classes.get(far).map(|class| class.classes);
        far.map_or_else(CellId::default, |far| {
            self.cell(near, far, direction, traffic)
        })
    }

    /// Returns the row of a local side in one direction.
    pub(super) fn row(
        &mut self,
        near: OldNew<LocalSide>,
        direction: Direction,
        traffic: &mut HeaderSpace,
    ) -> DiffRow {
        let nowhere = OldNew {
            old: EndpointClassId::NOWHERE,
            new: EndpointClassId::NOWHERE,
        };
        let by_default = self.cell(near, nowhere, direction, traffic);

        let views = OldNew {
            old: near.old.view,
            new: near.new.view,
        };
        // if the profile differs, causes matter, and other rules may decide at every class that is
        // named
        let named = if self.is_touched(views) {
            self.named(views)
        } else {
            self.excepted(views)
        };

        let mut row = DiffRow {
            by_default,
            named: Vec::new(),
        };

        for index in named {
            let Some(far) = self.joint.classes.get(index).map(|class| class.classes) else {
                continue;
            };
            let cell = self.cell(near, far, direction, traffic);
            row.named
                .extend((cell != by_default).then_some((index, cell)));
        }

        row
    }

    fn cell(
        &mut self,
        near: OldNew<LocalSide>,
        far: OldNew<EndpointClassId>,
        direction: Direction,
        traffic: &mut HeaderSpace,
    ) -> CellId {
        let [old, new] = [self.both.old, self.both.new].map(|known| &known.space.relation);
        let seen = OldNew {
            old: old.seen(near.old.view, far.old),
            new: new.seen(near.new.view, far.new),
        };
        // causes are only needed where the verdict changes, and cost an evaluation of the rules
        let turned = match seen.old == seen.new {
            true => Vec::new(),
            false => self
                .deciders
                .turned(self.both, near, far, direction, traffic),
        };
        let (index, _) = self.all.insert_full(DiffCell { seen, turned });

        CellId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Returns the joint classes that the rules of a profile name, in order.
    fn named(&self, views: OldNew<PolicyProfileId>) -> Vec<usize> {
        self.within(
            self.both.old.space.relation.named(views.old),
            self.both.new.space.relation.named(views.new),
        )
    }

    /// Returns the joint classes for which a profile has an exception, in order.
    fn excepted(&self, views: OldNew<PolicyProfileId>) -> Vec<usize> {
        let excepted = |known: DecidedState<'_, '_>, view| {
            known
                .space
                .relation
                .exceptions(view)
                .iter()
                .map(|row| row.0)
                .collect()
        };

        self.within(
            excepted(self.both.old, views.old),
            excepted(self.both.new, views.new),
        )
    }

    fn within(&self, old: Vec<EndpointClassId>, new: Vec<EndpointClassId>) -> Vec<usize> {
        let before = old
            .into_iter()
            .flat_map(|class| self.joint.within(DiffState::Old, class));
        let after = new
            .into_iter()
            .flat_map(|class| self.joint.within(DiffState::New, class));
        let mut within: Vec<usize> = before.chain(after).copied().collect();
        within.sort_unstable();
        within.dedup();
        within
    }
}
