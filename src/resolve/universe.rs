//! All objects that a selector can select, numbered: endpoints first, then network sets, then host
//! endpoints.

use std::collections::BTreeMap;

use crate::inventory::{EndpointId, Inventory};
use crate::policy::PolicySet;
use crate::selector::{LabelTest, Labels};

/// Endpoints, network sets and host endpoints with their effective labels.
pub(super) struct SelectorUniverse<'input> {
    pub(super) inventory: &'input Inventory,
    /// Effective labels of the network sets, then of the host endpoints, in the order of the policy
    /// set.
    pub(super) sets: Vec<BTreeMap<String, String>>,
    /// All numbers, in order.
    pub(super) ids: Vec<u32>,
}

impl<'input> SelectorUniverse<'input> {
    pub(super) fn new(policies: &PolicySet, inventory: &'input Inventory) -> Self {
        let labels = policies
            .network_sets
            .iter()
            .map(|set| inventory.network_set_labels(set.namespace.as_deref(), &set.labels));
        let of_hosts = policies
            .host_endpoints
            .iter()
            .map(|host| inventory.host_endpoint_labels(&host.labels, &host.profiles));
        let sets: Vec<_> = labels.chain(of_hosts).collect();
        let size = inventory.endpoints.len() + sets.len();

        Self {
            inventory,
            sets,
            ids: (0u32..).take(size).collect(),
        }
    }

    /// Number of the first network set.
    pub(super) fn first_set(&self) -> usize {
        self.inventory.endpoints.len()
    }

    /// Whether the value of a label of an object passes a test.
    pub(super) fn passes(&self, id: u32, name: &str, test: &LabelTest) -> bool {
        match (id as usize).checked_sub(self.first_set()) {
            Some(set) => test.holds(
                self.sets
                    .get(set)
                    .and_then(|labels| Labels::get(labels, name)),
            ),
            None => test.holds(
                self.inventory
                    .labels(self.inventory.endpoint(EndpointId::at(id)))
                    .get(name),
            ),
        }
    }
}
