//! Parses assertions files.

use std::str::FromStr;

use crate::assertions::endpoint_selection::PartyCondition;
use crate::assertions::{Assertion, ExpectedOutcome, PartySelector};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{self, MappingFields, NodeValue, YamlNode};
use crate::packet::endpoint_pattern::EndpointPattern;
use crate::packet_space::TrafficPattern;
use crate::selector;
use crate::source::{FileId, SourceFiles, Span, SpannedString};

/// The `apiVersion` of a document of assertions. Other commands skip such documents.
const API_VERSION: &[(&str, ())] = &[("palisade/v1", ())];
const KIND: &[(&str, ())] = &[("Assertions", ())];

/// Parses the assertions of some files, in order. The result is only valid if `diagnostics` has no
/// errors.
pub fn read(files: &SourceFiles, own: &[FileId], diagnostics: &mut Diagnostics) -> Vec<Assertion> {
    let mut assertions = Vec::new();
    document::trees(files, own, diagnostics, &mut |node, diagnostics| {
        assertions.extend(document(node, diagnostics))
    });
    assertions
}

fn document(node: &YamlNode, diagnostics: &mut Diagnostics) -> Vec<Assertion> {
    let Some(mut fields) = MappingFields::from_node(node, diagnostics) else {
        return Vec::new();
    };

    fields
        .get("apiVersion")
        .and_then(|node| node.choice(API_VERSION, diagnostics));
    fields
        .get("kind")
        .and_then(|node| node.choice(KIND, diagnostics));

    let assertions = match fields.require("assertions", diagnostics) {
        Some(list) => list.list(diagnostics, assertion),
        None => Vec::new(),
    };
    fields.finish(diagnostics);
    assertions
}

fn assertion(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Assertion> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let description = fields
        .text("description", diagnostics)
        .map(|text| text.value);
    let may_be_empty = fields
        .get("mayBeEmpty")
        .and_then(|node| node.boolean(diagnostics))
        .is_some_and(|flag| flag.value);
    let (allow, deny) = (fields.get("allow"), fields.get("deny"));
    let span = fields.span;

    fields.finish(diagnostics);
    let (expected, packets) = match (allow, deny) {
        (Some(packets), None) => (ExpectedOutcome::Allowed, packets),
        (None, Some(packets)) => (ExpectedOutcome::Denied, packets),
        (Some(allow), Some(deny)) => {
            let message = "an assertion says `allow` or `deny`, not both";
            diagnostics.push(
                Diagnostic::new(Code::ConflictingFields, message)
                    .label(deny.span, "")
                    .label(allow.span, "the other one"),
            );
            return None;
        }
        (None, None) => {
            diagnostics.push(
                Diagnostic::at(Code::MissingField, span, "`allow` or `deny` is missing").help(FORM),
            );
            return None;
        }
    };
    let mut fields = MappingFields::from_node(packets, diagnostics)?;
    let from = fields
        .require("from", diagnostics)
        .map(|node| everyone(node, diagnostics));
    let to = fields
        .require("to", diagnostics)
        .map(|node| everyone(node, diagnostics));
    let what = fields
        .get("ports")
        .map(|node| ports(node, diagnostics))
        .unwrap_or_default();

    fields.finish(diagnostics);
    Some(Assertion {
        span,
        description,
        expected,
        from: from?,
        to: to?,
        what,
        may_be_empty,
    })
}

/// The form of an assertion, for error messages.
const FORM: &str = "write `allow: {from: …, to: …, ports: [tcp/443]}`";

fn ports(node: &YamlNode, diagnostics: &mut Diagnostics) -> Vec<TrafficPattern> {
    one_or_more(node, "ports", diagnostics, |node, diagnostics| {
        node.text(diagnostics)
            .and_then(|text| parsed(&text, diagnostics))
    })
}

fn everyone(node: &YamlNode, diagnostics: &mut Diagnostics) -> Vec<PartySelector> {
    one_or_more(node, "senders or receivers", diagnostics, who)
}

/// Parses an item, or a list of items that is not empty.
fn one_or_more<Item>(
    node: &YamlNode,
    what: &str,
    diagnostics: &mut Diagnostics,
    mut item: impl FnMut(&YamlNode, &mut Diagnostics) -> Option<Item>,
) -> Vec<Item> {
    match &node.value {
        NodeValue::List(items) if items.is_empty() => {
            diagnostics.push(Diagnostic::at(
                Code::InvalidValue,
                node.span,
                format!("an empty list of {what} covers nothing"),
            ));
            Vec::new()
        }
        NodeValue::List(items) => items
            .iter()
            .filter_map(|node| item(node, diagnostics))
            .collect(),
        NodeValue::Scalar(_) | NodeValue::Map(_) => item(node, diagnostics).into_iter().collect(),
    }
}

fn who(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<PartySelector> {
    match &node.value {
        NodeValue::Map(_) => conditions(node, diagnostics),
        NodeValue::Scalar(_) | NodeValue::List(_) => {
            let text = node.text(diagnostics)?;
            let conditions = match text.value.as_str() {
                "any" => Vec::new(),
                "outside" => vec![PartyCondition::Outside],
                _ => vec![PartyCondition::Is(parsed(&text, diagnostics)?)],
            };
            Some(PartySelector {
                words: text.value,
                conditions,
                except: Vec::new(),
            })
        }
    }
}

/// Parses a mapping of conditions, all of which must hold.
fn conditions(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<PartySelector> {
    let errors = diagnostics.error_count();
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let mut said = Vec::new();
    let mut words = Vec::new();

    for (name, read) in FIELDS {
        let Some(text) = fields.text(name, diagnostics) else {
            continue;
        };
        words.push(format!("{name} {}", text.value));
        said.extend(read(&text, diagnostics));
    }

    let except = fields
        .get("except")
        .map(|node| everyone(node, diagnostics))
        .unwrap_or_default();
    if !except.is_empty() {
        let all = except
            .iter()
            .map(PartySelector::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        words.push(if words.is_empty() {
            format!("any except {all}")
        } else {
            format!("except {all}")
        });
    }

    let span = fields.span;
    fields.finish(diagnostics);
    if words.is_empty() && diagnostics.error_count() == errors {
        diagnostics.push(
            Diagnostic::at(Code::MissingField, span, "this says nobody")
                .help("write `any` where everyone is meant"),
        );
    }

    (diagnostics.error_count() == errors).then(|| PartySelector {
        words: words.join(" "),
        conditions: said,
        except,
    })
}

/// A parser for one field of a mapping.
type FieldReader = fn(&SpannedString, &mut Diagnostics) -> Option<PartyCondition>;

/// The fields that are conditions.
const FIELDS: [(&str, FieldReader); 5] = [
    ("endpoint", endpoint),
    ("serviceAccount", service_account),
    ("namespace", namespace),
    ("selector", selected),
    ("cidr", cidr),
];

fn endpoint(text: &SpannedString, diagnostics: &mut Diagnostics) -> Option<PartyCondition> {
    match text.value.parse() {
        Ok(subject @ EndpointPattern::Endpoint { .. }) => Some(PartyCondition::Is(subject)),
        Ok(EndpointPattern::Account { .. } | EndpointPattern::Addresses(_)) | Err(_) => invalid(
            Code::InvalidValue,
            text.span,
            format!(
                "`{}` is no endpoint; expected `namespace/pod` or `namespace/Kind/name`",
                text.value
            ),
            diagnostics,
        ),
    }
}

fn service_account(text: &SpannedString, diagnostics: &mut Diagnostics) -> Option<PartyCondition> {
    match text.value.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Some(PartyCondition::Is(EndpointPattern::Account {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }))
        }
        Some(_) | None => invalid(
            Code::InvalidValue,
            text.span,
            format!(
                "`{}` is no service account; expected `namespace/name`",
                text.value
            ),
            diagnostics,
        ),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of several readers")]
fn namespace(text: &SpannedString, _: &mut Diagnostics) -> Option<PartyCondition> {
    Some(PartyCondition::Namespace(text.value.clone()))
}

fn selected(text: &SpannedString, diagnostics: &mut Diagnostics) -> Option<PartyCondition> {
    let error = match selector::parse(&text.value) {
        Ok(selector) => return Some(PartyCondition::Selected(selector)),
        Err(error) => error,
    };
    let label = if error.range.start >= text.value.len() {
        "at the end"
    } else {
        ""
    };

    let place = text.inner(error.range);
    diagnostics.push(
        Diagnostic::new(Code::SelectorSyntax, error.message)
            .label(place, label)
            .maybe_help(error.help),
    );

    None
}

fn cidr(text: &SpannedString, diagnostics: &mut Diagnostics) -> Option<PartyCondition> {
    match text.value.parse() {
        Ok(subject @ EndpointPattern::Addresses(_)) => Some(PartyCondition::Is(subject)),
        Ok(EndpointPattern::Endpoint { .. } | EndpointPattern::Account { .. }) => invalid(
            Code::InvalidCidr,
            text.span,
            format!("`{}` is no address and no CIDR", text.value),
            diagnostics,
        ),
        Err(message) if text.value.contains(['.', ':']) => {
            invalid(Code::InvalidCidr, text.span, message, diagnostics)
        }
        Err(_) => invalid(
            Code::InvalidCidr,
            text.span,
            format!("`{}` is no address and no CIDR", text.value),
            diagnostics,
        ),
    }
}

fn parsed<Value: FromStr<Err = String>>(
    text: &SpannedString,
    diagnostics: &mut Diagnostics,
) -> Option<Value> {
    match text.value.parse() {
        Ok(value) => Some(value),
        Err(message) => invalid(Code::InvalidValue, text.span, message, diagnostics),
    }
}

fn invalid<Value>(
    code: Code,
    span: Span,
    message: String,
    diagnostics: &mut Diagnostics,
) -> Option<Value> {
    diagnostics.push(Diagnostic::at(code, span, message));
    None
}
