//! Markdown for comments on pull requests.

use std::fmt::Display;

use crate::output::OutputSink;
use crate::output::visible::{shown, without_commands};

/// Characters that a word may contain and still be plain text for Markdown and for a forge. `_` is
/// plain too, but needs a backslash.
const PLAIN: &str = "-./,:;()'\"→–…";

/// Prefixes of words that a forge turns into a link.
const LINKS: [&str; 2] = ["www.", "gh-"];

/// Writes Markdown.
///
/// A word with any special character of Markdown, of HTML or of a forge (mentions, references,
/// links) becomes a code span. A backslash or an entity would not suffice: forges search the
/// rendered text for mentions and references, where both are gone, but they skip code. Text never
/// occurs inside HTML.
pub struct MarkdownWriter<'sink, 'out>(&'sink mut OutputSink<'out>);

impl<'sink, 'out> MarkdownWriter<'sink, 'out> {
    /// Creates a writer on a sink.
    pub fn on(sink: &'sink mut OutputSink<'out>) -> Self {
        Self(sink)
    }

    /// Writes a part of the structure.
    pub fn literal(&mut self, text: &'static str) {
        self.0.put(text);
    }

    /// Writes a number.
    pub fn number(&mut self, number: usize) {
        self.0.put(&number.to_string());
    }

    /// Writes text on the current line.
    pub fn text(&mut self, text: impl Display) {
        self.0.put(&escaped(&without_commands(&shown(text))));
    }

    /// Writes lines of text in one cell of a table.
    pub fn lines(&mut self, lines: &[String]) {
        for (index, line) in lines.iter().enumerate() {
            self.literal(if index == 0 { "" } else { "<br>" });
            self.text(line);
        }
    }

    /// Writes a row of a table, one text per cell.
    pub fn row(&mut self, cells: &[&str]) {
        self.literal("|");
        for cell in cells {
            self.literal(" ");
            self.text(cell);
            self.literal(" |");
        }
        self.literal("\n");
    }

    /// Whether the sink is closed, so that further output can be skipped.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

fn escaped(text: &str) -> String {
    let words: Vec<String> = text.split(' ').map(escape_word).collect();
    words.join(" ")
}

fn escape_word(word: &str) -> String {
    match is_plain(word) {
        true => word.replace('_', "\\_"),
        false => code(word),
    }
}

fn is_plain(word: &str) -> bool {
    let is_known =
        |letter: char| letter.is_alphanumeric() || letter == '_' || PLAIN.contains(letter);
    let lower = word.to_ascii_lowercase();
    let is_link = word.contains("://") || LINKS.iter().any(|begin| lower.contains(begin));

    // `-`, `1.` and `1)` begin a list, `---` is a rule
    let is_list = word.starts_with('-')
        || word
            .trim_end_matches(['.', ')'])
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            && word.ends_with(['.', ')']);
    word.is_empty() || word.chars().all(is_known) && !is_link && !is_list
}

/// A code span. Its fence is longer than any run of backticks in the text. A pipe would end a cell
/// even inside code, so the pipe is placed between two spans.
fn code(word: &str) -> String {
    let parts: Vec<String> = word.split('|').map(span).collect();
    parts.join("&#124;")
}

fn span(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }

    let longest = text
        .split(|letter| letter != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest + 1);

    let gap = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };

    format!("{fence}{gap}{text}{gap}{fence}")
}
