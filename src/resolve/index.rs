//! An index from labels to objects, which evaluates selectors by set algebra.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::inventory::Symbol;
use crate::resolve::{
    lists::{difference, intersection, union},
    universe::SelectorUniverse,
};
use crate::selector::{Expr, LabelTest};

/// For each label and value, the numbers of the objects that have it.
pub(super) struct LabelValueIndex<'universe> {
    universe: &'universe SelectorUniverse<'universe>,
    keys: BTreeMap<&'universe str, LabelColumn<'universe>>,
}

/// The entries of one label name.
#[derive(Default)]
struct LabelColumn<'universe> {
    values: BTreeMap<&'universe str, Vec<u32>>,
    /// Number of objects that have the label.
    count: usize,
    present: OnceLock<Vec<u32>>,
}

impl<'universe> LabelValueIndex<'universe> {
    pub(super) fn new(universe: &'universe SelectorUniverse<'universe>) -> Self {
        let mut index = Self {
            universe,
            keys: BTreeMap::new(),
        };
        index.add_endpoints();
        index.add_network_sets();
        index
    }

    /// Adds the endpoints before all other objects. They are added by symbol, which avoids
    /// comparing strings for each of them.
    fn add_endpoints(&mut self) {
        let inventory = self.universe.inventory;
        let mut holders: IndexMap<(Symbol, Symbol), Vec<u32>, FxBuildHasher> = IndexMap::default();
        for (id, endpoint) in self.universe.ids.iter().zip(&inventory.endpoints) {
            for label in inventory.labels(endpoint).symbols() {
                holders.entry(label).or_default().push(*id);
            }
        }

        for ((key, value), mut ids) in holders {
            ids.shrink_to_fit();
            let key = self.keys.entry(inventory.strings().get(key)).or_default();
            key.count += ids.len();
            key.values.insert(inventory.strings().get(value), ids);
        }
    }

    fn add_network_sets(&mut self) {
        let ids = self.universe.ids.iter().skip(self.universe.first_set());
        for (id, labels) in ids.zip(&self.universe.sets) {
            for (key, value) in labels {
                let key = self.keys.entry(key).or_default();
                key.count += 1;
                key.values.entry(value).or_default().push(*id);
            }
        }
    }

    /// All objects that the selector selects, in order.
    pub(super) fn evaluate(&self, expr: &Expr) -> Cow<'_, [u32]> {
        self.select(expr, &self.universe.ids)
    }

    /// The objects in `within` that the selector selects.
    fn select<'list>(&'list self, expr: &Expr, within: &'list [u32]) -> Cow<'list, [u32]> {
        match expr {
            Expr::All | Expr::Global => Cow::Borrowed(within),
            Expr::Label { name, test } => self.select_label(name, test, within),
            // The operand is evaluated only within the list, so a negation after a rare part is
            // cheap.
            Expr::Not(operand) => Cow::Owned(difference(within, &self.select(operand, within))),
            Expr::And(parts) => self.select_all(parts, within),
            Expr::Or(parts) => {
                Cow::Owned(union(parts.iter().map(|part| self.select(part, within))))
            }
        }
    }

    /// Evaluates the rarest part first. Each further part only filters what is left.
    fn select_all<'list>(&'list self, parts: &[Expr], within: &'list [u32]) -> Cow<'list, [u32]> {
        let mut parts: Vec<&Expr> = parts.iter().collect();
        // Estimates are cached, because each one walks its part of the tree.
        parts.sort_by_cached_key(|part| self.estimate(part));
        let mut left = Cow::Borrowed(within);
        for part in parts {
            left = match left {
                Cow::Borrowed(list) => self.select(part, list),
                Cow::Owned(list) => Cow::Owned(self.select(part, &list).into_owned()),
            };
        }
        left
    }

    fn select_label<'list>(
        &'list self,
        name: &str,
        test: &LabelTest,
        within: &'list [u32],
    ) -> Cow<'list, [u32]> {
        let without = |ids: Cow<'list, [u32]>| Cow::Owned(difference(within, &ids));
        match test {
            LabelTest::Present => self.both(self.having(name), within),
            LabelTest::Equals(value) => self.both(self.holders(name, value), within),
            LabelTest::In(values) => self.in_any(name, values, within),
            LabelTest::NotEquals(value) => without(Cow::Borrowed(self.holders(name, value))),
            LabelTest::NotIn(values) => without(self.in_any(name, values, within)),
            LabelTest::Contains(_) | LabelTest::StartsWith(_) | LabelTest::EndsWith(_) => {
                Cow::Owned(self.with_value_like(name, test, within))
            }
        }
    }

    fn both<'list>(&'list self, ids: &'list [u32], within: &'list [u32]) -> Cow<'list, [u32]> {
        // A list of all numbers needs no intersection.
        match within.len() == self.universe.ids.len() {
            true => Cow::Borrowed(ids),
            false => Cow::Owned(intersection(ids, within)),
        }
    }

    fn in_any<'list>(
        &'list self,
        name: &str,
        values: &BTreeSet<String>,
        within: &'list [u32],
    ) -> Cow<'list, [u32]> {
        Cow::Owned(union(
            values
                .iter()
                .map(|value| self.both(self.holders(name, value), within)),
        ))
    }

    /// Tests every value of the label, or every object in `within`, whichever is fewer.
    fn with_value_like(&self, name: &str, test: &LabelTest, within: &[u32]) -> Vec<u32> {
        let Some(key) = self.keys.get(name) else {
            return Vec::new();
        };
        if within.len() < key.values.len() {
            return within
                .iter()
                .copied()
                .filter(|id| self.universe.passes(*id, name, test))
                .collect();
        }

        let alike = key
            .values
            .iter()
            .filter(|(value, _)| test.holds(Some(value)));
        union(alike.map(|(_, ids)| self.both(ids, within)))
    }

    fn holders(&self, name: &str, value: &str) -> &[u32] {
        self.keys
            .get(name)
            .and_then(|key| key.values.get(value))
            .map_or(&[], Vec::as_slice)
    }

    fn having(&self, name: &str) -> &[u32] {
        self.keys.get(name).map_or(&[], |key| {
            key.present.get_or_init(|| union(key.values.values()))
        })
    }

    /// An upper bound for the number of objects that a selector selects.
    fn estimate(&self, expr: &Expr) -> usize {
        match expr {
            Expr::All | Expr::Global | Expr::Not(_) => self.universe.ids.len(),
            Expr::Label { name, test } => self.estimate_label(name, test),
            Expr::And(parts) => parts
                .iter()
                .map(|part| self.estimate(part))
                .min()
                .unwrap_or(self.universe.ids.len()),
            Expr::Or(parts) => parts.iter().map(|part| self.estimate(part)).sum(),
        }
    }

    fn estimate_label(&self, name: &str, test: &LabelTest) -> usize {
        match test {
            LabelTest::Equals(value) => self.holders(name, value).len(),
            LabelTest::In(values) => values
                .iter()
                .map(|value| self.holders(name, value).len())
                .sum(),
            LabelTest::Present
            | LabelTest::Contains(_)
            | LabelTest::StartsWith(_)
            | LabelTest::EndsWith(_) => self.keys.get(name).map_or(0, |key| key.count),
            LabelTest::NotEquals(_) | LabelTest::NotIn(_) => self.universe.ids.len(),
        }
    }
}
