//! Graphs for Graphviz.

use std::fmt::Display;

use crate::output::OutputSink;
use crate::output::visible::{shown, without_commands};

/// Writes a graph.
pub struct DotWriter<'sink, 'out>(&'sink mut OutputSink<'out>);

impl<'sink, 'out> DotWriter<'sink, 'out> {
    /// Creates a writer on a sink.
    pub fn on(sink: &'sink mut OutputSink<'out>) -> Self {
        Self(sink)
    }

    /// Writes a part of the structure.
    pub fn literal(&mut self, text: &'static str) {
        self.0.put(text);
    }

    /// Writes text as a quoted identifier or label. Graphviz interprets escapes and entities in it,
    /// so these are escaped.
    pub fn quoted(&mut self, text: impl Display) {
        let text = shown(text);
        let mut out = String::from("\"");
        for letter in without_commands(&text).chars() {
            match letter {
                '"' | '\\' => out.extend(['\\', letter]),
                '&' => out.push_str("&amp;"),
                _ => out.push(letter),
            }
        }

        out.push('"');
        self.0.put(&out);
    }

    /// Whether the sink is closed, so that further output can be skipped.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
