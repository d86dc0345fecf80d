//! User-written text, sanitized for scripts.

use crate::limits;

/// Sanitizes text for `--comment "…"`: letters, digits and a few marks stay, every other character
/// becomes `_`. So no quote, backslash or line end can end the comment. Truncated to the kernel's
/// limit.
pub(super) fn rule_comment(text: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || " -_./:,()=@+".contains(letter);
    truncate(text, limits::COMMENT, RULE_TAIL)
        .chars()
        .map(|letter| if safe(letter) { letter } else { '_' })
        .collect()
}

/// Sanitizes text for a line that begins with `#`: printable ASCII stays, every other character
/// becomes `?`, so the line cannot end early. Truncated well below the length at which the tools
/// would take the rest for another line.
pub(super) fn comment_line(text: &str) -> String {
    let safe = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    truncate(text, limits::COMMENT_LINE, 0)
        .chars()
        .map(|letter| if safe(letter) { letter } else { '?' })
        .collect()
}

/// Number of characters kept at the end of a truncated rule comment: ` ingress rule 12345`.
const RULE_TAIL: usize = 24;

/// Truncates a text to `longest` characters. A truncated text has `...` in place of the missing
/// characters, followed by its last `tail` characters. Counts characters; each of them becomes one
/// byte.
fn truncate(text: &str, longest: usize, tail: usize) -> String {
    const ELLIPSIS: &str = "...";
    let length = text.chars().count();
    match length <= longest {
        true => text.to_owned(),
        false => {
            let head = text.chars().take(longest - ELLIPSIS.len() - tail);
            head.chain(ELLIPSIS.chars())
                .chain(text.chars().skip(length - tail))
                .collect()
        }
    }
}
