//! The bytes and lines of a script.

use crate::ruleset::checked::ReadScript;

/// Returns the lines of a script that are not empty or comments, with their numbers from 1. A
/// comment begins with `#` in the first column.
///
/// # Errors
/// A byte other than printable ASCII, space and newline; a line longer than `longest` bytes, which
/// the tool would split; or a last line without a newline.
pub(super) fn lines(text: &str, longest: usize) -> ReadScript<impl Iterator<Item = (usize, &str)>> {
    check_bytes(text)?;
    check_lengths(text, longest)?;

    let says_something = |(_, line): &(usize, &str)| !line.is_empty() && !line.starts_with('#');
    Ok((1..)
        .zip(text.split_terminator('\n'))
        .filter(says_something))
}

fn check_bytes(text: &str) -> ReadScript<()> {
    let is_plain = |byte: u8| byte == b'\n' || byte == b' ' || byte.is_ascii_graphic();
    let Some(at) = text.bytes().position(|byte| !is_plain(byte)) else {
        return Ok(());
    };

    let before = text.as_bytes().get(..at).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let byte = text.as_bytes().get(at).copied().unwrap_or_default();
    Err((
        Some(line),
        format!("byte 0x{byte:02x}, and scripts are printable ASCII"),
    ))
}

fn check_lengths(text: &str, longest: usize) -> ReadScript<()> {
    let mut lines = (1..).zip(text.split_terminator('\n'));
    if let Some((number, line)) = lines.find(|(_, line)| line.len() > longest) {
        let length = line.len();
        let problem = format!("a line of {length} bytes, and the tool reads {longest} as one");
        return Err((Some(number), problem));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        let last = text.split('\n').count();
        return Err((
            Some(last),
            "the last line does not end in a newline".to_owned(),
        ));
    }

    Ok(())
}
