//! Calico's selector language: `app == "db" && !has(canary)`.
//!
//! In: the text of one selector. Out: an [`Expr`], which tells whether labels match it, prints
//! itself in canonical form and can be rewritten; or one [`SyntaxError`] that points into the text.
//! Absent: which labels an object has, what a selector means in the field it stands in, files and
//! their offsets.
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

/// How deep parentheses may nest, as written and as printed, and how many `!` may follow each
/// other. It bounds the recursion of everything that walks a parsed tree.
pub const MAX_DEPTH: usize = 512;

/// Parses a selector. Text of nothing but spaces and tabs is [`Expr::All`].
///
/// # Errors
/// The first thing in the text that the language does not allow.
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
