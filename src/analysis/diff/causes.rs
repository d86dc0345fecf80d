//! What decides about some traffic in one direction, then and now.

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::analysis::diff::{Both, Known, State};
use crate::analysis::space::{Cause, ClassId, Decided, Traffic, TrafficId};
use crate::inventory::EndpointId;
use crate::net::Direction;
use crate::policy::{List, PolicyKey, Tier};
use crate::text::Span;

/// What decides in one state. Places are in the files of that state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decider<'input> {
    /// A rule.
    Rule {
        /// The policy or profile it stands in.
        key: &'input PolicyKey,
        /// Its number there, from 1.
        number: usize,
        /// Where it stands.
        span: Span,
        /// Whether it allows.
        is_allowed: bool,
    },
    /// No rule of policies that isolate the endpoint; the tier denies.
    Isolated {
        /// The tier.
        tier: &'input str,
        /// The policies, in order, and where their names stand.
        policies: Vec<(&'input PolicyKey, Span)>,
    },
    /// No policy speaks about the endpoint in this direction, and its profiles allow.
    NoPolicy,
    /// Every tier passes on, and the endpoint's profiles allow.
    PassedOn,
    /// The endpoint's profiles do not allow.
    Profiles,
}

/// Why some traffic became allowed or denied in one direction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason<'input> {
    /// The direction: egress policy of the sender, or ingress policy of the receiver.
    pub direction: Direction,
    /// What decided.
    pub old: Decider<'input>,
    /// What decides.
    pub new: Decider<'input>,
}

/// A number for each decider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DeciderId(usize);

/// A [`Reason`] in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn {
    direction: Direction,
    old: DeciderId,
    new: DeciderId,
}

/// Traffic that turned from denied to allowed or back in one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turned {
    pub(super) traffic: TrafficId,
    pub(super) turn: Turn,
}

/// All deciders that came up.
#[derive(Debug, Default)]
pub(super) struct Deciders<'input> {
    all: IndexSet<Decider<'input>, FxBuildHasher>,
    /// Those that are no rule, by the class of the endpoint.
    silent: FxHashMap<(State, ClassId, Direction, Option<&'input str>), DeciderId>,
}

/// A class in each state and the one at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) near: Both<ClassId>,
    pub(super) far: Both<ClassId>,
}

impl<'input> Deciders<'input> {
    /// What turned in a direction, in parts of one reason each.
    pub(super) fn turned(&mut self, both: Both<Known<'_, 'input>>, ends: Ends, direction: Direction, traffic: &mut Traffic) -> Vec<Turned> {
        let decided = |known: Known<'_, 'input>, near: ClassId, far: ClassId, traffic: &mut Traffic| {
            known.space.relation.causes(known.space.relation.view(near, direction), far, traffic)
        };
        let before = decided(both.old, ends.near.old, ends.far.old, traffic);
        let after = decided(both.new, ends.near.new, ends.far.new, traffic);
        let mut turned: Vec<Turned> = Vec::new();
        for old in &before {
            let others = after.iter().filter(|new| new.is_allowed != old.is_allowed);
            let common: Vec<_> = others.map(|new| (new, traffic.and(old.traffic, new.traffic))).collect();
            for (new, common) in common.into_iter().filter(|(_, common)| *common != Traffic::NONE) {
                let old = self.id(both.old, (State::Old, ends.near.old, direction), old);
                let new = self.id(both.new, (State::New, ends.near.new, direction), new);
                turned.push(Turned { traffic: common, turn: Turn { direction, old, new } });
            }
        }
        turned
    }

    /// A turn in full.
    pub(super) fn reason(&self, turn: Turn) -> Reason<'input> {
        let get = |id: DeciderId| self.all.get_index(id.0).cloned().unwrap_or(Decider::NoPolicy);
        Reason { direction: turn.direction, old: get(turn.old), new: get(turn.new) }
    }

    fn id(&mut self, known: Known<'_, 'input>, near: (State, ClassId, Direction), decided: &Decided<'input>) -> DeciderId {
        let (state, class, direction) = near;
        let tier = match decided.cause {
            Cause::Rule(rule) => {
                let rule_of = rule.rule;
                let is_allowed = decided.is_allowed;
                return self.add(Decider::Rule { key: rule.key, number: rule_of.number, span: rule_of.span, is_allowed });
            }
            Cause::Tier(tier) => Some(tier),
            Cause::Profiles => None,
        };
        let key = (state, class, direction, tier.map(|tier| tier.name.as_str()));
        if let Some(known) = self.silent.get(&key) {
            return *known;
        }
        let owner = known.space.places.class(class).and_then(|class| class.owner);
        let decider = match (tier, owner) {
            (Some(tier), Some(owner)) => Decider::Isolated { tier: &tier.name, policies: isolating(known, tier, owner, direction) },
            (Some(tier), None) => Decider::Isolated { tier: &tier.name, policies: Vec::new() },
            (None, _) if !decided.is_allowed => Decider::Profiles,
            (None, Some(owner)) if has_policy(known, owner, direction) => Decider::PassedOn,
            (None, _) => Decider::NoPolicy,
        };
        let id = self.add(decider);
        self.silent.insert(key, id);
        id
    }

    fn add(&mut self, decider: Decider<'input>) -> DeciderId {
        DeciderId(self.all.insert_full(decider).0)
    }
}

/// The policies of a tier that speak about an endpoint in a direction.
fn isolating<'input>(
    known: Known<'_, 'input>,
    tier: &'input Tier,
    owner: EndpointId,
    direction: Direction,
) -> Vec<(&'input PolicyKey, Span)> {
    let applied = known.resolved.applied_to(owner);
    let speaking = tier.policies.iter().filter(|policy| policy.is_on(List::Normal) && policy.rules(direction).is_some());
    speaking.filter(|policy| applied.binary_search(&policy.applies_to).is_ok()).map(|policy| (&policy.key, policy.span)).collect()
}

fn has_policy(known: Known<'_, '_>, owner: EndpointId, direction: Direction) -> bool {
    let policies: &[Tier] = &known.resolved.policies.tiers;
    policies.iter().any(|tier| !isolating(known, tier, owner, direction).is_empty())
}

impl<'input> Decider<'input> {
    /// Whether it allows.
    pub fn is_allowed(&self) -> bool {
        match self {
            Decider::Rule { is_allowed, .. } => *is_allowed,
            Decider::NoPolicy | Decider::PassedOn => true,
            Decider::Isolated { .. } | Decider::Profiles => false,
        }
    }

    /// The policies that decide, with the number of the rule where one does, and where that stands.
    pub fn places(&self) -> Vec<(&'input PolicyKey, Option<usize>, Span)> {
        match self {
            Decider::Rule { key, number, span, .. } => vec![(key, Some(*number), *span)],
            Decider::Isolated { policies, .. } => policies.iter().map(|(key, span)| (*key, None, *span)).collect(),
            Decider::NoPolicy | Decider::PassedOn | Decider::Profiles => Vec::new(),
        }
    }
}
