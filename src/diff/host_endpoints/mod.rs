//! Compares the lists of host endpoints of both states.
//!
//! Host endpoints are compared by where packets meet them, not by name: for each interface, the
//! lists of the host endpoints there in both states, without the traffic that bypasses them
//! (failsafe ports, neighbour messages). If all lists of both states are equal, the same traffic
//! passes. The node's own address belongs to no endpoint. Normal policy does not apply to endpoints
//! of the node itself. A difference that concerns only them is left out. A difference that concerns
//! others too keeps them, so that nodes with the same policy stay in one group.
//!
//! Cost: equal lists are compared once; each comparison costs one row for each profile, and the
//! classes for which it differs.

mod exempt;
mod meetings;

pub(super) use exempt::BypassTraffic;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::diff::causes::{LocalSide, PolicySpeaker};
use crate::diff::cells::{CellId, DiffCellTable};
use crate::diff::changes::{
    self, BlockBuilder, BlockSides, ChangeBuilder, ChangeKey, ConnectionChange, HostEndpointEnd,
    WitnessEnd,
};
use crate::diff::matched_peers::{self, JointClass};
use crate::diff::{DecidedState, DiffState, MatchedIdentity, MatchedPeer, OldNew, PeerId};
use crate::net::{Direction, Family};
use crate::packet_space::{
    HeaderSetId, HeaderSpace, HostList, HostListId, HostListStage, PolicyProfileId,
};
use crate::policy::{HostEndpoint, PolicyListKind};
use crate::resolve::HostEndpointId;

use meetings::HostCrossing;

/// A list in both states, and the joint class of the node's address if the comparison is limited to
/// it.
type ListQuery = (
    (HostListStage, Direction),
    OldNew<HostListId>,
    Option<usize>,
);

/// A difference of a list, and the classes at the other end.
#[derive(Debug)]
struct ListDifference {
    key: ChangeKey,
    family: Family,
    /// The joint classes of the node's addresses to which the difference is limited; `None` if
    /// there is no limit.
    near: Option<Vec<usize>>,
    /// The joint classes at the other end, in order.
    far: Rc<Vec<usize>>,
}

/// Host endpoints with the same difference.
#[derive(Debug)]
struct AlikeHosts {
    /// The host endpoints, by the classes at the other end.
    hosts: BTreeMap<(Rc<Vec<usize>>, Family), BTreeSet<PeerId>>,
    seat: WitnessLocation,
}

/// Where the witness of a difference is.
#[derive(Debug, Clone)]
struct WitnessLocation {
    hosts: OldNew<Option<HostEndpointId>>,
    node: String,
    family: Family,
    near: Option<Vec<usize>>,
    far: usize,
}

/// The comparison of all host endpoints.
struct HostEndpointComparer<'run, 'work, 'input> {
    cells: &'run mut DiffCellTable<'work, 'input>,
    exempt: BypassTraffic<'run>,
    traffic: &'run mut HeaderSpace,
    counted: HeaderSetId,
    known: FxHashMap<ListQuery, Rc<Vec<ListDifference>>>,
    peers: IndexSet<(&'input str, &'input str), FxBuildHasher>,
    alike: IndexMap<(ChangeKey, HostEndpointEnd), AlikeHosts, FxBuildHasher>,
}

/// Returns all changes at host endpoints, and the host endpoints as peers. Their ids follow those
/// of all other peers.
pub(super) fn all<'input>(
    cells: &mut DiffCellTable<'_, 'input>,
    exempt: BypassTraffic<'_>,
    traffic: &mut HeaderSpace,
) -> (Vec<ConnectionChange<'input>>, Vec<MatchedPeer<'input>>) {
    let (both, joint) = (cells.both, cells.joint);
    let counted = traffic.listed();
    let (known, peers, alike) = (
        FxHashMap::default(),
        IndexSet::default(),
        IndexMap::default(),
    );
    let mut comparer = HostEndpointComparer {
        cells,
        exempt,
        traffic,
        counted,
        known,
        peers,
        alike,
    };

    for node in meetings::nodes(both) {
        for meeting in meetings::of_node(both, joint, node) {
            HostListStage::ALL
                .into_iter()
                .for_each(|asked| comparer.compare(node, meeting, asked.0, asked.1));
        }
    }

    let teller = ChangeBuilder {
        both,
        joint,
        deciders: &comparer.cells.deciders,
    };
    let changes = comparer
        .alike
        .iter()
        .filter_map(|((key, at), alike)| change(&teller, key, at, alike, comparer.traffic))
        .collect();

    let peer = |(node, name): &(&'input str, &'input str)| MatchedPeer {
        identity: MatchedIdentity::Host { node, name },
        endpoints: Default::default(),
    };
    (changes, comparer.peers.iter().map(peer).collect())
}

impl<'input> HostEndpointComparer<'_, '_, 'input> {
    fn compare(
        &mut self,
        node: &str,
        meeting: HostCrossing,
        way: HostListStage,
        direction: Direction,
    ) {
        let list =
            |known: DecidedState<'_, '_>, host| known.space.relation.list_of(host, way, direction);
        let both = self.cells.both;
        let (Some(old), Some(new)) = (
            list(both.old, meeting.hosts.old),
            list(both.new, meeting.hosts.new),
        ) else {
            return;
        };

        let asked = ((way, direction), OldNew { old, new }, meeting.near);
        let found = match self.known.get(&asked) {
            Some(known) => Rc::clone(known),
            None => {
                let found = Rc::new(self.find(asked));
                self.known.insert(asked, Rc::clone(&found));
                found
            }
        };
        // normal policy does not apply to traffic with the node's own endpoints
        let is_for_others = way.list() == PolicyListKind::Normal;

        for found in found.iter() {
            let is_met = |far: &usize| !is_for_others || !self.is_all_on(*far, node);
            if let Some(far) = found.far.iter().copied().find(is_met) {
                self.add((node, meeting.hosts), (way, direction), found, far);
            }
        }
    }

    /// Returns `true` if all locations of a class are on a node in both states.
    fn is_all_on(&self, class: usize, node: &str) -> bool {
        let here = |class: &JointClass| {
            matched_peers::nodes(self.cells.both, &class.example) == [Some(node), Some(node)]
                && class.elsewhere.is_none()
        };
        self.cells.joint.classes.get(class).is_some_and(here)
    }

    fn add(
        &mut self,
        at: (&str, OldNew<Option<HostEndpointId>>),
        asked: (HostListStage, Direction),
        found: &ListDifference,
        far: usize,
    ) {
        let (node, hosts) = at;
        let Some(host) = host(self.cells.both, hosts) else {
            return;
        };

        let peer = PeerId::at(
            self.cells.joint.peers.len()
                + self
                    .peers
                    .insert_full((host.node.as_str(), host.name.as_str()))
                    .0,
        );
        let teller = ChangeBuilder {
            both: self.cells.both,
            joint: self.cells.joint,
            deciders: &self.cells.deciders,
        };
        let near = found
            .near
            .as_ref()
            .map_or_else(Vec::new, |near| teller.peers(near));
        let key = (
            found.key.clone(),
            HostEndpointEnd {
                way: asked.0,
                direction: asked.1,
                near,
            },
        );
        let (family, near) = (found.family, found.near.clone());
        let seat = || WitnessLocation {
            hosts,
            node: node.to_owned(),
            family,
            near,
            far,
        };

        let alike = self.alike.entry(key).or_insert_with(|| AlikeHosts {
            hosts: BTreeMap::new(),
            seat: seat(),
        });
        alike
            .hosts
            .entry((Rc::clone(&found.far), family))
            .or_default()
            .insert(peer);
    }

    /// Returns the differences of a list.
    fn find(&mut self, (asked, lists, near): ListQuery) -> Vec<ListDifference> {
        let relations =
            [self.cells.both.old, self.cells.both.new].map(|known| &known.space.relation);
        let [old, new] = relations;
        let (Some(old), Some(new)) = (old.list(lists.old), new.list(lists.new)) else {
            return Vec::new();
        };

        let mut found = Vec::new();
        for family in Family::BOTH {
            let views = self.views(old, new, family, asked.0.list(), near);
            let mut alike: BTreeMap<(ChangeKey, Vec<usize>), Vec<usize>> = BTreeMap::new();
            let all: usize = views.values().map(Vec::len).sum();
            for (views, members) in views {
                let differing = self.differing(views.0, views.1, lists, asked, family);
                differing
                    .into_iter()
                    .for_each(|found| alike.entry(found).or_default().extend(&members));
            }
            for ((key, far), mut members) in alike {
                members.sort_unstable();
                let near = (members.len() < all || near.is_some()).then_some(members);
                found.push(ListDifference {
                    key,
                    family,
                    near,
                    far: Rc::new(far),
                });
            }
        }

        found
    }

    /// Returns the profiles for the node's possible addresses, each with the joint classes of those
    /// addresses.
    fn views(
        &self,
        old: &HostList,
        new: &HostList,
        family: Family,
        list: PolicyListKind,
        near: Option<usize>,
    ) -> BTreeMap<(PolicyProfileId, PolicyProfileId), Vec<usize>> {
        let mut views: BTreeMap<(PolicyProfileId, PolicyProfileId), Vec<usize>> = BTreeMap::new();
        for (index, class) in self.cells.joint.classes.iter().enumerate() {
            let is_outside = class.example.new.endpoint.is_none();
            let is_here = class.family == family
                && near.is_none_or(|near| near == index)
                && (is_outside || list != PolicyListKind::Normal);
            if is_here {
                let key = (
                    old.view(Some(class.classes.old), family),
                    new.view(Some(class.classes.new), family),
                );
                views.entry(key).or_default().push(index);
            }
        }

        views
    }

    /// Returns the differences between two profiles, each with the joint classes at the other end.
    fn differing(
        &mut self,
        old: PolicyProfileId,
        new: PolicyProfileId,
        lists: OldNew<HostListId>,
        asked: (HostListStage, Direction),
        family: Family,
    ) -> BTreeMap<ChangeKey, Vec<usize>> {
        let near = OldNew {
            old: LocalSide {
                view: old,
                speaker: PolicySpeaker::List(lists.old),
            },
            new: LocalSide {
                view: new,
                speaker: PolicySpeaker::List(lists.new),
            },
        };
        let mut found: BTreeMap<ChangeKey, Vec<usize>> = BTreeMap::new();

        // equal lists differ only where failsafe prefixes make addresses bypass them
        if !self.exempt.has_prefixes() && !self.cells.is_touched(OldNew { old, new }) {
            return found;
        }

        let row = self.cells.row(near, asked.1, self.traffic);
        let mut known: FxHashMap<(CellId, OldNew<HeaderSetId>), Option<ChangeKey>> =
            FxHashMap::default();

        let joint = self.cells.joint;
        for (index, class) in joint
            .classes
            .iter()
            .enumerate()
            .filter(|(_, class)| class.family == family)
        {
            let exempt = OldNew {
                old: self.exempt.passing(
                    asked.0,
                    asked.1,
                    family,
                    class.example.old.address,
                    self.traffic,
                ),
                new: self.exempt.passing(
                    asked.0,
                    asked.1,
                    family,
                    class.example.new.address,
                    self.traffic,
                ),
            };
            let cell = row.at(index);
            let key = known
                .entry((cell, exempt))
                .or_insert_with(|| self.key(asked.0, cell, exempt));
            key.iter()
                .for_each(|key| found.entry(key.clone()).or_default().push(index));
        }

        found
    }

    fn key(
        &mut self,
        way: HostListStage,
        cell: CellId,
        exempt: OldNew<HeaderSetId>,
    ) -> Option<ChangeKey> {
        let cell = self.cells.get(cell)?;
        let mut asked = |seen, exempt| match way {
            HostListStage::Passed(_) => self.traffic.or(seen, exempt),
            HostListStage::LetThrough(_) => self.traffic.less(seen, exempt),
        };
        let (before, after) = (
            asked(cell.seen.old, exempt.old),
            asked(cell.seen.new, exempt.new),
        );
        let [before, after] = [before, after].map(|all| self.traffic.and(all, self.counted));

        let parts = changes::parts(before, after, &[&cell.turned], self.traffic);
        (before != after).then_some((before, after, parts))
    }
}

/// Returns the host endpoint to display: that of the new state, else that of the old state.
fn host<'input>(
    both: OldNew<DecidedState<'_, 'input>>,
    hosts: OldNew<Option<HostEndpointId>>,
) -> Option<&'input HostEndpoint> {
    let [then, now] = [(both.old, hosts.old), (both.new, hosts.new)]
        .map(|(known, id)| known.resolved.host_endpoint(id?));
    now.or(then)
}

fn change<'input>(
    teller: &ChangeBuilder<'_, 'input>,
    key: &ChangeKey,
    at: &HostEndpointEnd,
    alike: &AlikeHosts,
    traffic: &mut HeaderSpace,
) -> Option<ConnectionChange<'input>> {
    let mut blocks = BlockBuilder::default();
    for ((far, family), hosts) in &alike.hosts {
        let hosts = BlockSides {
            endpoints: hosts.iter().copied().collect(),
            outside: Vec::new(),
        };
        match at.direction {
            Direction::Ingress => blocks.add(teller.sides(far), hosts, *family),
            Direction::Egress => blocks.add(hosts, teller.sides(far), *family),
        }
    }

    let seat = &alike.seat;
    let is_normal = at.way.list() == PolicyListKind::Normal;
    let ends = |state: DiffState| {
        let far = far_end(teller, seat, state, is_normal);
        let near = WitnessEnd {
            endpoint: None,
            host: host(teller.both, seat.hosts),
            address: near_address(teller, seat),
        };
        match at.direction {
            Direction::Ingress => (seat.family, far, near),
            Direction::Egress => (seat.family, near, far),
        }
    };
    let change = teller.change(key, ends, blocks.finish(), traffic)?;

    Some(ConnectionChange {
        host: Some(at.clone()),
        ..change
    })
}

/// Returns the other end of a witness. For the normal list, it is not on the node itself.
fn far_end<'input>(
    teller: &ChangeBuilder<'_, 'input>,
    seat: &WitnessLocation,
    state: DiffState,
    is_normal: bool,
) -> WitnessEnd<'input> {
    let Some(class) = teller.joint.classes.get(seat.far) else {
        return WitnessEnd {
            endpoint: None,
            host: None,
            address: None,
        };
    };

    let is_here = is_normal
        && matched_peers::nodes(teller.both, &class.example).contains(&Some(seat.node.as_str()));
    let spot = class.elsewhere.filter(|_| is_here).unwrap_or(class.example);
    teller.end(spot, state)
}

/// Returns an address of the node, if possible one of its own. Returns `None` if any address is
/// possible and none is known.
fn near_address(teller: &ChangeBuilder<'_, '_>, seat: &WitnessLocation) -> Option<IpAddr> {
    let of_host = host(teller.both, seat.hosts)
        .into_iter()
        .flat_map(|host| host.addresses.iter().copied());
    let inventory = teller.both.new.resolved.inventory;
    let of_node = inventory
        .find_node(&seat.node)
        .into_iter()
        .flat_map(|node| inventory.node(node).addresses.iter().copied());
    let is_near = |index: usize| seat.near.as_ref().is_none_or(|near| near.contains(&index));

    let fits = |address: &IpAddr| {
        let family = if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        family == seat.family && teller.joint.at(teller.both, *address).is_some_and(is_near)
    };

    let only = || {
        seat.near
            .iter()
            .flatten()
            .find_map(|index| teller.joint.classes.get(*index)?.example.new.address)
    };
    of_host.chain(of_node).find(fits).or_else(only)
}
