//! The labels of current endpoints and workloads, for advice about selectors that match none of
//! them.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;

use crate::diagnostic::nearest;
use crate::inventory::{EndpointLabels, Inventory};
use crate::name::reserved::{NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX};
use crate::selector::{Expr, LabelTest};

/// The labels of endpoints and workloads with all of their values. Computed on demand.
pub(super) struct LabelIndex<'input> {
    inventory: &'input Inventory,
    values: OnceCell<BTreeMap<&'input str, BTreeSet<&'input str>>>,
}

impl<'input> LabelIndex<'input> {
    pub(super) fn new(inventory: &'input Inventory) -> Self {
        Self {
            inventory,
            values: OnceCell::new(),
        }
    }

    /// Advice for a selector that matches nothing: the first label or value that no object has, and
    /// a similar one that exists.
    pub(super) fn advice(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::And(parts) => parts.iter().find_map(|part| self.advice(part)),
            Expr::Label { name, test } => self.missing(name, test),
            Expr::All | Expr::Global | Expr::Not(_) | Expr::Or(_) => None,
        }
    }

    fn missing(&self, name: &str, test: &LabelTest) -> Option<String> {
        let wanted: Vec<&str> = match test {
            LabelTest::Equals(value) => vec![value],
            LabelTest::In(values) => values.iter().map(String::as_str).collect(),
            LabelTest::Present
            | LabelTest::Contains(_)
            | LabelTest::StartsWith(_)
            | LabelTest::EndsWith(_) => Vec::new(),
            LabelTest::NotEquals(_) | LabelTest::NotIn(_) => return None,
        };
        let all = self.values();
        let (owner, own) = owner(name);

        let Some(values) = all.get(name) else {
            let prefix = name.strip_suffix(own).unwrap_or_default();
            let near = nearest(own, all.keys().filter_map(|key| key.strip_prefix(prefix)));
            return Some(format!("no {owner} has the label `{own}`{}", meant(near)));
        };
        if wanted.is_empty() || wanted.iter().any(|value| values.contains(value)) {
            return None;
        }

        let near = wanted
            .iter()
            .find_map(|value| nearest(value, values.iter().copied()));
        let wanted: Vec<String> = wanted
            .into_iter()
            .map(|value| format!("`{value}`"))
            .collect();

        Some(format!(
            "no {owner} has {} as its `{own}`{}",
            wanted.join(" or "),
            meant(near)
        ))
    }

    fn values(&self) -> &BTreeMap<&'input str, BTreeSet<&'input str>> {
        self.values.get_or_init(|| {
            let mut seen = FxHashSet::default();
            let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            let strings = self.inventory.strings();
            let endpoints = self
                .inventory
                .endpoints
                .iter()
                .map(|endpoint| self.inventory.labels(endpoint));
            let labels = endpoints.flat_map(EndpointLabels::symbols);
            for (name, value) in labels.filter(|label| seen.insert(*label)) {
                values
                    .entry(strings.get(name))
                    .or_default()
                    .insert(strings.get(value));
            }
            values
        })
    }
}

/// The kind of object that a label belongs to, and its name there.
fn owner(name: &str) -> (&'static str, &str) {
    match (
        name.strip_prefix(NAMESPACE_PREFIX),
        name.strip_prefix(SERVICE_ACCOUNT_PREFIX),
    ) {
        (Some(own), _) => ("namespace of a pod", own),
        (_, Some(own)) => ("service account of a pod", own),
        (None, None) => ("pod", name),
    }
}

fn meant(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default()
}
