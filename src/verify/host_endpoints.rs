//! Policy of a node's host endpoints, for sets of packets.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::inventory::{NodeId, ProfileList, ProfileName, profile_name};
use crate::net::{Cidr, Direction, Family, Side};
use crate::packet_space::{
    EndpointClassId, HeaderSetId, HeaderSpace, PeerTable, SideContext, SideId,
};
use crate::policy::{Action, DefaultAction, HostEndpoint, PolicyListKind, Rule};
use crate::resolve::{HostEndpointId, HostsOnNode, ResolvedPolicy};
use crate::verify::crossing::Crossing;

/// The host endpoints of a node, with the rules of their lists.
#[derive(Debug)]
pub(super) struct NodeHostEndpoints<'input> {
    on_node: HostsOnNode,
    known: BTreeMap<HostEndpointId, &'input HostEndpoint>,
    sides: PeerTable<'input>,
    lists: BTreeMap<HostListQuery, Vec<HostListStep<'input>>>,
    /// Results so far, by list and the classes of both addresses.
    said: RefCell<BTreeMap<(HostListQuery, EndpointClassId, EndpointClassId), HostListVerdict>>,
}

/// A list of a host endpoint.
pub(super) type HostListQuery = (HostEndpointId, PolicyListKind, Direction);

/// The result of a list. Packets in neither set are undecided.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostListVerdict {
    pub(super) allowed: HeaderSetId,
    pub(super) denied: HeaderSetId,
}

/// A step in the evaluation of a list.
#[derive(Debug)]
enum HostListStep<'input> {
    Rule {
        rule: &'input Rule,
        source: SideId,
        destination: SideId,
        traffic: HeaderSetId,
    },
    /// The end of a tier or profile. Undecided packets are denied, or continue with the packets
    /// that were passed.
    End { denies: bool },
    /// Profiles that allow everything.
    Allow,
}

impl<'input> NodeHostEndpoints<'input> {
    pub(super) fn new(node: NodeId, work: &mut SideContext<'_, 'input>) -> Self {
        let resolved = work.resolved;
        let on_node = resolved.hosts_on(node);
        let known = on_node
            .all()
            .filter_map(|id| Some((id, resolved.host_endpoint(id)?)))
            .collect();
        let mut hosts = Self {
            on_node,
            known,
            sides: PeerTable::default(),
            lists: BTreeMap::new(),
            said: RefCell::default(),
        };
        let ids: Vec<HostEndpointId> = hosts.on_node.all().collect();
        let lists = [
            PolicyListKind::Normal,
            PolicyListKind::Forward,
            PolicyListKind::Untracked,
            PolicyListKind::PreDnat,
        ];

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

    /// Returns `true` if the node has no host endpoints.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns all host endpoints of the node.
    pub(super) fn all(&self) -> impl Iterator<Item = &'input HostEndpoint> {
        self.known.values().copied()
    }

    /// Returns the interfaces that have a host endpoint of their own.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.on_node.interfaces.keys().map(String::as_str)
    }

    /// Returns `true` if a host endpoint has policy on a list in a direction.
    pub(super) fn has(
        &self,
        host: HostEndpointId,
        list: PolicyListKind,
        direction: Direction,
    ) -> bool {
        self.lists.contains_key(&(host, list, direction))
    }

    /// Returns `true` if any host endpoint has policy on a list.
    pub(super) fn have(&self, wanted: PolicyListKind) -> bool {
        self.lists.keys().any(|(_, list, _)| *list == wanted)
    }

    /// Returns the host endpoint that packets meet at an interface.
    pub(super) fn matching_host_endpoint(
        &self,
        interface: &str,
        direction: Direction,
        between: &Crossing<'_>,
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

    /// Returns the result of a list for all packets between two locations.
    pub(super) fn ask(
        &self,
        asked: HostListQuery,
        between: &Crossing<'_>,
        traffic: &mut HeaderSpace,
    ) -> HostListVerdict {
        let known = (asked, between.source.class, between.destination.class);
        if let Some(said) = self.said.borrow().get(&known) {
            return *said;
        }
        let said = self.listed(asked, between, traffic);
        self.said.borrow_mut().insert(known, said);
        said
    }

    fn listed(
        &self,
        asked: HostListQuery,
        between: &Crossing<'_>,
        traffic: &mut HeaderSpace,
    ) -> HostListVerdict {
        let mut said = HostListVerdict {
            allowed: HeaderSpace::NONE,
            denied: HeaderSpace::NONE,
        };
        let (mut open, mut passed) = (HeaderSpace::ALL, HeaderSpace::NONE);

        for step in self.lists.get(&asked).map_or(&[][..], Vec::as_slice) {
            let (fate, taken) = match step {
                HostListStep::Rule { rule, .. } if rule.action == Action::Log => continue,
                HostListStep::Rule {
                    rule,
                    source,
                    destination,
                    traffic: own,
                } => {
                    let hit = self.matching(rule, *own, *source, *destination, between, traffic);
                    let fate = match rule.action {
                        Action::Allow => &mut said.allowed,
                        Action::Deny => &mut said.denied,
                        Action::Pass | Action::Log => &mut passed,
                    };
                    (fate, traffic.and(open, hit))
                }
                HostListStep::End { denies: true } => (&mut said.denied, open),
                HostListStep::End { denies: false } => (&mut passed, open),
                HostListStep::Allow => (&mut said.allowed, open),
            };
            *fate = traffic.or(*fate, taken);
            open = traffic.less(open, taken);
            if let HostListStep::End { .. } = step {
                open = std::mem::replace(&mut passed, HeaderSpace::NONE);
            }
        }

        said
    }

    /// Appends the traffic that each side of each rule matches at a class of addresses.
    pub(super) fn at(&self, class: EndpointClassId, said: &mut Vec<HeaderSetId>) {
        for step in self.lists.values().flatten() {
            if let HostListStep::Rule {
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
        rule: &Rule,
        own: HeaderSetId,
        source: SideId,
        destination: SideId,
        between: &Crossing<'_>,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        let family = if between.source.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        if !rule.applies_to(family) {
            return HeaderSpace::NONE;
        }

        let at = |side, class| {
            self.sides
                .table(side)
                .map_or(HeaderSpace::NONE, |table| table.at(class))
        };

        let sides = traffic.and(
            at(source, between.source.class),
            at(destination, between.destination.class),
        );
        traffic.and(own, sides)
    }

    /// Returns the steps of a list, or `None` if the list has no policy. The normal list always has
    /// steps, because it denies by default.
    fn steps(
        &mut self,
        (id, list, direction): HostListQuery,
        work: &mut SideContext<'_, 'input>,
    ) -> Option<Vec<HostListStep<'input>>> {
        let listed = work.resolved.listed(id, list, direction);
        if listed.is_empty() && list != PolicyListKind::Normal {
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
                && matches!(list, PolicyListKind::Normal | PolicyListKind::Forward);
            steps.push(HostListStep::End { denies });
        }

        if let (PolicyListKind::Normal, Some(host)) = (list, work.resolved.host_endpoint(id)) {
            self.profiles(&host.profiles, direction, &mut steps, work);
        }

        Some(steps)
    }

    fn profiles(
        &mut self,
        profiles: &ProfileList,
        direction: Direction,
        steps: &mut Vec<HostListStep<'input>>,
        work: &mut SideContext<'_, 'input>,
    ) {
        if *profiles == ProfileList::OfPod {
            return steps.push(HostListStep::Allow);
        }

        for name in profiles.names() {
            let profile = match profile_name(name) {
                ProfileName::ServiceAccount(..) => continue,
                ProfileName::Namespace(_) | ProfileName::AllowAll => {
                    return steps.push(HostListStep::Allow);
                }
                ProfileName::Named(name) => work.resolved.policies.profiles.get(name),
            };
            let Some(profile) = profile else { break };
            self.rules(profile.rules(direction), steps, work);
            steps.push(HostListStep::End { denies: false });
        }

        steps.push(HostListStep::End { denies: true });
    }

    fn rules(
        &mut self,
        rules: &'input [Rule],
        steps: &mut Vec<HostListStep<'input>>,
        work: &mut SideContext<'_, 'input>,
    ) {
        for rule in rules {
            let source = self
                .sides
                .add(Side::Source, &rule.source, rule.protocol, work);
            let destination =
                self.sides
                    .add(Side::Destination, &rule.destination, rule.protocol, work);
            let traffic = work.traffic.of_rule(rule.protocol, rule.icmp);
            steps.push(HostListStep::Rule {
                rule,
                source,
                destination,
                traffic,
            });
        }
    }
}

/// Returns the prefix lists that matter where packets meet host endpoints.
pub(super) fn prefixes(resolved: &ResolvedPolicy<'_>, node: NodeId) -> Vec<Vec<Cidr>> {
    let hosts = resolved.hosts_on(node);
    let known = hosts.all().filter_map(|id| resolved.host_endpoint(id));
    known
        .map(|host| host.addresses.iter().copied().map(Cidr::host).collect())
        .collect()
}
