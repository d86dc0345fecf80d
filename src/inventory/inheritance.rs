//! Labels that endpoints inherit from their profiles.

use std::collections::BTreeMap;

use crate::inventory::labels::LabelList;
use crate::inventory::{Inventory, ProfileList, ProfileName, profile_name};

impl Inventory {
    /// The labels of a host endpoint as selectors see them: its own labels, then those of its
    /// profiles.
    pub fn host_endpoint_labels(
        &self,
        own: &[(String, String)],
        profiles: &ProfileList,
    ) -> BTreeMap<String, String> {
        let mut effective = self.inherited_labels(profiles);
        effective.extend(own.iter().cloned());
        effective
    }

    /// Computes the inherited labels of all endpoints that list profiles.
    pub(super) fn inherit(&mut self) {
        let mut endpoints = std::mem::take(&mut self.endpoints);
        for endpoint in endpoints
            .iter_mut()
            .filter(|endpoint| endpoint.profiles != ProfileList::OfPod)
        {
            endpoint.inherited = self.inherited(&endpoint.profiles);
        }
        self.endpoints = endpoints;
    }

    fn inherited(&mut self, profiles: &ProfileList) -> LabelList {
        let labels = self.inherited_labels(profiles);
        self.strings.intern_labels(&labels)
    }

    /// The labels that an endpoint with these profiles inherits. For each label, the first profile
    /// that has it determines the value.
    fn inherited_labels(&self, profiles: &ProfileList) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for name in profiles.names() {
            let of_profile = match profile_name(name) {
                ProfileName::Namespace(namespace) => self
                    .namespaces
                    .get(namespace)
                    .map(|parent| self.texts(&parent.labels)),
                ProfileName::ServiceAccount(namespace, account) => {
                    let accounts = self.service_accounts.get(namespace);
                    accounts
                        .and_then(|accounts| accounts.get(account))
                        .map(|parent| self.texts(&parent.labels))
                }
                ProfileName::AllowAll => None,
                ProfileName::Named(name) => self.profiles.get(name).cloned(),
            };
            for (key, value) in of_profile.unwrap_or_default() {
                labels.entry(key).or_insert(value);
            }
        }

        labels
    }
}
