//! Reads Calico's kinds (API of `projectcalico.org/v3`).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{ManifestKind, MappingFields, NodeScalar, NodeValue, YamlNode};
use crate::manifest::text_fields::absent_if_empty;
use crate::manifest::{
    Action, DefaultAction, Icmp, Metadata, NetworkSet, Policy, Profile, Rule, RuleSide,
    ServiceAccounts, ServiceRef, Tier, WrittenPort, WrittenProtocol, http, metadata, stand_in,
};
use crate::net::{Direction, Family, Protocol};
use crate::source::{Spanned, SpannedString};

const ACTIONS: [(&str, Action); 4] = [
    ("Allow", Action::Allow),
    ("Deny", Action::Deny),
    ("Log", Action::Log),
    ("Pass", Action::Pass),
];

const DEFAULT_ACTIONS: [(&str, DefaultAction); 2] =
    [("Deny", DefaultAction::Deny), ("Pass", DefaultAction::Pass)];

const HINTS: [(&str, ()); 1] = [("AssumeNeededOnEveryNode", ())];

pub(super) const DIRECTIONS: [(&str, Direction); 2] = [
    ("Ingress", Direction::Ingress),
    ("Egress", Direction::Egress),
];

/// Maximum number of rules in one direction (semantics §2.3).
const MOST_RULES: usize = 1_024;
/// Maximum number of entries of `nets`, and of `notNets` (semantics §2.2).
const MOST_NETS: usize = 256;
/// Maximum number of entries of `ports`, and of `notPorts`.
const MOST_PORTS: usize = 50;
/// Maximum number of characters in a selector.
const LONGEST_SELECTOR: usize = 1_024;

/// Reads a `NetworkPolicy` or `GlobalNetworkPolicy`, or its staged counterpart, from the spec.
pub(super) fn policy(
    mut spec: MappingFields<'_>,
    metadata: Metadata,
    kind: ManifestKind,
    diagnostics: &mut Diagnostics,
) -> Policy {
    let global = matches!(
        kind,
        ManifestKind::GlobalNetworkPolicy | ManifestKind::StagedGlobalNetworkPolicy
    );
    let policy = Policy {
        metadata,
        tier: absent_if_empty(spec.text("tier", diagnostics)),
        order: spec.get("order").and_then(|node| node.float(diagnostics)),
        selector: selector(&mut spec, "selector", diagnostics),
        // In a namespaced policy this field is unknown and gets reported by `finish`.
        namespace_selector: if global {
            selector(&mut spec, "namespaceSelector", diagnostics)
        } else {
            None
        },
        service_account_selector: selector(&mut spec, "serviceAccountSelector", diagnostics),
        types: types(&mut spec, diagnostics),
        ingress: spec.list_up_to("ingress", MOST_RULES, diagnostics, rule),
        egress: spec.list_up_to("egress", MOST_RULES, diagnostics, rule),
        do_not_track: if global {
            boolean(&mut spec, "doNotTrack", diagnostics)
        } else {
            None
        },
        pre_dnat: if global {
            boolean(&mut spec, "preDNAT", diagnostics)
        } else {
            None
        },
        apply_on_forward: if global {
            boolean(&mut spec, "applyOnForward", diagnostics)
        } else {
            None
        },
    };

    // hints affect where Calico programs a policy, never its meaning
    spec.distinct("performanceHints", diagnostics);
    spec.list("performanceHints", diagnostics, |node, diagnostics| {
        node.choice(&HINTS, diagnostics)
    });
    spec.finish(diagnostics);

    policy
}

/// The directions of a policy. Refuses an empty list, because it would mean "no direction", but
/// Calico's own tools treat it as absent.
fn types(spec: &mut MappingFields<'_>, diagnostics: &mut Diagnostics) -> Vec<Spanned<Direction>> {
    spec.distinct("types", diagnostics);
    if let Some(node) = spec
        .get("types")
        .filter(|node| node.items().is_some_and(<[YamlNode]>::is_empty))
    {
        // An empty `types` in a file and in the API would mean different policies.
        let help = "leave `types` out, and it is what the rules are for";
        diagnostics.push(
            Diagnostic::at(Code::InvalidValue, node.span, "`types` must not be empty").help(help),
        );
    }

    spec.list("types", diagnostics, |node, diagnostics| {
        node.choice(&DIRECTIONS, diagnostics)
    })
}

/// Reads a `Profile`.
pub(super) fn profile(
    tree: &YamlNode,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> Option<Profile> {
    let mut spec = metadata::spec(tree, diagnostics)?;
    let ingress = spec.list_up_to("ingress", MOST_RULES, diagnostics, rule);
    let egress = spec.list_up_to("egress", MOST_RULES, diagnostics, rule);
    let labels = spec
        .get("labelsToApply")
        .map(|node| metadata::labels(node, diagnostics))
        .unwrap_or_default();

    spec.finish(diagnostics);
    Some(Profile {
        metadata,
        ingress,
        egress,
        labels,
    })
}

/// Reads a `Tier`.
pub(super) fn tier(
    tree: &YamlNode,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> Option<Tier> {
    let mut object = MappingFields::from_node(tree, diagnostics)?;
    object.ignore(&["apiVersion", "kind", "metadata", "status"]);
    let spec = object.get("spec");
    object.finish(diagnostics);
    let Some(spec) = spec else {
        return Some(Tier {
            metadata,
            order: None,
            default_action: None,
        });
    };

    let mut spec = MappingFields::from_node(spec, diagnostics)?;
    let order = spec.get("order").and_then(|node| node.float(diagnostics));
    let default_action = spec
        .get("defaultAction")
        .and_then(|node| node.choice(&DEFAULT_ACTIONS, diagnostics));

    spec.finish(diagnostics);
    Some(Tier {
        metadata,
        order,
        default_action,
    })
}

/// Reads a `NetworkSet` or `GlobalNetworkSet`.
pub(super) fn network_set(
    tree: &YamlNode,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> Option<NetworkSet> {
    let mut spec = metadata::spec(tree, diagnostics)?;
    spec.distinct("nets", diagnostics);
    let nets = spec.list("nets", diagnostics, YamlNode::text);
    spec.refuse(&["allowedEgressDomains"], diagnostics);
    spec.finish(diagnostics);
    Some(NetworkSet { metadata, nets })
}

fn boolean(
    fields: &mut MappingFields<'_>,
    name: &'static str,
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<bool>> {
    fields.get(name).and_then(|node| node.boolean(diagnostics))
}

fn rule(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Rule> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let action = fields
        .require("action", diagnostics)
        .and_then(|node| node.choice(&ACTIONS, diagnostics));
    let ip_version = fields
        .get("ipVersion")
        .and_then(|node| family(node, diagnostics));
    let stated = fields.get("protocol");
    let protocol = stated.and_then(|node| written_protocol(node, diagnostics));
    let not_protocol = fields
        .get("notProtocol")
        .and_then(|node| written_protocol(node, diagnostics));
    let icmp_match = fields.get("icmp").and_then(|node| icmp(node, diagnostics));
    let not_icmp = fields
        .get("notICMP")
        .and_then(|node| icmp(node, diagnostics));
    let source = fields
        .get("source")
        .and_then(|node| entity(node, diagnostics))
        .unwrap_or_default();
    let destination = fields
        .get("destination")
        .and_then(|node| entity(node, diagnostics))
        .unwrap_or_default();

    let http = fields.get("http");
    if let Some(node) = http {
        http::check(node, diagnostics);
    }

    rule_metadata(&mut fields, diagnostics);
    fields.finish(diagnostics);
    Some(Rule {
        span: node.span,
        // If the action is wrong, the compile is refused. `Allow` is a placeholder that conflicts
        // with no other field.
        action: action.map_or(Action::Allow, |action| action.value),
        ip_version,
        protocol,
        protocol_is_wrong: stated.is_some() && protocol.is_none(),
        not_protocol,
        icmp: icmp_match,
        not_icmp,
        http: http.map(|node| node.span),
        source,
        destination,
    })
}

/// Checks `metadata.annotations` of a rule. They are remarks for people, with the limits of an
/// object's annotations.
fn rule_metadata(fields: &mut MappingFields<'_>, diagnostics: &mut Diagnostics) {
    let Some(mut metadata) = fields
        .get("metadata")
        .and_then(|node| MappingFields::from_node(node, diagnostics))
    else {
        return;
    };
    if let Some(node) = metadata.get("annotations") {
        metadata::check_annotations(node, diagnostics);
    }
    metadata.finish(diagnostics);
}

fn entity(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<RuleSide> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    ["nets", "notNets"]
        .into_iter()
        .for_each(|name| fields.distinct(name, diagnostics));

    let entity = RuleSide {
        nets: fields.list_up_to("nets", MOST_NETS, diagnostics, YamlNode::text),
        not_nets: fields.list_up_to("notNets", MOST_NETS, diagnostics, YamlNode::text),
        selector: selector(&mut fields, "selector", diagnostics),
        not_selector: selector(&mut fields, "notSelector", diagnostics),
        namespace_selector: selector(&mut fields, "namespaceSelector", diagnostics),
        service_accounts: fields
            .get("serviceAccounts")
            .and_then(|node| service_accounts(node, diagnostics)),
        services: fields
            .get("services")
            .and_then(|node| services(node, diagnostics)),
        ports: fields.list_up_to("ports", MOST_PORTS, diagnostics, port),
        not_ports: fields.list_up_to("notPorts", MOST_PORTS, diagnostics, port),
    };

    fields.refuse(&["domains"], diagnostics);
    fields.finish(diagnostics);
    Some(entity)
}

fn service_accounts(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<ServiceAccounts> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    fields.distinct("names", diagnostics);
    let names = fields.list("names", diagnostics, YamlNode::text);
    // Calico limits the length of all selectors but this one
    let selector = absent_if_empty(fields.text("selector", diagnostics));
    fields.finish(diagnostics);
    Some(ServiceAccounts { names, selector })
}

fn services(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<ServiceRef> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let name = fields
        .require("name", diagnostics)
        .and_then(|node| node.text(diagnostics));
    let stated = fields.get("namespace");
    let namespace = stated.map(|node| {
        node.text(diagnostics)
            .unwrap_or_else(|| stand_in(node.span))
    });

    fields.finish(diagnostics);
    let name = name.unwrap_or_else(|| stand_in(node.span));
    Some(ServiceRef {
        span: node.span,
        name,
        namespace: absent_if_empty(namespace),
    })
}

/// The text of a selector. Empty text counts as absent, because Calico's web interface writes `''`.
/// Text of blanks is not absent: it means `all()`, which on a rule's side matches known addresses
/// only.
fn selector(
    fields: &mut MappingFields<'_>,
    name: &'static str,
    diagnostics: &mut Diagnostics,
) -> Option<SpannedString> {
    let text = absent_if_empty(fields.text(name, diagnostics));
    if let Some(text) = text
        .as_ref()
        .filter(|text| text.value.chars().count() > LONGEST_SELECTOR)
    {
        let message = format!(
            "this selector has {} characters, where {LONGEST_SELECTOR} are allowed",
            text.value.chars().count()
        );
        diagnostics.push(Diagnostic::at(Code::TooLong, text.span, message));
    }

    text
}

fn family(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Spanned<Family>> {
    let version = node.integer(4, 6, diagnostics)?;
    let family = match version.value {
        4 => Family::V4,
        6 => Family::V6,
        other => {
            diagnostics.push(
                Diagnostic::at(
                    Code::InvalidValue,
                    node.span,
                    format!("`{other}` is no IP version"),
                )
                .help("write `4` or `6`"),
            );
            return None;
        }
    };

    Some(Spanned::new(family, node.span))
}

fn icmp(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Spanned<Icmp>> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let kind = fields
        .get("type")
        .and_then(|node| node.integer(0, 254, diagnostics));
    let code = fields
        .get("code")
        .and_then(|node| node.integer(0, 255, diagnostics));
    let known = (fields.get("type").is_some(), fields.get("code").is_some());

    fields.finish(diagnostics);
    if known == (false, true) {
        diagnostics.push(Diagnostic::at(
            Code::ConflictingFields,
            node.span,
            "an ICMP `code` needs a `type`",
        ));
    }

    if known == (false, false) {
        diagnostics.push(Diagnostic::at(
            Code::MissingField,
            node.span,
            "`type` is missing",
        ));
    }

    let byte = |number: Spanned<i64>| u8::try_from(number.value).ok();
    Some(Spanned::new(
        Icmp {
            kind: kind.and_then(byte).unwrap_or_default(),
            code: code.and_then(byte),
        },
        node.span,
    ))
}

/// A protocol by Calico's name (case-sensitive), or by number from 1 to 255, also as a string of
/// digits.
pub(super) fn written_protocol(
    node: &YamlNode,
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<WrittenProtocol>> {
    let written = match &node.value {
        NodeValue::Scalar(NodeScalar::Number(number)) => number.clone(),
        NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
            node.text(diagnostics)?.value
        }
    };
    let by_name = Protocol::from_name(&written).map(WrittenProtocol::Name);
    let is_number = written.bytes().all(|byte| byte.is_ascii_digit());
    let by_number = || {
        written
            .parse()
            .ok()
            .filter(|_| is_number)
            .and_then(Protocol::from_number)
            .map(WrittenProtocol::Number)
    };

    let protocol = by_name.or_else(by_number);
    if protocol.is_none() {
        diagnostics.push(bad_protocol(node, &written));
    }

    Some(Spanned::new(protocol?, node.span))
}

fn bad_protocol(node: &YamlNode, written: &str) -> Diagnostic {
    let same_letters = Protocol::names().find(|name| name.eq_ignore_ascii_case(written));
    let names: Vec<&str> = Protocol::names().collect();
    let help = match same_letters {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!(
            "write one of {} or a number from 1 to 255",
            names.join(", ")
        ),
    };

    Diagnostic::at(
        Code::InvalidProtocol,
        node.span,
        format!("`{written}` is no protocol"),
    )
    .help(help)
}

/// A port as a number or a string. `policy` checks its meaning. `8e1` is a number, and must not be
/// taken for a name.
pub(super) fn port(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<WrittenPort> {
    let text = match &node.value {
        NodeValue::Scalar(NodeScalar::Number(number))
            if !number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            diagnostics.push(
                Diagnostic::at(
                    Code::InvalidPort,
                    node.span,
                    format!("`{number}` is no port"),
                )
                .help("write it as a whole number"),
            );
            return None;
        }
        NodeValue::Scalar(NodeScalar::Number(number)) => number.clone(),
        NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
            node.text(diagnostics)?.value
        }
    };

    Some(WrittenPort {
        text,
        span: node.span,
    })
}
