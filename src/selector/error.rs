//! What is wrong with a selector, and where.

use std::{error::Error, fmt, ops::Range};

use crate::selector::MAX_DEPTH;

/// Characters of the user's text that a message repeats at most.
const LONGEST_QUOTE: usize = 40;

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The offending bytes of the text; empty where something is missing.
    pub range: Range<usize>,
    /// What is wrong: lower case, no full stop, back-ticks round the user's text.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl SyntaxError {
    /// An error with advice.
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

    /// The error about nesting beyond [`MAX_DEPTH`].
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

/// The user's text in back-ticks: cut when long, invisible characters escaped, so that it cannot
/// disturb a terminal.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_QUOTE).flat_map(visible).collect();
    if text.chars().nth(LONGEST_QUOTE).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// A character as itself where it can be seen, else its escape.
fn visible(character: char) -> impl Iterator<Item = char> {
    let plain = matches!(character, '"' | '\'' | '\\');
    let escaped = (!plain).then(|| character.escape_debug());
    plain
        .then_some(character)
        .into_iter()
        .chain(escaped.into_iter().flatten())
}
