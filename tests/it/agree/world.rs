//! A cluster and its policies as plain values: what the random generator makes, the manifests are
//! printed from, and the evaluator gives meaning to. Shares no type with palisade.

use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    /// Namespaces of the input; pods may be in others.
    pub(crate) namespaces: BTreeMap<String, Labels>,
    /// Service accounts of the input by namespace and name; pods may run as others.
    pub(crate) accounts: BTreeMap<(String, String), Labels>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) net_sets: Vec<NetSet>,
    pub(crate) backends: Vec<Backends>,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) staged: Vec<Staged>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) choices: Choices,
}

/// Options of the compile; all false and no failsafe ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choices {
    pub(crate) host_closed: bool,
    pub(crate) unknown_accepted: bool,
    pub(crate) encapsulated_dropped: bool,
    pub(crate) sources: Sources,
    /// Interfaces of pods; `+` at the end is any ending.
    pub(crate) pod_links: Vec<&'static str>,
    /// Ports of nodes.
    pub(crate) inbound: Vec<Failsafe>,
    /// Ports that nodes may reach.
    pub(crate) outbound: Vec<Failsafe>,
}

/// What is done about packets whose sender is not where they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sources {
    #[default]
    Strict,
    Loose,
    Logged,
    Trusted,
}

#[derive(Debug, Clone)]
pub(crate) struct Failsafe {
    pub(crate) protocol: u8,
    /// Of the other side; none is anywhere.
    pub(crate) net: Option<Net>,
    pub(crate) port: u16,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) ranges: Vec<Net>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) labels: Labels,
}

/// A pod, or another endpoint that has a `WorkloadEndpoint` object.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    /// None is a pod.
    pub(crate) workload: Option<Workload>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Position of the node; none is not scheduled.
    pub(crate) node: Option<usize>,
    pub(crate) account: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ports: Vec<NamedPort>,
    pub(crate) finished: bool,
    pub(crate) host_network: bool,
}

/// A host endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// Position of the node.
    pub(crate) node: usize,
    /// `*` is every interface.
    pub(crate) interface: Option<String>,
    /// Some, where there is no interface.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) labels: Labels,
    pub(crate) ports: Vec<NamedPort>,
    /// Names, first asked first.
    pub(crate) profiles: Vec<String>,
}

/// What only a `WorkloadEndpoint` says.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) orchestrator: String,
    /// Names, first asked first.
    pub(crate) profiles: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct NamedPort {
    pub(crate) name: String,
    pub(crate) protocol: u8,
    pub(crate) number: u16,
}

#[derive(Debug, Clone)]
pub(crate) struct NetSet {
    /// None is a global one.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) nets: Vec<Net>,
}

/// An `EndpointSlice`, or `Endpoints`, which count where their service has no slice.
#[derive(Debug, Clone)]
pub(crate) struct Backends {
    pub(crate) slice: bool,
    pub(crate) service: ServiceName,
    pub(crate) addresses: Vec<IpAddr>,
    /// Protocol and port.
    pub(crate) ports: Vec<(u8, u16)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net {
    pub(crate) address: IpAddr,
    pub(crate) length: u8,
}

#[derive(Debug, Clone)]
pub(crate) struct Tier {
    pub(crate) name: String,
    pub(crate) order: Option<f64>,
    pub(crate) pass: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Policy {
    Calico(CalicoPolicy),
    Kubernetes(KubernetesPolicy),
    Cluster(ClusterPolicy),
}

/// A policy that is proposed.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    pub(crate) action: StagedAction,
    /// Never a cluster-wide one of Kubernetes. Of one to delete only kind, namespace, name and tier
    /// count.
    pub(crate) policy: Policy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StagedAction {
    /// The default; not written.
    Unsaid,
    Set,
    Learn,
    Ignore,
    Delete,
}

#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// Labels to apply.
    pub(crate) labels: Labels,
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Ingress,
    Egress,
}

/// What of a host endpoint's traffic a global policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    #[default]
    Plain,
    /// `applyOnForward`
    Forwarded,
    /// `doNotTrack`
    Untracked,
    /// `preDNAT`
    PreDnat,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct CalicoPolicy {
    /// None is a global policy.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) tier: Option<String>,
    pub(crate) order: Option<f64>,
    pub(crate) selector: Option<Selector>,
    pub(crate) namespaces: Option<Selector>,
    pub(crate) accounts: Option<Selector>,
    pub(crate) types: Vec<Way>,
    /// Always plain in a namespace.
    pub(crate) stage: Stage,
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
    Pass,
    Log,
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    pub(crate) version: Option<u8>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) not_protocol: Option<Protocol>,
    pub(crate) icmp: Option<(u8, Option<u8>)>,
    pub(crate) not_icmp: Option<(u8, Option<u8>)>,
    pub(crate) http: bool,
    pub(crate) source: Entity,
    pub(crate) destination: Entity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) number: u8,
    /// Whether it is written as a word.
    pub(crate) named: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Entity {
    pub(crate) nets: Vec<Net>,
    pub(crate) not_nets: Vec<Net>,
    pub(crate) selector: Option<Selector>,
    pub(crate) not_selector: Option<Selector>,
    pub(crate) namespaces: Option<Selector>,
    pub(crate) account_names: Vec<String>,
    pub(crate) accounts: Option<Selector>,
    /// Namespace, which a namespaced policy may leave out, and name.
    pub(crate) service: Option<(Option<String>, String)>,
    pub(crate) ports: Vec<Port>,
    pub(crate) not_ports: Vec<Port>,
}

#[derive(Debug, Clone)]
pub(crate) enum Port {
    Numbers(u16, u16),
    Name(String),
}

#[derive(Debug, Clone)]
pub(crate) enum Selector {
    All,
    Global,
    Has(String),
    Equals(String, String),
    Differs(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Contains(String, String),
    Starts(String, String),
    Ends(String, String),
    Not(Box<Selector>),
    And(Vec<Selector>),
    Or(Vec<Selector>),
}

#[derive(Debug, Clone)]
pub(crate) struct KubernetesPolicy {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) pods: LabelSelector,
    pub(crate) types: Vec<Way>,
    pub(crate) ingress: Vec<KubernetesRule>,
    pub(crate) egress: Vec<KubernetesRule>,
}

#[derive(Debug, Clone)]
pub(crate) struct KubernetesRule {
    pub(crate) peers: Vec<Peer>,
    pub(crate) ports: Vec<KubernetesPort>,
}

#[derive(Debug, Clone)]
pub(crate) enum Peer {
    Pods {
        pods: Option<LabelSelector>,
        namespaces: Option<LabelSelector>,
    },
    Block {
        net: Net,
        except: Vec<Net>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct KubernetesPort {
    pub(crate) protocol: Option<u8>,
    pub(crate) port: Option<Port>,
}

/// The kinds of cluster-wide Kubernetes policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// `ClusterNetworkPolicy` of tier `Admin`.
    Admin,
    /// `ClusterNetworkPolicy` of tier `Baseline`.
    Baseline,
    /// `AdminNetworkPolicy`.
    OldAdmin,
    /// `BaselineAdminNetworkPolicy`.
    OldBaseline,
}

#[derive(Debug, Clone)]
pub(crate) struct ClusterPolicy {
    pub(crate) rank: Rank,
    pub(crate) name: String,
    pub(crate) priority: u16,
    pub(crate) subject: ClusterPods,
    pub(crate) ingress: Vec<ClusterRule>,
    pub(crate) egress: Vec<ClusterRule>,
}

/// Whole namespaces, or pods in them.
#[derive(Debug, Clone)]
pub(crate) struct ClusterPods {
    pub(crate) namespaces: LabelSelector,
    pub(crate) pods: Option<LabelSelector>,
}

#[derive(Debug, Clone)]
pub(crate) struct ClusterRule {
    /// Never `Log`.
    pub(crate) action: Action,
    pub(crate) peers: Vec<ClusterPeer>,
    pub(crate) ports: Vec<ClusterPort>,
}

#[derive(Debug, Clone)]
pub(crate) enum ClusterPeer {
    Pods(ClusterPods),
    Networks(Vec<Net>),
    Nodes(LabelSelector),
}

#[derive(Debug, Clone)]
pub(crate) enum ClusterPort {
    /// Protocol, and ports where not all are meant.
    Numbers(u8, Option<(u16, u16)>),
    Name(String),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct LabelSelector {
    pub(crate) labels: Labels,
    pub(crate) expressions: Vec<Requirement>,
}

#[derive(Debug, Clone)]
pub(crate) struct Requirement {
    pub(crate) key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub(crate) operator: &'static str,
    pub(crate) values: Vec<String>,
}

impl Net {
    /// First and last address, as numbers of the family's width.
    pub(crate) fn bounds(self) -> (u128, u128) {
        let (bits, width) = number(self.address);
        let free = width - u32::from(self.length);
        let low = if free == 128 { 0 } else { bits >> free << free };
        let ones = if free == 128 {
            u128::MAX
        } else {
            (1 << free) - 1
        };
        (low, low | ones)
    }

    pub(crate) fn holds(self, address: IpAddr) -> bool {
        let (first, last) = self.bounds();
        self.address.is_ipv4() == address.is_ipv4() && (first..=last).contains(&number(address).0)
    }
}

/// An address as a number, and how many bits it has.
pub(crate) fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// The address of a number; an IPv4 number is cut to its width.
pub(crate) fn address(number: u128, v4: bool) -> IpAddr {
    match v4 {
        true => IpAddr::V4(
            u32::try_from(number & u128::from(u32::MAX))
                .unwrap_or_default()
                .into(),
        ),
        false => IpAddr::V6(number.into()),
    }
}
