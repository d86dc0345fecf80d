//! JSON for machines.

use serde::Serialize;

use crate::output::{OutputSink, is_steering};

/// Writes JSON.
///
/// RFC 8259 requires escapes only for quotes, backslashes and characters below U+0020. This writer
/// also escapes all control and invisible characters as `\uXXXX`, because people look at output for
/// machines too. A parser reads back the same text.
pub struct JsonWriter<'sink, 'out>(&'sink mut OutputSink<'out>);

/// A serialized JSON value with all escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonText(String);

impl<'sink, 'out> JsonWriter<'sink, 'out> {
    /// Creates a writer on a sink.
    pub fn on(sink: &'sink mut OutputSink<'out>) -> Self {
        Self(sink)
    }

    /// Writes a value on a line of its own.
    pub fn line(&mut self, value: &impl Serialize) {
        self.text(&JsonText::serialize(value));
        self.literal("\n");
    }

    /// Writes a value on several indented lines.
    pub fn pretty(&mut self, value: &impl Serialize) {
        self.text(&JsonText(escaped(
            &serde_json::to_string_pretty(value).unwrap_or_default(),
        )));
        self.literal("\n");
    }

    /// Writes a value that is already serialized.
    pub fn text(&mut self, value: &JsonText) {
        self.0.put(&value.0);
    }

    /// Writes a part of the structure around values.
    pub fn literal(&mut self, text: &'static str) {
        self.0.put(text);
    }

    /// Whether the sink is closed, so that further output can be skipped.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl JsonText {
    /// Serializes a value on one line.
    pub fn serialize(value: &impl Serialize) -> Self {
        // serialization fails only for non-string keys or failing serializers, and Palisade's types
        // have neither
        Self(escaped(&serde_json::to_string(value).unwrap_or_default()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Escapes control characters and `##`. Outside of strings JSON contains no control characters
/// except newlines, and no `#`.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut is_behind_hash = false;
    for letter in json.chars() {
        let is_hash = letter == '#';
        match letter != '\n' && is_steering(letter) || is_hash && is_behind_hash {
            true => push_escape(&mut out, letter),
            false => out.push(letter),
        }
        is_behind_hash = is_hash;
    }

    out
}

fn push_escape(out: &mut String, letter: char) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}
