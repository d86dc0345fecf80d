//! Calico's endpoints, field by field (API of `projectcalico.org/v3`).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{Fields, Node};
use crate::manifest::{EndpointPort, Metadata, WorkloadEndpoint, kubernetes, metadata};
use crate::name::Form;
use crate::text::Text;

/// Characters of an interface's name (Linux `IFNAMSIZ`).
const LONGEST_INTERFACE: usize = 15;

/// A `WorkloadEndpoint`.
pub(super) fn workload(tree: &Node, metadata: Metadata, found: &mut Diagnostics) -> Option<WorkloadEndpoint> {
    let mut spec = metadata::spec(tree, found)?;
    let orchestrator = spec.require("orchestrator", found).and_then(|node| node.text(found));
    let node = spec.require("node", found).and_then(|node| node.text(found));
    let service_account = spec.text("serviceAccountName", found).filter(|name| !name.value.is_empty());
    let networks = spec.list("ipNetworks", found, Node::text);
    let profiles = spec.list("profiles", found, Node::text);
    let ports = spec.list("ports", found, workload_port);
    if let Some(interface) = spec.text("interfaceName", found) {
        check_interface(&interface, found);
    }
    // who made it, and what it is connected with: nothing of this says whom a packet is from
    for name in ["workload", "endpoint", "pod", "containerID", "mac", "ipv4Gateway", "ipv6Gateway"] {
        spec.text(name, found);
    }
    spec.ignore(&["qosControls"]);
    spec.refuse(&["ipNATs", "allowSpoofedSourcePrefixes"], found);
    spec.finish(found);
    let (orchestrator, node) = (orchestrator?, node?);
    Form::LabelValue.check_text(&orchestrator, "name of an orchestrator", found);
    Form::DnsSubdomain.check_text(&node, "node name", found);
    if let Some(name) = &service_account {
        Form::DnsSubdomain.check_text(name, "service account name", found);
    }
    for profile in &profiles {
        Form::DnsSubdomain.check_text(profile, "profile name", found);
    }
    Some(WorkloadEndpoint {
        metadata,
        orchestrator,
        node,
        service_account,
        networks,
        profiles,
        ports: ports.into_iter().flatten().collect(),
    })
}

/// A port; inner none where it has no name, which only a port that is mapped from the host may lack.
#[expect(clippy::option_option, reason = "outer: whether it is valid; inner: whether it has a name")]
fn workload_port(node: &Node, found: &mut Diagnostics) -> Option<Option<EndpointPort>> {
    let mut fields = Fields::of(node, found)?;
    let host_port = fields.get("hostPort").and_then(|node| node.integer(0, 65535, found)).is_some_and(|port| port.value > 0);
    let name = if host_port { fields.get("name") } else { fields.require("name", found) };
    let name = name.and_then(|node| node.text(found)).filter(|name| !name.value.is_empty());
    let protocol = fields.require("protocol", found).and_then(|node| node.choice(&kubernetes::PROTOCOLS, found));
    let number = fields.require("port", found).and_then(|node| node.integer(1, 65535, found));
    fields.text("hostIP", found);
    fields.finish(found);
    let (protocol, number) = (protocol?.value, u16::try_from(number?.value).ok()?);
    let Some(name) = name else { return Some(None) };
    if !Form::PortName.fits(&name.value) {
        let message = format!("`{}` is no valid port name", name.value.escape_debug());
        found.push(Diagnostic::at(Code::InvalidPort, name.span, message).help(format!("a port name is {}", Form::PortName.description())));
    }
    Some(Some(EndpointPort { name, protocol, number }))
}

fn check_interface(name: &Text, found: &mut Diagnostics) {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if name.value.is_empty() || name.value.len() > LONGEST_INTERFACE || !name.value.chars().all(fits) {
        let message = format!("`{}` is no valid interface name", name.value.escape_debug());
        let help = format!("an interface name is up to {LONGEST_INTERFACE} of A-Z, a-z, 0-9, `_`, `.` and `-`");
        found.push(Diagnostic::at(Code::InvalidName, name.span, message).help(help));
    }
}
