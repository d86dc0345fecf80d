//! Splits the output of `iptables-save` into lines.

use crate::ruleset::rule::TEXT_OPTIONS;

/// Returns the lines of a table's text with their numbers, from 1. A rule whose comment contains
/// newlines is one line.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut rest, mut next) = (text, 1);
    std::iter::from_fn(move || {
        let (line, behind) = rest.split_at(length(rest));
        let number = next;
        next += line.bytes().filter(|byte| *byte == b'\n').count();
        rest = behind;
        (!line.is_empty()).then(|| (number, line.trim_end()))
    })
}

/// Returns the length of the first line with its newline. An unterminated quotation ends at the
/// first newline.
fn length(text: &str) -> usize {
    let first = behind_newline(text, 0);
    let (mut end, mut from) = (first, 0);
    while let Some(mark) = text
        .get(from..end)
        .filter(|_| !text.starts_with('#'))
        .and_then(|line| line.find('"'))
    {
        let begin = from + mark;
        from = begin + 1;
        // Only the values of these options can contain newlines.
        if text.get(..begin).is_some_and(is_before_text) {
            let Some(length) = text.get(from..).and_then(quoted) else {
                return first;
            };
            from += length + 1;
            end = if from > end {
                behind_newline(text, from)
            } else {
                end
            };
        }
    }

    end
}

/// Returns whether quoted text follows, in which a newline does not end the line.
fn is_before_text(before: &str) -> bool {
    before
        .strip_suffix(' ')
        .is_some_and(|before| TEXT_OPTIONS.iter().any(|option| before.ends_with(option)))
}

fn behind_newline(text: &str, from: usize) -> usize {
    text.get(from..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |newline| from + newline + 1)
}

/// Returns the length of a quotation without its closing quote, or `None` if it is unterminated.
fn quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}
