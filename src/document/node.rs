//! The tree of a document.

use crate::source::{Span, SpannedString};

/// A value and its span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlNode {
    /// The value as written, with quotes, brackets or indented lines.
    pub span: Span,
    /// The value.
    pub value: NodeValue,
}

/// The value of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeValue {
    /// A string, number, boolean or null.
    Scalar(NodeScalar),
    /// A sequence.
    List(Vec<YamlNode>),
    /// A mapping, in the order written, every key once.
    Map(Vec<YamlEntry>),
}

/// One pair of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlEntry {
    /// The key.
    pub key: SpannedString,
    /// The value.
    pub value: YamlNode,
}

/// A scalar, by the types that Kubernetes knows (those of JSON).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeScalar {
    /// Null: an empty value, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An unquoted number, as written.
    Number(String),
    /// A string: quoted, a block scalar, or unquoted text of no other type.
    Text(SpannedString),
    /// An unquoted word that YAML readers interpret differently: as a boolean or text (`yes`,
    /// `off`, `y` …), or as different numbers or text (`0123`, `0x1f`, `1_000`, `80:50`, `.inf` …).
    /// It matches no type, so every reader refuses it.
    Ambiguous(String),
}

impl YamlNode {
    /// Whether the node is null. Kubernetes treats that as an absent field.
    pub fn is_null(&self) -> bool {
        self.value == NodeValue::Scalar(NodeScalar::Null)
    }

    /// The name of the type in messages.
    pub fn type_name(&self) -> &'static str {
        match &self.value {
            NodeValue::Scalar(NodeScalar::Null) => "nothing",
            NodeValue::Scalar(NodeScalar::Bool(_)) => "a boolean",
            NodeValue::Scalar(NodeScalar::Number(_)) => "a number",
            NodeValue::Scalar(NodeScalar::Text(_)) => "a string",
            NodeValue::Scalar(NodeScalar::Ambiguous(_)) => {
                "a word that YAML readers disagree about"
            }
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a mapping",
        }
    }

    /// The entries of a mapping, or `None` for other values.
    pub fn entries(&self) -> Option<&[YamlEntry]> {
        match &self.value {
            NodeValue::Map(entries) => Some(entries),
            NodeValue::List(_) | NodeValue::Scalar(_) => None,
        }
    }

    /// The items of a list, or `None` for other values.
    pub fn items(&self) -> Option<&[YamlNode]> {
        match &self.value {
            NodeValue::List(items) => Some(items),
            NodeValue::Map(_) | NodeValue::Scalar(_) => None,
        }
    }

    /// The value of a key in a mapping.
    pub fn get(&self, key: &str) -> Option<&YamlNode> {
        self.entries()?
            .iter()
            .find(|entry| entry.key.value == key)
            .map(|entry| &entry.value)
    }
}
