//! Peers: the senders and receivers of connectivity listings. A peer is a workload, a service
//! account, or a set of addresses outside the cluster.
//!
//! In: an [`Inventory`] and its [`ClusterSpace`]. Out: a [`PeerList`] in which every endpoint and
//! every address outside is in exactly one peer. Endpoints of one workload that policy
//! distinguishes are in separate peers.
//!
//! Cost: sorting endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::inventory::{Endpoint, EndpointId, EndpointKind, Inventory};
use crate::net::Family;
use crate::packet_space::{AddressRange, ClusterSpace, EndpointClassId};

/// How endpoints are grouped into peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerGrouping {
    /// By owner and service account, unless policy distinguishes the endpoints.
    Workload,
    /// By service account, even if policy distinguishes the endpoints. The peer may do what any of
    /// its endpoints may do.
    ServiceAccount,
}

/// The identity of a peer. It is the same in every cluster that has the peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerIdentity {
    /// Endpoints of one workload, or all endpoints of a service account.
    Endpoints {
        /// The namespace.
        namespace: Arc<str>,
        /// The kind of the owner; `Pod` or `WorkloadEndpoint` for an endpoint without owner,
        /// `ServiceAccount` for all endpoints of one.
        kind: Arc<str>,
        /// The name of the owner, or of the endpoint if it has no owner.
        name: Arc<str>,
        /// The service account; `None` if a workload endpoint does not name one.
        service_account: Option<Arc<str>>,
        /// The names of the endpoints, in order, if another peer has the same name; else empty.
        pods: Vec<Arc<str>>,
    },
    /// Addresses without an endpoint, of one family and in order.
    Outside(Vec<AddressRange>),
}

/// A sender or receiver.
#[derive(Debug, Clone)]
pub struct ConnectivityPeer {
    /// The identity.
    pub identity: PeerIdentity,
    /// The endpoints, in order; empty for addresses outside.
    pub endpoints: Vec<EndpointId>,
    /// The endpoint classes, in order.
    classes: Vec<(Family, EndpointClassId)>,
    /// The addresses outside, including those of endpoints between them: fewer ranges, for display.
    around: Vec<AddressRange>,
}

/// All peers of a cluster, in order: endpoints by namespace, kind and name, then addresses outside.
#[derive(Debug)]
pub struct PeerList {
    peers: Vec<ConnectivityPeer>,
}

/// Namespace, kind, name, service account.
type PeerName = (Arc<str>, Arc<str>, Arc<str>, Option<Arc<str>>);

impl PeerList {
    /// Groups all endpoints of a cluster and all addresses outside into peers.
    pub fn group(inventory: &Inventory, space: &ClusterSpace<'_>, by: PeerGrouping) -> Self {
        let mut named: BTreeMap<PeerName, Vec<ConnectivityPeer>> = BTreeMap::new();
        for (id, endpoint) in inventory.endpoints_with_ids() {
            let name = name(endpoint, by);
            let classes = classes(id, space);
            let alike = named.entry(name.clone()).or_default();
            match alike
                .iter_mut()
                .find(|peer| by == PeerGrouping::ServiceAccount || peer.takes(&classes))
            {
                Some(peer) => peer.add(id, &classes),
                None => alike.push(ConnectivityPeer::new(name, id, classes)),
            }
        }

        let mut peers: Vec<ConnectivityPeer> = named
            .into_values()
            .flat_map(|alike| told_apart(alike, inventory))
            .collect();
        peers.sort_by(|left, right| left.identity.cmp(&right.identity));
        peers.extend(outside(inventory, space));

        Self { peers }
    }

    /// Returns all peers, in order.
    pub fn all(&self) -> &[ConnectivityPeer] {
        &self.peers
    }
}

impl ConnectivityPeer {
    fn new(
        (namespace, kind, name, service_account): PeerName,
        id: EndpointId,
        classes: Vec<(Family, EndpointClassId)>,
    ) -> Self {
        let identity = PeerIdentity::Endpoints {
            namespace,
            kind,
            name,
            service_account,
            pods: Vec::new(),
        };

        Self {
            identity,
            endpoints: vec![id],
            classes,
            around: Vec::new(),
        }
    }

    /// Returns `true` if the peer consists of addresses outside.
    pub fn is_outside(&self) -> bool {
        matches!(self.identity, PeerIdentity::Outside(_))
    }

    /// Returns the endpoint classes of the peer, in order.
    pub fn classes(&self) -> &[(Family, EndpointClassId)] {
        &self.classes
    }

    /// Returns the addresses outside, including those of endpoints between them: fewer ranges, for
    /// display.
    pub fn around(&self) -> &[AddressRange] {
        &self.around
    }

    /// Returns the part of an outside peer that is in a range, or `None` if that is empty.
    pub fn within(&self, addresses: AddressRange) -> Option<Self> {
        let PeerIdentity::Outside(ranges) = &self.identity else {
            return None;
        };

        let within = |ranges: &[AddressRange]| {
            ranges
                .iter()
                .filter_map(|range| common(*range, addresses))
                .collect::<Vec<_>>()
        };

        let ranges = within(ranges);
        (!ranges.is_empty()).then(|| Self {
            identity: PeerIdentity::Outside(ranges),
            around: within(&self.around),
            ..self.clone()
        })
    }

    /// Returns `true` if the peer has the same classes as an endpoint in every family that both
    /// have.
    fn takes(&self, classes: &[(Family, EndpointClassId)]) -> bool {
        Family::BOTH.into_iter().all(|family| {
            let mut own = self.classes.iter().filter(|row| row.0 == family).peekable();
            let mut others = classes.iter().filter(|row| row.0 == family).peekable();
            own.peek().is_none() || others.peek().is_none() || own.eq(others)
        })
    }

    fn add(&mut self, id: EndpointId, classes: &[(Family, EndpointClassId)]) {
        self.endpoints.push(id);
        self.classes.extend_from_slice(classes);
        self.classes.sort_unstable();
        self.classes.dedup();
    }
}

fn name(endpoint: &Endpoint, by: PeerGrouping) -> PeerName {
    let namespace = Arc::clone(&endpoint.namespace);
    let account = endpoint.service_account.clone();
    if let (PeerGrouping::ServiceAccount, Some(account)) = (by, &account) {
        return (
            namespace,
            Arc::from("ServiceAccount"),
            Arc::clone(account),
            Some(Arc::clone(account)),
        );
    }

    // the last owner is the outermost: the Deployment, not its ReplicaSet
    let (kind, name) = match (endpoint.owners().last(), endpoint.kind) {
        (Some(owner), _) => (Arc::clone(&owner.kind), Arc::clone(&owner.name)),
        (None, EndpointKind::Pod) => (Arc::from("Pod"), Arc::clone(&endpoint.name)),
        (None, EndpointKind::WorkloadEndpoint) => {
            (Arc::from("WorkloadEndpoint"), Arc::clone(&endpoint.name))
        }
        (None, EndpointKind::Workload(kind)) => (Arc::from(kind), Arc::clone(&endpoint.name)),
    };

    (namespace, kind, name, account)
}

/// Returns the classes of an endpoint, in order.
fn classes(id: EndpointId, space: &ClusterSpace<'_>) -> Vec<(Family, EndpointClassId)> {
    let mut classes: Vec<(Family, EndpointClassId)> = space
        .places
        .of_endpoint(id)
        .iter()
        .map(|place| (place.family, place.class))
        .collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Adds the names of endpoints to peers that have the same name.
fn told_apart(mut alike: Vec<ConnectivityPeer>, inventory: &Inventory) -> Vec<ConnectivityPeer> {
    if alike.len() > 1 {
        for peer in &mut alike {
            let names = peer
                .endpoints
                .iter()
                .map(|id| Arc::clone(&inventory.endpoint(*id).name))
                .collect();
            if let PeerIdentity::Endpoints { pods, .. } = &mut peer.identity {
                *pods = names;
            }
        }
    }

    alike
}

/// Returns one peer for each class of addresses outside.
fn outside(inventory: &Inventory, space: &ClusterSpace<'_>) -> Vec<ConnectivityPeer> {
    let mut taken: Vec<IpAddr> = inventory
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().copied())
        .collect();
    taken.sort_unstable();

    let classes = space
        .places
        .classes()
        .filter(|(_, class)| class.owner.is_none());

    let mut peers: Vec<ConnectivityPeer> = classes
        .map(|(id, class)| ConnectivityPeer {
            identity: PeerIdentity::Outside(class.outside.clone()),
            endpoints: Vec::new(),
            classes: vec![(class.family, id)],
            around: around(&class.outside, &taken),
        })
        .collect();
    peers.sort_by(|left, right| left.identity.cmp(&right.identity));

    peers
}

/// Joins ranges if all addresses in the gap between them belong to endpoints. Both inputs must be
/// sorted.
pub(crate) fn around(ranges: &[AddressRange], taken: &[IpAddr]) -> Vec<AddressRange> {
    let before = |family: Family, bits: u128| {
        taken.partition_point(|address| {
            let at = AddressRange::at(*address);
            (at.family, at.first) < (family, bits)
        })
    };
    let mut merged: Vec<AddressRange> = Vec::new();

    for range in ranges {
        let is_filled = |last: u128| {
            let gap = range.first.saturating_sub(last).saturating_sub(1);
            let inside = before(range.family, range.first)
                .saturating_sub(before(range.family, last.saturating_add(1)));
            u128::try_from(inside).is_ok_and(|inside| inside >= gap)
        };
        match merged.last_mut() {
            Some(known) if known.family == range.family && is_filled(known.last) => {
                known.last = range.last
            }
            Some(_) | None => merged.push(*range),
        }
    }

    merged
}

fn common(one: AddressRange, other: AddressRange) -> Option<AddressRange> {
    let (first, last) = (one.first.max(other.first), one.last.min(other.last));
    (one.family == other.family && first <= last).then_some(AddressRange { first, last, ..one })
}

#[cfg(test)]
mod tests;
