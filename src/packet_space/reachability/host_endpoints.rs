//! What the lists of host endpoints say, as views.
//!
//! Each list is a way for packets, which either pass or do not; those before connection tracking
//! and before the translation of destinations are two, for what they allow themselves is asked no
//! further. A rule's near side is the node's: a list has a view for most addresses there, and
//! others for those that its rules name.
//!
//! Cost: lists with the same policies and profiles are one; of each, the views.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::inventory::ProfileList;
use crate::net::{Direction, Family};
use crate::packet_space::endpoint_class::EndpointClassId;
use crate::packet_space::reachability::{
    LocalClass, PolicyProfileId, ProfileStep, ReachabilityMatrix, RelationBuilder, number,
};
use crate::policy::{DefaultAction, Policy, PolicyListKind};
use crate::resolve::{HostEndpointId, PolicyPosition};

/// What becomes of packets at a list of host endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostListStage {
    /// They are not denied.
    Passed(PolicyListKind),
    /// A rule allows them, so that no list behind is asked.
    LetThrough(PolicyListKind),
}

/// A list in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostListId(u32);

/// What a list says.
#[derive(Debug)]
pub struct HostList {
    /// Its policies, in the order of evaluation.
    pub policies: Vec<PolicyPosition>,
    /// Whether there is a host endpoint at all; where there is none, all passes.
    pub has_host: bool,
    /// Whether it says what is let through, and not what passes.
    pub is_let_through: bool,
    /// The view of most addresses of the node, by family.
    by_default: [PolicyProfileId; 2],
    /// Those of the others, in order.
    named: Vec<(EndpointClassId, PolicyProfileId)>,
}

/// What lists are one by.
type HostListKey<'input> = (
    bool,
    (HostListStage, Direction),
    Vec<PolicyPosition>,
    Option<&'input ProfileList>,
);

/// All lists.
#[derive(Debug, Default)]
pub(super) struct HostLists<'input> {
    of_host: FxHashMap<(Option<HostEndpointId>, HostListStage, Direction), HostListId>,
    known: FxHashMap<HostListKey<'input>, HostListId>,
    all: Vec<HostList>,
}

impl HostListStage {
    /// All of them with their directions.
    pub const ALL: [(HostListStage, Direction); 10] = [
        (
            HostListStage::Passed(PolicyListKind::Normal),
            Direction::Ingress,
        ),
        (
            HostListStage::Passed(PolicyListKind::Normal),
            Direction::Egress,
        ),
        (
            HostListStage::Passed(PolicyListKind::Forward),
            Direction::Ingress,
        ),
        (
            HostListStage::Passed(PolicyListKind::Forward),
            Direction::Egress,
        ),
        (
            HostListStage::Passed(PolicyListKind::Untracked),
            Direction::Ingress,
        ),
        (
            HostListStage::Passed(PolicyListKind::Untracked),
            Direction::Egress,
        ),
        (
            HostListStage::LetThrough(PolicyListKind::Untracked),
            Direction::Ingress,
        ),
        (
            HostListStage::LetThrough(PolicyListKind::Untracked),
            Direction::Egress,
        ),
        (
            HostListStage::Passed(PolicyListKind::PreDnat),
            Direction::Ingress,
        ),
        (
            HostListStage::LetThrough(PolicyListKind::PreDnat),
            Direction::Ingress,
        ),
    ];

    /// The list.
    pub fn list(self) -> PolicyListKind {
        match self {
            HostListStage::Passed(list) | HostListStage::LetThrough(list) => list,
        }
    }
}

impl HostList {
    /// The view of a class of addresses at the node; none is any that no rule names.
    pub fn view(&self, near: Option<EndpointClassId>, family: Family) -> PolicyProfileId {
        let named = near.and_then(|near| self.named.binary_search_by_key(&near, |row| row.0).ok());
        let [v4, v6] = self.by_default;
        let by_default = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        named
            .and_then(|at| self.named.get(at))
            .map_or(by_default, |row| row.1)
    }

    /// The classes of addresses at the node that have a view of their own, in order.
    pub fn named(&self) -> impl Iterator<Item = EndpointClassId> {
        self.named.iter().map(|row| row.0)
    }
}

impl ReachabilityMatrix<'_> {
    /// The list of a host endpoint, or where there is none. Only of a relation [with
    /// hosts](Self::with_hosts).
    pub fn list_of(
        &self,
        host: Option<HostEndpointId>,
        way: HostListStage,
        direction: Direction,
    ) -> Option<HostListId> {
        self.hosts.of_host.get(&(host, way, direction)).copied()
    }

    /// A list.
    pub fn list(&self, id: HostListId) -> Option<&HostList> {
        self.hosts.all.get(id.0 as usize)
    }
}

impl<'input> RelationBuilder<'_, 'input> {
    /// Makes the lists of all host endpoints, and those of none.
    pub(super) fn add_hosts(&mut self) {
        let resolved = self.work.resolved;
        let mut applied: FxHashMap<HostEndpointId, Vec<(PolicyPosition, &'input Policy)>> =
            FxHashMap::default();

        for (tier_at, tier) in resolved.policies.tiers.iter().enumerate() {
            for (policy_at, policy) in tier.policies.iter().enumerate() {
                let place = PolicyPosition {
                    tier: tier_at,
                    policy: policy_at,
                };
                let hosts = &resolved.members(policy.applies_to).host_endpoints;
                hosts
                    .iter()
                    .for_each(|host| applied.entry(*host).or_default().push((place, policy)));
            }
        }

        for (way, direction) in HostListStage::ALL {
            self.add_list(None, way, direction, &[]);
            for (id, _) in resolved.host_endpoints_with_ids() {
                self.add_list(
                    Some(id),
                    way,
                    direction,
                    applied.get(&id).map_or(&[], Vec::as_slice),
                );
            }
        }
    }

    fn add_list(
        &mut self,
        host: Option<HostEndpointId>,
        way: HostListStage,
        direction: Direction,
        applied: &[(PolicyPosition, &'input Policy)],
    ) {
        let resolved = self.work.resolved;
        let speaking = applied
            .iter()
            .filter(|(_, policy)| policy.is_on(way.list()) && policy.rules(direction).is_some());
        let policies: Vec<(PolicyPosition, &'input Policy)> = speaking.copied().collect();
        let profiles = host
            .filter(|_| way.list() == PolicyListKind::Normal)
            .and_then(|id| resolved.host_endpoint(id))
            .map(|host| &host.profiles);
        let key: HostListKey<'input> = (
            host.is_some(),
            (way, direction),
            policies.iter().map(|row| row.0).collect(),
            profiles,
        );
        let id = match self.relation.hosts.known.get(&key) {
            Some(known) => *known,
            None => {
                let list = self.list((way, direction), &policies, profiles, host.is_some());
                let id = HostListId(number(self.relation.hosts.all.len()));
                self.relation.hosts.all.push(list);
                self.relation.hosts.known.insert(key, id);
                id
            }
        };

        self.relation
            .hosts
            .of_host
            .insert((host, way, direction), id);
    }

    fn list(
        &mut self,
        asked: (HostListStage, Direction),
        policies: &[(PolicyPosition, &'input Policy)],
        profiles: Option<&'input ProfileList>,
        has_host: bool,
    ) -> HostList {
        let direction = asked.1;
        let steps = |maker: &mut Self, near: LocalClass| {
            let steps = maker.steps_of_list(asked.0, policies, profiles, near);
            PolicyProfileId(number(maker.relation.steps.insert_full(steps).0))
        };
        let by_default = Family::BOTH.map(|family| {
            steps(
                self,
                LocalClass {
                    id: EndpointClassId::NOWHERE,
                    family,
                    direction,
                },
            )
        });
        let mut named = Vec::new();

        for id in self.near_classes(direction, policies, profiles) {
            let Some(family) = self.work.places.class(id).map(|class| class.family) else {
                continue;
            };
            named.push((
                id,
                steps(
                    self,
                    LocalClass {
                        id,
                        family,
                        direction,
                    },
                ),
            ));
        }

        let is_let_through = matches!(asked.0, HostListStage::LetThrough(_));
        HostList {
            policies: policies.iter().map(|row| row.0).collect(),
            has_host,
            is_let_through,
            by_default,
            named,
        }
    }

    /// The classes of addresses at the node that any rule names, in order.
    fn near_classes(
        &self,
        direction: Direction,
        policies: &[(PolicyPosition, &'input Policy)],
        profiles: Option<&'input ProfileList>,
    ) -> BTreeSet<EndpointClassId> {
        let resolved = self.work.resolved;
        let of_policies = policies
            .iter()
            .map(|(_, policy)| (&policy.key, policy.rules(direction).map_or(0, <[_]>::len)));
        let profiles = profiles
            .into_iter()
            .flat_map(ProfileList::names)
            .filter_map(|name| resolved.policies.profiles.get(name));
        let of_profiles = profiles.map(|profile| (&profile.key, profile.rules(direction).len()));
        let mut named = BTreeSet::new();

        for (key, count) in of_policies.chain(of_profiles) {
            let first = self
                .firsts
                .get(&(key, direction))
                .copied()
                .unwrap_or(u32::MAX) as usize;
            for prepared in self.prepared.iter().skip(first).take(count) {
                let near = match direction {
                    Direction::Egress => prepared.source,
                    Direction::Ingress => prepared.destination,
                };
                let table = self
                    .relation
                    .sides
                    .table(near)
                    .map_or(&[][..], |table| &table.listed);
                named.extend(table.iter().map(|row| row.0));
            }
        }

        named
    }

    fn steps_of_list(
        &mut self,
        way: HostListStage,
        policies: &[(PolicyPosition, &'input Policy)],
        profiles: Option<&'input ProfileList>,
        near: LocalClass,
    ) -> Vec<ProfileStep> {
        let (mut steps, mut last) = (Vec::new(), None);
        for (place, policy) in policies {
            if let Some(before) = last
                .replace(place.tier)
                .filter(|before| *before != place.tier)
            {
                steps.extend(self.end_on_list(before, way.list()));
            }
            self.add_rules(
                &policy.key,
                policy.rules(near.direction).unwrap_or_default(),
                near,
                &mut steps,
            );
        }

        steps.extend(last.and_then(|tier| self.end_on_list(tier, way.list())));
        match (profiles, way) {
            (Some(profiles), _) => self.add_rules_of(profiles, near, &mut steps),
            (None, HostListStage::Passed(_)) => steps.push(ProfileStep::End { is_allowed: true }),
            (None, HostListStage::LetThrough(_)) => {
                steps.push(ProfileStep::End { is_allowed: false })
            }
        }

        steps
    }

    /// Before connections and before DNAT, every tier passes on (semantics §4.2).
    fn end_on_list(&self, tier: usize, list: PolicyListKind) -> Option<ProfileStep> {
        match list {
            PolicyListKind::Normal | PolicyListKind::Forward => self.end_of_tier(tier),
            PolicyListKind::Untracked | PolicyListKind::PreDnat => Some(ProfileStep::Tier {
                tier: number(tier),
                default: DefaultAction::Pass,
            }),
        }
    }
}
