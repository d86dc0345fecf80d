//! The text that is being read.

use std::ops::Range;

use crate::source::{FileId, Span};

/// Bytes that are looked at on either side of an offset for the line it is in: a file may be one
/// line.
const LONGEST_LINE: usize = 1_000;

/// A file's whole text, against which all places are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceText<'text> {
    pub(super) file: FileId,
    pub(super) text: &'text str,
}

impl<'text> SourceText<'text> {
    /// The place of a part of the text, by its address: `part` is a slice of `text`.
    pub(super) fn place(self, part: &str) -> Range<usize> {
        let start = part
            .as_ptr()
            .addr()
            .saturating_sub(self.text.as_ptr().addr());
        start..start + part.len()
    }

    /// The span of a part of the text.
    pub(super) fn span(self, part: &str) -> Span {
        self.file.span(self.place(part))
    }

    /// The text in a span.
    pub(super) fn slice(self, span: Span) -> &'text str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// The span of the letter at an offset, which is moved back to where a letter starts.
    pub(super) fn character_at(self, offset: usize) -> Span {
        let start = self.text.floor_char_boundary(offset);
        let length = self
            .text
            .get(start..)
            .and_then(|rest| rest.chars().next())
            .map_or(0, char::len_utf8);
        self.file.span(start..start + length)
    }

    /// The line in which an offset lies; of a very long one, the neighbourhood.
    pub(super) fn line(self, offset: usize) -> &'text str {
        let boundary = |at: usize| self.text.floor_char_boundary(at);
        let at = boundary(offset);
        let before = self
            .text
            .get(boundary(at.saturating_sub(LONGEST_LINE))..at)
            .unwrap_or_default();
        let after = self
            .text
            .get(at..boundary(at.saturating_add(LONGEST_LINE)))
            .unwrap_or_default();
        let start = before
            .rfind('\n')
            .map_or(at - before.len(), |newline| at - before.len() + newline + 1);

        let end = at + after.find('\n').unwrap_or(after.len());
        self.text.get(start..end).unwrap_or_default()
    }

    /// Advice for text that is a template and no manifest yet.
    pub(super) fn template_help(self, offset: usize) -> Option<String> {
        let is_template = self.line(offset).contains("{{");
        is_template.then(|| {
            "this looks like a Helm template: render it with `helm template` and give the result"
                .to_owned()
        })
    }
}
