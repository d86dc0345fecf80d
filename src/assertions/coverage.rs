//! Which rules assertions touch.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use crate::net::Direction;
use crate::packet_space::{
    EndpointClassId, HeaderSetId, HeaderSpace, PolicyProfileId, ReachabilityMatrix, RuleId,
};
use crate::policy::{Action, PolicyListKind};
use crate::resolve::ResolvedPolicy;

/// The rules that count, and which of them some assertion touches: they take packets that it
/// covers, at either end.
///
/// Rules that only log do not count, nor do those that say nothing of pods and workload endpoints:
/// of untracked and pre-DNAT policy, and of policy for host endpoints alone.
#[derive(Debug)]
pub struct Coverage<'input> {
    /// Every rule that counts, in the order of evaluation, and whether it is touched.
    pub rules: Vec<(RuleId<'input>, bool)>,
}

/// What is touched so far.
#[derive(Debug, Default)]
pub(super) struct TouchedRules {
    rules: BTreeSet<usize>,
    seen: FxHashSet<(PolicyProfileId, EndpointClassId, HeaderSetId)>,
}

impl TouchedRules {
    /// Takes in what goes from one class to another.
    pub(super) fn add(
        &mut self,
        relation: &ReachabilityMatrix<'_>,
        [source, destination]: [EndpointClassId; 2],
        sent: HeaderSetId,
        traffic: &mut HeaderSpace,
    ) {
        let ends = [
            (source, Direction::Egress, destination),
            (destination, Direction::Ingress, source),
        ];

        for (near, direction, far) in ends {
            let view = relation.view(near, direction);
            if !self.seen.insert((view, far, sent)) {
                continue;
            }
            let taken = relation.taken(view, far, sent, traffic);
            self.rules.extend(taken.into_iter().map(|(rule, _)| rule));
        }
    }

    /// All rules that count.
    pub(super) fn coverage<'input>(
        &self,
        relation: &ReachabilityMatrix<'input>,
        resolved: &ResolvedPolicy<'input>,
    ) -> Coverage<'input> {
        let rules = relation
            .rules()
            .iter()
            .enumerate()
            .filter(|(_, rule)| counts(rule, resolved));
        Coverage {
            rules: rules
                .map(|(index, rule)| (*rule, self.rules.contains(&index)))
                .collect(),
        }
    }
}

fn counts(of: &RuleId<'_>, resolved: &ResolvedPolicy<'_>) -> bool {
    let policy = of
        .tier
        .and_then(|tier| tier.policies.iter().find(|policy| policy.key == *of.key));
    let is_of_endpoints = policy.is_none_or(|policy| {
        let members = resolved.members(policy.applies_to);
        policy.is_on(PolicyListKind::Normal)
            && (!members.endpoints.is_empty() || members.host_endpoints.is_empty())
    });
    of.rule.action != Action::Log && is_of_endpoints
}

impl<'input> Coverage<'input> {
    /// The rules that no assertion touches.
    pub fn untouched(&self) -> impl Iterator<Item = &RuleId<'input>> {
        self.rules
            .iter()
            .filter(|(_, is_touched)| !is_touched)
            .map(|(rule, _)| rule)
    }

    /// How many rules are touched.
    pub fn touched(&self) -> usize {
        self.rules
            .iter()
            .filter(|(_, is_touched)| *is_touched)
            .count()
    }

    /// How many of a hundred rules are touched, rounded down; all, where there is none.
    pub fn percent(&self) -> usize {
        (self.touched() * 100)
            .checked_div(self.rules.len())
            .unwrap_or(100)
    }
}
