//! Who sends and receives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::explain::query::End;
use crate::inventory::{EndpointId, Inventory};
use crate::net::{Cidr, Family};
use crate::packet::endpoint_pattern::Subject;
use crate::packet_space::{ClassId, Places, Range};
use crate::selector::Expr;

/// Endpoints and addresses: all for which every condition holds, without the exceptions.
#[derive(Debug, Clone)]
pub struct Who {
    pub(super) words: String,
    pub(super) conditions: Vec<Condition>,
    pub(super) except: Vec<Who>,
}

/// A condition. Without any, everyone is meant, inside and outside.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// It is no endpoint.
    Outside,
    /// It is meant by a name, a service account or a prefix.
    Is(Subject),
    /// It is an endpoint of a namespace.
    Namespace(String),
    /// It is an endpoint that a selector selects.
    Selected(Expr),
}

/// Somebody with an address, or an endpoint without.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) owner: Option<EndpointId>,
    pub(super) address: Option<IpAddr>,
}

/// Where somebody can be: the classes, with everyone meant in each; of addresses outside, one.
pub(super) type Spots = BTreeMap<(Family, ClassId), Vec<Spot>>;

impl Who {
    /// As it was written, in short.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Everyone meant.
    pub(super) fn spots(&self, places: &Places<'_>, inventory: &Inventory) -> Spots {
        let mut spots = Spots::new();
        let everywhere = inventory
            .endpoints_with_ids()
            .flat_map(|(id, _)| places.of_endpoint(id).iter().map(move |place| (id, place)));
        for (id, place) in everywhere {
            let spot = Spot {
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
        self.cut(&mut firsts);
        for (id, class) in places.classes() {
            let known = class.outside.iter().filter_map(|range| well_known(*range));
            let pieces = class
                .outside
                .iter()
                .flat_map(|range| pieces(*range, &firsts));
            let mut spots_outside = known.chain(pieces).map(|address| Spot {
                owner: None,
                address: Some(address),
            });
            if let Some(spot) = spots_outside.find(|spot| self.means(*spot, inventory)) {
                spots.insert((class.family, id), vec![spot]);
            }
        }
        spots
    }

    /// Why nobody is meant, where a name is wrong.
    pub(super) fn unknown(&self, inventory: &Inventory) -> Option<String> {
        let resolve = |condition: &Condition| match condition {
            Condition::Is(subject) => subject.resolve(inventory).err(),
            Condition::Outside | Condition::Namespace(_) | Condition::Selected(_) => None,
        };
        let diagnostic = self.conditions.iter().find_map(resolve)?;
        Some(diagnostic.help.map_or(diagnostic.message.clone(), |help| {
            format!("{}; {help}", diagnostic.message)
        }))
    }

    fn means(&self, spot: Spot, inventory: &Inventory) -> bool {
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

    /// The first addresses of all ranges that conditions tell apart.
    fn cut(&self, firsts: &mut BTreeSet<(Family, u128)>) {
        for condition in &self.conditions {
            if let Condition::Is(Subject::Addresses(cidr)) = condition {
                let range = Range::of(*cidr);
                firsts.insert((range.family, range.first));
                firsts.extend(range.last.checked_add(1).map(|next| (range.family, next)));
            }
        }
        self.except.iter().for_each(|except| except.cut(firsts));
    }
}

/// The first address of every piece of a range.
fn pieces(range: Range, firsts: &BTreeSet<(Family, u128)>) -> impl Iterator<Item = IpAddr> {
    let inside = firsts
        .range((range.family, range.first)..=(range.family, range.last))
        .map(|(_, first)| *first);
    let starts =
        std::iter::once(range.first).chain(inside.filter(move |first| *first != range.first));
    starts.map(move |first| Range { first, ..range }.first_address())
}

/// An address of a range that people take for an example (RFC 5737, RFC 3849), where it has one.
fn well_known(range: Range) -> Option<IpAddr> {
    let address = match range.family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    };
    (range.first..=range.last)
        .contains(&Range::at(address).first)
        .then_some(address)
}

impl Condition {
    fn holds(&self, spot: Spot, inventory: &Inventory) -> bool {
        let endpoint = spot.owner.map(|id| inventory.endpoint(id));
        match self {
            Condition::Outside => endpoint.is_none(),
            Condition::Is(Subject::Addresses(cidr)) => {
                spot.address.is_some_and(|address| cidr.holds(address))
            }
            Condition::Is(subject) => endpoint.is_some_and(|endpoint| subject.means(endpoint)),
            Condition::Namespace(name) => {
                endpoint.is_some_and(|endpoint| *endpoint.namespace == **name)
            }
            Condition::Selected(selector) => {
                endpoint.is_some_and(|endpoint| selector.matches(&inventory.labels(endpoint)))
            }
        }
    }
}

impl Spot {
    /// As an end of a case.
    pub(super) fn end(self) -> Option<End> {
        match self.owner {
            Some(id) => Some(End::Endpoint(id, self.address)),
            None => self
                .address
                .map(|address| End::Addresses(Cidr::host(address))),
        }
    }
}
