//! Cluster-wide Kubernetes policy, field by field: `ClusterNetworkPolicy` (`policy.networking.k8s.io/v1alpha2`),
//! `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy` (`v1alpha1`).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{Fields, Node};
use crate::manifest::{
    Action, ClusterPeer, ClusterPods, ClusterPolicy, ClusterPort, ClusterRank, ClusterRule, Metadata, Port, kubernetes, metadata,
};
use crate::net::Protocol;
use crate::text::Spanned;

const TIERS: [(&str, ClusterRank); 2] = [("Admin", ClusterRank::Admin), ("Baseline", ClusterRank::Baseline)];

const CLUSTER_ACTIONS: [(&str, Action); 3] = [("Accept", Action::Allow), ("Deny", Action::Deny), ("Pass", Action::Pass)];
const ADMIN_ACTIONS: [(&str, Action); 3] = [("Allow", Action::Allow), ("Deny", Action::Deny), ("Pass", Action::Pass)];
const BASELINE_ACTIONS: [(&str, Action); 2] = [("Allow", Action::Allow), ("Deny", Action::Deny)];

/// The one name that a `BaselineAdminNetworkPolicy` may have.
const BASELINE_NAME: &str = "default";

/// Rules that a direction may have in `v1alpha1`, and peers and ports that a rule may have.
const LONGEST_LIST: usize = 100;
/// Prefixes that a peer may have.
const MOST_NETWORKS: usize = 25;

/// What the three kinds have differently.
#[derive(Clone, Copy)]
struct Dialect {
    actions: &'static [(&'static str, Action)],
    ports: &'static str,
}

/// A `ClusterNetworkPolicy`, which names its tier.
pub(super) fn policy(tree: &Node, metadata: Metadata, found: &mut Diagnostics) -> Option<ClusterPolicy> {
    let mut spec = metadata::spec(tree, found)?;
    let rank = tier(&mut spec, found);
    let dialect = Dialect { actions: &CLUSTER_ACTIONS, ports: "protocols" };
    let priority = priority(&mut spec, found);
    let policy = body(spec, dialect, metadata, found)?;
    Some(ClusterPolicy { rank: rank?, priority, ..policy })
}

/// An `AdminNetworkPolicy`.
pub(super) fn admin(tree: &Node, metadata: Metadata, found: &mut Diagnostics) -> Option<ClusterPolicy> {
    let mut spec = metadata::spec(tree, found)?;
    let priority = priority(&mut spec, found);
    let policy = body(spec, Dialect { actions: &ADMIN_ACTIONS, ports: "ports" }, metadata, found)?;
    Some(ClusterPolicy { rank: ClusterRank::AdminNetworkPolicy, priority, ..policy })
}

/// A `BaselineAdminNetworkPolicy`, of which there is one.
pub(super) fn baseline(tree: &Node, metadata: Metadata, found: &mut Diagnostics) -> Option<ClusterPolicy> {
    if metadata.name.value != BASELINE_NAME {
        let message = format!("a BaselineAdminNetworkPolicy must be called `{BASELINE_NAME}`");
        found.push(Diagnostic::at(Code::InvalidName, metadata.name.span, message));
    }
    let spec = metadata::spec(tree, found)?;
    body(spec, Dialect { actions: &BASELINE_ACTIONS, ports: "ports" }, metadata, found)
}

/// What the kinds share: subject and rules.
fn body(mut spec: Fields<'_>, dialect: Dialect, metadata: Metadata, found: &mut Diagnostics) -> Option<ClusterPolicy> {
    let subject = spec.require("subject", found).and_then(|node| subject(node, found));
    let ingress = rules(&mut spec, "ingress", "from", dialect, found);
    let egress = rules(&mut spec, "egress", "to", dialect, found);
    spec.finish(found);
    let rank = ClusterRank::BaselineAdminNetworkPolicy;
    Some(ClusterPolicy { metadata, rank, priority: None, subject: subject?, ingress, egress })
}

fn priority(spec: &mut Fields<'_>, found: &mut Diagnostics) -> Option<i64> {
    let node = spec.require("priority", found)?;
    node.integer(0, 1000, found).map(|priority| priority.value)
}

fn tier(spec: &mut Fields<'_>, found: &mut Diagnostics) -> Option<ClusterRank> {
    Some(spec.require("tier", found)?.choice(&TIERS, found)?.value)
}

/// The rules of a direction; `peers` is the name of the field that lists the other side.
fn rules(spec: &mut Fields<'_>, name: &'static str, peers: &'static str, dialect: Dialect, found: &mut Diagnostics) -> Vec<ClusterRule> {
    let Some(node) = spec.get(name) else { return Vec::new() };
    check_length(node, LONGEST_LIST, found);
    node.list(found, |node, found| rule(node, peers, dialect, found))
}

fn check_length(node: &Node, most: usize, found: &mut Diagnostics) {
    let length = node.items().map_or(0, <[Node]>::len);
    if length > most {
        found.push(Diagnostic::at(Code::InvalidValue, node.span, format!("a list of {length} items, where {most} are allowed")));
    }
}

/// A list that says something: an empty one would name nobody, where an absent one may name everybody.
fn check_filled(list: &Node, found: &mut Diagnostics) {
    check_length(list, LONGEST_LIST, found);
    if list.items().is_some_and(<[Node]>::is_empty) {
        found.push(Diagnostic::at(Code::InvalidValue, list.span, "this list must not be empty"));
    }
}

fn rule(node: &Node, peers: &'static str, dialect: Dialect, found: &mut Diagnostics) -> Option<ClusterRule> {
    let mut fields = Fields::of(node, found)?;
    fields.text("name", found);
    let action = fields.require("action", found).and_then(|node| node.choice(dialect.actions, found));
    let sides = fields.require(peers, found).map(|list| {
        check_filled(list, found);
        list.list(found, |node, found| peer(node, peers == "to", found))
    });
    let ports = fields.get(dialect.ports).map(|list| {
        check_filled(list, found);
        list.list(found, if dialect.ports == "ports" { admin_port } else { cluster_port })
    });
    fields.finish(found);
    Some(ClusterRule { span: node.span, action: action?.value, peers: sides?, ports: ports.unwrap_or_default() })
}

/// The pods a policy applies to.
fn subject(node: &Node, found: &mut Diagnostics) -> Option<ClusterPods> {
    match peer(node, false, found)? {
        ClusterPeer::Pods(pods) => Some(pods),
        ClusterPeer::Networks(_) | ClusterPeer::Nodes(_) => None,
    }
}

/// A peer; only a receiver may be a prefix or a node.
fn peer(node: &Node, is_receiver: bool, found: &mut Diagnostics) -> Option<ClusterPeer> {
    let mut fields = Fields::of(node, found)?;
    let namespaces = fields.get("namespaces");
    let pods = fields.get("pods");
    let receivers = if is_receiver { (fields.get("networks"), fields.get("nodes")) } else { (None, None) };
    if is_receiver {
        fields.refuse(&["domainNames"], found);
    }
    fields.finish(found);
    match (namespaces, pods, receivers) {
        (Some(namespaces), None, (None, None)) => {
            Some(ClusterPeer::Pods(ClusterPods { namespaces: kubernetes::selector(namespaces, found)?, pods: None }))
        }
        (None, Some(pods), (None, None)) => namespaced_pods(pods, found).map(ClusterPeer::Pods),
        (None, None, (Some(networks), None)) => {
            check_length(networks, MOST_NETWORKS, found);
            Some(ClusterPeer::Networks(networks.list(found, Node::text)))
        }
        (None, None, (None, Some(nodes))) => kubernetes::selector(nodes, found).map(ClusterPeer::Nodes),
        _ => {
            let choices = if is_receiver { "`namespaces`, `pods`, `networks` or `nodes`" } else { "`namespaces` or `pods`" };
            found.push(Diagnostic::at(Code::ConflictingFields, node.span, format!("write exactly one of {choices}")));
            None
        }
    }
}

fn namespaced_pods(node: &Node, found: &mut Diagnostics) -> Option<ClusterPods> {
    let mut fields = Fields::of(node, found)?;
    let namespaces = fields.require("namespaceSelector", found).and_then(|node| kubernetes::selector(node, found));
    let pods = fields.require("podSelector", found).and_then(|node| kubernetes::selector(node, found));
    fields.finish(found);
    Some(ClusterPods { namespaces: namespaces?, pods: Some(pods?) })
}

/// `portNumber`, `portRange` or `namedPort` of `v1alpha1`.
fn admin_port(node: &Node, found: &mut Diagnostics) -> Option<ClusterPort> {
    let mut fields = Fields::of(node, found)?;
    let number = fields.get("portNumber");
    let range = fields.get("portRange");
    let name = fields.get("namedPort");
    fields.finish(found);
    match (number, range, name) {
        (Some(number), None, None) => ports(number, "port", "port", found),
        (None, Some(range), None) => ports(range, "start", "end", found),
        (None, None, Some(name)) => named_port(name, found),
        _ => {
            found.push(Diagnostic::at(
                Code::ConflictingFields,
                node.span,
                "write exactly one of `portNumber`, `portRange` and `namedPort`",
            ));
            None
        }
    }
}

/// Protocol and first and last port of `v1alpha1`.
fn ports(node: &Node, first: &'static str, last: &'static str, found: &mut Diagnostics) -> Option<ClusterPort> {
    let mut fields = Fields::of(node, found)?;
    let protocol = match fields.get("protocol") {
        Some(node) => node.choice(&kubernetes::PROTOCOLS, found)?.value,
        None => Protocol::TCP,
    };
    let from = fields.require(first, found).and_then(|node| node.integer(1, 65535, found));
    let to = fields.require(last, found).and_then(|node| node.integer(1, 65535, found));
    fields.finish(found);
    Some(ClusterPort { protocol: Some(protocol), port: Some(range_text(from?, to?, node)) })
}

fn range_text(from: Spanned<i64>, to: Spanned<i64>, node: &Node) -> Port {
    Port { text: format!("{}:{}", from.value, to.value), span: node.span }
}

/// A port by name, of any protocol (Calico's conversion, reference §5.4).
fn named_port(node: &Node, found: &mut Diagnostics) -> Option<ClusterPort> {
    let name = node.text(found)?;
    Some(ClusterPort { protocol: None, port: Some(Port { text: name.value, span: name.span }) })
}

/// `tcp`, `udp`, `sctp` or `destinationNamedPort` of `v1alpha2`.
fn cluster_port(node: &Node, found: &mut Diagnostics) -> Option<ClusterPort> {
    let mut fields = Fields::of(node, found)?;
    let by_protocol = [("tcp", Protocol::TCP), ("udp", Protocol::UDP), ("sctp", Protocol::SCTP)];
    let stated: Vec<(Protocol, &Node)> =
        by_protocol.into_iter().filter_map(|(name, protocol)| Some((protocol, fields.get(name)?))).collect();
    let name = fields.get("destinationNamedPort");
    fields.finish(found);
    match (stated.as_slice(), name) {
        ([(protocol, node)], None) => destination_port(*protocol, node, found),
        ([], Some(name)) => named_port(name, found),
        _ => {
            found.push(Diagnostic::at(
                Code::ConflictingFields,
                node.span,
                "write exactly one of `tcp`, `udp`, `sctp` and `destinationNamedPort`",
            ));
            None
        }
    }
}

fn destination_port(protocol: Protocol, node: &Node, found: &mut Diagnostics) -> Option<ClusterPort> {
    let mut fields = Fields::of(node, found)?;
    let destination = fields.get("destinationPort");
    fields.finish(found);
    let Some(destination) = destination else { return Some(ClusterPort { protocol: Some(protocol), port: None }) };
    let mut fields = Fields::of(destination, found)?;
    let number = fields.get("number");
    let range = fields.get("range");
    fields.finish(found);
    let port = match (number, range) {
        (Some(number), None) => {
            let number = number.integer(1, 65535, found)?;
            range_text(number, number, destination)
        }
        (None, Some(range)) => {
            let mut fields = Fields::of(range, found)?;
            let start = fields.require("start", found).and_then(|node| node.integer(1, 65535, found));
            let end = fields.require("end", found).and_then(|node| node.integer(1, 65535, found));
            fields.finish(found);
            range_text(start?, end?, range)
        }
        _ => {
            found.push(Diagnostic::at(Code::ConflictingFields, destination.span, "write exactly one of `number` and `range`"));
            return None;
        }
    };
    Some(ClusterPort { protocol: Some(protocol), port: Some(port) })
}
