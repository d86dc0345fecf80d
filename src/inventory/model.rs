//! Types of the inventory.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use crate::inventory::{
    EndpointLabels, ProfileList, ServiceBackends, ServiceKey, StringTable,
    labels::{self, LabelList},
};
use crate::net::{Cidr, Protocol};
use crate::source::{FileId, Span};

/// The cluster. All content is sorted, checked and free of duplicates.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Namespaces by name: those in the input, and those of endpoints.
    pub namespaces: BTreeMap<Arc<str>, LabelSource>,
    /// Service accounts by namespace and name: those in the input, and those of endpoints.
    pub service_accounts: BTreeMap<Arc<str>, BTreeMap<Arc<str>, LabelSource>>,
    /// Nodes by name: those in the input, and those of endpoints and host endpoints.
    pub nodes: Vec<ClusterNode>,
    /// Pods, workload endpoints and workloads, by namespace, name and kind. No two share an
    /// address. Policy applies to endpoints without an address too, but scripts do not contain
    /// them.
    pub endpoints: Vec<Endpoint>,
    /// Services for which the input contains backends, by namespace and name.
    pub services: BTreeMap<ServiceKey, ServiceBackends>,
    /// Labels that Profile objects define, by profile name.
    pub(super) profiles: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) strings: StringTable,
}

/// A namespace or service account, from which endpoints inherit labels.
#[derive(Debug)]
pub struct LabelSource {
    /// Its location, or `None` if it is only referenced.
    pub span: Option<Span>,
    /// The labels that its members inherit, with prefix.
    pub(super) labels: LabelList,
}

/// A node.
#[derive(Debug)]
pub struct ClusterNode {
    /// The name.
    pub name: Arc<str>,
    /// The ranges of its pods' addresses, in order. Empty if the input does not contain them.
    pub pod_ranges: Vec<Cidr>,
    /// Its own addresses, sorted and deduplicated.
    pub addresses: Vec<IpAddr>,
    /// The labels of its Node object.
    pub labels: BTreeMap<String, String>,
    /// Its location, or `None` if it is only referenced.
    pub span: Option<Span>,
}

/// An endpoint: a pod, a workload endpoint, or the pods that a workload will create.
#[derive(Debug)]
pub struct Endpoint {
    /// Its kind.
    pub kind: EndpointKind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The node on which it runs. Every endpoint with an address has one.
    pub node: Option<NodeId>,
    /// Its service account. A workload endpoint may lack one.
    pub service_account: Option<Arc<str>>,
    /// Its addresses, sorted and deduplicated. Empty if they are not known yet.
    pub addresses: Box<[IpAddr]>,
    /// Its named ports, sorted and deduplicated.
    pub ports: Box<[NamedPort]>,
    /// Its profiles.
    pub profiles: ProfileList,
    /// Its controller, or `None` for a workload endpoint.
    pub owner: Option<PodOwner>,
    /// The controller of its owner, if it is certain: the Deployment of a ReplicaSet, or the
    /// CronJob of a Job.
    pub workload: Option<PodOwner>,
    /// Its location.
    pub span: Span,
    /// Its own labels. [`Inventory::labels`] returns the effective ones.
    pub(super) labels: LabelList,
    /// Labels that it inherits from the profiles that it lists.
    pub(super) inherited: LabelList,
}

/// The kind of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// A pod.
    Pod,
    /// A Calico `WorkloadEndpoint`.
    WorkloadEndpoint,
    /// The pods that a workload of this kind (such as `Deployment`) will create.
    Workload(&'static str),
}

/// The controller of a pod: a ReplicaSet, a Job, a Node for a static pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodOwner {
    /// Its kind, as in manifests.
    pub kind: Arc<str>,
    /// Its name. It is in the pod's namespace.
    pub name: Arc<str>,
}

/// A named port of a pod. One name may have several numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// The name.
    pub name: Arc<str>,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The number, from 1.
    pub number: u16,
}

/// Index of a node in [`Inventory::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// Index of an endpoint in [`Inventory::endpoints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u32);

/// Stand-in for an id from another inventory: an endpoint without node and addresses.
static NO_ENDPOINT: LazyLock<Endpoint> = LazyLock::new(|| Endpoint {
    kind: EndpointKind::Pod,
    namespace: Arc::default(),
    name: Arc::default(),
    node: None,
    service_account: None,
    addresses: Box::default(),
    ports: Box::default(),
    profiles: ProfileList::OfPod,
    owner: None,
    workload: None,
    span: FileId::default().span(0..0),
    labels: Box::default(),
    inherited: Box::default(),
});

/// Stand-in for an id from another inventory.
static NO_NODE: LazyLock<ClusterNode> = LazyLock::new(|| ClusterNode {
    name: Arc::default(),
    pod_ranges: Vec::new(),
    addresses: Vec::new(),
    labels: BTreeMap::new(),
    span: None,
});

impl Inventory {
    /// Returns the endpoint with an id of this inventory.
    pub fn endpoint(&self, id: EndpointId) -> &Endpoint {
        self.endpoints.get(id.index()).unwrap_or(&NO_ENDPOINT)
    }

    /// Returns the node with an id of this inventory.
    pub fn node(&self, id: NodeId) -> &ClusterNode {
        self.nodes.get(id.index()).unwrap_or(&NO_NODE)
    }

    /// Returns the id of the node with a name, or `None` if there is no such node.
    pub fn find_node(&self, name: &str) -> Option<NodeId> {
        self.nodes
            .binary_search_by(|node| (*node.name).cmp(name))
            .ok()
            .map(NodeId::at)
    }

    /// All endpoints with their ids, by namespace and name.
    pub fn endpoints_with_ids(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        (0u32..).map(EndpointId).zip(&self.endpoints)
    }

    /// All nodes with their ids, by name.
    pub fn nodes_with_ids(&self) -> impl Iterator<Item = (NodeId, &ClusterNode)> {
        (0u32..).map(NodeId).zip(&self.nodes)
    }

    /// The table of strings that label symbols refer to.
    pub fn strings(&self) -> &StringTable {
        &self.strings
    }

    /// The effective labels of an endpoint, as selectors see them.
    pub fn labels<'inventory>(
        &'inventory self,
        endpoint: &'inventory Endpoint,
    ) -> EndpointLabels<'inventory> {
        if endpoint.profiles != ProfileList::OfPod {
            return EndpointLabels {
                strings: &self.strings,
                layers: [&endpoint.labels, &endpoint.inherited, &[]],
            };
        }

        self.labels_of_pod(
            &endpoint.labels,
            &endpoint.namespace,
            endpoint.service_account.as_deref().unwrap_or_default(),
        )
    }

    fn labels_of_pod<'inventory>(
        &'inventory self,
        own: &'inventory LabelList,
        namespace: &str,
        account: &str,
    ) -> EndpointLabels<'inventory> {
        let account = self
            .service_accounts
            .get(namespace)
            .and_then(|accounts| accounts.get(account));
        let namespace = self.namespaces.get(namespace);
        let inherited = |parent: Option<&'inventory LabelSource>| {
            parent.map_or(&[][..], |parent| &parent.labels)
        };

        EndpointLabels {
            strings: &self.strings,
            layers: [own, inherited(namespace), inherited(account)],
        }
    }

    /// The effective labels of a network set, as selectors see them: its own labels, then those of
    /// its namespace. A set without a namespace has only its own.
    pub fn network_set_labels(
        &self,
        namespace: Option<&str>,
        own: &[(String, String)],
    ) -> BTreeMap<String, String> {
        let own = own.iter().cloned().collect();
        let Some(namespace) = namespace else {
            return own;
        };
        let mut effective = self.inherited_from(namespace);
        effective.extend(labels::of_network_set(own, namespace));
        effective
    }

    fn inherited_from(&self, namespace: &str) -> BTreeMap<String, String> {
        match self.namespaces.get(namespace) {
            Some(parent) => self.texts(&parent.labels),
            None => labels::from_namespace(namespace, BTreeMap::new()),
        }
    }

    pub(super) fn texts(&self, labels: &LabelList) -> BTreeMap<String, String> {
        let text = |symbol| self.strings.get(symbol).to_owned();
        labels
            .iter()
            .map(|(key, value)| (text(*key), text(*value)))
            .collect()
    }
}

impl NodeId {
    pub(super) fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Index for tables that run parallel to [`Inventory::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl EndpointId {
    /// The id of the endpoint at an index of [`Inventory::endpoints`].
    pub fn at(index: u32) -> Self {
        Self(index)
    }

    /// Index for tables that run parallel to [`Inventory::endpoints`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Endpoint {
    /// The notation in queries: `ns/pod` for a pod, and `ns/Kind/name` for other endpoints.
    pub fn notation(&self) -> String {
        match self.kind {
            EndpointKind::Pod => self.to_string(),
            EndpointKind::WorkloadEndpoint | EndpointKind::Workload(_) => {
                format!(
                    "{}/{}/{}",
                    self.namespace,
                    self.kind.manifest_word(),
                    self.name
                )
            }
        }
    }

    /// Its controller, and then the controller of that, as far as known.
    pub fn owners(&self) -> impl Iterator<Item = &PodOwner> {
        self.owner.iter().chain(&self.workload)
    }

    /// Whether a kind and a name refer to this endpoint: its own, or those of its owners. No kind
    /// means a pod or workload endpoint. The letter case of the kind is ignored.
    pub fn is_called(&self, namespace: &str, kind: Option<&str>, name: &str) -> bool {
        let is_so = match kind {
            None => {
                matches!(
                    self.kind,
                    EndpointKind::Pod | EndpointKind::WorkloadEndpoint
                ) && *self.name == *name
            }
            Some(kind) => {
                let is_own =
                    kind.eq_ignore_ascii_case(self.kind.manifest_word()) && *self.name == *name;
                is_own
                    || self
                        .owners()
                        .any(|owner| kind.eq_ignore_ascii_case(&owner.kind) && *owner.name == *name)
            }
        };

        is_so && *self.namespace == *namespace
    }
}

impl EndpointKind {
    /// The kind, as in manifests.
    pub fn manifest_word(self) -> &'static str {
        match self {
            EndpointKind::Pod => "Pod",
            EndpointKind::WorkloadEndpoint => "WorkloadEndpoint",
            EndpointKind::Workload(kind) => kind,
        }
    }

    /// The kind in messages.
    pub fn label(self) -> &'static str {
        match self {
            EndpointKind::Pod => "pod",
            EndpointKind::WorkloadEndpoint => "workload endpoint",
            EndpointKind::Workload(kind) => kind,
        }
    }
}

impl fmt::Display for Endpoint {
    /// `namespace/name`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for NamedPort {
    /// `http=TCP:8080`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}:{}", self.name, self.protocol, self.number)
    }
}

impl fmt::Display for Inventory {
    /// One line for each object, and one for each list in it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            writeln!(out, "node {}", node.name)?;
            write_list(out, "pod ranges", node.pod_ranges.iter())?;
        }

        for (name, namespace) in &self.namespaces {
            writeln!(out, "namespace {name}")?;
            self.write_labels(out, namespace)?;
        }

        for (namespace, accounts) in &self.service_accounts {
            for (name, account) in accounts {
                writeln!(out, "service account {namespace}/{name}")?;
                self.write_labels(out, account)?;
            }
        }

        self.endpoints
            .iter()
            .try_for_each(|endpoint| self.write_endpoint(out, endpoint))
    }
}

impl Inventory {
    fn write_labels(&self, out: &mut fmt::Formatter<'_>, parent: &LabelSource) -> fmt::Result {
        let labels = parent
            .labels
            .iter()
            .map(|(key, value)| (self.strings.get(*key), self.strings.get(*value)));
        write_list(
            out,
            "gives labels",
            labels.map(|(key, value)| format!("{key}={value}")),
        )
    }

    fn write_endpoint(&self, out: &mut fmt::Formatter<'_>, endpoint: &Endpoint) -> fmt::Result {
        let account = endpoint.service_account.as_deref().unwrap_or("nobody");
        let node = endpoint
            .node
            .map_or("no node", |node| &self.node(node).name);
        writeln!(
            out,
            "{} {endpoint} on {node} as {account}",
            endpoint.kind.label()
        )?;
        write_list(out, "addresses", endpoint.addresses.iter())?;
        write_list(out, "ports", endpoint.ports.iter())?;

        let own = EndpointLabels {
            strings: &self.strings,
            layers: [&endpoint.labels, &[], &[]],
        };
        write_list(
            out,
            "labels",
            own.iter().map(|(key, value)| format!("{key}={value}")),
        )
    }
}

fn write_list(
    out: &mut fmt::Formatter<'_>,
    what: &str,
    items: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    match items.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  {what}: {}", items.join(", ")),
    }
}
