//! Splits JSON into slices of its text, and builds trees from these on request.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::input::SourceText;
use crate::document::pairs::MappingPairs;
use crate::document::{DEEPEST, NodeScalar, NodeValue, YamlNode, too_deep};
use crate::source::SpannedString;

/// The consecutive JSON values in a file's text. Ends at the first error.
pub(super) fn values(text: &str) -> impl Iterator<Item = Result<&str, serde_json::Error>> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    values.map(|value| value.map(RawValue::get))
}

/// One member of an object: key and value as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonMember<'text> {
    pub(super) key: &'text str,
    pub(super) value: &'text str,
}

/// The members of an object.
pub(super) fn members<'text>(
    input: SourceText<'text>,
    text: &'text str,
) -> Result<Vec<JsonMember<'text>>, Diagnostic> {
    serde_json::from_str(text)
        .map(|JsonMembers(members)| members)
        .map_err(|error| syntax(input, text, &error))
}

/// The items of a list.
pub(super) fn elements<'text>(
    input: SourceText<'text>,
    text: &'text str,
) -> Result<Vec<&'text str>, Diagnostic> {
    let elements: Result<Vec<&RawValue>, _> = serde_json::from_str(text);
    let elements = elements.map_err(|error| syntax(input, text, &error))?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

/// The tree of a value.
pub(super) fn tree(
    input: SourceText<'_>,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Option<YamlNode> {
    if let Some(offset) = first_too_deep(text) {
        diagnostics.push(too_deep(
            input.character_at(input.place(text).start + offset),
        ));
        return None;
    }
    node(input, text, diagnostics)
        .map_err(|problem| diagnostics.push(problem))
        .ok()
}

/// The first bracket that exceeds the maximum depth. This is checked first, because every level
/// reads its text once more.
fn first_too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            // Outside of strings a backslash is a syntax error, which the parser reports later.
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}

fn node(
    input: SourceText<'_>,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Result<YamlNode, Diagnostic> {
    let value = match text.as_bytes().first() {
        Some(b'{') => NodeValue::Map(pairs(input, text, diagnostics)?.finish(diagnostics)),
        Some(b'[') => NodeValue::List(items(input, text, diagnostics)?),
        _ => NodeValue::Scalar(scalar(input, text)?),
    };
    Ok(YamlNode {
        span: input.span(text),
        value,
    })
}

fn pairs(
    input: SourceText<'_>,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Result<MappingPairs, Diagnostic> {
    let mut pairs = MappingPairs::default();
    for JsonMember { key, value } in members(input, text)? {
        pairs.push(string(input, key)?, node(input, value, diagnostics)?);
    }
    Ok(pairs)
}

fn items(
    input: SourceText<'_>,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Result<Vec<YamlNode>, Diagnostic> {
    elements(input, text)?
        .into_iter()
        .map(|element| node(input, element, diagnostics))
        .collect()
}

fn scalar(input: SourceText<'_>, text: &str) -> Result<NodeScalar, Diagnostic> {
    Ok(match text {
        "null" => NodeScalar::Null,
        "true" => NodeScalar::Bool(true),
        "false" => NodeScalar::Bool(false),
        quoted if quoted.starts_with('"') => NodeScalar::Text(string(input, quoted)?),
        number => NodeScalar::Number(number.to_owned()),
    })
}

/// The value of a JSON string literal.
pub(super) fn string(input: SourceText<'_>, quoted: &str) -> Result<SpannedString, Diagnostic> {
    let value: String =
        serde_json::from_str(quoted).map_err(|error| syntax(input, quoted, &error))?;
    Ok(SpannedString::new(value, input.span(quoted), quoted))
}

/// Turns a parse error in `text` into a diagnostic with a location in the file.
pub(super) fn syntax(input: SourceText<'_>, text: &str, error: &serde_json::Error) -> Diagnostic {
    let offset = input.place(text).start + offset_of(text, error.line(), error.column());
    let told = error.to_string();
    let message = told
        .rsplit_once(" at line ")
        .map_or(told.as_str(), |(message, _)| message);
    let (message, help) = ADVICE
        .iter()
        .find(|(told, _, _)| *told == message)
        .map_or((message, None), |row| (row.1, Some(row.2.to_owned())));

    let span = input.character_at(offset.min(input.text.trim_end().len()));
    Diagnostic::at(Code::JsonSyntax, span, message)
        .maybe_help(help)
        .maybe_help(input.template_help(offset))
}

const COMMAS: &str =
    "JSON has no comma after the last item; a file whose name ends in `.json` is read as JSON";

/// Messages that replace the parser's own for the most common errors.
const ADVICE: &[(&str, &str, &str)] = &[
    (
        "key must be a string",
        "expected a key in double quotes",
        COMMAS,
    ),
    ("trailing comma", "a comma behind the last item", COMMAS),
    ("expected value", "expected a value", COMMAS),
    (
        "EOF while parsing an object",
        "the text ends inside of an object",
        "the file may have been cut short",
    ),
    (
        "EOF while parsing a list",
        "the text ends inside of a list",
        "the file may have been cut short",
    ),
    (
        "EOF while parsing a string",
        "the text ends inside of a string",
        "the file may have been cut short",
    ),
    (
        "EOF while parsing a value",
        "the text ends where a value belongs",
        "the file may have been cut short",
    ),
];

/// The byte offset of a line and column. Both count from 1, columns in bytes, as the parser does.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    (line_start + column.saturating_sub(1)).min(text.len())
}

struct JsonMembers<'text>(Vec<JsonMember<'text>>);

impl<'text> Deserialize<'text> for JsonMembers<'text> {
    fn deserialize<Source: Deserializer<'text>>(source: Source) -> Result<Self, Source::Error> {
        source.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'text> Visitor<'text> for MembersVisitor {
    type Value = JsonMembers<'text>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<Map: MapAccess<'text>>(self, mut map: Map) -> Result<Self::Value, Map::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push(JsonMember {
                key: key.get(),
                value: value.get(),
            });
        }
        Ok(JsonMembers(members))
    }
}
