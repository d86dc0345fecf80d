//! Resolution of named ports.

use std::net::IpAddr;

use crate::inventory::{NamedPort, NodeId};
use crate::net::{Cidr, Family, Protocol};
use crate::policy::PeerSelection;
use crate::resolve::ResolvedPolicy;

/// Named ports of the endpoints that a selector selects.
#[derive(Debug, Clone, Copy)]
pub struct ResolvedPorts<'rule> {
    /// The names.
    pub names: &'rule [String],
    /// The rule's protocol, or `None` for any.
    pub protocol: Option<Protocol>,
    /// The endpoints whose ports are meant.
    pub selected: PeerSelection,
    /// Restricts the result to pods of this node. `None` includes pods of all nodes, and host
    /// endpoints.
    pub node: Option<NodeId>,
}

impl ResolvedPolicy<'_> {
    /// The addresses of a family with the protocols and ports to which endpoints give the names, in
    /// order, without duplicates.
    pub fn named_ports(
        &self,
        wanted: &ResolvedPorts<'_>,
        family: Family,
    ) -> Vec<(IpAddr, Protocol, u16)> {
        let inventory = self.inventory;
        let endpoints: Vec<_> = match (wanted.selected, wanted.node) {
            (PeerSelection::By(selector), node) => {
                let selected = self.members(selector).endpoints.iter().copied();
                selected
                    .filter(|id| node.is_none_or(|node| inventory.endpoint(*id).node == Some(node)))
                    .collect()
            }
            (PeerSelection::Anyone, Some(node)) => self.endpoints_on(node).to_vec(),
            (PeerSelection::Anyone, None) => {
                inventory.endpoints_with_ids().map(|(id, _)| id).collect()
            }
        };

        let hosts: Vec<_> = match (wanted.selected, wanted.node) {
            (_, Some(_)) => Vec::new(),
            (PeerSelection::By(selector), None) => self.members(selector).host_endpoints.clone(),
            (PeerSelection::Anyone, None) => {
                self.host_endpoints_with_ids().map(|(id, _)| id).collect()
            }
        };
        let of_pods = endpoints
            .into_iter()
            .map(|id| inventory.endpoint(id))
            .map(|pod| (&pod.addresses[..], &pod.ports[..]));
        let of_hosts = hosts
            .into_iter()
            .filter_map(|id| self.host_endpoint(id))
            .map(|host| (&host.addresses[..], &host.ports[..]));
        let mut found = Vec::new();

        for (addresses, ports) in of_pods.chain(of_hosts) {
            for port in ports.iter().filter(|port| wanted.fits(port)) {
                let addresses = addresses
                    .iter()
                    .filter(|address| Cidr::host(**address).family() == family);
                found.extend(addresses.map(|address| (*address, port.protocol, port.number)));
            }
        }

        found.sort_unstable();
        found.dedup();
        found
    }
}

impl ResolvedPorts<'_> {
    fn fits(&self, port: &NamedPort) -> bool {
        self.names.iter().any(|name| *name == *port.name)
            && self.protocol.is_none_or(|wanted| wanted == port.protocol)
    }
}
