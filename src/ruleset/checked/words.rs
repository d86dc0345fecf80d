//! Splits a line into words on which all readers agree.
//!
//! iptables-restore splits at blanks, removes quotes anywhere, and unescapes inside them. ipset
//! toggles quoting anywhere. So a word is either bare, with characters that no reader interprets,
//! or quoted from its first to its last character. One space separates two words.

use crate::limits;
use crate::ruleset::checked::{ReadResult, ensure};

/// A word of a script line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScriptWord<'line> {
    /// The text without quotes.
    pub(super) text: &'line str,
    /// Whether the word was quoted.
    pub(super) is_quoted: bool,
}

/// Characters of bare words, besides letters and digits.
const BARE: &[u8] = b"._:/,+=@%!~^-";

/// Characters that tools interpret inside quotes, or print in another form.
const NOT_IN_QUOTES: [char; 3] = ['"', '\\', '\''];

/// Splits a line into words.
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

/// Returns the first word, and the text after the space that follows it.
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
