//! Input text to objects: YAML and JSON read into one tree whose every key and value knows its place.
//!
//! In: [`text::Files`](crate::text::Files). Out: one [`Object`] after another, with its API version and kind found, lists
//! taken apart, duplicates of keys refused, aliases and merge keys resolved, depth and size bounded. A syntax error costs
//! its own document only. Absent: any idea of what a field means; [`Fields`] only says which ones nobody asked for.
//!
//! Cost: linear in the text. One YAML document's tree is in memory at a time; JSON lists stay text until an item is asked for.

mod fields;
mod kind;
mod node;

pub use fields::Fields;
pub use kind::{KINDS, Kind, KindRow, Role};
pub use node::{Entry, Node, Scalar, Value};
