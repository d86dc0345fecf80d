//! The written form of policy objects.

use std::fmt;

use crate::net::{Direction, Family, Protocol};
use crate::source::{Span, Spanned, SpannedString};

/// All policy of one compile, as written.
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
    /// Endpoints that say themselves what they are.
    pub workload_endpoints: Vec<WorkloadEndpoint>,
    /// Proposed policies.
    pub staged: Vec<StagedManifest>,
    /// Tiers.
    pub tiers: Vec<Tier>,
    /// Network sets, namespaced and global.
    pub network_sets: Vec<NetworkSet>,
    /// Host endpoints.
    pub host_endpoints: Vec<HostEndpoint>,
}

/// What identifies an object.
#[derive(Debug)]
pub struct Metadata {
    /// The name as written.
    pub name: SpannedString,
    /// The namespace of an object of a namespaced kind (`default` where none is written); none for
    /// a cluster-wide kind.
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
    /// Labels of the endpoints it applies to.
    pub selector: Option<SpannedString>,
    /// Labels of their namespaces; only in a global policy.
    pub namespace_selector: Option<SpannedString>,
    /// Labels of their service accounts.
    pub service_account_selector: Option<SpannedString>,
    /// Directions.
    pub types: Vec<Spanned<Direction>>,
    /// Ingress rules.
    pub ingress: Vec<Rule>,
    /// Egress rules.
    pub egress: Vec<Rule>,
    /// Whether it decides before connections are tracked; only in a global policy, as the next two.
    pub do_not_track: Option<Spanned<bool>>,
    /// Whether it decides before destinations are translated.
    pub pre_dnat: Option<Spanned<bool>>,
    /// Whether it is for traffic that a host forwards too.
    pub apply_on_forward: Option<Spanned<bool>>,
}

/// A policy that is proposed, and not in force.
#[derive(Debug)]
pub struct StagedManifest {
    /// What is proposed.
    pub action: StagedAction,
    /// The policy; one that proposes to delete another has that one's name and no contents.
    pub policy: StagedPolicy,
}

/// What a staged policy proposes to do with the enforced policy of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StagedAction {
    /// To put this in its place.
    Set,
    /// To remove it.
    Delete,
    /// As `Set`: an engine that learns from traffic wrote it.
    Learn,
    /// Nothing.
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
    /// What it does.
    pub action: Action,
    /// Family.
    pub ip_version: Option<Spanned<Family>>,
    /// Protocol.
    pub protocol: Option<Spanned<WrittenProtocol>>,
    /// Whether a protocol is written that is none, which has been reported; `protocol` is absent
    /// then.
    pub protocol_is_wrong: bool,
    /// Excluded protocol.
    pub not_protocol: Option<Spanned<WrittenProtocol>>,
    /// ICMP type and code.
    pub icmp: Option<Spanned<Icmp>>,
    /// Excluded ICMP type and code.
    pub not_icmp: Option<Spanned<Icmp>>,
    /// Where its HTTP conditions stand.
    pub http: Option<Span>,
    /// The sender.
    pub source: RuleSide,
    /// The receiver.
    pub destination: RuleSide,
}

/// A protocol and how it was written: Calico ties the names `ICMP` and `ICMPv6` to their families,
/// and numbers to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenProtocol {
    /// By name.
    Name(Protocol),
    /// By number.
    Number(Protocol),
}

/// What a rule does, by Calico's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let the packet through on this side.
    Allow,
    /// Drop it.
    Deny,
    /// Write a line to the kernel's log and go on with the next rule.
    Log,
    /// Skip the rest of the tier.
    Pass,
}

/// The end of a tier, by Calico's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DefaultAction {
    /// Drop.
    Deny,
    /// Go on to the next tier.
    Pass,
}

/// An ICMP type, and a code where one is demanded (RFC 792, RFC 4443).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Icmp {
    /// The type.
    pub kind: u8,
    /// The code; none matches every code of the type.
    pub code: Option<u8>,
}

/// One side of a Calico rule.
#[derive(Debug, Default)]
pub struct RuleSide {
    /// Prefixes.
    pub nets: Vec<SpannedString>,
    /// Excluded prefixes.
    pub not_nets: Vec<SpannedString>,
    /// Labels of endpoints and network sets.
    pub selector: Option<SpannedString>,
    /// Labels of those that are excluded.
    pub not_selector: Option<SpannedString>,
    /// Labels of their namespaces.
    pub namespace_selector: Option<SpannedString>,
    /// Their service accounts.
    pub service_accounts: Option<ServiceAccounts>,
    /// A service whose backends are meant.
    pub services: Option<ServiceRef>,
    /// Ports; none where the field is absent or empty.
    pub ports: Vec<WrittenPort>,
    /// Excluded ports.
    pub not_ports: Vec<WrittenPort>,
}

/// Service accounts by name and by label; both must hold where both are there.
#[derive(Debug)]
pub struct ServiceAccounts {
    /// Names; any when empty.
    pub names: Vec<SpannedString>,
    /// Labels of the service account.
    pub selector: Option<SpannedString>,
}

/// A service by name.
#[derive(Debug)]
pub struct ServiceRef {
    /// The whole field.
    pub span: Span,
    /// The name.
    pub name: SpannedString,
    /// The namespace; the policy's own when absent.
    pub namespace: Option<SpannedString>,
}

/// A port as written.
#[derive(Debug)]
pub struct WrittenPort {
    /// `80`, `80:90` or `http`.
    pub text: String,
    /// Where.
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
    /// Who runs it.
    pub orchestrator: SpannedString,
    /// Where it runs.
    pub node: SpannedString,
    /// What it runs as, where it says so.
    pub service_account: Option<SpannedString>,
    /// Its addresses, each as a prefix of full length.
    pub networks: Vec<SpannedString>,
    /// The names of its profiles, first asked first.
    pub profiles: Vec<SpannedString>,
    /// Its named ports.
    pub ports: Vec<EndpointPort>,
}

/// A port that an endpoint gives a name.
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
    /// What becomes of traffic that no rule in it decides.
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

/// A port that a host endpoint gives a name.
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
    /// The other side; anyone when empty.
    pub peers: Vec<KubernetesPeer>,
    /// Ports of the receiver; any when empty.
    pub ports: Vec<KubernetesPort>,
}

/// A peer of a Kubernetes rule.
#[derive(Debug)]
pub enum KubernetesPeer {
    /// Pods by their labels and their namespaces' labels. One of the two is there.
    Pods {
        /// Labels of the pods.
        pods: Option<KubernetesSelector>,
        /// Labels of their namespaces; the policy's own namespace when absent.
        namespaces: Option<KubernetesSelector>,
    },
    /// A prefix and the prefixes in it that are left out.
    Block {
        /// The prefix; none where it is missing, which has been reported.
        cidr: Option<SpannedString>,
        /// What is left out.
        except: Vec<SpannedString>,
    },
}

/// A port of a Kubernetes rule.
#[derive(Debug)]
pub struct KubernetesPort {
    /// The whole entry.
    pub span: Span,
    /// Protocol; TCP when absent.
    pub protocol: Protocol,
    /// Number or name; every port when absent.
    pub port: Option<WrittenPort>,
    /// Last port of a range that begins with `port`.
    pub end_port: Option<Spanned<i64>>,
}

/// A `ClusterNetworkPolicy`, `AdminNetworkPolicy` or `BaselineAdminNetworkPolicy`.
#[derive(Debug)]
pub struct ClusterPolicy {
    /// The name.
    pub metadata: Metadata,
    /// Its kind and, for a `ClusterNetworkPolicy`, its tier.
    pub rank: ClusterRank,
    /// Position in its tier, lowest first; a baseline policy of `v1alpha1` has none.
    pub priority: Option<i64>,
    /// The pods it applies to.
    pub subject: ClusterPods,
    /// Ingress rules.
    pub ingress: Vec<ClusterRule>,
    /// Egress rules.
    pub egress: Vec<ClusterRule>,
}

/// Where a cluster-wide policy stands.
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
    /// Labels of the pods; everything in the namespaces when absent.
    pub pods: Option<KubernetesSelector>,
}

/// A rule of a cluster-wide policy.
#[derive(Debug)]
pub struct ClusterRule {
    /// The whole rule.
    pub span: Span,
    /// What it does.
    pub action: Action,
    /// The other side; one at least.
    pub peers: Vec<ClusterPeer>,
    /// Ports of the receiver; any when empty.
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
    /// The protocol; any for a port by name.
    pub protocol: Option<Protocol>,
    /// Number, range or name; every port of the protocol when absent.
    pub port: Option<WrittenPort>,
}

/// A Kubernetes label selector: all requirements must hold.
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
    /// What it compares with; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<SpannedString>,
}

/// Comparisons of label selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOperator {
    /// The value is one of the list.
    In,
    /// The label is absent, or its value is none of the list.
    NotIn,
    /// The label is there.
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
    /// The protocol, however written.
    pub fn protocol(self) -> Protocol {
        match self {
            WrittenProtocol::Name(protocol) | WrittenProtocol::Number(protocol) => protocol,
        }
    }
}

impl Metadata {
    /// The name of a policy in this tier, without the `default.` that older Calico put before names
    /// in tier `default`.
    pub fn short_name(&self, tier: Option<&str>) -> &str {
        let name = self.name.value.as_str();
        match tier {
            None | Some("" | "default") => name.strip_prefix("default.").unwrap_or(name),
            Some(_) => name,
        }
    }
}
