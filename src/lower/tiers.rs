//! Policy to chains: a chain for every tier, class, and policy that needs one.
//!
//! In the chain of a tier, an endpoint goes to the chain of its class, or falls through when it has no policy there. In the
//! chain of a class, policies come in order; what none decides meets the tier's end. A verdict is final: deny drops, allow
//! goes on to the other side or accepts. Pass is a return, out of the tier, to the next one; so a policy that passes must
//! stand in the chain of the class itself, while any other has a chain of its own that its classes share.

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostics;
use crate::inventory::EndpointId;
use crate::lower::Lowering;
use crate::lower::classes::{self, Class};
use crate::lower::matches::{self, Context};
use crate::lower::names::{self, Identity};
use crate::lower::program::{Chain, ChainName, Match, Member, Members, Rule, Sense, SetName, Side, Target};
use crate::lower::sets::{Reach, digit};
use crate::net::{Cidr, Direction, Family};
use crate::policy::{self, Action, DefaultAction, Policy, Tier};

/// Chains of one direction: those to jump to, tier after tier, and all of them.
pub(super) struct Tiers {
    /// The chain of every tier that has something to say here, in order, with the tier's name.
    pub(super) entries: Vec<(ChainName, String)>,
    /// All chains, tiers first, then their classes, then policies.
    pub(super) chains: Vec<Chain>,
}

/// One direction of one family.
pub(super) struct Way<'allow> {
    pub(super) direction: Direction,
    pub(super) family: Family,
    /// Where a packet goes that policy of this direction allows.
    pub(super) allowed: &'allow Target,
    /// Where a packet goes that is passed to the next tier.
    pub(super) passed: &'allow Target,
    /// Whose addresses can stand on the side that the policies apply to.
    pub(super) near: Reach,
}

/// The chains of all tiers for one direction and family.
pub(super) fn chains(lowering: &mut Lowering<'_, '_>, way: &Way<'_>, found: &mut Diagnostics) -> Tiers {
    let resolved = lowering.resolved;
    let mut tiers = Tiers { entries: Vec::new(), chains: Vec::new() };
    let mut shared = BTreeSet::new();
    for (position, tier) in resolved.policies.tiers.iter().enumerate() {
        let classes = classes::of_tier(position, way.direction, resolved, lowering.node);
        if classes.is_empty() {
            continue;
        }
        let entry = tier_name(lowering, tier, way, found);
        tiers.entries.push((entry.clone(), tier.name.clone()));
        let mut dispatch = Vec::new();
        let mut below = Vec::new();
        for class in &classes {
            let (rule, chain) = class_chain(lowering, tier, class, way, found);
            dispatch.push(rule);
            below.push(chain);
            let own = class.policies.iter().filter(|policy| has_own_chain(policy, way.direction));
            let new: Vec<&Policy> = own.copied().filter(|policy| shared.insert(&policy.key)).collect();
            below.extend(new.into_iter().map(|policy| policy_chain(lowering, policy, way, found)));
        }
        let about = format!("{} of tier {}: each endpoint to the chain of its class", way.direction, tier.name);
        tiers.chains.push(Chain { name: entry, about, rules: dispatch });
        tiers.chains.extend(below);
    }
    tiers
}

/// Whether a policy has a chain of its own in this direction: it must not pass.
fn has_own_chain(policy: &Policy, direction: Direction) -> bool {
    let rules = policy.rules(direction).unwrap_or_default();
    !rules.is_empty() && rules.iter().all(|rule| rule.action != Action::Pass)
}

/// `e` or `i`, the first letter of sorts of chains and sets of a direction.
fn letter(direction: Direction) -> char {
    match direction {
        Direction::Ingress => 'i',
        Direction::Egress => 'e',
    }
}

fn tier_name(lowering: &mut Lowering<'_, '_>, tier: &Tier, way: &Way<'_>, found: &mut Diagnostics) -> ChainName {
    let sort = format!("{}t", letter(way.direction));
    lowering.names.chain(Identity { sort: &sort, word: &tier.name, content: &tier.name }, found)
}

/// The chain of a class, and the rule that sends its endpoints there.
fn class_chain(lowering: &mut Lowering<'_, '_>, tier: &Tier, class: &Class<'_>, way: &Way<'_>, found: &mut Diagnostics) -> (Rule, Chain) {
    let keys: Vec<String> = class.policies.iter().map(|policy| policy.key.to_string()).collect();
    let list = keys.join(", ");
    let word = class.policies.first().map_or("", |policy| policy.key.name.as_str());
    let content = format!("tier {}: {list}", tier.name);
    let sort = letter(way.direction).to_string();
    let name = lowering.names.chain(Identity { sort: &sort, word, content: &content }, found);
    let set = class_set(lowering, class, way, (&content, word), found);
    let mut rules = Vec::new();
    for policy in &class.policies {
        match has_own_chain(policy, way.direction) {
            true => rules.push(jump_to_policy(lowering, policy, way, found)),
            false => rules.extend(policy_rules(lowering, policy, way, found)),
        }
    }
    rules.extend(end_of_tier(tier));
    let side = match way.direction {
        Direction::Ingress => Side::Destination,
        Direction::Egress => Side::Source,
    };
    let about = format!("{} of tier {} for endpoints with: {list}", way.direction, tier.name);
    let dispatch = Rule { matches: vec![Match::Member(Sense::Is, side, set)], target: Target::Goto(name.clone()), about: list };
    (dispatch, Chain { name, about, rules })
}

/// What a class's chain ends with: a drop, or nothing, which is a return to the next tier.
fn end_of_tier(tier: &Tier) -> Option<Rule> {
    match tier.default_action {
        DefaultAction::Deny => {
            Some(Rule { matches: Vec::new(), target: Target::Drop, about: format!("end of tier {}: no rule matched", tier.name) })
        }
        DefaultAction::Pass => None,
    }
}

/// The set of a class's addresses.
fn class_set(
    lowering: &mut Lowering<'_, '_>,
    class: &Class<'_>,
    way: &Way<'_>,
    (content, word): (&str, &str),
    found: &mut Diagnostics,
) -> SetName {
    let sort = format!("{}{}", letter(way.direction), digit(way.family));
    let name = lowering.names.set(Identity { sort: &sort, word, content }, found);
    let members = addresses(lowering, &class.endpoints, way.family);
    lowering.sets.add(name, || format!("endpoints of this node with {} in {content}", way.direction), || members)
}

/// Addresses of endpoints in one family.
pub(super) fn addresses(lowering: &Lowering<'_, '_>, endpoints: &[EndpointId], family: Family) -> Members {
    let inventory = lowering.resolved.inventory;
    let hosts = endpoints.iter().flat_map(|endpoint| inventory.endpoint(*endpoint).addresses.iter().copied().map(Cidr::host));
    let mut members: Vec<Member> = hosts.filter(|host| host.family() == family).map(Member::of).collect();
    members.sort_unstable();
    Members::Addresses(family, members)
}

fn policy_name(lowering: &mut Lowering<'_, '_>, policy: &Policy, way: &Way<'_>, found: &mut Diagnostics) -> ChainName {
    let sort = format!("{}p", letter(way.direction));
    lowering.names.chain(Identity { sort: &sort, word: &policy.key.name, content: &policy.key.to_string() }, found)
}

fn jump_to_policy(lowering: &mut Lowering<'_, '_>, policy: &Policy, way: &Way<'_>, found: &mut Diagnostics) -> Rule {
    let target = Target::Jump(policy_name(lowering, policy, way, found));
    Rule { matches: Vec::new(), target, about: policy.key.to_string() }
}

fn policy_chain(lowering: &mut Lowering<'_, '_>, policy: &Policy, way: &Way<'_>, found: &mut Diagnostics) -> Chain {
    let name = policy_name(lowering, policy, way, found);
    let rules = policy_rules(lowering, policy, way, found);
    Chain { name, about: format!("{} of {}", way.direction, policy.key), rules }
}

/// The rules of a policy, in order.
pub(super) fn policy_rules(lowering: &mut Lowering<'_, '_>, policy: &Policy, way: &Way<'_>, found: &mut Diagnostics) -> Vec<Rule> {
    let mut rules = Vec::new();
    for rule in policy.rules(way.direction).unwrap_or_default() {
        let mut context = Context {
            sets: &mut lowering.sets,
            names: &mut lowering.names,
            found,
            family: way.family,
            direction: way.direction,
            near: way.near,
        };
        let about = format!("{} {} rule {}", policy.key, way.direction, rule.number);
        for mut matches in matches::of_rule(rule, &mut context) {
            if rule.action == Action::Log {
                matches.push(Match::Rarely);
            }
            rules.push(Rule { matches, target: target(policy, rule, way), about: about.clone() });
        }
    }
    rules
}

fn target(policy: &Policy, rule: &policy::Rule, way: &Way<'_>) -> Target {
    match rule.action {
        Action::Allow => way.allowed.clone(),
        Action::Deny => Target::Drop,
        Action::Pass => way.passed.clone(),
        Action::Log => Target::Log(names::log_prefix(&policy.key.name, Some(rule.number))),
    }
}
