//! Chains of single policies and profiles, which the chains of tiers and profiles use: the rules,
//! and the set of endpoints that they apply to.

use crate::diagnostic::Diagnostics;
use crate::inventory::EndpointId;
use crate::lower::NodeLowering;
use crate::lower::matches::{self, RuleContext};
use crate::lower::names::{self, NameSource};
use crate::lower::program::{
    ChainName, NetMember, ProgramChain, ProgramRule, RuleMatch, RuleTarget, SetMembers, SetName,
    Side,
};
use crate::lower::sets::{SetReach, family_suffix};
use crate::net::{Cidr, Direction, Family};
use crate::policy::{self, Action, Policy, PolicyKey};

/// The chains of one direction.
pub(super) struct TierChains {
    /// The first chain of every tier that has policies here, in order, then that of the profiles.
    /// Each with its description.
    pub(super) entries: Vec<(ChainName, String)>,
    /// All chains: tiers first, then their classes, then policies.
    pub(super) chains: Vec<ProgramChain>,
}

/// Context for lowering one direction of one family.
pub(super) struct DirectionContext<'allow> {
    pub(super) direction: Direction,
    pub(super) family: Family,
    /// Target of packets that policy of this direction allows.
    pub(super) allowed: &'allow RuleTarget,
    /// Target of packets that are passed to the next tier.
    pub(super) passed: &'allow RuleTarget,
    /// Which destination of a packet the rules match.
    pub(super) asked: DestinationKind,
    /// Which addresses can occur on the side that the policies apply to.
    pub(super) near: SetReach,
}

/// Which destination of a packet a rule matches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DestinationKind {
    /// The destination in the packet.
    OfPacket,
    /// The destination before DNAT. Used when pre-DNAT rules are evaluated again.
    OfOriginal,
}

/// The rules of a direction, and the policy that they belong to.
#[derive(Clone, Copy)]
pub(super) struct DirectionRules<'input> {
    pub(super) key: &'input PolicyKey,
    pub(super) rules: &'input [policy::Rule],
}

impl<'input> DirectionRules<'input> {
    pub(super) fn new(policy: &'input Policy, direction: Direction) -> Self {
        Self {
            key: &policy.key,
            rules: policy.rules(direction).unwrap_or_default(),
        }
    }
}

impl DirectionContext<'_> {
    /// The side of a packet on which the endpoint is.
    pub(super) fn side(&self) -> Side {
        match self.direction {
            Direction::Ingress => Side::Destination,
            Direction::Egress => Side::Source,
        }
    }
}

/// `e` or `i`: the first letter of the kinds of chains and sets of a direction.
pub(super) fn direction_prefix(direction: Direction) -> char {
    match direction {
        Direction::Ingress => 'i',
        Direction::Egress => 'e',
    }
}

/// The set of the addresses of a class.
pub(super) fn class_set(
    lowering: &mut NodeLowering<'_, '_>,
    endpoints: &[EndpointId],
    way: &DirectionContext<'_>,
    content: &str,
    word: &str,
    diagnostics: &mut Diagnostics,
) -> SetName {
    let sort = format!(
        "{}{}",
        direction_prefix(way.direction),
        family_suffix(way.family)
    );
    let name = lowering.names.set(
        NameSource {
            sort: &sort,
            word,
            content,
        },
        diagnostics,
    );
    let members = addresses(lowering, endpoints, way.family);

    lowering.sets.add(
        name,
        || format!("endpoints of this node with {} in {content}", way.direction),
        || members,
    )
}

/// The addresses of endpoints in one family.
pub(super) fn addresses(
    lowering: &NodeLowering<'_, '_>,
    endpoints: &[EndpointId],
    family: Family,
) -> SetMembers {
    let inventory = lowering.resolved.inventory;
    let hosts = endpoints.iter().flat_map(|endpoint| {
        inventory
            .endpoint(*endpoint)
            .addresses
            .iter()
            .copied()
            .map(Cidr::host)
    });

    let mut members: Vec<NetMember> = hosts
        .filter(|host| host.family() == family)
        .map(NetMember::from_prefix)
        .collect();
    members.sort_unstable();
    SetMembers::Addresses(family, members)
}

fn rules_name(
    lowering: &mut NodeLowering<'_, '_>,
    key: &PolicyKey,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> ChainName {
    let letter = direction_prefix(way.direction);
    let sort = match way.near {
        SetReach::Node => format!("{letter}p"),
        SetReach::Cluster => format!("h{letter}p"),
    };

    lowering.names.chain(
        NameSource {
            sort: &sort,
            word: &key.name,
            content: &key.to_string(),
        },
        diagnostics,
    )
}

/// The rule that jumps to the chain of a policy or profile.
pub(super) fn jump(
    lowering: &mut NodeLowering<'_, '_>,
    key: &PolicyKey,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> ProgramRule {
    let target = RuleTarget::Jump(rules_name(lowering, key, way, diagnostics));
    ProgramRule {
        matches: Vec::new(),
        target,
        about: key.to_string(),
    }
}

/// The chain of a policy or profile.
pub(super) fn rules_chain(
    lowering: &mut NodeLowering<'_, '_>,
    rules: DirectionRules<'_>,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> ProgramChain {
    let name = rules_name(lowering, rules.key, way, diagnostics);
    let about = format!("{} of {}", way.direction, rules.key);
    ProgramChain {
        name,
        about,
        rules: rules_of(lowering, rules, way, diagnostics),
    }
}

/// The rules of a policy or profile, in order. Log rules are omitted when policy is evaluated
/// again, because they have already logged the packet.
pub(super) fn rules_of(
    lowering: &mut NodeLowering<'_, '_>,
    DirectionRules { key, rules }: DirectionRules<'_>,
    way: &DirectionContext<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<ProgramRule> {
    let mut lowered = Vec::new();
    for rule in rules
        .iter()
        .filter(|rule| way.asked == DestinationKind::OfPacket || rule.action != Action::Log)
    {
        let mut context = RuleContext {
            sets: &mut lowering.sets,
            names: &mut lowering.names,
            found: diagnostics,
            family: way.family,
            direction: way.direction,
            near: way.near,
        };
        let about = format!("{key} {} rule {}", way.direction, rule.number);
        let alternatives = match way.asked {
            DestinationKind::OfPacket => matches::of_rule(rule, &mut context),
            DestinationKind::OfOriginal => {
                let destinations = lowering
                    .resolved
                    // `resolve` has already refused every rule for which this returns an error.
                    .original_destinations(rule, way.family)
                    .unwrap_or_default();
                matches::of_original(rule, &destinations, &mut context)
            }
        };
        for mut matches in alternatives {
            if rule.action == Action::Log {
                // Rate-limited, so that a flood of packets does not flood the kernel log.
                matches.push(RuleMatch::Rarely);
            }
            lowered.push(ProgramRule {
                matches,
                target: target(key, rule, way),
                about: about.clone(),
            });
        }
    }

    lowered
}

fn target(key: &PolicyKey, rule: &policy::Rule, way: &DirectionContext<'_>) -> RuleTarget {
    match rule.action {
        Action::Allow => way.allowed.clone(),
        Action::Deny => RuleTarget::Drop,
        Action::Pass => way.passed.clone(),
        Action::Log => RuleTarget::Log(names::log_prefix(&key.name, Some(rule.number))),
    }
}
