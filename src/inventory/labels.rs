//! The labels that selectors see: an endpoint's own labels, then those of its namespace, then those
//! of its service account.
//!
//! As in Calico (semantics §3.1), with two additions. A namespace always has the label
//! `kubernetes.io/metadata.name` with its own name, because the API server sets it and manifests in
//! Git lack it. And a namespace or service account that is referenced but missing from the input
//! has only the two labels with its name, which are certain.

use std::collections::BTreeMap;

use crate::inventory::{StringTable, Symbol};
use crate::name::reserved::{
    METADATA_NAME, NAME, NAMESPACE, NAMESPACE_PREFIX, ORCHESTRATOR, SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_PREFIX,
};
use crate::selector::Labels;

/// Keys and values, ordered by the keys' text. Every key occurs once.
pub(super) type LabelList = Box<[(Symbol, Symbol)]>;

/// The effective labels of an endpoint. The first layer that contains a key determines the value,
/// even an empty one.
#[derive(Debug, Clone, Copy)]
pub struct EndpointLabels<'inventory> {
    pub(super) strings: &'inventory StringTable,
    /// Own labels, namespace labels, service account labels.
    pub(super) layers: [&'inventory [(Symbol, Symbol)]; 3],
}

impl<'inventory> EndpointLabels<'inventory> {
    /// Every key once with its effective value, as symbols of the inventory's strings.
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

    /// Every key once with its effective value. Own labels come first.
    pub fn iter(self) -> impl Iterator<Item = (&'inventory str, &'inventory str)> {
        self.symbols()
            .map(move |(key, value)| (self.strings.get(key), self.strings.get(value)))
    }
}

impl Labels for EndpointLabels<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        // An unknown string is the label of no object.
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

/// A pod's own labels. Keys that look inherited are dropped, and Calico's labels override the
/// pod's.
pub(super) fn of_pod(
    own: BTreeMap<String, String>,
    namespace: &str,
    service_account: &str,
) -> BTreeMap<String, String> {
    of_endpoint(own, namespace, "k8s", Some(service_account))
}

/// A workload endpoint's own labels, like [`of_pod`]. An endpoint without a service account may
/// still have the service account label, as in Calico.
pub(super) fn of_endpoint(
    mut own: BTreeMap<String, String>,
    namespace: &str,
    orchestrator: &str,
    service_account: Option<&str>,
) -> BTreeMap<String, String> {
    // A pod could otherwise claim labels of a foreign namespace or service account.
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

/// A network set's own labels. In contrast to pods, keys that look inherited stay, as in Calico.
pub(super) fn of_network_set(
    mut own: BTreeMap<String, String>,
    namespace: &str,
) -> BTreeMap<String, String> {
    own.insert(NAMESPACE.to_owned(), namespace.to_owned());
    own
}

/// The labels that members of a namespace inherit.
pub(super) fn from_namespace(
    name: &str,
    mut own: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    // The API server sets this label, also over a different value in the manifest.
    own.insert(METADATA_NAME.to_owned(), name.to_owned());
    inherited(NAMESPACE_PREFIX, name, own)
}

/// The labels that pods of a service account inherit.
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
