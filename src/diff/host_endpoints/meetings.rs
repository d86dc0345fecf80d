//! The host endpoints that packets meet on a node, in both states.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::diff::matched_peers::MatchedPeers;
use crate::diff::{DecidedState, OldNew};
use crate::resolve::{HostEndpointId, HostsOnNode};

/// An interface of a node, if necessary limited to one address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostCrossing {
    /// The joint class of the address of the node; `None` if there is no limit.
    pub(super) near: Option<usize>,
    /// The host endpoints that packets meet there.
    pub(super) hosts: OldNew<Option<HostEndpointId>>,
}

/// Returns the names of the nodes that have a host endpoint in either state.
pub(super) fn nodes<'input>(both: OldNew<DecidedState<'_, 'input>>) -> BTreeSet<&'input str> {
    let [old, new] = [both.old, both.new].map(|known| known.resolved.host_endpoints_with_ids());
    old.chain(new).map(|(_, host)| host.node.as_str()).collect()
}

/// Returns where packets meet a host endpoint on a node: at each interface that has its own, and at
/// all other interfaces.
pub(super) fn of_node(
    both: OldNew<DecidedState<'_, '_>>,
    joint: &MatchedPeers<'_>,
    node: &str,
) -> BTreeSet<HostCrossing> {
    let [old, new] = [both.old, both.new].map(|known| HostEndpointsOnNode::new(known, node));
    let interfaces = old
        .hosts
        .interfaces
        .keys()
        .chain(new.hosts.interfaces.keys());
    let interfaces: BTreeSet<Option<&str>> = interfaces
        .map(|name| Some(name.as_str()))
        .chain([None])
        .collect();
    let mut meetings = BTreeSet::new();

    for interface in interfaces {
        let own = [&old, &new]
            .map(|here| interface.and_then(|name| here.hosts.interfaces.get(name).copied()));
        let [then, now] = own;
        let open = [(&old, then), (&new, now)]
            .into_iter()
            .filter(|(_, own)| own.is_none());
        let addresses: BTreeSet<IpAddr> = open
            .flat_map(|(here, _)| here.addresses.iter().map(|row| row.0))
            .collect();
        for address in addresses {
            let hosts = OldNew {
                old: then.or_else(|| old.at(address)),
                new: now.or_else(|| new.at(address)),
            };
            meetings.insert(HostCrossing {
                near: joint.at(both, address),
                hosts,
            });
        }
        meetings.insert(HostCrossing {
            near: None,
            hosts: OldNew {
                old: then.or(old.hosts.everywhere),
                new: now.or(new.hosts.everywhere),
            },
        });
    }

    meetings.retain(|meeting| meeting.hosts.old.is_some() || meeting.hosts.new.is_some());
    meetings
}

/// The host endpoints of a node in one state.
struct HostEndpointsOnNode {
    hosts: HostsOnNode,
    /// The host endpoints that match by address, in the order of matching.
    addresses: Vec<(IpAddr, HostEndpointId)>,
}

impl HostEndpointsOnNode {
    fn new(known: DecidedState<'_, '_>, node: &str) -> Self {
        let resolved = known.resolved;
        let hosts = resolved
            .inventory
            .find_node(node)
            .map(|node| resolved.hosts_on(node))
            .unwrap_or_default();
        let of = |id: &HostEndpointId| {
            resolved
                .host_endpoint(*id)
                .into_iter()
                .flat_map(|host| host.addresses.iter().copied())
        };

        let addresses = hosts
            .addresses
            .iter()
            .flat_map(|id| of(id).map(move |address| (address, *id)))
            .collect();
        Self { hosts, addresses }
    }

    fn at(&self, address: IpAddr) -> Option<HostEndpointId> {
        let by_address = self
            .addresses
            .iter()
            .find(|row| row.0 == address)
            .map(|row| row.1);
        by_address.or(self.hosts.everywhere)
    }
}
