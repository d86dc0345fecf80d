//! The lists of host endpoints, as policy profiles.
//!
//! At each list, packets either pass or do not pass. The untracked and pre-DNAT lists are
//! represented twice, because what they allow explicitly skips later lists. The local side of a
//! rule is the node: a list has one profile for most addresses of the node, and separate profiles
//! for those that its rules name.
//!
//! Cost: lists with the same policies and profiles share one entry; each entry costs its policy
//! profiles.

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

/// What a list of host endpoints is evaluated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostListStage {
    /// The packets that the list does not deny.
    Passed(PolicyListKind),
    /// The packets that a rule of the list allows, which skip later lists.
    LetThrough(PolicyListKind),
}

/// The id of a host endpoint list in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostListId(u32);

/// One list of host endpoints in one direction.
#[derive(Debug)]
pub struct HostList {
    /// The policies, in the order of evaluation.
    pub policies: Vec<PolicyPosition>,
    /// `false` if this represents the absence of a host endpoint, where everything passes.
    pub has_host: bool,
    /// `true` for [`HostListStage::LetThrough`].
    pub is_let_through: bool,
    /// The profiles of the node addresses that no rule names, by family.
    by_default: [PolicyProfileId; 2],
    /// The profiles of the other node addresses, in order.
    named: Vec<(EndpointClassId, PolicyProfileId)>,
}

/// The properties by which lists share an entry.
type HostListKey<'input> = (
    bool,
    (HostListStage, Direction),
    Vec<PolicyPosition>,
    Option<&'input ProfileList>,
);

/// All lists of host endpoints.
#[derive(Debug, Default)]
pub(super) struct HostLists<'input> {
    of_host: FxHashMap<(Option<HostEndpointId>, HostListStage, Direction), HostListId>,
    known: FxHashMap<HostListKey<'input>, HostListId>,
    all: Vec<HostList>,
}

impl HostListStage {
    /// All stages with their directions.
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

    /// Returns the list of this stage.
    pub fn list(self) -> PolicyListKind {
        match self {
            HostListStage::Passed(list) | HostListStage::LetThrough(list) => list,
        }
    }
}

impl HostList {
    /// Returns the profile for a class of addresses of the node. `None` means an address that no
    /// rule names.
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

    /// Returns the classes of addresses of the node that have a profile of their own, in order.
    pub fn named(&self) -> impl Iterator<Item = EndpointClassId> {
        self.named.iter().map(|row| row.0)
    }
}

impl ReachabilityMatrix<'_> {
    /// Returns the list of a host endpoint, or the list for `None`, where there is no host
    /// endpoint. Returns `None` unless the matrix was built [with hosts](Self::with_hosts).
    pub fn list_of(
        &self,
        host: Option<HostEndpointId>,
        way: HostListStage,
        direction: Direction,
    ) -> Option<HostListId> {
        self.hosts.of_host.get(&(host, way, direction)).copied()
    }

    /// Returns a list by its id.
    pub fn list(&self, id: HostListId) -> Option<&HostList> {
        self.hosts.all.get(id.0 as usize)
    }
}

impl<'input> RelationBuilder<'_, 'input> {
    /// Adds the lists of all host endpoints, and those for no host endpoint.
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

    /// Returns the classes of addresses of the node that any rule names, in order.
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

    /// Returns the step at the end of a tier. On the untracked and pre-DNAT lists, every tier
    /// passes (semantics §4.2).
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
