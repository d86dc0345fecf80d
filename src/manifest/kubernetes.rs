//! Kubernetes' `NetworkPolicy`, field by field (API of `networking.k8s.io/v1`).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{Fields, Node};
use crate::manifest::{
    KubernetesPeer, KubernetesPolicy, KubernetesPort, KubernetesRule, KubernetesSelector, Metadata, Operator, Requirement, calico, metadata,
};
use crate::name::Form;
use crate::net::Protocol;
use crate::text::Text;

pub(super) const PROTOCOLS: [(&str, Protocol); 3] = [("TCP", Protocol::TCP), ("UDP", Protocol::UDP), ("SCTP", Protocol::SCTP)];

const OPERATORS: [(&str, Operator); 4] =
    [("In", Operator::In), ("NotIn", Operator::NotIn), ("Exists", Operator::Exists), ("DoesNotExist", Operator::DoesNotExist)];

/// A `NetworkPolicy` from its spec. An absent `podSelector` is the empty one, which selects every pod (API server default).
pub(super) fn policy(mut spec: Fields<'_>, metadata: Metadata, found: &mut Diagnostics) -> Option<KubernetesPolicy> {
    let pod_selector = match spec.get("podSelector") {
        Some(node) => selector(node, found),
        None => Some(KubernetesSelector::default()),
    };
    let types = spec.list("policyTypes", found, |node, found| node.choice(&calico::DIRECTIONS, found));
    let ingress = spec.list("ingress", found, |node, found| rule(node, "from", found));
    let egress = spec.list("egress", found, |node, found| rule(node, "to", found));
    spec.finish(found);
    Some(KubernetesPolicy { metadata, pod_selector: pod_selector?, types, ingress, egress })
}

/// A rule; `peers` is the name of the field that lists the other side. An empty rule (`{}` or nothing) allows everything.
fn rule(node: &Node, peers: &'static str, found: &mut Diagnostics) -> Option<KubernetesRule> {
    if node.is_null() {
        return Some(KubernetesRule { span: node.span, peers: Vec::new(), ports: Vec::new() });
    }
    let mut fields = Fields::of(node, found)?;
    let errors = found.error_count();
    let peers = fields.list(peers, found, peer);
    let ports = fields.list("ports", found, port);
    fields.finish(found);
    (found.error_count() == errors).then_some(KubernetesRule { span: node.span, peers, ports })
}

fn peer(node: &Node, found: &mut Diagnostics) -> Option<KubernetesPeer> {
    let mut fields = Fields::of(node, found)?;
    let block = fields.get("ipBlock");
    let pods = fields.get("podSelector");
    let namespaces = fields.get("namespaceSelector");
    fields.finish(found);
    match (block, pods.or(namespaces)) {
        (Some(block), None) => ip_block(block, found),
        (None, Some(_)) => {
            let (pods, namespaces) = (optional_selector(pods, found), optional_selector(namespaces, found));
            Some(KubernetesPeer::Pods { pods: pods?, namespaces: namespaces? })
        }
        (Some(_), Some(_)) => {
            found.push(Diagnostic::at(Code::ConflictingFields, node.span, "`ipBlock` excludes `podSelector` and `namespaceSelector`"));
            None
        }
        (None, None) => {
            let message = "a peer needs `podSelector`, `namespaceSelector` or `ipBlock`";
            found.push(Diagnostic::at(Code::MissingField, node.span, message).help("to name everyone, leave the whole list out"));
            None
        }
    }
}

#[expect(clippy::option_option, reason = "outer: whether it is valid; inner: whether it is there")]
fn optional_selector(node: Option<&Node>, found: &mut Diagnostics) -> Option<Option<KubernetesSelector>> {
    match node {
        Some(node) => selector(node, found).map(Some),
        None => Some(None),
    }
}

fn ip_block(node: &Node, found: &mut Diagnostics) -> Option<KubernetesPeer> {
    let mut fields = Fields::of(node, found)?;
    let cidr = fields.require("cidr", found).and_then(|node| node.text(found));
    let except = fields.list("except", found, Node::text);
    fields.finish(found);
    Some(KubernetesPeer::Block { cidr: cidr?, except })
}

fn port(node: &Node, found: &mut Diagnostics) -> Option<KubernetesPort> {
    let mut fields = Fields::of(node, found)?;
    let protocol = match fields.get("protocol") {
        Some(node) => node.choice(&PROTOCOLS, found)?.value,
        None => Protocol::TCP,
    };
    let port = fields.get("port").map(|node| calico::port(node, found));
    let end_port = fields.get("endPort").map(|node| node.integer(1, 65535, found));
    fields.finish(found);
    Some(KubernetesPort { span: node.span, protocol, port: valid(port)?, end_port: valid(end_port)? })
}

/// An absent value is valid, a value that was reported is not.
#[expect(clippy::option_option, reason = "outer: whether it is valid; inner: whether it is there")]
fn valid<Read>(read: Option<Option<Read>>) -> Option<Option<Read>> {
    match read {
        Some(Some(value)) => Some(Some(value)),
        Some(None) => None,
        None => Some(None),
    }
}

/// A label selector; none when a requirement is invalid, since the rest would select more.
pub(super) fn selector(node: &Node, found: &mut Diagnostics) -> Option<KubernetesSelector> {
    let mut fields = Fields::of(node, found)?;
    let errors = found.error_count();
    let mut labels = fields.get("matchLabels").map(|node| metadata::string_map(node, found)).unwrap_or_default();
    labels.sort_by(|left, right| left.0.value.cmp(&right.0.value));
    let mut requirements: Vec<Requirement> =
        labels.into_iter().map(|(key, value)| Requirement { key, operator: Operator::In, values: vec![value] }).collect();
    requirements.extend(fields.list("matchExpressions", found, requirement));
    fields.finish(found);
    requirements.iter().for_each(|requirement| check_words(requirement, found));
    (found.error_count() == errors).then_some(KubernetesSelector { requirements })
}

fn requirement(node: &Node, found: &mut Diagnostics) -> Option<Requirement> {
    let mut fields = Fields::of(node, found)?;
    let key = fields.require("key", found).and_then(|node| node.text(found));
    let operator = fields.require("operator", found).and_then(|node| node.choice(&OPERATORS, found));
    let values: Vec<Text> = fields.list("values", found, Node::text);
    fields.finish(found);
    let operator = operator?;
    let wants_values = matches!(operator.value, Operator::In | Operator::NotIn);
    if wants_values == values.is_empty() {
        let message = if wants_values { "`In` and `NotIn` need `values`" } else { "`Exists` and `DoesNotExist` take no `values`" };
        found.push(Diagnostic::at(Code::ConflictingFields, operator.span, message));
        return None;
    }
    Some(Requirement { key: key?, operator: operator.value, values })
}

fn check_words(requirement: &Requirement, found: &mut Diagnostics) {
    Form::LabelKey.check_text(&requirement.key, "label key", found);
    for value in &requirement.values {
        Form::LabelValue.check_text(value, "label value", found);
    }
}
