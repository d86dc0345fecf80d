//! The labels that selectors see: an endpoint's own, then those of its namespace, then those of its
//! service account.
//!
//! As Calico does (semantics §3.1), with two additions. A namespace has
//! `kubernetes.io/metadata.name`, always with its own name, because the API server sets that label
//! and manifests in Git lack it. And a namespace or service account that is referenced but not in
//! the input has no labels but those two, which hold its name and are known for sure.

use std::collections::BTreeMap;

use crate::inventory::{StringTable, Symbol};
use crate::name::reserved::{
    METADATA_NAME, NAME, NAMESPACE, NAMESPACE_PREFIX, ORCHESTRATOR, SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_PREFIX,
};
use crate::selector::Labels;

/// Key and value, in the order of the keys' text, every key once.
pub(super) type LabelList = Box<[(Symbol, Symbol)]>;

/// The effective labels of an endpoint: the first layer that has a key decides, even with an empty
/// value.
#[derive(Debug, Clone, Copy)]
pub struct EndpointLabels<'inventory> {
    pub(super) strings: &'inventory StringTable,
    /// Own, namespace, service account.
    pub(super) layers: [&'inventory [(Symbol, Symbol)]; 3],
}

impl<'inventory> EndpointLabels<'inventory> {
    /// Every key once with the value that counts, as symbols of the inventory's strings.
    pub fn symbols(self) -> impl Iterator<Item = (Symbol, Symbol)> {
        self.layers
            .into_iter()
            .enumerate()
            .flat_map(move |(depth, layer)| {
                let hidden = move |key: Symbol| {
                    self.layers
                        .iter()
                        .take(depth)
                        .any(|upper| value_of(upper, key).is_some())
                };
                layer.iter().copied().filter(move |(key, _)| !hidden(*key))
            })
    }

    /// Every key once with the value that counts; own labels first.
    pub fn iter(self) -> impl Iterator<Item = (&'inventory str, &'inventory str)> {
        self.symbols()
            .map(move |(key, value)| (self.strings.get(key), self.strings.get(value)))
    }
}

impl Labels for EndpointLabels<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let key = self.strings.find(name)?;
        let value = self.layers.iter().find_map(|layer| value_of(layer, key))?;
        Some(self.strings.get(value))
    }
}

fn value_of(layer: &[(Symbol, Symbol)], key: Symbol) -> Option<Symbol> {
    layer
        .iter()
        .find(|label| label.0 == key)
        .map(|label| label.1)
}

/// A pod's own labels. Keys that look inherited are dropped, and those that Calico sets win over
/// the pod's.
pub(super) fn of_pod(
    own: BTreeMap<String, String>,
    namespace: &str,
    service_account: &str,
) -> BTreeMap<String, String> {
    of_endpoint(own, namespace, "k8s", Some(service_account))
}

/// An endpoint's own labels, as [`of_pod`]. One that names no service account may still have the
/// label, as in Calico.
pub(super) fn of_endpoint(
    mut own: BTreeMap<String, String>,
    namespace: &str,
    orchestrator: &str,
    service_account: Option<&str>,
) -> BTreeMap<String, String> {
    own.retain(|key, _| {
        !key.starts_with(NAMESPACE_PREFIX) && !key.starts_with(SERVICE_ACCOUNT_PREFIX)
    });
    let set = [(NAMESPACE, namespace), (ORCHESTRATOR, orchestrator)];
    let account = service_account.map(|account| (SERVICE_ACCOUNT, account));

    own.extend(
        set.into_iter()
            .chain(account)
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    own
}

/// A network set's own labels. Unlike a pod's, keys that look inherited stay, as in Calico.
pub(super) fn of_network_set(
    mut own: BTreeMap<String, String>,
    namespace: &str,
) -> BTreeMap<String, String> {
    own.insert(NAMESPACE.to_owned(), namespace.to_owned());
    own
}

/// What the members of a namespace inherit.
pub(super) fn from_namespace(
    name: &str,
    mut own: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    own.insert(METADATA_NAME.to_owned(), name.to_owned());
    inherited(NAMESPACE_PREFIX, name, own)
}

/// What the pods of a service account inherit.
pub(super) fn from_service_account(
    name: &str,
    own: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    inherited(SERVICE_ACCOUNT_PREFIX, name, own)
}

fn inherited(
    prefix: &str,
    name: &str,
    mut own: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    own.insert(NAME.to_owned(), name.to_owned());
    own.into_iter()
        .map(|(key, value)| (format!("{prefix}{key}"), value))
        .collect()
}

impl StringTable {
    pub(super) fn intern_labels(&mut self, labels: &BTreeMap<String, String>) -> LabelList {
        labels
            .iter()
            .map(|(key, value)| (self.intern(key), self.intern(value)))
            .collect()
    }
}
