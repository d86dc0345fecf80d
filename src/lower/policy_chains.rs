//! Chains of policies and profiles, of which those of tiers and of profiles are made: the rules of
//! one, and the set of the endpoints that it applies to.

use crate::diagnostic::Diagnostics;
use crate::inventory::EndpointId;
use crate::lower::Lowering;
use crate::lower::matches::{self, Context};
use crate::lower::names::{self, Identity};
use crate::lower::program::{
    Chain, ChainName, Match, Member, Members, Rule, SetName, Side, Target,
};
use crate::lower::sets::{Reach, digit};
use crate::net::{Cidr, Direction, Family};
use crate::policy::{self, Action, Policy, PolicyKey};

/// Chains of one direction: those to jump to, tier after tier, and all of them.
pub(super) struct Tiers {
    /// The chain of every tier that has something to say here, in order, then that of profiles;
    /// with what it is.
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
    /// Which destinations the rules are asked of.
    pub(super) asked: Asked,
    /// Whose addresses can stand on the side that the policies apply to.
    pub(super) near: Reach,
}

/// Which destination of a packet a rule is asked of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The one that it bears.
    OfPacket,
    /// The one that it had before it was translated, of rules that were asked of it then.
    OfOriginal,
}

/// The rules of a direction, and whose they are.
#[derive(Clone, Copy)]
pub(super) struct Rules<'input> {
    pub(super) key: &'input PolicyKey,
    pub(super) rules: &'input [policy::Rule],
}

impl<'input> Rules<'input> {
    pub(super) fn of(policy: &'input Policy, direction: Direction) -> Self {
        Self {
            key: &policy.key,
            rules: policy.rules(direction).unwrap_or_default(),
        }
    }
}

impl Way<'_> {
    /// The side of a packet on which the endpoint stands.
    pub(super) fn side(&self) -> Side {
        match self.direction {
            Direction::Ingress => Side::Destination,
            Direction::Egress => Side::Source,
        }
    }
}

/// `e` or `i`, the first letter of sorts of chains and sets of a direction.
pub(super) fn letter(direction: Direction) -> char {
    match direction {
        Direction::Ingress => 'i',
        Direction::Egress => 'e',
    }
}

/// The set of a class's addresses.
pub(super) fn class_set(
    lowering: &mut Lowering<'_, '_>,
    endpoints: &[EndpointId],
    way: &Way<'_>,
    (content, word): (&str, &str),
    found: &mut Diagnostics,
) -> SetName {
    let sort = format!("{}{}", letter(way.direction), digit(way.family));
    let name = lowering.names.set(
        Identity {
            sort: &sort,
            word,
            content,
        },
        found,
    );
    let members = addresses(lowering, endpoints, way.family);
    lowering.sets.add(
        name,
        || format!("endpoints of this node with {} in {content}", way.direction),
        || members,
    )
}

/// Addresses of endpoints in one family.
pub(super) fn addresses(
    lowering: &Lowering<'_, '_>,
    endpoints: &[EndpointId],
    family: Family,
) -> Members {
    let inventory = lowering.resolved.inventory;
    let hosts = endpoints.iter().flat_map(|endpoint| {
        inventory
            .endpoint(*endpoint)
            .addresses
            .iter()
            .copied()
            .map(Cidr::host)
    });
    let mut members: Vec<Member> = hosts
        .filter(|host| host.family() == family)
        .map(Member::of)
        .collect();
    members.sort_unstable();
    Members::Addresses(family, members)
}

fn rules_name(
    lowering: &mut Lowering<'_, '_>,
    key: &PolicyKey,
    way: &Way<'_>,
    found: &mut Diagnostics,
) -> ChainName {
    let letter = letter(way.direction);
    let sort = match way.near {
        Reach::Node => format!("{letter}p"),
        Reach::Cluster => format!("h{letter}p"),
    };
    lowering.names.chain(
        Identity {
            sort: &sort,
            word: &key.name,
            content: &key.to_string(),
        },
        found,
    )
}

/// The rule that jumps to the chain of a policy or profile.
pub(super) fn jump(
    lowering: &mut Lowering<'_, '_>,
    key: &PolicyKey,
    way: &Way<'_>,
    found: &mut Diagnostics,
) -> Rule {
    let target = Target::Jump(rules_name(lowering, key, way, found));
    Rule {
        matches: Vec::new(),
        target,
        about: key.to_string(),
    }
}

/// The chain of a policy or profile.
pub(super) fn rules_chain(
    lowering: &mut Lowering<'_, '_>,
    rules: Rules<'_>,
    way: &Way<'_>,
    found: &mut Diagnostics,
) -> Chain {
    let name = rules_name(lowering, rules.key, way, found);
    let about = format!("{} of {}", way.direction, rules.key);
    Chain {
        name,
        about,
        rules: rules_of(lowering, rules, way, found),
    }
}

/// The rules of a policy or profile, in order. Those that only log have done so when they are asked
/// again.
pub(super) fn rules_of(
    lowering: &mut Lowering<'_, '_>,
    Rules { key, rules }: Rules<'_>,
    way: &Way<'_>,
    found: &mut Diagnostics,
) -> Vec<Rule> {
    let mut lowered = Vec::new();
    for rule in rules
        .iter()
        .filter(|rule| way.asked == Asked::OfPacket || rule.action != Action::Log)
    {
        let mut context = Context {
            sets: &mut lowering.sets,
            names: &mut lowering.names,
            found,
            family: way.family,
            direction: way.direction,
            near: way.near,
        };
        let about = format!("{key} {} rule {}", way.direction, rule.number);
        let alternatives = match way.asked {
            Asked::OfPacket => matches::of_rule(rule, &mut context),
            Asked::OfOriginal => {
                let destinations = lowering
                    .resolved
                    .original_destinations(rule, way.family)
                    .unwrap_or_default();
                matches::of_original(rule, &destinations, &mut context)
            }
        };
        for mut matches in alternatives {
            if rule.action == Action::Log {
                matches.push(Match::Rarely);
            }
            lowered.push(Rule {
                matches,
                target: target(key, rule, way),
                about: about.clone(),
            });
        }
    }
    lowered
}

fn target(key: &PolicyKey, rule: &policy::Rule, way: &Way<'_>) -> Target {
    match rule.action {
        Action::Allow => way.allowed.clone(),
        Action::Deny => Target::Drop,
        Action::Pass => way.passed.clone(),
        Action::Log => Target::Log(names::log_prefix(&key.name, Some(rule.number))),
    }
}
