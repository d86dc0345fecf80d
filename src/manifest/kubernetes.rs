//! Reads Kubernetes' `NetworkPolicy` (API of `networking.k8s.io/v1`).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{MappingFields, NodeScalar, NodeValue, YamlNode};
use crate::manifest::{
    KubernetesPeer, KubernetesPolicy, KubernetesPort, KubernetesRule, KubernetesSelector,
    LabelOperator, LabelRequirement, Metadata, WrittenPort, calico, metadata,
};
use crate::name::NameForm;
use crate::net::Protocol;
use crate::source::SpannedString;

pub(super) const PROTOCOLS: [(&str, Protocol); 3] = [
    ("TCP", Protocol::TCP),
    ("UDP", Protocol::UDP),
    ("SCTP", Protocol::SCTP),
];

const OPERATORS: [(&str, LabelOperator); 4] = [
    ("In", LabelOperator::In),
    ("NotIn", LabelOperator::NotIn),
    ("Exists", LabelOperator::Exists),
    ("DoesNotExist", LabelOperator::DoesNotExist),
];

/// Reads a `NetworkPolicy` from its spec. An absent `podSelector` equals the empty one, which
/// selects every pod (API server default).
pub(super) fn policy(
    mut spec: MappingFields<'_>,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> KubernetesPolicy {
    let pod_selector = spec
        .get("podSelector")
        .map(|node| selector(node, diagnostics))
        .unwrap_or_default();
    let types = spec.list_up_to(
        "policyTypes",
        calico::DIRECTIONS.len(),
        diagnostics,
        |node, diagnostics| node.choice(&calico::DIRECTIONS, diagnostics),
    );
    let ingress = spec.list("ingress", diagnostics, |node, diagnostics| {
        rule(node, "from", diagnostics)
    });
    let egress = spec.list("egress", diagnostics, |node, diagnostics| {
        rule(node, "to", diagnostics)
    });

    spec.finish(diagnostics);
    KubernetesPolicy {
        metadata,
        pod_selector,
        types,
        ingress,
        egress,
    }
}

/// Reads a rule. `peers` is the name of the field that lists the remote side. An empty rule (`{}`
/// or null) allows everything.
fn rule(
    node: &YamlNode,
    peers: &'static str,
    diagnostics: &mut Diagnostics,
) -> Option<KubernetesRule> {
    if node.is_null() {
        // An unfinished rule (`- ` without content) opens the policy, so it deserves a warning.
        let message = "this rule is null, and so allows everything";
        let help = "write `{}` if that is meant; the API server takes both alike";
        diagnostics.push(Diagnostic::at(Code::NullRule, node.span, message).help(help));
        return Some(KubernetesRule {
            span: node.span,
            peers: Vec::new(),
            ports: Vec::new(),
        });
    }

    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let peers = fields.list(peers, diagnostics, peer);
    let ports = fields.list("ports", diagnostics, port);
    fields.finish(diagnostics);
    Some(KubernetesRule {
        span: node.span,
        peers,
        ports,
    })
}

fn peer(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<KubernetesPeer> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let (block, pods, namespaces) = (
        fields.get("ipBlock"),
        fields.get("podSelector"),
        fields.get("namespaceSelector"),
    );

    fields.finish(diagnostics);
    let [pods, namespaces] =
        [pods, namespaces].map(|stated| stated.map(|node| selector(node, diagnostics)));

    let by_label = pods.is_some() || namespaces.is_some();
    match (block, by_label) {
        (Some(_), true) => {
            diagnostics.push(Diagnostic::at(
                Code::ConflictingFields,
                node.span,
                "`ipBlock` excludes `podSelector` and `namespaceSelector`",
            ));
        }
        (None, false) => {
            let message = "a peer needs `podSelector`, `namespaceSelector` or `ipBlock`";
            diagnostics.push(
                Diagnostic::at(Code::MissingField, node.span, message)
                    .help("to name everyone, leave the whole list out"),
            );
        }
        (Some(_), false) | (None, true) => {}
    }

    match block {
        Some(block) => ip_block(block, diagnostics),
        None => Some(KubernetesPeer::Pods { pods, namespaces }),
    }
}

fn ip_block(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<KubernetesPeer> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let cidr = fields
        .require("cidr", diagnostics)
        .and_then(|node| node.text(diagnostics));
    let except = fields.list("except", diagnostics, YamlNode::text);
    fields.finish(diagnostics);
    Some(KubernetesPeer::Block { cidr, except })
}

fn port(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<KubernetesPort> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let protocol = protocol(&mut fields, diagnostics);
    let stated = fields.get("port");
    let port = stated.and_then(|node| number_or_name(node, diagnostics));
    let end_port = fields
        .get("endPort")
        .and_then(|node| node.integer(1, 65535, diagnostics));

    fields.finish(diagnostics);
    let port_is_wrong = stated.is_some() && port.is_none();
    Some(KubernetesPort {
        span: node.span,
        protocol,
        port,
        end_port: end_port.filter(|_| !port_is_wrong),
    })
}

/// A port by number or name. A string is always a name, and a name contains a letter (API server,
/// `IsValidPortName`). So `"80"` is refused, as by the API server.
fn number_or_name(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<WrittenPort> {
    let port = calico::port(node, diagnostics)?;
    let is_string = matches!(node.value, NodeValue::Scalar(NodeScalar::Text(_)));
    if is_string && !port.text.is_empty() && port.text.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!(
            "`{0}` is a string, and the name of a port needs a letter",
            port.text
        );
        let help = format!("write `port: {0}`, without quotes", port.text);
        diagnostics.push(Diagnostic::at(Code::InvalidPort, node.span, message).help(help));
        return None;
    }

    Some(port)
}

/// A protocol by Kubernetes' name. The default is TCP.
pub(super) fn protocol(fields: &mut MappingFields<'_>, diagnostics: &mut Diagnostics) -> Protocol {
    let stated = fields
        .get("protocol")
        .and_then(|node| node.choice(&PROTOCOLS, diagnostics));
    stated.map_or(Protocol::TCP, |protocol| protocol.value)
}

/// Reads a label selector. Wrong requirements are reported and omitted.
pub(super) fn selector(node: &YamlNode, diagnostics: &mut Diagnostics) -> KubernetesSelector {
    let Some(mut fields) = MappingFields::from_node(node, diagnostics) else {
        return KubernetesSelector::default();
    };

    let mut labels = fields
        .get("matchLabels")
        .map(|node| metadata::labels(node, diagnostics))
        .unwrap_or_default();
    labels.sort_by(|left, right| left.0.value.cmp(&right.0.value));

    let mut requirements: Vec<LabelRequirement> = labels
        .into_iter()
        .map(|(key, value)| LabelRequirement {
            key,
            operator: LabelOperator::In,
            values: vec![value],
        })
        .collect();
    requirements.extend(fields.list("matchExpressions", diagnostics, requirement));
    fields.finish(diagnostics);

    KubernetesSelector { requirements }
}

fn requirement(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<LabelRequirement> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let key = fields
        .require("key", diagnostics)
        .and_then(|node| node.text(diagnostics));
    let operator = fields
        .require("operator", diagnostics)
        .and_then(|node| node.choice(&OPERATORS, diagnostics));
    let is_empty = fields
        .get("values")
        .map_or(Some(true), |node| node.items().map(<[YamlNode]>::is_empty));
    let values: Vec<SpannedString> = fields.list("values", diagnostics, YamlNode::text);

    fields.finish(diagnostics);
    if let Some(key) = &key {
        NameForm::LabelKey.check_text(key, "label key", diagnostics);
    }

    for value in &values {
        NameForm::LabelValue.check_text(value, "label value", diagnostics);
    }

    let operator = operator?;
    let wants_values = matches!(operator.value, LabelOperator::In | LabelOperator::NotIn);
    if is_empty == Some(wants_values) {
        let message = if wants_values {
            "`In` and `NotIn` need `values`"
        } else {
            "`Exists` and `DoesNotExist` take no `values`"
        };
        diagnostics.push(Diagnostic::at(
            Code::ConflictingFields,
            operator.span,
            message,
        ));
    }

    Some(LabelRequirement {
        key: key?,
        operator: operator.value,
        values,
    })
}
