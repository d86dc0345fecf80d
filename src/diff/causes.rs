//! What decides about some traffic in one direction, then and now.

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::diff::{Both, Known, State};
use crate::inventory::EndpointId;
use crate::net::Direction;
use crate::packet_space::{Cause, ClassId, Decided, ListId, Traffic, TrafficId, ViewId};
use crate::policy::{List, PolicyKey, Tier};
use crate::resolve::Place;
use crate::source::Span;

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
    /// No host endpoint is there that could deny.
    NoHost,
    /// No rule of a list allows it, so that the lists behind are asked.
    NotLetThrough,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Turned {
    pub(super) traffic: TrafficId,
    pub(super) turn: Turn,
}

/// Whose policies speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Speaker {
    /// Those of endpoints, or of no one outside.
    Class(ClassId),
    /// Those of host endpoints.
    List(ListId),
}

/// What speaks about traffic in one state, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near {
    pub(super) view: ViewId,
    pub(super) speaker: Speaker,
}

/// All deciders that came up.
#[derive(Debug, Default)]
pub(super) struct Deciders<'input> {
    all: IndexSet<Decider<'input>, FxBuildHasher>,
    /// Those that are no rule, by who speaks.
    silent: FxHashMap<(State, Speaker, Direction, Option<&'input str>), DeciderId>,
    /// Policies that speak about somebody.
    speaking: IndexSet<Vec<Place>, FxBuildHasher>,
}

impl<'input> Deciders<'input> {
    /// What turned in a direction, in parts of one reason each.
    pub(super) fn turned(
        &mut self,
        both: Both<Known<'_, 'input>>,
        (near, far): (Both<Near>, Both<ClassId>),
        direction: Direction,
        traffic: &mut Traffic,
    ) -> Vec<Turned> {
        let before = both
            .old
            .space
            .relation
            .causes(near.old.view, far.old, traffic);
        let after = both
            .new
            .space
            .relation
            .causes(near.new.view, far.new, traffic);
        let mut turned: Vec<Turned> = Vec::new();
        for old in &before {
            let others = after.iter().filter(|new| new.is_allowed != old.is_allowed);
            let common: Vec<_> = others
                .map(|new| (new, traffic.and(old.traffic, new.traffic)))
                .collect();
            for (new, common) in common
                .into_iter()
                .filter(|(_, common)| *common != Traffic::NONE)
            {
                let old = self.id(both.old, (State::Old, near.old.speaker, direction), old);
                let new = self.id(both.new, (State::New, near.new.speaker, direction), new);
                turned.push(Turned {
                    traffic: common,
                    turn: Turn {
                        direction,
                        old,
                        new,
                    },
                });
            }
        }
        turned
    }

    /// A number for the policies that speak about classes in a direction, in each state.
    pub(super) fn speaking(
        &mut self,
        both: Both<Known<'_, 'input>>,
        classes: Both<ClassId>,
        direction: Direction,
    ) -> Both<usize> {
        let mut number = |known: Known<'_, 'input>, class: ClassId| {
            let owner = known
                .space
                .places
                .class(class)
                .and_then(|class| class.owner);
            self.speaking
                .insert_full(
                    owner.map_or_else(Vec::new, |owner| of_endpoint(known, owner, direction)),
                )
                .0
        };
        Both {
            old: number(both.old, classes.old),
            new: number(both.new, classes.new),
        }
    }

    /// A turn in full.
    pub(super) fn reason(&self, turn: Turn) -> Reason<'input> {
        let get = |id: DeciderId| {
            self.all
                .get_index(id.0)
                .cloned()
                .unwrap_or(Decider::NoPolicy)
        };
        Reason {
            direction: turn.direction,
            old: get(turn.old),
            new: get(turn.new),
        }
    }

    fn id(
        &mut self,
        known: Known<'_, 'input>,
        near: (State, Speaker, Direction),
        decided: &Decided<'input>,
    ) -> DeciderId {
        let (state, speaker, direction) = near;
        let tier = match decided.cause {
            Cause::Rule(rule) => {
                let rule_of = rule.rule;
                let is_allowed = decided.is_allowed;
                return self.add(Decider::Rule {
                    key: rule.key,
                    number: rule_of.number,
                    span: rule_of.span,
                    is_allowed,
                });
            }
            Cause::Tier(tier) => Some(tier),
            Cause::Profiles => None,
        };
        let key = (
            state,
            speaker,
            direction,
            tier.map(|tier| tier.name.as_str()),
        );
        if let Some(known) = self.silent.get(&key) {
            return *known;
        }
        let id = self.add(silent(
            known,
            (speaker, direction),
            tier,
            decided.is_allowed,
        ));
        self.silent.insert(key, id);
        id
    }

    fn add(&mut self, decider: Decider<'input>) -> DeciderId {
        DeciderId(self.all.insert_full(decider).0)
    }
}

/// What decides where no rule does: the end of a tier, or of all.
fn silent<'input>(
    known: Known<'_, 'input>,
    (speaker, direction): (Speaker, Direction),
    tier: Option<&'input Tier>,
    is_allowed: bool,
) -> Decider<'input> {
    let owner = |class| {
        known
            .space
            .places
            .class(class)
            .and_then(|class| class.owner)
    };
    let list = match speaker {
        Speaker::Class(_) => None,
        Speaker::List(list) => known.space.relation.list(list),
    };
    let places = match speaker {
        Speaker::Class(class) => {
            owner(class).map_or_else(Vec::new, |owner| of_endpoint(known, owner, direction))
        }
        Speaker::List(_) => list.map_or_else(Vec::new, |list| list.policies.clone()),
    };
    match (tier, list) {
        (Some(tier), _) => Decider::Isolated {
            tier: &tier.name,
            policies: in_tier(known, tier, &places),
        },
        (None, Some(list)) if !list.has_host && is_allowed => Decider::NoHost,
        (None, Some(list)) if !is_allowed && list.is_let_through => Decider::NotLetThrough,
        (None, _) if !is_allowed => Decider::Profiles,
        (None, _) if places.is_empty() => Decider::NoPolicy,
        (None, _) => Decider::PassedOn,
    }
}

/// The policies that speak about an endpoint in a direction, in the order of evaluation.
fn of_endpoint(known: Known<'_, '_>, owner: EndpointId, direction: Direction) -> Vec<Place> {
    let applied = known
        .resolved
        .applied_to(owner)
        .iter()
        .flat_map(|selector| known.resolved.policies_of(*selector))
        .copied();
    let policy = |place: &Place| {
        known
            .resolved
            .policies
            .tiers
            .get(place.tier)
            .and_then(|tier| tier.policies.get(place.policy))
    };
    let speaks = |place: &Place| {
        policy(place)
            .is_some_and(|policy| policy.is_on(List::Normal) && policy.rules(direction).is_some())
    };
    let mut places: Vec<Place> = applied.filter(speaks).collect();
    places.sort_unstable();
    places
}

/// Those of some policies that are in a tier.
fn in_tier<'input>(
    known: Known<'_, 'input>,
    tier: &'input Tier,
    places: &[Place],
) -> Vec<(&'input PolicyKey, Span)> {
    let is_it = |place: &&Place| {
        known
            .resolved
            .policies
            .tiers
            .get(place.tier)
            .is_some_and(|own| own.name == tier.name)
    };
    let policies = places
        .iter()
        .filter(is_it)
        .filter_map(|place| tier.policies.get(place.policy));
    policies.map(|policy| (&policy.key, policy.span)).collect()
}

impl<'input> Decider<'input> {
    /// Whether it allows.
    pub fn is_allowed(&self) -> bool {
        match self {
            Decider::Rule { is_allowed, .. } => *is_allowed,
            Decider::NoPolicy | Decider::PassedOn | Decider::NoHost => true,
            Decider::Isolated { .. } | Decider::Profiles | Decider::NotLetThrough => false,
        }
    }

    /// The policies that decide, with the number of the rule where one does, and where that stands.
    pub fn places(&self) -> Vec<(&'input PolicyKey, Option<usize>, Span)> {
        match self {
            Decider::Rule {
                key, number, span, ..
            } => vec![(key, Some(*number), *span)],
            Decider::Isolated { policies, .. } => policies
                .iter()
                .map(|(key, span)| (*key, None, *span))
                .collect(),
            Decider::NoPolicy
            | Decider::PassedOn
            | Decider::Profiles
            | Decider::NoHost
            | Decider::NotLetThrough => Vec::new(),
        }
    }
}
