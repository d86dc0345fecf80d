//! Checks Kubernetes policies and converts them to rules like Calico's (semantics §5.1).
//!
//! One Kubernetes rule becomes one rule for every combination of protocol and kind of peer: all its
//! label peers together, all its plain blocks of one family together, and each block with
//! exceptions alone.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::manifest::{
    Action, KubernetesPeer, KubernetesPolicy, KubernetesPort, KubernetesRule, KubernetesSelector,
    LabelOperator, WrittenPort,
};
use crate::name::reserved;
use crate::net::{Cidr, Direction, Family, Protocol};
use crate::policy::calico::plain;
use crate::policy::order::{DEFAULT_TIER, TieredPolicy};
use crate::policy::{
    AddressCondition, HostStage, IcmpMatch, PeerSelection, Policy, PolicyKey, PolicyKind,
    PortCondition, PortList, ProtocolMatch, Rule, RuleFamilies, RulePeer, SelectorField,
    SelectorTable, SidePositions, addresses, ports, scope,
};
use crate::selector::{Expr, LabelTest};
use crate::source::{Span, Spanned, SpannedString};

/// Order of every Kubernetes policy in tier `default`.
const ORDER: f64 = 1_000.0;

/// Checks a policy.
pub(super) fn policy(
    written: &KubernetesPolicy,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> TieredPolicy {
    let key = key(written);
    let namespace = key.namespace.clone().unwrap_or_default();
    let first = selectors.written().len();
    write(&written.pod_selector, SelectorField::PodSelector, selectors);

    let applies_to = selectors.intern(scope::namespaced_policy(
        Some(pods(&written.pod_selector)),
        None,
        &namespace,
    ));
    selectors.join(first..selectors.written().len(), applies_to);

    let directions = directions(written);
    let mut rules = |direction: Direction, written: &[KubernetesRule]| {
        let converted: Vec<Rule> = (1..)
            .zip(written)
            .flat_map(|(number, rule)| {
                convert(number, rule, direction, &namespace, selectors, diagnostics)
            })
            .collect();
        directions.contains(&direction).then_some(converted)
    };
    let ingress = rules(Direction::Ingress, &written.ingress);
    let egress = rules(Direction::Egress, &written.egress);
    let first_of = |rules: &[KubernetesRule]| rules.first().map(|rule| rule.span);
    let unused = Policy::unused(&ingress, first_of(&written.ingress))
        .or_else(|| Policy::unused(&egress, first_of(&written.egress)));
    let selector = place(&written.pod_selector).unwrap_or(written.metadata.name.span);
    let policy = Policy {
        key,
        order: Some(ORDER),
        applies_to,
        ingress,
        egress,
        stage: HostStage::Normal,
        span: written.metadata.name.span,
        selector,
        unused,
    };

    TieredPolicy {
        tier: Spanned::new(DEFAULT_TIER.to_owned(), written.metadata.name.span),
        policy,
    }
}

/// The key of a policy.
pub(super) fn key(written: &KubernetesPolicy) -> PolicyKey {
    let metadata = &written.metadata;
    let namespace = metadata
        .namespace
        .as_ref()
        .map(|namespace| namespace.value.clone())
        .unwrap_or_default();

    PolicyKey {
        kind: PolicyKind::KubernetesNetworkPolicy,
        namespace: Some(namespace),
        name: metadata.name.value.clone(),
    }
}

/// The directions of a policy. Without `policyTypes` it has ingress, and also egress if it has
/// egress rules. The API server writes exactly this into the object (Kubernetes API,
/// `NetworkPolicySpec.policyTypes`).
fn directions(written: &KubernetesPolicy) -> Vec<Direction> {
    match (written.types.is_empty(), written.egress.is_empty()) {
        (false, _) => written.types.iter().map(|stated| stated.value).collect(),
        (true, true) => vec![Direction::Ingress],
        (true, false) => Direction::BOTH.to_vec(),
    }
}

/// The location of a label selector's first requirement.
pub(super) fn place(selector: &KubernetesSelector) -> Option<Span> {
    selector
        .requirements
        .first()
        .map(|requirement| requirement.key.span)
}

/// The remote side of a rule, and the families of its addresses.
pub(super) type FamilyPeer = (RuleFamilies, RulePeer);

/// Converts one Kubernetes rule to rules.
fn convert(
    number: usize,
    written: &KubernetesRule,
    direction: Direction,
    namespace: &str,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Vec<Rule> {
    let sides = others(&written.peers, namespace, selectors, diagnostics);
    product(
        &stem(number, written.span, Action::Allow),
        direction,
        &sides,
        &protocols(&written.ports, diagnostics),
    )
}

/// A rule that matches everything.
pub(super) fn stem(number: usize, span: Span, action: Action) -> Rule {
    Rule {
        number,
        span,
        action,
        families: RuleFamilies::Both,
        protocol: ProtocolMatch::Any,
        icmp: IcmpMatch::Any,
        source: RulePeer::anyone(),
        destination: RulePeer::anyone(),
        http: false,
        places: SidePositions {
            source: span,
            destination: span,
        },
    }
}

/// One rule for every combination of protocol and remote side.
pub(super) fn product(
    stem: &Rule,
    direction: Direction,
    sides: &[FamilyPeer],
    protocols: &[(ProtocolMatch, PortCondition)],
) -> Vec<Rule> {
    let pairs = protocols
        .iter()
        .flat_map(|protocol| sides.iter().map(move |side| (protocol, side)));

    let rule =
        |((protocol, ports), (families, other)): (&(ProtocolMatch, PortCondition), &FamilyPeer)| {
            let mut rule = Rule {
                families: *families,
                protocol: *protocol,
                ..stem.clone()
            };
            match direction {
                Direction::Ingress => rule.source = other.clone(),
                Direction::Egress => rule.destination = other.clone(),
            }
            rule.destination.ports = ports.clone();
            rule
        };
    pairs.map(rule).collect()
}

/// The remote sides of a rule, by kind of peer. An empty list of peers means anyone.
fn others(
    peers: &[KubernetesPeer],
    namespace: &str,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Vec<FamilyPeer> {
    if peers.is_empty() {
        return vec![(RuleFamilies::Both, RulePeer::anyone())];
    }

    let mut clauses: Vec<Expr> = Vec::new();
    let mut blocks: BTreeMap<Family, Vec<Cidr>> = BTreeMap::new();
    let mut others = Vec::new();
    let first = selectors.written().len();

    for peer in peers {
        match peer {
            KubernetesPeer::Pods { pods, namespaces } => {
                pods.iter()
                    .for_each(|pods| write(pods, SelectorField::PodSelector, selectors));
                namespaces.iter().for_each(|namespaces| {
                    write(
                        namespaces,
                        SelectorField::KubernetesNamespaceSelector,
                        selectors,
                    )
                });
                clauses.push(peer_clause(pods.as_ref(), namespaces.as_ref(), namespace));
            }
            KubernetesPeer::Block { cidr, except } => {
                match block(cidr.as_ref(), except, diagnostics) {
                    // Blocks with exceptions stay separate, because an exception applies only to
                    // its own block.
                    Some((cidr, except)) if except.is_empty() => {
                        blocks.entry(cidr.family()).or_default().push(cidr)
                    }
                    Some((cidr, except)) => {
                        others.push(block_peer(cidr.family(), vec![cidr], except))
                    }
                    None => {}
                }
            }
        }
    }

    if !clauses.is_empty() {
        // One selector for all label peers gives one set, and one lookup per packet.
        let clause = selectors.intern(Expr::or(clauses));
        selectors.join(first..selectors.written().len(), clause);
        others.insert(
            0,
            (
                RuleFamilies::Both,
                RulePeer {
                    selected: PeerSelection::By(clause),
                    ..RulePeer::anyone()
                },
            ),
        );
    }

    others.extend(
        blocks
            .into_iter()
            .map(|(family, cidrs)| block_peer(family, cidrs, Vec::new())),
    );
    others
}

pub(super) fn block_peer(family: Family, mut nets: Vec<Cidr>, not_nets: Vec<Cidr>) -> FamilyPeer {
    nets.sort_unstable();
    nets.dedup();
    (
        RuleFamilies::Only(family),
        RulePeer {
            nets: AddressCondition::In(nets),
            not_nets,
            ..RulePeer::anyone()
        },
    )
}

/// Checks a block. Exceptions must be inside it (Kubernetes API, `IPBlock.except`).
fn block(
    cidr: Option<&SpannedString>,
    except: &[SpannedString],
    diagnostics: &mut Diagnostics,
) -> Option<(Cidr, Vec<Cidr>)> {
    let cidr = cidr.and_then(|cidr| addresses::prefix(cidr, diagnostics));
    let except = addresses::prefixes(except, diagnostics);
    let cidr = cidr?;

    for exception in except
        .iter()
        .filter(|exception| exception.value == cidr.value || !cidr.value.contains(exception.value))
    {
        let message = match exception.value.contains(cidr.value) {
            true => format!(
                "excepting `{}` leaves nothing of the block",
                exception.value
            ),
            false => format!(
                "`{}` does not lie in the block, so that there is nothing to except",
                exception.value
            ),
        };
        let help = "every `except` must lie in its block and be smaller than it";
        diagnostics.push(
            Diagnostic::new(Code::InvalidCidr, message)
                .label(exception.span, "")
                .label(cidr.span, "the block")
                .help(help),
        );
    }

    Some((cidr.value, plain(except)))
}

/// Records a label selector as written.
pub(super) fn write(
    selector: &KubernetesSelector,
    field: SelectorField,
    selectors: &mut SelectorTable,
) {
    for (requirement, expr) in selector.requirements.iter().zip(requirements(selector)) {
        selectors.write(field, requirement.key.span, expr);
    }
}

/// The clause for every pod, and only pods.
pub(super) fn any_pod() -> Expr {
    Expr::label(reserved::ORCHESTRATOR, LabelTest::Equals("k8s".to_owned()))
}

/// The clause for a label selector over pods. It never matches network sets or host endpoints.
pub(super) fn pods(selector: &KubernetesSelector) -> Expr {
    Expr::and(
        std::iter::once(any_pod())
            .chain(requirements(selector))
            .collect(),
    )
}

/// The clause for a label selector over any object.
pub(super) fn clause(selector: &KubernetesSelector) -> Expr {
    Expr::and(requirements(selector).collect())
}

/// The clause for one label peer.
fn peer_clause(
    selected: Option<&KubernetesSelector>,
    namespaces: Option<&KubernetesSelector>,
    namespace: &str,
) -> Expr {
    let scope = match namespaces {
        Some(namespaces) => scope::of_kubernetes_namespaces(clause(namespaces)),
        None => scope::in_namespace(namespace),
    };
    Expr::and(vec![
        scope,
        pods(selected.unwrap_or(&KubernetesSelector::default())),
    ])
}

fn requirements(selector: &KubernetesSelector) -> impl Iterator<Item = Expr> {
    selector.requirements.iter().map(|requirement| {
        let values = || {
            requirement
                .values
                .iter()
                .map(|value| value.value.clone())
                .collect()
        };
        let key = requirement.key.value.clone();
        match (requirement.operator, requirement.values.as_slice()) {
            (LabelOperator::In, [only]) => Expr::label(key, LabelTest::Equals(only.value.clone())),
            (LabelOperator::In, _) => Expr::label(key, LabelTest::In(values())),
            (LabelOperator::NotIn, _) => Expr::label(key, LabelTest::NotIn(values())),
            (LabelOperator::Exists, _) => Expr::label(key, LabelTest::Present),
            (LabelOperator::DoesNotExist, _) => Expr::label(key, LabelTest::Present).not(),
        }
    })
}

/// Ports by protocol. An entry without ports means all ports of its protocol, regardless of other
/// entries.
#[derive(Default)]
pub(super) struct ProtocolLists {
    limited: BTreeMap<Protocol, Vec<PortList>>,
    unlimited: Vec<Protocol>,
}

impl ProtocolLists {
    pub(super) fn add(&mut self, protocol: Protocol, ports: Option<PortList>) {
        let lists = self.limited.entry(protocol).or_default();
        match ports {
            Some(ports) => lists.push(ports),
            None => self.unlimited.push(protocol),
        }
    }

    /// The protocols, in numeric order, each with its ports.
    pub(super) fn finish(self) -> Vec<(ProtocolMatch, PortCondition)> {
        let ports = |protocol, lists| {
            if self.unlimited.contains(&protocol) {
                PortCondition::Any
            } else {
                PortCondition::In(join(lists))
            }
        };

        self.limited
            .into_iter()
            .map(|(protocol, lists)| (ProtocolMatch::Is(protocol), ports(protocol, lists)))
            .collect()
    }
}

/// The protocols of a rule with their ports. An empty list means any protocol.
fn protocols(
    written: &[KubernetesPort],
    diagnostics: &mut Diagnostics,
) -> Vec<(ProtocolMatch, PortCondition)> {
    if written.is_empty() {
        return vec![(ProtocolMatch::Any, PortCondition::Any)];
    }

    let mut lists = ProtocolLists::default();
    for entry in written {
        if entry.port.is_none() {
            check_no_end(entry, diagnostics);
        }
        lists.add(
            entry.protocol,
            entry
                .port
                .as_ref()
                .map(|port| port_list(entry, port, diagnostics)),
        );
    }

    lists.finish()
}

fn check_no_end(entry: &KubernetesPort, diagnostics: &mut Diagnostics) {
    if let Some(end) = entry.end_port {
        diagnostics.push(Diagnostic::at(
            Code::ConflictingFields,
            end.span,
            "`endPort` needs `port`",
        ));
    }
}

/// The port, port range or port name of one entry.
fn port_list(
    entry: &KubernetesPort,
    port: &WrittenPort,
    diagnostics: &mut Diagnostics,
) -> PortList {
    let Some(end) = entry.end_port else {
        return ports::list(std::slice::from_ref(port), diagnostics);
    };
    if !port.text.bytes().all(|byte| byte.is_ascii_digit()) {
        diagnostics.push(Diagnostic::at(
            Code::ConflictingFields,
            end.span,
            "`endPort` needs a `port` by number",
        ));
        return PortList::default();
    }
    if port.text.parse().is_ok_and(|first: i64| first > end.value) {
        diagnostics.push(Diagnostic::at(
            Code::InvalidPort,
            end.span,
            format!("`endPort` is smaller than `port`, which is {}", port.text),
        ));
        return PortList::default();
    }

    let range = WrittenPort {
        text: format!("{}:{}", port.text, end.value),
        span: entry.span,
    };
    ports::list(&[range], diagnostics)
}

pub(super) fn join(lists: Vec<PortList>) -> PortList {
    let (numbers, names): (Vec<_>, Vec<_>) = lists
        .into_iter()
        .map(|list| (list.numbers, list.names))
        .unzip();

    let mut names = names.concat();
    names.sort_unstable();
    names.dedup();
    PortList {
        numbers: crate::net::merge_ranges(numbers.concat()),
        names,
    }
}
