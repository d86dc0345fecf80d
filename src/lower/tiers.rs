//! Lowers policy to chains: one for every tier and class, and one for every policy that needs its
//! own.
//!
//! The chain of a tier sends each endpoint to the chain of its class. An endpoint without policy in
//! the tier falls through. The chain of a class evaluates its policies in order; a packet that none
//! of them decides meets the tier's default action. Deny is final and drops. Allow continues with
//! the other side or accepts. Pass is a return out of the tier to the next one. So the rules of a
//! policy that passes must be in the chain of the class itself. Any other policy has its own chain,
//! which its classes share.

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostics;
use crate::lower::classes::{self, EndpointPolicyClass};
use crate::lower::names::NameSource;
use crate::lower::policy_chains::{
    DirectionContext, DirectionRules, TierChains, class_set, direction_prefix, jump, rules_chain,
    rules_of,
};
use crate::lower::program::{ChainName, ProgramChain, ProgramRule, RuleMatch, RuleTarget, Sense};
use crate::lower::{NodeLowering, profiles};
use crate::net::Direction;
use crate::policy::{Action, DefaultAction, Policy, Tier};

/// Builds the chains of all tiers for one direction and family.
pub(super) fn chains(
    lowering: &mut NodeLowering<'_, '_>,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> TierChains {
    let resolved = lowering.resolved;
    let mut tiers = TierChains {
        entries: Vec::new(),
        chains: Vec::new(),
    };
    let mut shared = BTreeSet::new();

    for (position, tier) in resolved.policies.tiers.iter().enumerate() {
        let classes = classes::of_tier(position, way.direction, resolved, lowering.node);
        if classes.is_empty() {
            continue;
        }
        let entry = tier_name(lowering, tier, way, diagnostics);
        tiers
            .entries
            .push((entry.clone(), format!("tier {}", tier.name)));
        let mut dispatch = Vec::new();
        let mut below = Vec::new();
        for class in &classes {
            let (rule, chain) = class_chain(lowering, tier, class, way, diagnostics);
            dispatch.push(rule);
            below.push(chain);
            let own = class
                .policies
                .iter()
                .filter(|policy| has_own_chain(policy, way.direction));
            // Several classes may share a policy. Its chain is added once.
            let new: Vec<&Policy> = own
                .copied()
                .filter(|policy| shared.insert(&policy.key))
                .collect();
            below.extend(new.into_iter().map(|policy| {
                rules_chain(
                    lowering,
                    DirectionRules::new(policy, way.direction),
                    way,
                    diagnostics,
                )
            }));
        }
        let about = format!(
            "{} of tier {}: each endpoint to the chain of its class",
            way.direction, tier.name
        );
        tiers.chains.push(ProgramChain {
            name: entry,
            about,
            rules: dispatch,
        });
        tiers.chains.extend(below);
    }

    profiles::add(lowering, &mut tiers, way, diagnostics);
    tiers
}

/// Whether a policy has its own chain in this direction. True if none of its rules passes.
fn has_own_chain(policy: &Policy, direction: Direction) -> bool {
    let rules = policy.rules(direction).unwrap_or_default();
    !rules.is_empty() && rules.iter().all(|rule| rule.action != Action::Pass)
}

fn tier_name(
    lowering: &mut NodeLowering<'_, '_>,
    tier: &Tier,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> ChainName {
    let sort = format!("{}t", direction_prefix(way.direction));
    lowering.names.chain(
        NameSource {
            sort: &sort,
            word: &tier.name,
            content: &tier.name,
        },
        diagnostics,
    )
}

/// The chain of a class, and the rule that sends its endpoints there.
fn class_chain(
    lowering: &mut NodeLowering<'_, '_>,
    tier: &Tier,
    class: &EndpointPolicyClass<'_>,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> (ProgramRule, ProgramChain) {
    let keys: Vec<String> = class
        .policies
        .iter()
        .map(|policy| policy.key.to_string())
        .collect();
    let list = keys.join(", ");
    let word = class
        .policies
        .first()
        .map_or("", |policy| policy.key.name.as_str());
    let content = format!("tier {}: {list}", tier.name);
    let sort = direction_prefix(way.direction).to_string();
    let name = lowering.names.chain(
        NameSource {
            sort: &sort,
            word,
            content: &content,
        },
        diagnostics,
    );
    let set = class_set(lowering, &class.endpoints, way, &content, word, diagnostics);
    let mut rules = Vec::new();

    for policy in &class.policies {
        match has_own_chain(policy, way.direction) {
            true => rules.push(jump(lowering, &policy.key, way, diagnostics)),
            false => rules.extend(rules_of(
                lowering,
                DirectionRules::new(policy, way.direction),
                way,
                diagnostics,
            )),
        }
    }

    rules.extend(end_of_tier(tier));
    let about = format!(
        "{} of tier {} for endpoints with: {list}",
        way.direction, tier.name
    );

    let dispatch = ProgramRule {
        matches: vec![RuleMatch::Member(Sense::Is, way.side(), set)],
        target: RuleTarget::Goto(name.clone()),
        about: list,
    };
    (dispatch, ProgramChain { name, about, rules })
}

/// The last rule of a class's chain: a drop, or `None`, which returns to the next tier.
fn end_of_tier(tier: &Tier) -> Option<ProgramRule> {
    match tier.default_action {
        DefaultAction::Deny => Some(ProgramRule {
            matches: Vec::new(),
            target: RuleTarget::Drop,
            about: format!("end of tier {}: no rule matched", tier.name),
        }),
        DefaultAction::Pass => None,
    }
}
