//! The checked form of all policy: every default filled in, every order fixed, every selector
//! scoped and parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use indexmap::IndexSet;

use crate::inventory::{NamedPort, ProfileList, ServiceKey};
use crate::manifest::{Action, DefaultAction, Icmp};
use crate::net::{Cidr, Direction, Family, PortRange, Protocol};
use crate::selector::Expr;
use crate::source::{Span, SpannedString};

/// All policy of one compile, in the order of evaluation.
#[derive(Debug, Default)]
pub struct PolicySet {
    /// Tiers that hold at least one policy, first evaluated first.
    pub tiers: Vec<Tier>,
    /// What is asked behind the tiers, of the endpoints that name it; by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Every selector of a policy, once; rules name them by [`SelectorId`].
    pub selectors: SelectorTable,
    /// Named address lists, which rule peers may select by label.
    pub network_sets: Vec<NetworkSet>,
    /// Interfaces of nodes that policies apply to, by name.
    pub host_endpoints: Vec<HostEndpoint>,
}

/// A tier and its policies, first evaluated first.
#[derive(Debug, Clone)]
pub struct Tier {
    /// The name.
    pub name: String,
    /// Position among tiers; ties go by name.
    pub order: f64,
    /// What becomes of traffic that reaches a policy of the tier and matches no rule in it.
    pub default_action: DefaultAction,
    /// The policies in order.
    pub policies: Vec<Policy>,
}

/// One policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What identifies it.
    pub key: PolicyKey,
    /// Position in its tier, lowest first; none is last.
    pub order: Option<f64>,
    /// The endpoints it applies to.
    pub applies_to: SelectorId,
    /// Ingress rules in order; none when the policy says nothing about ingress (an empty list
    /// denies).
    pub ingress: Option<Vec<Rule>>,
    /// Egress rules in order; none when the policy says nothing about egress.
    pub egress: Option<Vec<Rule>>,
    /// What of a host endpoint's traffic it is for. Only its normal list is for pods.
    pub stage: HostStage,
    /// Where its name stands.
    pub span: Span,
    /// Where the selector stands that says whom it applies to; the name where none is written.
    pub selector: Span,
    /// The first rule of a direction that `types` leaves out.
    pub unused: Option<Span>,
}

/// What of a host endpoint's traffic a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HostStage {
    /// Traffic from and to the host itself.
    #[default]
    Normal,
    /// That, and traffic that the host forwards (`applyOnForward`).
    Forwarded,
    /// All traffic, before connections are tracked (`doNotTrack`).
    Untracked,
    /// All incoming traffic, before destinations are translated (`preDNAT`).
    PreDnat,
}

/// A list of policies of an endpoint, for one sort of traffic (semantics §4.2). Pods have the
/// normal one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyListKind {
    /// Traffic from and to the endpoint.
    Normal,
    /// Traffic that the host forwards.
    Forward,
    /// Before connections are tracked.
    Untracked,
    /// Before destinations are translated.
    PreDnat,
}

/// An interface of a node, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEndpoint {
    /// The name.
    pub name: String,
    /// The node's name.
    pub node: String,
    /// Which packets are its.
    pub place: HostPlace,
    /// Its addresses, in order, once: what rules that select it stand for, none where the object
    /// names none.
    pub addresses: Vec<IpAddr>,
    /// Its named ports, in order, once.
    pub ports: Vec<NamedPort>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Its profiles, which decide behind the tiers of its normal list.
    pub profiles: ProfileList,
    /// Where its name stands.
    pub span: Span,
}

/// Which packets are a host endpoint's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPlace {
    /// Those of one interface: up to 15 letters, digits, `_`, `.` and `-`.
    Interface(String),
    /// Those with one of its addresses.
    Addresses,
    /// Those of every interface of the node but its pods'.
    Everywhere,
}

/// A profile: rules of the endpoints that name it. What matches none of them is for the endpoint's
/// next profile.
#[derive(Debug, Clone)]
pub struct Profile {
    /// What identifies it.
    pub key: PolicyKey,
    /// Ingress rules in order.
    pub ingress: Vec<Rule>,
    /// Egress rules in order.
    pub egress: Vec<Rule>,
}

/// Kind, namespace and name of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// The kind.
    pub kind: PolicyKind,
    /// The namespace of a namespaced policy.
    pub namespace: Option<String>,
    /// The name, without the `default.` that older Calico put before it.
    pub name: String,
}

/// The kinds of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// `projectcalico.org/v3` `NetworkPolicy`.
    NetworkPolicy,
    /// `projectcalico.org/v3` `GlobalNetworkPolicy`.
    GlobalNetworkPolicy,
    /// `networking.k8s.io/v1` `NetworkPolicy`.
    KubernetesNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha2` `ClusterNetworkPolicy`.
    ClusterNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha1` `AdminNetworkPolicy`.
    AdminNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha1` `BaselineAdminNetworkPolicy`.
    BaselineAdminNetworkPolicy,
    /// `projectcalico.org/v3` `Profile`.
    Profile,
}

/// One rule. It matches a packet when every part of it does.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Number in the policy's list for its direction, from 1. The rules that one Kubernetes rule
    /// becomes share its number.
    pub number: usize,
    /// Where it stands.
    pub span: Span,
    /// What becomes of a packet that matches.
    pub action: Action,
    /// Families the rule applies to.
    pub families: RuleFamilies,
    /// The protocol.
    pub protocol: ProtocolMatch,
    /// ICMP type and code.
    pub icmp: IcmpMatch,
    /// The sender.
    pub source: RulePeer,
    /// The receiver.
    pub destination: RulePeer,
    /// Whether a mesh is to narrow it further, which iptables cannot.
    pub http: bool,
    /// Where its sides say who is meant.
    pub places: SidePositions,
}

/// Where the sides of a rule say who is meant; the whole rule where they do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SidePositions {
    /// The sender.
    pub source: Span,
    /// The receiver.
    pub destination: Span,
}

/// Families a rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleFamilies {
    /// IPv4 and IPv6.
    Both,
    /// One of them.
    Only(Family),
}

/// A condition on the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolMatch {
    /// Any protocol.
    Any,
    /// This one.
    Is(Protocol),
    /// Any but this one.
    IsNot(Protocol),
}

/// A condition on the ICMP type and code. The rule's protocol is ICMP or ICMPv6 where this is not
/// `Any`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IcmpMatch {
    /// Any type.
    Any,
    /// This type and code.
    Is(Icmp),
    /// Any but this type and code.
    IsNot(Icmp),
}

/// One side of a rule. It matches an address and port when every part does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RulePeer {
    /// Known endpoints and network sets that the address must belong to.
    pub selected: PeerSelection,
    /// Known endpoints and network sets that the address must not belong to.
    pub not_selected: Option<SelectorId>,
    /// Prefixes that the address must be in.
    pub nets: AddressCondition,
    /// Prefixes that the address must not be in.
    pub not_nets: Vec<Cidr>,
    /// A service that the address, and for a receiver the port too, must be a backend of.
    pub service: Option<ServiceKey>,
    /// Ports.
    pub ports: PortCondition,
    /// Ports that are excluded.
    pub not_ports: PortList,
}

/// A condition on who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerSelection {
    /// Anyone, known or not.
    Anyone,
    /// Members of a selection.
    By(SelectorId),
}

/// A condition on an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressCondition {
    /// Any address.
    Any,
    /// An address in one of these prefixes.
    In(Vec<Cidr>),
}

/// A condition on a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortCondition {
    /// Any port, and packets without ports.
    Any,
    /// One of these.
    In(PortList),
}

/// Ports by number and by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortList {
    /// Numbers, in order, merged.
    pub numbers: Vec<PortRange>,
    /// Names that endpoints give to ports of theirs, in order, once.
    pub names: Vec<String>,
}

/// A named list of prefixes with labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSet {
    /// The namespace; none for a `GlobalNetworkSet`.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// Its own labels.
    pub labels: Vec<(String, String)>,
    /// Its prefixes, in order, once.
    pub nets: Vec<Cidr>,
    /// Where its name stands.
    pub span: Span,
}

/// A selector of [`SelectorTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorId(u32);

/// Selectors, every distinct one once.
#[derive(Debug, Default)]
pub struct SelectorTable {
    exprs: IndexSet<(SelectorDomain, Expr), rustc_hash::FxBuildHasher>,
    written: Vec<WrittenSelector>,
    accounts: Vec<NamedAccount>,
}

/// A service account that a rule names.
#[derive(Debug)]
pub struct NamedAccount {
    /// The namespace it is in; none where those of every namespace are meant.
    pub namespace: Option<String>,
    /// The name.
    pub name: SpannedString,
}

/// A selector as it stands in a field, before it is scoped; of a Kubernetes label selector, one
/// requirement.
#[derive(Debug)]
pub struct WrittenSelector {
    /// The field.
    pub field: SelectorField,
    /// Where.
    pub span: Span,
    /// What is written.
    pub expr: Expr,
    /// The selector it became a part of; none while that is not known.
    pub part_of: Option<SelectorId>,
}

/// Fields that hold selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorField {
    /// `selector`
    Selector,
    /// `notSelector`
    NotSelector,
    /// `notSelector` in a rule of a namespaced policy, with nothing beside it that says who is
    /// meant.
    NotSelectorAlone,
    /// `namespaceSelector`
    NamespaceSelector,
    /// `serviceAccountSelector`, or `selector` of `serviceAccounts`.
    ServiceAccountSelector,
    /// `podSelector` of a Kubernetes policy.
    PodSelector,
    /// `namespaceSelector` of a Kubernetes policy.
    KubernetesNamespaceSelector,
}

/// What a selector chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SelectorDomain {
    /// Endpoints and network sets, by the labels Calico sees on them.
    Endpoints,
    /// Nodes, by the labels of their Node objects.
    Nodes,
}

/// What an id of another collection selects.
static NOBODY: Expr = Expr::Or(Vec::new());

impl PolicySet {
    /// Every policy with its tier, in the order of evaluation.
    pub fn policies(&self) -> impl Iterator<Item = (&Tier, &Policy)> {
        self.tiers
            .iter()
            .flat_map(|tier| tier.policies.iter().map(move |policy| (tier, policy)))
    }
}

impl PolicyListKind {
    /// The list in words, as in "normal policy".
    pub fn label(self) -> &'static str {
        match self {
            PolicyListKind::Normal => "normal",
            PolicyListKind::Forward => "forward",
            PolicyListKind::Untracked => "untracked",
            PolicyListKind::PreDnat => "pre-DNAT",
        }
    }
}

impl Policy {
    /// Where the first rule stands that is written for a direction which the policy does not speak
    /// about.
    pub(super) fn unused(checked: &Option<Vec<Rule>>, first_written: Option<Span>) -> Option<Span> {
        first_written.filter(|_| checked.is_none())
    }

    /// Whether the policy is on a list.
    pub fn is_on(&self, list: PolicyListKind) -> bool {
        match list {
            PolicyListKind::Normal => {
                matches!(self.stage, HostStage::Normal | HostStage::Forwarded)
            }
            PolicyListKind::Forward => self.stage == HostStage::Forwarded,
            PolicyListKind::Untracked => self.stage == HostStage::Untracked,
            PolicyListKind::PreDnat => self.stage == HostStage::PreDnat,
        }
    }

    /// The rules of a direction; none when the policy says nothing about it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

impl Profile {
    /// The rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl Rule {
    /// Whether the rule applies to a family.
    pub fn applies_to(&self, family: Family) -> bool {
        match self.families {
            RuleFamilies::Both => true,
            RuleFamilies::Only(only) => only == family,
        }
    }
}

impl RulePeer {
    /// The side that matches everything.
    pub fn anyone() -> Self {
        Self {
            selected: PeerSelection::Anyone,
            not_selected: None,
            nets: AddressCondition::Any,
            not_nets: Vec::new(),
            service: None,
            ports: PortCondition::Any,
            not_ports: PortList::default(),
        }
    }
}

impl PortList {
    /// Whether the list names no port at all.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.names.is_empty()
    }
}

impl SelectorTable {
    /// The id of a selector over endpoints and network sets, new or known.
    pub fn intern(&mut self, expr: Expr) -> SelectorId {
        self.intern_in(SelectorDomain::Endpoints, expr)
    }

    /// The id of a selector over nodes, new or known.
    pub fn intern_nodes(&mut self, expr: Expr) -> SelectorId {
        self.intern_in(SelectorDomain::Nodes, expr)
    }

    fn intern_in(&mut self, domain: SelectorDomain, expr: Expr) -> SelectorId {
        let (index, _) = self.exprs.insert_full((domain, expr));
        SelectorId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Selectors as written, in the order they were read.
    pub fn written(&self) -> &[WrittenSelector] {
        &self.written
    }

    /// Keeps a selector as written.
    pub(super) fn write(&mut self, field: SelectorField, span: Span, expr: Expr) {
        self.written.push(WrittenSelector {
            field,
            span,
            expr,
            part_of: None,
        });
    }

    /// Service accounts that rules name, in the order they were read.
    pub fn accounts(&self) -> &[NamedAccount] {
        &self.accounts
    }

    /// Keeps a service account that a rule names.
    pub(super) fn name_account(&mut self, namespace: Option<&str>, name: &SpannedString) {
        self.accounts.push(NamedAccount {
            namespace: namespace.map(str::to_owned),
            name: name.clone(),
        });
    }

    /// Says what the written selectors of a range of [`SelectorTable::written`] became.
    pub(super) fn join(&mut self, range: Range<usize>, id: SelectorId) {
        self.written
            .get_mut(range)
            .into_iter()
            .flatten()
            .for_each(|written| written.part_of = Some(id));
    }

    /// The selector behind an id of this collection.
    pub fn get(&self, id: SelectorId) -> &Expr {
        self.exprs
            .get_index(id.index())
            .map_or(&NOBODY, |(_, expr)| expr)
    }

    /// What a selector chooses from.
    pub fn domain(&self, id: SelectorId) -> SelectorDomain {
        self.exprs
            .get_index(id.index())
            .map_or(SelectorDomain::Endpoints, |(domain, _)| *domain)
    }

    /// A selector in words: its canonical text, and what it chooses from where that is not
    /// endpoints.
    pub fn describe(&self, id: SelectorId) -> String {
        match self.domain(id) {
            SelectorDomain::Endpoints => self.get(id).to_string(),
            SelectorDomain::Nodes => format!("nodes: {}", self.get(id)),
        }
    }

    /// All selectors with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (SelectorId, SelectorDomain, &Expr)> {
        (0u32..)
            .map(SelectorId)
            .zip(&self.exprs)
            .map(|(id, (domain, expr))| (id, *domain, expr))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.exprs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exprs.is_empty()
    }
}

impl SelectorId {
    /// Position in tables that run parallel to [`SelectorTable`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl PolicyKind {
    /// The name that messages use.
    pub fn name(self) -> &'static str {
        match self {
            PolicyKind::NetworkPolicy => "NetworkPolicy",
            PolicyKind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            PolicyKind::KubernetesNetworkPolicy => "KubernetesNetworkPolicy",
            PolicyKind::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            PolicyKind::AdminNetworkPolicy => "AdminNetworkPolicy",
            PolicyKind::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            PolicyKind::Profile => "Profile",
        }
    }
}

impl PolicyKind {
    /// The name that Calico breaks ties by: what it has from Kubernetes says so (semantics §4.1).
    pub(super) fn calico_name(self) -> &'static str {
        match self {
            PolicyKind::NetworkPolicy
            | PolicyKind::GlobalNetworkPolicy
            | PolicyKind::KubernetesNetworkPolicy => self.name(),
            PolicyKind::Profile => self.name(),
            PolicyKind::ClusterNetworkPolicy => "KubernetesClusterNetworkPolicy",
            PolicyKind::AdminNetworkPolicy => "KubernetesAdminNetworkPolicy",
            PolicyKind::BaselineAdminNetworkPolicy => "KubernetesBaselineAdminNetworkPolicy",
        }
    }
}

impl fmt::Display for HostEndpoint {
    /// `HostEndpoint n1-eth0`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HostEndpoint {}", self.name)
    }
}

impl fmt::Display for PolicyKey {
    /// `NetworkPolicy prod/web` or `GlobalNetworkPolicy web`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(out, "{} {namespace}/{}", self.kind.name(), self.name),
            None => write!(out, "{} {}", self.kind.name(), self.name),
        }
    }
}
