//! The table of kinds.

/// What an object says and who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Policy, read strictly by the `manifest` room.
    Policy,
    /// The cluster as it is, read by the `inventory` room.
    Cluster,
    /// Policy that is not compiled yet: refused.
    Refused,
    /// Nothing that Palisade enforces: skipped and counted.
    Skipped,
}

/// The kinds that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Calico's namespaced policy.
    NetworkPolicy,
    /// Calico's cluster-wide policy.
    GlobalNetworkPolicy,
    /// Calico's tier.
    Tier,
    /// Calico's named address list of a namespace.
    NetworkSet,
    /// Calico's cluster-wide named address list.
    GlobalNetworkSet,
    /// Kubernetes' own policy.
    KubernetesNetworkPolicy,
    /// A namespace.
    Namespace,
    /// A service account.
    ServiceAccount,
    /// A pod.
    Pod,
    /// A node.
    Node,
}

/// One row: an API group, its versions, a kind's name there, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct KindRow {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Versions whose schema we read.
    pub versions: &'static [&'static str],
    /// Name of the kind.
    pub name: &'static str,
    /// What becomes of it.
    pub role: Role,
    /// The kind, where it is read.
    pub kind: Option<Kind>,
}

const CALICO: &str = "projectcalico.org";
const CALICO_INTERNAL: &str = "crd.projectcalico.org";
const KUBERNETES: &str = "networking.k8s.io";
const CLUSTER_POLICY: &str = "policy.networking.k8s.io";

const fn read(group: &'static str, versions: &'static [&'static str], name: &'static str, role: Role, kind: Kind) -> KindRow {
    KindRow { group, versions, name, role, kind: Some(kind) }
}

const fn refused(group: &'static str, versions: &'static [&'static str], name: &'static str) -> KindRow {
    KindRow { group, versions, name, role: Role::Refused, kind: None }
}

/// Every kind that is read or refused by name. A kind that is not here is skipped, unless its group is one of policy.
pub const KINDS: &[KindRow] = &[
    read(CALICO, &["v3"], "NetworkPolicy", Role::Policy, Kind::NetworkPolicy),
    read(CALICO, &["v3"], "GlobalNetworkPolicy", Role::Policy, Kind::GlobalNetworkPolicy),
    read(CALICO, &["v3"], "Tier", Role::Policy, Kind::Tier),
    read(CALICO, &["v3"], "NetworkSet", Role::Policy, Kind::NetworkSet),
    read(CALICO, &["v3"], "GlobalNetworkSet", Role::Policy, Kind::GlobalNetworkSet),
    read(CALICO_INTERNAL, &["v1"], "NetworkPolicy", Role::Policy, Kind::NetworkPolicy),
    read(CALICO_INTERNAL, &["v1"], "GlobalNetworkPolicy", Role::Policy, Kind::GlobalNetworkPolicy),
    read(CALICO_INTERNAL, &["v1"], "Tier", Role::Policy, Kind::Tier),
    read(CALICO_INTERNAL, &["v1"], "NetworkSet", Role::Policy, Kind::NetworkSet),
    read(CALICO_INTERNAL, &["v1"], "GlobalNetworkSet", Role::Policy, Kind::GlobalNetworkSet),
    read(KUBERNETES, &["v1"], "NetworkPolicy", Role::Policy, Kind::KubernetesNetworkPolicy),
    read("", &["v1"], "Namespace", Role::Cluster, Kind::Namespace),
    read("", &["v1"], "ServiceAccount", Role::Cluster, Kind::ServiceAccount),
    read("", &["v1"], "Pod", Role::Cluster, Kind::Pod),
    read("", &["v1"], "Node", Role::Cluster, Kind::Node),
    refused(CALICO, &["v3"], "StagedNetworkPolicy"),
    refused(CALICO, &["v3"], "StagedGlobalNetworkPolicy"),
    refused(CALICO, &["v3"], "StagedKubernetesNetworkPolicy"),
    refused(CALICO, &["v3"], "HostEndpoint"),
    refused(CALICO, &["v3"], "Profile"),
    refused(CALICO, &["v3"], "WorkloadEndpoint"),
    refused(CLUSTER_POLICY, &["v1alpha2"], "ClusterNetworkPolicy"),
    refused(CLUSTER_POLICY, &["v1alpha1"], "AdminNetworkPolicy"),
    refused(CLUSTER_POLICY, &["v1alpha1"], "BaselineAdminNetworkPolicy"),
];
