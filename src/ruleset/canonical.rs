//! Compares rules by meaning, in whatever form a tool prints them.

use std::borrow::Cow;

use crate::net::{Cidr, Protocol};
use crate::ruleset::RuleText;
use crate::ruleset::rule::TEXT_OPTIONS;

/// One option of a rule with its value, in a canonical form: equal meanings have equal forms.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RuleOption {
    option: String,
    is_negated: bool,
    value: String,
}

/// How the printed value of an option may differ from the written one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OptionForm {
    /// Not at all.
    Plain,
    /// With or without a prefix length, or with a mask.
    Address,
    /// By number, as a range or a single port, in any order.
    Ports,
    /// In any order.
    List,
    /// By number.
    Icmp,
    /// By number or by name.
    Protocol,
    /// In another unit of time.
    Rate,
}

/// Options that Palisade's rules use. The values of other options, which only a user's templates
/// contain, are not compared.
const OPTIONS: [(&str, OptionForm); 18] = [
    ("-s", OptionForm::Address),
    ("-d", OptionForm::Address),
    ("--ctorigdst", OptionForm::Address),
    ("-p", OptionForm::Protocol),
    ("--sports", OptionForm::Ports),
    ("--dports", OptionForm::Ports),
    ("--ctorigdstport", OptionForm::Ports),
    ("--ctstate", OptionForm::List),
    ("--icmp-type", OptionForm::Icmp),
    ("--icmpv6-type", OptionForm::Icmp),
    ("--limit", OptionForm::Rate),
    ("--limit-burst", OptionForm::Plain),
    ("--match-set", OptionForm::Plain),
    ("-i", OptionForm::Plain),
    ("-o", OptionForm::Plain),
    ("-j", OptionForm::Plain),
    ("-g", OptionForm::Plain),
    ("--comment", OptionForm::Plain),
];

/// Options by their other names.
const OTHER_NAMES: [(&str, &str); 17] = [
    ("--source", "-s"),
    ("--src", "-s"),
    ("--destination", "-d"),
    ("--dst", "-d"),
    ("--protocol", "-p"),
    ("--in-interface", "-i"),
    ("--out-interface", "-o"),
    ("--jump", "-j"),
    ("--goto", "-g"),
    ("--sport", "--sports"),
    ("--source-port", "--sports"),
    ("--source-ports", "--sports"),
    ("--dport", "--dports"),
    ("--destination-port", "--dports"),
    ("--destination-ports", "--dports"),
    ("--fragment", "-f"),
    ("--syn", "--tcp-flags"),
];

/// Matches that test nothing without an option. `-m` only loads them, so it may be present or
/// absent.
const SILENT_MATCHES: [&str; 12] = [
    "comment",
    "set",
    "multiport",
    "conntrack",
    "limit",
    "tcp",
    "udp",
    "udplite",
    "sctp",
    "dccp",
    "icmp",
    "icmp6",
];

/// Options that mean the same as their absence. The tools omit them.
const NOTHING: [(&str, &str); 9] = [
    ("-s", "0.0.0.0/0"),
    ("-s", "::/0"),
    ("-d", "0.0.0.0/0"),
    ("-d", "::/0"),
    ("-i", "+"),
    ("-o", "+"),
    ("-p", "0"),
    ("-p", "all"),
    ("--limit-burst", "5"),
];

/// The target whose options change the verdict. Options of other targets, such as LOG, do not
/// affect policy.
const TARGET_WITH_OPTIONS: &str = "CT";

/// Protocol names in /etc/protocols, besides those that Palisade writes. Some hosts have more
/// names, which may mean any other number.
const PROTOCOL_NAMES: [(&str, &str); 20] = [
    ("ipv6-icmp", "58"),
    ("igmp", "2"),
    ("ipencap", "4"),
    ("egp", "8"),
    ("dccp", "33"),
    ("ipv6", "41"),
    ("ipv6-route", "43"),
    ("ipv6-frag", "44"),
    ("rsvp", "46"),
    ("gre", "47"),
    ("esp", "50"),
    ("ah", "51"),
    ("ipv6-nonxt", "59"),
    ("ipv6-opts", "60"),
    ("ospf", "89"),
    ("ipip", "94"),
    ("pim", "103"),
    ("ipcomp", "108"),
    ("vrrp", "112"),
    ("l2tp", "115"),
];

/// Seconds of the units of time, by prefixes of their names.
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", DAY)];
const DAY: u64 = 86_400;

impl RuleText {
    /// Returns whether a rule that was read back can be this written rule, in the tools' form: it
    /// has the same options and no others.
    pub fn is_printed_as(&self, read: &RuleText) -> bool {
        let [wrote, read] = [self, read].map(RuleText::sayings);
        wrote.len() == read.len()
            && wrote
                .iter()
                .zip(&read)
                .all(|(wrote, read)| wrote.is_printed_as(read))
    }

    /// Returns all options in canonical form, sorted.
    fn sayings(&self) -> Vec<RuleOption> {
        let words = self.split_words();
        let mut words = words.iter().map(Cow::as_ref).peekable();
        let (mut sayings, mut is_negated, mut is_behind_target) = (Vec::new(), false, false);

        while let Some(word) = words.next() {
            if word == "!" {
                is_negated = true;
                continue;
            }
            let option = OTHER_NAMES
                .iter()
                .find(|row| row.0 == word)
                .map_or(word, |row| row.1);
            let sort = OPTIONS.iter().find(|row| row.0 == option).map(|row| row.1);
            let takes_one = TEXT_OPTIONS.contains(&word);
            let mut values: Vec<&str> = if takes_one {
                words.next().into_iter().collect()
            } else {
                Vec::new()
            };
            // Options of other kinds take all words up to the next option.
            while let Some(value) =
                words.next_if(|next| !takes_one && *next != "!" && !next.starts_with('-'))
            {
                values.push(value);
            }
            let saying = RuleOption::new(option, sort, is_negated, &values.join(" "));
            sayings.extend(saying.filter(|_| sort.is_some() || !is_behind_target));
            is_behind_target |= option == "-j" && values != [TARGET_WITH_OPTIONS];
            is_negated = false;
        }

        // The tools print options in their own order.
        sayings.sort_unstable();
        sayings
    }
}

impl RuleOption {
    /// Returns an option, or `None` if it means the same as its absence.
    fn new(option: &str, sort: Option<OptionForm>, is_negated: bool, value: &str) -> Option<Self> {
        let value = match (sort, option) {
            (Some(sort), _) => sort.level(value),
            (None, "-m") => value.to_owned(),
            (None, _) => String::new(),
        };
        let is_silent = option == "-m" && SILENT_MATCHES.contains(&value.as_str());

        let is_nothing = is_silent || !is_negated && NOTHING.contains(&(option, value.as_str()));
        (!is_nothing).then(|| Self {
            option: option.to_owned(),
            is_negated,
            value,
        })
    }

    fn is_printed_as(&self, read: &RuleOption) -> bool {
        let has_name =
            |saying: &RuleOption| saying.value.contains(|letter: char| letter.is_alphabetic());

        self == read
            || (&self.option, self.is_negated) == (&read.option, read.is_negated)
                && match self.option.as_str() {
                    // A name that is not in our table may mean any number except one with a
                    // universal name.
                    "-p" => {
                        has_name(self) != has_name(read)
                            && [self, read].iter().all(|saying| !is_named(&saying.value))
                    }
                    "--sports" | "--dports" | "--icmp-type" | "--icmpv6-type" => {
                        has_name(self) && !has_name(read)
                    }
                    _ => false,
                }
    }
}

impl OptionForm {
    /// Returns the canonical form of a value.
    fn level(self, value: &str) -> String {
        match self {
            OptionForm::Plain | OptionForm::Icmp => value.to_owned(),
            OptionForm::Address => {
                Cidr::parse_lenient(value).map_or_else(|| value.to_owned(), |net| net.to_string())
            }
            OptionForm::Ports => {
                sorted(value.split(',').map(|ports| match ports.split_once(':') {
                    // A range of one port is that port.
                    Some((first, last)) if first == last => first,
                    Some(_) | None => ports,
                }))
            }
            OptionForm::List => sorted(value.split(',')),
            OptionForm::Protocol => protocol(value),
            OptionForm::Rate => {
                rate(value).map_or_else(|| value.to_owned(), |rate| rate.to_string())
            }
        }
    }
}

fn sorted<'text>(parts: impl Iterator<Item = &'text str>) -> String {
    let mut parts: Vec<&str> = parts.collect();
    parts.sort_unstable();
    parts.join(",")
}

/// Returns a protocol's number, or its name if the number is unknown.
fn protocol(value: &str) -> String {
    let named = PROTOCOL_NAMES
        .iter()
        .find(|row| row.0 == value)
        .map(|row| row.1.to_owned());
    named
        .or_else(|| Protocol::from_keyword(value).map(|protocol| protocol.number().to_string()))
        .unwrap_or_else(|| value.to_owned())
}

/// Returns whether this is the number of a protocol that has the same name on all hosts.
fn is_named(number: &str) -> bool {
    Protocol::from_keyword(number).is_some_and(|protocol| protocol.keyword() != number)
}

/// Converts a rate such as `10/second` to a number per day.
fn rate(value: &str) -> Option<u64> {
    let (count, unit) = value.split_once('/')?;
    let (_, seconds) = UNITS.iter().find(|(begin, _)| unit.starts_with(begin))?;
    count.parse::<u64>().ok()?.checked_mul(DAY / seconds)
}
