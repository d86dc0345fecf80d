//! Labels that endpoints inherit from the profiles that they list.

use std::collections::BTreeMap;

use crate::inventory::labels::LabelList;
use crate::inventory::{Inventory, ProfileList, ProfileName, profile_name};

impl Inventory {
    /// The labels of a host endpoint as selectors see them: its own, then those of its profiles.
    pub fn host_endpoint_labels(
        &self,
        own: &[(String, String)],
        profiles: &ProfileList,
    ) -> BTreeMap<String, String> {
        let mut effective = self.inherited_labels(profiles);
        effective.extend(own.iter().cloned());
        effective
    }

    /// Gives the endpoints that list profiles the labels of those.
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

    /// What an endpoint with these profiles inherits: of every label the value of the first profile
    /// that has it.
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
