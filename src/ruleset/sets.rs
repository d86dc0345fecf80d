//! Text of `ipset restore` and `ipset save`.

use std::collections::BTreeMap;
use std::fmt;

use crate::net::{Family, SetSize};
use crate::ruleset::{ParsedMember, SetKind, is_ours};

/// Palisade's sets, by name.
pub type ParsedSets = BTreeMap<String, ParsedSet>;

/// A set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedSet {
    /// Type and family. `None` if Palisade does not create this type, or if the set has options
    /// that Palisade does not use.
    pub kind: Option<SetKind>,
    /// Number of buckets at creation; the kernel adds buckets as the set grows. 0 for types without
    /// buckets.
    pub hashsize: u32,
    /// Maximum number of members. 0 for types that can hold all possible members.
    pub maxelem: u32,
    /// Members, sorted and without duplicates.
    pub members: Vec<ParsedMember>,
}

/// A line that does not belong in a script for ipset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with the line.
    pub problem: String,
}

/// Options of `create` that newer versions of ipset print and that do not affect the members.
const IGNORED_OPTIONS: [&str; 2] = ["bucketsize", "initval"];

impl ParsedSet {
    /// Returns the size with which the set is created.
    pub fn size(&self) -> SetSize {
        SetSize {
            hashsize: self.hashsize,
            maxelem: self.maxelem,
        }
    }

    /// Reads Palisade's sets from a script, and skips lines about other sets.
    ///
    /// # Errors
    /// The first line that is not `create` or `add`, or whose member does not fit its set.
    pub fn read(text: &str) -> Result<ParsedSets, SetError> {
        let mut reader = SetReader::default();
        for (number, line) in (1..)
            .zip(text.lines())
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        {
            reader.read_line(line).map_err(|problem| SetError {
                line: number,
                problem,
            })?;
        }

        let mut sets = reader.finish();
        for set in sets.values_mut() {
            // `ipset save` lists the members of a hash in bucket order.
            set.members.sort_unstable();
            set.members.dedup();
        }

        Ok(sets)
    }

    /// Returns whether the other set can hold the same members and is matched the same way. The
    /// kernel's `swap` requires no more.
    pub fn is_like(&self, other: &ParsedSet) -> bool {
        self.kind.is_some() && self.kind == other.kind
    }

    /// Returns the `create` line for the set under a name. Empty for types that Palisade does not
    /// create.
    pub fn create_line(&self, name: &str) -> String {
        match self.kind {
            None => String::new(),
            Some(SetKind::Ports) => format!("create {name} {}\n", SetKind::Ports.type_name()),
            Some(kind) => format!(
                "create {name} {} hashsize {} maxelem {}\n",
                kind.type_name(),
                self.hashsize,
                self.maxelem
            ),
        }
    }
}

/// The sets read so far.
#[derive(Default)]
struct SetReader<'text> {
    sets: ParsedSets,
    /// The set of the last line. The next line is mostly about the same set, so this saves a
    /// lookup.
    last: Option<(&'text str, ParsedSet)>,
}

impl<'text> SetReader<'text> {
    fn read_line(&mut self, line: &'text str) -> Result<(), String> {
        let unknown = || format!("unknown line `{line}`");
        let (verb, rest) = line.split_once(' ').ok_or_else(unknown)?;
        let (name, rest) = rest.split_once(' ').ok_or_else(unknown)?;

        match verb {
            "create" | "add" if !is_ours(name) => Ok(()),
            "create" => match self.turn_to(name) {
                None => {
                    self.last = Some((name, create(rest)));
                    Ok(())
                }
                Some(_) => Err(format!("`{name}` is created twice")),
            },
            "add" => {
                let set = self
                    .turn_to(name)
                    .ok_or_else(|| format!("there is no set `{name}`"))?;
                // Members of types that Palisade does not create are not parsed.
                let Some(kind) = set.kind else { return Ok(()) };
                let (word, is_exception) = rest
                    .strip_suffix(" nomatch")
                    .map_or((rest, false), |word| (word, true));
                kind.parse_member(word, is_exception, &mut set.members)
                    .ok_or_else(|| format!("bad member `{rest}` of `{name}`"))
            }
            _ => Err(unknown()),
        }
    }

    /// Returns the set with this name, if it exists.
    fn turn_to(&mut self, name: &'text str) -> Option<&mut ParsedSet> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != name) {
            self.put_back();
            self.last = self.sets.remove(name).map(|set| (name, set));
        }
        self.last.as_mut().map(|(_, set)| set)
    }

    fn put_back(&mut self) {
        self.sets
            .extend(self.last.take().map(|(name, set)| (name.to_owned(), set)));
    }

    fn finish(mut self) -> ParsedSets {
        self.put_back();
        self.sets
    }
}

/// Parses the arguments of `create`. The set has no kind if any option is unknown.
fn create(words: &str) -> ParsedSet {
    let mut set = ParsedSet {
        kind: None,
        hashsize: 0,
        maxelem: 0,
        members: Vec::new(),
    };
    let mut words = words.split(' ').filter(|word| !word.is_empty());
    let kind = words.next();
    let mut family = None;
    let mut is_known = true;

    while let Some(option) = words.next() {
        let value = words.next().unwrap_or_default();
        match option {
            "family" => family = family_of(value),
            "hashsize" => set.hashsize = value.parse().unwrap_or_default(),
            "maxelem" => set.maxelem = value.parse().unwrap_or_default(),
            "range" if value == "0-65535" => {}
            // An unknown option may change what the set matches, so the set must not be reused.
            option => is_known &= IGNORED_OPTIONS.contains(&option),
        }
    }

    set.kind = match (kind, family) {
        (Some("hash:net"), Some(family)) => Some(SetKind::Nets(family)),
        (Some("hash:ip,port"), Some(family)) => Some(SetKind::Services(family)),
        (Some("bitmap:port"), None) => Some(SetKind::Ports),
        _ => None,
    }
    .filter(|_| is_known);

    set
}

fn family_of(word: &str) -> Option<Family> {
    match word {
        "inet" => Some(Family::V4),
        "inet6" => Some(Family::V6),
        _ => None,
    }
}

impl std::error::Error for SetError {}

impl fmt::Display for SetError {
    /// Formats `line 3: no set web`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.problem)
    }
}
