//! The table of kinds.

use crate::diagnostic::nearest;

/// What happens to the objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindRole {
    /// They are read.
    Read(ObjectKind),
    /// Policy that is not supported yet: refused.
    Refused,
    /// Irrelevant for Palisade: skipped and counted.
    Skipped,
}

/// The kinds that are read, by the room that reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// Policy, which the `manifest` room reads strictly.
    Manifest(ManifestKind),
    /// Objects of the cluster, which the `inventory` room reads.
    Inventory(InventoryKind),
}

/// The kinds of policy, and of objects that policy needs.
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
    /// Calico's rules of the endpoints that list it, evaluated after all tiers.
    Profile,
    /// Calico's endpoint, described without a pod.
    WorkloadEndpoint,
    /// Calico's namespaced policy, staged.
    StagedNetworkPolicy,
    /// Calico's cluster-wide policy, staged.
    StagedGlobalNetworkPolicy,
    /// Kubernetes' own policy, staged.
    StagedKubernetesNetworkPolicy,
    /// Kubernetes' own policy.
    KubernetesNetworkPolicy,
    /// Kubernetes' cluster-wide policy.
    ClusterNetworkPolicy,
    /// Kubernetes' cluster-wide policy that comes before all others. Predecessor of
    /// `ClusterNetworkPolicy`.
    AdminNetworkPolicy,
    /// Kubernetes' cluster-wide policy that comes after all others. Predecessor of
    /// `ClusterNetworkPolicy`.
    BaselineAdminNetworkPolicy,
}

/// The kinds of cluster objects.
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
    /// All of a service's backends. Predecessor of `EndpointSlice`.
    Endpoints,
    /// Replicated pods with rolling updates.
    Deployment,
    /// Pods with stable names and volumes.
    StatefulSet,
    /// A pod on every node.
    DaemonSet,
    /// A number of equal pods.
    ReplicaSet,
    /// A number of equal pods. Predecessor of `ReplicaSet`.
    ReplicationController,
    /// Pods that run to completion.
    Job,
    /// Scheduled jobs.
    CronJob,
}

/// Why the kind of an object is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KindRefusal {
    pub(super) culprit: RefusalField,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Which of the two fields the user should fix.
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

/// One row: an API group, its versions, the name of a kind, and what happens to its objects.
#[derive(Debug, Clone, Copy)]
pub struct KindRow {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Versions with a supported schema. Empty if the version does not matter.
    pub versions: &'static [&'static str],
    /// Name of the kind.
    pub name: &'static str,
    /// What happens to objects of the kind.
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

/// Every kind that is known by name. Other kinds are skipped, unless the group is a policy group or
/// the name is that of a network policy.
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

/// Groups of which all kinds are known by name. A misspelt kind in such a group is refused instead
/// of skipped.
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

/// The row of a kind, or `None` if the table does not contain it.
pub(super) fn row(group: &str, name: &str) -> Option<&'static KindRow> {
    KINDS
        .iter()
        .find(|row| row.group == group && row.name == name)
}

/// Decides what happens to an object. Returns its row, or `None` if the object is skipped because
/// the table does not contain its kind.
///
/// # Errors
/// Returns the reason if the kind is refused.
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
        // An unknown kind in a policy group is an error: skipping policy would change verdicts.
        None if POLICY_GROUPS.contains(&group) => Err(refuse_name(group, name)),
        None => misspelt(group, name)
            .or_else(|| foreign_policy(group, name))
            .map_or(Ok(None), Err),
    }
}

/// Refuses a kind of a group. The message contains the groups in which the kind is read.
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

/// Refuses a kind that is similar to one that is read, such as `Pods`. Skipping it would leave a
/// hole in the inventory.
fn misspelt(group: &str, name: &str) -> Option<KindRefusal> {
    nearest_in(group, name).map(|_| refuse_name(group, name))
}

/// Refuses a kind with the name of a network policy or network set in an unknown group: the group
/// is misspelt, or belongs to another engine. Names like `Tier` or `Profile` are too common for
/// this check.
fn foreign_policy(group: &str, name: &str) -> Option<KindRefusal> {
    let known = KINDS
        .iter()
        .any(|row| row.name == name && (row.is_policy() || row.role == KindRole::Refused));
    (known && name.contains("Network")).then(|| refuse_kind(group, name))
}
