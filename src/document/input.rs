//! The text that is being parsed.

use std::ops::Range;

use crate::source::{FileId, Span};

/// Maximum number of bytes searched on either side of an offset for its line. A whole file may be a
/// single line.
const LONGEST_LINE: usize = 1_000;

/// The whole text of a file, to which all spans refer.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceText<'text> {
    pub(super) file: FileId,
    pub(super) text: &'text str,
}

impl<'text> SourceText<'text> {
    /// The byte range of a part of the text. `part` must be a slice of `text`, because its address
    /// determines the range.
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

    /// The span of the character at an offset. The offset is moved back to the start of the
    /// character.
    pub(super) fn character_at(self, offset: usize) -> Span {
        let start = self.text.floor_char_boundary(offset);
        let length = self
            .text
            .get(start..)
            .and_then(|rest| rest.chars().next())
            .map_or(0, char::len_utf8);
        self.file.span(start..start + length)
    }

    /// The line that contains an offset, or the part near the offset if the line is very long.
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

    /// Advice for text that looks like an unrendered template.
    pub(super) fn template_help(self, offset: usize) -> Option<String> {
        // Template markers are invalid YAML at most positions, so an unrendered template is a
        // common cause of errors.
        let is_template = self.line(offset).contains("{{");
        is_template.then(|| {
            "this looks like a Helm template: render it with `helm template` and give the result"
                .to_owned()
        })
    }
}
