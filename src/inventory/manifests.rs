//! The fields that the inventory reads, by kind. All other fields are ignored.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::document::{TextSize, unique_keys};

/// A namespace or a service account.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LabelledManifest {
    pub(super) metadata: Option<ObjectMetadata>,
}

/// Metadata of any object.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ObjectMetadata {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    #[serde(default, deserialize_with = "unique_keys")]
    pub(super) labels: BTreeMap<String, String>,
    /// The sizes of the values.
    #[serde(default, deserialize_with = "unique_keys")]
    pub(super) annotations: BTreeMap<String, TextSize>,
    #[serde(rename = "ownerReferences")]
    pub(super) owners: Option<Vec<OwnerReference>>,
    /// Present while the object is being deleted. The time itself does not matter.
    #[serde(rename = "deletionTimestamp")]
    pub(super) deletion: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct OwnerReference {
    #[serde(rename = "apiVersion")]
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NodeManifest {
    pub(super) metadata: Option<ObjectMetadata>,
    pub(super) spec: Option<NodeSpec>,
    pub(super) status: Option<NodeStatus>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NodeStatus {
    pub(super) addresses: Option<Vec<NodeAddress>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NodeAddress {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pub(super) pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pub(super) pod_cidrs: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PodManifest {
    pub(super) metadata: Option<ObjectMetadata>,
    pub(super) spec: Option<PodSpec>,
    pub(super) status: Option<PodStatus>,
}

/// Any workload that creates pods.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WorkloadManifest {
    pub(super) metadata: Option<ObjectMetadata>,
    pub(super) spec: Option<WorkloadSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadSpec {
    /// The template of its pods.
    pub(super) template: Option<PodTemplate>,
    /// The template of a CronJob's jobs.
    pub(super) job_template: Option<JobTemplate>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct JobTemplate {
    pub(super) spec: Option<JobSpec>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct JobSpec {
    pub(super) template: Option<PodTemplate>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PodTemplate {
    pub(super) metadata: Option<ObjectMetadata>,
    pub(super) spec: Option<PodSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
    pub(super) host_network: Option<bool>,
    pub(super) service_account_name: Option<String>,
    /// The name of `serviceAccountName` before Kubernetes 1.0. The API server still accepts it.
    pub(super) service_account: Option<String>,
    pub(super) containers: Option<Vec<ContainerManifest>>,
    pub(super) init_containers: Option<Vec<ContainerManifest>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ContainerManifest {
    pub(super) ports: Option<Vec<ContainerPort>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerPort {
    pub(super) name: Option<String>,
    pub(super) container_port: Option<i64>,
    pub(super) protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PodStatus {
    pub(super) phase: Option<String>,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub(super) pod_ips: Option<Vec<PodIp>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PodIp {
    pub(super) ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSlice {
    pub(super) metadata: Option<ObjectMetadata>,
    pub(super) address_type: Option<String>,
    pub(super) endpoints: Option<Vec<SliceEndpoint>>,
    pub(super) ports: Option<Vec<EndpointPortManifest>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct SliceEndpoint {
    pub(super) addresses: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct EndpointsManifest {
    pub(super) metadata: Option<ObjectMetadata>,
    pub(super) subsets: Option<Vec<EndpointSubset>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSubset {
    pub(super) addresses: Option<Vec<PodIp>>,
    pub(super) not_ready_addresses: Option<Vec<PodIp>>,
    pub(super) ports: Option<Vec<EndpointPortManifest>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct EndpointPortManifest {
    pub(super) port: Option<i64>,
    pub(super) protocol: Option<String>,
}
