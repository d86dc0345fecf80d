//! Policy of a node's host endpoints, for sets of packets.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::inventory::{NodeId, ProfileName, Profiles, profile_name};
use crate::net::{Cidr, Direction, Family, Side};
use crate::packet_space::{ClassId, SideId, Sides, Traffic, TrafficId, Workshop};
use crate::policy::{Action, DefaultAction, HostEndpoint, List, Rule};
use crate::resolve::{HostEndpointId, HostsOnNode, Resolved};
use crate::verify::crossing::Between;

/// The host endpoints of a node with what their lists say.
#[derive(Debug)]
pub(super) struct Hosts<'input> {
    on_node: HostsOnNode,
    known: BTreeMap<HostEndpointId, &'input HostEndpoint>,
    sides: Sides<'input>,
    lists: BTreeMap<Asked, Vec<Step<'input>>>,
    /// What was asked before, between two classes of addresses.
    said: RefCell<BTreeMap<(Asked, ClassId, ClassId), Said>>,
}

/// A list of a host endpoint.
pub(super) type Asked = (HostEndpointId, List, Direction);

/// What a list says; of the rest it says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) allowed: TrafficId,
    pub(super) denied: TrafficId,
}

/// A step on the way through a list.
#[derive(Debug)]
enum Step<'input> {
    Rule {
        rule: &'input Rule,
        source: SideId,
        destination: SideId,
        traffic: TrafficId,
    },
    /// The end of a tier or profile; what is left is denied, or goes on with what was passed.
    End { denies: bool },
    /// Profiles that allow everything.
    Allow,
}

impl<'input> Hosts<'input> {
    pub(super) fn of(node: NodeId, work: &mut Workshop<'_, 'input>) -> Self {
        let resolved = work.resolved;
        let on_node = resolved.hosts_on(node);
        let known = on_node
            .all()
            .filter_map(|id| Some((id, resolved.host_endpoint(id)?)))
            .collect();
        let mut hosts = Self {
            on_node,
            known,
            sides: Sides::default(),
            lists: BTreeMap::new(),
            said: RefCell::default(),
        };
        let ids: Vec<HostEndpointId> = hosts.on_node.all().collect();
        let lists = [List::Normal, List::Forward, List::Untracked, List::PreDnat];
        let asked = |id| {
            lists
                .into_iter()
                .flat_map(move |list| Direction::BOTH.map(|direction| (id, list, direction)))
        };
        for asked in ids.into_iter().flat_map(asked) {
            let steps = hosts.steps(asked, work);
            hosts.lists.extend(steps.map(|steps| (asked, steps)));
        }
        hosts
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &'input HostEndpoint> {
        self.known.values().copied()
    }

    /// The interfaces that have one of their own.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.on_node.interfaces.keys().map(String::as_str)
    }

    /// Whether one has policy on a list.
    pub(super) fn has(&self, host: HostEndpointId, list: List, direction: Direction) -> bool {
        self.lists.contains_key(&(host, list, direction))
    }

    /// Whether any has policy on a list.
    pub(super) fn have(&self, wanted: List) -> bool {
        self.lists.keys().any(|(_, list, _)| *list == wanted)
    }

    /// The one that packets meet at an interface.
    pub(super) fn met(
        &self,
        interface: &str,
        direction: Direction,
        between: &Between<'_>,
    ) -> Option<HostEndpointId> {
        let near = match direction {
            Direction::Ingress => between.destination,
            Direction::Egress => between.source,
        };
        let has = |id: &HostEndpointId| {
            self.known
                .get(id)
                .is_some_and(|host| host.addresses.contains(&near.address))
        };
        let named = self.on_node.interfaces.get(interface).copied();
        let by_address = || self.on_node.addresses.iter().copied().find(has);
        named.or_else(by_address).or(self.on_node.everywhere)
    }

    /// What a list says of all packets between two places.
    pub(super) fn ask(&self, asked: Asked, between: &Between<'_>, traffic: &mut Traffic) -> Said {
        let known = (asked, between.source.class, between.destination.class);
        if let Some(said) = self.said.borrow().get(&known) {
            return *said;
        }
        let said = self.listed(asked, between, traffic);
        self.said.borrow_mut().insert(known, said);
        said
    }

    fn listed(&self, asked: Asked, between: &Between<'_>, traffic: &mut Traffic) -> Said {
        let mut said = Said {
            allowed: Traffic::NONE,
            denied: Traffic::NONE,
        };
        let (mut open, mut passed) = (Traffic::ALL, Traffic::NONE);
        for step in self.lists.get(&asked).map_or(&[][..], Vec::as_slice) {
            let (fate, taken) = match step {
                Step::Rule { rule, .. } if rule.action == Action::Log => continue,
                Step::Rule {
                    rule,
                    source,
                    destination,
                    traffic: own,
                } => {
                    let hit =
                        self.matching((rule, *own), (*source, *destination), between, traffic);
                    let fate = match rule.action {
                        Action::Allow => &mut said.allowed,
                        Action::Deny => &mut said.denied,
                        Action::Pass | Action::Log => &mut passed,
                    };
                    (fate, traffic.and(open, hit))
                }
                Step::End { denies: true } => (&mut said.denied, open),
                Step::End { denies: false } => (&mut passed, open),
                Step::Allow => (&mut said.allowed, open),
            };
            *fate = traffic.or(*fate, taken);
            open = traffic.less(open, taken);
            if let Step::End { .. } = step {
                open = std::mem::replace(&mut passed, Traffic::NONE);
            }
        }
        said
    }

    /// What all sides of rules let through at a class of addresses.
    pub(super) fn at(&self, class: ClassId, said: &mut Vec<TrafficId>) {
        for step in self.lists.values().flatten() {
            if let Step::Rule {
                source,
                destination,
                ..
            } = step
            {
                let tables = [source, destination]
                    .into_iter()
                    .filter_map(|side| self.sides.table(*side));
                said.extend(tables.map(|table| table.at(class)));
            }
        }
    }

    fn matching(
        &self,
        (rule, own): (&Rule, TrafficId),
        (source, destination): (SideId, SideId),
        between: &Between<'_>,
        traffic: &mut Traffic,
    ) -> TrafficId {
        let family = if between.source.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        if !rule.applies_to(family) {
            return Traffic::NONE;
        }
        let at = |side, class| {
            self.sides
                .table(side)
                .map_or(Traffic::NONE, |table| table.at(class))
        };
        let sides = traffic.and(
            at(source, between.source.class),
            at(destination, between.destination.class),
        );
        traffic.and(own, sides)
    }

    /// The steps of a list; none where no policy is on it. The normal one denies what it has no
    /// policy for.
    fn steps(
        &mut self,
        (id, list, direction): Asked,
        work: &mut Workshop<'_, 'input>,
    ) -> Option<Vec<Step<'input>>> {
        let listed = work.resolved.listed(id, list, direction);
        if listed.is_empty() && list != List::Normal {
            return None;
        }
        let mut steps = Vec::new();
        for tier in listed {
            for policy in tier.policies {
                self.rules(
                    policy.rules(direction).unwrap_or_default(),
                    &mut steps,
                    work,
                );
            }
            let denies = tier.tier.default_action == DefaultAction::Deny
                && matches!(list, List::Normal | List::Forward);
            steps.push(Step::End { denies });
        }
        if let (List::Normal, Some(host)) = (list, work.resolved.host_endpoint(id)) {
            self.profiles(&host.profiles, direction, &mut steps, work);
        }
        Some(steps)
    }

    fn profiles(
        &mut self,
        profiles: &Profiles,
        direction: Direction,
        steps: &mut Vec<Step<'input>>,
        work: &mut Workshop<'_, 'input>,
    ) {
        if *profiles == Profiles::OfPod {
            return steps.push(Step::Allow);
        }
        for name in profiles.names() {
            let profile = match profile_name(name) {
                ProfileName::ServiceAccount(..) => continue,
                ProfileName::Namespace(_) | ProfileName::AllowAll => {
                    return steps.push(Step::Allow);
                }
                ProfileName::Named(name) => work.resolved.policies.profiles.get(name),
            };
            let Some(profile) = profile else { break };
            self.rules(profile.rules(direction), steps, work);
            steps.push(Step::End { denies: false });
        }
        steps.push(Step::End { denies: true });
    }

    fn rules(
        &mut self,
        rules: &'input [Rule],
        steps: &mut Vec<Step<'input>>,
        work: &mut Workshop<'_, 'input>,
    ) {
        for rule in rules {
            let source = self
                .sides
                .add(Side::Source, &rule.source, rule.protocol, work);
            let destination =
                self.sides
                    .add(Side::Destination, &rule.destination, rule.protocol, work);
            let traffic = work.traffic.of_rule(rule.protocol, rule.icmp);
            steps.push(Step::Rule {
                rule,
                source,
                destination,
                traffic,
            });
        }
    }
}

/// Lists of addresses that matter where packets meet host endpoints.
pub(super) fn prefixes(resolved: &Resolved<'_>, node: NodeId) -> Vec<Vec<Cidr>> {
    let hosts = resolved.hosts_on(node);
    let known = hosts.all().filter_map(|id| resolved.host_endpoint(id));
    known
        .map(|host| host.addresses.iter().copied().map(Cidr::host).collect())
        .collect()
}
