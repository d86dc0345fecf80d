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

use crate::inventory::Profiles;
use crate::net::{Direction, Family};
use crate::packet_space::endpoint_class::ClassId;
use crate::packet_space::reachability::{Maker, Near, Relation, Step, ViewId, number};
use crate::policy::{DefaultAction, List, Policy};
use crate::resolve::{HostEndpointId, Place};

/// What becomes of packets at a list of host endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListWay {
    /// They are not denied.
    Passed(List),
    /// A rule allows them, so that no list behind is asked.
    LetThrough(List),
}

/// A list in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId(u32);

/// What a list says.
#[derive(Debug)]
pub struct HostList {
    /// Its policies, in the order of evaluation.
    pub policies: Vec<Place>,
    /// Whether there is a host endpoint at all; where there is none, all passes.
    pub has_host: bool,
    /// Whether it says what is let through, and not what passes.
    pub is_let_through: bool,
    /// The view of most addresses of the node, by family.
    by_default: [ViewId; 2],
    /// Those of the others, in order.
    named: Vec<(ClassId, ViewId)>,
}

/// What lists are one by.
type Key<'input> = (
    bool,
    (ListWay, Direction),
    Vec<Place>,
    Option<&'input Profiles>,
);

/// All lists.
#[derive(Debug, Default)]
pub(super) struct Lists<'input> {
    of_host: FxHashMap<(Option<HostEndpointId>, ListWay, Direction), ListId>,
    known: FxHashMap<Key<'input>, ListId>,
    all: Vec<HostList>,
}

impl ListWay {
    /// All of them with their directions.
    pub const ALL: [(ListWay, Direction); 10] = [
        (ListWay::Passed(List::Normal), Direction::Ingress),
        (ListWay::Passed(List::Normal), Direction::Egress),
        (ListWay::Passed(List::Forward), Direction::Ingress),
        (ListWay::Passed(List::Forward), Direction::Egress),
        (ListWay::Passed(List::Untracked), Direction::Ingress),
        (ListWay::Passed(List::Untracked), Direction::Egress),
        (ListWay::LetThrough(List::Untracked), Direction::Ingress),
        (ListWay::LetThrough(List::Untracked), Direction::Egress),
        (ListWay::Passed(List::PreDnat), Direction::Ingress),
        (ListWay::LetThrough(List::PreDnat), Direction::Ingress),
    ];

    /// The list.
    pub fn list(self) -> List {
        match self {
            ListWay::Passed(list) | ListWay::LetThrough(list) => list,
        }
    }
}

impl HostList {
    /// The view of a class of addresses at the node; none is any that no rule names.
    pub fn view(&self, near: Option<ClassId>, family: Family) -> ViewId {
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
    pub fn named(&self) -> impl Iterator<Item = ClassId> {
        self.named.iter().map(|row| row.0)
    }
}

impl Relation<'_> {
    /// The list of a host endpoint, or where there is none. Only of a relation [with
    /// hosts](Self::with_hosts).
    pub fn list_of(
        &self,
        host: Option<HostEndpointId>,
        way: ListWay,
        direction: Direction,
    ) -> Option<ListId> {
        self.hosts.of_host.get(&(host, way, direction)).copied()
    }

    /// A list.
    pub fn list(&self, id: ListId) -> Option<&HostList> {
        self.hosts.all.get(id.0 as usize)
    }
}

impl<'input> Maker<'_, 'input> {
    /// Makes the lists of all host endpoints, and those of none.
    pub(super) fn add_hosts(&mut self) {
        let resolved = self.work.resolved;
        let mut applied: FxHashMap<HostEndpointId, Vec<(Place, &'input Policy)>> =
            FxHashMap::default();
        for (tier_at, tier) in resolved.policies.tiers.iter().enumerate() {
            for (policy_at, policy) in tier.policies.iter().enumerate() {
                let place = Place {
                    tier: tier_at,
                    policy: policy_at,
                };
                let hosts = &resolved.members(policy.applies_to).host_endpoints;
                hosts
                    .iter()
                    .for_each(|host| applied.entry(*host).or_default().push((place, policy)));
            }
        }
        for (way, direction) in ListWay::ALL {
            self.add_list(None, (way, direction), &[]);
            for (id, _) in resolved.host_endpoints_with_ids() {
                self.add_list(
                    Some(id),
                    (way, direction),
                    applied.get(&id).map_or(&[], Vec::as_slice),
                );
            }
        }
    }

    fn add_list(
        &mut self,
        host: Option<HostEndpointId>,
        (way, direction): (ListWay, Direction),
        applied: &[(Place, &'input Policy)],
    ) {
        let resolved = self.work.resolved;
        let speaking = applied
            .iter()
            .filter(|(_, policy)| policy.is_on(way.list()) && policy.rules(direction).is_some());
        let policies: Vec<(Place, &'input Policy)> = speaking.copied().collect();
        let profiles = host
            .filter(|_| way.list() == List::Normal)
            .and_then(|id| resolved.host_endpoint(id))
            .map(|host| &host.profiles);
        let key: Key<'input> = (
            host.is_some(),
            (way, direction),
            policies.iter().map(|row| row.0).collect(),
            profiles,
        );
        let id = match self.relation.hosts.known.get(&key) {
            Some(known) => *known,
            None => {
                let list = self.list((way, direction), (&policies, profiles), host.is_some());
                let id = ListId(number(self.relation.hosts.all.len()));
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
        asked: (ListWay, Direction),
        (policies, profiles): (&[(Place, &'input Policy)], Option<&'input Profiles>),
        has_host: bool,
    ) -> HostList {
        let direction = asked.1;
        let steps = |maker: &mut Self, near: Near| {
            let steps = maker.steps_of_list(asked.0, (policies, profiles), near);
            ViewId(number(maker.relation.steps.insert_full(steps).0))
        };
        let by_default = Family::BOTH.map(|family| {
            steps(
                self,
                Near {
                    id: ClassId::NOWHERE,
                    family,
                    direction,
                },
            )
        });
        let mut named = Vec::new();
        for id in self.near_classes(direction, (policies, profiles)) {
            let Some(family) = self.work.places.class(id).map(|class| class.family) else {
                continue;
            };
            named.push((
                id,
                steps(
                    self,
                    Near {
                        id,
                        family,
                        direction,
                    },
                ),
            ));
        }
        let is_let_through = matches!(asked.0, ListWay::LetThrough(_));
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
        (policies, profiles): (&[(Place, &'input Policy)], Option<&'input Profiles>),
    ) -> BTreeSet<ClassId> {
        let resolved = self.work.resolved;
        let of_policies = policies
            .iter()
            .map(|(_, policy)| (&policy.key, policy.rules(direction).map_or(0, <[_]>::len)));
        let profiles = profiles
            .into_iter()
            .flat_map(Profiles::names)
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
        way: ListWay,
        (policies, profiles): (&[(Place, &'input Policy)], Option<&'input Profiles>),
        near: Near,
    ) -> Vec<Step> {
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
            (None, ListWay::Passed(_)) => steps.push(Step::End { is_allowed: true }),
            (None, ListWay::LetThrough(_)) => steps.push(Step::End { is_allowed: false }),
        }
        steps
    }

    /// Before connections and before DNAT, every tier passes on (reference §4.2).
    fn end_on_list(&self, tier: usize, list: List) -> Option<Step> {
        match list {
            List::Normal | List::Forward => self.end_of_tier(tier),
            List::Untracked | List::PreDnat => Some(Step::Tier {
                tier: number(tier),
                default: DefaultAction::Pass,
            }),
        }
    }
}
