//! Strict access to a mapping: a field that the reader does not request is an error, and so is a
//! value of the wrong type.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use crate::document::{NodeScalar, NodeValue, YamlEntry, YamlNode};
use crate::source::{Span, Spanned, SpannedString};

/// The fields of one mapping, which the reader requests one by one. [`MappingFields::finish`]
/// reports the fields that were not requested.
#[must_use = "call `finish`, or unknown fields go unseen"]
#[derive(Debug)]
pub struct MappingFields<'node> {
    /// The span of the whole mapping.
    pub span: Span,
    entries: &'node [YamlEntry],
    asked: Vec<&'static str>,
}

impl<'node> MappingFields<'node> {
    /// The fields of a mapping. Any other value is reported as a wrong type.
    pub fn from_node(node: &'node YamlNode, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            NodeValue::Map(entries) => Some(Self {
                span: node.span,
                entries,
                asked: Vec::new(),
            }),
            NodeValue::List(_) | NodeValue::Scalar(_) => {
                diagnostics.push(wrong_type(node, "a mapping"));
                None
            }
        }
    }

    /// A field's value. Returns `None` if the field is absent or null.
    pub fn get(&mut self, name: &'static str) -> Option<&'node YamlNode> {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
        let entry = self.entries.iter().find(|entry| entry.key.value == name)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// A required field. Reports it if it is missing.
    pub fn require(
        &mut self,
        name: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<&'node YamlNode> {
        let value = self.get(name);
        if value.is_none() {
            diagnostics.push(Diagnostic::at(
                Code::MissingField,
                self.span,
                format!("`{name}` is missing"),
            ));
        }
        value
    }

    /// A string field.
    pub fn text(
        &mut self,
        name: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Option<SpannedString> {
        self.get(name).and_then(|node| node.text(diagnostics))
    }

    /// A list field, each item read by `item`. An absent field gives an empty list.
    pub fn list<Item>(
        &mut self,
        name: &'static str,
        diagnostics: &mut Diagnostics,
        item: impl FnMut(&'node YamlNode, &mut Diagnostics) -> Option<Item>,
    ) -> Vec<Item> {
        self.get(name)
            .map(|node| node.list(diagnostics, item))
            .unwrap_or_default()
    }

    /// Like [`MappingFields::list`]. Reports a list of more than `most` items.
    pub fn list_up_to<Item>(
        &mut self,
        name: &'static str,
        most: usize,
        diagnostics: &mut Diagnostics,
        item: impl FnMut(&'node YamlNode, &mut Diagnostics) -> Option<Item>,
    ) -> Vec<Item> {
        let Some(node) = self.get(name) else {
            return Vec::new();
        };
        let items = node.items().unwrap_or_default();
        if let Some(first) = items.get(most) {
            let message = format!("`{name}` lists {}, where {most} are allowed", items.len());
            diagnostics.push(Diagnostic::at(Code::TooLong, first.span, message));
        }
        node.list(diagnostics, item)
    }

    /// Reports every string that occurs twice in a list field, for lists that Kubernetes treats as
    /// sets.
    pub fn distinct(&mut self, name: &'static str, diagnostics: &mut Diagnostics) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();

        for item in self.get(name).and_then(YamlNode::items).unwrap_or_default() {
            let NodeValue::Scalar(NodeScalar::Text(text)) = &item.value else {
                continue;
            };
            match seen.get(text.value.as_str()) {
                Some(first) => {
                    let message =
                        format!("`{}` stands in `{name}` twice", text.value.escape_debug());
                    diagnostics.push(
                        Diagnostic::new(Code::RepeatedValue, message)
                            .label(item.span, "again")
                            .label(*first, "first here"),
                    );
                }
                None => {
                    seen.insert(&text.value, item.span);
                }
            }
        }
    }

    /// Marks fields as known without reading them.
    pub fn ignore(&mut self, names: &[&'static str]) {
        self.asked.extend_from_slice(names);
    }

    /// Refuses fields that exist in the language but are not supported.
    pub fn refuse(&mut self, names: &[&'static str], diagnostics: &mut Diagnostics) {
        for name in names {
            self.asked.push(name);
            let Some(entry) = self
                .entries
                .iter()
                .find(|entry| entry.key.value == *name && !entry.value.is_null())
            else {
                continue;
            };
            let message = format!("`{name}` is not supported yet");
            diagnostics.push(
                Diagnostic::at(Code::UnsupportedField, entry.key.span, message)
                    .help("Palisade refuses what it does not enforce"),
            );
        }
    }

    /// Reports every field that was not requested, with the most similar requested name.
    pub fn finish(self, diagnostics: &mut Diagnostics) {
        for YamlEntry { key, .. } in self.entries {
            if self.asked.contains(&key.value.as_str()) {
                continue;
            }
            let help = match nearest(&key.value, self.asked.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known fields: {}", listed(&self.asked)),
            };
            let message = format!("unknown field `{}`", key.value);
            diagnostics.push(Diagnostic::at(Code::UnknownField, key.span, message).help(help));
        }
    }
}

/// Names in back-ticks, in alphabetical order.
pub(super) fn listed(names: &[&str]) -> String {
    let mut names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.sort_unstable();
    names.join(", ")
}

/// The error for a value of the wrong type.
pub(super) fn wrong_type(node: &YamlNode, expected: &str) -> Diagnostic {
    let diagnostic = Diagnostic::at(
        Code::WrongType,
        node.span,
        format!("expected {expected}, found {}", node.type_name()),
    );

    let help = match (expected, &node.value) {
        ("a string", NodeValue::Scalar(_)) => Some("put it in quotes"),
        ("a boolean", NodeValue::Scalar(NodeScalar::Ambiguous(_))) => {
            Some("write `true` or `false`")
        }
        (_, NodeValue::Scalar(NodeScalar::Ambiguous(_))) => {
            Some("write it as a decimal number, or in quotes if it is text")
        }
        (_, NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_)) => None,
    };
    diagnostic.maybe_help(help.map(str::to_owned))
}

impl YamlNode {
    /// This node as a string. Any other type is reported.
    pub fn text(&self, diagnostics: &mut Diagnostics) -> Option<SpannedString> {
        match &self.value {
            NodeValue::Scalar(NodeScalar::Text(text)) => Some(text.clone()),
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                diagnostics.push(wrong_type(self, "a string"));
                None
            }
        }
    }

    /// This node as a list, each item read by `item`.
    pub fn list<'node, Item>(
        &'node self,
        diagnostics: &mut Diagnostics,
        mut item: impl FnMut(&'node YamlNode, &mut Diagnostics) -> Option<Item>,
    ) -> Vec<Item> {
        match &self.value {
            NodeValue::List(items) => items
                .iter()
                .filter_map(|node| item(node, diagnostics))
                .collect(),
            NodeValue::Scalar(_) | NodeValue::Map(_) => {
                diagnostics.push(wrong_type(self, "a list"));
                Vec::new()
            }
        }
    }

    /// This node as a boolean.
    pub fn boolean(&self, diagnostics: &mut Diagnostics) -> Option<Spanned<bool>> {
        match &self.value {
            NodeValue::Scalar(NodeScalar::Bool(value)) => Some(Spanned::new(*value, self.span)),
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                diagnostics.push(wrong_type(self, "a boolean"));
                None
            }
        }
    }

    /// This node as a whole number from `least` to `most`.
    pub fn integer(
        &self,
        least: i64,
        most: i64,
        diagnostics: &mut Diagnostics,
    ) -> Option<Spanned<i64>> {
        let number = self.number("a whole number", diagnostics)?;
        let value = number
            .parse()
            .ok()
            .filter(|value| (least..=most).contains(value));
        if value.is_none() {
            let message = format!("`{number}` is not a whole number from {least} to {most}");
            diagnostics.push(Diagnostic::at(Code::InvalidValue, self.span, message));
        }
        Some(Spanned::new(value?, self.span))
    }

    /// This node as a finite number.
    pub fn float(&self, diagnostics: &mut Diagnostics) -> Option<Spanned<f64>> {
        let number = self.number("a number", diagnostics)?;
        let value = number.parse().ok().filter(|value: &f64| value.is_finite());
        if value.is_none() {
            diagnostics.push(Diagnostic::at(
                Code::InvalidValue,
                self.span,
                format!("`{number}` is not a finite number"),
            ));
        }
        Some(Spanned::new(value?, self.span))
    }

    fn number(&self, expected: &str, diagnostics: &mut Diagnostics) -> Option<&str> {
        match &self.value {
            NodeValue::Scalar(NodeScalar::Number(number)) => Some(number),
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                diagnostics.push(wrong_type(self, expected));
                None
            }
        }
    }

    /// This node as a string with an entry in `table`. Any other value is reported, with the names
    /// in the table.
    pub fn choice<Choice: Copy>(
        &self,
        table: &[(&'static str, Choice)],
        diagnostics: &mut Diagnostics,
    ) -> Option<Spanned<Choice>> {
        let text = self.text(diagnostics)?;
        if let Some((_, choice)) = table.iter().find(|(name, _)| *name == text.value) {
            return Some(Spanned::new(*choice, self.span));
        }
        let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        let meant = nearest(&text.value, names.iter().copied())
            .map(|name| format!("did you mean `{name}`?"));
        let message = format!("`{}` is none of {}", text.value, listed(&names));
        diagnostics.push(Diagnostic::at(Code::InvalidValue, self.span, message).maybe_help(meant));
        None
    }
}
