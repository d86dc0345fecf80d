//! Reads input text as objects: YAML and JSON become one kind of tree, in which every key and value
//! has a span.
//!
//! In: [`SourceFiles`](crate::source::SourceFiles). Out: one [`ManifestObject`] after another, with
//! its API version and kind. Lists are split into items, duplicate keys are refused, aliases and
//! merge keys are resolved, depth and size are limited. A syntax error affects only its own
//! document. Absent: the meaning of fields; [`MappingFields`] only reports those that no reader
//! requested.
//!
//! Cost: linear in the text. The tree of one YAML document is in memory at a time. JSON lists stay
//! text until an item is requested.

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

/// Maximum nesting depth of mappings and lists.
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
