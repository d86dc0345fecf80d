//! Calico's `HostEndpoint`, field by field (API of `projectcalico.org/v3`).

use crate::diagnostic::Diagnostics;
use crate::document::{MappingFields, YamlNode};
use crate::manifest::text_fields::absent_if_empty;
use crate::manifest::{
    HostEndpoint, HostPort, Metadata, WrittenProtocol, calico, metadata, stand_in,
};
use crate::net::Protocol;
use crate::source::Spanned;

/// A `HostEndpoint`.
pub(super) fn endpoint(
    tree: &YamlNode,
    metadata: Metadata,
    found: &mut Diagnostics,
) -> Option<HostEndpoint> {
    let mut spec = metadata::spec(tree, found)?;
    let node = spec
        .require("node", found)
        .and_then(|node| node.text(found));
    let interface = absent_if_empty(spec.text("interfaceName", found));
    ["expectedIPs", "profiles"]
        .into_iter()
        .for_each(|name| spec.distinct(name, found));
    let expected_ips = spec.list("expectedIPs", found, YamlNode::text);
    let profiles = spec.list("profiles", found, YamlNode::text);
    let ports = spec.list("ports", found, port);
    let node = node.unwrap_or_else(|| stand_in(spec.span));
    spec.finish(found);
    Some(HostEndpoint {
        metadata,
        node,
        interface,
        expected_ips,
        profiles,
        ports,
    })
}

fn port(node: &YamlNode, found: &mut Diagnostics) -> Option<HostPort> {
    let mut fields = MappingFields::from_node(node, found)?;
    let name = fields
        .require("name", found)
        .and_then(|node| node.text(found));
    let protocol = fields
        .require("protocol", found)
        .and_then(|node| calico::written_protocol(node, found));
    let number = fields
        .require("port", found)
        .and_then(|node| node.integer(1, 65_535, found));
    fields.finish(found);
    let protocol =
        protocol.unwrap_or_else(|| Spanned::new(WrittenProtocol::Name(Protocol::TCP), node.span));
    let number = number
        .and_then(|number| u16::try_from(number.value).ok())
        .unwrap_or(1);
    Some(HostPort {
        name: name.unwrap_or_else(|| stand_in(node.span)),
        protocol,
        number,
    })
}
