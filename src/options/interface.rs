//! Patterns of interface names.

use std::fmt;
use std::str::FromStr;

/// Maximum length of an interface name: `IFNAMSIZ`, minus the terminator (linux/if.h).
const LONGEST: usize = 15;

/// A pattern of interface names, in the syntax of iptables(8): `eth0`, or `cali+` for all names
/// that start with `cali`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfacePattern(String);

impl InterfacePattern {
    /// The text before the `+`, or the whole name.
    pub fn stem(&self) -> &str {
        self.0.strip_suffix('+').unwrap_or(&self.0)
    }

    /// Whether more characters may follow the stem.
    pub fn is_open(&self) -> bool {
        self.0.ends_with('+')
    }

    /// Whether the pattern matches an interface name.
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

    /// Parses a pattern.
    ///
    /// # Errors
    /// Returns a message if the text is not an interface name with an optional `+` at the end. A
    /// single `+` is refused, because it would declare every interface a pod interface.
    fn from_str(text: &str) -> Result<Self, String> {
        let pattern = Self(text.to_owned());
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
        let stem = pattern.stem();

        // A leading `-` would read as an option in a script. The kernel refuses `.` and `..`.
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
