//! Finds what decides the verdict for some traffic in one direction, in both states.

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::diff::{DecidedState, DiffState, OldNew};
use crate::inventory::EndpointId;
use crate::net::Direction;
use crate::packet_space::{
    DecidedTraffic, DecisionCause, EndpointClassId, HeaderSetId, HeaderSpace, HostListId,
    PolicyProfileId,
};
use crate::policy::{PolicyKey, PolicyListKind, Tier};
use crate::resolve::PolicyPosition;
use crate::source::Span;

/// What decides in one state. Spans refer to the files of that state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecidingRule<'input> {
    /// A rule.
    Rule {
        /// The policy or profile that contains the rule.
        key: &'input PolicyKey,
        /// The number of the rule in its list, from 1.
        number: usize,
        /// The location of the rule.
        span: Span,
        /// `true` if the rule allows.
        is_allowed: bool,
    },
    /// No rule matches; policies select the endpoint, and their tier denies.
    Isolated {
        /// The tier.
        tier: &'input str,
        /// The policies, in order, with the locations of their names.
        policies: Vec<(&'input PolicyKey, Span)>,
    },
    /// No policy applies to the endpoint in this direction, and its profiles allow.
    NoPolicy,
    /// Every tier passes, and the endpoint's profiles allow.
    PassedOn,
    /// The endpoint's profiles deny.
    Profiles,
    /// There is no host endpoint.
    NoHost,
    /// No rule of the list allows it, so later lists are evaluated.
    NotLetThrough,
}

/// Why the verdict for some traffic changed in one direction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeReason<'input> {
    /// The direction: egress policy of the sender, or ingress policy of the receiver.
    pub direction: Direction,
    /// What decided in the old state.
    pub old: DecidingRule<'input>,
    /// What decides in the new state.
    pub new: DecidingRule<'input>,
}

/// The id of a [`DecidingRule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DeciderId(usize);

/// A [`ChangeReason`] by ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TurnIds {
    direction: Direction,
    old: DeciderId,
    new: DeciderId,
}

/// Traffic whose verdict changed in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TurnedTraffic {
    pub(super) traffic: HeaderSetId,
    pub(super) turn: TurnIds,
}

/// The policies that apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum PolicySpeaker {
    /// Policies of the endpoints in a class; for addresses outside there are none.
    Class(EndpointClassId),
    /// Policies of a host endpoint list.
    List(HostListId),
}

/// The profile and the policies of the local side in one state.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalSide {
    pub(super) view: PolicyProfileId,
    pub(super) speaker: PolicySpeaker,
}

/// All deciding rules found so far.
#[derive(Debug, Default)]
pub(super) struct DeciderTable<'input> {
    all: IndexSet<DecidingRule<'input>, FxBuildHasher>,
    /// Those that are not rules, by the policies that apply.
    silent: FxHashMap<(DiffState, PolicySpeaker, Direction, Option<&'input str>), DeciderId>,
    /// The lists of policies that apply to classes.
    speaking: IndexSet<Vec<PolicyPosition>, FxBuildHasher>,
}

impl<'input> DeciderTable<'input> {
    /// Returns the traffic whose verdict changed in one direction, in parts with one cause each.
    pub(super) fn turned(
        &mut self,
        both: OldNew<DecidedState<'_, 'input>>,
        near: OldNew<LocalSide>,
        far: OldNew<EndpointClassId>,
        direction: Direction,
        traffic: &mut HeaderSpace,
    ) -> Vec<TurnedTraffic> {
        let old_relation = &both.old.space.relation;
        let new_relation = &both.new.space.relation;
        let seen_before = old_relation.seen(near.old.view, far.old);
        let seen_after = new_relation.seen(near.new.view, far.new);
        let lost = traffic.less(seen_before, seen_after);
        let gained = traffic.less(seen_after, seen_before);

        // limit the search to this traffic: a policy has many rules, and few of them matter here
        let changed = traffic.or(lost, gained);
        let before = old_relation.causes(near.old.view, far.old, changed, traffic);
        let after = new_relation.causes(near.new.view, far.new, changed, traffic);
        let mut turned: Vec<TurnedTraffic> = Vec::new();

        for old in &before {
            let others = after.iter().filter(|new| new.is_allowed != old.is_allowed);
            let common: Vec<_> = others
                .map(|new| (new, traffic.and(old.traffic, new.traffic)))
                .collect();
            for (new, common) in common
                .into_iter()
                .filter(|(_, common)| *common != HeaderSpace::NONE)
            {
                let old = self.id(both.old, (DiffState::Old, near.old.speaker, direction), old);
                let new = self.id(both.new, (DiffState::New, near.new.speaker, direction), new);
                turned.push(TurnedTraffic {
                    traffic: common,
                    turn: TurnIds {
                        direction,
                        old,
                        new,
                    },
                });
            }
        }

        turned
    }

    /// Returns ids of the policies that apply to a class in one direction, in both states.
    pub(super) fn speaking(
        &mut self,
        both: OldNew<DecidedState<'_, 'input>>,
        classes: OldNew<EndpointClassId>,
        direction: Direction,
    ) -> OldNew<usize> {
        let mut number = |known: DecidedState<'_, 'input>, class: EndpointClassId| {
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

        OldNew {
            old: number(both.old, classes.old),
            new: number(both.new, classes.new),
        }
    }

    /// Returns the full reason of a change.
    pub(super) fn reason(&self, turn: TurnIds) -> ChangeReason<'input> {
        let get = |id: DeciderId| {
            self.all
                .get_index(id.0)
                .cloned()
                .unwrap_or(DecidingRule::NoPolicy)
        };

        ChangeReason {
            direction: turn.direction,
            old: get(turn.old),
            new: get(turn.new),
        }
    }

    fn id(
        &mut self,
        known: DecidedState<'_, 'input>,
        near: (DiffState, PolicySpeaker, Direction),
        decided: &DecidedTraffic<'input>,
    ) -> DeciderId {
        let (state, speaker, direction) = near;
        let tier = match decided.cause {
            DecisionCause::Rule(rule) => {
                let rule_of = rule.rule;
                let is_allowed = decided.is_allowed;
                return self.add(DecidingRule::Rule {
                    key: rule.key,
                    number: rule_of.number,
                    span: rule_of.span,
                    is_allowed,
                });
            }
            DecisionCause::Tier(tier) => Some(tier),
            DecisionCause::Profiles => None,
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

        let id = self.add(silent(known, speaker, direction, tier, decided.is_allowed));
        self.silent.insert(key, id);
        id
    }

    fn add(&mut self, decider: DecidingRule<'input>) -> DeciderId {
        DeciderId(self.all.insert_full(decider).0)
    }
}

/// Returns what decides if no rule does: the end of a tier or the end of the profiles.
fn silent<'input>(
    known: DecidedState<'_, 'input>,
    speaker: PolicySpeaker,
    direction: Direction,
    tier: Option<&'input Tier>,
    is_allowed: bool,
) -> DecidingRule<'input> {
    let owner = |class| {
        known
            .space
            .places
            .class(class)
            .and_then(|class| class.owner)
    };
    let list = match speaker {
        PolicySpeaker::Class(_) => None,
        PolicySpeaker::List(list) => known.space.relation.list(list),
    };
    let places = match speaker {
        PolicySpeaker::Class(class) => {
            owner(class).map_or_else(Vec::new, |owner| of_endpoint(known, owner, direction))
        }
        PolicySpeaker::List(_) => list.map_or_else(Vec::new, |list| list.policies.clone()),
    };

    match (tier, list) {
        (Some(tier), _) => DecidingRule::Isolated {
            tier: &tier.name,
            policies: in_tier(known, tier, &places),
        },
        (None, Some(list)) if !list.has_host && is_allowed => DecidingRule::NoHost,
        (None, Some(list)) if !is_allowed && list.is_let_through => DecidingRule::NotLetThrough,
        (None, _) if !is_allowed => DecidingRule::Profiles,
        (None, _) if places.is_empty() => DecidingRule::NoPolicy,
        (None, _) => DecidingRule::PassedOn,
    }
}

/// Returns the policies that apply to an endpoint in one direction, in the order of evaluation.
fn of_endpoint(
    known: DecidedState<'_, '_>,
    owner: EndpointId,
    direction: Direction,
) -> Vec<PolicyPosition> {
    let applied = known
        .resolved
        .applied_to(owner)
        .iter()
        .flat_map(|selector| known.resolved.policies_of(*selector))
        .copied();
    let policy = |place: &PolicyPosition| {
        known
            .resolved
            .policies
            .tiers
            .get(place.tier)
            .and_then(|tier| tier.policies.get(place.policy))
    };

    let speaks = |place: &PolicyPosition| {
        policy(place).is_some_and(|policy| {
            policy.is_on(PolicyListKind::Normal) && policy.rules(direction).is_some()
        })
    };

    let mut places: Vec<PolicyPosition> = applied.filter(speaks).collect();
    places.sort_unstable();
    places
}

/// Returns those of some policies that are in a tier.
fn in_tier<'input>(
    known: DecidedState<'_, 'input>,
    tier: &'input Tier,
    places: &[PolicyPosition],
) -> Vec<(&'input PolicyKey, Span)> {
    let is_it = |place: &&PolicyPosition| {
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

impl<'input> DecidingRule<'input> {
    /// Returns `true` if the verdict is to allow.
    pub fn is_allowed(&self) -> bool {
        match self {
            DecidingRule::Rule { is_allowed, .. } => *is_allowed,
            DecidingRule::NoPolicy | DecidingRule::PassedOn | DecidingRule::NoHost => true,
            DecidingRule::Isolated { .. }
            | DecidingRule::Profiles
            | DecidingRule::NotLetThrough => false,
        }
    }

    /// Returns the policies that decide, with the number of the rule if a rule decides, and the
    /// location.
    pub fn places(&self) -> Vec<(&'input PolicyKey, Option<usize>, Span)> {
        match self {
            DecidingRule::Rule {
                key, number, span, ..
            } => vec![(key, Some(*number), *span)],
            DecidingRule::Isolated { policies, .. } => policies
                .iter()
                .map(|(key, span)| (*key, None, *span))
                .collect(),
            DecidingRule::NoPolicy
            | DecidingRule::PassedOn
            | DecidingRule::Profiles
            | DecidingRule::NoHost
            | DecidingRule::NotLetThrough => Vec::new(),
        }
    }
}
