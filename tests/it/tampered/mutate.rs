//! Random changes of the bytes and lines of a script.

use palisade::limits;

use crate::agree::random::Dice;

/// Letters that tools or readers treat in a way of their own, and some that they do not.
const LETTERS: &str = "\0\t\r\u{b}\u{c}\u{1b}\u{7f}\u{80}\u{e9}\u{2028}\"\"\"\\\\'''###!! \
                       ,:/-+*.~^%@=;|&$`(){}[]<>?0123456789aAzZ_\n\n";

/// What looks like an order to one of the tools.
const LINES: [&str; 30] = [
    "-I FORWARD 1 -j ACCEPT",
    "-A INPUT -j ACCEPT",
    "-A FORWARD -m comment --comment \"palisade\" -j pal-allowed",
    "-A pal-FORWARD -j ACCEPT",
    "-A pal-allowed -j RETURN",
    "-I pal-FORWARD 1 -j ACCEPT",
    "[1:1] -A pal-FORWARD -j ACCEPT",
    "-F",
    "-F pal-FORWARD",
    "-X",
    "-P FORWARD ACCEPT",
    "-D FORWARD 1",
    "-t nat -A POSTROUTING -j MASQUERADE",
    ":FORWARD ACCEPT [0:0]",
    ":FORWARD DROP [0:0]",
    ":pal-more - [0:0]",
    "*nat",
    "*filter",
    "COMMIT",
    "COMMIT\r",
    "COMMIT ",
    " COMMIT",
    "# -A FORWARD -j ACCEPT",
    " # -A FORWARD -j ACCEPT",
    "#",
    "",
    " ",
    "flush",
    "create pal-more hash:net family inet hashsize 1024 maxelem 65536",
    "create theirs hash:net",
];

/// Options that could be put into a rule.
const OPTIONS: [&str; 15] = [
    "-m comment --comment \"more\"",
    "-m comment --comment more",
    "-m conntrack --ctstate NEW",
    "-m conntrack --ctstate INVALID,NEW,RELATED,ESTABLISHED,UNTRACKED",
    "-m conntrack --ctstate ESTABLISHED,RELATED",
    "-m limit --limit 10/second --limit-burst 20",
    "! -i lo",
    "-i eth+",
    "-s 0.0.0.0/0",
    "-s ::/0",
    "-p all",
    "-p tcp",
    "-m mark --mark 1",
    "-f",
    "-4",
];

/// Another text in the place of a script's.
pub(super) fn mutant(text: &str, dice: &mut Dice) -> String {
    let mut mutant = text.to_owned();
    // most often one change; several may hide each other
    for _ in 0..1 + dice.below(4) / 3 {
        mutant = change(&mutant, dice);
    }
    mutant
}

fn change(text: &str, dice: &mut Dice) -> String {
    match dice.below(13) {
        0 => insert(text, dice),
        1 => delete(text, dice),
        2 => replace(text, dice),
        3 => duplicate(text, dice),
        4 => move_line(text, dice),
        5 => with_line(text, dice),
        6 => lengthen(text, dice),
        7 => number(text, dice),
        8 => word(text, dice),
        9 => option(text, dice),
        10 => line_twice(text, dice),
        11 => in_comment(text, dice),
        _ => quote(text, dice),
    }
}

/// A place between two letters.
fn place(text: &str, dice: &mut Dice) -> usize {
    let mut at = dice.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Two places, in order, that are not far from each other.
fn span(text: &str, dice: &mut Dice) -> (usize, usize) {
    let from = place(text, dice);
    let mut to = (from + 1 + dice.below(12)).min(text.len());
    while !text.is_char_boundary(to) {
        to += 1;
    }
    (from, to)
}

fn letter(dice: &mut Dice) -> char {
    dice.pick(&LETTERS.chars().collect::<Vec<char>>())
}

fn insert(text: &str, dice: &mut Dice) -> String {
    let at = place(text, dice);
    let mut mutant = text.to_owned();
    mutant.insert(at, letter(dice));
    mutant
}

fn delete(text: &str, dice: &mut Dice) -> String {
    let (from, to) = span(text, dice);
    format!("{}{}", &text[..from], &text[to..])
}

fn replace(text: &str, dice: &mut Dice) -> String {
    let at = place(text, dice);
    let behind = text[at..]
        .chars()
        .next()
        .map_or(at, |letter| at + letter.len_utf8());
    format!("{}{}{}", &text[..at], letter(dice), &text[behind..])
}

fn duplicate(text: &str, dice: &mut Dice) -> String {
    let (from, to) = span(text, dice);
    format!("{}{}", &text[..to], &text[from..])
}

/// The lines without their newlines.
fn lines(text: &str) -> Vec<&str> {
    text.split('\n').collect()
}

fn move_line(text: &str, dice: &mut Dice) -> String {
    let mut lines = lines(text);
    let line = lines.remove(dice.below(lines.len()));
    lines.insert(dice.below(lines.len() + 1), line);
    lines.join("\n")
}

fn line_twice(text: &str, dice: &mut Dice) -> String {
    let mut lines = lines(text);
    let from = dice.below(lines.len());
    let to = if dice.chance(50) {
        from
    } else {
        dice.below(lines.len())
    };
    lines.insert(to, lines[from]);
    lines.join("\n")
}

fn with_line(text: &str, dice: &mut Dice) -> String {
    let mut lines = lines(text);
    lines.insert(dice.below(lines.len() + 1), dice.pick(&LINES));
    lines.join("\n")
}

/// A line, or a comment, about as long as the tools read, with an order where the next line may
/// begin for them.
fn lengthen(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = lines(text).into_iter().map(str::to_owned).collect();
    let at = dice.below(lines.len());
    let line = if dice.chance(50) {
        "#".to_owned()
    } else {
        lines[at].clone()
    };

    let longest = dice.pick(&[limits::IPTABLES_LINE, limits::IPSET_LINE]);
    let length = (longest + 3 - dice.below(6)).max(line.len());
    let filler = dice.pick(&[" ", "x", "#"]).repeat(length - line.len());
    let tail = if dice.chance(70) {
        dice.pick(&LINES)
    } else {
        ""
    };

    lines[at] = format!("{line}{filler}{tail}");
    lines.join("\n")
}

/// A number in another form, or another number.
fn number(text: &str, dice: &mut Dice) -> String {
    let starts: Vec<usize> = text
        .match_indices(|letter: char| letter.is_ascii_digit())
        .map(|(at, _)| at)
        .filter(|at| !text[..*at].ends_with(|letter: char| letter.is_ascii_digit()))
        .collect();
    let at = dice.pick(&starts);
    let end = text[at..]
        .find(|letter: char| !letter.is_ascii_digit())
        .map_or(text.len(), |to| at + to);
    let value: u64 = text[at..end].parse().unwrap_or_default();

    let other = match dice.below(8) {
        0 => format!("0{value}"),
        1 => format!("+{value}"),
        2 => format!("0x{value:x}"),
        3 => format!("{}", value + 1),
        4 => format!("{}", value.saturating_sub(1)),
        5 => format!("{value}-{}", value + 2),
        6 => format!("{value}:{}", value + 2),
        _ => format!("{value}/{}", dice.pick(&["1", "24", "32", "032"])),
    };
    format!("{}{other}{}", &text[..at], &text[end..])
}

/// A word in the place of another.
fn word(text: &str, dice: &mut Dice) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let (from, to) = (dice.below(words.len()), dice.below(words.len()));
    let mut other = words.clone();
    match dice.below(3) {
        0 => other[to] = words[from],
        1 => other.swap(from, to),
        _ => drop(other.remove(to)),
    }
    other.join(" ")
}

/// An option more in a rule, or `nomatch` behind a member.
fn option(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = lines(text).into_iter().map(str::to_owned).collect();
    let at = dice.below(lines.len());
    let line = &lines[at];
    lines[at] = match line.rfind(" -m comment").or_else(|| line.rfind(" -j ")) {
        Some(to) if line.starts_with('-') => {
            format!("{} {}{}", &line[..to], dice.pick(&OPTIONS), &line[to..])
        }
        _ => format!(
            "{line}{}",
            dice.pick(&[" nomatch", " timeout 1", " -exist", " ", "\"", "#"])
        ),
    };

    lines.join("\n")
}

/// A letter in a comment, of a line or of a rule, where most letters do no harm.
fn in_comment(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = lines(text).into_iter().map(str::to_owned).collect();
    let commented = |line: &String| line.starts_with('#') || line.contains("--comment \"");
    let numbers: Vec<usize> = (0..lines.len())
        .filter(|at| commented(&lines[*at]))
        .collect();
    if numbers.is_empty() {
        return insert(text, dice);
    }

    let line = &mut lines[dice.pick(&numbers)];
    let from = line
        .find("--comment \"")
        .map_or(1, |at| at + "--comment \"".len());
    let room = line[from..].find('"').unwrap_or(line.len() - from);

    let mut at = from + dice.below(room + 1);
    while !line.is_char_boundary(at) {
        at -= 1;
    }

    line.insert(at, letter(dice));
    lines.join("\n")
}

/// Quotes around a word, or an escape before one.
fn quote(text: &str, dice: &mut Dice) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let at = dice.below(words.len());
    let word = &words[at];
    words[at] = match dice.below(5) {
        0 => format!("\"{word}\""),
        1 => format!("'{word}'"),
        2 => format!("\\{word}"),
        3 => format!("{word}\\"),
        _ => word.replace('"', ""),
    };

    words.join(" ")
}
