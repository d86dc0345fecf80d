//! Selection of senders and receivers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::explain::query::QueryEnd;
use crate::inventory::{EndpointId, Inventory};
use crate::net::{Cidr, Family};
use crate::packet::endpoint_pattern::EndpointPattern;
use crate::packet_space::{AddressRange, EndpointClassId, EndpointClasses};
use crate::selector::Expr;

/// Selects endpoints and addresses: those that meet every condition, without the exceptions.
#[derive(Debug, Clone)]
pub struct PartySelector {
    pub(super) words: String,
    pub(super) conditions: Vec<PartyCondition>,
    pub(super) except: Vec<PartySelector>,
}

/// A condition. A selector without conditions selects everything, inside and outside the cluster.
#[derive(Debug, Clone)]
pub(super) enum PartyCondition {
    /// The address belongs to no endpoint.
    Outside,
    /// A name, a service account or a prefix matches.
    Is(EndpointPattern),
    /// The endpoint is in a namespace.
    Namespace(String),
    /// A label selector selects the endpoint.
    Selected(Expr),
}

/// An address, with the endpoint that has it; or an endpoint without address.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndpointAddress {
    pub(super) owner: Option<EndpointId>,
    pub(super) address: Option<IpAddr>,
}

/// The selected addresses by class. A class of addresses outside has one example.
pub(super) type EndpointAddresses = BTreeMap<(Family, EndpointClassId), Vec<EndpointAddress>>;

impl PartySelector {
    /// Returns the selector in short form, as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.words
    }

    /// Returns everything that the selector selects.
    pub(super) fn spots(
        &self,
        places: &EndpointClasses<'_>,
        inventory: &Inventory,
    ) -> EndpointAddresses {
        let mut spots = EndpointAddresses::new();
        let everywhere = inventory
            .endpoints_with_ids()
            .flat_map(|(id, _)| places.of_endpoint(id).iter().map(move |place| (id, place)));
        for (id, place) in everywhere {
            let spot = EndpointAddress {
                owner: Some(id),
                address: place.address,
            };
            if self.means(spot, inventory) {
                spots
                    .entry((place.family, place.class))
                    .or_default()
                    .push(spot);
            }
        }

        let mut firsts = BTreeSet::new();
        self.add_boundaries(&mut firsts);
        for (id, class) in places.classes() {
            // documentation addresses come first, so that examples are recognisable
            let known = class.outside.iter().filter_map(|range| well_known(*range));
            let pieces = class
                .outside
                .iter()
                .flat_map(|range| pieces(*range, &firsts));
            let mut spots_outside = known.chain(pieces).map(|address| EndpointAddress {
                owner: None,
                address: Some(address),
            });
            if let Some(spot) = spots_outside.find(|spot| self.means(*spot, inventory)) {
                spots.insert((class.family, id), vec![spot]);
            }
        }

        spots
    }

    /// Returns why the selector selects nothing, if a name in it does not exist.
    pub(super) fn unknown(&self, inventory: &Inventory) -> Option<String> {
        let resolve = |condition: &PartyCondition| match condition {
            PartyCondition::Is(subject) => subject.resolve(inventory).err(),
            PartyCondition::Outside
            | PartyCondition::Namespace(_)
            | PartyCondition::Selected(_) => None,
        };
        let diagnostic = self.conditions.iter().find_map(resolve)?;
        Some(diagnostic.help.map_or(diagnostic.message.clone(), |help| {
            format!("{}; {help}", diagnostic.message)
        }))
    }

    fn means(&self, spot: EndpointAddress, inventory: &Inventory) -> bool {
        let holds = self
            .conditions
            .iter()
            .all(|condition| condition.holds(spot, inventory));
        holds
            && !self
                .except
                .iter()
                .any(|except| except.means(spot, inventory))
    }

    /// Adds the first addresses of all ranges that the conditions distinguish.
    fn add_boundaries(&self, firsts: &mut BTreeSet<(Family, u128)>) {
        for condition in &self.conditions {
            if let PartyCondition::Is(EndpointPattern::Addresses(cidr)) = condition {
                let range = AddressRange::from_prefix(*cidr);
                firsts.insert((range.family, range.first));
                firsts.extend(range.last.checked_add(1).map(|next| (range.family, next)));
            }
        }
        self.except
            .iter()
            .for_each(|except| except.add_boundaries(firsts));
    }
}

/// Splits a range at these first addresses, and returns the first address of every part.
fn pieces(range: AddressRange, firsts: &BTreeSet<(Family, u128)>) -> impl Iterator<Item = IpAddr> {
    let inside = firsts
        .range((range.family, range.first)..=(range.family, range.last))
        .map(|(_, first)| *first);
    let starts =
        std::iter::once(range.first).chain(inside.filter(move |first| *first != range.first));
    starts.map(move |first| AddressRange { first, ..range }.first_address())
}

/// Returns a documentation address in a range (RFC 5737, RFC 3849), or `None` if it contains none.
fn well_known(range: AddressRange) -> Option<IpAddr> {
    let address = match range.family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    };
    (range.first..=range.last)
        .contains(&AddressRange::at(address).first)
        .then_some(address)
}

impl PartyCondition {
    fn holds(&self, spot: EndpointAddress, inventory: &Inventory) -> bool {
        let endpoint = spot.owner.map(|id| inventory.endpoint(id));

        match self {
            PartyCondition::Outside => endpoint.is_none(),
            PartyCondition::Is(EndpointPattern::Addresses(cidr)) => {
                spot.address.is_some_and(|address| cidr.holds(address))
            }
            PartyCondition::Is(subject) => endpoint.is_some_and(|endpoint| subject.means(endpoint)),
            PartyCondition::Namespace(name) => {
                endpoint.is_some_and(|endpoint| *endpoint.namespace == **name)
            }
            PartyCondition::Selected(selector) => {
                endpoint.is_some_and(|endpoint| selector.matches(&inventory.labels(endpoint)))
            }
        }
    }
}

impl EndpointAddress {
    /// Returns the end of a case.
    pub(super) fn end(self) -> Option<QueryEnd> {
        match self.owner {
            Some(id) => Some(QueryEnd::Endpoint(id, self.address)),
            None => self
                .address
                .map(|address| QueryEnd::Addresses(Cidr::host(address))),
        }
    }
}
