//! Policy as text, for tests and for users who want to see how a compile understood their policy.

use std::fmt::{Display, Formatter, Result};

use crate::net::{Cidr, Direction};
use crate::policy::{
    AddressCondition, DefaultAction, HostPlace, HostStage, IcmpMatch, PeerSelection, Policy,
    PolicySet, PortCondition, PortList, ProtocolMatch, Rule, RuleFamilies, RulePeer, SelectorTable,
    Tier,
};

impl Display for PolicySet {
    /// One line each for tiers, policies and rules, in order of evaluation; then the network sets.
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        for Tier {
            name,
            order,
            default_action,
            policies,
        } in &self.tiers
        {
            let end = match default_action {
                DefaultAction::Deny => "deny",
                DefaultAction::Pass => "pass",
            };
            writeln!(out, "tier {name}, order {order}, ends in {end}")?;
            policies
                .iter()
                .try_for_each(|policy| write_policy(out, policy, &self.selectors))?;
        }

        for set in &self.network_sets {
            let namespace = set
                .namespace
                .as_deref()
                .map(|namespace| format!("{namespace}/"))
                .unwrap_or_default();
            writeln!(
                out,
                "network set {namespace}{}: {}",
                set.name,
                prefixes(&set.nets)
            )?;
        }

        for host in &self.host_endpoints {
            let place = match &host.place {
                HostPlace::Interface(name) => format!("interface {name}"),
                HostPlace::Addresses => "its addresses".to_owned(),
                HostPlace::Everywhere => "every interface".to_owned(),
            };
            writeln!(out, "host endpoint {} on {}, {place}", host.name, host.node)?;
        }

        Ok(())
    }
}

fn write_policy(out: &mut Formatter<'_>, policy: &Policy, selectors: &SelectorTable) -> Result {
    let order = policy
        .order
        .map_or_else(|| "last".to_owned(), |order| format!("order {order}"));
    let stage = match policy.stage {
        HostStage::Normal => "",
        HostStage::Forwarded => "forwarded traffic too, ",
        HostStage::Untracked => "untracked, ",
        HostStage::PreDnat => "before DNAT, ",
    };

    writeln!(
        out,
        "  {}, {order}, {stage}applies to {}",
        policy.key,
        selectors.describe(policy.applies_to)
    )?;

    for direction in Direction::BOTH {
        let Some(rules) = policy.rules(direction) else {
            continue;
        };
        if rules.is_empty() {
            writeln!(out, "    {direction}: no rule")?;
        }
        for rule in rules {
            writeln!(
                out,
                "    {direction} {}: {}",
                rule.number,
                rule.describe(selectors)
            )?;
        }
    }

    Ok(())
}

impl Rule {
    /// A description of the rule, without its number and location.
    pub fn describe(&self, selectors: &SelectorTable) -> String {
        let mut words = vec![self.action.to_string()];
        if let RuleFamilies::Only(family) = self.families {
            words.push(family.to_string());
        }

        words.extend(match self.protocol {
            ProtocolMatch::Any => None,
            ProtocolMatch::Is(protocol) => Some(protocol.to_string()),
            ProtocolMatch::IsNot(protocol) => Some(format!("not {protocol}")),
        });
        words.extend(match self.icmp {
            IcmpMatch::Any => None,
            IcmpMatch::Is(icmp) => Some(format!("{icmp:?}")),
            IcmpMatch::IsNot(icmp) => Some(format!("not {icmp:?}")),
        });
        words.push(format!("from {}", peer_text(&self.source, selectors)));
        words.push(format!("to {}", peer_text(&self.destination, selectors)));

        words.join(" ")
    }
}

fn peer_text(peer: &RulePeer, selectors: &SelectorTable) -> String {
    let mut parts = Vec::new();
    if let PeerSelection::By(selector) = peer.selected {
        parts.push(selectors.describe(selector));
    }

    if let Some(selector) = peer.not_selected {
        parts.push(format!("not {}", selectors.describe(selector)));
    }

    if let AddressCondition::In(nets) = &peer.nets {
        parts.push(format!("in {}", prefixes(nets)));
    }

    if !peer.not_nets.is_empty() {
        parts.push(format!("not in {}", prefixes(&peer.not_nets)));
    }

    if let Some(service) = &peer.service {
        parts.push(format!("service {service}"));
    }

    if let PortCondition::In(ports) = &peer.ports {
        parts.push(format!("ports {}", port_text(ports)));
    }

    if !peer.not_ports.is_empty() {
        parts.push(format!("not ports {}", port_text(&peer.not_ports)));
    }

    if parts.is_empty() {
        "anyone".to_owned()
    } else {
        format!("{{{}}}", parts.join("; "))
    }
}

fn prefixes(nets: &[Cidr]) -> String {
    nets.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn port_text(ports: &PortList) -> String {
    let numbers = ports.numbers.iter().map(ToString::to_string);
    numbers
        .chain(ports.names.iter().cloned())
        .collect::<Vec<_>>()
        .join(",")
}
