//! Groups the cases of an answer into pairs that one line can describe.

use std::collections::{BTreeMap, BTreeSet};

use crate::explain::ExplainedGroup;
use crate::explain::query::{QueryCase, QueryEnd, joined};
use crate::inventory::{EndpointId, Inventory};
use crate::net::{Cidr, Family};

/// The maximum number of prefixes in a line.
const MOST_PREFIXES: usize = 8;

/// Senders and receivers, every one of them paired with every other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct PartyPair {
    pub(super) from: PartyGroup,
    pub(super) to: PartyGroup,
    /// The families of the cases.
    pub(super) families: BTreeSet<Family>,
}

/// An endpoint with its addresses, or addresses outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartyGroup {
    pub(super) endpoint: Option<EndpointId>,
    pub(super) addresses: Vec<Cidr>,
}

/// The properties that separate cases: the endpoints; between addresses outside, the sender's
/// prefix, because not all of them may be allowed to reach all receivers.
type CaseKey = (Option<EndpointId>, Option<EndpointId>, Option<Cidr>);

/// Returns the pairs of a group, in order.
pub(in crate::report) fn pairs(group: &ExplainedGroup<'_>) -> Vec<PartyPair> {
    let mut found: BTreeMap<CaseKey, Vec<QueryCase>> = BTreeMap::new();
    for case in &group.cases {
        found.entry(key(case)).or_default().push(*case);
    }

    let party = |cases: &[QueryCase], end: fn(&QueryCase) -> QueryEnd| {
        let addresses: BTreeSet<Cidr> = cases
            .iter()
            .filter_map(|case| addresses(end(case)))
            .collect();
        PartyGroup {
            endpoint: cases.first().and_then(|case| endpoint(end(case))),
            addresses: joined(addresses.into_iter().collect()),
        }
    };

    let pair = |cases: Vec<QueryCase>| PartyPair {
        from: party(&cases, |case| case.from),
        to: party(&cases, |case| case.to),
        families: cases.iter().map(|case| case.flow.family).collect(),
    };
    found.into_values().map(pair).collect()
}

fn key(case: &QueryCase) -> CaseKey {
    match (case.from, case.to) {
        (QueryEnd::Addresses(from), QueryEnd::Addresses(_)) => (None, None, Some(from)),
        (from, to) => (endpoint(from), endpoint(to), None),
    }
}

fn endpoint(end: QueryEnd) -> Option<EndpointId> {
    match end {
        QueryEnd::Endpoint(id, _) => Some(id),
        QueryEnd::Addresses(_) => None,
    }
}

fn addresses(end: QueryEnd) -> Option<Cidr> {
    match end {
        QueryEnd::Endpoint(_, address) => address.map(Cidr::host),
        QueryEnd::Addresses(cidr) => Some(cidr),
    }
}

impl PartyPair {
    /// Formats a pair: `shop/web (10.0.0.1) to 192.0.2.0/24`.
    pub(in crate::report) fn text(&self, inventory: &Inventory) -> String {
        let is_open = self.from.addresses.is_empty() && self.to.addresses.is_empty();
        let families: Vec<String> = self.families.iter().map(ToString::to_string).collect();
        let families = if is_open {
            format!(", {}", families.join(" and "))
        } else {
            String::new()
        };

        format!(
            "{} to {}{families}",
            self.from.text(inventory),
            self.to.text(inventory)
        )
    }
}

impl PartyGroup {
    fn text(&self, inventory: &Inventory) -> String {
        let shown: Vec<String> = self
            .addresses
            .iter()
            .take(MOST_PREFIXES)
            .map(ToString::to_string)
            .collect();

        let more = self.addresses.len().saturating_sub(MOST_PREFIXES);
        let more = if more > 0 {
            format!(" and {more} prefixes more")
        } else {
            String::new()
        };

        let addresses = shown.join(", ") + &more;
        match self.endpoint.map(|id| inventory.endpoint(id).notation()) {
            None => addresses,
            Some(name) if addresses.is_empty() => format!("{name} (no address yet)"),
            Some(name) => format!("{name} ({addresses})"),
        }
    }
}
