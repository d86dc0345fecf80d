//! Text that leaves the program, escaped for the medium it goes to.
//!
//! In: literals of this program, and text that may come from anywhere: names, selectors, file
//! names, answers of tools, comments of scripts. Out: bytes of a terminal, JSON, CSV, Markdown, DOT
//! or XML.
//!
//! A [`OutputSink`] is the only thing that standard output and standard error accept, and only the
//! media of this room write to one. Their methods take `&'static str` for what is structure (line
//! ends, commas, braces), and escape everything else. So a caller cannot forget to escape: text
//! that was put together at run time has no other way out. No type marks text as "from the input",
//! because such a mark would be lost wherever two texts are joined; instead, all text that is not a
//! literal counts as hostile.
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
//! Absent: what is said, and which medium is asked for.

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
