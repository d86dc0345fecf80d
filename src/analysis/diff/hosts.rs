//! Host endpoints whose own policy is not proven equal. It is no part of the space, so it is compared as it is written, with the
//! addresses that its selectors stand for: what is written otherwise may mean the same, but nothing that differs is missed.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::inventory::{NamedPort, ProfileName, profile_name};
use crate::net::{Direction, Family};
use crate::policy::{DefaultAction, List, Peer, Ports, Rule, Selected};
use crate::resolve::{HostEndpointId, Resolved};

const LISTS: [List; 4] = [List::Normal, List::Forward, List::Untracked, List::PreDnat];

/// The names of those that differ, in order.
pub(super) fn differing<'input>(old: &Resolved<'input>, new: &Resolved<'input>) -> Vec<&'input str> {
    let [before, after] = [old, new].map(|resolved| resolved.host_endpoints_with_ids().map(|(id, host)| (&*host.name, id)).collect());
    let (before, after): (BTreeMap<&'input str, HostEndpointId>, BTreeMap<&'input str, HostEndpointId>) = (before, after);
    let texts = |resolved: &Resolved<'input>, id: Option<&HostEndpointId>| id.map(|id| text(resolved, *id));
    let mut names: Vec<&'input str> = before.keys().chain(after.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| texts(old, before.get(name)) != texts(new, after.get(name)));
    names
}

/// All that decides about the packets of a host endpoint.
fn text(resolved: &Resolved<'_>, id: HostEndpointId) -> String {
    let mut out = String::new();
    let Some(host) = resolved.host_endpoint(id) else { return out };
    let _ = writeln!(out, "{} {:?} {:?}", host.node, host.place, host.addresses);
    for list in LISTS {
        for direction in Direction::BOTH {
            for listed in resolved.listed(id, list, direction) {
                let is_closed = listed.tier.default_action == DefaultAction::Deny;
                let _ = writeln!(out, "{} {direction} tier {} {is_closed}", list.word(), listed.tier.name);
                let rules = listed.policies.iter().flat_map(|policy| policy.rules(direction).unwrap_or_default());
                rules.for_each(|rule| write_rule(resolved, rule, &mut out));
            }
        }
    }
    for name in host.profiles.names() {
        let _ = writeln!(out, "profile {name}");
        if let ProfileName::Named(name) = profile_name(name)
            && let Some(profile) = resolved.policies.profiles.get(name)
        {
            for direction in Direction::BOTH {
                let _ = writeln!(out, "{direction}");
                profile.rules(direction).iter().for_each(|rule| write_rule(resolved, rule, &mut out));
            }
        }
    }
    out
}

fn write_rule(resolved: &Resolved<'_>, rule: &Rule, out: &mut String) {
    let _ = writeln!(out, "  {}", rule.describe(&resolved.policies.selectors));
    for peer in [&rule.source, &rule.destination] {
        write_members(resolved, peer, out);
    }
}

/// Whom a side of a rule means today.
fn write_members(resolved: &Resolved<'_>, peer: &Peer, out: &mut String) {
    let wanted = match peer.selected {
        Selected::Anyone => None,
        Selected::By(selector) => Some(selector),
    };
    for selector in wanted.into_iter().chain(peer.not_selected) {
        let _ = writeln!(out, "    {:?}", Family::BOTH.map(|family| resolved.addresses(selector, family)));
    }
    if let Some(service) = &peer.service {
        let _ = writeln!(out, "    {:?}", resolved.inventory.services.get(service));
    }
    let named = match &peer.ports {
        Ports::Any => &[][..],
        Ports::In(list) => &list.names,
    };
    for name in named.iter().chain(&peer.not_ports.names) {
        let is_named = |port: &&NamedPort| *port.name == **name;
        for endpoint in &resolved.inventory.endpoints {
            let ports: Vec<&NamedPort> = endpoint.ports.iter().filter(is_named).collect();
            if !ports.is_empty() {
                let _ = writeln!(out, "    {:?} {ports:?}", endpoint.addresses);
            }
        }
        for host in &resolved.policies.host_endpoints {
            let ports: Vec<&NamedPort> = host.ports.iter().filter(is_named).collect();
            if !ports.is_empty() {
                let _ = writeln!(out, "    {:?} {ports:?}", host.addresses);
            }
        }
    }
}
