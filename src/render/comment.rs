//! Text that people wrote, made safe to stand in a script.

use crate::lower::limits;

/// For `--comment "…"`: letters, digits and a few marks; anything else is `_`, so that no quote, backslash or end of line
/// can end the comment. Cut to what the kernel takes.
pub(super) fn rule_comment(text: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || " -_./:,()=@+".contains(letter);
    cut(text, limits::COMMENT).chars().map(|letter| if safe(letter) { letter } else { '_' }).collect()
}

/// For a line that begins with `#`: printable ASCII as it is, anything else `?`, so that the line cannot end early. Cut well
/// below the length at which the tools would take the rest for another line.
pub(super) fn comment_line(text: &str) -> String {
    let safe = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    cut(text, limits::COMMENT_LINE).chars().map(|letter| if safe(letter) { letter } else { '?' }).collect()
}

/// The first letters of a text; one that is cut ends in `...`. Counts characters, every one of which becomes one byte.
fn cut(text: &str, longest: usize) -> String {
    const ELLIPSIS: &str = "...";
    match text.chars().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest - ELLIPSIS.len()).chain(ELLIPSIS.chars()).collect(),
    }
}
