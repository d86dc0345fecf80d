//! `selector-matches-nothing` and `empty-peer`: selectors that match nothing in the current
//! inventory.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic};
use crate::lint::known::LabelIndex;
use crate::lint::{ExplainedSelectors, LintFindings, SelectorUse, rules, uses_of};
use crate::net::Direction;
use crate::policy::{Action, PeerSelection, Policy, RulePeer, SelectorId};
use crate::resolve::ResolvedPolicy;

/// Rules by direction and number.
type RuleNumbers = BTreeSet<(Direction, usize)>;

pub(super) fn lint(
    resolved: &ResolvedPolicy<'_>,
    explained: &ExplainedSelectors,
    findings: &mut LintFindings<'_>,
) {
    if resolved.inventory.endpoints.is_empty() {
        return;
    }

    // Shared by all findings, because the first advice counts the labels of the whole inventory.
    let known = LabelIndex::new(resolved.inventory);
    for (_, policy) in resolved.policies.policies() {
        let live = live(resolved, policy);
        for place in uses_of(policy).filter(|place| !explained.contains(&place.id)) {
            if let Some(finding) = nobody(resolved, policy, &place, &live) {
                let finding =
                    finding.maybe_help(known.advice(resolved.policies.selectors.get(place.id)));
                findings.push_for(Code::UnknownServiceAccount, place.place, finding);
            }
        }
        without_backends(resolved, policy, findings);
    }
}

/// The finding about a selector, if it selects nothing.
fn nobody(
    resolved: &ResolvedPolicy<'_>,
    policy: &Policy,
    place: &SelectorUse<'_>,
    live: &RuleNumbers,
) -> Option<Diagnostic> {
    let Some((direction, rule)) = place.rule else {
        let message = format!("`{}` applies to no pod of the inventory", policy.key);
        let members = resolved.members(place.id);
        let applies = !members.endpoints.is_empty() || !members.host_endpoints.is_empty();
        return (!applies)
            .then(|| Diagnostic::at(Code::SelectorMatchesNothing, place.place, message));
    };

    let allows_nothing = rule.action == Action::Allow && !live.contains(&(direction, rule.number));
    let (code, message) = match allows_nothing {
        true => (
            Code::EmptyPeer,
            "nobody in the inventory is selected, so that the rule allows nothing",
        ),
        false => (
            Code::SelectorMatchesNothing,
            "nobody in the inventory is selected",
        ),
    };

    (!selects_somebody(resolved, place.id)).then(|| Diagnostic::at(code, place.place, message))
}

fn selects_somebody(resolved: &ResolvedPolicy<'_>, id: SelectorId) -> bool {
    let members = resolved.members(id);
    !members.is_empty() || !members.nodes.is_empty()
}

/// The rules that can match current endpoints. A Kubernetes rule becomes several checked rules with
/// one number; it can match if one of these can.
fn live(resolved: &ResolvedPolicy<'_>, policy: &Policy) -> RuleNumbers {
    let is_live = |peer: &RulePeer| {
        let selects = match peer.selected {
            PeerSelection::By(id) => selects_somebody(resolved, id),
            PeerSelection::Anyone => true,
        };
        selects && has_backends(resolved, peer)
    };

    let live =
        rules(policy).filter(|(_, rule)| is_live(&rule.source) && is_live(&rule.destination));
    live.map(|(direction, rule)| (direction, rule.number))
        .collect()
}

fn has_backends(resolved: &ResolvedPolicy<'_>, peer: &RulePeer) -> bool {
    let Some(service) = &peer.service else {
        return true;
    };
    resolved
        .inventory
        .services
        .get(service)
        .is_some_and(|service| !service.addresses.is_empty() || !service.ports.is_empty())
}

/// `empty-peer`, for services.
fn without_backends(
    resolved: &ResolvedPolicy<'_>,
    policy: &Policy,
    findings: &mut LintFindings<'_>,
) {
    for (_, rule) in rules(policy).filter(|(_, rule)| rule.action == Action::Allow) {
        for (peer, place) in [
            (&rule.source, rule.places.source),
            (&rule.destination, rule.places.destination),
        ] {
            let Some(service) = peer
                .service
                .as_ref()
                .filter(|_| !has_backends(resolved, peer))
            else {
                continue;
            };
            let message = format!(
                "the service `{service}` has no backend in the input, so that the rule allows \
                 nothing"
            );
            let finding = Diagnostic::at(Code::EmptyPeer, place, message)
                .help("add its EndpointSlices to the input, or mend its name");
            findings.push_for(Code::UnknownService, rule.span, finding);
        }
    }
}
