//! Calico's kinds, field by field (API of `projectcalico.org/v3`).

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

/// Rules of one direction (reference §2.3).
const MOST_RULES: usize = 1_024;
/// Entries of `nets`, and of `notNets` (reference §2.2).
const MOST_NETS: usize = 256;
/// Entries of `ports`, and of `notPorts`.
const MOST_PORTS: usize = 50;
/// Characters of a selector.
const LONGEST_SELECTOR: usize = 1_024;

/// A `NetworkPolicy` or `GlobalNetworkPolicy` from its spec, or the staged twin of one.
pub(super) fn policy(
    mut spec: MappingFields<'_>,
    metadata: Metadata,
    kind: ManifestKind,
    found: &mut Diagnostics,
) -> Policy {
    let global = matches!(
        kind,
        ManifestKind::GlobalNetworkPolicy | ManifestKind::StagedGlobalNetworkPolicy
    );
    let policy = Policy {
        metadata,
        tier: absent_if_empty(spec.text("tier", found)),
        order: spec.get("order").and_then(|node| node.float(found)),
        selector: selector(&mut spec, "selector", found),
        namespace_selector: if global {
            selector(&mut spec, "namespaceSelector", found)
        } else {
            None
        },
        service_account_selector: selector(&mut spec, "serviceAccountSelector", found),
        types: types(&mut spec, found),
        ingress: spec.list_up_to("ingress", MOST_RULES, found, rule),
        egress: spec.list_up_to("egress", MOST_RULES, found, rule),
        do_not_track: if global {
            boolean(&mut spec, "doNotTrack", found)
        } else {
            None
        },
        pre_dnat: if global {
            boolean(&mut spec, "preDNAT", found)
        } else {
            None
        },
        apply_on_forward: if global {
            boolean(&mut spec, "applyOnForward", found)
        } else {
            None
        },
    };
    // hints change where Calico programs a policy, never what it means
    spec.distinct("performanceHints", found);
    spec.list("performanceHints", found, |node, found| {
        node.choice(&HINTS, found)
    });
    spec.finish(found);
    policy
}

/// The directions of a policy. An empty list would say that there are none, and is an absent one to
/// Calico's own tools.
fn types(spec: &mut MappingFields<'_>, found: &mut Diagnostics) -> Vec<Spanned<Direction>> {
    spec.distinct("types", found);
    if let Some(node) = spec
        .get("types")
        .filter(|node| node.items().is_some_and(<[YamlNode]>::is_empty))
    {
        let help = "leave `types` out, and it is what the rules are for";
        found.push(
            Diagnostic::at(Code::InvalidValue, node.span, "`types` must not be empty").help(help),
        );
    }
    spec.list("types", found, |node, found| {
        node.choice(&DIRECTIONS, found)
    })
}

/// A `Profile`.
pub(super) fn profile(
    tree: &YamlNode,
    metadata: Metadata,
    found: &mut Diagnostics,
) -> Option<Profile> {
    let mut spec = metadata::spec(tree, found)?;
    let ingress = spec.list_up_to("ingress", MOST_RULES, found, rule);
    let egress = spec.list_up_to("egress", MOST_RULES, found, rule);
    let labels = spec
        .get("labelsToApply")
        .map(|node| metadata::labels(node, found))
        .unwrap_or_default();
    spec.finish(found);
    Some(Profile {
        metadata,
        ingress,
        egress,
        labels,
    })
}

/// A `Tier`.
pub(super) fn tier(tree: &YamlNode, metadata: Metadata, found: &mut Diagnostics) -> Option<Tier> {
    let mut object = MappingFields::from_node(tree, found)?;
    object.ignore(&["apiVersion", "kind", "metadata", "status"]);
    let spec = object.get("spec");
    object.finish(found);
    let Some(spec) = spec else {
        return Some(Tier {
            metadata,
            order: None,
            default_action: None,
        });
    };
    let mut spec = MappingFields::from_node(spec, found)?;
    let order = spec.get("order").and_then(|node| node.float(found));
    let default_action = spec
        .get("defaultAction")
        .and_then(|node| node.choice(&DEFAULT_ACTIONS, found));
    spec.finish(found);
    Some(Tier {
        metadata,
        order,
        default_action,
    })
}

/// A `NetworkSet` or `GlobalNetworkSet`.
pub(super) fn network_set(
    tree: &YamlNode,
    metadata: Metadata,
    found: &mut Diagnostics,
) -> Option<NetworkSet> {
    let mut spec = metadata::spec(tree, found)?;
    spec.distinct("nets", found);
    let nets = spec.list("nets", found, YamlNode::text);
    spec.refuse(&["allowedEgressDomains"], found);
    spec.finish(found);
    Some(NetworkSet { metadata, nets })
}

fn boolean(
    fields: &mut MappingFields<'_>,
    name: &'static str,
    found: &mut Diagnostics,
) -> Option<Spanned<bool>> {
    fields.get(name).and_then(|node| node.boolean(found))
}

fn rule(node: &YamlNode, found: &mut Diagnostics) -> Option<Rule> {
    let mut fields = MappingFields::from_node(node, found)?;
    let action = fields
        .require("action", found)
        .and_then(|node| node.choice(&ACTIONS, found));
    let ip_version = fields.get("ipVersion").and_then(|node| family(node, found));
    let stated = fields.get("protocol");
    let protocol = stated.and_then(|node| written_protocol(node, found));
    let not_protocol = fields
        .get("notProtocol")
        .and_then(|node| written_protocol(node, found));
    let icmp_match = fields.get("icmp").and_then(|node| icmp(node, found));
    let not_icmp = fields.get("notICMP").and_then(|node| icmp(node, found));
    let source = fields
        .get("source")
        .and_then(|node| entity(node, found))
        .unwrap_or_default();
    let destination = fields
        .get("destination")
        .and_then(|node| entity(node, found))
        .unwrap_or_default();
    let http = fields.get("http");
    if let Some(node) = http {
        http::check(node, found);
    }
    rule_metadata(&mut fields, found);
    fields.finish(found);
    Some(Rule {
        span: node.span,
        // where it is wrong, any will do that goes with every other field: the compile is refused
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

/// `metadata.annotations` of a rule are remarks for people, with the limits of an object's.
fn rule_metadata(fields: &mut MappingFields<'_>, found: &mut Diagnostics) {
    let Some(mut metadata) = fields
        .get("metadata")
        .and_then(|node| MappingFields::from_node(node, found))
    else {
        return;
    };
    if let Some(node) = metadata.get("annotations") {
        metadata::check_annotations(node, found);
    }
    metadata.finish(found);
}

fn entity(node: &YamlNode, found: &mut Diagnostics) -> Option<RuleSide> {
    let mut fields = MappingFields::from_node(node, found)?;
    ["nets", "notNets"]
        .into_iter()
        .for_each(|name| fields.distinct(name, found));
    let entity = RuleSide {
        nets: fields.list_up_to("nets", MOST_NETS, found, YamlNode::text),
        not_nets: fields.list_up_to("notNets", MOST_NETS, found, YamlNode::text),
        selector: selector(&mut fields, "selector", found),
        not_selector: selector(&mut fields, "notSelector", found),
        namespace_selector: selector(&mut fields, "namespaceSelector", found),
        service_accounts: fields
            .get("serviceAccounts")
            .and_then(|node| service_accounts(node, found)),
        services: fields
            .get("services")
            .and_then(|node| services(node, found)),
        ports: fields.list_up_to("ports", MOST_PORTS, found, port),
        not_ports: fields.list_up_to("notPorts", MOST_PORTS, found, port),
    };
    fields.refuse(&["domains"], found);
    fields.finish(found);
    Some(entity)
}

fn service_accounts(node: &YamlNode, found: &mut Diagnostics) -> Option<ServiceAccounts> {
    let mut fields = MappingFields::from_node(node, found)?;
    fields.distinct("names", found);
    let names = fields.list("names", found, YamlNode::text);
    // the one selector of which Calico limits no length
    let selector = absent_if_empty(fields.text("selector", found));
    fields.finish(found);
    Some(ServiceAccounts { names, selector })
}

fn services(node: &YamlNode, found: &mut Diagnostics) -> Option<ServiceRef> {
    let mut fields = MappingFields::from_node(node, found)?;
    let name = fields
        .require("name", found)
        .and_then(|node| node.text(found));
    let stated = fields.get("namespace");
    let namespace = stated.map(|node| node.text(found).unwrap_or_else(|| stand_in(node.span)));
    fields.finish(found);
    let name = name.unwrap_or_else(|| stand_in(node.span));
    Some(ServiceRef {
        span: node.span,
        name,
        namespace: absent_if_empty(namespace),
    })
}

/// A selector's text. An empty one is an absent one (Calico's web interface writes `''`). One of
/// blanks is not: it means `all()`, which on a rule's side are known addresses only.
fn selector(
    fields: &mut MappingFields<'_>,
    name: &'static str,
    found: &mut Diagnostics,
) -> Option<SpannedString> {
    let text = absent_if_empty(fields.text(name, found));
    if let Some(text) = text
        .as_ref()
        .filter(|text| text.value.chars().count() > LONGEST_SELECTOR)
    {
        let message = format!(
            "this selector has {} characters, where {LONGEST_SELECTOR} are allowed",
            text.value.chars().count()
        );
        found.push(Diagnostic::at(Code::TooLong, text.span, message));
    }
    text
}

fn family(node: &YamlNode, found: &mut Diagnostics) -> Option<Spanned<Family>> {
    let version = node.integer(4, 6, found)?;
    let family = match version.value {
        4 => Family::V4,
        6 => Family::V6,
        other => {
            found.push(
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

fn icmp(node: &YamlNode, found: &mut Diagnostics) -> Option<Spanned<Icmp>> {
    let mut fields = MappingFields::from_node(node, found)?;
    let kind = fields
        .get("type")
        .and_then(|node| node.integer(0, 254, found));
    let code = fields
        .get("code")
        .and_then(|node| node.integer(0, 255, found));
    let known = (fields.get("type").is_some(), fields.get("code").is_some());
    fields.finish(found);
    if known == (false, true) {
        found.push(Diagnostic::at(
            Code::ConflictingFields,
            node.span,
            "an ICMP `code` needs a `type`",
        ));
    }
    if known == (false, false) {
        found.push(Diagnostic::at(
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

/// A protocol by Calico's name, exact case, or by number from 1 to 255, also as a string of digits.
pub(super) fn written_protocol(
    node: &YamlNode,
    found: &mut Diagnostics,
) -> Option<Spanned<WrittenProtocol>> {
    let written = match &node.value {
        NodeValue::Scalar(NodeScalar::Number(number)) => number.clone(),
        NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => node.text(found)?.value,
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
        found.push(bad_protocol(node, &written));
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

/// A port as a number or a string; what it says is for `policy` to check. `8e1` is a number, and
/// must not pass for a name.
pub(super) fn port(node: &YamlNode, found: &mut Diagnostics) -> Option<WrittenPort> {
    let text = match &node.value {
        NodeValue::Scalar(NodeScalar::Number(number))
            if !number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            found.push(
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
        NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => node.text(found)?.value,
    };
    Some(WrittenPort {
        text,
        span: node.span,
    })
}
