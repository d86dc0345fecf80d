//! Sets of positions as decision diagrams.
//!
//! A position is a row and a column: one number, with the bits of the column below those of the
//! row. A set is a leaf, a bit for each position of a block, or a branch: a bit of the position,
//! and a set for each of its values. What does not depend on a bit has no branch for it, and equal
//! parts are kept once (R. E. Bryant, "Graph-Based Algorithms for Boolean Function Manipulation",
//! 1986; leaves that are bit sets are ours). So equal sets have equal ids, and rows that are alike,
//! or alike in part, share memory.
//!
//! Cost: a set that few rectangles are joined to takes some branches and leaves for each of them.
//! An operation costs the pairs of parts that it meets, each once.

use std::ops::Range;

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

/// A set of classes of one [`HeaderSpace`](super::HeaderSpace). Equal sets have equal ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderSetId(u32);

/// All sets that were made, and parts of sets.
#[derive(Debug)]
pub(crate) struct DecisionDiagram {
    leaves: IndexSet<LeafBits, FxBuildHasher>,
    branches: IndexSet<BranchNode, FxBuildHasher>,
    made: FxHashMap<(SetOperation, HeaderSetId, HeaderSetId), HeaderSetId>,
    /// How many bits of a position are the column.
    column_bits: u32,
    /// How many bits are the row.
    row_bits: u32,
}

/// A bit for each position of a block.
type LeafBits = [u64; WORDS];

/// A set by the value of one bit of the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct BranchNode {
    bit: u32,
    /// The set where the bit is 0, and where it is 1.
    halves: [HeaderSetId; 2],
}

/// How two sets become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SetOperation {
    And,
    Or,
    Less,
}

/// Words of a leaf.
const WORDS: usize = 8;

/// The bits of a position that are a place in a leaf.
const LEAF_BITS: u32 = (WORDS * 64).ilog2();

impl HeaderSetId {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(2);

    fn from_leaf(index: usize) -> Self {
        Self(number(index) << 1)
    }

    fn from_branch(index: usize) -> Self {
        Self(number(index) << 1 | 1)
    }

    fn is_leaf(self) -> bool {
        self.0 & 1 == 0
    }

    fn is_constant(self) -> bool {
        matches!(self, Self::NONE | Self::ALL)
    }

    fn index(self) -> usize {
        self.0 as usize >> 1
    }
}

impl SetOperation {
    /// The outcome where it needs no look at the sets, or the sets in the order that all such
    /// questions have.
    fn known(
        self,
        left: HeaderSetId,
        right: HeaderSetId,
    ) -> Result<HeaderSetId, (HeaderSetId, HeaderSetId)> {
        const NONE: HeaderSetId = HeaderSetId::NONE;
        const ALL: HeaderSetId = HeaderSetId::ALL;
        match (self, left, right) {
            (SetOperation::And | SetOperation::Less, NONE, _)
            | (SetOperation::And, _, NONE)
            | (SetOperation::Less, _, ALL) => Ok(NONE),
            (SetOperation::Or, ALL, _) | (SetOperation::Or, _, ALL) => Ok(ALL),
            (SetOperation::And, ALL, other)
            | (SetOperation::And | SetOperation::Less, other, ALL | NONE)
            | (SetOperation::Or, NONE, other) => Ok(other),
            (SetOperation::Or, other, NONE) => Ok(other),
            (SetOperation::And | SetOperation::Or, left, right) if left == right => Ok(left),
            (SetOperation::Less, left, right) if left == right => Ok(NONE),
            (SetOperation::And | SetOperation::Or, left, right) => {
                Err((left.min(right), left.max(right)))
            }
            (SetOperation::Less, left, right) => Err((left, right)),
        }
    }

    fn words(self, left: &LeafBits, right: &LeafBits) -> LeafBits {
        let mut all = *left;
        for (word, other) in all.iter_mut().zip(right) {
            *word = match self {
                SetOperation::And => *word & other,
                SetOperation::Or => *word | other,
                SetOperation::Less => *word & !other,
            };
        }
        all
    }
}

impl DecisionDiagram {
    /// No set but those of nothing and of everything, for so many rows and columns.
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let bits = |count: usize| count.next_power_of_two().ilog2();
        Self {
            leaves: IndexSet::from_iter([[0; WORDS], [u64::MAX; WORDS]]),
            branches: IndexSet::default(),
            made: FxHashMap::default(),
            column_bits: bits(columns).max(LEAF_BITS),
            row_bits: bits(rows),
        }
    }

    /// How many parts of sets are kept.
    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.leaves.len() + self.branches.len()
    }

    /// The positions in any row and in these columns, which are in order and apart.
    pub(super) fn columns(&mut self, runs: &[Range<usize>]) -> HeaderSetId {
        self.spread(runs, 0, self.column_bits, 0, HeaderSetId::ALL)
    }

    /// The positions of a set that are in these rows, which are in order and apart. The set must
    /// have the same in each row.
    pub(super) fn rows(&mut self, runs: &[Range<usize>], row: HeaderSetId) -> HeaderSetId {
        self.spread(runs, 0, self.row_bits, self.column_bits, row)
    }

    /// Within the numbers from `start` that differ in so many bits, a part where runs are, and
    /// nothing elsewhere. The numbers are the bits of positions from `lowest`.
    fn spread(
        &mut self,
        runs: &[Range<usize>],
        start: usize,
        bits: u32,
        lowest: u32,
        part: HeaderSetId,
    ) -> HeaderSetId {
        let end = start + (1 << bits);
        let (_, behind) = runs.split_at(runs.partition_point(|run| run.end <= start));
        let (within, _) = behind.split_at(behind.partition_point(|run| run.start < end));

        match within {
            [] => HeaderSetId::NONE,
            [one] if one.start <= start && end <= one.end => part,
            runs if lowest + bits == LEAF_BITS => self.leaf(block(runs, start)),
            runs => {
                let middle = start + (1 << (bits - 1));
                let halves =
                    [start, middle].map(|start| self.spread(runs, start, bits - 1, lowest, part));
                self.branch(lowest + bits - 1, halves)
            }
        }
    }

    /// Two sets as one.
    pub(super) fn combine(
        &mut self,
        operation: SetOperation,
        left: HeaderSetId,
        right: HeaderSetId,
    ) -> HeaderSetId {
        let (left, right) = match operation.known(left, right) {
            Ok(known) => return known,
            Err(ordered) => ordered,
        };
        if let Some(known) = self.made.get(&(operation, left, right)) {
            return *known;
        }

        let id = match left.is_leaf() && right.is_leaf() {
            true => self.combine_leaves(operation, left, right),
            false => {
                let bit = self.bit(left).max(self.bit(right));
                let [left_low, left_high] = self.halves(left, bit);
                let [right_low, right_high] = self.halves(right, bit);
                let low = self.combine_parts(operation, left_low, right_low);
                let high = self.combine_parts(operation, left_high, right_high);
                self.branch(bit, [low, high])
            }
        };

        self.made.insert((operation, left, right), id);
        id
    }

    /// The same, for parts of sets. What two leaves become is found as fast as it is remembered.
    fn combine_parts(
        &mut self,
        operation: SetOperation,
        left: HeaderSetId,
        right: HeaderSetId,
    ) -> HeaderSetId {
        match operation.known(left, right) {
            Ok(known) => known,
            Err(_) if left.is_leaf() && right.is_leaf() => {
                self.combine_leaves(operation, left, right)
            }
            Err(_) => self.combine(operation, left, right),
        }
    }

    fn combine_leaves(
        &mut self,
        operation: SetOperation,
        left: HeaderSetId,
        right: HeaderSetId,
    ) -> HeaderSetId {
        let words = operation.words(self.words(left), self.words(right));
        self.leaf(words)
    }

    /// The rows that have a column in a set, with all their columns.
    pub(super) fn rows_with(&mut self, set: HeaderSetId, column: usize) -> HeaderSetId {
        self.rows_with_column(set, column, &mut FxHashMap::default())
    }

    fn rows_with_column(
        &mut self,
        set: HeaderSetId,
        column: usize,
        known: &mut FxHashMap<HeaderSetId, HeaderSetId>,
    ) -> HeaderSetId {
        let bit = self.bit(set);
        if bit < self.column_bits {
            return if self.holds(set, 0, column) {
                HeaderSetId::ALL
            } else {
                HeaderSetId::NONE
            };
        }
        if let Some(known) = known.get(&set) {
            return *known;
        }

        let halves = self
            .halves(set, bit)
            .map(|half| self.rows_with_column(half, column, known));
        let id = self.branch(bit, halves);
        known.insert(set, id);
        id
    }

    /// Whether a position is in a set.
    pub(super) fn holds(&self, set: HeaderSetId, row: usize, column: usize) -> bool {
        let leaf = self.part(set, self.position(row, column), 0).0;
        let word = self.words(leaf).get(column / 64 % WORDS);
        word.is_some_and(|word| word >> (column % 64) & 1 == 1)
    }

    /// What a set has in a row, in each row.
    pub(super) fn row(&self, set: HeaderSetId, row: usize) -> HeaderSetId {
        self.part(set, self.position(row, 0), self.column_bits).0
    }

    /// The part of a set around a position that no bit from `lowest` decides any more, and the last
    /// bit that did.
    fn part(&self, set: HeaderSetId, position: u64, lowest: u32) -> (HeaderSetId, u32) {
        let (mut part, mut last) = (set, self.column_bits);
        while !part.is_leaf() && self.bit(part) >= lowest {
            last = self.bit(part);
            let [low, high] = self.halves(part, last);
            part = if position >> last & 1 == 0 { low } else { high };
        }
        (part, last)
    }

    /// The first position of a set: row and column.
    pub(super) fn first(&self, set: HeaderSetId) -> Option<(usize, usize)> {
        let (mut part, mut position) = (set, 0u64);
        while !part.is_leaf() {
            let bit = self.bit(part);
            let [low, high] = self.halves(part, bit);
            part = if low == HeaderSetId::NONE { high } else { low };
            position |= u64::from(low == HeaderSetId::NONE) << bit;
        }

        position |= first_bit(self.words(part), 0)? as u64;
        let row = position >> self.column_bits;
        let column = position & ((1 << self.column_bits) - 1);
        Some((usize::try_from(row).ok()?, usize::try_from(column).ok()?))
    }

    fn position(&self, row: usize, column: usize) -> u64 {
        (row as u64) << self.column_bits | column as u64
    }

    /// The columns that a set has, of some, as runs. The set must have the same in each row.
    pub(super) fn runs(
        &self,
        row: HeaderSetId,
        columns: Range<usize>,
    ) -> impl Iterator<Item = Range<usize>> + '_ {
        let Range { mut start, end } = columns;
        std::iter::from_fn(move || {
            let first = self.next(row, start..end, true)?;
            start = self.next(row, first..end, false).unwrap_or(end);
            Some(first..start)
        })
    }

    /// The first of some columns that is in a set, or that is not.
    fn next(&self, row: HeaderSetId, columns: Range<usize>, is_in: bool) -> Option<usize> {
        let mut column = columns.start;
        while column < columns.end {
            let (leaf, last) = self.part(row, column as u64, 0);
            let wanted = if is_in {
                HeaderSetId::ALL
            } else {
                HeaderSetId::NONE
            };
            if leaf == wanted {
                return Some(column);
            }
            let bits = if leaf.is_constant() { last } else { LEAF_BITS };
            let start = column >> bits << bits;

            let words = self
                .words(leaf)
                .map(|word| if is_in { word } else { !word });
            let found = if leaf.is_constant() {
                None
            } else {
                first_bit(&words, column - start)
            };
            match found {
                Some(place) => return Some(start + place).filter(|column| *column < columns.end),
                None => column = start + (1 << bits),
            }
        }
        None
    }

    /// Whether a set has all that another one has.
    pub(super) fn includes(&self, outer: HeaderSetId, inner: HeaderSetId) -> bool {
        self.includes_part(outer, inner, &mut FxHashSet::default())
    }

    fn includes_part(
        &self,
        outer: HeaderSetId,
        inner: HeaderSetId,
        known: &mut FxHashSet<(HeaderSetId, HeaderSetId)>,
    ) -> bool {
        if inner == outer || inner == HeaderSetId::NONE || outer == HeaderSetId::ALL {
            return true;
        }
        if outer.is_leaf() && inner.is_leaf() {
            return SetOperation::Less.words(self.words(inner), self.words(outer)) == [0; WORDS];
        }
        if !known.insert((outer, inner)) {
            return true;
        }

        let bit = self.bit(outer).max(self.bit(inner));
        let halves = self
            .halves(outer, bit)
            .into_iter()
            .zip(self.halves(inner, bit));
        halves
            .into_iter()
            .all(|(outer, inner)| self.includes_part(outer, inner, known))
    }

    /// The bit that decides a set; 0 of a leaf.
    pub(crate) fn bit(&self, set: HeaderSetId) -> u32 {
        if set.is_leaf() {
            0
        } else {
            self.branch_of(set).bit
        }
    }

    /// A set where a bit is 0, and where it is 1. No higher bit decides it.
    pub(crate) fn halves(&self, set: HeaderSetId, bit: u32) -> [HeaderSetId; 2] {
        if set.is_leaf() {
            return [set; 2];
        }
        let branch = self.branch_of(set);
        if branch.bit == bit {
            branch.halves
        } else {
            [set; 2]
        }
    }

    fn branch_of(&self, set: HeaderSetId) -> &BranchNode {
        self.branches
            .get_index(set.index())
            .expect("a branch of this diagram")
    }

    /// The bits of a leaf.
    pub(crate) fn words(&self, leaf: HeaderSetId) -> &LeafBits {
        self.leaves
            .get_index(leaf.index())
            .expect("a leaf of this diagram")
    }

    /// The set with these halves by the value of a bit. It must be above all bits that decide
    /// these.
    pub(crate) fn branch(&mut self, bit: u32, halves: [HeaderSetId; 2]) -> HeaderSetId {
        let [low, high] = halves;
        if low == high {
            low
        } else {
            HeaderSetId::from_branch(self.branches.insert_full(BranchNode { bit, halves }).0)
        }
    }

    /// The set of these bits, in each block.
    pub(crate) fn leaf(&mut self, words: LeafBits) -> HeaderSetId {
        HeaderSetId::from_leaf(self.leaves.insert_full(words).0)
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index)
        .ok()
        .filter(|number| *number < 1 << 31)
        .expect("fewer than 2^31 parts of sets")
}

/// The bits of a block from `start` that are in runs.
fn block(runs: &[Range<usize>], start: usize) -> LeafBits {
    let mut words = [0; WORDS];
    for run in runs {
        let first = run.start.max(start) - start;
        let end = run.end.min(start + WORDS * 64) - start;
        for (number, word) in words.iter_mut().enumerate() {
            let low = first.saturating_sub(number * 64).min(64);
            let high = end.saturating_sub(number * 64).min(64);
            *word |= below(high) & !below(low);
        }
    }
    words
}

/// A word with so many bits, from the lowest.
fn below(bits: usize) -> u64 {
    if bits == 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    }
}

/// The first bit from a place.
fn first_bit(words: &LeafBits, from: usize) -> Option<usize> {
    let rest = words.iter().enumerate().skip(from / 64);
    let rest = rest.map(|(number, word)| {
        let is_first = number == from / 64;
        let before = if is_first { below(from % 64) } else { 0 };
        (number, word & !before)
    });
    rest.into_iter()
        .find(|(_, word)| *word != 0)
        .map(|(number, word)| number * 64 + word.trailing_zeros() as usize)
}
