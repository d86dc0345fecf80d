//! The tree.

use crate::source::{Span, Text};

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value as written, with quotes, brackets or indented lines.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a document is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string, number, boolean or null.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written, every key once.
    Map(Vec<Entry>),
}

/// One pair of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Text,
    /// The value.
    pub value: Node,
}

/// A scalar by the types Kubernetes knows (those of JSON).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// Nothing: an empty value, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An unquoted number, as written.
    Number(String),
    /// A string: quoted, a block, or unquoted text that is nothing else.
    Text(Text),
    /// An unquoted word that YAML readers take for different things: a boolean or text (`yes`,
    /// `off`, `y` …), one number, another or text (`0123`, `0x1f`, `1_000`, `80:50`, `.inf` …).
    /// Fits no type, so that it is refused wherever it is read.
    Ambiguous(String),
}

impl Node {
    /// Whether nothing stands here; Kubernetes takes that for an absent field.
    pub fn is_null(&self) -> bool {
        self.value == Value::Scalar(Scalar::Null)
    }

    /// The type in words, for messages.
    pub fn type_name(&self) -> &'static str {
        match &self.value {
            Value::Scalar(Scalar::Null) => "nothing",
            Value::Scalar(Scalar::Bool(_)) => "a boolean",
            Value::Scalar(Scalar::Number(_)) => "a number",
            Value::Scalar(Scalar::Text(_)) => "a string",
            Value::Scalar(Scalar::Ambiguous(_)) => "a word that YAML readers disagree about",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The entries of a mapping.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::List(_) | Value::Scalar(_) => None,
        }
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Map(_) | Value::Scalar(_) => None,
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?
            .iter()
            .find(|entry| entry.key.value == key)
            .map(|entry| &entry.value)
    }
}
