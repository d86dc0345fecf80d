//! Endpoints that are in one state only, and their allowed traffic there.
//!
//! Cost: for each distinct set of classes, the peers that it may reach; see [`ReachabilityRows`].

use std::collections::BTreeMap;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::diff::matched_peers::MatchedPeers;
use crate::diff::{DecidedState, DiffState, PeerId};
use crate::net::Direction;
use crate::packet_space::{EndpointClassId, HeaderSetId, HeaderSpace, ReachabilityRows};

/// Endpoints that are in one state only and have the same allowed traffic there.
#[derive(Debug, Clone)]
pub struct UnmatchedPeers {
    /// The endpoints, in order.
    pub peers: Vec<PeerId>,
    /// The allowed traffic in that state.
    pub connections: UnmatchedConnections,
}

/// The traffic that some endpoints may send and receive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UnmatchedConnections {
    /// What they may send, with the receivers.
    pub to: Vec<(HeaderSetId, Vec<PeerId>)>,
    /// What they may receive, with the senders.
    pub from: Vec<(HeaderSetId, Vec<PeerId>)>,
}

/// Returns all endpoints that are in one state only, in order.
pub(super) fn all(
    known: DecidedState<'_, '_>,
    joint: &MatchedPeers<'_>,
    state: DiffState,
    traffic: &mut HeaderSpace,
) -> Vec<UnmatchedPeers> {
    let alone: Vec<PeerId> = joint
        .sole
        .iter()
        .filter(|(_, own)| **own == state)
        .map(|(peer, _)| *peer)
        .collect();
    if alone.is_empty() {
        return Vec::new();
    }

    let [mut sent, mut got] =
        [Direction::Egress, Direction::Ingress].map(|direction| UnmatchedReach {
            rows: ReachabilityRows::new(known.space, direction),
            here: everyone(known, joint, state),
            passing: vec![HeaderSpace::NONE; joint.peers.len()],
        });
    let mut by_classes: BTreeMap<Vec<EndpointClassId>, Vec<PeerId>> = BTreeMap::new();

    for peer in alone {
        by_classes
            .entry(classes(known, joint, peer, state))
            .or_default()
            .push(peer);
    }

    let mut alike: IndexMap<UnmatchedConnections, Vec<PeerId>, FxBuildHasher> = IndexMap::default();
    for (classes, peers) in by_classes {
        let connections = UnmatchedConnections {
            to: sent.reach_from(&classes, traffic),
            from: got.reach_from(&classes, traffic),
        };
        alike.entry(connections).or_default().extend(peers);
    }

    let mut sole: Vec<UnmatchedPeers> = alike
        .into_iter()
        .map(|(connections, peers)| UnmatchedPeers { peers, connections })
        .collect();
    sole.iter_mut().for_each(|sole| sole.peers.sort_unstable());
    sole.sort_by(|left, right| left.peers.cmp(&right.peers));

    sole
}

/// Returns the classes of a peer, in order.
fn classes(
    known: DecidedState<'_, '_>,
    joint: &MatchedPeers<'_>,
    peer: PeerId,
    state: DiffState,
) -> Vec<EndpointClassId> {
    let endpoints = joint
        .peers
        .get(peer.index())
        .map_or(&[][..], |peer| peer.endpoints(state));
    let places = endpoints
        .iter()
        .flat_map(|id| known.space.places.of_endpoint(*id));

    let mut classes: Vec<EndpointClassId> = places.map(|place| place.class).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Returns the peers of one state by class.
fn everyone(
    known: DecidedState<'_, '_>,
    joint: &MatchedPeers<'_>,
    state: DiffState,
) -> FxHashMap<EndpointClassId, Vec<PeerId>> {
    let mut everyone: FxHashMap<EndpointClassId, Vec<PeerId>> = FxHashMap::default();
    for peer in (0..joint.peers.len()).map(PeerId::at) {
        for class in classes(known, joint, peer, state) {
            everyone.entry(class).or_default().push(peer);
        }
    }

    for (id, _) in known
        .space
        .places
        .classes()
        .filter(|(_, class)| class.owner.is_none())
    {
        let here = joint
            .within(state, id)
            .iter()
            .filter_map(|index| joint.classes.get(*index));
        everyone
            .entry(id)
            .or_default()
            .extend(here.flat_map(|class| class.peers.iter().copied()));
    }

    everyone
}

/// Finds the peers that some classes may reach in one direction.
struct UnmatchedReach<'known, 'input> {
    rows: ReachabilityRows<'known, 'input>,
    here: FxHashMap<EndpointClassId, Vec<PeerId>>,
    /// The traffic with each peer.
    passing: Vec<HeaderSetId>,
}

impl UnmatchedReach<'_, '_> {
    fn reach_from(
        &mut self,
        classes: &[EndpointClassId],
        traffic: &mut HeaderSpace,
    ) -> Vec<(HeaderSetId, Vec<PeerId>)> {
        let mut reached: Vec<PeerId> = Vec::new();
        for class in classes {
            let row = self.rows.with(*class, traffic);
            row.into_iter()
                .for_each(|row| self.add(row.0, row.1, &mut reached, traffic));
        }

        reached.sort_unstable();
        let mut groups: BTreeMap<HeaderSetId, Vec<PeerId>> = BTreeMap::new();
        for peer in reached {
            let passing = self
                .passing
                .get_mut(peer.index())
                // reset for the next set of classes
                .map(|known| std::mem::replace(known, HeaderSpace::NONE));
            groups
                .entry(passing.unwrap_or(HeaderSpace::NONE))
                .or_default()
                .push(peer);
        }

        let mut groups: Vec<(HeaderSetId, Vec<PeerId>)> = groups.into_iter().collect();
        groups.sort_by(|left, right| left.1.cmp(&right.1));
        groups
    }

    fn add(
        &mut self,
        far: EndpointClassId,
        own: HeaderSetId,
        reached: &mut Vec<PeerId>,
        traffic: &mut HeaderSpace,
    ) {
        for peer in self.here.get(&far).map_or(&[][..], Vec::as_slice) {
            let Some(known) = self.passing.get_mut(peer.index()) else {
                continue;
            };
            reached.extend((*known == HeaderSpace::NONE).then_some(*peer));
            *known = traffic.or(*known, own);
        }
    }
}
