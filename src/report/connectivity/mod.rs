//! Who can talk to whom, as JSON, CSV, text, Markdown and DOT.
//!
//! In: [`Connectivity`]. Out: text, written pair by pair, for of large clusters there are many.
//! Machines get every protocol by itself and every address outside; people get "all" where all is
//! allowed, and the addresses of endpoints left in the ranges they lie in.

mod formats;
mod text;

pub use formats::{csv, json};
pub use text::{dot, markdown, text};

use std::collections::BTreeMap;

use crate::connectivity::Connectivity;
use crate::packet_space::HeaderSetId;

/// For every traffic of the pairs, once, what a function makes of it.
fn each_traffic<Words>(
    answer: &Connectivity,
    words: impl Fn(HeaderSetId) -> Words,
) -> BTreeMap<HeaderSetId, Words> {
    let mut made = BTreeMap::new();
    for pair in &answer.pairs {
        made.entry(pair.traffic)
            .or_insert_with(|| words(pair.traffic));
    }
    made
}
