//! Markdown for comments on pull requests.

use std::fmt::Display;

use crate::output::OutputSink;
use crate::output::visible::{shown, without_commands};

/// Marks that a word may have and still be plain text to Markdown and to a forge. `_` is one, too,
/// but stands behind a backslash.
const PLAIN: &str = "-./,:;()'\"→–…";

/// What begins a word that a forge makes a link.
const LINKS: [&str; 2] = ["www.", "gh-"];

/// Writes Markdown.
///
/// A word of text with any mark of Markdown, of HTML or of a forge (mentions, references, links)
/// becomes a code span. A backslash or an entity would not do: forges look for mentions and
/// references in the rendered text, where both are gone, but not in code. Text never stands inside
/// of HTML.
pub struct MarkdownWriter<'sink, 'out>(&'sink mut OutputSink<'out>);

impl<'sink, 'out> MarkdownWriter<'sink, 'out> {
    /// Markdown on a sink.
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

    /// Writes lines of text within a cell of a table.
    pub fn lines(&mut self, lines: &[String]) {
        for (index, line) in lines.iter().enumerate() {
            self.literal(if index == 0 { "" } else { "<br>" });
            self.text(line);
        }
    }

    /// Writes a row of a table, with a text in each cell.
    pub fn row(&mut self, cells: &[&str]) {
        self.literal("|");
        for cell in cells {
            self.literal(" ");
            self.text(cell);
            self.literal(" |");
        }
        self.literal("\n");
    }

    /// Whether nobody reads any more.
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

/// A code span. Its fence is longer than any row of backticks in it. A pipe would end a cell even
/// there, so it stands between two spans.
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
