//! Sizes of hash sets, which scripts state and readers compare.

use std::fmt;

/// The size that a hash set is created in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetSize {
    /// Buckets, for which the kernel takes memory at once; it makes more as the set grows.
    pub hashsize: u32,
    /// The most members that the set takes.
    pub maxelem: u32,
}

impl SetSize {
    /// ipset's own default, which small sets have.
    const LEAST: SetSize = SetSize {
        hashsize: 1024,
        maxelem: 65_536,
    };

    /// The size for so many members. The set has room for twice as many, so that it need not be
    /// made anew when some are added.
    pub fn for_members(members: usize) -> Self {
        let elements = members.checked_next_power_of_two().unwrap_or(usize::MAX);
        let elements = u32::try_from(elements).unwrap_or(u32::MAX);
        Self {
            hashsize: elements.max(Self::LEAST.hashsize),
            maxelem: elements.saturating_mul(2).max(Self::LEAST.maxelem),
        }
    }
}

impl fmt::Display for SetSize {
    /// As `create` takes it: `hashsize 1024 maxelem 65536`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "hashsize {} maxelem {}", self.hashsize, self.maxelem)
    }
}
