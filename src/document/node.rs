//! The tree.

use crate::source::{Span, SpannedString};

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlNode {
    /// The value as written, with quotes, brackets or indented lines.
    pub span: Span,
    /// What it is.
    pub value: NodeValue,
}

/// What a document is made of.
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

/// A scalar by the types Kubernetes knows (those of JSON).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeScalar {
    /// Nothing: an empty value, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An unquoted number, as written.
    Number(String),
    /// A string: quoted, a block, or unquoted text that is nothing else.
    Text(SpannedString),
    /// An unquoted word that YAML readers take for different things: a boolean or text (`yes`,
    /// `off`, `y` …), one number, another or text (`0123`, `0x1f`, `1_000`, `80:50`, `.inf` …).
    /// Fits no type, so that it is refused wherever it is read.
    Ambiguous(String),
}

impl YamlNode {
    /// Whether nothing stands here; Kubernetes takes that for an absent field.
    pub fn is_null(&self) -> bool {
        self.value == NodeValue::Scalar(NodeScalar::Null)
    }

    /// The type in words, for messages.
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

    /// The entries of a mapping.
    pub fn entries(&self) -> Option<&[YamlEntry]> {
        match &self.value {
            NodeValue::Map(entries) => Some(entries),
            NodeValue::List(_) | NodeValue::Scalar(_) => None,
        }
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[YamlNode]> {
        match &self.value {
            NodeValue::List(items) => Some(items),
            NodeValue::Map(_) | NodeValue::Scalar(_) => None,
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&YamlNode> {
        self.entries()?
            .iter()
            .find(|entry| entry.key.value == key)
            .map(|entry| &entry.value)
    }
}
