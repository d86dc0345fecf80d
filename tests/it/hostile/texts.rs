//! Hostile text.

use std::hash::{BuildHasher, RandomState};

use crate::agree::random::Dice;

/// A word that all hostile texts hold, to see where they are printed.
pub(crate) const MARK: &str = "mrk";

/// Texts that are known to steer something.
pub(crate) const FIXED: [&str; 16] = [
    "mrk\u{1b}[2J\u{1b}[1A\u{1b}]0;title\u{7}",
    "mrk\n::error file=app.js::text\n::stop-commands::token\n",
    "::warning::mrk",
    "\u{a0} ::add-mask::mrk",
    "mrk ##[error]x ##vso[task.setvariable variable=a]b ##teamcity[message]",
    "=HYPERLINK(\"http://evil.example/?mrk\")",
    "@mrk/team #12 org/repo#3 GH-7 www.evil.example a@b.example",
    "mrk | x || <img src=x onerror=alert(1)> &lt;b&gt;",
    "mrk `code` ``` \\` \\| [link](javascript:alert(1)) ![i](x)",
    "# mrk\n\n- item\n1. item\n---\n> quote",
    "\"];evil[label=\"mrk\\",
    "mrk\u{202e}gpj.exe\u{2066}\u{200f}\u{61c}\u{200b}\u{feff}\u{e0041}",
    "mrk\u{9b}31m\u{85}x\u{2028}y\u{2029}z\u{7f}",
    "mrk\u{1b}]8;;http://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "-1+mrk|' C calc'!A0",
    "]]></failure><!-- mrk --> \u{fffe}\u{8}\r\n]]>",
];

/// What drawn texts are made of.
const PARTS: [&str; 34] = [
    "\n",
    "\r",
    "\t",
    "\u{1b}[31m",
    "\u{1b}]0;x\u{7}",
    "\u{9b}0m",
    "\u{8}",
    "\u{202e}",
    "\u{2067}",
    "\u{200d}",
    "\u{2028}",
    "\u{feff}",
    "::",
    "::error::",
    "##[group]",
    "##",
    "#",
    "@user",
    "http://x.example",
    "www.x.example",
    "|",
    "`",
    "``",
    "\\",
    "\"",
    "'",
    "<b>",
    "&amp;",
    "]",
    "[x](y)",
    "=1",
    "+",
    "é",
    " ",
];

/// The seed of this run.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("PALISADE_HOSTILE_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| RandomState::new().hash_one(0))
}

/// As many texts as are fixed, drawn at random: of parts that steer something and of any
/// characters.
pub(crate) fn drawn(dice: &mut Dice) -> Vec<String> {
    FIXED.iter().map(|_| text(dice)).collect()
}

fn text(dice: &mut Dice) -> String {
    let mark = dice.below(8);
    let parts = (0..8).map(|index| match index == mark {
        true => MARK.to_owned(),
        false if dice.chance(60) => dice.pick(&PARTS).to_owned(),
        false => letter(dice).to_string(),
    });
    parts.collect()
}

/// Any character; most are of the first blocks, where those that steer are.
fn letter(dice: &mut Dice) -> char {
    let end = dice.pick(&[0x100, 0x3000, 0x11_0000]);
    let code = u32::try_from(dice.below(end)).unwrap_or_default();
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}
