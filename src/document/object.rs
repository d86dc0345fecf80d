//! One object, as its readers get it.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::diagnostic::Diagnostics;
use crate::document::input::SourceText;
use crate::document::{ObjectKind, YamlNode, decode, json};
use crate::source::Span;

/// One object of the input, lists taken apart.
#[derive(Debug)]
pub struct ManifestObject<'text> {
    /// What it is.
    pub kind: ObjectKind,
    /// Whether it is of Calico's internal API group, `crd.projectcalico.org`.
    pub internal: bool,
    /// The whole object.
    pub span: Span,
    /// All text that it is made of, trimmed: its own, or that of its whole document where aliases
    /// may reach out of it. An item of a typed list need not name its kind.
    pub source: &'text str,
    pub(super) place: Span,
    pub(super) body: ObjectBody<'text>,
    pub(super) input: SourceText<'text>,
}

/// What an object is read from.
#[derive(Debug)]
pub(super) enum ObjectBody<'text> {
    /// The tree of YAML.
    Tree(YamlNode),
    /// The text of a JSON value.
    Json(&'text str),
}

impl ObjectBody<'_> {
    pub(super) fn span(&self, input: SourceText<'_>) -> Span {
        match self {
            Self::Tree(node) => node.span,
            Self::Json(text) => input.span(text),
        }
    }
}

impl ManifestObject<'_> {
    /// The place to point at when the object as a whole is meant: the value of `kind`, or the
    /// object where its list names it.
    pub fn place(&self) -> Span {
        self.place
    }

    /// The tree, for readers that must see every field.
    pub fn tree(&self, diagnostics: &mut Diagnostics) -> Option<Cow<'_, YamlNode>> {
        match &self.body {
            ObjectBody::Tree(node) => Some(Cow::Borrowed(node)),
            ObjectBody::Json(text) => json::tree(self.input, text, diagnostics).map(Cow::Owned),
        }
    }

    /// The few fields that `T` has; all others are passed over.
    pub fn decode<T: DeserializeOwned>(&self, diagnostics: &mut Diagnostics) -> Option<T> {
        match &self.body {
            ObjectBody::Tree(node) => decode::decode(node)
                .map_err(|problem| diagnostics.push(problem))
                .ok(),
            ObjectBody::Json(text) => self.decode_json(text, diagnostics),
        }
    }

    /// JSON is read without a tree. Only where that fails a tree is made, to tell the place and the
    /// reason.
    fn decode_json<T: DeserializeOwned>(
        &self,
        text: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<T> {
        let error = match serde_json::from_str(text) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let before = diagnostics.error_count();
        let node = json::tree(self.input, text, diagnostics)?;

        let problem = decode::decode::<T>(&node).err();
        if problem.is_some() || diagnostics.error_count() == before {
            diagnostics.push(problem.unwrap_or_else(|| json::syntax(self.input, text, &error)));
        }

        None
    }
}
