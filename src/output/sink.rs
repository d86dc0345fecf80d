//! The stream that escaped text is written to.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::output::is_steering;

/// A stream that only the writers of this room write to.
///
/// The first error closes it: nothing more is written, and [`OutputSink::finish`] returns the
/// error.
pub struct OutputSink<'out> {
    out: &'out mut dyn Write,
    error: Option<io::Error>,
}

/// Output buffered in memory, for a stream that is opened later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BufferedOutput(String);

impl<'out> OutputSink<'out> {
    /// Creates a sink on a stream.
    pub fn on(out: &'out mut dyn Write) -> Self {
        Self { out, error: None }
    }

    /// Whether an error closed the sink, so that further output can be skipped.
    pub fn is_closed(&self) -> bool {
        self.error.is_some()
    }

    /// Flushes the stream.
    ///
    /// # Errors
    /// Returns the first error of the stream.
    pub fn finish(self) -> io::Result<()> {
        self.error.map_or_else(|| self.out.flush(), Err)
    }

    /// Writes buffered output.
    pub fn printed(&mut self, text: &BufferedOutput) {
        self.raw(text.0.as_bytes());
    }

    /// Writes bytes that were generated from this program alone, such as its manual page. The
    /// caller must ensure that they contain no input.
    pub fn without_input(&mut self, bytes: &[u8]) {
        self.raw(bytes);
    }

    /// Writes text from one of the writers.
    ///
    /// Every writer has already escaped its text. This is a second check, in the one place where
    /// bytes leave: a control character that a writer missed is escaped here.
    pub(super) fn put(&mut self, text: &str) {
        let is_missed = |letter: char| letter != '\n' && is_steering(letter);
        let text = match text.contains(is_missed) {
            false => Cow::Borrowed(text),
            true => text.split_inclusive(is_missed).map(written_out).collect(),
        };
        self.raw(text.as_bytes());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = self.out.write_all(bytes).err();
        }
    }
}

/// A part whose last character may be a control character; that one is escaped.
fn written_out(part: &str) -> String {
    let mut letters = part.chars();
    match letters.next_back() {
        Some(last) if last != '\n' && is_steering(last) => {
            letters.chain(last.escape_default()).collect()
        }
        Some(_) | None => part.to_owned(),
    }
}

impl BufferedOutput {
    /// Captures the output of a function.
    pub fn capture(print: impl FnOnce(&mut OutputSink<'_>)) -> Self {
        let mut printed = Self::default();
        printed.add(print);
        printed
    }

    /// Appends the output of a function.
    pub fn add(&mut self, print: impl FnOnce(&mut OutputSink<'_>)) {
        let mut bytes = Vec::new();
        print(&mut OutputSink::on(&mut bytes));
        // The writers produce only UTF-8, so nothing is replaced here.
        self.0.push_str(&String::from_utf8_lossy(&bytes));
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The buffered text, for tests and measurements.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
