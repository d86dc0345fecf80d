//! Calico's selector language: `app == "db" && !has(canary)`.
//!
//! In: the text of one selector. Out: an [`Expr`], which evaluates labels, prints itself in
//! canonical form and can be rewritten; or one [`SyntaxError`] with a position in the text. Absent:
//! the labels of objects, the meaning of a selector in its field, files and their offsets.
//!
//! The language is Calico's, with two differences that change no verdict: negations collapse (see
//! [`Expr`]), and nesting beyond [`MAX_DEPTH`] is refused.

mod error;
mod expected;
mod expr;
mod lexer;
mod parser;
mod print;
mod satisfy;

pub use error::SyntaxError;
pub use expr::{Expr, LabelTest, Labels};
pub use satisfy::{contradicts, implies};

/// Maximum nesting of parentheses, as written and as printed, and maximum number of consecutive
/// `!`. It bounds the recursion of all functions that walk a parsed tree.
pub const MAX_DEPTH: usize = 512;

/// Parses a selector. A text that contains only spaces and tabs is [`Expr::All`].
///
/// # Errors
/// Returns the first syntax error in the text.
pub fn parse(text: &str) -> Result<Expr, SyntaxError> {
    let expr = parser::parse(text)?;
    let shallow = expr.group_depth() <= MAX_DEPTH;
    shallow
        .then_some(expr)
        .ok_or_else(|| SyntaxError::too_deep(0..text.len()))
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
