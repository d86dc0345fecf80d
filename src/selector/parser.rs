//! Turns tokens into a tree.
//!
//! ```text
//! selector := [ or ]
//! or       := and { "||" and }
//! and      := unary { "&&" unary }
//! unary    := { "!" } operand
//! operand  := "(" or ")" | "has(" label ")" | "all(" ")" | "global(" ")" | label test
//! test     := operator ( string | set )
//! set      := "{" [ string { "," string } [ "," ] ] "}"
//! ```
//!
//! The parser keeps open groups in a list and does not recurse, so no text can overflow the stack.

use std::collections::BTreeSet;
use std::mem;

use crate::selector::{
    Expr, LabelTest, SyntaxError,
    expected::{GrammarPosition, UnexpectedText},
    lexer::{Lexer, Token},
};

/// Parses a selector. A text without tokens is [`Expr::All`].
///
/// # Errors
/// Returns an error at the first token that cannot follow its predecessors.
pub(super) fn parse(text: &str) -> Result<Expr, SyntaxError> {
    Parser {
        text,
        lexer: Lexer::new(text),
        end: 0,
    }
    .selector()
}

/// Parser state: the tokens of a text, and the position.
struct Parser<'text> {
    text: &'text str,
    lexer: Lexer<'text>,
    /// Where the last token ended.
    end: usize,
}

/// A token and its byte range.
type SpannedToken<'text> = (Option<Token<'text>>, UnexpectedText);

/// A group that is not closed yet: `a && b || c && !`.
#[derive(Default)]
struct OpenGroup {
    /// The operands of `||` so far.
    alternatives: Vec<Expr>,
    /// The operands of `&&` since the last `||`.
    parts: Vec<Expr>,
    /// Number of `!` before the next operand.
    negations: usize,
}

impl OpenGroup {
    /// Adds an operand and applies the pending negations.
    fn add(&mut self, operand: Expr) {
        let negations = mem::take(&mut self.negations);
        self.parts
            .push((0..negations).fold(operand, |operand, _| operand.not()));
    }

    /// Starts the next alternative.
    fn or(&mut self) {
        self.alternatives
            .push(Expr::and(mem::take(&mut self.parts)));
    }

    /// Returns the expression of the whole group.
    fn close(mut self) -> Expr {
        self.or();
        Expr::or(self.alternatives)
    }
}

impl<'text> Parser<'text> {
    fn selector(mut self) -> Result<Expr, SyntaxError> {
        let mut next = self.next()?;
        if next.0.is_none() {
            return Ok(Expr::All);
        }

        let mut outer: Vec<OpenGroup> = Vec::new();
        let mut group = OpenGroup::default();
        loop {
            let first = self.before_operand(next, &mut group, &mut outer)?;
            group.add(self.operand(first)?);
            if self.behind_operand(&mut group, &mut outer)? {
                return Ok(group.close());
            }
            next = self.next()?;
        }
    }

    /// Reads `!` and `(`, starting with a token. Returns the first token of an operand.
    fn before_operand(
        &mut self,
        mut next: SpannedToken<'text>,
        group: &mut OpenGroup,
        outer: &mut Vec<OpenGroup>,
    ) -> Result<SpannedToken<'text>, SyntaxError> {
        loop {
            match next.0 {
                Some(Token::Not) => group.negations += 1,
                Some(Token::Open) => outer.push(mem::take(group)),
                _ => return Ok(next),
            }
            next = self.next()?;
        }
    }

    /// Reads up to the next operand and closes groups on the way. Returns whether the text ends.
    fn behind_operand(
        &mut self,
        group: &mut OpenGroup,
        outer: &mut Vec<OpenGroup>,
    ) -> Result<bool, SyntaxError> {
        loop {
            let (token, found) = self.next()?;
            // The innermost open group is popped to see whether there is one, and put back if it
            // stays open.
            match (token, outer.pop()) {
                (None, None) => return Ok(true),
                (Some(Token::Close), Some(around)) => {
                    let closed = mem::replace(group, around).close();
                    group.add(closed);
                }
                (Some(Token::And), around) => {
                    outer.extend(around);
                    return Ok(false);
                }
                (Some(Token::Or), around) => {
                    outer.extend(around);
                    group.or();
                    return Ok(false);
                }
                (None, Some(_)) => return Err(self.expected(GrammarPosition::Close, found)),
                (Some(Token::Close), None) => {
                    return Err(self.expected(GrammarPosition::End, found));
                }
                (Some(_), Some(_)) => return Err(self.expected(GrammarPosition::InGroup, found)),
                (Some(_), None) => {
                    return Err(self.expected(GrammarPosition::BehindCondition, found));
                }
            }
        }
    }

    /// Reads the rest of an operand after its first token, which is not a parenthesis.
    fn operand(&mut self, (first, found): SpannedToken<'text>) -> Result<Expr, SyntaxError> {
        match first {
            Some(Token::Has) => {
                let (name, found) = self.next()?;
                let Some(Token::Label(name)) = name else {
                    return Err(self.expected(GrammarPosition::Label, found));
                };
                self.close()?;
                Ok(Expr::label(name, LabelTest::Present))
            }
            Some(Token::All) => self.close().map(|()| Expr::All),
            Some(Token::Global) => self.close().map(|()| Expr::Global),
            Some(Token::Label(name)) => Ok(Expr::label(name, self.test()?)),
            _ => Err(self.expected(GrammarPosition::Condition, found)),
        }
    }

    /// Reads an operator and the value or set that it compares with.
    fn test(&mut self) -> Result<LabelTest, SyntaxError> {
        let (operator, found) = self.next()?;
        match operator {
            Some(Token::Equals) => self.value().map(LabelTest::Equals),
            Some(Token::NotEquals) => self.value().map(LabelTest::NotEquals),
            Some(Token::Contains) => self.value().map(LabelTest::Contains),
            Some(Token::StartsWith) => self.value().map(LabelTest::StartsWith),
            Some(Token::EndsWith) => self.value().map(LabelTest::EndsWith),
            Some(Token::In) => self.set().map(LabelTest::In),
            Some(Token::NotIn) => self.set().map(LabelTest::NotIn),
            _ => Err(self.expected(GrammarPosition::Operator, found)),
        }
    }

    fn value(&mut self) -> Result<String, SyntaxError> {
        match self.next()? {
            (Some(Token::String(value)), _) => Ok(value.to_owned()),
            (_, found) => Err(self.expected(GrammarPosition::Value, found)),
        }
    }

    fn set(&mut self) -> Result<BTreeSet<String>, SyntaxError> {
        let (opening, found) = self.next()?;
        if opening != Some(Token::OpenSet) {
            return Err(self.expected(GrammarPosition::Set, found));
        }

        let mut values = BTreeSet::new();
        loop {
            match self.next()? {
                (Some(Token::CloseSet), _) => return Ok(values),
                (Some(Token::String(value)), _) => values.insert(value.to_owned()),
                (_, found) => return Err(self.expected(GrammarPosition::ValueOrEndOfSet, found)),
            };
            match self.next()? {
                (Some(Token::CloseSet), _) => return Ok(values),
                (Some(Token::Comma), _) => {}
                (_, found) => return Err(self.expected(GrammarPosition::CommaOrEndOfSet, found)),
            }
        }
    }

    /// Reads the closing parenthesis of a function.
    fn close(&mut self) -> Result<(), SyntaxError> {
        match self.next()? {
            (Some(Token::Close), _) => Ok(()),
            (_, found) => Err(self.expected(GrammarPosition::Close, found)),
        }
    }

    /// Reads a token. At the end of the text the token is `None`, with an empty range after the
    /// last token.
    fn next(&mut self) -> Result<SpannedToken<'text>, SyntaxError> {
        let Some((start, token, end)) = self.lexer.next().transpose()? else {
            return Ok((None, self.end..self.end));
        };
        self.end = end;
        Ok((Some(token), start..end))
    }

    fn expected(&self, place: GrammarPosition, found: UnexpectedText) -> SyntaxError {
        place.refuses(self.text, found)
    }
}
