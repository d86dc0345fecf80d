//! What a rule says, however a tool prints it.

use std::borrow::Cow;

use crate::net::{Cidr, Protocol};
use crate::ruleset::RuleText;
use crate::ruleset::rule::TEXT_OPTIONS;

/// One thing that a rule says: an option and its value, in one form of all that mean the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RuleOption {
    option: String,
    is_negated: bool,
    value: String,
}

/// How values of an option are printed otherwise than they were written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OptionForm {
    /// Never.
    Plain,
    /// With or without the length of the prefix, or as a mask.
    Address,
    /// By number, as a range or one port, in any order.
    Ports,
    /// In any order.
    List,
    /// By number.
    Icmp,
    /// By number or by name.
    Protocol,
    /// By another unit of time.
    Rate,
}

/// What a rule of ours may say. Values of other options, which only templates of a user's own can
/// have, are not looked at.
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

/// Matches that ask nothing without an option: `-m` loads them, and may stand there or not.
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

/// What says nothing more than its lack, and is left out by the tools.
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

/// The target that means something else with other options. What options of LOG and the like say is
/// no matter of policy.
const TARGET_WITH_OPTIONS: &str = "CT";

/// Names of protocols in /etc/protocols, beside those that we write. Some hosts have others, which
/// may stand for any other number.
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

/// Seconds in units of time, by what their words begin with.
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", DAY)];
const DAY: u64 = 86_400;

impl RuleText {
    /// Whether a rule that was read back can be this one, which was written, in the tools' own way
    /// of printing: it says all that this one says, and nothing more.
    pub fn is_printed_as(&self, read: &RuleText) -> bool {
        let [wrote, read] = [self, read].map(RuleText::sayings);
        wrote.len() == read.len()
            && wrote
                .iter()
                .zip(&read)
                .all(|(wrote, read)| wrote.is_printed_as(read))
    }

    /// All that it says, in one order.
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

        sayings.sort_unstable();
        sayings
    }
}

impl RuleOption {
    /// Of an option; none where it says nothing.
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
    /// The one form of a value.
    fn level(self, value: &str) -> String {
        match self {
            OptionForm::Plain | OptionForm::Icmp => value.to_owned(),
            OptionForm::Address => {
                Cidr::parse_lenient(value).map_or_else(|| value.to_owned(), |net| net.to_string())
            }
            OptionForm::Ports => {
                sorted(value.split(',').map(|ports| match ports.split_once(':') {
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

/// The number of a protocol, or its name where that is not known to us.
fn protocol(value: &str) -> String {
    let named = PROTOCOL_NAMES
        .iter()
        .find(|row| row.0 == value)
        .map(|row| row.1.to_owned());
    named
        .or_else(|| Protocol::from_keyword(value).map(|protocol| protocol.number().to_string()))
        .unwrap_or_else(|| value.to_owned())
}

/// Whether it is the number of a protocol that has one name on all hosts.
fn is_named(number: &str) -> bool {
    Protocol::from_keyword(number).is_some_and(|protocol| protocol.keyword() != number)
}

/// How often a day `10/second` is.
fn rate(value: &str) -> Option<u64> {
    let (count, unit) = value.split_once('/')?;
    let (_, seconds) = UNITS.iter().find(|(begin, _)| unit.starts_with(begin))?;
    count.parse::<u64>().ok()?.checked_mul(DAY / seconds)
}
