//! Checked policy: every default is filled in, every order is fixed, every selector is scoped and
//! parsed.

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

/// All policies of one compile, in order of evaluation.
#[derive(Debug, Default)]
pub struct PolicySet {
    /// Tiers with at least one policy, in order of evaluation.
    pub tiers: Vec<Tier>,
    /// Profiles by name. They are evaluated after the tiers, for the endpoints that list them.
    pub profiles: BTreeMap<String, Profile>,
    /// Every distinct selector of the policies. Rules refer to them by [`SelectorId`].
    pub selectors: SelectorTable,
    /// Named address lists, which rule peers can select by label.
    pub network_sets: Vec<NetworkSet>,
    /// Interfaces of nodes to which policies apply, by name.
    pub host_endpoints: Vec<HostEndpoint>,
}

/// A tier and its policies.
#[derive(Debug, Clone)]
pub struct Tier {
    /// The name.
    pub name: String,
    /// Position among the tiers, lowest first. Ties are broken by name.
    pub order: f64,
    /// What happens to traffic that reaches a policy of the tier and matches no rule in it.
    pub default_action: DefaultAction,
    /// The policies, in order of evaluation.
    pub policies: Vec<Policy>,
}

/// One policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its kind, namespace and name.
    pub key: PolicyKey,
    /// Position in its tier, lowest first. `None` comes last.
    pub order: Option<f64>,
    /// Selects the endpoints that the policy applies to.
    pub applies_to: SelectorId,
    /// Ingress rules in order. `None` if the policy does not apply to ingress; an empty list
    /// denies.
    pub ingress: Option<Vec<Rule>>,
    /// Egress rules in order. `None` if the policy does not apply to egress; an empty list denies.
    pub egress: Option<Vec<Rule>>,
    /// The kind of host endpoint traffic that it applies to. For pods only policies on the normal
    /// list count.
    pub stage: HostStage,
    /// The location of its name.
    pub span: Span,
    /// The location of the selector that determines the endpoints, or of the name if there is none.
    pub selector: Span,
    /// The location of the first rule of a direction that `types` omits.
    pub unused: Option<Span>,
}

/// The kind of host endpoint traffic that a policy applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum HostStage {
    /// Traffic from and to the host itself.
    #[default]
    Normal,
    /// The same, plus traffic that the host forwards (`applyOnForward`).
    Forwarded,
    /// All traffic, before connection tracking (`doNotTrack`).
    Untracked,
    /// All incoming traffic, before DNAT (`preDNAT`).
    PreDnat,
}

/// A list of policies of an endpoint, for one kind of traffic (semantics §4.2). Pods have only the
/// normal list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyListKind {
    /// Traffic from and to the endpoint.
    Normal,
    /// Traffic that the host forwards.
    Forward,
    /// Traffic before connection tracking.
    Untracked,
    /// Traffic before DNAT.
    PreDnat,
}

/// A host endpoint: one or several interfaces of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEndpoint {
    /// The name.
    pub name: String,
    /// The node's name.
    pub node: String,
    /// Which packets belong to it.
    pub place: HostPlace,
    /// Its addresses, sorted and deduplicated. Rules that select it match these. Empty if the
    /// object lists no address.
    pub addresses: Vec<IpAddr>,
    /// Its named ports, sorted and deduplicated.
    pub ports: Vec<NamedPort>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Its profiles, which decide after the tiers of its normal list.
    pub profiles: ProfileList,
    /// The location of its name.
    pub span: Span,
}

/// Which packets belong to a host endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPlace {
    /// Packets of one interface: up to 15 letters, digits, `_`, `.` and `-`.
    Interface(String),
    /// Packets with one of its addresses.
    Addresses,
    /// Packets of every interface of the node except those of its pods.
    Everywhere,
}

/// A profile: rules of the endpoints that list it. A packet that matches no rule continues with the
/// endpoint's next profile.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its kind and name.
    pub key: PolicyKey,
    /// Ingress rules in order.
    pub ingress: Vec<Rule>,
    /// Egress rules in order.
    pub egress: Vec<Rule>,
}

/// The key of a policy: kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// The kind.
    pub kind: PolicyKind,
    /// The namespace, for a namespaced policy.
    pub namespace: Option<String>,
    /// The name, without the prefix `default.` of older Calico versions.
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

/// One rule. It matches a packet if all of its parts match.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Position in the policy's list for its direction, from 1. All rules that come from one
    /// Kubernetes rule have its number.
    pub number: usize,
    /// Its location.
    pub span: Span,
    /// What happens to a packet that matches.
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
    /// Whether the rule has HTTP conditions. Only a mesh can enforce them; iptables cannot.
    pub http: bool,
    /// Locations of the fields that select the peers.
    pub places: SidePositions,
}

/// Locations of the fields that select the peers of each side, or of the whole rule if a side
/// selects none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SidePositions {
    /// The sender.
    pub source: Span,
    /// The receiver.
    pub destination: Span,
}

/// Address families that a rule applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleFamilies {
    /// IPv4 and IPv6.
    Both,
    /// One of them.
    Only(Family),
}

/// A match on the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolMatch {
    /// Any protocol.
    Any,
    /// This one.
    Is(Protocol),
    /// Any but this one.
    IsNot(Protocol),
}

/// A match on the ICMP type and code. If this is not `Any`, the rule's protocol is ICMP or ICMPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IcmpMatch {
    /// Any type.
    Any,
    /// This type and code.
    Is(Icmp),
    /// Any but this type and code.
    IsNot(Icmp),
}

/// One side of a rule. It matches an address and port if all of its parts match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RulePeer {
    /// Endpoints and network sets to which the address must belong.
    pub selected: PeerSelection,
    /// Endpoints and network sets to which the address must not belong.
    pub not_selected: Option<SelectorId>,
    /// Prefixes that must contain the address.
    pub nets: AddressCondition,
    /// Prefixes that must not contain the address.
    pub not_nets: Vec<Cidr>,
    /// A service of which the address must be a backend. For a receiver the port must match too.
    pub service: Option<ServiceKey>,
    /// Ports.
    pub ports: PortCondition,
    /// Excluded ports.
    pub not_ports: PortList,
}

/// A match on the owner of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerSelection {
    /// Any address, known or not.
    Anyone,
    /// Addresses of the members of a selection.
    By(SelectorId),
}

/// A match on an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressCondition {
    /// Any address.
    Any,
    /// An address in one of these prefixes.
    In(Vec<Cidr>),
}

/// A match on a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortCondition {
    /// Any port. Also matches packets without ports.
    Any,
    /// One of these ports.
    In(PortList),
}

/// Ports by number and by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortList {
    /// Port numbers, sorted and merged.
    pub numbers: Vec<PortRange>,
    /// Port names that endpoints define, sorted and deduplicated.
    pub names: Vec<String>,
}

/// A named list of prefixes with labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSet {
    /// The namespace, or `None` for a `GlobalNetworkSet`.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// Its own labels.
    pub labels: Vec<(String, String)>,
    /// Its prefixes, sorted and deduplicated.
    pub nets: Vec<Cidr>,
    /// The location of its name.
    pub span: Span,
}

/// Id of a selector in a [`SelectorTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectorId(u32);

/// All distinct selectors.
#[derive(Debug, Default)]
pub struct SelectorTable {
    exprs: IndexSet<(SelectorDomain, Expr), rustc_hash::FxBuildHasher>,
    written: Vec<WrittenSelector>,
    accounts: Vec<NamedAccount>,
}

/// A service account that a rule refers to by name.
#[derive(Debug)]
pub struct NamedAccount {
    /// Its namespace, or `None` if service accounts of all namespaces are meant.
    pub namespace: Option<String>,
    /// The name.
    pub name: SpannedString,
}

/// A selector as written in a field, before scoping. For a Kubernetes label selector, one
/// requirement.
#[derive(Debug)]
pub struct WrittenSelector {
    /// The field.
    pub field: SelectorField,
    /// The location.
    pub span: Span,
    /// The parsed text.
    pub expr: Expr,
    /// The scoped selector that it became part of. `None` until that is known.
    pub part_of: Option<SelectorId>,
}

/// Fields that contain selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorField {
    /// `selector`
    Selector,
    /// `notSelector`
    NotSelector,
    /// `notSelector` in a rule of a namespaced policy, on a side without any other field that
    /// selects peers.
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

/// The objects that a selector selects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SelectorDomain {
    /// Endpoints and network sets, by the labels that Calico sees on them.
    Endpoints,
    /// Nodes, by the labels of their Node objects.
    Nodes,
}

/// Stand-in for an id from another collection. Matches nothing.
static NOBODY: Expr = Expr::Or(Vec::new());

impl PolicySet {
    /// All policies with their tiers, in order of evaluation.
    pub fn policies(&self) -> impl Iterator<Item = (&Tier, &Policy)> {
        self.tiers
            .iter()
            .flat_map(|tier| tier.policies.iter().map(move |policy| (tier, policy)))
    }
}

impl PolicyListKind {
    /// The name of the list in messages, as in "normal policy".
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
    /// The location of the first rule of a direction that the policy does not apply to, if there is
    /// one.
    pub(super) fn unused(checked: &Option<Vec<Rule>>, first_written: Option<Span>) -> Option<Span> {
        first_written.filter(|_| checked.is_none())
    }

    /// Whether the policy is part of a list.
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

    /// The rules of a direction, or `None` if the policy does not apply to it.
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
    /// A side that matches everything.
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
    /// Whether the list contains no port.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.names.is_empty()
    }
}

impl SelectorTable {
    /// Returns the id of a selector over endpoints and network sets. Adds it if it is new.
    pub fn intern(&mut self, expr: Expr) -> SelectorId {
        self.intern_in(SelectorDomain::Endpoints, expr)
    }

    /// Returns the id of a selector over nodes. Adds it if it is new.
    pub fn intern_nodes(&mut self, expr: Expr) -> SelectorId {
        self.intern_in(SelectorDomain::Nodes, expr)
    }

    fn intern_in(&mut self, domain: SelectorDomain, expr: Expr) -> SelectorId {
        let (index, _) = self.exprs.insert_full((domain, expr));
        SelectorId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Selectors as written, in the order in which they were read.
    pub fn written(&self) -> &[WrittenSelector] {
        &self.written
    }

    /// Records a selector as written.
    pub(super) fn write(&mut self, field: SelectorField, span: Span, expr: Expr) {
        self.written.push(WrittenSelector {
            field,
            span,
            expr,
            part_of: None,
        });
    }

    /// Service accounts that rules refer to, in the order in which they were read.
    pub fn accounts(&self) -> &[NamedAccount] {
        &self.accounts
    }

    /// Records a service account that a rule refers to.
    pub(super) fn name_account(&mut self, namespace: Option<&str>, name: &SpannedString) {
        self.accounts.push(NamedAccount {
            namespace: namespace.map(str::to_owned),
            name: name.clone(),
        });
    }

    /// Records which scoped selector the selectors in a range of [`SelectorTable::written`] became.
    pub(super) fn join(&mut self, range: Range<usize>, id: SelectorId) {
        self.written
            .get_mut(range)
            .into_iter()
            .flatten()
            .for_each(|written| written.part_of = Some(id));
    }

    /// Returns the selector with an id. The id must come from this collection.
    pub fn get(&self, id: SelectorId) -> &Expr {
        self.exprs
            .get_index(id.index())
            .map_or(&NOBODY, |(_, expr)| expr)
    }

    /// The objects that a selector selects from.
    pub fn domain(&self, id: SelectorId) -> SelectorDomain {
        self.exprs
            .get_index(id.index())
            .map_or(SelectorDomain::Endpoints, |(domain, _)| *domain)
    }

    /// A description of a selector: its canonical text, and what it selects from if that is not
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

    /// Number of selectors.
    pub fn len(&self) -> usize {
        self.exprs.len()
    }

    /// Whether there are no selectors.
    pub fn is_empty(&self) -> bool {
        self.exprs.is_empty()
    }
}

impl SelectorId {
    /// Index for tables that run parallel to [`SelectorTable`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl PolicyKind {
    /// The name in messages.
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
    /// The name that Calico breaks ties by. For policies from Kubernetes it includes their origin
    /// (semantics §4.1).
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
