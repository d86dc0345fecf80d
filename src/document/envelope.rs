//! The outermost fields of an object, which tell what it is, without looking into the others.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use crate::document::input::Input;
use crate::document::object::Body;
use crate::document::{Entry, Kind, Node, Object, Scalar, Value, json, pairs};
use crate::source::{Span, Text};

/// An object or list, opened.
#[derive(Debug)]
pub(super) struct Envelope<'text> {
    pub(super) input: Input<'text>,
    pub(super) span: Span,
    contents: Contents<'text>,
}

#[derive(Debug)]
enum Contents<'text> {
    Tree(Vec<Entry>),
    Json(&'text str, Vec<(Text, &'text str)>),
}

/// The fields of a list.
const LIST_FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "items"];

impl<'text> Envelope<'text> {
    /// Opens a mapping; anything else is reported as no object.
    pub(super) fn open(
        input: Input<'text>,
        body: Body<'text>,
        found: &mut Diagnostics,
    ) -> Option<Self> {
        let span = body.span(input);
        let contents = match body {
            Body::Tree(Node {
                value: Value::Map(entries),
                ..
            }) => Ok(Contents::Tree(entries)),
            Body::Tree(node) => Err(not_an_object(&node, input)),
            Body::Json(text) if text.starts_with('{') => {
                json_fields(input, text, found).map(|fields| Contents::Json(text, fields))
            }
            Body::Json(text) => Err(not_an_object(&json_stub(text, span), input)),
        };
        let contents = contents.map_err(|problem| found.push(problem)).ok()?;
        Some(Self {
            input,
            span,
            contents,
        })
    }

    /// The tree of a field that is small.
    pub(super) fn field(&self, name: &str, found: &mut Diagnostics) -> Option<Node> {
        match &self.contents {
            Contents::Tree(entries) => entries
                .iter()
                .find(|entry| entry.key.value == name)
                .map(|entry| entry.value.clone()),
            Contents::Json(_, fields) => {
                json_field(fields, name).and_then(|value| json::tree(self.input, value, found))
            }
        }
    }

    /// Whether there is a field `items` that is a list, or null as Go writes an empty list.
    pub(super) fn has_items(&self) -> bool {
        match &self.contents {
            Contents::Tree(entries) => tree_items(entries)
                .is_some_and(|node| node.is_null() || matches!(node.value, Value::List(_))),
            Contents::Json(_, fields) => json_field(fields, "items")
                .is_some_and(|items| items.starts_with('[') || items == "null"),
        }
    }

    /// The items of a list.
    pub(super) fn items(self, found: &mut Diagnostics) -> Vec<Body<'text>> {
        match self.contents {
            Contents::Tree(entries) => {
                let items = entries
                    .into_iter()
                    .find(|entry| entry.key.value == "items")
                    .map(|entry| entry.value.value);
                if let Some(Value::List(items)) = items {
                    items.into_iter().map(Body::Tree).collect()
                } else {
                    Vec::new()
                }
            }
            Contents::Json(_, fields) => json_items(self.input, &fields, found),
        }
    }

    /// Reports fields that no list has.
    pub(super) fn check_list_fields(&self, found: &mut Diagnostics) {
        for key in self
            .keys()
            .filter(|key| !LIST_FIELDS.contains(&key.value.as_str()))
        {
            let meant = nearest(&key.value, LIST_FIELDS.iter().copied())
                .map(|name| format!("did you mean `{name}`?"));
            found.push(
                Diagnostic::at(
                    Code::UnknownField,
                    key.span,
                    format!("unknown field `{}` of a list", key.value),
                )
                .maybe_help(meant),
            );
        }
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &Text> + '_> {
        match &self.contents {
            Contents::Tree(entries) => Box::new(entries.iter().map(|entry| &entry.key)),
            Contents::Json(_, fields) => Box::new(fields.iter().map(|(key, _)| key)),
        }
    }

    /// Where it starts.
    pub(super) fn start(&self) -> Span {
        self.input.letter(self.span.range().start)
    }

    /// The object; `shared` is the text to name as its source in place of its own.
    pub(super) fn into_object(
        self,
        kind: Kind,
        internal: bool,
        place: Span,
        shared: Option<&'text str>,
    ) -> Object<'text> {
        let Self {
            input,
            span,
            contents,
        } = self;
        let body = match contents {
            Contents::Tree(entries) => Body::Tree(Node {
                span,
                value: Value::Map(entries),
            }),
            Contents::Json(text, _) => Body::Json(text),
        };
        let source = shared.unwrap_or_else(|| input.slice(span));
        Object {
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

fn tree_items(entries: &[Entry]) -> Option<&Node> {
    entries
        .iter()
        .find(|entry| entry.key.value == "items")
        .map(|entry| &entry.value)
}

fn json_fields<'text>(
    input: Input<'text>,
    text: &'text str,
    found: &mut Diagnostics,
) -> Result<Vec<(Text, &'text str)>, Diagnostic> {
    let members = json::members(input, text)?.into_iter();
    let fields: Result<Vec<_>, _> = members
        .map(|member| Ok((json::string(input, member.key)?, member.value)))
        .collect();
    let fields = fields?;
    pairs::repeated(fields.iter().map(|(key, _)| key), found);
    Ok(fields)
}

fn json_field<'text>(fields: &[(Text, &'text str)], name: &str) -> Option<&'text str> {
    fields
        .iter()
        .find(|(key, _)| key.value == name)
        .map(|(_, value)| *value)
}

fn json_items<'text>(
    input: Input<'text>,
    fields: &[(Text, &'text str)],
    found: &mut Diagnostics,
) -> Vec<Body<'text>> {
    let Some(items) = json_field(fields, "items").filter(|items| *items != "null") else {
        return Vec::new();
    };
    let elements = json::elements(input, items)
        .map_err(|problem| found.push(problem))
        .unwrap_or_default();
    elements.into_iter().map(Body::Json).collect()
}

/// A node of the right type, for a message.
fn json_stub(text: &str, span: Span) -> Node {
    let value = match text.as_bytes().first() {
        Some(b'[') => Value::List(Vec::new()),
        Some(b'"') => Value::Scalar(Scalar::Text(Text::new(String::new(), span, text))),
        Some(b't' | b'f') => Value::Scalar(Scalar::Bool(true)),
        Some(b'n') => Value::Scalar(Scalar::Null),
        _ => Value::Scalar(Scalar::Number(String::new())),
    };
    Node { span, value }
}

fn not_an_object(node: &Node, input: Input<'_>) -> Diagnostic {
    let help = match node.value {
        Value::List(_) => Some(
            "give the objects one by one, or as the `items` of an object of kind `List`".to_owned(),
        ),
        Value::Scalar(_) | Value::Map(_) => input.template_help(node.span.range().start),
    };
    Diagnostic::at(
        Code::NotAnObject,
        node.span,
        format!("expected a Kubernetes object, found {}", node.type_name()),
    )
    .maybe_help(help)
}
