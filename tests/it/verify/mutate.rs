//! What is changed in scripts, by tables: each word by what it is, and every word, line and member
//! for what it is not.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// One script of a node, without comments and empty lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    /// Its name in the bundle.
    pub(super) name: &'static str,
    pub(super) lines: Vec<String>,
}

/// A script with one thing changed.
#[derive(Debug)]
pub(super) struct Mutant {
    /// What was done.
    pub(super) kind: Kind,
    /// The number of the script.
    pub(super) script: usize,
    pub(super) lines: Vec<String>,
}

/// What was done.
pub(super) type Kind = &'static str;

/// Names that words are exchanged for.
struct Names {
    chains: Vec<String>,
    sets: Vec<String>,
}

/// Other words for one.
type Others = Vec<(Kind, String)>;

const VERDICTS: [&str; 3] = ["ACCEPT", "DROP", "RETURN"];
const PROTOCOLS: [&str; 7] = ["tcp", "udp", "sctp", "udplite", "icmp", "ipv6-icmp", "47"];
const STATES: [&str; 6] = [
    "NEW",
    "ESTABLISHED",
    "RELATED",
    "INVALID",
    "UNTRACKED",
    "RELATED,ESTABLISHED",
];
const SIDES: [&str; 6] = ["src", "dst", "src,src", "src,dst", "dst,src", "dst,dst"];
const INTERFACES: [&str; 4] = ["lo", "eth0", "eth1", "any9"];
const SET_TYPES: [&str; 4] = ["hash:net", "hash:ip,port", "bitmap:port", "hash:ip"];
const FAMILIES: [&str; 2] = ["inet", "inet6"];
/// For how many other chains or sets one is exchanged.
const MOST_NAMES: usize = 4;
/// Conditions of rules that are put before each rule; those that are not empty, in early tables
/// only.
const ADDED: [&str; 3] = ["", "-m rpfilter ", "-i eth0 "];
/// Options that a `!` may stand before.
const NEGATED: [&str; 13] = [
    "-s",
    "-d",
    "-i",
    "-o",
    "-p",
    "--match-set",
    "--dports",
    "--sports",
    "--ctstate",
    "--ctorigdst",
    "--ctorigdstport",
    "--icmp-type",
    "--icmpv6-type",
];
/// Words for which there is one other.
const OPPOSITES: [(&str, &str); 10] = [
    ("-j", "-g"),
    ("-g", "-j"),
    ("-s", "-d"),
    ("-d", "-s"),
    ("-i", "-o"),
    ("-o", "-i"),
    ("--dports", "--sports"),
    ("--sports", "--dports"),
    ("--ctorigdst", "-d"),
    ("--notrack", "--zone"),
];
/// Words that stand behind an option, and the choice there is.
const CHOICES: [(&str, Kind, &[&str]); 7] = [
    ("-p", "protocol", &PROTOCOLS),
    ("--ctstate", "state", &STATES),
    ("-i", "interface", &INTERFACES),
    ("-o", "interface", &INTERFACES),
    ("family", "family of a set", &FAMILIES),
    ("--log-prefix", "prefix of the log", &["other"]),
    ("--comment", "comment", &["other"]),
];

/// Every mutant of one line, and of it with the next.
pub(super) fn of_line(scripts: &[Script], script: usize, at: usize) -> Vec<Mutant> {
    let lines = &scripts[script].lines;
    let names = Names {
        chains: chains(lines),
        sets: sets(scripts),
    };
    let mut mutants = Vec::new();
    let mut push = |kind: Kind, lines: Vec<String>| {
        mutants.push(Mutant {
            kind,
            script,
            lines,
        })
    };
    let replaced = |new: &[String]| [&lines[..at], new, &lines[at + 1..]].concat();

    let line = &lines[at];
    push("line dropped", replaced(&[]));
    push("line doubled", replaced(&[line.clone(), line.clone()]));
    if at + 1 < lines.len() {
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        push("lines swapped", swapped);
    }

    if let Some(other) = (at + 1..lines.len()).find(|other| {
        is_member(line) && is_member(&lines[*other]) && set_of(line) != set_of(&lines[*other])
    }) {
        let mut swapped = lines.clone();
        (swapped[at], swapped[other]) = (
            with_set(&lines[other], set_of(line)),
            with_set(line, set_of(&lines[other])),
        );
        push("members swapped", swapped);
    }

    if line.starts_with("-A ") {
        let own = line.split(' ').nth(1).unwrap_or_default();
        for other in behind(&names.chains, own) {
            let moved = line
                .splitn(3, ' ')
                .enumerate()
                .map(|(number, word)| if number == 1 { other.as_str() } else { word });
            push(
                "line moved",
                replaced(&[moved.collect::<Vec<_>>().join(" ")]),
            );
        }
    }

    if line.starts_with("-A ") {
        let own = line.split(' ').nth(1).unwrap_or_default();
        for conditions in ADDED
            .iter()
            .filter(|conditions| is_early(&scripts[script]) || conditions.is_empty())
        {
            for verdict in VERDICTS {
                push(
                    "rule added",
                    replaced(&[format!("-A {own} {conditions}-j {verdict}"), line.clone()]),
                );
            }
        }
    }

    for (kind, line) in changed(line, &names) {
        push(kind, replaced(&[line]));
    }

    mutants
}

/// Whether packets meet a script's table before the filter table.
pub(super) fn is_early(script: &Script) -> bool {
    script.name.starts_with("raw") || script.name.starts_with("mangle")
}

/// Some other names, from those that follow one.
fn behind<'names>(all: &'names [String], own: &str) -> impl Iterator<Item = &'names String> {
    let at = all
        .iter()
        .position(|name| name == own)
        .map_or(0, |at| at + 1);
    all.iter()
        .cycle()
        .skip(at)
        .take(all.len())
        .filter(move |name| *name != own)
        .take(MOST_NAMES)
}

fn is_member(line: &str) -> bool {
    line.starts_with("add ")
}

fn set_of(line: &str) -> &str {
    line.split(' ').nth(1).unwrap_or_default()
}

/// A member with another set's name.
fn with_set(line: &str, set: &str) -> String {
    line.splitn(3, ' ')
        .enumerate()
        .map(|(number, word)| if number == 1 { set } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

fn chains(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| Some(line.strip_prefix(':')?.split(' ').next()?.to_owned()))
        .collect()
}

fn sets(scripts: &[Script]) -> Vec<String> {
    let lines = scripts.iter().flat_map(|script| &script.lines);
    lines
        .filter_map(|line| Some(line.strip_prefix("create ")?.split(' ').next()?.to_owned()))
        .collect()
}

/// The line with one word changed, dropped, doubled or swapped with the next, in every way.
fn changed(line: &str, names: &Names) -> Others {
    let words = words(line);
    let mut all = Others::new();
    let mut known = BTreeSet::from([line.to_owned()]);
    let mut push = |kind: Kind, words: &[&str]| {
        let line = words.join(" ");
        if known.insert(line.clone()) {
            all.push((kind, line));
        }
    };

    if let ["-A", chain, rest @ ..] = words.as_slice() {
        push("end of the chain", &[&["-I", *chain, "1"], rest].concat());
    }

    if let ["-I", chain, "1", rest @ ..] = words.as_slice() {
        push("end of the chain", &[&["-A", *chain], rest].concat());
    }

    let phrases = phrases(&words);
    for (at, phrase) in phrases.iter().enumerate() {
        let (before, behind) = (phrases[..at].concat(), phrases[at + 1..].concat());
        push("condition dropped", &[before.as_slice(), &behind].concat());
        push(
            "condition doubled",
            &[before.as_slice(), phrase, phrase, &behind].concat(),
        );
        if let Some(next) = phrases.get(at + 1) {
            push(
                "conditions swapped",
                &[before.as_slice(), next, phrase, &phrases[at + 2..].concat()].concat(),
            );
        }
    }

    for (at, word) in words.iter().enumerate() {
        let (before, behind) = (&words[..at], &words[at + 1..]);
        for (kind, other) in others(word, before, names) {
            push(kind, &[before, &[other.as_str()], behind].concat());
        }
        if NEGATED.contains(word) && before.last() != Some(&"!") {
            push("negation", &[before, &["!", *word], behind].concat());
        }
        push(
            if *word == "!" {
                "negation"
            } else {
                "word dropped"
            },
            &[before, behind].concat(),
        );
        push("word doubled", &[before, &[*word, *word], behind].concat());
        if let [next, rest @ ..] = behind {
            push("words swapped", &[before, &[*next, *word], rest].concat());
        }
    }

    all
}

/// The parts of a rule: where it stands, its conditions, its target.
fn phrases<'words>(words: &[&'words str]) -> Vec<Vec<&'words str>> {
    let mut phrases: Vec<Vec<&str>> = Vec::new();
    let mut is_negated = false;
    for word in words {
        let begins =
            *word == "!" || word.starts_with('-') && !word.starts_with("--") && !is_negated;
        is_negated = *word == "!";
        match phrases.last_mut() {
            Some(phrase)
                if !begins || is_negated && phrase.first() == Some(&"-m") && phrase.len() == 2 =>
            {
                phrase.push(word)
            }
            Some(_) | None => phrases.push(vec![word]),
        }
    }

    phrases
}

/// Words; quotes hold one together.
fn words(line: &str) -> Vec<&str> {
    let mut is_quoted = false;
    line.split(|letter| {
        is_quoted ^= letter == '"';
        letter == ' ' && !is_quoted
    })
    .collect()
}

/// What else could stand in a word's place.
fn others(word: &str, before: &[&str], names: &Names) -> Others {
    let option = before.last().copied().unwrap_or_default();
    let all = |kind: Kind, words: &[&str]| {
        words
            .iter()
            .map(|other| (kind, (*other).to_owned()))
            .collect::<Others>()
    };
    let strings = |kind: Kind, all: &[String], own: &str| {
        behind(all, own)
            .map(|other| (kind, other.clone()))
            .collect::<Others>()
    };
    let each = |kind: Kind, words: Vec<String>| {
        words
            .into_iter()
            .map(|other| (kind, other))
            .collect::<Others>()
    };

    if let Some((_, kind, choice)) = CHOICES.iter().find(|row| row.0 == option) {
        return all(kind, choice);
    }
    if let Some((_, other)) = OPPOSITES.iter().find(|row| row.0 == word) {
        return all("option", &[other]);
    }

    match (before, option, word) {
        (["create" | "add"], _, _) => strings("set", &names.sets, word),
        (["add", _], _, _) => each("member", member(word)),
        (["add", _, _], _, _) => all("nomatch", &["match"]),
        (["create", _], _, _) => all("type of a set", &SET_TYPES),
        (_, "hashsize" | "maxelem", _) => {
            all("size of a set", &["0", "1", "2", "1000", "4294967295"])
        }
        (_, "-j" | "-g", _) => [
            all("verdict", &VERDICTS),
            strings("target", &names.chains, word),
        ]
        .concat(),
        (_, "-I", _) => all(
            "kernel's chain",
            &["FORWARD", "INPUT", "OUTPUT", "PREROUTING", "POSTROUTING"],
        ),
        (_, "--match-set", _) => strings("set", &names.sets, word),
        (_, "--dports" | "--sports" | "--ctorigdstport", _) => each("port", ports(word)),
        (_, "-s" | "-d" | "--ctorigdst", _) => each("prefix", prefix(word)),
        (_, "--icmp-type" | "--icmpv6-type", _) => each("ICMP type", message(word)),
        (_, "--limit" | "--limit-burst", _) => all("limit", &["1"]),
        ([], _, "-A" | "-I") => all("way to add", &["-A", "-I", "-D"]),
        ([], _, word) if word.starts_with(':') => behind(&names.chains, &word[1..])
            .map(|chain| ("declaration", format!(":{chain}")))
            .collect(),
        ([], _, word) if word.starts_with('*') => {
            all("table", &["*filter", "*raw", "*mangle", "*nat"])
        }
        ([declared], _, "-") if declared.starts_with(':') => {
            all("policy of the chain", &["ACCEPT", "DROP"])
        }
        (_, _, "[0:0]") => all("policy of the chain", &["[1:1]", ""]),
        (_, _, word) if SIDES.contains(&word) => all("side", &SIDES),
        _ => Others::new(),
    }
}

/// Ports at both sides of every edge; every item dropped, doubled, and of a range only an end.
fn ports(list: &str) -> Vec<String> {
    let items: Vec<&str> = list.split(',').collect();
    let mut lists = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let (before, behind) = (&items[..at], &items[at + 1..]);
        let mut push = |new: &[&str]| lists.push([before, new, behind].concat().join(","));
        push(&[]);
        push(&[item, item]);
        let (first, last) = item.split_once([':', '-']).unwrap_or((item, item));
        let separator = if item.contains('-') { '-' } else { ':' };
        let [first, last] = [first, last].map(|edge| edge.parse::<i64>().unwrap_or_default());
        for (first, last) in [
            (first - 1, last),
            (first + 1, last),
            (first, last - 1),
            (first, last + 1),
            (first, first),
            (last, last),
            (last, first),
            (0, 65_535),
        ] {
            push(&[&if first == last {
                first.to_string()
            } else {
                format!("{first}{separator}{last}")
            }]);
        }
    }

    lists
}

/// A bit more, a bit less, the other half, everything, and the neighbours of an address.
fn prefix(text: &str) -> Vec<String> {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let Ok(address) = address.parse::<IpAddr>() else {
        return Vec::new();
    };

    let width: u8 = if address.is_ipv4() { 32 } else { 128 };
    let own: u8 = length.parse().unwrap_or(width);
    let with = |bits: u128, length: u8| {
        let hosts = width - length;
        let bits = if hosts == 128 {
            0
        } else {
            bits >> hosts << hosts
        };
        let shown = if length == width {
            String::new()
        } else {
            format!("/{length}")
        };
        format!("{}{shown}", address_of(bits, width))
    };

    let bits = bits_of(address);
    let last = 1u128.checked_shl(u32::from(width - own)).unwrap_or(0);
    let mut all = vec![
        with(bits ^ last, own),
        format!("{address}/{}", own + 1),
        format!("{address}/0"),
        "10.0.0.300".to_owned(),
    ];
    all.extend(own.checked_sub(1).map(|length| with(bits, length)));
    all.extend((own < width).then(|| with(bits, own + 1)));
    all.extend((own < width).then(|| with(bits | last >> 1, own + 1)));

    all
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address_of(bits: u128, width: u8) -> IpAddr {
    match width {
        32 => std::net::Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        _ => std::net::Ipv6Addr::from_bits(bits).into(),
    }
}

/// A type and a code, one off, with another and without.
fn message(text: &str) -> Vec<String> {
    let (kind, code) = text
        .split_once('/')
        .map_or((text, None), |(kind, code)| (kind, Some(code)));
    let near = |number: &str| {
        number.parse::<u8>().map_or(vec![], |number| {
            vec![number.wrapping_add(1), number.wrapping_sub(1)]
        })
    };

    let mut all: Vec<String> = near(kind)
        .iter()
        .map(|kind| code.map_or(kind.to_string(), |code| format!("{kind}/{code}")))
        .collect();
    all.extend(
        code.map_or(vec![0, 1], near)
            .iter()
            .map(|code| format!("{kind}/{code}")),
    );
    all.push(kind.to_owned());

    all
}

/// A member of any type of set.
fn member(text: &str) -> Vec<String> {
    if let Some((address, service)) = text.split_once(',') {
        let (protocol, port) = service.split_once(':').unwrap_or((service, ""));
        let addresses = prefix(address)
            .into_iter()
            .map(|address| format!("{address},{service}"));
        let ports = ports(port)
            .into_iter()
            .map(|port| format!("{address},{protocol}:{port}"));
        let protocols = PROTOCOLS
            .iter()
            .map(|protocol| format!("{address},{protocol}:{port}"));
        return addresses.chain(ports).chain(protocols).collect();
    }

    let is_port = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-');
    let mut all = if is_port { ports(text) } else { prefix(text) };
    all.push(format!("{text} nomatch"));
    all
}
