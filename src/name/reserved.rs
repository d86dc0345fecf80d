//! Labels that Calico adds to endpoints and network sets, besides those in manifests (semantics
//! §3.1), and the name that all objects of one kind must have.

/// The namespace of an endpoint or namespaced network set.
pub const NAMESPACE: &str = "projectcalico.org/namespace";
/// The system that runs an endpoint; `k8s` for every pod.
pub const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
/// The name of an endpoint's service account.
pub const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";
/// With a prefix: the name of the namespace or service account itself.
pub const NAME: &str = "projectcalico.org/name";
/// The name of a namespace, as Kubernetes labels it.
pub const METADATA_NAME: &str = "kubernetes.io/metadata.name";
/// Prefix of labels that an endpoint inherits from its namespace.
pub const NAMESPACE_PREFIX: &str = "pcns.";
/// Prefix of labels that an endpoint inherits from its service account.
pub const SERVICE_ACCOUNT_PREFIX: &str = "pcsa.";
/// The only valid name of a `BaselineAdminNetworkPolicy`.
pub const BASELINE_NAME: &str = "default";
