//! Calico's `HostEndpoint`, field by field (API of `projectcalico.org/v3`).

use crate::diagnostic::Diagnostics;
use crate::document::{Fields, Node};
use crate::manifest::{HostEndpoint, HostPort, Metadata, calico, metadata};

/// A `HostEndpoint`.
pub(super) fn endpoint(tree: &Node, metadata: Metadata, found: &mut Diagnostics) -> Option<HostEndpoint> {
    let mut spec = metadata::spec(tree, found)?;
    let node = spec.require("node", found).and_then(|node| node.text(found));
    let interface = calico::absent_if_empty(spec.text("interfaceName", found));
    let expected_ips = spec.list("expectedIPs", found, Node::text);
    let profiles = spec.list("profiles", found, Node::text);
    let ports = spec.list("ports", found, port);
    spec.finish(found);
    Some(HostEndpoint { metadata, node: node?, interface, expected_ips, profiles, ports })
}

fn port(node: &Node, found: &mut Diagnostics) -> Option<HostPort> {
    let mut fields = Fields::of(node, found)?;
    let name = fields.require("name", found).and_then(|node| node.text(found));
    let protocol = fields.require("protocol", found).and_then(|node| calico::written_protocol(node, found));
    let number = fields.require("port", found).and_then(|node| node.integer(1, 65_535, found));
    fields.finish(found);
    Some(HostPort { name: name?, protocol: protocol?, number: u16::try_from(number?.value).ok()? })
}
