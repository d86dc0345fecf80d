//! `selector-matches-nothing` and `empty-peer`: what nobody of today's inventory fits.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic};
use crate::lint::known::Known;
use crate::lint::{Explained, Findings, Use, rules, uses_of};
use crate::net::Direction;
use crate::policy::{Action, Peer, Policy, Selected};
use crate::resolve::Resolved;

/// Rules by direction and number.
type Numbers = BTreeSet<(Direction, usize)>;

pub(super) fn lint(resolved: &Resolved<'_>, explained: &Explained, findings: &mut Findings<'_>) {
    if resolved.inventory.endpoints.is_empty() {
        return;
    }
    let known = Known::of(resolved.inventory);
    for (_, policy) in resolved.policies.policies() {
        let live = live(resolved, policy);
        for place in uses_of(policy).filter(|place| !explained.contains(&place.id)) {
            if let Some(finding) = nobody(resolved, policy, &place, &live) {
                findings.push(finding.maybe_help(known.advice(resolved.policies.selectors.get(place.id))));
            }
        }
        without_backends(resolved, policy, findings);
    }
}

/// The finding about one selector, if it selects nobody.
fn nobody(resolved: &Resolved<'_>, policy: &Policy, place: &Use<'_>, live: &Numbers) -> Option<Diagnostic> {
    let members = resolved.members(place.id);
    let Some((direction, rule)) = place.rule else {
        let message = format!("`{}` applies to no pod of the inventory", policy.key);
        return members.endpoints.is_empty().then(|| Diagnostic::at(Code::SelectorMatchesNothing, place.place, message));
    };
    let allows_nothing = rule.action == Action::Allow && !live.contains(&(direction, rule.number));
    let (code, message) = match allows_nothing {
        true => (Code::EmptyPeer, "nobody in the inventory is selected, so that the rule allows nothing"),
        false => (Code::SelectorMatchesNothing, "nobody in the inventory is selected"),
    };
    (members.is_empty() && members.nodes.is_empty()).then(|| Diagnostic::at(code, place.place, message))
}

/// The rules that can match somebody today. One Kubernetes rule is several of ours, and does if one of them does.
fn live(resolved: &Resolved<'_>, policy: &Policy) -> Numbers {
    let is_live = |peer: &Peer| {
        let selects = match peer.selected {
            Selected::By(id) => !resolved.members(id).is_empty() || !resolved.members(id).nodes.is_empty(),
            Selected::Anyone => true,
        };
        selects && has_backends(resolved, peer)
    };
    let live = rules(policy).filter(|(_, rule)| is_live(&rule.source) && is_live(&rule.destination));
    live.map(|(direction, rule)| (direction, rule.number)).collect()
}

fn has_backends(resolved: &Resolved<'_>, peer: &Peer) -> bool {
    let Some(service) = &peer.service else { return true };
    resolved.inventory.services.get(service).is_some_and(|service| !service.addresses.is_empty() || !service.ports.is_empty())
}

/// `empty-peer`, of services.
fn without_backends(resolved: &Resolved<'_>, policy: &Policy, findings: &mut Findings<'_>) {
    for (_, rule) in rules(policy).filter(|(_, rule)| rule.action == Action::Allow) {
        for (peer, place) in [(&rule.source, rule.places.source), (&rule.destination, rule.places.destination)] {
            if !has_backends(resolved, peer) {
                let message = "the service has no backend in the input, so that the rule allows nothing";
                findings
                    .push(Diagnostic::at(Code::EmptyPeer, place, message).help("add its EndpointSlices to the input, or mend its name"));
            }
        }
    }
}
