//! Where a thing came from: input files, byte spans inside them, and values that remember their
//! span.
//!
//! In: a file's name and text, as the edges read them. Out: [`SourceFiles`], which every diagnostic
//! is printed against. Absent: reading from disk (the `cli` room does that) and any idea of YAML.

use std::ops::Range;
use std::sync::OnceLock;

/// All input of one run, by [`FileId`]. Texts stay in memory until the run ends, so that any
/// diagnostic can show its line.
#[derive(Debug, Default)]
pub struct SourceFiles {
    files: Vec<SourceFile>,
}

/// One input: what to call it in messages, and its text.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the user wrote it, or `<stdin>`.
    pub name: String,
    /// The whole text, UTF-8.
    pub text: String,
    /// How many lines end before every block of [`BLOCK`] bytes, counted when first asked for.
    line_ends: OnceLock<Vec<usize>>,
}

/// Bytes between two counts of lines: what finding a line costs at most, once they are counted.
const BLOCK: usize = 1 << 16;

/// Index of a file in [`SourceFiles`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A byte range in one file, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

/// A value and the place it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// What was read.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// A string scalar: its value, its place, and, where the file shows the value letter by letter,
/// where those letters start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpannedString {
    /// The value after unquoting and unfolding.
    pub value: String,
    /// The whole scalar as written, quotes included.
    pub span: Span,
    /// Offset of the first letter of `value`, when the file spells the value out unescaped and
    /// unfolded.
    verbatim: Option<u32>,
}

/// A 1-based place in a file; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl SourceFiles {
    /// Takes a file in and gives its id.
    ///
    /// # Errors
    /// Gives the text's length back when it does not fit the 32-bit offsets of [`Span`] (4 GiB).
    pub fn add(&mut self, name: impl Into<String>, text: String) -> Result<FileId, usize> {
        u32::try_from(text.len()).map_err(|_| text.len())?;
        let id = FileId(u32::try_from(self.files.len()).map_err(|_| self.files.len())?);
        self.files.push(SourceFile {
            name: name.into(),
            text,
            line_ends: OnceLock::new(),
        });
        Ok(id)
    }

    /// The file behind an id of this collection.
    pub fn get(&self, id: FileId) -> &SourceFile {
        self.files.get(id.0 as usize).unwrap_or(&NO_FILE)
    }

    /// All files with their ids, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        (0u32..).map(FileId).zip(&self.files)
    }

    /// The text a span covers; empty when the span does not fall on character boundaries.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.file)
            .text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// Line and column of a span's start. Costs the line up to there, and the first time a scan of
    /// the file.
    pub fn position(&self, span: Span) -> LineColumn {
        let file = self.get(span.file);
        let before = file.text.get(..span.start as usize).unwrap_or(&file.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = file.line(before.len());
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        LineColumn { line, column }
    }
}

/// What an id of another collection shows.
static NO_FILE: SourceFile = SourceFile {
    name: String::new(),
    text: String::new(),
    line_ends: OnceLock::new(),
};

impl SourceFile {
    /// The line, from 1, that the byte at an offset is in.
    pub fn line(&self, offset: usize) -> usize {
        let bytes = self.text.as_bytes();
        let offset = offset.min(bytes.len());
        let block = offset / BLOCK;
        let before = self
            .line_ends
            .get_or_init(|| line_ends(bytes))
            .get(block)
            .copied()
            .unwrap_or_default();
        before + count_line_ends(bytes.get(block * BLOCK..offset).unwrap_or_default()) + 1
    }
}

/// The line ends before each block.
fn line_ends(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.chunks(BLOCK).scan(0, |sum, block| {
        *sum += count_line_ends(block);
        Some(*sum)
    });
    std::iter::once(0).chain(ends).collect()
}

fn count_line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

impl FileId {
    /// The span of this file's bytes in `range`. Offsets beyond 4 GiB are cut, which
    /// [`SourceFiles::add`] rules out.
    pub fn span(self, range: Range<usize>) -> Span {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span {
            file: self,
            start: offset(range.start),
            end: offset(range.end),
        }
    }
}

impl Span {
    /// The span as a range of `usize` offsets.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl<T> Spanned<T> {
    /// Joins a value and its place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl SpannedString {
    /// Joins a scalar's value, its place, and the source it was read from, which tells whether
    /// inner offsets can be trusted.
    ///
    /// `source` is the scalar as written, quotes included: the text that `span` covers.
    pub fn new(value: String, span: Span, source: &str) -> Self {
        let shown_at = |shift: usize| {
            source
                .get(shift..)
                .is_some_and(|rest| rest.starts_with(&value))
        };
        let quoted = source.starts_with(['"', '\'']);
        let verbatim = match quoted {
            false if shown_at(0) => Some(span.start),
            true if shown_at(1) => Some(span.start + 1),
            _ => None,
        };

        Self {
            value,
            span,
            verbatim,
        }
    }

    /// The place of a byte range of `value` in the file: exact where the file spells the value out,
    /// else the whole scalar.
    pub fn inner(&self, range: Range<usize>) -> Span {
        let exact = self.verbatim.and_then(|first| {
            let start = first.checked_add(u32::try_from(range.start).ok()?)?;
            let end = first.checked_add(u32::try_from(range.end).ok()?)?;
            Some(Span {
                file: self.span.file,
                start,
                end,
            })
        });
        exact.unwrap_or(self.span)
    }
}

#[cfg(test)]
mod tests;
