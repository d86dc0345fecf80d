//! Lines for people: a terminal, a log, the output of a build.

use std::fmt::{self, Display, Write};

use crate::output::OutputSink;
use crate::output::visible::{VisibleWriter, without_commands};

/// What a line of a deeper level begins with.
const INDENT: &str = "  ";

/// Writes lines. Text keeps to its line: what would end the line, steer the terminal or command a
/// build service is written out.
pub struct TerminalWriter<'sink, 'out> {
    sink: &'sink mut OutputSink<'out>,
    /// The line so far.
    line: String,
}

impl<'sink, 'out> TerminalWriter<'sink, 'out> {
    /// A terminal on a sink.
    pub fn on(sink: &'sink mut OutputSink<'out>) -> Self {
        Self {
            sink,
            line: String::new(),
        }
    }

    /// Writes a literal, in which a newline ends the line.
    pub fn literal(&mut self, text: &'static str) {
        for part in text.split_inclusive('\n') {
            self.text(part.trim_end_matches('\n'));
            if part.ends_with('\n') {
                self.end_line();
            }
        }
    }

    /// Writes text on the current line.
    pub fn text(&mut self, text: impl Display) {
        // writing to a text does not fail
        let _ = write!(VisibleWriter(&mut self.line), "{text}");
    }

    /// Writes text and ends the line.
    pub fn line(&mut self, text: impl Display) {
        self.text(text);
        self.end_line();
    }

    /// Writes a line at a level, of which 0 is the outermost.
    pub fn indented(&mut self, level: usize, text: impl Display) {
        self.line.extend(std::iter::repeat_n(INDENT, level));
        self.line(text);
    }

    /// Writes lines that a renderer laid out of parts which are visible already. With `is_styled`,
    /// the sequences that set colours (`ESC [ … m`) stay.
    ///
    /// The renderer's newlines are ends of lines here, so a part that still holds one could begin a
    /// line of its own. Use [`TerminalWriter::line`] wherever possible.
    pub fn rendered(&mut self, text: &str, is_styled: bool) {
        for line in text.split('\n') {
            match is_styled {
                true => self.styled_line(line),
                false => self.line(line),
            }
        }
    }

    /// A line with colours. They are left out of the look for commands, as a log shows the line.
    fn styled_line(&mut self, line: &str) {
        let mut rest = line;
        let mut shown = String::new();
        let mut plain = String::new();

        while let Some(style) = StyleSequence::first_in(rest) {
            let (before, after) = rest.split_at(style.start);
            let (sequence, behind) = after.split_at(style.length);
            let _ = write!(VisibleWriter(&mut plain), "{before}");
            let _ = write!(VisibleWriter(&mut shown), "{before}");
            shown.push_str(sequence);
            rest = behind;
        }

        let _ = write!(VisibleWriter(&mut plain), "{rest}");
        let _ = write!(VisibleWriter(&mut shown), "{rest}");
        // a line that could be a command loses its colours
        match without_commands(&plain) == plain.as_str() {
            true => {
                shown.push('\n');
                self.sink.raw(shown.as_bytes());
            }
            false => self.line(plain),
        }
    }

    fn end_line(&mut self) {
        self.flush();
        self.sink.put("\n");
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.sink.put(&without_commands(&line));
        self.line = line;
        self.line.clear();
    }
}

impl Drop for TerminalWriter<'_, '_> {
    /// Writes a line that was not ended.
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.flush();
        }
    }
}

impl fmt::Debug for TerminalWriter<'_, '_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Terminal")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// Where a sequence that sets a colour is.
struct StyleSequence {
    start: usize,
    length: usize,
}

impl StyleSequence {
    const BEGIN: &str = "\u{1b}[";

    fn first_in(text: &str) -> Option<Self> {
        text.match_indices(Self::BEGIN).find_map(|(start, begin)| {
            let rest = text.get(start + begin.len()..)?;
            let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
            let is_style = rest.get(end..)?.starts_with('m');
            is_style.then_some(Self {
                start,
                length: begin.len() + end + 1,
            })
        })
    }
}
