//! Policy objects as written.

use std::fmt;

use crate::net::{Direction, Family, Protocol};
use crate::source::{Span, Spanned, SpannedString};

/// All policy objects of one compile, as written.
#[derive(Debug, Default)]
pub struct Manifest {
    /// Calico policies, namespaced and global.
    pub policies: Vec<Policy>,
    /// Kubernetes policies.
    pub kubernetes_policies: Vec<KubernetesPolicy>,
    /// Cluster-wide Kubernetes policies.
    pub cluster_policies: Vec<ClusterPolicy>,
    /// Profiles.
    pub profiles: Vec<Profile>,
    /// Workload endpoints, which describe themselves without a pod.
    pub workload_endpoints: Vec<WorkloadEndpoint>,
    /// Staged policies.
    pub staged: Vec<StagedManifest>,
    /// Tiers.
    pub tiers: Vec<Tier>,
    /// Network sets, namespaced and global.
    pub network_sets: Vec<NetworkSet>,
    /// Host endpoints.
    pub host_endpoints: Vec<HostEndpoint>,
}

/// Identity and labels of an object.
#[derive(Debug)]
pub struct Metadata {
    /// The name as written.
    pub name: SpannedString,
    /// The namespace of an object of a namespaced kind (`default` if none is written), or `None`
    /// for a cluster-wide kind.
    pub namespace: Option<Spanned<String>>,
    /// Labels.
    pub labels: Vec<(SpannedString, SpannedString)>,
}

/// A Calico `NetworkPolicy` or `GlobalNetworkPolicy`.
#[derive(Debug)]
pub struct Policy {
    /// Name and, for a namespaced policy, namespace.
    pub metadata: Metadata,
    /// The tier's name.
    pub tier: Option<SpannedString>,
    /// Position in the tier.
    pub order: Option<Spanned<f64>>,
    /// Selects endpoints by their labels.
    pub selector: Option<SpannedString>,
    /// Selects endpoints by labels of their namespaces. Only in a global policy.
    pub namespace_selector: Option<SpannedString>,
    /// Selects endpoints by labels of their service accounts.
    pub service_account_selector: Option<SpannedString>,
    /// Directions.
    pub types: Vec<Spanned<Direction>>,
    /// Ingress rules.
    pub ingress: Vec<Rule>,
    /// Egress rules.
    pub egress: Vec<Rule>,
    /// Whether it applies before connection tracking. This field and the next two exist only in a
    /// global policy.
    pub do_not_track: Option<Spanned<bool>>,
    /// Whether it applies before DNAT.
    pub pre_dnat: Option<Spanned<bool>>,
    /// Whether it applies to traffic that a host forwards too.
    pub apply_on_forward: Option<Spanned<bool>>,
}

/// A policy that is proposed and not enforced.
#[derive(Debug)]
pub struct StagedManifest {
    /// The proposed action.
    pub action: StagedAction,
    /// The policy. A proposal to delete a policy has that policy's name and no content.
    pub policy: StagedPolicy,
}

/// What a staged policy proposes to do with the enforced policy of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StagedAction {
    /// Replace or create the enforced policy.
    Set,
    /// Remove the enforced policy.
    Delete,
    /// Like `Set`; written by an engine that learns from traffic.
    Learn,
    /// Do nothing.
    Ignore,
}

/// A policy of a staged kind.
#[derive(Debug)]
pub enum StagedPolicy {
    /// A `StagedNetworkPolicy` or `StagedGlobalNetworkPolicy`.
    Calico(Box<Policy>),
    /// A `StagedKubernetesNetworkPolicy`.
    Kubernetes(KubernetesPolicy),
}

/// A Calico rule.
#[derive(Debug)]
pub struct Rule {
    /// The whole rule.
    pub span: Span,
    /// Action.
    pub action: Action,
    /// Address family.
    pub ip_version: Option<Spanned<Family>>,
    /// Protocol.
    pub protocol: Option<Spanned<WrittenProtocol>>,
    /// Whether the protocol is written but invalid, which has been reported. `protocol` is `None`
    /// then.
    pub protocol_is_wrong: bool,
    /// Excluded protocol.
    pub not_protocol: Option<Spanned<WrittenProtocol>>,
    /// ICMP type and code.
    pub icmp: Option<Spanned<Icmp>>,
    /// Excluded ICMP type and code.
    pub not_icmp: Option<Spanned<Icmp>>,
    /// Location of its HTTP conditions.
    pub http: Option<Span>,
    /// The sender.
    pub source: RuleSide,
    /// The receiver.
    pub destination: RuleSide,
}

/// A protocol and its notation. Calico ties the names `ICMP` and `ICMPv6` to their address
/// families, but not the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenProtocol {
    /// By name.
    Name(Protocol),
    /// By number.
    Number(Protocol),
}

/// The action of a rule, by Calico's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Accept the packet on this side.
    Allow,
    /// Drop the packet.
    Deny,
    /// Write a line to the kernel's log and continue with the next rule.
    Log,
    /// Skip the rest of the tier.
    Pass,
}

/// The default action of a tier, by Calico's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefaultAction {
    /// Drop the packet.
    Deny,
    /// Continue with the next tier.
    Pass,
}

/// An ICMP type, and optionally a code (RFC 792, RFC 4443).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Icmp {
    /// The type.
    pub kind: u8,
    /// The code, or `None` for every code of the type.
    pub code: Option<u8>,
}

/// One side of a Calico rule.
#[derive(Debug, Default)]
pub struct RuleSide {
    /// Prefixes.
    pub nets: Vec<SpannedString>,
    /// Excluded prefixes.
    pub not_nets: Vec<SpannedString>,
    /// Selects endpoints and network sets by label.
    pub selector: Option<SpannedString>,
    /// Excludes endpoints and network sets by label.
    pub not_selector: Option<SpannedString>,
    /// Selects by labels of their namespaces.
    pub namespace_selector: Option<SpannedString>,
    /// Selects by their service accounts.
    pub service_accounts: Option<ServiceAccounts>,
    /// A service whose backends match.
    pub services: Option<ServiceRef>,
    /// Ports. Empty if the field is absent or empty.
    pub ports: Vec<WrittenPort>,
    /// Excluded ports.
    pub not_ports: Vec<WrittenPort>,
}

/// Service accounts by name and by label. If both are present, both must match.
#[derive(Debug)]
pub struct ServiceAccounts {
    /// Names. Empty matches any name.
    pub names: Vec<SpannedString>,
    /// Selects by labels of the service account.
    pub selector: Option<SpannedString>,
}

/// A service by name.
#[derive(Debug)]
pub struct ServiceRef {
    /// The span of the whole field.
    pub span: Span,
    /// The name.
    pub name: SpannedString,
    /// The namespace, or `None` for the policy's own.
    pub namespace: Option<SpannedString>,
}

/// A port as written.
#[derive(Debug)]
pub struct WrittenPort {
    /// `80`, `80:90` or `http`.
    pub text: String,
    /// The location.
    pub span: Span,
}

/// A Calico `Profile`.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub metadata: Metadata,
    /// Ingress rules.
    pub ingress: Vec<Rule>,
    /// Egress rules.
    pub egress: Vec<Rule>,
    /// Labels that its endpoints inherit.
    pub labels: Vec<(SpannedString, SpannedString)>,
}

/// A Calico `WorkloadEndpoint`.
#[derive(Debug)]
pub struct WorkloadEndpoint {
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// The system that runs it.
    pub orchestrator: SpannedString,
    /// The node on which it runs.
    pub node: SpannedString,
    /// Its service account, if one is written.
    pub service_account: Option<SpannedString>,
    /// Its addresses, each as a prefix of full length.
    pub networks: Vec<SpannedString>,
    /// The names of its profiles, in order of evaluation.
    pub profiles: Vec<SpannedString>,
    /// Its named ports.
    pub ports: Vec<EndpointPort>,
}

/// A named port of an endpoint.
#[derive(Debug)]
pub struct EndpointPort {
    /// The name.
    pub name: SpannedString,
    /// A protocol that has ports.
    pub protocol: Protocol,
    /// The number, from 1.
    pub number: u16,
}

/// A Calico `Tier`.
#[derive(Debug)]
pub struct Tier {
    /// Its name.
    pub metadata: Metadata,
    /// Position among tiers.
    pub order: Option<Spanned<f64>>,
    /// What happens to traffic that no rule in it decides.
    pub default_action: Option<Spanned<DefaultAction>>,
}

/// A `NetworkSet` or `GlobalNetworkSet`.
#[derive(Debug)]
pub struct NetworkSet {
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// Addresses and prefixes.
    pub nets: Vec<SpannedString>,
}

/// A `HostEndpoint`.
#[derive(Debug)]
pub struct HostEndpoint {
    /// Name and labels.
    pub metadata: Metadata,
    /// The node's name.
    pub node: SpannedString,
    /// The interface's name, or `*`.
    pub interface: Option<SpannedString>,
    /// Addresses of the interface.
    pub expected_ips: Vec<SpannedString>,
    /// Profiles.
    pub profiles: Vec<SpannedString>,
    /// Named ports.
    pub ports: Vec<HostPort>,
}

/// A named port of a host endpoint.
#[derive(Debug)]
pub struct HostPort {
    /// The name.
    pub name: SpannedString,
    /// The protocol.
    pub protocol: Spanned<WrittenProtocol>,
    /// The number.
    pub number: u16,
}

/// A Kubernetes `NetworkPolicy`.
#[derive(Debug)]
pub struct KubernetesPolicy {
    /// Name and namespace.
    pub metadata: Metadata,
    /// The pods it applies to.
    pub pod_selector: KubernetesSelector,
    /// Directions.
    pub types: Vec<Spanned<Direction>>,
    /// Ingress rules.
    pub ingress: Vec<KubernetesRule>,
    /// Egress rules.
    pub egress: Vec<KubernetesRule>,
}

/// A rule of a Kubernetes policy.
#[derive(Debug)]
pub struct KubernetesRule {
    /// The whole rule.
    pub span: Span,
    /// The remote side. Empty matches any peer.
    pub peers: Vec<KubernetesPeer>,
    /// Ports of the receiver. Empty matches any port.
    pub ports: Vec<KubernetesPort>,
}

/// A peer of a Kubernetes rule.
#[derive(Debug)]
pub enum KubernetesPeer {
    /// Pods by their labels and by labels of their namespaces. At least one of the two is present.
    Pods {
        /// Labels of the pods.
        pods: Option<KubernetesSelector>,
        /// Labels of their namespaces, or `None` for the policy's own namespace.
        namespaces: Option<KubernetesSelector>,
    },
    /// A prefix with exceptions.
    Block {
        /// The prefix, or `None` if it is missing, which has been reported.
        cidr: Option<SpannedString>,
        /// Prefixes that are excluded.
        except: Vec<SpannedString>,
    },
}

/// A port of a Kubernetes rule.
#[derive(Debug)]
pub struct KubernetesPort {
    /// The whole entry.
    pub span: Span,
    /// Protocol. The default is TCP.
    pub protocol: Protocol,
    /// Number or name, or `None` for every port.
    pub port: Option<WrittenPort>,
    /// Last port of a range that starts with `port`.
    pub end_port: Option<Spanned<i64>>,
}

/// A `ClusterNetworkPolicy`, `AdminNetworkPolicy` or `BaselineAdminNetworkPolicy`.
#[derive(Debug)]
pub struct ClusterPolicy {
    /// The name.
    pub metadata: Metadata,
    /// Its kind and, for a `ClusterNetworkPolicy`, its tier.
    pub rank: ClusterRank,
    /// Position in its tier, lowest first. `None` for a baseline policy of `v1alpha1`.
    pub priority: Option<i64>,
    /// The pods it applies to.
    pub subject: ClusterPods,
    /// Ingress rules.
    pub ingress: Vec<ClusterRule>,
    /// Egress rules.
    pub egress: Vec<ClusterRule>,
}

/// The kind and tier of a cluster-wide policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterRank {
    /// `ClusterNetworkPolicy` of tier `Admin`.
    Admin,
    /// `ClusterNetworkPolicy` of tier `Baseline`.
    Baseline,
    /// `AdminNetworkPolicy`.
    AdminNetworkPolicy,
    /// `BaselineAdminNetworkPolicy`.
    BaselineAdminNetworkPolicy,
}

/// Pods of namespaces.
#[derive(Debug, Default)]
pub struct ClusterPods {
    /// Labels of the namespaces.
    pub namespaces: KubernetesSelector,
    /// Labels of the pods, or `None` for everything in the namespaces.
    pub pods: Option<KubernetesSelector>,
}

/// A rule of a cluster-wide policy.
#[derive(Debug)]
pub struct ClusterRule {
    /// The whole rule.
    pub span: Span,
    /// Action.
    pub action: Action,
    /// The remote side. At least one peer.
    pub peers: Vec<ClusterPeer>,
    /// Ports of the receiver. Empty matches any port.
    pub ports: Vec<ClusterPort>,
}

/// A peer of a cluster-wide policy.
#[derive(Debug)]
pub enum ClusterPeer {
    /// Pods.
    Pods(ClusterPods),
    /// Prefixes.
    Networks(Vec<SpannedString>),
    /// Nodes by their labels.
    Nodes(KubernetesSelector),
}

/// A port of a cluster-wide policy.
#[derive(Debug)]
pub struct ClusterPort {
    /// The protocol, or `None` (any) for a named port.
    pub protocol: Option<Protocol>,
    /// Number, range or name, or `None` for every port of the protocol.
    pub port: Option<WrittenPort>,
}

/// A Kubernetes label selector. All requirements must hold.
#[derive(Debug, Default)]
pub struct KubernetesSelector {
    /// `matchLabels` first, by key, then `matchExpressions` as written.
    pub requirements: Vec<LabelRequirement>,
}

/// One requirement of a label selector.
#[derive(Debug)]
pub struct LabelRequirement {
    /// The label.
    pub key: SpannedString,
    /// The comparison.
    pub operator: LabelOperator,
    /// The values that it compares with. Empty for `Exists` and `DoesNotExist`.
    pub values: Vec<SpannedString>,
}

/// Comparisons of label selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOperator {
    /// The value is one of the list.
    In,
    /// The label is absent, or its value is not in the list.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Action::Allow => "allow",
            Action::Deny => "deny",
            Action::Log => "log",
            Action::Pass => "pass",
        })
    }
}

impl WrittenProtocol {
    /// The protocol, in either notation.
    pub fn protocol(self) -> Protocol {
        match self {
            WrittenProtocol::Name(protocol) | WrittenProtocol::Number(protocol) => protocol,
        }
    }
}

impl Metadata {
    /// The name of a policy in this tier, without the prefix `default.` that older Calico versions
    /// put before names in tier `default`.
    pub fn short_name(&self, tier: Option<&str>) -> &str {
        let name = self.name.value.as_str();
        match tier {
            None | Some("" | "default") => name.strip_prefix("default.").unwrap_or(name),
            Some(_) => name,
        }
    }
}
