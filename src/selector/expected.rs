//! The parser's errors in words: what it expected, what it found, what to write.

use std::ops::Range;

use lalrpop_util::ParseError;

use crate::selector::{
    SyntaxError,
    error::quoted,
    lexer::{BLANKS, OPERATORS, Token, is_label_character},
};

/// A place in the grammar, known by terminals that are possible there.
struct Place {
    possible: &'static [&'static str],
    expected: &'static str,
    help: &'static str,
}

/// The places an error can be at; the first whose terminals are all possible is meant. Behind a label: [`behind_label`].
const PLACES: [Place; 9] = [
    Place { possible: &[ALL], expected: "a condition", help: CONDITION },
    Place { possible: &["label"], expected: "a label", help: "`has(app)` tests that the label `app` exists" },
    Place { possible: &[SET], expected: "a set", help: "write the values in braces: `{\"one\", \"two\"}`" },
    Place { possible: &[COMMA], expected: "`,` or `}`", help: "write the set as `{\"one\", \"two\"}`" },
    Place { possible: &["string", CLOSE_SET], expected: "a quoted value or `}`", help: QUOTES },
    Place { possible: &["string"], expected: "a quoted value", help: QUOTES },
    Place { possible: &[AND, CLOSE], expected: "`&&`, `||` or `)`", help: CLOSING },
    Place { possible: &[AND], expected: "`&&`, `||` or the end", help: "join conditions with `&&` or `||`" },
    Place { possible: &[CLOSE], expected: "`)`", help: CLOSING },
];
const ALL: &str = r#""all(""#;
const SET: &str = r#""{""#;
const COMMA: &str = r#"",""#;
const CLOSE_SET: &str = r#""}""#;
const AND: &str = r#""&&""#;
const CLOSE: &str = r#"")""#;
const EQUALS: &str = r#""==""#;
const CONDITION: &str = r#"a condition is for example `has(app)`, `app == "db"` or `app in {"db", "web"}`"#;
const CLOSING: &str = "each of `(`, `has(`, `all(` and `global(` needs its `)`";
const QUOTES: &str = r#"values stand in straight quotes: `"value"` or `'value'`"#;

/// Where nothing more can follow: what was expected, and help.
const COMPLETE: (&str, &str) = (END, "the selector is complete before this");

/// What the message calls the end of the text.
const END: &str = "the end";

/// Says what a parser error means, for the person who wrote the text.
pub(super) fn in_words(text: &str, error: ParseError<usize, Token<'_>, SyntaxError>) -> SyntaxError {
    match error {
        ParseError::User { error } => error,
        ParseError::UnrecognizedToken { token: (start, _, end), expected } => unexpected(text, start..end, &expected),
        ParseError::UnrecognizedEof { location, expected } => unexpected(text, location..location, &expected),
        ParseError::ExtraToken { token: (start, _, end) } => unexpected(text, start..end, &[]),
        ParseError::InvalidToken { location } => unexpected(text, location..location, &[]),
    }
}

fn unexpected(text: &str, range: Range<usize>, possible: &[String]) -> SyntaxError {
    let found = text.get(range.clone()).unwrap_or_default();
    let is_possible = |terminal: &&str| possible.iter().any(|other| other == terminal);
    if is_possible(&EQUALS) {
        return behind_label(text, range, found);
    }
    let place = PLACES.iter().find(|place| place.possible.iter().all(is_possible));
    let (expected, help) = place.map_or(COMPLETE, |place| (place.expected, place.help));
    SyntaxError::new(range, format!("expected {expected}, found {}", name_of(found)), help)
}

/// A label without its operator. Points at the label where nothing follows it.
fn behind_label(text: &str, range: Range<usize>, found: &str) -> SyntaxError {
    let before = text.get(..range.start).unwrap_or_default().trim_end_matches(BLANKS);
    let label = last_word(before);
    let message = format!("expected an operator after {}, found {}", quoted(label), name_of(found));
    let place = if found.is_empty() { before.len() - label.len()..before.len() } else { range };
    SyntaxError::new(place, message, operator_help(label, found))
}

fn operator_help(label: &str, found: &str) -> String {
    match found {
        "" | ")" | "&&" | "||" => format!("to test that the label exists, write {}", quoted(&format!("has({label})"))),
        "(" if ["has", "all", "global"].contains(&label) => format!("write `{label}(` without a blank"),
        "(" => "the functions are `has(label)`, `all()` and `global()`".to_owned(),
        _ => usage_of(found)
            .unwrap_or_else(|| "the operators are `==`, `!=`, `in`, `not in`, `contains`, `starts with` and `ends with`".to_owned()),
    }
}

/// How to use the operator that begins with a word.
fn usage_of(first_word: &str) -> Option<String> {
    let operator = OPERATORS.iter().find(|operator| operator.words.first() == Some(&first_word));
    operator.map(|operator| format!("write `{}`", operator.usage))
}

fn name_of(found: &str) -> String {
    if found.is_empty() { END.to_owned() } else { quoted(found) }
}

/// The label at the end of a text.
fn last_word(text: &str) -> &str {
    text.rsplit(|character| !is_label_character(character)).next().unwrap_or_default()
}
