//! Escaping of control characters, and of lines that are commands to a build service.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// Marks a command of a build service anywhere in a line: GitHub Actions (`##[error]`, see
/// `ActionCommand.cs` of actions/runner), Azure Pipelines (`##vso[…]`) and TeamCity
/// (`##teamcity[…]`).
const COMMAND_MARK: &str = "##";

/// Starts a GitHub Actions command at the start of a line. The runner skips leading white space.
const COMMAND_START: &str = "::";

/// How the diagnostic renderer starts the location of another file. As a command its name would be
/// `:`, and no command has that name.
const OTHER_FILE: &str = "::: ";

/// Whether a character has an effect other than being visible: it moves the cursor, ends a line,
/// changes the direction of writing, or is invisible.
///
/// These are the control characters (C0, DEL, C1), the line and paragraph separators, interlinear
/// annotations, noncharacters, and all of Unicode's `Default_Ignorable_Code_Point`, which includes
/// the bidirectional marks, the zero-width characters, the variation selectors and the tags.
pub fn is_steering(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_control();
    }
    let is_noncharacter = u32::from(letter) & 0xfffe == 0xfffe;
    letter.is_control() || is_noncharacter || is_invisible(letter)
}

fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Returns the text on one line. Every control character is escaped, as `\n` or `\u{1b}`.
///
/// The result is for readers only: a text that contains a backslash and an `n` looks the same.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    push_visible(&mut shown, text);
    Cow::Owned(shown)
}

fn push_visible(shown: &mut String, text: &str) {
    for letter in text.chars() {
        match is_steering(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
}

/// Appends formatted text to a string, escaped as by [`visible`].
pub(super) struct VisibleWriter<'text>(pub(super) &'text mut String);

impl fmt::Write for VisibleWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.contains(is_steering) {
            true => push_visible(self.0, text),
            false => self.0.push_str(text),
        }
        Ok(())
    }
}

/// Formats a value, escaped as by [`visible`].
pub(super) fn shown(text: impl fmt::Display) -> String {
    let mut out = String::new();
    // writing to a text does not fail
    let _ = fmt::Write::write_fmt(&mut VisibleWriter(&mut out), format_args!("{text}"));
    out
}

/// Escapes the mark in a line that a build service would take for a command.
///
/// An IPv6 address at the start of a line stays as it is: no command has such a name.
pub(super) fn without_commands(line: &str) -> Cow<'_, str> {
    let is_command = starts_command(line);
    if !is_command && !has_mark(line) {
        return Cow::Borrowed(line);
    }

    let mut safe = line.to_owned();
    if is_command {
        safe = safe.replacen(':', "\\u{3a}", 1);
    }

    if has_mark(&safe) {
        safe = safe.replace(COMMAND_MARK, "#\\u{23}");
    }

    Cow::Owned(safe)
}

fn starts_command(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(COMMAND_START) && !line.starts_with(OTHER_FILE) && !starts_with_address(line)
}

fn starts_with_address(line: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_hexdigit() || letter == ':' || letter == '.';
    let end = line.find(|letter| !is_part(letter)).unwrap_or(line.len());
    let (address, rest) = line.split_at(end);
    if address == COMMAND_START {
        return rest.starts_with('/');
    }

    let in_word = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
    let address = address.strip_suffix([':', '.']).unwrap_or(address);
    !rest.starts_with(in_word) && address != COMMAND_START && address.parse::<Ipv6Addr>().is_ok()
}

/// Whether a mark in the line is followed by letters and a bracket.
fn has_mark(line: &str) -> bool {
    line.match_indices(COMMAND_MARK).any(|(at, mark)| {
        let rest = line.get(at + mark.len()..).unwrap_or_default();
        let rest = rest.trim_start_matches('#');
        rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric())
            .starts_with('[')
    })
}
