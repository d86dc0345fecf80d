//! Which host endpoints packets meet at the places of a node, then and now.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::diff::matched_peers::MatchedPeers;
use crate::diff::{DecidedState, OldNew};
use crate::resolve::{HostEndpointId, HostsOnNode};

/// A place of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostCrossing {
    /// The joint class of the address at the node, where only that is meant.
    pub(super) near: Option<usize>,
    /// Who is met there.
    pub(super) hosts: OldNew<Option<HostEndpointId>>,
}

/// The nodes that have a host endpoint in either state, by name.
pub(super) fn nodes<'input>(both: OldNew<DecidedState<'_, 'input>>) -> BTreeSet<&'input str> {
    let [old, new] = [both.old, both.new].map(|known| known.resolved.host_endpoints_with_ids());
    old.chain(new).map(|(_, host)| host.node.as_str()).collect()
}

/// The places of a node at which somebody is met: each interface that has a host endpoint of its
/// own, and all others.
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

/// A node's host endpoints in one state.
struct HostEndpointsOnNode {
    hosts: HostsOnNode,
    /// Those of addresses, in the order in which they are asked.
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
