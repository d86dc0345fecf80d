//! Messages for the parser's errors: what it expected, what it found, what to write.

use std::ops::Range;

use crate::selector::{
    SyntaxError,
    error::quoted,
    lexer::{BLANKS, OPERATORS, is_label_character},
};

/// The byte range of the unexpected text. Empty at the end of the selector.
pub(super) type UnexpectedText = Range<usize>;

/// A position in the grammar, which determines what may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrammarPosition {
    /// An operand.
    Condition,
    /// The label of `has(`.
    Label,
    /// After a label.
    Operator,
    /// After an operator that compares with one value.
    Value,
    /// After an operator that compares with a set.
    Set,
    /// In a set, before a value.
    ValueOrEndOfSet,
    /// In a set, after a value.
    CommaOrEndOfSet,
    /// After an operand inside parentheses.
    InGroup,
    /// After an operand outside of parentheses.
    BehindCondition,
    /// Where only a parenthesis can follow.
    Close,
    /// Where nothing can follow.
    End,
}

const CONDITION: &str =
    r#"a condition is for example `has(app)`, `app == "db"` or `app in {"db", "web"}`"#;
const CLOSING: &str = "each of `(`, `has(`, `all(` and `global(` needs its `)`";
const QUOTES: &str = r#"values stand in straight quotes: `"value"` or `'value'`"#;

/// The name of the end of the text in messages.
const END: &str = "the end";

impl GrammarPosition {
    /// The error for text that does not fit at this position.
    pub(super) fn refuses(self, text: &str, range: UnexpectedText) -> SyntaxError {
        let found = text.get(range.clone()).unwrap_or_default();
        let (expected, help) = match self {
            GrammarPosition::Operator => return behind_label(text, range, found),
            GrammarPosition::Condition => ("a condition", CONDITION),
            GrammarPosition::Label => ("a label", "`has(app)` tests that the label `app` exists"),
            GrammarPosition::Set => ("a set", "write the values in braces: `{\"one\", \"two\"}`"),
            GrammarPosition::CommaOrEndOfSet => {
                ("`,` or `}`", "write the set as `{\"one\", \"two\"}`")
            }
            GrammarPosition::ValueOrEndOfSet => ("a quoted value or `}`", QUOTES),
            GrammarPosition::Value => ("a quoted value", QUOTES),
            GrammarPosition::InGroup => ("`&&`, `||` or `)`", CLOSING),
            GrammarPosition::BehindCondition => {
                ("`&&`, `||` or the end", "join conditions with `&&` or `||`")
            }
            GrammarPosition::Close => ("`)`", CLOSING),
            GrammarPosition::End => (END, "the selector is complete before this"),
        };

        let message = format!("expected {expected}, found {}", name_of(found));
        SyntaxError::new(range, message, help)
    }
}

/// The error for a label without an operator. Points at the label if nothing follows it.
fn behind_label(text: &str, range: Range<usize>, found: &str) -> SyntaxError {
    let before = text
        .get(..range.start)
        .unwrap_or_default()
        .trim_end_matches(BLANKS);
    let label = last_word(before);
    let message = format!(
        "expected an operator after {}, found {}",
        quoted(label),
        name_of(found)
    );

    let place = if found.is_empty() {
        before.len() - label.len()..before.len()
    } else {
        range
    };

    SyntaxError::new(place, message, operator_help(label, found))
}

fn operator_help(label: &str, found: &str) -> String {
    match found {
        "" | ")" | "&&" | "||" => format!(
            "to test that the label exists, write {}",
            quoted(&format!("has({label})"))
        ),
        "(" if ["has", "all", "global"].contains(&label) => {
            format!("write `{label}(` without a blank")
        }
        "(" => "the functions are `has(label)`, `all()` and `global()`".to_owned(),
        _ => usage_of(found).unwrap_or_else(|| {
            "the operators are `==`, `!=`, `in`, `not in`, `contains`, `starts with` and `ends \
             with`"
                .to_owned()
        }),
    }
}

/// The usage of the operator that starts with a word, if there is one.
fn usage_of(first_word: &str) -> Option<String> {
    let operator = OPERATORS
        .iter()
        .find(|operator| operator.words.first() == Some(&first_word));
    operator.map(|operator| format!("write `{}`", operator.usage))
}

fn name_of(found: &str) -> String {
    if found.is_empty() {
        END.to_owned()
    } else {
        quoted(found)
    }
}

/// The label at the end of a text.
fn last_word(text: &str) -> &str {
    text.rsplit(|character| !is_label_character(character))
        .next()
        .unwrap_or_default()
}
