//! Lists which peers can talk to each other, with which traffic.
//!
//! In: [`ResolvedPolicy`] and a [`ConnectivityQuery`]. Out: a [`Connectivity`] with all traffic
//! that is allowed between every two peers, except pairs of two outside peers and pairs without
//! traffic.
//!
//! Cost: the pairs with traffic, and for every distinct sender the classes that its policy does not
//! deny by default; see [`ReachabilityRows`].

pub mod peers;
pub mod port_list;

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::connectivity::peers::{ConnectivityPeer, PeerGrouping, PeerList};
use crate::diagnostic::Diagnostic;
use crate::inventory::Inventory;
use crate::net::{Cidr, Direction, Family};
use crate::packet::endpoint_pattern::{EndpointPattern, PatternMembers};
use crate::packet_space::{
    AddressRange, ClusterSpace, EndpointClassId, HeaderSetId, HeaderSpace, PartitionBuilder,
    ReachabilityRows, TrafficPattern,
};
use crate::resolve::ResolvedPolicy;

/// The query.
#[derive(Debug, Clone)]
pub struct ConnectivityQuery {
    /// How endpoints are grouped into peers.
    pub by: PeerGrouping,
    /// The senders; empty means all.
    pub from: Vec<EndpointPattern>,
    /// The receivers; empty means all.
    pub to: Vec<EndpointPattern>,
    /// The traffic; empty means everything.
    pub what: Vec<TrafficPattern>,
}

/// The answer to a query.
#[derive(Debug)]
pub struct Connectivity {
    /// The selected senders, in order.
    pub senders: Vec<ConnectivityPeer>,
    /// The selected receivers, in order.
    pub receivers: Vec<ConnectivityPeer>,
    /// The allowed traffic, by sender and receiver.
    pub pairs: Vec<PeerConnection>,
    /// The header space of all sets of headers in this answer.
    pub traffic: HeaderSpace,
    /// All traffic that listings contain: everything but port 0, which is reserved.
    pub everything: HeaderSetId,
}

/// The traffic that may go from one peer to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerConnection {
    /// The index of the sender in [`Connectivity::senders`].
    pub from: u32,
    /// The index of the receiver in [`Connectivity::receivers`].
    pub to: u32,
    /// The traffic; not empty.
    pub traffic: HeaderSetId,
}

/// Computes the allowed traffic of all pairs in a query.
///
/// # Errors
/// If the query names an endpoint that is not in the input.
pub fn list(
    resolved: &ResolvedPolicy<'_>,
    asked: &ConnectivityQuery,
) -> Result<Connectivity, Diagnostic> {
    let mut cuts = PartitionBuilder::default();
    cuts.of_policy(resolved);
    asked.what.iter().for_each(|what| what.add_cuts(&mut cuts));
    let mut traffic = HeaderSpace::of(&cuts);
    let space = ClusterSpace::new(resolved, &mut traffic);
    let peers = PeerList::group(resolved.inventory, &space, asked.by);
    let senders = chosen(&peers, &asked.from, resolved.inventory)?;
    let receivers = chosen(&peers, &asked.to, resolved.inventory)?;
    let everything = traffic.listed();
    let wanted = wanted(&asked.what, everything, &mut traffic);
    let pairs = pairs(&space, &senders, &receivers, wanted, &mut traffic);

    Ok(Connectivity {
        senders,
        receivers,
        pairs,
        traffic,
        everything,
    })
}

/// The receivers that a sender reaches, by index.
type ReachedPeers = Vec<(u32, HeaderSetId)>;
/// `true` if a peer is outside, and the classes of the peer.
type PeerLocation<'peers> = (bool, &'peers [(Family, EndpointClassId)]);

/// Returns the wanted traffic from each sender to each receiver, without empty pairs. Senders with
/// the same classes share one result.
fn pairs(
    space: &ClusterSpace<'_>,
    senders: &[ConnectivityPeer],
    receivers: &[ConnectivityPeer],
    wanted: HeaderSetId,
    traffic: &mut HeaderSpace,
) -> Vec<PeerConnection> {
    let mut reach = ReachFinder::new(space, receivers, wanted);
    let mut known: FxHashMap<PeerLocation<'_>, Rc<ReachedPeers>> = FxHashMap::default();
    let mut alike: FxHashMap<PeerLocation<'_>, usize> = FxHashMap::default();
    senders.iter().for_each(|sender| {
        *alike
            .entry((sender.is_outside(), sender.classes()))
            .or_default() += 1
    });

    let mut pairs = Vec::new();
    for (from, sender) in (0u32..).zip(senders) {
        // senders in the same classes reach the same receivers
        let key = (sender.is_outside(), sender.classes());
        let reached = known
            .get(&key)
            .map_or_else(|| Rc::new(reach.of_sender(sender, traffic)), Rc::clone);
        pairs.extend(reached.iter().map(|(to, traffic)| PeerConnection {
            from,
            to: *to,
            traffic: *traffic,
        }));
        // a result that no other sender shares is not kept, to save memory
        if alike.get(&key).is_some_and(|count| *count > 1) {
            known.insert(key, reached);
        }
    }

    pairs
}

/// Finds the receivers that senders reach.
struct ReachFinder<'space, 'input> {
    rows: ReachabilityRows<'space, 'input>,
    /// For each class, the indices of the receivers in it.
    here: Vec<Vec<u32>>,
    is_outside: Vec<bool>,
    wanted: HeaderSetId,
    /// The traffic to each receiver; `reached` lists the receivers with any.
    got: Vec<HeaderSetId>,
    reached: Vec<u32>,
}

impl<'space, 'input> ReachFinder<'space, 'input> {
    fn new(
        space: &'space ClusterSpace<'input>,
        receivers: &[ConnectivityPeer],
        wanted: HeaderSetId,
    ) -> Self {
        let mut here: Vec<Vec<u32>> = space.places.classes().map(|_| Vec::new()).collect();
        for (to, receiver) in (0u32..).zip(receivers) {
            for (_, class) in receiver.classes() {
                here.get_mut(class.index())
                    .into_iter()
                    .for_each(|here| here.push(to));
            }
        }

        Self {
            rows: ReachabilityRows::new(space, Direction::Egress),
            here,
            is_outside: receivers.iter().map(ConnectivityPeer::is_outside).collect(),
            wanted,
            got: vec![HeaderSpace::NONE; receivers.len()],
            reached: Vec::new(),
        }
    }

    fn of_sender(&mut self, sender: &ConnectivityPeer, traffic: &mut HeaderSpace) -> ReachedPeers {
        for (_, class) in sender.classes() {
            let row = self.rows.with(*class, traffic);
            self.add(&row, traffic);
        }

        let mut reached = std::mem::take(&mut self.reached);
        reached.sort_unstable();
        let is_outside = sender.is_outside();
        let mut all = Vec::with_capacity(reached.len());

        for to in reached.drain(..) {
            let Some(got) = self.got.get_mut(to as usize) else {
                continue;
            };
            // reset for the next sender; clearing all receivers for each would be quadratic
            let got = std::mem::replace(got, HeaderSpace::NONE);
            if !(is_outside
                && self
                    .is_outside
                    .get(to as usize)
                    .copied()
                    .unwrap_or_default())
            {
                all.push((to, got));
            }
        }

        self.reached = reached;
        all
    }

    /// Adds a row. Neighbouring classes mostly have the same traffic, so the last intersection is
    /// reused.
    fn add(&mut self, row: &[(EndpointClassId, HeaderSetId)], traffic: &mut HeaderSpace) {
        let mut last = (HeaderSpace::NONE, HeaderSpace::NONE);
        for (far, passing) in row {
            if *passing != last.0 {
                last = (*passing, traffic.and(*passing, self.wanted));
            }
            self.add_class(*far, last.1, traffic);
        }
    }

    fn add_class(&mut self, far: EndpointClassId, passing: HeaderSetId, traffic: &mut HeaderSpace) {
        if passing == HeaderSpace::NONE {
            return;
        }

        for to in self.here.get(far.index()).map_or(&[][..], Vec::as_slice) {
            let Some(got) = self.got.get_mut(*to as usize) else {
                continue;
            };
            if *got == HeaderSpace::NONE {
                self.reached.push(*to);
            }
            *got = traffic.or(*got, passing);
        }
    }
}

fn wanted(
    what: &[TrafficPattern],
    everything: HeaderSetId,
    traffic: &mut HeaderSpace,
) -> HeaderSetId {
    if what.is_empty() {
        return everything;
    }
    let mut all = HeaderSpace::NONE;
    for what in what {
        let one = what.traffic(traffic);
        all = traffic.or(all, one);
    }
    traffic.and(all, everything)
}

/// Returns the peers that match any of the patterns, in order; all peers if there is no pattern.
fn chosen(
    peers: &PeerList,
    subjects: &[EndpointPattern],
    inventory: &Inventory,
) -> Result<Vec<ConnectivityPeer>, Diagnostic> {
    if subjects.is_empty() {
        return Ok(peers.all().to_vec());
    }

    let meant = subjects
        .iter()
        .map(|subject| subject.resolve(inventory))
        .collect::<Result<Vec<PatternMembers>, Diagnostic>>()?;
    let mut chosen = Vec::new();

    for peer in peers.all() {
        match peer.is_outside() {
            false => chosen.extend(
                meant
                    .iter()
                    .any(|meant| is_meant(peer, meant, inventory))
                    .then(|| peer.clone()),
            ),
            true => chosen.extend(
                meant
                    .iter()
                    .filter_map(prefix)
                    .filter_map(|prefix| peer.within(AddressRange::from_prefix(prefix))),
            ),
        }
    }

    // patterns may overlap
    chosen.dedup_by(|left, right| left.identity == right.identity);
    Ok(chosen)
}

fn prefix(meant: &PatternMembers) -> Option<Cidr> {
    match meant {
        PatternMembers::Addresses(cidr) => Some(*cidr),
        PatternMembers::Endpoints(_) => None,
    }
}

/// Returns `true` if a pattern matches one of the peer's endpoints.
fn is_meant(peer: &ConnectivityPeer, meant: &PatternMembers, inventory: &Inventory) -> bool {
    peer.endpoints.iter().any(|id| match meant {
        PatternMembers::Endpoints(ids) => ids.binary_search(id).is_ok(),
        PatternMembers::Addresses(cidr) => inventory
            .endpoint(*id)
            .addresses
            .iter()
            .any(|address| cidr.holds(*address)),
    })
}
