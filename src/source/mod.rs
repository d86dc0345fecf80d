//! Source locations: input files, byte spans in them, and values that carry their span.
//!
//! In: the name and text of each file, as the edges read them. Out: [`SourceFiles`], which
//! diagnostics are printed against. Absent: reading from disk (the `cli` room does that), and any
//! knowledge of YAML.

use std::ops::Range;
use std::sync::OnceLock;

/// All input files of one run, indexed by [`FileId`]. Texts stay in memory until the run ends, so
/// that any diagnostic can show its source line.
#[derive(Debug, Default)]
pub struct SourceFiles {
    files: Vec<SourceFile>,
}

/// One input file: its name for messages, and its text.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the user wrote it, or `<stdin>`.
    pub name: String,
    /// The whole text, UTF-8.
    pub text: String,
    /// Number of line ends before each block of [`BLOCK`] bytes. Computed on first use.
    line_ends: OnceLock<Vec<usize>>,
}

/// Bytes per block of the line index. Once the index exists, finding a line scans at most one
/// block.
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
    /// Offset of the byte after the last one.
    pub end: u32,
}

/// A value and its source location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its location.
    pub span: Span,
}

/// A string scalar: its value and its location. If the file contains the value verbatim, the offset
/// of the value is known too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpannedString {
    /// The value after unquoting and unfolding.
    pub value: String,
    /// The whole scalar as written, quotes included.
    pub span: Span,
    /// Offset of the first character of `value`. `None` if the file spells the value with escapes
    /// or folding.
    verbatim: Option<u32>,
}

/// A 1-based position in a file. Columns count characters, not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl SourceFiles {
    /// Adds a file and returns its id.
    ///
    /// # Errors
    /// Returns the text's length in bytes if it does not fit the 32-bit offsets of [`Span`] (4
    /// GiB).
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

    /// Returns the file with an id. The id must come from this collection.
    pub fn get(&self, id: FileId) -> &SourceFile {
        self.files.get(id.0 as usize).unwrap_or(&NO_FILE)
    }

    /// All files with their ids, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        (0u32..).map(FileId).zip(&self.files)
    }

    /// Returns the text that a span covers, or an empty string if the span does not fall on
    /// character boundaries.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.file)
            .text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// Returns the line and column of a span's start. Cost: the line up to the start; the first
    /// call on a file also scans the whole file.
    pub fn position(&self, span: Span) -> LineColumn {
        let file = self.get(span.file);
        let before = file.text.get(..span.start as usize).unwrap_or(&file.text);
        // Only the text up to the position is scanned, so a diagnostic does not cost the whole
        // file.
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = file.line(before.len());
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        LineColumn { line, column }
    }
}

/// Stand-in for an id from another collection.
static NO_FILE: SourceFile = SourceFile {
    name: String::new(),
    text: String::new(),
    line_ends: OnceLock::new(),
};

impl SourceFile {
    /// Returns the line number, from 1, of the byte at an offset.
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
        // The index covers whole blocks; the rest of the last block is counted here.
        before + count_line_ends(bytes.get(block * BLOCK..offset).unwrap_or_default()) + 1
    }
}

/// Counts the line ends before each block.
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
    /// Returns the span of the bytes in `range` of this file. Offsets beyond 4 GiB are clamped;
    /// [`SourceFiles::add`] refuses such files.
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
    /// Creates a value with a location.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl SpannedString {
    /// Creates a string scalar from its value, its location and its source text.
    ///
    /// `source` is the scalar as written, quotes included: the text that `span` covers. It
    /// determines whether offsets in the value can be mapped to the file.
    pub fn new(value: String, span: Span, source: &str) -> Self {
        let shown_at = |shift: usize| {
            source
                .get(shift..)
                .is_some_and(|rest| rest.starts_with(&value))
        };
        // A block scalar or an escaped string differs from its source, so offsets in it are
        // meaningless.
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

    /// Returns the location of a byte range of `value`. The location is exact if the file contains
    /// the value verbatim; otherwise it is the whole scalar.
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
