//! Output, escaped for its medium.
//!
//! In: literals of this program, and text of any origin: names, selectors, file names, output of
//! tools, comments of scripts. Out: bytes for a terminal, JSON, CSV, Markdown, DOT or XML.
//!
//! Standard output and standard error accept only an [`OutputSink`], and only the writers of this
//! room write to one. Their methods take `&'static str` for structure (line ends, commas, braces),
//! and escape everything else. So a caller cannot forget to escape: text that is composed at run
//! time has no other way out. No type marks text as "from the input", because joining two texts
//! would lose the mark. Instead, all text that is not a literal counts as hostile.
//!
//! | medium | a control, invisible or bidirectional character | and |
//! |---|---|---|
//! | [`TerminalWriter`] | `\u{1b}` | no line begins with `::`, `##[` is broken up |
//! | [`JsonWriter`] | `\u001b`, which parsers read back | `##` is `#\u0023` |
//! | [`CsvWriter`] | `\u{1b}` | a cell that a spreadsheet would compute begins with `'` |
//! | [`MarkdownWriter`] | `\u{1b}` | a word with marks of Markdown or of a forge is a code span |
//! | [`DotWriter`] | `\u{1b}` | quotes, backslashes and entities |
//! | [`XmlWriter`] | `\u{1b}` | as `quick-xml` escapes |
//!
//! Absent: the content, and the choice of medium.

mod csv;
mod dot;
mod json;
mod markdown;
mod sink;
mod terminal;
mod visible;
mod xml;

pub use csv::CsvWriter;
pub use dot::DotWriter;
pub use json::{JsonText, JsonWriter};
pub use markdown::MarkdownWriter;
pub use sink::{BufferedOutput, OutputSink};
pub use terminal::TerminalWriter;
pub use visible::{is_steering, visible};
pub use xml::{XmlAttributes, XmlWriter};

#[cfg(test)]
mod tests;
