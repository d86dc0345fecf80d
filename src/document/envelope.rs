//! Reads the outermost fields of an object, which identify it, without parsing the others.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use crate::document::input::SourceText;
use crate::document::object::ObjectBody;
use crate::document::{
    ManifestObject, NodeScalar, NodeValue, ObjectKind, YamlEntry, YamlNode, json, pairs,
};
use crate::source::{Span, SpannedString};

/// The outermost fields of an object or list.
#[derive(Debug)]
pub(super) struct ObjectEnvelope<'text> {
    pub(super) input: SourceText<'text>,
    pub(super) span: Span,
    contents: EnvelopeContents<'text>,
}

#[derive(Debug)]
enum EnvelopeContents<'text> {
    Tree(Vec<YamlEntry>),
    Json(&'text str, Vec<(SpannedString, &'text str)>),
}

/// The fields of a list.
const LIST_FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "items"];

impl<'text> ObjectEnvelope<'text> {
    /// Reads the outermost fields of a mapping. Any other value is reported as "not an object".
    pub(super) fn open(
        input: SourceText<'text>,
        body: ObjectBody<'text>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let span = body.span(input);
        let contents = match body {
            ObjectBody::Tree(YamlNode {
                value: NodeValue::Map(entries),
                ..
            }) => Ok(EnvelopeContents::Tree(entries)),
            ObjectBody::Tree(node) => Err(not_an_object(&node, input)),
            ObjectBody::Json(text) if text.starts_with('{') => {
                json_fields(input, text, diagnostics)
                    .map(|fields| EnvelopeContents::Json(text, fields))
            }
            ObjectBody::Json(text) => Err(not_an_object(&json_stub(text, span), input)),
        };
        let contents = contents.map_err(|problem| diagnostics.push(problem)).ok()?;

        Some(Self {
            input,
            span,
            contents,
        })
    }

    /// The tree of a small field.
    pub(super) fn field(&self, name: &str, diagnostics: &mut Diagnostics) -> Option<YamlNode> {
        match &self.contents {
            EnvelopeContents::Tree(entries) => entries
                .iter()
                .find(|entry| entry.key.value == name)
                .map(|entry| entry.value.clone()),
            EnvelopeContents::Json(_, fields) => json_field(fields, name)
                .and_then(|value| json::tree(self.input, value, diagnostics)),
        }
    }

    /// Whether there is a field `items` that is a list, or null, which Go writes for an empty list.
    pub(super) fn has_items(&self) -> bool {
        match &self.contents {
            EnvelopeContents::Tree(entries) => tree_items(entries)
                .is_some_and(|node| node.is_null() || matches!(node.value, NodeValue::List(_))),
            EnvelopeContents::Json(_, fields) => json_field(fields, "items")
                .is_some_and(|items| items.starts_with('[') || items == "null"),
        }
    }

    /// The items of a list.
    pub(super) fn items(self, diagnostics: &mut Diagnostics) -> Vec<ObjectBody<'text>> {
        match self.contents {
            EnvelopeContents::Tree(entries) => {
                let items = entries
                    .into_iter()
                    .find(|entry| entry.key.value == "items")
                    .map(|entry| entry.value.value);
                if let Some(NodeValue::List(items)) = items {
                    items.into_iter().map(ObjectBody::Tree).collect()
                } else {
                    Vec::new()
                }
            }
            EnvelopeContents::Json(_, fields) => json_items(self.input, &fields, diagnostics),
        }
    }

    /// Reports fields that a list cannot have.
    pub(super) fn check_list_fields(&self, diagnostics: &mut Diagnostics) {
        for key in self
            .keys()
            .filter(|key| !LIST_FIELDS.contains(&key.value.as_str()))
        {
            let meant = nearest(&key.value, LIST_FIELDS.iter().copied())
                .map(|name| format!("did you mean `{name}`?"));
            diagnostics.push(
                Diagnostic::at(
                    Code::UnknownField,
                    key.span,
                    format!("unknown field `{}` of a list", key.value),
                )
                .maybe_help(meant),
            );
        }
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &SpannedString> + '_> {
        match &self.contents {
            EnvelopeContents::Tree(entries) => Box::new(entries.iter().map(|entry| &entry.key)),
            EnvelopeContents::Json(_, fields) => Box::new(fields.iter().map(|(key, _)| key)),
        }
    }

    /// The span of its start.
    pub(super) fn start(&self) -> Span {
        self.input.character_at(self.span.range().start)
    }

    /// Turns it into an object. `shared` is the text to record as its source instead of its own.
    pub(super) fn into_object(
        self,
        kind: ObjectKind,
        internal: bool,
        place: Span,
        shared: Option<&'text str>,
    ) -> ManifestObject<'text> {
        let Self {
            input,
            span,
            contents,
        } = self;
        let body = match contents {
            EnvelopeContents::Tree(entries) => ObjectBody::Tree(YamlNode {
                span,
                value: NodeValue::Map(entries),
            }),
            EnvelopeContents::Json(text, _) => ObjectBody::Json(text),
        };
        let source = shared.unwrap_or_else(|| input.slice(span));

        ManifestObject {
            kind,
            internal,
            span,
            source,
            place,
            body,
            input,
        }
    }
}

fn tree_items(entries: &[YamlEntry]) -> Option<&YamlNode> {
    entries
        .iter()
        .find(|entry| entry.key.value == "items")
        .map(|entry| &entry.value)
}

fn json_fields<'text>(
    input: SourceText<'text>,
    text: &'text str,
    diagnostics: &mut Diagnostics,
) -> Result<Vec<(SpannedString, &'text str)>, Diagnostic> {
    let members = json::members(input, text)?.into_iter();
    let fields: Result<Vec<_>, _> = members
        .map(|member| Ok((json::string(input, member.key)?, member.value)))
        .collect();
    let fields = fields?;
    pairs::repeated(fields.iter().map(|(key, _)| key), diagnostics);
    Ok(fields)
}

fn json_field<'text>(fields: &[(SpannedString, &'text str)], name: &str) -> Option<&'text str> {
    fields
        .iter()
        .find(|(key, _)| key.value == name)
        .map(|(_, value)| *value)
}

fn json_items<'text>(
    input: SourceText<'text>,
    fields: &[(SpannedString, &'text str)],
    diagnostics: &mut Diagnostics,
) -> Vec<ObjectBody<'text>> {
    let Some(items) = json_field(fields, "items").filter(|items| *items != "null") else {
        return Vec::new();
    };
    let elements = json::elements(input, items)
        .map_err(|problem| diagnostics.push(problem))
        .unwrap_or_default();
    elements.into_iter().map(ObjectBody::Json).collect()
}

/// A node of the right type, for a message.
fn json_stub(text: &str, span: Span) -> YamlNode {
    let value = match text.as_bytes().first() {
        Some(b'[') => NodeValue::List(Vec::new()),
        Some(b'"') => NodeValue::Scalar(NodeScalar::Text(SpannedString::new(
            String::new(),
            span,
            text,
        ))),
        Some(b't' | b'f') => NodeValue::Scalar(NodeScalar::Bool(true)),
        Some(b'n') => NodeValue::Scalar(NodeScalar::Null),
        _ => NodeValue::Scalar(NodeScalar::Number(String::new())),
    };
    YamlNode { span, value }
}

fn not_an_object(node: &YamlNode, input: SourceText<'_>) -> Diagnostic {
    let help = match node.value {
        NodeValue::List(_) => Some(
            "give the objects one by one, or as the `items` of an object of kind `List`".to_owned(),
        ),
        NodeValue::Scalar(_) | NodeValue::Map(_) => input.template_help(node.span.range().start),
    };

    Diagnostic::at(
        Code::NotAnObject,
        node.span,
        format!("expected a Kubernetes object, found {}", node.type_name()),
    )
    .maybe_help(help)
}
