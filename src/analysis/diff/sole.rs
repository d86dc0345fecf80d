//! Endpoints that are in one state only, and what they may do there.
//!
//! Cost: for each of the first [`MOST`] such endpoints that policy tells apart, all classes of the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::analysis::diff::joint::Joint;
use crate::analysis::diff::{Known, PeerId, State};
use crate::analysis::space::{ClassId, Traffic, TrafficId};
use crate::net::Family;

/// An endpoint, or several of one owner, that are in one state only.
#[derive(Debug, Clone)]
pub struct Sole {
    /// Who.
    pub peer: PeerId,
    /// With whom they may speak in that state; none where too many are alone for all to be looked at.
    pub connections: Option<Arc<Connections>>,
}

/// What may pass from and to some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connections {
    /// What they may send, and to whom.
    pub to: Vec<(TrafficId, Vec<PeerId>)>,
    /// What they may get, and from whom.
    pub from: Vec<(TrafficId, Vec<PeerId>)>,
}

/// Different endpoints that are looked at.
const MOST: usize = 200;

/// Classes with their families, in order.
type Classes = Vec<(Family, ClassId)>;

/// All that are in a state only, in order.
pub(super) fn all(known: Known<'_, '_>, joint: &Joint<'_>, state: State, traffic: &mut Traffic) -> Vec<Sole> {
    let alone: Vec<PeerId> = joint.sole.iter().filter(|(_, own)| **own == state).map(|(peer, _)| *peer).collect();
    if alone.is_empty() {
        return Vec::new();
    }
    let everyone = everyone(known, joint, state);
    let mut asked: FxHashMap<Classes, Arc<Connections>> = FxHashMap::default();
    let mut sole = Vec::with_capacity(alone.len());
    for peer in alone {
        let classes = classes(known, joint, (peer, state));
        let connections = match asked.get(&classes) {
            Some(connections) => Some(Arc::clone(connections)),
            None if asked.len() >= MOST => None,
            None => {
                let made = Arc::new(connections(known, &classes, &everyone, traffic));
                asked.insert(classes, Arc::clone(&made));
                Some(made)
            }
        };
        sole.push(Sole { peer, connections });
    }
    sole
}

/// The classes of a peer, in order.
fn classes(known: Known<'_, '_>, joint: &Joint<'_>, (peer, state): (PeerId, State)) -> Classes {
    let endpoints = joint.peers.get(peer.index()).map_or(&[][..], |peer| peer.endpoints(state));
    let places = endpoints.iter().flat_map(|id| known.space.places.of_endpoint(*id));
    let mut classes: Classes = places.map(|place| (place.family, place.class)).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Everyone in a state by class.
fn everyone(known: Known<'_, '_>, joint: &Joint<'_>, state: State) -> BTreeMap<(Family, ClassId), Vec<PeerId>> {
    let mut everyone: BTreeMap<(Family, ClassId), Vec<PeerId>> = BTreeMap::new();
    for peer in (0..joint.peers.len()).map(PeerId::at) {
        for class in classes(known, joint, (peer, state)) {
            everyone.entry(class).or_default().push(peer);
        }
    }
    for (id, class) in known.space.places.classes().filter(|(_, class)| class.owner.is_none()) {
        let here = joint.within(state, id).iter().filter_map(|index| joint.classes.get(*index));
        everyone.entry((class.family, id)).or_default().extend(here.flat_map(|class| class.peers.iter().copied()));
    }
    everyone
}

fn connections(
    known: Known<'_, '_>,
    own: &[(Family, ClassId)],
    everyone: &BTreeMap<(Family, ClassId), Vec<PeerId>>,
    traffic: &mut Traffic,
) -> Connections {
    let relation = &known.space.relation;
    let mut with: BTreeMap<PeerId, (TrafficId, TrafficId)> = BTreeMap::new();
    for ((family, other), peers) in everyone {
        let (mut to, mut from) = (Traffic::NONE, Traffic::NONE);
        for (_, class) in own.iter().filter(|(own, _)| own == family) {
            let sent = relation.allowed(*class, *other, traffic);
            to = traffic.or(to, sent);
            let got = relation.allowed(*other, *class, traffic);
            from = traffic.or(from, got);
        }
        for peer in peers {
            let known = with.entry(*peer).or_insert((Traffic::NONE, Traffic::NONE));
            *known = (traffic.or(known.0, to), traffic.or(known.1, from));
        }
    }
    let grouped = |of: fn(&(TrafficId, TrafficId)) -> TrafficId| {
        let mut groups: BTreeMap<TrafficId, Vec<PeerId>> = BTreeMap::new();
        for (peer, both) in with.iter().filter(|(_, both)| of(both) != Traffic::NONE) {
            groups.entry(of(both)).or_default().push(*peer);
        }
        let mut groups: Vec<(TrafficId, Vec<PeerId>)> = groups.into_iter().collect();
        groups.sort_by(|left, right| left.1.cmp(&right.1));
        groups
    };
    Connections { to: grouped(|both| both.0), from: grouped(|both| both.1) }
}
