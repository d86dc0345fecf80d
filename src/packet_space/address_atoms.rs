//! Address atoms: ranges of addresses that no list of prefixes distinguishes.
//!
//! Cost: `O(p log p)` for `p` prefixes in all lists, plus one step for each time a prefix contains
//! another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use crate::net::{Cidr, Family};

/// The id of a prefix list of one [`AddressAtoms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PrefixListId(u32);

/// The id of the set of lists that contain an address. Equal sets have equal ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PrefixListsId(u32);

/// The addresses from the first to the last, inclusive, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// The family.
    pub family: Family,
    /// The first address, as a number.
    pub first: u128,
    /// The last address, as a number.
    pub last: u128,
}

/// The addresses of both families as ranges, each with the lists that contain it.
#[derive(Debug)]
pub(super) struct AddressAtoms {
    sets: IndexSet<Vec<PrefixListId>, FxBuildHasher>,
    /// The ranges in order, without gaps.
    ranges: Vec<(AddressRange, PrefixListsId)>,
}

/// The prefix lists that [`AddressAtoms`] are built from.
#[derive(Debug, Default)]
pub(super) struct PrefixLists {
    prefixes: Vec<(Cidr, PrefixListId)>,
    count: u32,
}

impl PrefixLists {
    /// Adds a list and returns its id.
    pub(super) fn add(&mut self, prefixes: impl IntoIterator<Item = Cidr>) -> PrefixListId {
        let id = PrefixListId(self.count);
        self.count += 1;
        self.prefixes
            .extend(prefixes.into_iter().map(|prefix| (prefix, id)));
        id
    }
}

impl PrefixListsId {
    /// The empty set of lists.
    pub(super) const NONE: PrefixListsId = PrefixListsId(0);
}

impl AddressAtoms {
    /// Partitions the addresses of both families at the boundaries of all prefixes.
    pub(super) fn from_lists(mut lists: PrefixLists) -> Self {
        // the sweep relies on this order: a prefix comes before the prefixes that it contains
        lists.prefixes.sort_unstable();
        lists.prefixes.dedup();
        let mut addresses = Self {
            sets: IndexSet::default(),
            ranges: Vec::new(),
        };
        addresses.intern(Vec::new());

        for family in Family::BOTH {
            let of_family = lists
                .prefixes
                .iter()
                .filter(|(prefix, _)| prefix.family() == family);
            let mut sweep = PrefixSweep {
                addresses: &mut addresses,
                family,
                open: Vec::new(),
                next: Some(0),
            };
            of_family.for_each(|(prefix, list)| sweep.begin(*prefix, *list));
            sweep.end();
        }

        addresses
    }

    /// Returns the ranges in order, each with the lists that contain it. Together they cover all
    /// addresses of both families.
    pub(super) fn ranges(&self) -> &[(AddressRange, PrefixListsId)] {
        &self.ranges
    }

    /// Returns the lists that contain an address.
    pub(super) fn around(&self, address: IpAddr) -> PrefixListsId {
        let at = AddressRange::at(address);
        let after = self
            .ranges
            .partition_point(|(range, _)| (range.family, range.first) <= (at.family, at.first));
        self.ranges
            .get(after.wrapping_sub(1))
            .map_or(PrefixListsId::NONE, |(_, lists)| *lists)
    }

    /// Returns `true` if `list` is one of `lists`.
    pub(super) fn holds(&self, lists: PrefixListsId, list: PrefixListId) -> bool {
        self.lists(lists).binary_search(&list).is_ok()
    }

    /// Returns the lists of an id, in order.
    pub(super) fn lists(&self, lists: PrefixListsId) -> &[PrefixListId] {
        self.sets
            .get_index(lists.0 as usize)
            .map_or(&[], Vec::as_slice)
    }

    fn intern(&mut self, lists: Vec<PrefixListId>) -> PrefixListsId {
        let (index, _) = self.sets.insert_full(lists);
        PrefixListsId(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// Sweeps over the prefixes of a family in numeric order, shorter prefixes first, with a stack of
/// the prefixes that contain the current position.
struct PrefixSweep<'addresses> {
    addresses: &'addresses mut AddressAtoms,
    family: Family,
    /// The prefixes that contain the position, outermost first, each with its own lists and those
    /// of all prefixes around it.
    open: Vec<(AddressRange, PrefixListsId)>,
    /// The first address without a range; `None` after the last address.
    next: Option<u128>,
}

impl PrefixSweep<'_> {
    fn begin(&mut self, prefix: Cidr, list: PrefixListId) {
        let range = AddressRange::from_prefix(prefix);
        self.close_before(range.first);
        let around = self
            .open
            .last()
            .map_or(PrefixListsId::NONE, |(_, lists)| *lists);

        let mut lists = self.addresses.lists(around).to_vec();
        if let Err(place) = lists.binary_search(&list) {
            lists.insert(place, list);
        }

        self.fill(range.first.checked_sub(1), around);
        let lists = self.addresses.intern(lists);
        // several lists may contain the same prefix
        match self.open.last_mut() {
            Some((same, known)) if *same == range => *known = lists,
            Some(_) | None => self.open.push((range, lists)),
        }
    }

    /// Pops the prefixes that end before an address.
    fn close_before(&mut self, first: u128) {
        while let Some((range, lists)) = self.open.pop_if(|(range, _)| range.last < first) {
            self.fill(Some(range.last), lists);
        }
    }

    fn end(&mut self) {
        while let Some((range, lists)) = self.open.pop() {
            self.fill(Some(range.last), lists);
        }
        // the rest of the family is in no list
        self.fill(Some(last_of(self.family)), PrefixListsId::NONE);
    }

    /// Adds a range for the addresses up to `last` that have none yet.
    fn fill(&mut self, last: Option<u128>, lists: PrefixListsId) {
        let (Some(first), Some(last)) = (self.next, last) else {
            return;
        };

        if first <= last {
            self.addresses.ranges.push((
                AddressRange {
                    family: self.family,
                    first,
                    last,
                },
                lists,
            ));
            // `None` after the last IPv6 address, which has no successor
            self.next = last.checked_add(1);
        }
    }
}

fn last_of(family: Family) -> u128 {
    match family {
        Family::V4 => u32::MAX.into(),
        Family::V6 => u128::MAX,
    }
}

impl AddressRange {
    /// Returns the range of one address.
    pub fn at(address: IpAddr) -> Self {
        let (family, bits) = match address {
            IpAddr::V4(address) => (Family::V4, address.to_bits().into()),
            IpAddr::V6(address) => (Family::V6, address.to_bits()),
        };
        Self {
            family,
            first: bits,
            last: bits,
        }
    }

    /// Returns the range of a prefix.
    pub fn from_prefix(prefix: Cidr) -> Self {
        let first = Self::at(prefix.address());
        let width: u32 = match first.family {
            Family::V4 => 32,
            Family::V6 => 128,
        };
        let hosts = u128::MAX
            .checked_shr(128 - (width - u32::from(prefix.prefix())))
            .unwrap_or(0);

        Self {
            last: first.first | hosts,
            ..first
        }
    }

    /// Returns the first address.
    pub fn first_address(&self) -> IpAddr {
        self.address(self.first)
    }

    /// Returns the last address.
    pub fn last_address(&self) -> IpAddr {
        self.address(self.last)
    }

    fn address(&self, bits: u128) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
            Family::V6 => Ipv6Addr::from_bits(bits).into(),
        }
    }

    /// Returns the parts of the range without some addresses, which must be sorted.
    pub fn without<'ranges>(
        self,
        addresses: &'ranges [IpAddr],
    ) -> impl Iterator<Item = AddressRange> + 'ranges {
        let bits = |address: &IpAddr| Self::at(*address).first;
        let inside = move |address: &&IpAddr| {
            Self::at(**address).family == self.family
                && (self.first..=self.last).contains(&bits(address))
        };
        let firsts = std::iter::once(Some(self.first)).chain(
            addresses
                .iter()
                .filter(inside)
                .map(move |gone| bits(gone).checked_add(1)),
        );

        let lasts = addresses
            .iter()
            .filter(inside)
            .map(move |gone| bits(gone).checked_sub(1))
            .chain([Some(self.last)]);
        firsts.zip(lasts).filter_map(move |pair| match pair {
            (Some(first), Some(last)) if first <= last => Some(AddressRange {
                first,
                last,
                ..self
            }),
            (Some(_) | None, Some(_) | None) => None,
        })
    }

    /// Returns the fewest prefixes that cover exactly this range, in order.
    pub fn prefixes(self) -> Vec<Cidr> {
        let width: u8 = if self.family == Family::V4 { 32 } else { 128 };
        let (mut next, mut prefixes) = (Some(self.first), Vec::new());
        while let Some(first) = next.filter(|first| *first <= self.last) {
            // a prefix can have as many host bits as the first address has trailing zeros, and as
            // many as fit before the last address
            let left = (self.last - first)
                .checked_add(1)
                .map_or(u128::BITS, u128::ilog2);
            let hosts = u8::try_from(first.trailing_zeros().min(left))
                .unwrap_or(width)
                .min(width);
            prefixes.extend(Cidr::around(self.address(first), width - hosts));
            next = 1u128
                .checked_shl(hosts.into())
                .and_then(|size| first.checked_add(size));
        }

        prefixes
    }
}
