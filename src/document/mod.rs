//! Input text to objects: YAML and JSON read into one tree whose every key and value knows its
//! place.
//!
//! In: [`text::Files`](crate::source::Files). Out: one [`ManifestObject`] after another, with its
//! API version and kind found, lists taken apart, duplicates of keys refused, aliases and merge
//! keys resolved, depth and size bounded. A syntax error costs its own document only. Absent: any
//! idea of what a field means; [`MappingFields`] only says which ones nobody asked for.
//!
//! Cost: linear in the text. One YAML document's tree is in memory at a time; JSON lists stay text
//! until an item is asked for.

mod decode;
mod digest;
mod envelope;
mod fields;
mod input;
mod json;
mod kind;
mod node;
mod object;
mod pairs;
mod read;
mod scalar;
mod with;
mod yaml;

pub use fields::MappingFields;
pub use kind::{InventoryKind, KINDS, KindRole, KindRow, ManifestKind, ObjectKind};
pub use node::{NodeScalar, NodeValue, YamlEntry, YamlNode};
pub use object::ManifestObject;
pub use read::{for_each, trees};
pub use with::{TextSize, null_as_default, unique_keys};

use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;

/// How many mappings and lists may lie in one another.
const DEEPEST: usize = 64;

fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::at(
        Code::NestingTooDeep,
        span,
        format!("nested deeper than {DEEPEST} levels, which no manifest needs"),
    )
}

#[cfg(test)]
mod tests;
