//! Compares the allowed traffic of two states of a cluster over the whole packet space, and names
//! the rules that cause each difference.
//!
//! In: old and new [`ResolvedPolicy`]. Out: a [`ConnectionDiff`]. It contains the changes between
//! peers that are in both states, including changes at host endpoints, each with a witness packet
//! and the rules that decide about it in both states. New and removed endpoints are listed
//! separately. Absent: text, and nodes' scripts.
//!
//! Two endpoints match if their owners (or, without owner, the endpoints themselves) have the same
//! namespace, kind and name. An address that an endpoint has in one of the two states belongs to
//! that endpoint, not to the outside.
//!
//! Cost: both packet spaces; if nothing differs, the exceptions of all profiles, once; else also
//! the pairs with a difference.

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
    /// The old state.
    Old,
    /// The new state.
    New,
}

/// A value for each of the two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OldNew<T> {
    /// The value of the old state.
    pub old: T,
    /// The value of the new state.
    pub new: T,
}

/// All differences between two states.
#[derive(Debug)]
pub struct ConnectionDiff<'input> {
    /// The header space of all sets of headers in this difference.
    pub traffic: HeaderSpace,
    /// All peers of either state, in order; see [`PeerId`].
    pub peers: Vec<MatchedPeer<'input>>,
    /// The changes between peers that are in both states; those that gain traffic come first.
    pub changes: Vec<ConnectionChange<'input>>,
    /// The endpoints that are in one state only, in order.
    pub sole: OldNew<Vec<UnmatchedPeers>>,
    /// The addresses of all endpoints of either state, in order.
    taken: Vec<IpAddr>,
}

impl<T> OldNew<T> {
    /// Returns the value of a state.
    pub fn get(&self, state: DiffState) -> &T {
        match state {
            DiffState::Old => &self.old,
            DiffState::New => &self.new,
        }
    }
}

/// A state with its evaluated packet space.
#[derive(Debug, Clone, Copy)]
struct DecidedState<'known, 'input> {
    resolved: &'known ResolvedPolicy<'input>,
    space: &'known ClusterSpace<'input>,
}

/// Compares two states. `options` are the options of all nodes.
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
        // without host endpoints these conditions would only add header classes
        exempt.add_cuts(states.iter().any(|state| has_untracked(state)), &mut cuts);
    }

    // both states share one header space, so that sets of headers compare by id
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
    /// Returns `true` if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.sole.old.is_empty() && self.sole.new.is_empty()
    }

    /// Returns a peer by its id.
    pub fn peer(&self, id: PeerId) -> Option<&MatchedPeer<'_>> {
        self.peers.get(id.index())
    }

    /// Returns the addresses outside of some peers, including those of endpoints between them:
    /// fewer ranges, for display.
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

    /// Returns the number of pairs in a block, without single endpoints paired with themselves.
    pub fn pairs(&self, block: &PeerBlock) -> usize {
        let is_itself = |id: &&PeerId| {
            block.to.binary_search(id).is_ok()
                && self.peer(**id).is_some_and(MatchedPeer::is_single)
        };
        block.from.len() * block.to.len() - block.from.iter().filter(is_itself).count()
    }
}
