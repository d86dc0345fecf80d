//! The table of kinds.

use crate::diagnostic::nearest;

/// What becomes of the objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindRole {
    /// They are read.
    Read(ObjectKind),
    /// Policy that is not compiled yet: refused.
    Refused,
    /// Nothing that Palisade enforces: skipped and counted.
    Skipped,
}

/// The kinds that are read, by who reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// Policy, read strictly by the `manifest` room.
    Manifest(ManifestKind),
    /// The cluster as it is, read by the `inventory` room.
    Inventory(InventoryKind),
}

/// The kinds of policy, and of what policy needs to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManifestKind {
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
    /// Calico's interface of a node.
    HostEndpoint,
    /// Calico's policy of the endpoints that name it, behind all tiers.
    Profile,
    /// Calico's endpoint, by its own words instead of a pod's.
    WorkloadEndpoint,
    /// Calico's namespaced policy, proposed.
    StagedNetworkPolicy,
    /// Calico's cluster-wide policy, proposed.
    StagedGlobalNetworkPolicy,
    /// Kubernetes' own policy, proposed.
    StagedKubernetesNetworkPolicy,
    /// Kubernetes' own policy.
    KubernetesNetworkPolicy,
    /// Kubernetes' cluster-wide policy.
    ClusterNetworkPolicy,
    /// Kubernetes' cluster-wide policy before all others, as it was before `ClusterNetworkPolicy`.
    AdminNetworkPolicy,
    /// Kubernetes' cluster-wide policy behind all others, as it was before `ClusterNetworkPolicy`.
    BaselineAdminNetworkPolicy,
}

/// The kinds of what is in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InventoryKind {
    /// A namespace.
    Namespace,
    /// A service account.
    ServiceAccount,
    /// A pod.
    Pod,
    /// A node.
    Node,
    /// Some of a service's backends.
    EndpointSlice,
    /// All of a service's backends, as it was before `EndpointSlice`.
    Endpoints,
    /// Pods, replaced by and by.
    Deployment,
    /// Pods with names and disks of their own.
    StatefulSet,
    /// A pod on every node.
    DaemonSet,
    /// So many pods.
    ReplicaSet,
    /// So many pods, as it was before `ReplicaSet`.
    ReplicationController,
    /// Pods that come to an end.
    Job,
    /// Jobs by the clock.
    CronJob,
}

/// Why an object is refused for its kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KindRefusal {
    pub(super) culprit: RefusalField,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Which of the two is to be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalField {
    ApiVersion,
    Kind,
}

impl ObjectKind {
    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|row| row.role == KindRole::Read(self))
            .map_or("", |row| row.name)
    }
}

impl InventoryKind {
    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        ObjectKind::Inventory(self).name()
    }
}

/// One row: an API group, its versions, a kind's name there, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct KindRow {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Versions whose schema we read; none where the version does not matter.
    pub versions: &'static [&'static str],
    /// Name of the kind.
    pub name: &'static str,
    /// What becomes of it.
    pub role: KindRole,
}

const CALICO: &str = "projectcalico.org";
const CALICO_INTERNAL: &str = "crd.projectcalico.org";
const KUBERNETES: &str = "networking.k8s.io";
const CLUSTER_POLICY: &str = "policy.networking.k8s.io";

const fn manifest(
    group: &'static str,
    versions: &'static [&'static str],
    name: &'static str,
    kind: ManifestKind,
) -> KindRow {
    KindRow {
        group,
        versions,
        name,
        role: KindRole::Read(ObjectKind::Manifest(kind)),
    }
}

const fn inventory(
    group: &'static str,
    versions: &'static [&'static str],
    name: &'static str,
    kind: InventoryKind,
) -> KindRow {
    KindRow {
        group,
        versions,
        name,
        role: KindRole::Read(ObjectKind::Inventory(kind)),
    }
}

const fn refused(
    group: &'static str,
    versions: &'static [&'static str],
    name: &'static str,
) -> KindRow {
    KindRow {
        group,
        versions,
        name,
        role: KindRole::Refused,
    }
}

const fn skipped(group: &'static str, name: &'static str) -> KindRow {
    KindRow {
        group,
        versions: &[],
        name,
        role: KindRole::Skipped,
    }
}

/// Every kind that is known by name. One that is not here is skipped, unless its group is one of
/// policy or its name is that of a network policy.
pub const KINDS: &[KindRow] = &[
    manifest(
        CALICO,
        &["v3"],
        "NetworkPolicy",
        ManifestKind::NetworkPolicy,
    ),
    manifest(
        CALICO,
        &["v3"],
        "GlobalNetworkPolicy",
        ManifestKind::GlobalNetworkPolicy,
    ),
    manifest(CALICO, &["v3"], "Tier", ManifestKind::Tier),
    manifest(CALICO, &["v3"], "NetworkSet", ManifestKind::NetworkSet),
    manifest(
        CALICO,
        &["v3"],
        "GlobalNetworkSet",
        ManifestKind::GlobalNetworkSet,
    ),
    manifest(CALICO, &["v3"], "HostEndpoint", ManifestKind::HostEndpoint),
    manifest(CALICO, &["v3"], "Profile", ManifestKind::Profile),
    manifest(
        CALICO,
        &["v3"],
        "WorkloadEndpoint",
        ManifestKind::WorkloadEndpoint,
    ),
    manifest(
        CALICO,
        &["v3"],
        "StagedNetworkPolicy",
        ManifestKind::StagedNetworkPolicy,
    ),
    manifest(
        CALICO,
        &["v3"],
        "StagedGlobalNetworkPolicy",
        ManifestKind::StagedGlobalNetworkPolicy,
    ),
    manifest(
        CALICO,
        &["v3"],
        "StagedKubernetesNetworkPolicy",
        ManifestKind::StagedKubernetesNetworkPolicy,
    ),
    manifest(
        CALICO_INTERNAL,
        &["v1"],
        "NetworkPolicy",
        ManifestKind::NetworkPolicy,
    ),
    manifest(
        CALICO_INTERNAL,
        &["v1"],
        "GlobalNetworkPolicy",
        ManifestKind::GlobalNetworkPolicy,
    ),
    manifest(CALICO_INTERNAL, &["v1"], "Tier", ManifestKind::Tier),
    manifest(
        CALICO_INTERNAL,
        &["v1"],
        "NetworkSet",
        ManifestKind::NetworkSet,
    ),
    manifest(
        CALICO_INTERNAL,
        &["v1"],
        "GlobalNetworkSet",
        ManifestKind::GlobalNetworkSet,
    ),
    manifest(
        CALICO_INTERNAL,
        &["v1"],
        "HostEndpoint",
        ManifestKind::HostEndpoint,
    ),
    manifest(
        CALICO_INTERNAL,
        &["v1"],
        "StagedNetworkPolicy",
        ManifestKind::StagedNetworkPolicy,
    ),
    manifest(
        CALICO_INTERNAL,
        &["v1"],
        "StagedGlobalNetworkPolicy",
        ManifestKind::StagedGlobalNetworkPolicy,
    ),
    manifest(
        CALICO_INTERNAL,
        &["v1"],
        "StagedKubernetesNetworkPolicy",
        ManifestKind::StagedKubernetesNetworkPolicy,
    ),
    manifest(
        KUBERNETES,
        &["v1"],
        "NetworkPolicy",
        ManifestKind::KubernetesNetworkPolicy,
    ),
    manifest(
        CLUSTER_POLICY,
        &["v1alpha2"],
        "ClusterNetworkPolicy",
        ManifestKind::ClusterNetworkPolicy,
    ),
    manifest(
        CLUSTER_POLICY,
        &["v1alpha1"],
        "AdminNetworkPolicy",
        ManifestKind::AdminNetworkPolicy,
    ),
    manifest(
        CLUSTER_POLICY,
        &["v1alpha1"],
        "BaselineAdminNetworkPolicy",
        ManifestKind::BaselineAdminNetworkPolicy,
    ),
    inventory("", &["v1"], "Namespace", InventoryKind::Namespace),
    inventory("", &["v1"], "ServiceAccount", InventoryKind::ServiceAccount),
    inventory("", &["v1"], "Pod", InventoryKind::Pod),
    inventory("", &["v1"], "Node", InventoryKind::Node),
    inventory(
        "discovery.k8s.io",
        &["v1"],
        "EndpointSlice",
        InventoryKind::EndpointSlice,
    ),
    inventory("", &["v1"], "Endpoints", InventoryKind::Endpoints),
    inventory("apps", &["v1"], "Deployment", InventoryKind::Deployment),
    inventory("apps", &["v1"], "StatefulSet", InventoryKind::StatefulSet),
    inventory("apps", &["v1"], "DaemonSet", InventoryKind::DaemonSet),
    inventory("apps", &["v1"], "ReplicaSet", InventoryKind::ReplicaSet),
    inventory(
        "",
        &["v1"],
        "ReplicationController",
        InventoryKind::ReplicationController,
    ),
    inventory("batch", &["v1"], "Job", InventoryKind::Job),
    inventory("batch", &["v1"], "CronJob", InventoryKind::CronJob),
    refused("extensions", &["v1beta1"], "NetworkPolicy"),
    skipped(CALICO, "BGPConfiguration"),
    skipped(CALICO, "BGPFilter"),
    skipped(CALICO, "BGPPeer"),
    skipped(CALICO, "BlockAffinity"),
    skipped(CALICO, "CalicoNodeStatus"),
    skipped(CALICO, "ClusterInformation"),
    skipped(CALICO, "FelixConfiguration"),
    skipped(CALICO, "IPAMConfiguration"),
    skipped(CALICO, "IPPool"),
    skipped(CALICO, "IPReservation"),
    skipped(CALICO, "KubeControllersConfiguration"),
    skipped(CALICO_INTERNAL, "BGPConfiguration"),
    skipped(CALICO_INTERNAL, "BGPFilter"),
    skipped(CALICO_INTERNAL, "BGPPeer"),
    skipped(CALICO_INTERNAL, "BlockAffinity"),
    skipped(CALICO_INTERNAL, "CalicoNodeStatus"),
    skipped(CALICO_INTERNAL, "ClusterInformation"),
    skipped(CALICO_INTERNAL, "FelixConfiguration"),
    skipped(CALICO_INTERNAL, "IPAMBlock"),
    skipped(CALICO_INTERNAL, "IPAMConfig"),
    skipped(CALICO_INTERNAL, "IPAMHandle"),
    skipped(CALICO_INTERNAL, "IPPool"),
    skipped(CALICO_INTERNAL, "IPReservation"),
    skipped(CALICO_INTERNAL, "KubeControllersConfiguration"),
    skipped(KUBERNETES, "Ingress"),
    skipped(KUBERNETES, "IngressClass"),
    skipped(KUBERNETES, "IPAddress"),
    skipped(KUBERNETES, "ServiceCIDR"),
];

/// Groups whose kinds are all known by name, so that a misspelt kind is not taken for one that says
/// nothing about policy.
const POLICY_GROUPS: &[&str] = &[CALICO, CALICO_INTERNAL, KUBERNETES, CLUSTER_POLICY];

const NOT_ENFORCED: &str = "Palisade refuses policy that it does not enforce";

impl KindRow {
    fn is_policy(&self) -> bool {
        matches!(self.role, KindRole::Read(ObjectKind::Manifest(_)))
    }

    /// Whether the group is Calico's internal one.
    pub(super) fn is_internal(&self) -> bool {
        self.group == CALICO_INTERNAL
    }

    fn reads(&self, version: &str) -> bool {
        self.versions.is_empty() || self.versions.contains(&version)
    }

    /// The API versions as written in manifests, in back-ticks.
    fn api_versions(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        let names: Vec<String> = self
            .versions
            .iter()
            .map(|version| format!("`{}{slash}{version}`", self.group))
            .collect();
        names.join(", ")
    }
}

/// The row of a kind, none where no row has that name.
pub(super) fn row(group: &str, name: &str) -> Option<&'static KindRow> {
    KINDS
        .iter()
        .find(|row| row.group == group && row.name == name)
}

/// What becomes of an object: its row, none where it is skipped for not being in the table, or why
/// it is refused.
pub(super) fn judge(
    group: &str,
    version: &str,
    name: &str,
) -> Result<Option<&'static KindRow>, KindRefusal> {
    match row(group, name) {
        Some(row) if row.role == KindRole::Refused => Err(refuse_kind(group, name)),
        Some(row) if row.reads(version) => Ok(Some(row)),
        Some(row) => Err(KindRefusal {
            culprit: RefusalField::ApiVersion,
            message: format!("version `{version}` of `{name}` is not supported"),
            help: Some(format!("supported: {}", row.api_versions())),
        }),
        None if POLICY_GROUPS.contains(&group) => Err(refuse_name(group, name)),
        None => misspelt(group, name)
            .or_else(|| foreign_policy(group, name))
            .map_or(Ok(None), Err),
    }
}

/// Refuses a kind of a group, naming the groups in which it is read.
fn refuse_kind(group: &str, name: &str) -> KindRefusal {
    let rows = KINDS
        .iter()
        .filter(|row| row.name == name && row.is_policy() && !row.is_internal());
    let elsewhere: Vec<String> = rows.map(KindRow::api_versions).collect();
    let message = format!("`{name}` of the API group `{group}` is not supported");
    let (culprit, help) = match elsewhere.as_slice() {
        [] => (RefusalField::Kind, NOT_ENFORCED.to_owned()),
        _ => (
            RefusalField::ApiVersion,
            format!("supported: {}", elsewhere.join(", ")),
        ),
    };

    KindRefusal {
        culprit,
        message,
        help: Some(help),
    }
}

fn refuse_name(group: &str, name: &str) -> KindRefusal {
    let meant = nearest_in(group, name).map(|name| format!("did you mean `{name}`?"));
    let group = if group.is_empty() {
        "core API group".to_owned()
    } else {
        format!("API group `{group}`")
    };

    let message = format!("the {group} has no kind `{name}` that Palisade knows");
    KindRefusal {
        culprit: RefusalField::Kind,
        message,
        help: meant.or_else(|| Some(NOT_ENFORCED.to_owned())),
    }
}

fn nearest_in(group: &str, name: &str) -> Option<&'static str> {
    nearest(
        name,
        KINDS
            .iter()
            .filter(|row| row.group == group)
            .map(|row| row.name),
    )
}

/// A kind all but like one that is read, such as `Pods`: skipping it would leave a hole in the
/// inventory.
fn misspelt(group: &str, name: &str) -> Option<KindRefusal> {
    nearest_in(group, name).map(|_| refuse_name(group, name))
}

/// A kind that has the name of a network policy or network set, in a group that has none: the group
/// is misspelt, or another engine's. Names like `Tier` or `Profile` are too common to go by.
fn foreign_policy(group: &str, name: &str) -> Option<KindRefusal> {
    let known = KINDS
        .iter()
        .any(|row| row.name == name && (row.is_policy() || row.role == KindRole::Refused));
    (known && name.contains("Network")).then(|| refuse_kind(group, name))
}
