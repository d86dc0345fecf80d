//! Coverage: which rules are exercised by assertions.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use crate::net::Direction;
use crate::packet_space::{
    EndpointClassId, HeaderSetId, HeaderSpace, PolicyProfileId, ReachabilityMatrix, RuleId,
};
use crate::policy::{Action, PolicyListKind};
use crate::resolve::ResolvedPolicy;

/// The rules that count, and which of them an assertion touches. An assertion touches a rule if the
/// rule takes packets that the assertion covers, at either end.
///
/// Log rules do not count, nor do rules that do not apply to pods and workload endpoints: those of
/// untracked and pre-DNAT policy, and of policy for host endpoints only.
#[derive(Debug)]
pub struct Coverage<'input> {
    /// Every rule that counts, in the order of evaluation, with `true` if it is touched.
    pub rules: Vec<(RuleId<'input>, bool)>,
}

/// The rules that are touched so far.
#[derive(Debug, Default)]
pub(super) struct TouchedRules {
    rules: BTreeSet<usize>,
    seen: FxHashSet<(PolicyProfileId, EndpointClassId, HeaderSetId)>,
}

impl TouchedRules {
    /// Adds the rules that take any of the traffic `sent` from one class to another, at both ends.
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
            // many classes share a profile, so most questions come again
            if !self.seen.insert((view, far, sent)) {
                continue;
            }
            let taken = relation.taken(view, far, sent, traffic);
            self.rules.extend(taken.into_iter().map(|(rule, _)| rule));
        }
    }

    /// Returns the coverage of all rules that count.
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
    /// Returns the rules that no assertion touches.
    pub fn untouched(&self) -> impl Iterator<Item = &RuleId<'input>> {
        self.rules
            .iter()
            .filter(|(_, is_touched)| !is_touched)
            .map(|(rule, _)| rule)
    }

    /// Returns the number of touched rules.
    pub fn touched(&self) -> usize {
        self.rules
            .iter()
            .filter(|(_, is_touched)| *is_touched)
            .count()
    }

    /// Returns the percentage of touched rules, rounded down; 100 if there are no rules.
    pub fn percent(&self) -> usize {
        (self.touched() * 100)
            .checked_div(self.rules.len())
            .unwrap_or(100)
    }
}
