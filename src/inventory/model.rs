//! The inventory's types.

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

/// The cluster as it is. Everything in it is sorted, checked and there once.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Namespaces by name: those of the input, and those that endpoints are in.
    pub namespaces: BTreeMap<Arc<str>, LabelSource>,
    /// Service accounts by namespace and name: those of the input, and those that endpoints run as.
    pub service_accounts: BTreeMap<Arc<str>, BTreeMap<Arc<str>, LabelSource>>,
    /// Nodes by name: those of the input, and those that endpoints run on or host endpoints are of.
    pub nodes: Vec<ClusterNode>,
    /// Pods, workload endpoints and workloads, by namespace, name and kind. No two share an
    /// address. Those without an address have policy, and no part in scripts.
    pub endpoints: Vec<Endpoint>,
    /// Services of which the input names backends, by namespace and name.
    pub services: BTreeMap<ServiceKey, ServiceBackends>,
    /// Labels that Profile objects give, by name.
    pub(super) profiles: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) strings: StringTable,
}

/// A namespace or service account: something that endpoints inherit labels from.
#[derive(Debug)]
pub struct LabelSource {
    /// Where it stands; none when it is only referenced.
    pub span: Option<Span>,
    /// As its members see them, prefix included.
    pub(super) labels: LabelList,
}

/// A machine that endpoints run on.
#[derive(Debug)]
pub struct ClusterNode {
    /// The name.
    pub name: Arc<str>,
    /// Where its pods have their addresses, in order; empty when the input does not say.
    pub pod_ranges: Vec<Cidr>,
    /// Its own addresses, in order, once.
    pub addresses: Vec<IpAddr>,
    /// The labels of its Node object.
    pub labels: BTreeMap<String, String>,
    /// Where it stands; none when it is only referenced.
    pub span: Option<Span>,
}

/// Something that policy applies to: a pod, a workload endpoint, or the pods that a workload will
/// make.
#[derive(Debug)]
pub struct Endpoint {
    /// What it is.
    pub kind: EndpointKind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Where it runs; every endpoint with an address says so.
    pub node: Option<NodeId>,
    /// What it runs as; a workload endpoint may not say.
    pub service_account: Option<Arc<str>>,
    /// Its addresses, in order, once; none where nobody knows them yet.
    pub addresses: Box<[IpAddr]>,
    /// Its named ports, in order, once.
    pub ports: Box<[NamedPort]>,
    /// Its profiles.
    pub profiles: ProfileList,
    /// What made it and keeps it; none for a workload endpoint.
    pub owner: Option<PodOwner>,
    /// What made its owner, where that is certain: the Deployment of a ReplicaSet, the CronJob of a
    /// Job.
    pub workload: Option<PodOwner>,
    /// Where it stands.
    pub span: Span,
    /// Its own; see [`Inventory::labels`] for those that count.
    pub(super) labels: LabelList,
    /// What it has from the profiles that it lists.
    pub(super) inherited: LabelList,
}

/// What an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// A pod.
    Pod,
    /// A `WorkloadEndpoint` of Calico's.
    WorkloadEndpoint,
    /// The pods that a workload of this kind (`Deployment`) will make.
    Workload(&'static str),
}

/// The controller of a pod: a ReplicaSet, a Job, a Node for a static pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodOwner {
    /// Its kind, as in manifests.
    pub kind: Arc<str>,
    /// Its name; it is in the pod's namespace.
    pub name: Arc<str>,
}

/// A port that a pod gives a name. One name may stand for several numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// The name.
    pub name: Arc<str>,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The number, from 1.
    pub number: u16,
}

/// Position of a node in [`Inventory::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// Position of an endpoint in [`Inventory::endpoints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u32);

/// What an id of another inventory stands for: nobody, anywhere.
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

/// What an id of another inventory stands for.
static NO_NODE: LazyLock<ClusterNode> = LazyLock::new(|| ClusterNode {
    name: Arc::default(),
    pod_ranges: Vec::new(),
    addresses: Vec::new(),
    labels: BTreeMap::new(),
    span: None,
});

impl Inventory {
    /// The endpoint of an id of this inventory.
    pub fn endpoint(&self, id: EndpointId) -> &Endpoint {
        self.endpoints.get(id.index()).unwrap_or(&NO_ENDPOINT)
    }

    /// The node of an id of this inventory.
    pub fn node(&self, id: NodeId) -> &ClusterNode {
        self.nodes.get(id.index()).unwrap_or(&NO_NODE)
    }

    /// The id of a node.
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

    /// The strings behind the symbols of labels.
    pub fn strings(&self) -> &StringTable {
        &self.strings
    }

    /// The labels of an endpoint as selectors see them.
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

    /// The labels of a network set as selectors see them: its own, then those of its namespace. A
    /// set without a namespace has its own only.
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

    /// Position in tables that run parallel to [`Inventory::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl EndpointId {
    /// The endpoint at a position of [`Inventory::endpoints`].
    pub fn at(index: u32) -> Self {
        Self(index)
    }

    /// Position in tables that run parallel to [`Inventory::endpoints`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Endpoint {
    /// How questions write it: `ns/pod`, and `ns/Kind/name` for what is no pod.
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

    /// What made it, from the nearest on.
    pub fn owners(&self) -> impl Iterator<Item = &PodOwner> {
        self.owner.iter().chain(&self.workload)
    }

    /// Whether it is meant by a kind and a name: its own, or those of what made it. No kind is that
    /// of a pod or workload endpoint. The case of a kind's letters does not count.
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

    /// What it is, for messages.
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
    /// A line for each thing, and one for each list that it has.
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
