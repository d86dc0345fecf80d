//! Lowers profiles to chains. Profiles decide after all tiers, for endpoints whose profiles do not
//! allow everything.
//!
//! The structure is that of a tier: one chain sends each such endpoint to the chain of its class,
//! which evaluates the profiles in order. Every profile has its own chain, and Pass returns from it
//! to the next profile. A packet that no profile allows is dropped. A pod whose first profile
//! allows everything belongs to no class.
//!
//! The profiles of a host endpoint form such a chain too. The last tier of the host endpoint leads
//! to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostics;
use crate::inventory::{EndpointId, ProfileList, ProfileName, profile_name};
use crate::lower::NodeLowering;
use crate::lower::names::NameSource;
use crate::lower::policy_chains::{
    DirectionContext, DirectionRules, TierChains, class_set, direction_prefix, jump, rules_chain,
};
use crate::lower::program::{ProgramChain, ProgramRule, RuleMatch, RuleTarget, Sense};
use crate::policy::{PolicySet, Profile};

/// The outcome of an endpoint's profiles in one direction.
struct ProfileOutcome<'input> {
    /// The profiles that have rules, in order.
    asked: Vec<&'input Profile>,
    /// What happens to a packet that none of them decides.
    rest: RemainingProfiles,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RemainingProfiles {
    Allowed,
    Dropped,
}

/// Endpoints with the same profiles.
struct ProfileClass<'input> {
    outcome: ProfileOutcome<'input>,
    endpoints: Vec<EndpointId>,
}

/// Adds the chains of profiles after those of the tiers.
pub(super) fn add(
    lowering: &mut NodeLowering<'_, '_>,
    tiers: &mut TierChains,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) {
    let classes = classes(lowering, way);
    if classes.is_empty() {
        return;
    }

    let sort = format!("{}t", direction_prefix(way.direction));
    let entry = lowering.names.chain(
        NameSource {
            sort: &sort,
            word: "profiles",
            content: "profiles, behind all tiers",
        },
        diagnostics,
    );
    tiers.entries.push((entry.clone(), "profiles".to_owned()));

    let mut dispatch = Vec::new();
    let mut below = Vec::new();
    let mut shared = BTreeSet::new();

    for (content, class) in &classes {
        let (rule, chain) = class_chain(lowering, content, class, way, diagnostics);
        dispatch.push(rule);
        below.push(chain);
        for profile in class
            .outcome
            .asked
            .iter()
            .filter(|profile| shared.insert(&profile.key))
        {
            let rules = DirectionRules {
                key: &profile.key,
                rules: profile.rules(way.direction),
            };
            below.push(rules_chain(lowering, rules, way, diagnostics));
        }
    }

    let about = format!(
        "{} of profiles: each endpoint to the chain of its class",
        way.direction
    );
    tiers.chains.push(ProgramChain {
        name: entry,
        about,
        rules: dispatch,
    });

    tiers.chains.extend(below);
}

/// The classes of the node's endpoints, by their content.
fn classes<'input>(
    lowering: &NodeLowering<'_, 'input>,
    way: &DirectionContext<'_>,
) -> BTreeMap<String, ProfileClass<'input>> {
    let resolved = lowering.resolved;
    let mut classes: BTreeMap<String, ProfileClass<'input>> = BTreeMap::new();
    for id in resolved.endpoints_on(lowering.node) {
        let Some(outcome) = outcome(
            &resolved.inventory.endpoint(*id).profiles,
            resolved.policies,
            way,
        ) else {
            continue;
        };
        let class = classes
            .entry(content(&outcome))
            .or_insert_with(|| ProfileClass {
                outcome,
                endpoints: Vec::new(),
            });
        class.endpoints.push(*id);
    }

    classes
}

/// Returns the start of a host endpoint's profiles and adds their chains.
pub(super) fn of_host(
    lowering: &mut NodeLowering<'_, '_>,
    profiles: &ProfileList,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> (RuleTarget, Vec<ProgramChain>) {
    let Some(outcome) = outcome(profiles, lowering.resolved.policies, way) else {
        return (way.allowed.clone(), Vec::new());
    };
    if outcome.asked.is_empty() {
        return (RuleTarget::Drop, Vec::new());
    }

    let about = format!(
        "{} of host endpoints with {}",
        way.direction,
        content(&outcome)
    );
    let sort = format!("h{}p", direction_prefix(way.direction));
    let first = chain(lowering, &sort, about, &outcome, way, diagnostics);
    let entry = RuleTarget::Goto(first.name.clone());
    let mut chains = vec![first];

    for profile in outcome.asked {
        let rules = DirectionRules {
            key: &profile.key,
            rules: profile.rules(way.direction),
        };
        chains.push(rules_chain(lowering, rules, way, diagnostics));
    }

    (entry, chains)
}

/// The outcome of a list of profiles, or `None` if they allow everything.
fn outcome<'input>(
    profiles: &ProfileList,
    policies: &'input PolicySet,
    way: &DirectionContext<'_>,
) -> Option<ProfileOutcome<'input>> {
    if *profiles == ProfileList::OfPod {
        return None;
    }

    let mut asked = Vec::new();
    let mut rest = RemainingProfiles::Dropped;
    for name in profiles.names() {
        match profile_name(name) {
            ProfileName::Namespace(_) | ProfileName::AllowAll => {
                rest = RemainingProfiles::Allowed;
                break;
            }
            ProfileName::ServiceAccount(..) => {}
            ProfileName::Named(name) => match policies.profiles.get(name) {
                Some(profile) if profile.rules(way.direction).is_empty() => {}
                Some(profile) => asked.push(profile),
                // A profile that is missing denies, so later profiles are unreachable.
                None => break,
            },
        }
    }

    (rest == RemainingProfiles::Dropped || !asked.is_empty())
        .then_some(ProfileOutcome { asked, rest })
}

/// A text that identifies a class.
fn content(outcome: &ProfileOutcome<'_>) -> String {
    let names = outcome
        .asked
        .iter()
        .map(|profile| profile.key.name.as_str());
    let rest = match outcome.rest {
        RemainingProfiles::Allowed => "one that allows everything",
        RemainingProfiles::Dropped if outcome.asked.is_empty() => "none that allows",
        RemainingProfiles::Dropped => "none else that allows",
    };

    format!(
        "profiles: {}",
        names.chain([rest]).collect::<Vec<_>>().join(", ")
    )
}

/// The chain of a class, and the rule that sends its endpoints there.
fn class_chain(
    lowering: &mut NodeLowering<'_, '_>,
    content: &str,
    class: &ProfileClass<'_>,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> (ProgramRule, ProgramChain) {
    let about = format!("{} of endpoints with {content}", way.direction);
    let sort = direction_prefix(way.direction).to_string();
    let chain = chain(lowering, &sort, about, &class.outcome, way, diagnostics);
    let set = class_set(
        lowering,
        &class.endpoints,
        way,
        content,
        label(&class.outcome),
        diagnostics,
    );
    let matches = vec![RuleMatch::Member(Sense::Is, way.side(), set)];

    (
        ProgramRule {
            matches,
            target: RuleTarget::Goto(chain.name.clone()),
            about: content.to_owned(),
        },
        chain,
    )
}

fn label<'outcome>(outcome: &ProfileOutcome<'outcome>) -> &'outcome str {
    outcome
        .asked
        .first()
        .map_or("no-profile", |profile| profile.key.name.as_str())
}

/// The chain that evaluates profiles in order.
fn chain(
    lowering: &mut NodeLowering<'_, '_>,
    sort: &str,
    about: String,
    outcome: &ProfileOutcome<'_>,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> ProgramChain {
    let name = lowering.names.chain(
        NameSource {
            sort,
            word: label(outcome),
            content: &content(outcome),
        },
        diagnostics,
    );
    let mut rules: Vec<ProgramRule> = Vec::new();

    for profile in &outcome.asked {
        rules.push(jump(lowering, &profile.key, way, diagnostics));
    }

    let (target, end) = match outcome.rest {
        RemainingProfiles::Allowed => (way.allowed.clone(), "a profile that allows everything"),
        RemainingProfiles::Dropped => (RuleTarget::Drop, "end of profiles: none allows"),
    };
    rules.push(ProgramRule {
        matches: Vec::new(),
        target,
        about: end.to_owned(),
    });

    ProgramChain { name, about, rules }
}
