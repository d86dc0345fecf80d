//! Text that people wrote, made safe to stand in a script.

use crate::limits;

/// For `--comment "…"`: letters, digits and a few marks; anything else is `_`, so that no quote,
/// backslash or end of line can end the comment. Cut to what the kernel takes.
pub(super) fn rule_comment(text: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || " -_./:,()=@+".contains(letter);
    truncate(text, limits::COMMENT, RULE_TAIL)
        .chars()
        .map(|letter| if safe(letter) { letter } else { '_' })
        .collect()
}

/// For a line that begins with `#`: printable ASCII as it is, anything else `?`, so that the line
/// cannot end early. Cut well below the length at which the tools would take the rest for another
/// line.
pub(super) fn comment_line(text: &str) -> String {
    let safe = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    truncate(text, limits::COMMENT_LINE, 0)
        .chars()
        .map(|letter| if safe(letter) { letter } else { '?' })
        .collect()
}

/// Letters at the end of a rule's comment that are kept: ` ingress rule 12345`.
const RULE_TAIL: usize = 24;

/// A text that is not longer; one that is cut has `...` where letters are missing, and its last
/// `tail` letters behind that. Counts characters, every one of which becomes one byte.
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
