//! What two states of a cluster allow otherwise, over the whole packet space, and which rules are
//! the cause.
//!
//! In: [`ResolvedPolicy`] policy, old and new. Out: [`ConnectionDiff`]: changes of what may pass
//! between those who are in both, each with a witness packet and the rules that decide about it
//! then and now, those at host endpoints among them; endpoints that are new or gone, apart from
//! them. Absent: words, and nodes' scripts.
//!
//! Endpoints are the same in both when their owner (or, of what has none, they themselves) has the
//! same namespace, kind and name. Addresses that an endpoint has in one of the two are that
//! endpoint's, and no place outside.
//!
//! Cost: that of both spaces; where nothing differs, the exceptions of all views, once; and then
//! the pairs that a difference touches.

mod causes;
mod cells;
mod changes;
mod host_endpoints;
mod matched_peers;
mod pairs;
mod unmatched_peers;

pub use causes::{ChangeReason, DecidingRule};
pub use changes::{
    CausedTraffic, ChangeWitness, ConnectionChange, HostEndpointEnd, PeerBlock, WitnessEnd,
};
pub use matched_peers::{MatchedIdentity, MatchedPeer, PeerId};
pub use unmatched_peers::{UnmatchedConnections, UnmatchedPeers};

use std::net::IpAddr;

use crate::connectivity::peers;
use crate::diff::cells::DiffCellTable;
use crate::diff::host_endpoints::BypassTraffic;
use crate::options::CompileOptions;
use crate::packet_space::{AddressRange, ClusterSpace, HeaderSpace, PartitionBuilder};
use crate::policy::PolicyListKind;
use crate::resolve::ResolvedPolicy;

/// One of the two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiffState {
    /// Before.
    Old,
    /// After.
    New,
}

/// Something of both states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OldNew<T> {
    /// Before.
    pub old: T,
    /// After.
    pub new: T,
}

/// All that differs.
#[derive(Debug)]
pub struct ConnectionDiff<'input> {
    /// What the sets of packets below are of.
    pub traffic: HeaderSpace,
    /// Everyone in either state, in order; see [`PeerId`].
    pub peers: Vec<MatchedPeer<'input>>,
    /// What may pass otherwise, between those who are in both; those that gain something first.
    pub changes: Vec<ConnectionChange<'input>>,
    /// Endpoints that are in one state only, in order.
    pub sole: OldNew<Vec<UnmatchedPeers>>,
    /// The addresses of all endpoints of either state, in order.
    taken: Vec<IpAddr>,
}

impl<T> OldNew<T> {
    /// The one of a state.
    pub fn get(&self, state: DiffState) -> &T {
        match state {
            DiffState::Old => &self.old,
            DiffState::New => &self.new,
        }
    }
}

/// A state with its space.
#[derive(Debug, Clone, Copy)]
struct DecidedState<'known, 'input> {
    resolved: &'known ResolvedPolicy<'input>,
    space: &'known ClusterSpace<'input>,
}

/// Everything that differs between two states, whose nodes have these options.
pub fn between<'input>(
    old: &ResolvedPolicy<'input>,
    new: &ResolvedPolicy<'input>,
    options: &CompileOptions,
) -> ConnectionDiff<'input> {
    let states = [old, new];
    let has_hosts = states
        .iter()
        .any(|state| state.host_endpoints_with_ids().next().is_some());
    let exempt = BypassTraffic::from_failsafes(&options.failsafes);

    let mut cuts = PartitionBuilder::default();
    states.iter().for_each(|state| cuts.of_policy(state));
    if has_hosts {
        exempt.add_cuts(states.iter().any(|state| has_untracked(state)), &mut cuts);
    }

    let mut traffic = HeaderSpace::of(&cuts);
    let [then, now] = states.map(|state| match has_hosts {
        true => ClusterSpace::with_hosts(state, exempt.prefixes(), &mut traffic),
        false => ClusterSpace::new(state, &mut traffic),
    });
    let both = OldNew {
        old: DecidedState {
            resolved: old,
            space: &then,
        },
        new: DecidedState {
            resolved: new,
            space: &now,
        },
    };
    let joint = matched_peers::MatchedPeers::new(both);
    let mut cells = DiffCellTable::new(both, &joint);
    let mut changes = changes::all(&mut cells, &mut traffic);

    let (of_hosts, hosts) = if has_hosts {
        host_endpoints::all(&mut cells, exempt, &mut traffic)
    } else {
        Default::default()
    };

    changes.extend(of_hosts);
    changes.sort_by_cached_key(|change| {
        (
            change.gained.is_empty(),
            change.host.clone(),
            change.blocks.first().cloned(),
        )
    });

    let sole = OldNew {
        old: unmatched_peers::all(both.old, &joint, DiffState::Old, &mut traffic),
        new: unmatched_peers::all(both.new, &joint, DiffState::New, &mut traffic),
    };
    let peers = joint.peers.into_iter().chain(hosts).collect();

    ConnectionDiff {
        traffic,
        peers,
        changes,
        sole,
        taken: matched_peers::taken([old.inventory, new.inventory]),
    }
}

fn has_untracked(state: &ResolvedPolicy<'_>) -> bool {
    state
        .policies
        .policies()
        .any(|(_, policy)| policy.is_on(PolicyListKind::Untracked))
}

impl ConnectionDiff<'_> {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.sole.old.is_empty() && self.sole.new.is_empty()
    }

    /// The peer of an id.
    pub fn peer(&self, id: PeerId) -> Option<&MatchedPeer<'_>> {
        self.peers.get(id.index())
    }

    /// The addresses outside that some peers are, as few ranges: those of endpoints that lie among
    /// them are left in.
    pub fn ranges(&self, peers: &[PeerId]) -> Vec<AddressRange> {
        let outside = peers
            .iter()
            .filter_map(|id| self.peer(*id))
            .filter_map(|peer| match &peer.identity {
                MatchedIdentity::Outside(ranges) => Some(ranges),
                MatchedIdentity::Endpoints { .. } | MatchedIdentity::Host { .. } => None,
            });
        let mut ranges: Vec<AddressRange> = outside.flatten().copied().collect();
        ranges.sort_unstable();
        peers::around(&ranges, &self.taken)
    }

    /// How many pairs of peers a block has.
    pub fn pairs(&self, block: &PeerBlock) -> usize {
        let is_itself = |id: &&PeerId| {
            block.to.binary_search(id).is_ok()
                && self.peer(**id).is_some_and(MatchedPeer::is_single)
        };
        block.from.len() * block.to.len() - block.from.iter().filter(is_itself).count()
    }
}
