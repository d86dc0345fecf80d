//! Sizes of hash sets, which scripts declare and readers compare.

use std::fmt;

/// The size with which a hash set is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetSize {
    /// Number of buckets. The kernel allocates memory for them at creation, and adds more as the
    /// set grows.
    pub hashsize: u32,
    /// Maximum number of members.
    pub maxelem: u32,
}

impl SetSize {
    /// ipset's own default. Small sets have this size.
    const LEAST: SetSize = SetSize {
        hashsize: 1024,
        maxelem: 65_536,
    };

    /// The size for a number of members. The set has room for twice as many, so that it need not be
    /// recreated when members are added.
    pub fn for_members(members: usize) -> Self {
        // The kernel rounds `hashsize` up to a power of two.
        let elements = members.checked_next_power_of_two().unwrap_or(usize::MAX);
        let elements = u32::try_from(elements).unwrap_or(u32::MAX);
        Self {
            hashsize: elements.max(Self::LEAST.hashsize),
            maxelem: elements.saturating_mul(2).max(Self::LEAST.maxelem),
        }
    }
}

impl fmt::Display for SetSize {
    /// As in `create`: `hashsize 1024 maxelem 65536`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "hashsize {} maxelem {}", self.hashsize, self.maxelem)
    }
}
