//! Rules in the form of the tools.

use std::borrow::Cow;

/// A rule: the text after `-A chain` or `-I chain 1`.
///
/// Equality compares the text. The tools may print a rule differently from how it was written.
/// [`RuleText::split_words`] removes these differences for all rules that Palisade writes. Other
/// differences are known only from the writer's `PrintCache`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleText {
    text: String,
    /// Match counters, if the text contains them (`iptables-save -c`).
    pub counters: Option<RuleCounters>,
}

/// How often a rule matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleCounters {
    /// Number of packets.
    pub packets: u64,
    /// Number of bytes, including IP headers.
    pub bytes: u64,
}

/// The chain or target to which a rule sends packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleJump<'rule> {
    /// `-j`: jump to a chain, or to a target such as ACCEPT.
    Jump(&'rule str),
    /// `-g`: go to a chain.
    Goto(&'rule str),
}

/// A rule's match on a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetMatch<'rule> {
    /// The set's name.
    pub set: &'rule str,
    /// Whether the rule matches packets that are not in the set.
    pub is_negated: bool,
    /// Sides of the packet, the address's first: `src`, or `dst,dst`.
    pub sides: &'rule str,
}

impl<'rule> RuleJump<'rule> {
    /// Returns the chain or target.
    pub fn chain(self) -> &'rule str {
        match self {
            RuleJump::Jump(chain) | RuleJump::Goto(chain) => chain,
        }
    }
}

/// Values that the tools print differently: option, written value, printed value.
const PRINTED: [(&str, &str, &str); 2] = [
    ("-p", "icmpv6", "ipv6-icmp"),
    ("--limit", "10/second", "10/sec"),
];

/// The option whose value is a set.
const MATCH_SET: &str = "--match-set";

/// Options that the tools print before all others, in whatever order they were written.
const FIRST_OPTIONS: [&str; 5] = ["-s", "-d", "-i", "-o", "-p"];

/// Options whose value is free text, which the tools print unchanged in quotes.
pub(super) const TEXT_OPTIONS: [&str; 3] = ["--comment", "--log-prefix", "--nflog-prefix"];

/// Options whose value is an address. The tools always print the prefix length.
const ADDRESS_OPTIONS: [&str; 3] = ["-s", "-d", "--ctorigdst"];

impl RuleText {
    /// Creates a rule from its text, without counters.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            counters: None,
        }
    }

    /// Returns the text as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the words without quotes, each as the tools print it, with the options that may be
    /// in any order first and sorted. Rules with equal words do the same.
    pub fn split_words(&self) -> Vec<Cow<'_, str>> {
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        let mut words = self.each_word();
        while let Some(word) = words.next() {
            let mut group = vec![word];
            // A negation belongs to the option after it.
            group.extend(if group == ["!"] { words.next() } else { None });
            let option = group.last().cloned().unwrap_or_default();
            let is_first = FIRST_OPTIONS.contains(&option.as_ref());
            group.extend(if is_first || TEXT_OPTIONS.contains(&option.as_ref()) {
                words.next()
            } else {
                None
            });
            if is_first { &mut first } else { &mut rest }.push(group);
        }

        // The order of these options has no meaning, and the tools change it.
        first.sort_unstable();
        first.into_iter().chain(rest).flatten().collect()
    }

    /// Returns whether the words are equal. The texts usually are, and then the words are not
    /// compared.
    pub fn does_same(&self, other: &RuleText) -> bool {
        self.text == other.text
            || self.each_word().eq(other.each_word())
            || self.split_words() == other.split_words()
    }

    /// Returns the names of the sets that the rule references.
    pub fn sets(&self) -> Vec<&str> {
        self.spots()
            .into_iter()
            .filter_map(|(from, to)| self.text.get(from..to))
            .collect()
    }

    /// Returns the rule's matches on sets.
    pub fn looks(&self) -> Vec<SetMatch<'_>> {
        // Most rules have no set match, and splitting into words is the costly part.
        if !self.has_sets() {
            return Vec::new();
        }

        let places: Vec<(usize, usize)> = places(&self.text).collect();
        let word = |at: Option<usize>| {
            at.and_then(|at| places.get(at))
                .and_then(|(from, to)| self.text.get(*from..*to))
                .unwrap_or_default()
        };
        let options = (0..places.len()).filter(|at| word(Some(*at)) == MATCH_SET);

        let look = |at: usize| SetMatch {
            set: word(at.checked_add(1)),
            is_negated: word(at.checked_sub(1)) == "!",
            sides: word(at.checked_add(2)),
        };
        options.map(look).collect()
    }

    /// Returns the rule with other set names.
    #[must_use]
    pub fn with_sets(&self, name: impl Fn(&str) -> String) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let mut done = 0;
        for (from, to) in self.spots() {
            text.push_str(self.text.get(done..from).unwrap_or_default());
            text.push_str(&name(self.text.get(from..to).unwrap_or_default()));
            done = to;
        }

        text.push_str(self.text.get(done..).unwrap_or_default());
        Self {
            text,
            counters: self.counters,
        }
    }

    /// Returns the comment. Empty if there is none.
    pub fn comment(&self) -> String {
        let mut behind = split(&self.text)
            .skip_while(|word| word != "--comment")
            .skip(1);
        behind.next().map_or_else(String::new, Cow::into_owned)
    }

    /// Returns the chain or target to which the rule sends packets, or `None` if it has no target.
    pub fn leads(&self) -> Option<RuleJump<'_>> {
        let (mut leads, mut option) = (None, "");
        for (from, to) in places(&self.text) {
            let word = self.text.get(from..to).unwrap_or_default();
            match option {
                "-j" => leads = Some(RuleJump::Jump(word)),
                "-g" => leads = Some(RuleJump::Goto(word)),
                _ => {}
            }
            option = word;
        }

        leads
    }

    fn each_word(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let mut option = Cow::Borrowed("");
        split(&self.text).map(move |word| {
            let word = printed(&option, word);
            option.clone_from(&word);
            word
        })
    }

    /// Returns false only if the rule certainly has no set match. The words may be part of a
    /// comment.
    fn has_sets(&self) -> bool {
        self.text.contains(MATCH_SET)
    }

    /// Returns the byte ranges of set names in the text.
    fn spots(&self) -> Vec<(usize, usize)> {
        if !self.has_sets() {
            return Vec::new();
        }
        let (mut spots, mut is_behind) = (Vec::new(), false);
        for (from, to) in places(&self.text) {
            spots.extend(is_behind.then_some((from, to)));
            is_behind = self.text.get(from..to) == Some(MATCH_SET);
        }
        spots
    }
}

/// Returns the value of an option as the tools print it.
fn printed<'text>(option: &str, value: Cow<'text, str>) -> Cow<'text, str> {
    if let Some(row) = PRINTED.iter().find(|row| row.0 == option && row.1 == value) {
        return Cow::Borrowed(row.2);
    }
    match ADDRESS_OPTIONS.contains(&option) && !value.contains('/') {
        true => Cow::Owned(format!(
            "{value}/{}",
            if value.contains(':') { 128 } else { 32 }
        )),
        false => value,
    }
}

/// Splits a line into words without quotes.
fn split(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let word = move |(from, to): (usize, usize)| {
        let word = text.get(from..to).unwrap_or_default();
        match word
            .strip_prefix('"')
            .and_then(|word| word.strip_suffix('"'))
        {
            None => Cow::Borrowed(word),
            Some(inner) if inner.contains('\\') => Cow::Owned(unescaped(inner)),
            Some(inner) => Cow::Borrowed(inner),
        }
    };
    places(text).map(word)
}

/// Returns the byte ranges of the words of a line, including quotes. Follows `add_param_to_argv` of
/// iptables-restore.
fn places(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut next = 0;

    std::iter::from_fn(move || {
        let bytes = text.as_bytes().get(next..).unwrap_or_default();
        let start = next + bytes.iter().position(|byte| *byte != b' ')?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let length = text
            .as_bytes()
            .get(start..)
            .unwrap_or_default()
            .iter()
            .position(|byte| {
                let is_gap = *byte == b' ' && !is_quoted;
                // A quotation may begin anywhere in a word.
                is_quoted ^= *byte == b'"' && !is_escaped;
                is_escaped = *byte == b'\\' && !is_escaped;
                is_gap
            });
        next = length.map_or(text.len(), |length| start + length);
        Some((start, next))
    })
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        out.extend(if letter == '\\' {
            letters.next()
        } else {
            Some(letter)
        });
    }
    out
}
