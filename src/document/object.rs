//! One object, as readers receive it.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::diagnostic::Diagnostics;
use crate::document::input::SourceText;
use crate::document::{ObjectKind, YamlNode, decode, json};
use crate::source::Span;

/// One object of the input. Lists are already split into items.
#[derive(Debug)]
pub struct ManifestObject<'text> {
    /// Its kind.
    pub kind: ObjectKind,
    /// Whether it belongs to Calico's internal API group, `crd.projectcalico.org`.
    pub internal: bool,
    /// The span of the whole object.
    pub span: Span,
    /// The source text of the object, trimmed: its own text, or that of the whole document if the
    /// object may contain aliases to other parts. An item of a typed list may lack its kind.
    pub source: &'text str,
    pub(super) place: Span,
    pub(super) body: ObjectBody<'text>,
    pub(super) input: SourceText<'text>,
}

/// The content of an object.
#[derive(Debug)]
pub(super) enum ObjectBody<'text> {
    /// A YAML tree.
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
    /// The location for messages about the object as a whole: the value of `kind`, or the object if
    /// its list determines the kind.
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

    /// Reads the fields that `T` has and ignores all others.
    pub fn decode<T: DeserializeOwned>(&self, diagnostics: &mut Diagnostics) -> Option<T> {
        match &self.body {
            ObjectBody::Tree(node) => decode::decode(node)
                .map_err(|problem| diagnostics.push(problem))
                .ok(),
            ObjectBody::Json(text) => self.decode_json(text, diagnostics),
        }
    }

    /// Reads JSON without a tree. Only if that fails, a tree is built, to find the location and the
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
        // Building the tree may report the error itself. It must not be reported twice.
        let before = diagnostics.error_count();
        let node = json::tree(self.input, text, diagnostics)?;

        let problem = decode::decode::<T>(&node).err();
        if problem.is_some() || diagnostics.error_count() == before {
            diagnostics.push(problem.unwrap_or_else(|| json::syntax(self.input, text, &error)));
        }

        None
    }
}
