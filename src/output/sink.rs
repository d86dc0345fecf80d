//! Where escaped text goes.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::output::is_steering;

/// A stream that only the media of this room write to.
///
/// The first error ends it: nothing more is written, and [`OutputSink::finish`] gives the error.
pub struct OutputSink<'out> {
    out: &'out mut dyn Write,
    error: Option<io::Error>,
}

/// Text that was printed to memory, for a stream that is opened later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BufferedOutput(String);

impl<'out> OutputSink<'out> {
    /// A sink that writes to a stream.
    pub fn on(out: &'out mut dyn Write) -> Self {
        Self { out, error: None }
    }

    /// Whether an error ended it, so that the rest need not be made.
    pub fn is_closed(&self) -> bool {
        self.error.is_some()
    }

    /// Flushes the stream.
    ///
    /// # Errors
    /// The first error of the stream.
    pub fn finish(self) -> io::Result<()> {
        self.error.map_or_else(|| self.out.flush(), Err)
    }

    /// Writes text that was printed before.
    pub fn printed(&mut self, text: &BufferedOutput) {
        self.raw(text.0.as_bytes());
    }

    /// Writes what was generated from this program alone, such as its manual page. The caller
    /// warrants that nothing of the input is in it.
    pub fn without_input(&mut self, bytes: &[u8]) {
        self.raw(bytes);
    }

    /// Writes what a medium made.
    ///
    /// Every medium has escaped before. This is the last look, in the one place where bytes leave:
    /// a control character that a medium missed is written out here.
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

/// A part whose last letter may be one that steers.
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
    /// What a function prints.
    pub fn capture(print: impl FnOnce(&mut OutputSink<'_>)) -> Self {
        let mut printed = Self::default();
        printed.add(print);
        printed
    }

    /// Adds what a function prints.
    pub fn add(&mut self, print: impl FnOnce(&mut OutputSink<'_>)) {
        let mut bytes = Vec::new();
        print(&mut OutputSink::on(&mut bytes));
        self.0.push_str(&String::from_utf8_lossy(&bytes));
    }

    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, for tests and measurements.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
