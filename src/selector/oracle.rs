//! A second implementation of the language, for tests: a recursive descent over characters, written
//! from the grammar in Calico's terms, and an evaluator that shares no code with the tree's own.

use std::collections::BTreeMap;

use super::{Expr, LabelTest};

/// The words of an operator, and the test that it makes from a value.
type ValueOperator = (&'static [&'static str], fn(String) -> LabelTest);

const VALUE_OPERATORS: [ValueOperator; 5] = [
    (&["=="], LabelTest::Equals),
    (&["!="], LabelTest::NotEquals),
    (&["contains"], LabelTest::Contains),
    (&["starts", "with"], LabelTest::StartsWith),
    (&["ends", "with"], LabelTest::EndsWith),
];

/// Parses a text. Returns `None` if it is not a selector.
pub(super) fn parse(text: &str) -> Option<Expr> {
    if trim(text).is_empty() {
        return Some(Expr::All);
    }
    let (expr, rest) = or(text)?;
    trim(rest).is_empty().then_some(expr)
}

fn trim(text: &str) -> &str {
    text.trim_start_matches(' ')
        .strip_prefix('\t')
        .map_or(text.trim_start_matches(' '), trim)
}

fn or(text: &str) -> Option<(Expr, &str)> {
    let (parts, rest) = list(text, and, "||")?;
    Some((Expr::or(parts), rest))
}

fn and(text: &str) -> Option<(Expr, &str)> {
    let (parts, rest) = list(text, unary, "&&")?;
    Some((Expr::and(parts), rest))
}

fn list<'text>(
    text: &'text str,
    item: fn(&'text str) -> Option<(Expr, &'text str)>,
    separator: &str,
) -> Option<(Vec<Expr>, &'text str)> {
    let (first, mut rest) = item(text)?;
    let mut parts = vec![first];
    while let Some(behind) = trim(rest).strip_prefix(separator) {
        let (part, behind) = item(behind)?;
        parts.push(part);
        rest = behind;
    }
    Some((parts, rest))
}

fn unary(text: &str) -> Option<(Expr, &str)> {
    let Some(rest) = trim(text).strip_prefix('!') else {
        return operand(trim(text));
    };
    let (operand, rest) = unary(rest)?;
    Some((operand.not(), rest))
}

fn operand(text: &str) -> Option<(Expr, &str)> {
    if let Some(rest) = text.strip_prefix('(') {
        let (expr, rest) = or(rest)?;
        return Some((expr, trim(rest).strip_prefix(')')?));
    }
    if let Some(rest) = text.strip_prefix("has(") {
        let (name, rest) = label(trim(rest))?;
        return Some((
            Expr::label(name, LabelTest::Present),
            trim(rest).strip_prefix(')')?,
        ));
    }

    for (word, expr) in [("all(", Expr::All), ("global(", Expr::Global)] {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((expr, trim(rest).strip_prefix(')')?));
        }
    }

    let (name, rest) = label(text)?;
    let (test, rest) = test(trim(rest))?;
    Some((Expr::label(name, test), rest))
}

fn label(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !is_label(c)).unwrap_or(text.len());
    (1..=512).contains(&end).then(|| text.split_at(end))
}

fn is_label(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '/' | '-')
}

fn test(text: &str) -> Option<(LabelTest, &str)> {
    for (words, make) in VALUE_OPERATORS {
        if let Some(rest) = words_at(words, text) {
            let (value, rest) = string(trim(rest))?;
            return Some((make(value.to_owned()), rest));
        }
    }

    if let Some(rest) = words_at(&["not", "in"], text) {
        let (values, rest) = set(trim(rest))?;
        return Some((LabelTest::NotIn(values.into_iter().collect()), rest));
    }

    let (values, rest) = set(trim(words_at(&["in"], text)?))?;
    Some((LabelTest::In(values.into_iter().collect()), rest))
}

fn words_at<'text>(words: &[&str], text: &'text str) -> Option<&'text str> {
    let rest = words
        .iter()
        .try_fold(text, |rest, word| trim(rest).strip_prefix(word))?;
    let glued = words[0].starts_with(is_label) && trim(rest).starts_with(is_label);
    (!glued).then_some(rest)
}

fn string(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| "'\"".contains(*c))?;
    text[1..].split_once(quote)
}

fn set(text: &str) -> Option<(Vec<String>, &str)> {
    let mut rest = trim(text.strip_prefix('{')?);
    let mut values = Vec::new();
    while let Some((value, behind)) = string(rest) {
        values.push(value.to_owned());
        match trim(behind).strip_prefix(',') {
            Some(behind) => rest = trim(behind),
            None => return Some((values, trim(behind).strip_prefix('}')?)),
        }
    }
    Some((values, rest.strip_prefix('}')?))
}

/// Whether a selector selects labels, by the definition of the language.
pub(super) fn matches(expr: &Expr, labels: &BTreeMap<String, String>) -> bool {
    match expr {
        Expr::All | Expr::Global => true,
        Expr::Not(operand) => !matches(operand, labels),
        Expr::And(parts) => parts.iter().filter(|part| !matches(part, labels)).count() == 0,
        Expr::Or(parts) => parts.iter().filter(|part| matches(part, labels)).count() > 0,
        Expr::Label { name, test } => match labels.iter().find(|(key, _)| *key == name) {
            None => matches!(test, LabelTest::NotEquals(_) | LabelTest::NotIn(_)),
            Some((_, value)) => holds(test, value.as_bytes()),
        },
    }
}

fn holds(test: &LabelTest, value: &[u8]) -> bool {
    let within = |part: &String, at: usize| value.get(at..at + part.len()) == Some(part.as_bytes());
    match test {
        LabelTest::Present => true,
        LabelTest::Equals(wanted) => wanted.len() == value.len() && within(wanted, 0),
        LabelTest::NotEquals(unwanted) => unwanted.len() != value.len() || !within(unwanted, 0),
        LabelTest::In(wanted) => wanted.iter().any(|wanted| wanted.as_bytes() == value),
        LabelTest::NotIn(unwanted) => unwanted.iter().all(|unwanted| unwanted.as_bytes() != value),
        LabelTest::Contains(part) => (0..=value.len()).any(|at| within(part, at)),
        LabelTest::StartsWith(start) => within(start, 0),
        LabelTest::EndsWith(end) => {
            value.len() >= end.len() && within(end, value.len() - end.len())
        }
    }
}
