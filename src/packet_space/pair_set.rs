//! Sets of pairs of locations.
//!
//! Locations are numbers here. A [`PairBlock`] contains all pairs of a source from one set and a
//! destination from another. A condition on one end splits a block in two. Blocks with the same
//! result are merged again.
//!
//! Cost: a split or a union costs one machine word for 64 locations.

use std::hash::Hash;
use std::rc::Rc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::net::Side;

/// A set of location numbers, as a bitmap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LocationSet(Rc<[u64]>);

/// All pairs of one of these sources and one of these destinations. Neither set is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PairBlock {
    /// The sources.
    pub(crate) sources: LocationSet,
    /// The destinations.
    pub(crate) destinations: LocationSet,
}

/// The part of a set that meets a condition, and the part that does not; `None` for an empty part.
pub(crate) type BlockHalves<Part> = (Option<Part>, Option<Part>);

impl LocationSet {
    /// Returns the numbers below `count` that pass a test.
    pub(crate) fn filter(count: usize, test: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0u64; count.div_ceil(64)];
        (0..count)
            .filter(|number| test(*number))
            .for_each(|number| set(&mut words, number));
        Self(words.into())
    }

    /// Returns the set of `numbers`, all of which must be below `count`.
    pub(crate) fn these(count: usize, numbers: &[usize]) -> Self {
        let mut words = vec![0u64; count.div_ceil(64)];
        numbers.iter().for_each(|number| set(&mut words, *number));
        Self(words.into())
    }

    /// Returns the number of members.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns an upper bound of the members, rounded up to whole words.
    pub(crate) fn room(&self) -> usize {
        self.0.len() * 64
    }

    /// Returns `true` if the set contains a location.
    pub(crate) fn holds(&self, number: usize) -> bool {
        self.0
            .get(number / 64)
            .is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Returns the members in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                // clears the lowest bit
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// Splits the set into the members that are in `by` and those that are not.
    pub(crate) fn split(&self, by: &Self) -> BlockHalves<Self> {
        let pairs = || self.0.iter().zip(by.0.iter());
        let (some_in, some_out) = (
            pairs().any(|(own, other)| own & other != 0),
            pairs().any(|(own, other)| own & !other != 0),
        );

        match (some_in, some_out) {
            (false, false) => (None, None),
            // the words are shared, so a clone costs nothing
            (true, false) => (Some(self.clone()), None),
            (false, true) => (None, Some(self.clone())),
            (true, true) => {
                let within = pairs().map(|(own, other)| own & other).collect();
                let without = pairs().map(|(own, other)| own & !other).collect();
                (Some(Self(within)), Some(Self(without)))
            }
        }
    }

    /// Returns the union of both sets.
    pub(crate) fn with(&self, others: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(others.0.iter())
                .map(|(own, other)| own | other)
                .collect(),
        )
    }
}

impl PairBlock {
    /// Returns the number of pairs.
    pub(crate) fn pairs(&self) -> usize {
        self.sources.len() * self.destinations.len()
    }

    /// Returns the locations at one side.
    pub(crate) fn end(&self, side: Side) -> &LocationSet {
        match side {
            Side::Source => &self.sources,
            Side::Destination => &self.destinations,
        }
    }

    /// Returns every pair as source and destination.
    pub(crate) fn each(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.sources.iter().flat_map(|source| {
            self.destinations
                .iter()
                .map(move |destination| (source, destination))
        })
    }

    /// Splits the block into the pairs whose end at `side` is in `by`, and the other pairs.
    pub(crate) fn split(&self, side: Side, by: &LocationSet) -> BlockHalves<Self> {
        let halves = match side {
            Side::Source => self.sources.split(by),
            Side::Destination => self.destinations.split(by),
        };

        let with = |end: LocationSet| match side {
            Side::Source => Self {
                sources: end,
                destinations: self.destinations.clone(),
            },
            Side::Destination => Self {
                sources: self.sources.clone(),
                destinations: end,
            },
        };
        (halves.0.map(with), halves.1.map(with))
    }

    /// Returns the pairs between these sources and destinations, or `None` if there are none.
    pub(crate) fn within(&self, sources: &LocationSet, destinations: &LocationSet) -> Option<Self> {
        Some(Self {
            sources: self.sources.split(sources).0?,
            destinations: self.destinations.split(destinations).0?,
        })
    }
}

/// Merges blocks with the same value whose union is a block again. No two blocks may have a pair in
/// common.
pub(crate) fn merged<Known: Eq + Hash>(blocks: Vec<(PairBlock, Known)>) -> Vec<(PairBlock, Known)> {
    if blocks.len() < 2 {
        return blocks;
    }

    let mut by_source: IndexMap<(LocationSet, Known), LocationSet, FxBuildHasher> =
        IndexMap::default();
    for (block, known) in blocks {
        join(&mut by_source, (block.sources, known), block.destinations);
    }

    let mut by_destination: IndexMap<(LocationSet, Known), LocationSet, FxBuildHasher> =
        IndexMap::default();
    for ((sources, known), destinations) in by_source {
        join(&mut by_destination, (destinations, known), sources);
    }

    by_destination
        .into_iter()
        .map(|((destinations, known), sources)| {
            (
                PairBlock {
                    sources,
                    destinations,
                },
                known,
            )
        })
        .collect()
}

fn join<Key: Eq + Hash>(
    ends: &mut IndexMap<Key, LocationSet, FxBuildHasher>,
    key: Key,
    end: LocationSet,
) {
    ends.entry(key)
        .and_modify(|known| *known = known.with(&end))
        .or_insert(end);
}

fn set(words: &mut [u64], number: usize) {
    if let Some(word) = words.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}
