//! Policy as canonical lines. They contain everything that is checked and no source locations.
//!
//! Each line is a JSON object without spaces, with sorted keys. Selectors are in canonical form;
//! prefixes, ports and protocols are in Palisade's notation. Lists whose order matters (policies of
//! a tier, rules, profiles) are arrays in that order. Labels are sorted. Every struct is
//! destructured completely, so that a new field cannot be forgotten here. Only locations (`Span`)
//! are left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::policy::{
    AddressCondition, HostEndpoint, HostPlace, NetworkSet, PeerSelection, Policy, PolicySet,
    PortCondition, PortList, Profile, Rule, RulePeer, SelectorId, SelectorTable, Tier,
};

impl PolicySet {
    /// One line per object, in no particular order.
    pub fn canonical_lines(&self) -> impl Iterator<Item = String> {
        let Self {
            tiers,
            profiles,
            selectors,
            network_sets,
            host_endpoints,
        } = self;
        let of_tiers = tiers
            .iter()
            .flat_map(move |tier| tier_lines(tier, selectors));
        let of_profiles = profiles
            .iter()
            .map(move |(name, profile)| profile_line(name, profile, selectors));
        let of_sets = network_sets.iter().map(network_set_line);
        let of_hosts = host_endpoints.iter().map(host_endpoint_line);

        of_tiers
            .chain(of_profiles)
            .chain(of_sets)
            .chain(of_hosts)
            .map(|line| line.to_string())
    }
}

fn tier_lines<'tier>(
    tier: &'tier Tier,
    selectors: &'tier SelectorTable,
) -> impl Iterator<Item = Value> + 'tier {
    let Tier {
        name,
        order,
        default_action,
        policies,
    } = tier;
    let own = json!({ "tier": name, "order": number(*order), "defaultAction": format!("{default_action:?}") });

    let policies = (1..).zip(policies).map(move |(position, policy)| {
        let mut line = policy_line(policy, selectors);
        line.extend([
            ("tier".to_owned(), json!(name)),
            ("position".to_owned(), json!(position)),
        ]);
        Value::Object(line)
    });
    std::iter::once(own).chain(policies)
}

fn policy_line(policy: &Policy, selectors: &SelectorTable) -> Map<String, Value> {
    let Policy {
        key,
        order,
        applies_to,
        ingress,
        egress,
        stage,
        span: _,
        selector: _,
        unused: _,
    } = policy;
    let rules =
        |rules: &Option<Vec<Rule>>| rules.as_ref().map(|rules| rules_value(rules, selectors));

    let mut line = Map::new();
    line.extend([
        ("policy".to_owned(), json!(key.to_string())),
        ("order".to_owned(), json!(order.map(number))),
        (
            "appliesTo".to_owned(),
            json!(selectors.describe(*applies_to)),
        ),
        ("ingress".to_owned(), json!(rules(ingress))),
        ("egress".to_owned(), json!(rules(egress))),
        ("stage".to_owned(), json!(format!("{stage:?}"))),
    ]);

    line
}

fn profile_line(name: &str, profile: &Profile, selectors: &SelectorTable) -> Value {
    let Profile {
        key,
        ingress,
        egress,
    } = profile;

    json!({
        "profile": name,
        "key": key.to_string(),
        "ingress": rules_value(ingress, selectors),
        "egress": rules_value(egress, selectors),
    })
}

fn rules_value(rules: &[Rule], selectors: &SelectorTable) -> Value {
    rules
        .iter()
        .map(|rule| rule_value(rule, selectors))
        .collect()
}

fn rule_value(rule: &Rule, selectors: &SelectorTable) -> Value {
    let Rule {
        number,
        span: _,
        action,
        families,
        protocol,
        icmp,
        source,
        destination,
        http,
        places: _,
    } = rule;

    json!({
        "number": number,
        "action": action.to_string(),
        "families": format!("{families:?}"),
        "protocol": format!("{protocol:?}"),
        "icmp": format!("{icmp:?}"),
        "source": peer_value(source, selectors),
        "destination": peer_value(destination, selectors),
        "http": http,
    })
}

fn peer_value(peer: &RulePeer, selectors: &SelectorTable) -> Value {
    let RulePeer {
        selected,
        not_selected,
        nets,
        not_nets,
        service,
        ports,
        not_ports,
    } = peer;
    let selector = |id: &SelectorId| selectors.describe(*id);
    let selected = match selected {
        PeerSelection::Anyone => None,
        PeerSelection::By(id) => Some(selector(id)),
    };
    let nets = match nets {
        AddressCondition::Any => None,
        AddressCondition::In(nets) => {
            Some(nets.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
    };
    let ports = match ports {
        PortCondition::Any => None,
        PortCondition::In(ports) => Some(ports_value(ports)),
    };

    json!({
        "selected": selected,
        "notSelected": not_selected.as_ref().map(selector),
        "nets": nets,
        "notNets": not_nets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "service": service.as_ref().map(ToString::to_string),
        "ports": ports,
        "notPorts": ports_value(not_ports),
    })
}

fn ports_value(ports: &PortList) -> Value {
    let PortList { numbers, names } = ports;
    json!({ "numbers": numbers.iter().map(ToString::to_string).collect::<Vec<_>>(), "names": names })
}

fn network_set_line(set: &NetworkSet) -> Value {
    let NetworkSet {
        namespace,
        name,
        labels,
        nets,
        span: _,
    } = set;

    json!({
        "networkSet": name,
        "namespace": namespace,
        "labels": labels_value(labels),
        "nets": nets.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn host_endpoint_line(host: &HostEndpoint) -> Value {
    let HostEndpoint {
        name,
        node,
        place,
        addresses,
        ports,
        labels,
        profiles,
        span: _,
    } = host;

    let place = match place {
        HostPlace::Interface(name) => format!("interface {name}"),
        HostPlace::Addresses => "addresses".to_owned(),
        HostPlace::Everywhere => "everywhere".to_owned(),
    };

    json!({
        "hostEndpoint": name,
        "node": node,
        "place": place,
        "addresses": addresses,
        "ports": ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "labels": labels_value(labels),
        "profiles": profiles.names().collect::<Vec<_>>(),
    })
}

fn labels_value(labels: &[(String, String)]) -> Value {
    json!(
        labels
            .iter()
            .map(|(key, value)| (key, value))
            .collect::<BTreeMap<_, _>>()
    )
}

/// An order as text. JSON has no number for infinity, the order after all others.
fn number(order: f64) -> String {
    // -0 and 0 are the same order
    (order + 0.0).to_string()
}
