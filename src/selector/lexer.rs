//! Turns text into tokens. Operators in words are recognised only directly after a label, so a
//! label may have any name.

use std::ops::Range;

use crate::selector::{MAX_DEPTH, SyntaxError};

/// The only white space between tokens.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

/// Maximum length in bytes of a label name.
const LONGEST_LABEL: usize = 512;

/// A token of a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'text> {
    Open,
    Close,
    OpenSet,
    CloseSet,
    Comma,
    Or,
    And,
    Not,
    Equals,
    NotEquals,
    Contains,
    StartsWith,
    EndsWith,
    In,
    NotIn,
    Has,
    All,
    Global,
    /// A label name, or a word with no other meaning at this position.
    Label(&'text str),
    /// A value, without its quotes.
    String(&'text str),
    /// Text that no selector contains at this position: an unexpected character, or a word after a
    /// label that is not an operator.
    Other,
}

/// An operator that consists of words.
pub(super) struct WordOperator {
    /// Its words, which any number of blanks may separate.
    pub(super) words: &'static [&'static str],
    /// Usage, for messages.
    pub(super) usage: &'static str,
    token: Token<'static>,
}

/// The operators in words. No operator is a prefix of another.
pub(super) const OPERATORS: [WordOperator; 5] = [
    WordOperator {
        words: &["contains"],
        usage: r#"contains "value""#,
        token: Token::Contains,
    },
    WordOperator {
        words: &["starts", "with"],
        usage: r#"starts with "value""#,
        token: Token::StartsWith,
    },
    WordOperator {
        words: &["ends", "with"],
        usage: r#"ends with "value""#,
        token: Token::EndsWith,
    },
    WordOperator {
        words: &["not", "in"],
        usage: r#"not in {"value"}"#,
        token: Token::NotIn,
    },
    WordOperator {
        words: &["in"],
        usage: r#"in {"value"}"#,
        token: Token::In,
    },
];

/// Tokens with a fixed spelling. The first match wins.
const SIGNS: [(&str, Token<'static>); 10] = [
    ("(", Token::Open),
    (")", Token::Close),
    ("{", Token::OpenSet),
    ("}", Token::CloseSet),
    (",", Token::Comma),
    ("||", Token::Or),
    ("&&", Token::And),
    ("==", Token::Equals),
    ("!=", Token::NotEquals),
    ("!", Token::Not),
];

/// Functions; the parenthesis is part of the word.
const FUNCTIONS: [(&str, Token<'static>); 3] = [
    ("has(", Token::Has),
    ("all(", Token::All),
    ("global(", Token::Global),
];

/// Tokens that `)` closes.
const OPENING: [Token<'static>; 4] = [Token::Open, Token::Has, Token::All, Token::Global];

/// Characters with a specific error: message and help.
const MISTAKES: [(char, &str, &str); 5] = [
    ('=', "expected `==`", "one `=` compares nothing, write `==`"),
    ('&', "expected `&&`", "one `&` joins nothing, write `&&`"),
    ('|', "expected `||`", "one `|` joins nothing, write `||`"),
    ('\n', LINE_BREAK, USE_FOLDING),
    ('\r', LINE_BREAK, USE_FOLDING),
];
const LINE_BREAK: &str = "line break in a selector";
const USE_FOLDING: &str = "a selector is one line; in YAML, the block scalars `|`, `|-` and `>` \
                           keep line breaks, write `>-`";

/// Iterates over the tokens of a text, with their byte ranges. An error ends it.
pub(super) struct Lexer<'text> {
    text: &'text str,
    at: usize,
    behind_label: bool,
    open: usize,
    negations: usize,
}

impl<'text> Lexer<'text> {
    /// Creates a lexer at the start of a text.
    pub(super) fn new(text: &'text str) -> Self {
        Self {
            text,
            at: 0,
            behind_label: false,
            open: 0,
            negations: 0,
        }
    }

    fn rest(&self) -> &'text str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next token and its length in bytes.
    fn front(&self) -> Result<(Token<'text>, usize), SyntaxError> {
        let rest = self.rest();
        // Signs come before mistakes: `==` must not be reported as `=`.
        if let Some(found) = fixed(&SIGNS, rest) {
            return Ok(found);
        }
        if rest.starts_with(['"', '\'']) {
            return self.string();
        }

        self.refuse_mistakes()?;
        // Words are operators only after a label, so `contains == "x"` tests a label named
        // `contains`.
        if self.behind_label {
            return Ok(operator(rest));
        }

        fixed(&FUNCTIONS, rest).map_or_else(|| self.label(), Ok)
    }

    fn string(&self) -> Result<(Token<'text>, usize), SyntaxError> {
        let (quote, body) = self.rest().split_at_checked(1).unwrap_or_default();
        let value = body.split_once(quote).map(|(value, _)| value);
        value
            .map(|value| (Token::String(value), value.len() + 2))
            .ok_or_else(|| {
                let help = "a string ends with the quote it began with, and nothing in it escapes \
                            that quote";
                SyntaxError::new(self.at..self.text.len(), "unterminated string", help)
            })
    }

    fn refuse_mistakes(&self) -> Result<(), SyntaxError> {
        let mistake = MISTAKES
            .iter()
            .find(|(character, ..)| self.rest().starts_with(*character));
        mistake.map_or(Ok(()), |(_, message, help)| {
            Err(SyntaxError::new(self.ahead(1), *message, *help))
        })
    }

    fn label(&self) -> Result<(Token<'text>, usize), SyntaxError> {
        let name = leading_word(self.rest());
        match name.len() {
            0 => Ok(other(self.rest())),
            1..=LONGEST_LABEL => Ok((Token::Label(name), name.len())),
            length => Err(SyntaxError::new(
                self.ahead(length),
                "label too long",
                format!("a label name has at most {LONGEST_LABEL} bytes"),
            )),
        }
    }

    /// Moves past a token and records the state on which later tokens depend.
    fn advance(&mut self, token: Token<'text>, length: usize) -> Result<(), SyntaxError> {
        let range = self.ahead(length);
        self.at = range.end;
        self.behind_label = matches!(token, Token::Label(_));
        self.negations = if token == Token::Not {
            self.negations + 1
        } else {
            0
        };
        self.open += usize::from(OPENING.contains(&token));
        self.open = self.open.saturating_sub(usize::from(token == Token::Close));

        // Functions count as open parentheses but cannot nest, so only `(` can exceed the limit.
        let too_deep = token == Token::Open && self.open > MAX_DEPTH || self.negations > MAX_DEPTH;
        if too_deep {
            Err(SyntaxError::too_deep(range))
        } else {
            Ok(())
        }
    }

    fn ahead(&self, length: usize) -> Range<usize> {
        self.at..self.at + length
    }
}

impl<'text> Iterator for Lexer<'text> {
    type Item = Result<(usize, Token<'text>, usize), SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.at = self.text.len() - self.rest().trim_start_matches(BLANKS).len();
        let start = self.at;
        (!self.rest().is_empty()).then(|| {
            let (token, length) = self.front()?;
            self.advance(token, length)?;
            Ok((start, token, self.at))
        })
    }
}

/// The entry of a table whose spelling is a prefix of the text.
fn fixed(table: &[(&str, Token<'static>)], text: &str) -> Option<(Token<'static>, usize)> {
    table
        .iter()
        .find(|(spelling, _)| text.starts_with(spelling))
        .map(|(spelling, token)| (*token, spelling.len()))
}

/// The operator in words at the start of the text.
fn operator(text: &str) -> (Token<'static>, usize) {
    let found = OPERATORS
        .iter()
        .find_map(|operator| Some((operator.token, length_of(operator.words, text)?)));
    found.unwrap_or_else(|| other(text))
}

/// Length in bytes of an operator at the start of the text. Returns `None` if the operator is
/// missing or runs into another word.
fn length_of(words: &[&str], text: &str) -> Option<usize> {
    let rest = words.iter().try_fold(text, |rest, word| {
        rest.trim_start_matches(BLANKS).strip_prefix(word)
    })?;
    // As in Calico, `in foo` is an operator and a word, but `not in foo` and `starts with foo` are
    // errors.
    let neighbour = if words.len() > 1 {
        rest.trim_start_matches(BLANKS)
    } else {
        rest
    };

    leading_word(neighbour)
        .is_empty()
        .then_some(text.len() - rest.len())
}

/// A word, or else one character, without a meaning.
fn other(text: &str) -> (Token<'static>, usize) {
    let character = text.chars().next().map_or(0, char::len_utf8);
    (Token::Other, leading_word(text).len().max(character))
}

/// The label at the front of the text.
fn leading_word(text: &str) -> &str {
    let end = text.find(|character| !is_label_character(character));
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Whether a label name may contain the character.
pub(super) fn is_label_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_./-".contains(character)
}
