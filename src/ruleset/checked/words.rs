//! The words of a line, where all readers agree what they are.
//!
//! iptables-restore splits at blanks, takes quotes away anywhere, and unescapes within them; ipset
//! toggles quotes anywhere. So a word is bare, of letters that none of them treats, or is in quotes
//! from its first letter to its last; one space parts two words.

use crate::limits;
use crate::ruleset::checked::{ReadResult, ensure};

/// A word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScriptWord<'line> {
    /// Without quotes.
    pub(super) text: &'line str,
    /// Whether it was in quotes.
    pub(super) is_quoted: bool,
}

/// Letters of bare words beside letters and digits.
const BARE: &[u8] = b"._:/,+=@%!~^-";

/// Letters that tools treat within quotes, or print otherwise than they were written.
const NOT_IN_QUOTES: [char; 3] = ['"', '\\', '\''];

/// Splits a line.
pub(super) fn split_words(line: &str) -> ReadResult<Vec<ScriptWord<'_>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let (word, behind) = first(rest)?;
        words.push(word);
        ensure(words.len() <= limits::IPTABLES_WORDS, || {
            "too many words".to_owned()
        })?;
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(words),
        }
    }
}

/// The first word, and what stands behind the space that ends it.
fn first(text: &str) -> ReadResult<(ScriptWord<'_>, Option<&str>)> {
    match text.strip_prefix('"') {
        Some(inner) => {
            let (word, behind) = inner.split_once('"').ok_or("a quote is left open")?;
            let is_plain = !word.is_empty() && !word.contains(NOT_IN_QUOTES);
            ensure(is_plain, || format!("bad text in quotes: `{word}`"))?;
            check_length(word)?;
            let behind = match behind.strip_prefix(' ') {
                None if behind.is_empty() => None,
                None => return Err("letters right behind a quote".to_owned()),
                Some(behind) => Some(behind),
            };
            Ok((
                ScriptWord {
                    text: word,
                    is_quoted: true,
                },
                behind,
            ))
        }
        None => {
            let (word, behind) = match text.split_once(' ') {
                Some((word, behind)) => (word, Some(behind)),
                None => (text, None),
            };
            ensure(!word.is_empty(), || "a space too many".to_owned())?;
            let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || BARE.contains(&byte);
            ensure(word.bytes().all(is_bare), || format!("bad word `{word}`"))?;
            check_length(word)?;
            Ok((
                ScriptWord {
                    text: word,
                    is_quoted: false,
                },
                behind,
            ))
        }
    }
}

fn check_length(word: &str) -> ReadResult<()> {
    ensure(word.len() <= limits::IPTABLES_WORD, || {
        "a word is too long".to_owned()
    })
}
