//! Endpoints that are in one state only, and what they may do there.
//!
//! Cost: for each of them that policy tells apart, those with whom it may speak; see [`Rows`].

use std::collections::BTreeMap;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::diff::matched_peers::Joint;
use crate::diff::{Known, PeerId, State};
use crate::net::Direction;
use crate::packet_space::{ClassId, Rows, Traffic, TrafficId};

/// Endpoints that are in one state only, and speak there with the same.
#[derive(Debug, Clone)]
pub struct Sole {
    /// Who, in order.
    pub peers: Vec<PeerId>,
    /// With whom they may speak in that state.
    pub connections: Connections,
}

/// What may pass from and to some.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Connections {
    /// What they may send, and to whom.
    pub to: Vec<(TrafficId, Vec<PeerId>)>,
    /// What they may get, and from whom.
    pub from: Vec<(TrafficId, Vec<PeerId>)>,
}

/// All that are in a state only, in order.
pub(super) fn all(
    known: Known<'_, '_>,
    joint: &Joint<'_>,
    state: State,
    traffic: &mut Traffic,
) -> Vec<Sole> {
    let alone: Vec<PeerId> = joint
        .sole
        .iter()
        .filter(|(_, own)| **own == state)
        .map(|(peer, _)| *peer)
        .collect();
    if alone.is_empty() {
        return Vec::new();
    }
    let [mut sent, mut got] = [Direction::Egress, Direction::Ingress].map(|direction| Reach {
        rows: Rows::of(known.space, direction),
        here: everyone(known, joint, state),
        passing: vec![Traffic::NONE; joint.peers.len()],
    });
    let mut by_classes: BTreeMap<Vec<ClassId>, Vec<PeerId>> = BTreeMap::new();
    for peer in alone {
        by_classes
            .entry(classes(known, joint, (peer, state)))
            .or_default()
            .push(peer);
    }
    let mut alike: IndexMap<Connections, Vec<PeerId>, FxBuildHasher> = IndexMap::default();
    for (classes, peers) in by_classes {
        let connections = Connections {
            to: sent.of(&classes, traffic),
            from: got.of(&classes, traffic),
        };
        alike.entry(connections).or_default().extend(peers);
    }
    let mut sole: Vec<Sole> = alike
        .into_iter()
        .map(|(connections, peers)| Sole { peers, connections })
        .collect();
    sole.iter_mut().for_each(|sole| sole.peers.sort_unstable());
    sole.sort_by(|left, right| left.peers.cmp(&right.peers));
    sole
}

/// The classes of a peer, in order.
fn classes(
    known: Known<'_, '_>,
    joint: &Joint<'_>,
    (peer, state): (PeerId, State),
) -> Vec<ClassId> {
    let endpoints = joint
        .peers
        .get(peer.index())
        .map_or(&[][..], |peer| peer.endpoints(state));
    let places = endpoints
        .iter()
        .flat_map(|id| known.space.places.of_endpoint(*id));
    let mut classes: Vec<ClassId> = places.map(|place| place.class).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Everyone in a state by class.
fn everyone(
    known: Known<'_, '_>,
    joint: &Joint<'_>,
    state: State,
) -> FxHashMap<ClassId, Vec<PeerId>> {
    let mut everyone: FxHashMap<ClassId, Vec<PeerId>> = FxHashMap::default();
    for peer in (0..joint.peers.len()).map(PeerId::at) {
        for class in classes(known, joint, (peer, state)) {
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

/// Finds with whom some speak in a direction.
struct Reach<'known, 'input> {
    rows: Rows<'known, 'input>,
    here: FxHashMap<ClassId, Vec<PeerId>>,
    /// What passes with each peer.
    passing: Vec<TrafficId>,
}

impl Reach<'_, '_> {
    fn of(&mut self, classes: &[ClassId], traffic: &mut Traffic) -> Vec<(TrafficId, Vec<PeerId>)> {
        let mut reached: Vec<PeerId> = Vec::new();
        for class in classes {
            let row = self.rows.with(*class, traffic);
            row.into_iter()
                .for_each(|row| self.add(row, &mut reached, traffic));
        }
        reached.sort_unstable();
        let mut groups: BTreeMap<TrafficId, Vec<PeerId>> = BTreeMap::new();
        for peer in reached {
            let passing = self
                .passing
                .get_mut(peer.index())
                .map(|known| std::mem::replace(known, Traffic::NONE));
            groups
                .entry(passing.unwrap_or(Traffic::NONE))
                .or_default()
                .push(peer);
        }
        let mut groups: Vec<(TrafficId, Vec<PeerId>)> = groups.into_iter().collect();
        groups.sort_by(|left, right| left.1.cmp(&right.1));
        groups
    }

    fn add(
        &mut self,
        (far, own): (ClassId, TrafficId),
        reached: &mut Vec<PeerId>,
        traffic: &mut Traffic,
    ) {
        for peer in self.here.get(&far).map_or(&[][..], Vec::as_slice) {
            let Some(known) = self.passing.get_mut(peer.index()) else {
                continue;
            };
            reached.extend((*known == Traffic::NONE).then_some(*peer));
            *known = traffic.or(*known, own);
        }
    }
}
