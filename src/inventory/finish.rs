//! Inventory out: what is only referenced is added, and every reference becomes an id.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use rustc_hash::FxHashMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::{
    Builder, Endpoint, Inventory, Node, NodeId, Parent, Strings,
    builder::{GivenNode, Key, Objects},
    labels::{self, LabelList},
    pods::{Place, Pod, Skipped},
    services,
};
use crate::text::Spanned;

type Namespaces = BTreeMap<Arc<str>, Parent>;
type ServiceAccounts = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Parent>>;

impl Builder {
    /// The inventory of what was taken in. Nodes, namespaces and service accounts that endpoints name are in it even where
    /// the input lacks them.
    pub fn finish(self, found: &mut Diagnostics) -> Inventory {
        let mut strings = self.strings;
        let nodes = nodes(self.nodes, self.named_nodes, &self.pods);
        let endpoints = endpoints(self.pods, &nodes, found);
        refuse_shared_addresses(&endpoints, found);
        let mut namespaces = namespaces(self.namespaces);
        let mut service_accounts = service_accounts(self.service_accounts);
        add_namespaces(&mut namespaces, &endpoints, &mut strings, found);
        add_service_accounts(&mut service_accounts, &endpoints, &mut strings, found);
        let services = services::services(self.slices, self.backends);
        Inventory { namespaces, service_accounts, nodes, endpoints, services, strings }
    }
}

/// Nodes of the input, nodes that pods are on, and others that are named, by name.
fn nodes(given: Objects<GivenNode>, named: Vec<Arc<str>>, pods: &Objects<Pod>) -> Vec<Node> {
    let mut names: BTreeSet<Arc<str>> = given.known.keys().map(|key| Arc::clone(&key.name)).collect();
    names.extend(named);
    for pod in pods.known.values() {
        let node = pod.value.place.node();
        names.extend(node.filter(|node| !names.contains(*node)).map(Arc::clone));
    }
    let mut given: BTreeMap<Arc<str>, Spanned<GivenNode>> = given.known.into_iter().map(|(key, node)| (key.name, node)).collect();
    let node = |name: Arc<str>| {
        let (node, span) = given.remove(&name).map(|node| (node.value, node.span)).unzip();
        let GivenNode { pod_ranges, addresses, labels } = node.unwrap_or_default();
        Node { name, pod_ranges, addresses, labels, span }
    };
    names.into_iter().map(node).collect()
}

/// The pods that have an address; of the others, how many and why.
fn endpoints(pods: Objects<Pod>, nodes: &[Node], found: &mut Diagnostics) -> Vec<Endpoint> {
    let mut skipped: BTreeMap<Skipped, usize> = BTreeMap::new();
    let mut endpoints = Vec::with_capacity(pods.known.len());
    for (key, pod) in pods.known {
        match endpoint(key, pod, nodes) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(reason) => *skipped.entry(reason).or_default() += 1,
        }
    }
    note_skipped(&skipped, found);
    endpoints.shrink_to_fit();
    endpoints
}

fn endpoint(key: Key, pod: Spanned<Pod>, nodes: &[Node]) -> Result<Endpoint, Skipped> {
    let Spanned { value: Pod { place, service_account, ports, labels }, span } = pod;
    let (node, addresses) = match place {
        Place::Addressed { node, addresses } => (node, addresses),
        Place::Nowhere(reason) => return Err(reason),
    };
    let (Ok(index) | Err(index)) = nodes.binary_search_by(|known| known.name.cmp(&node));
    let Key { namespace, name } = key;
    Ok(Endpoint { namespace, name, node: NodeId::at(index), service_account, addresses, ports, span, labels })
}

fn note_skipped(skipped: &BTreeMap<Skipped, usize>, found: &mut Diagnostics) {
    let reasons: Vec<String> = skipped.iter().map(|(reason, count)| format!("{count} {}", reason.words())).collect();
    let message = match skipped.values().sum() {
        0 => return,
        1usize => format!("1 pod is no addressable endpoint: {}", reasons.join(", ")),
        many => format!("{many} pods are no addressable endpoints: {}", reasons.join(", ")),
    };
    found.push(Diagnostic::new(Code::SkippedPods, message));
}

/// An address leads to one pod; where it stands at two, no verdict about it can be right.
fn refuse_shared_addresses(endpoints: &[Endpoint], found: &mut Diagnostics) {
    let mut holders: FxHashMap<IpAddr, &Endpoint> = FxHashMap::default();
    for endpoint in endpoints {
        for address in &endpoint.addresses {
            let Some(first) = holders.insert(*address, endpoint) else { continue };
            let message = format!("the pods `{first}` and `{endpoint}` both have the address `{address}`");
            let diagnostic = Diagnostic::at(Code::DuplicateAddress, endpoint.span, message);
            found.push(diagnostic.label(first.span, "the other pod").help("take stale pods out of the input"));
        }
    }
}

fn namespaces(given: Objects<LabelList>) -> Namespaces {
    given.known.into_iter().map(|(key, labels)| (key.name, Parent::given(labels))).collect()
}

fn service_accounts(given: Objects<LabelList>) -> ServiceAccounts {
    let mut accounts = ServiceAccounts::new();
    for (key, labels) in given.known {
        accounts.entry(key.namespace).or_default().insert(key.name, Parent::given(labels));
    }
    accounts
}

fn add_namespaces(namespaces: &mut Namespaces, endpoints: &[Endpoint], strings: &mut Strings, found: &mut Diagnostics) {
    for endpoint in endpoints {
        let name = &endpoint.namespace;
        if namespaces.contains_key(name) {
            continue;
        }
        let labels = strings.intern_labels(&labels::from_namespace(name, BTreeMap::new()));
        namespaces.insert(Arc::clone(name), Parent { span: None, labels });
        let message = format!("the namespace `{name}` is not in the input, so it has no labels");
        found.push(Diagnostic::new(Code::UnknownNamespace, message).label(endpoint.span, format!("`{}` is in it", endpoint.name)));
    }
}

fn add_service_accounts(accounts: &mut ServiceAccounts, endpoints: &[Endpoint], strings: &mut Strings, found: &mut Diagnostics) {
    for endpoint in endpoints {
        let (namespace, name) = (&endpoint.namespace, &endpoint.service_account);
        if accounts.get(namespace).is_some_and(|accounts| accounts.contains_key(name)) {
            continue;
        }
        let labels = strings.intern_labels(&labels::from_service_account(name, BTreeMap::new()));
        accounts.entry(Arc::clone(namespace)).or_default().insert(Arc::clone(name), Parent { span: None, labels });
        let message = format!("the service account `{namespace}/{name}` is not in the input, so it has no labels");
        found.push(Diagnostic::new(Code::UnknownServiceAccount, message).label(endpoint.span, format!("`{}` uses it", endpoint.name)));
    }
}

impl Parent {
    fn given(labels: Spanned<LabelList>) -> Self {
        Self { span: Some(labels.span), labels: labels.value }
    }
}
