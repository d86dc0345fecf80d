//! Matches and targets that a user's templates may add to scripts.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::options::known_extensions::{KnownExtension, MATCHES, TARGETS};

/// Names of matches and targets that scripts may use in addition to Palisade's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionSet {
    names: BTreeSet<ExtensionName>,
    /// Whether all names that can be allowed are allowed.
    has_every: bool,
}

/// The name of a match, such as `tcp`, or of a target, such as `NFLOG`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtensionName(String);

/// Matches whose options Palisade itself parses.
const OWN_MATCHES: [&str; 7] = [
    "comment",
    "multiport",
    "icmp",
    "icmp6",
    "conntrack",
    "rpfilter",
    "set",
];

/// `XT_EXTENSION_MAXNAMELEN` 29, minus the terminator (linux/netfilter/x_tables.h).
const LONGEST_NAME: usize = 28;

impl ExtensionSet {
    /// All names that can be allowed. For scripts that this node has already accepted.
    pub fn every() -> Self {
        Self {
            names: BTreeSet::new(),
            has_every: true,
        }
    }

    /// Whether scripts may use a match or a target.
    pub fn has(&self, name: &str) -> bool {
        let is_named = self.names.iter().any(|own| own.0 == name);
        is_named || self.has_every && name.parse::<ExtensionName>().is_ok()
    }

    /// Whether no names are allowed.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.has_every
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| name.0.as_str())
    }
}

impl FromIterator<ExtensionName> for ExtensionSet {
    fn from_iter<Names: IntoIterator<Item = ExtensionName>>(names: Names) -> Self {
        Self {
            names: names.into_iter().collect(),
            has_every: false,
        }
    }
}

impl FromStr for ExtensionName {
    type Err = String;

    /// Parses a name.
    ///
    /// # Errors
    /// Returns a message if no extension has the name, or if the extension can never be allowed.
    fn from_str(name: &str) -> Result<Self, String> {
        let is_of = |own: fn(&u8) -> bool| {
            let mut bytes = name.bytes();
            bytes.all(|byte| own(&byte) || byte.is_ascii_digit() || byte == b'_')
        };
        let is_short = (1..=LONGEST_NAME).contains(&name.len());
        let is_target = is_short && is_of(u8::is_ascii_uppercase);
        let is_match = is_short && is_of(u8::is_ascii_lowercase);

        // Palisade reads these matches strictly. Allowing them freely would bypass its checks.
        if OWN_MATCHES.contains(&name) {
            let problem = "is allowed always, in the form in which palisade writes it";
            return Err(format!("`{name}` {problem}"));
        }
        if KnownExtension::find(name).is_some() {
            return Ok(Self(name.to_owned()));
        }

        let known = |known: &[KnownExtension]| {
            let names: Vec<&str> = known.iter().map(|known| known.name).collect();
            names.join(", ")
        };

        match (is_target, is_match) {
            (true, _) => Err(format!(
                "`{name}` may do more than drop or observe; targets that may be allowed: {}",
                known(&TARGETS)
            )),
            (false, true) => Err(format!(
                "`{name}` may do more than ask about a packet; matches that may be allowed: {}",
                known(&MATCHES)
            )),
            (false, false) => Err(format!(
                "`{}` is no name of a match or target",
                name.escape_debug()
            )),
        }
    }
}

impl fmt::Display for ExtensionName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
