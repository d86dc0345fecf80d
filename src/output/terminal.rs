//! Lines for people: on a terminal, in a log, in build output.

use std::fmt::{self, Display, Write};

use crate::output::OutputSink;
use crate::output::visible::{VisibleWriter, without_commands};

/// Indentation of one level.
const INDENT: &str = "  ";

/// Writes lines. Text cannot leave its line: characters that end a line or control the terminal,
/// and commands to a build service, are escaped.
pub struct TerminalWriter<'sink, 'out> {
    sink: &'sink mut OutputSink<'out>,
    /// The current line so far.
    line: String,
}

impl<'sink, 'out> TerminalWriter<'sink, 'out> {
    /// Creates a writer on a sink.
    pub fn on(sink: &'sink mut OutputSink<'out>) -> Self {
        Self {
            sink,
            line: String::new(),
        }
    }

    /// Writes a literal. A newline in it ends the line.
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

    /// Writes an indented line. Level 0 is the outermost.
    pub fn indented(&mut self, level: usize, text: impl Display) {
        self.line.extend(std::iter::repeat_n(INDENT, level));
        self.line(text);
    }

    /// Writes lines from a renderer whose input parts are already visible. If `is_styled`,
    /// sequences that set colours (`ESC [ … m`) stay.
    ///
    /// Newlines from the renderer end lines here, so a part that still contains one could start a
    /// line of its own. Use [`TerminalWriter::line`] where possible.
    pub fn rendered(&mut self, text: &str, is_styled: bool) {
        for line in text.split('\n') {
            match is_styled {
                true => self.styled_line(line),
                false => self.line(line),
            }
        }
    }

    /// Writes a line with colours. The check for build commands ignores them, because a log shows
    /// the line without colours.
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
        // A line that looks like a build command loses its colours.
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

/// Location of a sequence that sets a colour.
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
