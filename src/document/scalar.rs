//! The type of an unquoted YAML scalar.
//!
//! The reference is `kubectl`, whose reader (go-yaml, through `sigs.k8s.io/yaml`) implements a mix
//! of YAML 1.1 and 1.2. If the versions or that reader disagree, the scalar is ambiguous and
//! refused. So Palisade never reads a value differently than `kubectl` applies it.

/// The types of unquoted scalars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlainScalar {
    Null,
    Bool(bool),
    Number,
    Ambiguous,
    Text,
}

/// Words with a type other than text. Each has three spellings in YAML: `word`, `Word` and `WORD`.
const WORDS: &[(&[&str], PlainScalar)] = &[
    (&["", "~", "null", "Null", "NULL"], PlainScalar::Null),
    (&["true", "True", "TRUE"], PlainScalar::Bool(true)),
    (&["false", "False", "FALSE"], PlainScalar::Bool(false)),
    (
        &["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"],
        PlainScalar::Ambiguous,
    ),
    (
        &["n", "N", "no", "No", "NO", "off", "Off", "OFF"],
        PlainScalar::Ambiguous,
    ),
    (
        &[
            ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
        ],
        PlainScalar::Ambiguous,
    ),
    (&[".nan", ".NaN", ".NAN"], PlainScalar::Ambiguous),
];

/// Length of the longest word.
const LONGEST_WORD: usize = 5;

/// The type of an unquoted scalar.
pub(super) fn resolve(value: &str) -> PlainScalar {
    parse_word(value)
        .or_else(|| number(value))
        .unwrap_or(PlainScalar::Text)
}

fn parse_word(value: &str) -> Option<PlainScalar> {
    if value.len() > LONGEST_WORD {
        return None;
    }
    WORDS
        .iter()
        .find(|(words, _)| words.contains(&value))
        .map(|(_, plain)| *plain)
}

/// Number or ambiguous. Returns `None` if no reader interprets the value as a number.
fn number(value: &str) -> Option<PlainScalar> {
    if !value.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }

    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    if is_decimal(digits) {
        return Some(if has_leading_zero(digits) {
            PlainScalar::Ambiguous
        } else {
            PlainScalar::Number
        });
    }

    let joined = digits.replace('_', "");
    let is_doubtful = is_decimal(&joined) || is_based(&joined) || is_base_60(&joined);
    is_doubtful.then_some(PlainScalar::Ambiguous)
}

/// go-yaml's decimal numbers: `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_decimal(digits: &str) -> bool {
    let (mantissa, exponent) = digits
        .split_once(['e', 'E'])
        .map_or((digits, None), |(mantissa, exponent)| {
            (mantissa, Some(exponent))
        });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));

    has_digits
        && are_digits(whole)
        && are_digits(fraction)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && are_digits(exponent))
}

/// Whether the value is octal in YAML 1.1 and go-yaml, but decimal in YAML 1.2.
fn has_leading_zero(digits: &str) -> bool {
    digits
        .strip_prefix('0')
        .is_some_and(|rest| rest.starts_with(|second: char| second.is_ascii_digit()))
}

/// Whether the value has a base prefix: `0x1f`, `0o17`, `0b11`.
fn is_based(digits: &str) -> bool {
    let Some((prefix, rest)) = digits.split_at_checked(2) else {
        return false;
    };
    let base = match prefix {
        "0x" | "0X" => 16,
        "0o" | "0O" => 8,
        "0b" | "0B" => 2,
        _ => return false,
    };
    !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(base))
}

/// YAML 1.1's `[1-9][0-9]*(:[0-5]?[0-9])+`, and with an optional leading zero `…\.[0-9]*`. YAML 1.1
/// reads `12:30` as 750.
fn is_base_60(digits: &str) -> bool {
    let (whole, is_whole) = match digits.rsplit_once('.') {
        Some((whole, fraction)) if are_digits(fraction) => (whole, false),
        Some(_) => return false,
        None => (digits, true),
    };
    let mut places = whole.split(':');
    let first = places.next().unwrap_or_default();
    let starts_well =
        !first.is_empty() && are_digits(first) && !(is_whole && first.starts_with('0'));
    starts_well && whole.contains(':') && places.all(is_below_60)
}

fn is_below_60(place: &str) -> bool {
    matches!(place.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
