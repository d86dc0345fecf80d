//! Checks cluster-wide Kubernetes policies and converts them to rules like Calico's (semantics
//! §5.3, §5.4, §9.12).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::manifest::{
    ClusterPeer, ClusterPods, ClusterPolicy, ClusterPort, ClusterRank, ClusterRule,
};
use crate::net::{Cidr, Direction, Family};
use crate::policy::kubernetes::{self, FamilyPeer};
use crate::policy::order::{
    ADMIN_TIER, BASELINE_TIER, KUBE_ADMIN_TIER, KUBE_BASELINE_TIER, TieredPolicy,
};
use crate::policy::{
    HostStage, PeerSelection, Policy, PolicyKey, PolicyKind, PortCondition, PortList,
    ProtocolMatch, Rule, RuleFamilies, RulePeer, SelectorField, SelectorTable, addresses, ports,
    scope,
};
use crate::selector::Expr;
use crate::source::Spanned;

/// Checks a policy.
pub(super) fn policy(
    written: &ClusterPolicy,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> TieredPolicy {
    let name = &written.metadata.name;
    let (kind, tier) = match written.rank {
        ClusterRank::Admin => (PolicyKind::ClusterNetworkPolicy, KUBE_ADMIN_TIER),
        ClusterRank::Baseline => (PolicyKind::ClusterNetworkPolicy, KUBE_BASELINE_TIER),
        ClusterRank::AdminNetworkPolicy => (PolicyKind::AdminNetworkPolicy, ADMIN_TIER),
        ClusterRank::BaselineAdminNetworkPolicy => {
            (PolicyKind::BaselineAdminNetworkPolicy, BASELINE_TIER)
        }
    };

    let mut rules = |direction: Direction, written: &[ClusterRule]| -> Option<Vec<Rule>> {
        let converted = (1..)
            .zip(written)
            .flat_map(|(number, rule)| convert(number, rule, direction, selectors, diagnostics));
        let converted: Vec<Rule> = converted.collect();
        (!written.is_empty()).then_some(converted)
    };
    let ingress = rules(Direction::Ingress, &written.ingress);
    let egress = rules(Direction::Egress, &written.egress);
    let first = selectors.written().len();

    write(&written.subject, selectors);
    let applies_to = selectors.intern(subject(&written.subject));
    selectors.join(first..selectors.written().len(), applies_to);
    let key = PolicyKey {
        kind,
        namespace: None,
        name: name.value.clone(),
    };
    let order = written
        .priority
        .and_then(|priority| u16::try_from(priority).ok())
        .map(f64::from);
    let subject = &written.subject;
    let stated = subject
        .pods
        .as_ref()
        .and_then(kubernetes::place)
        .or_else(|| kubernetes::place(&subject.namespaces));
    let selector = stated.unwrap_or(name.span);
    let policy = Policy {
        key,
        order,
        applies_to,
        ingress,
        egress,
        stage: HostStage::Normal,
        span: name.span,
        selector,
        unused: None,
    };

    TieredPolicy {
        tier: Spanned::new(tier.to_owned(), name.span),
        policy,
    }
}

/// The clause for the pods that a policy applies to. It never matches network sets or host
/// endpoints.
fn subject(subject: &ClusterPods) -> Expr {
    let pods = match &subject.pods {
        Some(pods) => kubernetes::pods(pods),
        None => kubernetes::any_pod(),
    };
    let namespaces = scope::of_kubernetes_namespaces(kubernetes::clause(&subject.namespaces));
    Expr::and(vec![pods, namespaces])
}

/// Converts one rule: to one rule for every combination of protocol and kind of peer.
fn convert(
    number: usize,
    written: &ClusterRule,
    direction: Direction,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Vec<Rule> {
    check_names(written, diagnostics);
    let sides = sides(&written.peers, selectors, diagnostics);
    let matches: Vec<(ProtocolMatch, PortCondition)> = protocols(&written.ports, diagnostics);
    let stem = kubernetes::stem(number, written.span, written.action);
    kubernetes::product(&stem, direction, &sides, &matches)
}

/// Refuses named ports in a rule whose peers include networks or nodes. Only pods name their ports
/// (`v1alpha1`, CEL on egress rules).
fn check_names(written: &ClusterRule, diagnostics: &mut Diagnostics) {
    let has_others = written
        .peers
        .iter()
        .any(|peer| !matches!(peer, ClusterPeer::Pods(_)));

    for port in written
        .ports
        .iter()
        .filter(|port| has_others && port.protocol.is_none())
    {
        let message = "networks and nodes have no ports by name";
        let span = port.port.as_ref().map_or(written.span, |port| port.span);
        diagnostics.push(
            Diagnostic::at(Code::ConflictingFields, span, message)
                .help("write the port's number, or two rules"),
        );
    }
}

/// The remote side of a rule: all label peers together, all nodes together, and all prefixes of one
/// family together.
fn sides(
    peers: &[ClusterPeer],
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Vec<FamilyPeer> {
    let mut clauses = Vec::new();
    let mut nodes = Vec::new();
    let mut networks: Vec<Cidr> = Vec::new();
    let first = selectors.written().len();

    for peer in peers {
        match peer {
            ClusterPeer::Pods(pods) => {
                write(pods, selectors);
                clauses.push(peer_clause(pods));
            }
            ClusterPeer::Nodes(labels) => nodes.push(kubernetes::clause(labels)),
            ClusterPeer::Networks(prefixes) => networks.extend(
                addresses::prefixes(prefixes, diagnostics)
                    .into_iter()
                    .map(|prefix| prefix.value),
            ),
        }
    }

    let by_label = (!clauses.is_empty()).then(|| selectors.intern(Expr::or(clauses)));
    by_label
        .into_iter()
        .for_each(|id| selectors.join(first..selectors.written().len(), id));

    let by_node = (!nodes.is_empty()).then(|| selectors.intern_nodes(Expr::or(nodes)));
    let selected = by_label.into_iter().chain(by_node).map(|id| RulePeer {
        selected: PeerSelection::By(id),
        ..RulePeer::anyone()
    });
    let mut sides: Vec<FamilyPeer> = selected.map(|peer| (RuleFamilies::Both, peer)).collect();

    for family in Family::BOTH {
        let of_family: Vec<Cidr> = networks
            .iter()
            .copied()
            .filter(|net| net.family() == family)
            .collect();
        if !of_family.is_empty() {
            sides.push(kubernetes::block_peer(family, of_family, Vec::new()));
        }
    }

    sides
}

/// Records the selectors of pods as written.
fn write(written: &ClusterPods, selectors: &mut SelectorTable) {
    kubernetes::write(
        &written.namespaces,
        SelectorField::KubernetesNamespaceSelector,
        selectors,
    );
    written
        .pods
        .iter()
        .for_each(|pods| kubernetes::write(pods, SelectorField::PodSelector, selectors));
}

/// The clause for one peer. Selecting whole namespaces includes the network sets in them (semantics
/// §5.4). Objects without a namespace never match (semantics §9.30).
fn peer_clause(peer: &ClusterPods) -> Expr {
    let namespaces = scope::of_kubernetes_namespaces(kubernetes::clause(&peer.namespaces));
    match &peer.pods {
        Some(pods) => Expr::and(vec![namespaces, kubernetes::pods(pods)]),
        None => namespaces,
    }
}

/// Protocols with their ports, as the rules of a Kubernetes policy have them.
fn protocols(
    written: &[ClusterPort],
    diagnostics: &mut Diagnostics,
) -> Vec<(ProtocolMatch, PortCondition)> {
    let mut lists = kubernetes::ProtocolLists::default();
    let mut names: Vec<PortList> = Vec::new();
    for entry in written {
        let ports = entry
            .port
            .as_ref()
            .map(|port| ports::list(std::slice::from_ref(port), diagnostics));
        match (entry.protocol, ports) {
            (Some(protocol), ports) => lists.add(protocol, ports),
            (None, ports) => names.extend(ports),
        }
    }

    let by_name = (!names.is_empty()).then(|| {
        (
            ProtocolMatch::Any,
            PortCondition::In(kubernetes::join(names)),
        )
    });

    match written.is_empty() {
        true => vec![(ProtocolMatch::Any, PortCondition::Any)],
        false => lists.finish().into_iter().chain(by_name).collect(),
    }
}
