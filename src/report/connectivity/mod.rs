//! Formats connectivity as JSON, CSV, text, Markdown and DOT.
//!
//! In: a [`Connectivity`]. Out: text, written pair by pair, because large clusters have many pairs.
//! Programs get every protocol and every address outside separately. People get "all" if everything
//! is allowed, and address ranges that include those of endpoints between them.

mod formats;
mod text;

pub use formats::{csv, json};
pub use text::{dot, markdown, text};

use std::collections::BTreeMap;

use crate::connectivity::Connectivity;
use crate::packet_space::HeaderSetId;

/// Applies a function to each distinct traffic of the pairs, once.
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
