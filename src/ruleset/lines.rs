//! The lines of what `iptables-save` prints.

use crate::ruleset::rule::TEXT_OPTIONS;

/// The lines of a table's text, with the number of each, from 1. A rule with newlines in its
/// comment is one line.
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

/// How long the first line is, its newline included. Where a quotation does not end, that is up to
/// the first newline.
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

/// Whether a text in quotes follows, in which a newline ends no line.
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

/// How long a quotation is, without the mark that ends it.
fn quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}
