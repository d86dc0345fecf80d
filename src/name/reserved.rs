//! Labels that Calico gives endpoints and network sets, beside those that people give (semantics
//! §3.1), and the one name that all objects of a kind must have.

/// The namespace of an endpoint or namespaced network set.
pub const NAMESPACE: &str = "projectcalico.org/namespace";
/// Who runs an endpoint; `k8s` for every pod.
pub const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
/// The name of an endpoint's service account.
pub const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";
/// Behind a prefix: the name of the namespace or service account itself.
pub const NAME: &str = "projectcalico.org/name";
/// The name of a namespace, as Kubernetes labels it.
pub const METADATA_NAME: &str = "kubernetes.io/metadata.name";
/// Stands before the labels of an endpoint's namespace.
pub const NAMESPACE_PREFIX: &str = "pcns.";
/// Stands before the labels of an endpoint's service account.
pub const SERVICE_ACCOUNT_PREFIX: &str = "pcsa.";
/// The one name that a `BaselineAdminNetworkPolicy` may have.
pub const BASELINE_NAME: &str = "default";
