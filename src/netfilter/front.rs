//! The front of blocks at one rule, indexed by the locations at their ends.
//!
//! A policy with many rules, each about other addresses, leaves one block for each rule. A rule
//! then affects only the few blocks that contain an address of its conditions. Once there are many
//! blocks, an index by location finds them, so that a chain costs its rules, not its rules times
//! its blocks.
//!
//! Cost: a split costs the locations of its smaller part. Blocks with the same state are merged
//! whenever their number has doubled; while there are few, whenever it grows.

use crate::net::Side;
use crate::netfilter::graph::{AnswerColumns, SymbolicRule};
use crate::netfilter::residual::ChainState;
use crate::packet_space::{LocationSet, PairBlock, merged};

/// Up to this many blocks, a scan of all blocks is cheaper than an index.
const FEW: usize = 64;

/// The maximum size of an index, in entries for each block and location.
const MOST_PER_BLOCK: usize = 8;

/// The blocks at a rule, each in a slot.
#[derive(Debug)]
pub(super) struct BlockFront {
    slots: Vec<Option<(PairBlock, ChainState)>>,
    /// The number of occupied slots.
    open: usize,
    /// The number of blocks after the last merge.
    joined: usize,
    index: Option<SlotIndex>,
    /// For each side, the number of blocks when an index of that side was too large.
    too_large: [usize; 2],
}

/// For each location, the slots of the blocks that contain it at one side. Entries of blocks that
/// no longer contain it are removed lazily.
#[derive(Debug)]
struct SlotIndex {
    side: Side,
    by_place: Vec<Vec<usize>>,
}

impl BlockFront {
    /// Returns a front of these blocks.
    pub(super) fn new(blocks: Vec<(PairBlock, ChainState)>) -> Self {
        let open = blocks.len();
        let slots = blocks.into_iter().map(Some).collect();
        Self {
            slots,
            open,
            joined: open,
            index: None,
            too_large: [0; 2],
        }
    }

    /// Removes and returns all blocks that a rule may affect. While there is an index, each block
    /// comes with its slot.
    pub(super) fn take_met(
        &mut self,
        step: &SymbolicRule,
        columns: &AnswerColumns,
    ) -> Vec<(Option<usize>, (PairBlock, ChainState))> {
        if let Some(slots) = self.indexed(step, columns) {
            let taken = slots
                .into_iter()
                .filter_map(|slot| Some((Some(slot), self.slots.get_mut(slot)?.take()?)));
            let taken: Vec<_> = taken.collect();
            self.open -= taken.len();
            return taken;
        }

        (self.open, self.index) = (0, None);
        let all = std::mem::take(&mut self.slots);
        all.into_iter()
            .flatten()
            .map(|block| (None, block))
            .collect()
    }

    /// Inserts the parts of a block that was removed from a slot.
    pub(super) fn put(&mut self, slot: Option<usize>, mut parts: Vec<(PairBlock, ChainState)>) {
        self.open += parts.len();
        let indexed = slot
            .and_then(|slot| self.slots.get_mut(slot))
            .zip(self.index.as_mut());
        let Some((place, index)) = indexed else {
            self.slots.extend(parts.into_iter().map(Some));
            return;
        };

        // the largest part keeps the slot, so only the smaller parts cost new index entries
        parts.sort_by_key(|(block, _)| block.end(index.side).len());
        *place = parts.pop();
        for part in parts {
            index.add(self.slots.len(), &part.0);
            self.slots.push(Some(part));
        }
    }

    /// Merges blocks with the same state if their number has grown enough. First brings all blocks
    /// to the same rule with `bring`. Returns the blocks that have no packets left there.
    pub(super) fn tidy(
        &mut self,
        mut bring: impl FnMut(&mut ChainState),
    ) -> Vec<(PairBlock, ChainState)> {
        let least = if self.open <= FEW {
            self.joined
        } else {
            2 * self.joined
        };
        // empty slots count too: a scan would visit them
        if self.open <= least && self.slots.len() <= 2 * self.open + FEW {
            return Vec::new();
        }

        let mut blocks: Vec<(PairBlock, ChainState)> = std::mem::take(&mut self.slots)
            .into_iter()
            .flatten()
            .collect();
        // blocks have the same state only if the same rules are behind them
        blocks.iter_mut().for_each(|(_, way)| bring(way));
        let (done, open): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|(_, way)| way.is_done());
        *self = Self {
            too_large: self.too_large,
            ..Self::new(merged(open))
        };
        done
    }

    /// Returns all blocks.
    pub(super) fn into_blocks(self) -> impl Iterator<Item = (PairBlock, ChainState)> {
        self.slots.into_iter().flatten()
    }

    /// Returns the slots of the blocks that a rule may affect, or `None` if all blocks must be
    /// scanned.
    fn indexed(&mut self, step: &SymbolicRule, columns: &AnswerColumns) -> Option<Vec<usize>> {
        if self.open <= FEW {
            return None;
        }

        let is_asked = |negated: bool| !negated || step.excludes_only();
        let nets = step
            .nets
            .iter()
            .filter(|(negated, _, _)| is_asked(*negated));
        let nets = nets.filter_map(|(_, side, number)| Some((*side, columns.nets.get(*number)?)));
        let services = step.services.iter().filter(|(negated, _, _)| !negated);

        let services =
            services.filter_map(|(_, side, number)| Some((*side, columns.served.get(*number)?)));
        nets.chain(services)
            .find_map(|(side, column)| self.holding(side, column))
    }

    /// Returns the slots of the blocks that contain one of these locations at a side, or `None` if
    /// a scan of all blocks is cheaper.
    fn holding(&mut self, side: Side, column: &LocationSet) -> Option<Vec<usize>> {
        if column.len() >= self.open || !self.is_indexed(side) {
            return None;
        }

        let mut slots = Vec::new();
        for place in column.iter() {
            let here = self
                .index
                .as_mut()
                .and_then(|index| index.by_place.get_mut(place));
            let Some(here) = here else { continue };
            let holds = |slot: &usize| {
                let block = self.slots.get(*slot).and_then(Option::as_ref);
                block.is_some_and(|(block, _)| block.end(side).holds(place))
            };
            // splits move locations to other slots and leave stale entries behind
            here.retain(holds);
            slots.extend_from_slice(here);
        }
        slots.sort_unstable();
        slots.dedup();
        Some(slots)
    }

    /// Builds the index of a side if it is missing. Returns `true` if there is an index afterwards.
    fn is_indexed(&mut self, side: Side) -> bool {
        if self.index.as_ref().is_some_and(|index| index.side == side) {
            return true;
        }
        let [source, destination] = &mut self.too_large;
        let too_large = match side {
            Side::Source => source,
            Side::Destination => destination,
        };
        // without this check, each rule would count all locations again
        if self.open < 2 * *too_large {
            return false;
        }

        let blocks = || {
            self.slots
                .iter()
                .enumerate()
                .filter_map(|(slot, block)| Some((slot, &block.as_ref()?.0)))
        };
        let places = blocks()
            .map(|(_, block)| block.end(side).room())
            .max()
            .unwrap_or_default();
        let all: usize = blocks().map(|(_, block)| block.end(side).len()).sum();
        // blocks of many locations each would make the index quadratic
        if all > MOST_PER_BLOCK * (places + self.open) {
            *too_large = self.open;
            return false;
        }

        let mut index = SlotIndex {
            side,
            by_place: vec![Vec::new(); places],
        };
        blocks().for_each(|(slot, block)| index.add(slot, block));
        self.index = Some(index);
        true
    }
}

impl SlotIndex {
    fn add(&mut self, slot: usize, block: &PairBlock) {
        for place in block.end(self.side).iter() {
            self.by_place
                .get_mut(place)
                .into_iter()
                .for_each(|slots| slots.push(slot));
        }
    }
}
