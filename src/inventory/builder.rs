//! Collects objects: reads and checks them, and stores each once.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::de::DeserializeOwned;

use crate::diagnostic::{Code, Diagnostics};
use crate::document::{InventoryKind, ManifestObject, ObjectKind};
use crate::inventory::{
    ServiceBackends, StringTable, addresses,
    check::MetadataCheck,
    labels::{self, LabelList},
    manifests,
    objects::{ObjectKey, ObjectTable},
    pods::{self, PodFields},
    services::{self, SliceBackends},
    workloads,
};
use crate::name::NameForm;
use crate::net::{Cidr, CidrError};
use crate::source::Span;

/// Builds an inventory.
#[derive(Debug)]
pub struct InventoryBuilder {
    pub(super) strings: StringTable,
    pub(super) namespaces: ObjectTable<LabelList>,
    pub(super) service_accounts: ObjectTable<LabelList>,
    pub(super) nodes: ObjectTable<InputNode>,
    pub(super) named_nodes: Vec<Arc<str>>,
    pub(super) pods: ObjectTable<PodFields>,
    pub(super) slices: ObjectTable<SliceBackends>,
    pub(super) backends: ObjectTable<ServiceBackends>,
    pub(super) workloads: workloads::InputWorkloads,
}

impl Default for InventoryBuilder {
    fn default() -> Self {
        Self {
            strings: StringTable::default(),
            namespaces: ObjectTable::new("namespace"),
            service_accounts: ObjectTable::new("service account"),
            nodes: ObjectTable::new("node"),
            named_nodes: Vec::new(),
            pods: ObjectTable::new("pod"),
            slices: ObjectTable::new("endpoint slice"),
            backends: ObjectTable::new("Endpoints object"),
            workloads: BTreeMap::new(),
        }
    }
}

impl InventoryBuilder {
    /// Adds an object. Objects of kinds that are not part of the inventory are ignored.
    pub fn ingest(&mut self, object: &ManifestObject<'_>, diagnostics: &mut Diagnostics) {
        let ObjectKind::Inventory(kind) = object.kind else {
            return;
        };

        match kind {
            InventoryKind::Namespace => self.ingest_as(Self::namespace, object, diagnostics),
            InventoryKind::ServiceAccount => {
                self.ingest_as(Self::service_account, object, diagnostics)
            }
            InventoryKind::Node => self.ingest_as(Self::node, object, diagnostics),
            InventoryKind::Pod => self.ingest_as(Self::pod, object, diagnostics),
            InventoryKind::EndpointSlice => {
                self.ingest_as(Self::endpoint_slice, object, diagnostics)
            }
            InventoryKind::Endpoints => self.ingest_as(Self::endpoints, object, diagnostics),
            InventoryKind::Deployment
            | InventoryKind::StatefulSet
            | InventoryKind::DaemonSet
            | InventoryKind::ReplicaSet
            | InventoryKind::ReplicationController
            | InventoryKind::Job
            | InventoryKind::CronJob => {
                self.workload(kind, object, diagnostics);
            }
        }
    }

    /// Adds a node by name. The name comes from another source than the inventory's objects.
    pub fn name_node(&mut self, name: &str) {
        self.named_nodes.push(Arc::from(name));
    }

    fn ingest_as<T: DeserializeOwned>(
        &mut self,
        take: fn(&mut Self, T, Span, &mut Diagnostics),
        object: &ManifestObject<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        if let Some(decoded) = object.decode(diagnostics) {
            take(self, decoded, object.place(), diagnostics);
        }
    }

    pub(super) fn namespace(
        &mut self,
        namespace: manifests::LabelledManifest,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) {
        let metadata = namespace.metadata.unwrap_or_default();
        let mut check = MetadataCheck::new(self.namespaces.kind, &metadata, span, diagnostics);
        let key = self.cluster_key(&metadata, NameForm::DnsLabel, &mut check);
        let read = self.key_and_labels(key, metadata, labels::from_namespace, &mut check);
        self.namespaces.add(read, span, diagnostics);
    }

    pub(super) fn service_account(
        &mut self,
        account: manifests::LabelledManifest,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) {
        let metadata = account.metadata.unwrap_or_default();
        let mut check =
            MetadataCheck::new(self.service_accounts.kind, &metadata, span, diagnostics);
        let key = self.namespaced_key(&metadata, &mut check);
        let read = self.key_and_labels(key, metadata, labels::from_service_account, &mut check);
        self.service_accounts.add(read, span, diagnostics);
    }

    pub(super) fn node(
        &mut self,
        node: manifests::NodeManifest,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) {
        let metadata = node.metadata.unwrap_or_default();
        let mut check = MetadataCheck::new(self.nodes.kind, &metadata, span, diagnostics);
        let key = self.cluster_key(&metadata, NameForm::DnsSubdomain, &mut check);
        let pod_ranges = pod_ranges(node.spec.unwrap_or_default(), &mut check);
        let addresses = node_addresses(node.status.unwrap_or_default(), &mut check);
        let labels = check.own_labels(metadata.labels);
        let given = pod_ranges.zip(addresses).zip(labels);

        let given = given.map(|((pod_ranges, addresses), labels)| InputNode {
            pod_ranges,
            addresses,
            labels,
        });
        self.nodes.add(key.zip(given), span, diagnostics);
    }

    pub(super) fn pod(
        &mut self,
        mut pod: manifests::PodManifest,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) {
        let metadata = pod.metadata.take().unwrap_or_default();
        let mut check = MetadataCheck::new(self.pods.kind, &metadata, span, diagnostics);
        let key = self.namespaced_key(&metadata, &mut check);
        let hash = metadata.labels.get(pods::TEMPLATE_HASH).cloned();
        let is_leaving = metadata.deletion.is_some();

        let read = key
            .zip(check.own_labels(metadata.labels))
            .and_then(|(key, own)| {
                let pod = pods::read(&key, own, pod, &mut self.strings, &mut check)?;
                let owner = pods::owner(metadata.owners, &mut self.strings);
                let workload = owner
                    .as_ref()
                    .and_then(|owner| pods::deployment(owner, hash.as_deref(), &mut self.strings));
                Some((
                    key,
                    PodFields {
                        owner,
                        workload,
                        is_leaving,
                        ..pod
                    },
                ))
            });
        self.pods.add(read, span, diagnostics);
    }

    fn workload(
        &mut self,
        kind: InventoryKind,
        object: &ManifestObject<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        let Some(decoded) = object.decode::<manifests::WorkloadManifest>(diagnostics) else {
            return;
        };

        let metadata = decoded.metadata.unwrap_or_default();
        let name = kind.name();
        let mut check = MetadataCheck::new(name, &metadata, object.place(), diagnostics);
        let key = self.namespaced_key(&metadata, &mut check);
        let read = key.and_then(|key| {
            let made = workloads::read(&key, decoded.spec, &mut self.strings, &mut check)?;
            let owner = pods::owner(metadata.owners, &mut self.strings);
            Some((key, workloads::WorkloadSource { made, owner }))
        });

        self.workloads
            .entry(kind)
            .or_insert_with(|| ObjectTable::new(name))
            .add(read, object.place(), diagnostics);
    }

    fn endpoint_slice(
        &mut self,
        mut slice: manifests::EndpointSlice,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) {
        let metadata = slice.metadata.take().unwrap_or_default();
        let mut check = MetadataCheck::new(self.slices.kind, &metadata, span, diagnostics);
        let key = self.namespaced_key(&metadata, &mut check);
        let read = services::read_slice(slice, &metadata.labels, &mut check);
        self.slices.add(key.zip(read), span, diagnostics);
    }

    fn endpoints(
        &mut self,
        mut endpoints: manifests::EndpointsManifest,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) {
        let metadata = endpoints.metadata.take().unwrap_or_default();
        let mut check = MetadataCheck::new(self.backends.kind, &metadata, span, diagnostics);
        let key = self.namespaced_key(&metadata, &mut check);
        let read = services::read_endpoints(endpoints, &mut check);
        self.backends.add(key.zip(read), span, diagnostics);
    }

    /// Reads an object whose labels others inherit.
    fn key_and_labels(
        &mut self,
        key: Option<ObjectKey>,
        metadata: manifests::ObjectMetadata,
        given: fn(&str, BTreeMap<String, String>) -> BTreeMap<String, String>,
        check: &mut MetadataCheck<'_>,
    ) -> Option<(ObjectKey, LabelList)> {
        let (key, own) = key.zip(check.own_labels(metadata.labels))?;
        let labels = self.strings.intern_labels(&given(&key.name, own));
        Some((key, labels))
    }

    fn cluster_key(
        &mut self,
        metadata: &manifests::ObjectMetadata,
        form: NameForm,
        check: &mut MetadataCheck<'_>,
    ) -> Option<ObjectKey> {
        let name = check.own_name(metadata, form)?;
        Some(ObjectKey {
            namespace: self.strings.share(""),
            name: self.strings.share(name),
        })
    }

    fn namespaced_key(
        &mut self,
        metadata: &manifests::ObjectMetadata,
        check: &mut MetadataCheck<'_>,
    ) -> Option<ObjectKey> {
        let name = check.own_name(metadata, NameForm::DnsSubdomain)?;
        let namespace = metadata
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or("default");
        check.name("namespace", namespace, NameForm::DnsLabel)?;

        Some(ObjectKey {
            namespace: self.strings.share(namespace),
            name: Arc::from(name),
        })
    }
}

/// The relevant fields of a Node object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InputNode {
    pub(super) pod_ranges: Vec<Cidr>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) labels: BTreeMap<String, String>,
}

/// The kinds of entries in a node's `status.addresses` that are addresses. The others are names.
const ADDRESS_KINDS: [&str; 2] = ["InternalIP", "ExternalIP"];

/// The node's own addresses.
fn node_addresses(
    status: manifests::NodeStatus,
    check: &mut MetadataCheck<'_>,
) -> Option<Vec<IpAddr>> {
    let listed = status.addresses.unwrap_or_default();
    let known = listed.iter().filter(|entry| {
        entry
            .kind
            .as_deref()
            .is_some_and(|kind| ADDRESS_KINDS.contains(&kind))
    });
    let texts = known.filter_map(|entry| entry.address.as_deref());

    let mut addresses = texts
        .map(|text| addresses::address("node", text, check))
        .collect::<Option<Vec<_>>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    Some(addresses)
}

/// Pod ranges from `podCIDRs`, or else from `podCIDR`.
fn pod_ranges(spec: manifests::NodeSpec, check: &mut MetadataCheck<'_>) -> Option<Vec<Cidr>> {
    let listed = spec.pod_cidrs.unwrap_or_default();
    let texts = if listed.is_empty() {
        Vec::from_iter(spec.pod_cidr)
    } else {
        listed
    };

    let texts = texts.iter().filter(|text| !text.is_empty());
    let mut ranges = texts
        .map(|text| pod_range(text, check))
        .collect::<Option<Vec<_>>>()?;
    ranges.sort_unstable();
    ranges.dedup();

    Some(ranges)
}

/// A pod range. Host bits are dropped, because the API server allows them.
fn pod_range(text: &str, check: &mut MetadataCheck<'_>) -> Option<Cidr> {
    match Cidr::parse_strict(text) {
        Ok(range) | Err(CidrError::HostBits(range)) if !range.is_everything() => Some(range),
        Ok(_) | Err(_) => {
            check.refuse(
                Code::InvalidCidr,
                &format!("`{text}` is not a range that a node's pods can have"),
            );
            None
        }
    }
}
