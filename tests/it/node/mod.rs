//! The node: plans, and what they do to a kernel.

mod hitless;
mod judge;
mod model;
mod plans;
mod several;
mod small;

use std::collections::BTreeMap;

use palisade::net::Family;
use palisade::plan::DesiredKernel;
use palisade::ruleset::{ParsedSet, ParsedTable};

/// What small scripts want, which are no bundle: each has a few chains and sets only. `text` gives
/// a script by its file name.
fn desired_of<'text>(text: impl Fn(&str) -> Option<&'text str>) -> DesiredKernel {
    let sets = ParsedSet::read(text("sets.ipset").expect("a script")).expect("sets");
    let mut tables = BTreeMap::new();
    for (family, word) in [(Family::V4, "v4"), (Family::V6, "v6")] {
        for kind in ["raw", "mangle", "filter"] {
            let Some(text) = text(&format!("{kind}.{word}.rules")) else {
                continue;
            };
            tables.extend(ParsedTable::read(text, family).expect("a table"));
        }
    }

    DesiredKernel {
        sets,
        tables,
        ..DesiredKernel::default()
    }
}
