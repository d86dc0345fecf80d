//! Address prefixes.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::net::Family;

/// A prefix without host bits. The order is that of members in scripts: IPv4 before IPv6, then by
/// address, then shorter prefixes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CidrError {
    /// Not an address, or not a prefix length.
    Malformed,
    /// An address without `/length` where a prefix is required.
    NoPrefixLength,
    /// Bits after the prefix are set. Contains the prefix that was probably meant.
    HostBits(Cidr),
}

impl Cidr {
    /// Parses `address/length` strictly: the length is required, and host bits must be zero.
    ///
    /// # Errors
    /// See [`CidrError`].
    pub fn parse_strict(text: &str) -> Result<Self, CidrError> {
        let network: IpNetwork = text.parse().map_err(|_| CidrError::Malformed)?;
        let Some((_, length)) = text.split_once('/') else {
            return Err(CidrError::NoPrefixLength);
        };
        if !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CidrError::Malformed); // `ipnetwork` takes netmasks, Calico does not
        }

        let masked = Self::masked(network);
        match network.ip() == masked.address {
            true => Ok(masked),
            false => Err(CidrError::HostBits(masked)),
        }
    }

    /// Parses an address or a prefix and drops host bits, as Calico does for the `nets` of network
    /// sets. Returns `None` if the text is neither.
    pub fn parse_lenient(text: &str) -> Option<Self> {
        text.parse().ok().map(Self::masked)
    }

    /// The prefix that contains a single address.
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            prefix: if address.is_ipv4() { 32 } else { 128 },
        }
    }

    /// The prefix with a length that contains the address. Returns `None` if the length exceeds
    /// that of the address family.
    pub fn around(address: IpAddr, prefix: u8) -> Option<Self> {
        IpNetwork::new(address, prefix).ok().map(Self::masked)
    }

    fn masked(network: IpNetwork) -> Self {
        Self {
            address: network.network(),
            prefix: network.prefix(),
        }
    }

    /// Sort key as numbers. Comparing these is several times faster than comparing addresses.
    fn key(self) -> (bool, u128, u8) {
        match self.address {
            IpAddr::V4(address) => (false, address.to_bits().into(), self.prefix),
            IpAddr::V6(address) => (true, address.to_bits(), self.prefix),
        }
    }

    /// The first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Prefix length in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The family.
    pub fn family(self) -> Family {
        if self.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// Whether this is `0.0.0.0/0` or `::/0`.
    pub fn is_everything(self) -> bool {
        self.prefix == 0
    }

    /// Whether `self` contains every address of `other`.
    pub fn contains(self, other: Cidr) -> bool {
        self.family() == other.family() && self.prefix <= other.prefix && self.holds(other.address)
    }

    /// Whether the prefix contains the address.
    pub fn holds(self, address: IpAddr) -> bool {
        let keep = |bits: u8, width: u8| u32::from(width.saturating_sub(bits));
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = keep(self.prefix, 32);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = keep(self.prefix, 128);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The two halves of the prefix, or `None` for a single address.
    pub fn halves(self) -> Option<[Cidr; 2]> {
        let prefix = self.prefix + 1;
        let upper = match self.address {
            IpAddr::V4(low) => IpAddr::V4(
                (low.to_bits() | 1u32.checked_shl(32u32.checked_sub(prefix.into())?)?).into(),
            ),
            IpAddr::V6(low) => IpAddr::V6(
                (low.to_bits() | 1u128.checked_shl(128u32.checked_sub(prefix.into())?)?).into(),
            ),
        };

        Some([
            Self {
                address: self.address,
                prefix,
            },
            Self {
                address: upper,
                prefix,
            },
        ])
    }
}

/// The smallest list of prefixes that contains the same addresses, in order. `/0` becomes its two
/// halves, because ipset has no `/0`.
///
/// Cost: a sort, then linear.
pub fn merge_prefixes(mut nets: Vec<Cidr>) -> Vec<Cidr> {
    nets.sort_unstable();
    let mut merged: Vec<Cidr> = Vec::with_capacity(nets.len());
    for net in nets {
        // A containing prefix sorts before everything that it contains.
        if merged.last().is_some_and(|last| last.contains(net)) {
            continue;
        }
        merged.push(net);
        // A merged pair may be the second half of a larger prefix, so merging cascades.
        while let [.., left, right] = merged.as_slice()
            && let Some(parent) = parent_of(*left, *right)
        {
            merged.truncate(merged.len() - 2);
            merged.push(parent);
        }
    }

    let halves = |net: Cidr| match net.halves() {
        Some(halves) if net.is_everything() => halves.to_vec(),
        Some(_) | None => vec![net],
    };
    merged.into_iter().flat_map(halves).collect()
}

/// The prefix whose halves these are, if any.
fn parent_of(left: Cidr, right: Cidr) -> Option<Cidr> {
    let parent = Cidr::around(left.address, left.prefix.checked_sub(1)?)?;
    (parent.halves() == Some([left, right])).then_some(parent)
}

impl Ord for Cidr {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Cidr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Cidr {
    /// `10.0.0.0/8`. A single address has no length, as ipset lists it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self == Self::host(self.address) {
            true => write!(out, "{}", self.address),
            false => write!(out, "{}/{}", self.address, self.prefix),
        }
    }
}
