//! Reads Calico's `HostEndpoint` (API of `projectcalico.org/v3`).

use crate::diagnostic::Diagnostics;
use crate::document::{MappingFields, YamlNode};
use crate::manifest::text_fields::absent_if_empty;
use crate::manifest::{
    HostEndpoint, HostPort, Metadata, WrittenProtocol, calico, metadata, stand_in,
};
use crate::net::Protocol;
use crate::source::Spanned;

/// Reads a `HostEndpoint`.
pub(super) fn endpoint(
    tree: &YamlNode,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> Option<HostEndpoint> {
    let mut spec = metadata::spec(tree, diagnostics)?;
    let node = spec
        .require("node", diagnostics)
        .and_then(|node| node.text(diagnostics));
    let interface = absent_if_empty(spec.text("interfaceName", diagnostics));

    ["expectedIPs", "profiles"]
        .into_iter()
        .for_each(|name| spec.distinct(name, diagnostics));
    let expected_ips = spec.list("expectedIPs", diagnostics, YamlNode::text);
    let profiles = spec.list("profiles", diagnostics, YamlNode::text);
    let ports = spec.list("ports", diagnostics, port);
    let node = node.unwrap_or_else(|| stand_in(spec.span));

    spec.finish(diagnostics);
    Some(HostEndpoint {
        metadata,
        node,
        interface,
        expected_ips,
        profiles,
        ports,
    })
}

fn port(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<HostPort> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let name = fields
        .require("name", diagnostics)
        .and_then(|node| node.text(diagnostics));
    let protocol = fields
        .require("protocol", diagnostics)
        .and_then(|node| calico::written_protocol(node, diagnostics));
    let number = fields
        .require("port", diagnostics)
        .and_then(|node| node.integer(1, 65_535, diagnostics));

    fields.finish(diagnostics);
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
