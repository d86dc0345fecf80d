//! Patterns of interface names.

use std::fmt;
use std::str::FromStr;

/// The longest name of an interface: `IFNAMSIZ` less the end of the string (linux/if.h).
const LONGEST: usize = 15;

/// Interfaces by name, as iptables(8) takes them: `eth0`, or `cali+` for all names that begin with
/// `cali`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfacePattern(String);

impl InterfacePattern {
    /// The part that names begin with, or are.
    pub fn stem(&self) -> &str {
        self.0.strip_suffix('+').unwrap_or(&self.0)
    }

    /// Whether names may go on behind the stem.
    pub fn is_open(&self) -> bool {
        self.0.ends_with('+')
    }

    /// Whether an interface of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_open() {
            name.starts_with(self.stem())
        } else {
            name == self.stem()
        }
    }
}

impl FromStr for InterfacePattern {
    type Err = String;

    /// Reads a pattern.
    ///
    /// # Errors
    /// When the text is no name of an interface, but for one `+` at its end. A `+` alone is
    /// refused: it would say that pods are behind every interface.
    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = Self(text.to_owned());
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
        let stem = pattern.stem();

        let is_name = !stem.is_empty() && text.len() <= LONGEST && !stem.starts_with('-');
        if is_name && stem.chars().all(is_letter) && ![".", ".."].contains(&stem) {
            return Ok(pattern);
        }
        Err(format!(
            "`{}` is no name of an interface, nor the beginning of one as in `cali+`",
            text.escape_debug()
        ))
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
