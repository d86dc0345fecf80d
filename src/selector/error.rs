//! Syntax errors of selectors, with their positions.

use std::{error::Error, fmt, ops::Range};

use crate::selector::MAX_DEPTH;

/// Maximum number of characters of the user's text in a message.
const LONGEST_QUOTE: usize = 40;

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The byte range of the error. Empty if something is missing.
    pub range: Range<usize>,
    /// What is wrong: lower case, no full stop, back-ticks around the user's text.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl SyntaxError {
    /// Creates an error with advice.
    pub(super) fn new(
        range: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            range,
            message: message.into(),
            help: Some(help.into()),
        }
    }

    /// The error for nesting beyond [`MAX_DEPTH`].
    pub(super) fn too_deep(range: Range<usize>) -> Self {
        Self::new(
            range,
            "nested too deeply",
            format!(
                "parentheses nest at most {MAX_DEPTH} deep, and at most {MAX_DEPTH} `!` follow \
                 each other"
            ),
        )
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl Error for SyntaxError {}

/// Quotes the user's text in back-ticks. Long text is truncated and invisible characters are
/// escaped, so that the text cannot disturb a terminal.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_QUOTE).flat_map(visible).collect();
    if text.chars().nth(LONGEST_QUOTE).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// A visible character unchanged, any other as its escape sequence.
fn visible(character: char) -> impl Iterator<Item = char> {
    let plain = matches!(character, '"' | '\'' | '\\');
    let escaped = (!plain).then(|| character.escape_debug());
    plain
        .then_some(character)
        .into_iter()
        .chain(escaped.into_iter().flatten())
}
