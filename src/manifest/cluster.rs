//! Reads cluster-wide Kubernetes policy: `ClusterNetworkPolicy`
//! (`policy.networking.k8s.io/v1alpha2`), `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy`
//! (`v1alpha1`).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{MappingFields, YamlNode};
use crate::manifest::{
    Action, ClusterPeer, ClusterPods, ClusterPolicy, ClusterPort, ClusterRank, ClusterRule,
    Metadata, WrittenPort, kubernetes, metadata,
};
use crate::name::reserved::BASELINE_NAME;
use crate::net::Protocol;
use crate::source::{Span, Spanned};

const TIERS: [(&str, ClusterRank); 2] = [
    ("Admin", ClusterRank::Admin),
    ("Baseline", ClusterRank::Baseline),
];

const CLUSTER_ACTIONS: [(&str, Action); 3] = [
    ("Accept", Action::Allow),
    ("Deny", Action::Deny),
    ("Pass", Action::Pass),
];
const ADMIN_ACTIONS: [(&str, Action); 3] = [
    ("Allow", Action::Allow),
    ("Deny", Action::Deny),
    ("Pass", Action::Pass),
];
const BASELINE_ACTIONS: [(&str, Action); 2] = [("Allow", Action::Allow), ("Deny", Action::Deny)];

/// Maximum number of prefixes in a peer.
const MOST_NETWORKS: usize = 25;
/// Maximum number of characters in a rule's name.
const LONGEST_RULE_NAME: usize = 100;

/// Differences between the three kinds.
#[derive(Clone, Copy)]
struct KindDialect {
    actions: &'static [(&'static str, Action)],
    ports: &'static str,
    /// Maximum number of rules in a direction, and of peers and ports in a rule.
    longest_list: usize,
}

const CLUSTER: KindDialect = KindDialect {
    actions: &CLUSTER_ACTIONS,
    ports: "protocols",
    longest_list: 25,
};
const ADMIN: KindDialect = KindDialect {
    actions: &ADMIN_ACTIONS,
    ports: "ports",
    longest_list: 100,
};
const BASELINE: KindDialect = KindDialect {
    actions: &BASELINE_ACTIONS,
    ..ADMIN
};

/// Reads a `ClusterNetworkPolicy`, which names its tier.
pub(super) fn policy(
    tree: &YamlNode,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> Option<ClusterPolicy> {
    let mut spec = metadata::spec(tree, diagnostics)?;
    let tier = spec
        .require("tier", diagnostics)
        .and_then(|node| node.choice(&TIERS, diagnostics));
    // Without a valid tier the compile is refused, so the rank is only a placeholder.
    let rank = tier.map_or(ClusterRank::Admin, |tier| tier.value);
    let priority = priority(&mut spec, diagnostics);

    Some(ClusterPolicy {
        rank,
        priority,
        ..body(spec, CLUSTER, metadata, diagnostics)
    })
}

/// Reads an `AdminNetworkPolicy`.
pub(super) fn admin(
    tree: &YamlNode,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> Option<ClusterPolicy> {
    let mut spec = metadata::spec(tree, diagnostics)?;
    let priority = priority(&mut spec, diagnostics);
    Some(ClusterPolicy {
        rank: ClusterRank::AdminNetworkPolicy,
        priority,
        ..body(spec, ADMIN, metadata, diagnostics)
    })
}

/// Reads a `BaselineAdminNetworkPolicy`. A cluster has at most one.
pub(super) fn baseline(
    tree: &YamlNode,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> Option<ClusterPolicy> {
    // The API server enforces this name, so that a cluster has one baseline policy.
    if metadata.name.value != BASELINE_NAME {
        let message = format!("a BaselineAdminNetworkPolicy must be called `{BASELINE_NAME}`");
        diagnostics.push(Diagnostic::at(
            Code::InvalidName,
            metadata.name.span,
            message,
        ));
    }
    let spec = metadata::spec(tree, diagnostics)?;
    Some(body(spec, BASELINE, metadata, diagnostics))
}

/// Reads the fields that all three kinds have: subject and rules.
fn body(
    mut spec: MappingFields<'_>,
    dialect: KindDialect,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> ClusterPolicy {
    let subject = spec
        .require("subject", diagnostics)
        .and_then(|node| subject(node, diagnostics))
        .unwrap_or_default();
    let ingress = rules(&mut spec, "ingress", "from", dialect, diagnostics);
    let egress = rules(&mut spec, "egress", "to", dialect, diagnostics);

    spec.finish(diagnostics);
    ClusterPolicy {
        metadata,
        rank: ClusterRank::BaselineAdminNetworkPolicy,
        priority: None,
        subject,
        ingress,
        egress,
    }
}

fn priority(spec: &mut MappingFields<'_>, diagnostics: &mut Diagnostics) -> Option<i64> {
    let node = spec.require("priority", diagnostics)?;
    node.integer(0, 1000, diagnostics)
        .map(|priority| priority.value)
}

/// Reads the rules of a direction. `peers` is the name of the field that lists the remote side.
fn rules(
    spec: &mut MappingFields<'_>,
    name: &'static str,
    peers: &'static str,
    dialect: KindDialect,
    diagnostics: &mut Diagnostics,
) -> Vec<ClusterRule> {
    spec.list_up_to(
        name,
        dialect.longest_list,
        diagnostics,
        |node, diagnostics| rule(node, peers, dialect, diagnostics),
    )
}

/// Refuses an empty list. It would match nothing, while an absent list may match everything.
fn check_filled(list: &YamlNode, diagnostics: &mut Diagnostics) {
    if list.items().is_some_and(<[YamlNode]>::is_empty) {
        diagnostics.push(Diagnostic::at(
            Code::InvalidValue,
            list.span,
            "this list must not be empty",
        ));
    }
}

fn rule(
    node: &YamlNode,
    peers: &'static str,
    dialect: KindDialect,
    diagnostics: &mut Diagnostics,
) -> Option<ClusterRule> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    check_name(&mut fields, diagnostics);
    let action = fields
        .require("action", diagnostics)
        .and_then(|node| node.choice(dialect.actions, diagnostics));

    [
        fields.require(peers, diagnostics),
        fields.get(dialect.ports),
    ]
    .into_iter()
    .flatten()
    .for_each(|list| check_filled(list, diagnostics));

    let most = dialect.longest_list;
    let sides = fields.list_up_to(peers, most, diagnostics, |node, diagnostics| {
        // Only egress rules have receivers as peers.
        peer(node, peers == "to", diagnostics)
    });
    let ports = fields.list_up_to(
        dialect.ports,
        most,
        diagnostics,
        if dialect.ports == "ports" {
            admin_port
        } else {
            cluster_port
        },
    );

    fields.finish(diagnostics);
    // if the action is wrong, the compile is refused, so this is only a placeholder
    let action = action.map_or(Action::Deny, |action| action.value);
    Some(ClusterRule {
        span: node.span,
        action,
        peers: sides,
        ports,
    })
}

/// Checks a rule's name. It has no effect, but an API server rejects an object with a name that is
/// too long.
fn check_name(fields: &mut MappingFields<'_>, diagnostics: &mut Diagnostics) {
    let Some(name) = fields.text("name", diagnostics) else {
        return;
    };
    let length = name.value.chars().count();
    if length > LONGEST_RULE_NAME {
        let message =
            format!("this name has {length} characters, where {LONGEST_RULE_NAME} are allowed");
        diagnostics.push(Diagnostic::at(Code::TooLong, name.span, message));
    }
}

/// Reads the subject: the pods that a policy applies to.
fn subject(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<ClusterPods> {
    match peer(node, false, diagnostics)? {
        ClusterPeer::Pods(pods) => Some(pods),
        ClusterPeer::Networks(_) | ClusterPeer::Nodes(_) => None,
    }
}

/// Reads a peer. Only a receiver may be a prefix or a node.
fn peer(node: &YamlNode, is_receiver: bool, diagnostics: &mut Diagnostics) -> Option<ClusterPeer> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let errors = diagnostics.error_count();
    let mut peers: Vec<ClusterPeer> = Vec::new();

    if let Some(node) = fields.get("namespaces") {
        peers.push(ClusterPeer::Pods(ClusterPods {
            namespaces: kubernetes::selector(node, diagnostics),
            pods: None,
        }));
    }

    peers.extend(
        fields
            .get("pods")
            .and_then(|node| namespaced_pods(node, diagnostics))
            .map(ClusterPeer::Pods),
    );

    if is_receiver {
        fields
            .get("networks")
            .into_iter()
            .for_each(|node| check_filled(node, diagnostics));
        let networks = fields.list_up_to("networks", MOST_NETWORKS, diagnostics, YamlNode::text);
        peers.extend(
            fields
                .get("networks")
                .map(|_| ClusterPeer::Networks(networks)),
        );
        peers.extend(
            fields
                .get("nodes")
                .map(|node| ClusterPeer::Nodes(kubernetes::selector(node, diagnostics))),
        );
        fields.refuse(&["domainNames"], diagnostics);
    }

    fields.finish(diagnostics);
    let [_] = peers.as_slice() else {
        if peers.len() > 1 || diagnostics.error_count() == errors {
            let choices = if is_receiver {
                "`namespaces`, `pods`, `networks` or `nodes`"
            } else {
                "`namespaces` or `pods`"
            };
            diagnostics.push(Diagnostic::at(
                Code::ConflictingFields,
                node.span,
                format!("write exactly one of {choices}"),
            ));
        }
        return peers.pop();
    };

    peers.pop()
}

fn namespaced_pods(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<ClusterPods> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let [namespaces, pods] = ["namespaceSelector", "podSelector"].map(|name| {
        fields
            .require(name, diagnostics)
            .map(|node| kubernetes::selector(node, diagnostics))
            .unwrap_or_default()
    });

    fields.finish(diagnostics);
    Some(ClusterPods {
        namespaces,
        pods: Some(pods),
    })
}

/// Reads `portNumber`, `portRange` or `namedPort` of `v1alpha1`.
fn admin_port(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<ClusterPort> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let stated = [
        fields.get("portNumber"),
        fields.get("portRange"),
        fields.get("namedPort"),
    ];

    fields.finish(diagnostics);
    let [number, range, name] = stated;
    let read = [
        number.map(|node| ports(node, "port", "port", diagnostics)),
        range.map(|node| ports(node, "start", "end", diagnostics)),
        name.map(|node| named_port(node, diagnostics)),
    ];

    only_one(
        read,
        node,
        "`portNumber`, `portRange` and `namedPort`",
        diagnostics,
    )
}

/// Returns the value if exactly one of the fields is present. All fields must have been read
/// before.
fn only_one<const FIELDS: usize>(
    read: [Option<Option<ClusterPort>>; FIELDS],
    node: &YamlNode,
    choices: &str,
    diagnostics: &mut Diagnostics,
) -> Option<ClusterPort> {
    let mut stated: Vec<Option<ClusterPort>> = read.into_iter().flatten().collect();
    if stated.len() != 1 {
        diagnostics.push(Diagnostic::at(
            Code::ConflictingFields,
            node.span,
            format!("write exactly one of {choices}"),
        ));
    }
    stated.pop().flatten()
}

/// Reads protocol, first port and last port of `v1alpha1`.
fn ports(
    node: &YamlNode,
    first: &'static str,
    last: &'static str,
    diagnostics: &mut Diagnostics,
) -> Option<ClusterPort> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let protocol = kubernetes::protocol(&mut fields, diagnostics);
    let port = range(&mut fields, first, last, diagnostics);
    fields.finish(diagnostics);
    Some(ClusterPort {
        protocol: Some(protocol),
        port: Some(port?),
    })
}

/// A range of ports, or a single port if `first` and `last` are one field.
fn range(
    fields: &mut MappingFields<'_>,
    first: &'static str,
    last: &'static str,
    diagnostics: &mut Diagnostics,
) -> Option<WrittenPort> {
    let from = fields
        .require(first, diagnostics)
        .and_then(|node| node.integer(1, 65535, diagnostics));
    if first == last {
        return from.map(|from| range_text(from, from, fields.span));
    }
    let to = fields
        .require(last, diagnostics)
        .and_then(|node| node.integer(1, 65535, diagnostics));
    Some(range_text(from?, to?, fields.span))
}

fn range_text(from: Spanned<i64>, to: Spanned<i64>, span: Span) -> WrittenPort {
    WrittenPort {
        text: format!("{}:{}", from.value, to.value),
        span,
    }
}

/// Reads a named port, which may have any protocol (Calico's conversion, semantics §5.4).
fn named_port(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<ClusterPort> {
    let name = node.text(diagnostics)?;
    Some(ClusterPort {
        protocol: None,
        port: Some(WrittenPort {
            text: name.value,
            span: name.span,
        }),
    })
}

/// Reads `tcp`, `udp`, `sctp` or `destinationNamedPort` of `v1alpha2`.
fn cluster_port(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<ClusterPort> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let by_protocol = [
        ("tcp", Protocol::TCP),
        ("udp", Protocol::UDP),
        ("sctp", Protocol::SCTP),
    ];
    let [tcp, udp, sctp] = by_protocol.map(|(name, protocol)| {
        fields
            .get(name)
            .map(|node| destination_port(protocol, node, diagnostics))
    });
    let name = fields
        .get("destinationNamedPort")
        .map(|node| named_port(node, diagnostics));

    fields.finish(diagnostics);
    only_one(
        [tcp, udp, sctp, name],
        node,
        "`tcp`, `udp`, `sctp` and `destinationNamedPort`",
        diagnostics,
    )
}

fn destination_port(
    protocol: Protocol,
    node: &YamlNode,
    diagnostics: &mut Diagnostics,
) -> Option<ClusterPort> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let destination = fields.get("destinationPort");
    fields.finish(diagnostics);
    let Some(destination) = destination else {
        return Some(ClusterPort {
            protocol: Some(protocol),
            port: None,
        });
    };

    let mut fields = MappingFields::from_node(destination, diagnostics)?;
    let (number, range_node) = (fields.get("number"), fields.get("range"));
    fields.finish(diagnostics);
    let number = number.map(|node| port_number(node, destination, diagnostics));
    let range = range_node.map(|node| port_range(node, diagnostics));
    let with_protocol = |port: Option<WrittenPort>| {
        port.map(|port| ClusterPort {
            protocol: Some(protocol),
            port: Some(port),
        })
    };

    only_one(
        [number.map(with_protocol), range.map(with_protocol)],
        destination,
        "`number` and `range`",
        diagnostics,
    )
}

fn port_number(
    node: &YamlNode,
    place: &YamlNode,
    diagnostics: &mut Diagnostics,
) -> Option<WrittenPort> {
    let number = node.integer(1, 65535, diagnostics)?;
    Some(range_text(number, number, place.span))
}

fn port_range(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<WrittenPort> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let port = range(&mut fields, "start", "end", diagnostics);
    fields.finish(diagnostics);
    // `v1alpha1` accepts a range of a single port; `v1alpha2` does not
    if port.as_ref().is_some_and(|port| {
        port.text
            .split_once(':')
            .is_some_and(|(first, last)| first == last)
    }) {
        let message = "`start` must be smaller than `end`";
        diagnostics.push(
            Diagnostic::at(Code::InvalidPort, node.span, message)
                .help("write one port as `number`"),
        );
    }

    port
}
