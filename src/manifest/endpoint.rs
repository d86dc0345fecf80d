//! Reads Calico's workload endpoints (API of `projectcalico.org/v3`).

use std::net::IpAddr;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{MappingFields, YamlNode};
use crate::manifest::text_fields::absent_if_empty;
use crate::manifest::{EndpointPort, Metadata, WorkloadEndpoint, calico, metadata, stand_in};
use crate::name::NameForm;
use crate::net::{Cidr, Family, Protocol};
use crate::source::{Span, SpannedString};

/// Maximum number of characters in an interface name (Linux `IFNAMSIZ`).
const LONGEST_INTERFACE: usize = 15;

/// Fields that the name of an endpoint contains, besides its node and orchestrator.
struct NameParts {
    workload: Option<SpannedString>,
    endpoint: Option<SpannedString>,
    pod: Option<SpannedString>,
    container: Option<SpannedString>,
}

/// Reads a `WorkloadEndpoint`.
pub(super) fn workload(
    tree: &YamlNode,
    metadata: Metadata,
    diagnostics: &mut Diagnostics,
) -> Option<WorkloadEndpoint> {
    let mut spec = metadata::spec(tree, diagnostics)?;
    let place = spec.span;
    let orchestrator = spec
        .require("orchestrator", diagnostics)
        .and_then(|node| node.text(diagnostics));
    let node = spec
        .require("node", diagnostics)
        .and_then(|node| node.text(diagnostics));
    let service_account = absent_if_empty(spec.text("serviceAccountName", diagnostics));
    let networks = spec.list("ipNetworks", diagnostics, YamlNode::text);
    let profiles = spec.list("profiles", diagnostics, YamlNode::text);
    let ports = spec.list("ports", diagnostics, port);
    let parts = parts(&mut spec, diagnostics);

    check_connection(&mut spec, diagnostics);
    spec.ignore(&["qosControls"]);
    spec.refuse(&["ipNATs", "allowSpoofedSourcePrefixes"], diagnostics);
    spec.finish(diagnostics);

    let named = [
        (orchestrator.as_ref(), "name of an orchestrator"),
        (node.as_ref(), "node name"),
        (service_account.as_ref(), "service account name"),
    ];
    let all_fit = check_names(named, diagnostics);

    check_names(
        profiles
            .iter()
            .map(|profile| (Some(profile), "profile name")),
        diagnostics,
    );

    if let (true, Some(orchestrator), Some(node)) = (all_fit, &orchestrator, &node) {
        check_own_name(
            &metadata.name,
            [node, orchestrator],
            &parts,
            place,
            diagnostics,
        );
    }

    Some(WorkloadEndpoint {
        metadata,
        orchestrator: orchestrator.unwrap_or_else(|| stand_in(place)),
        node: node.unwrap_or_else(|| stand_in(place)),
        service_account,
        networks,
        profiles,
        ports: ports.into_iter().flatten().collect(),
    })
}

/// Checks the names that are present. Returns whether all of them are valid.
fn check_names<'text>(
    names: impl IntoIterator<Item = (Option<&'text SpannedString>, &'static str)>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let stated = names
        .into_iter()
        .filter_map(|(name, what)| Some((name?, what)));
    stated.fold(true, |fits, (name, what)| {
        NameForm::DnsSubdomain.check_text(name, what, diagnostics) && fits
    })
}

fn parts(spec: &mut MappingFields<'_>, diagnostics: &mut Diagnostics) -> NameParts {
    let mut text = |name| absent_if_empty(spec.text(name, diagnostics));
    let (workload, endpoint, pod, container) = (
        text("workload"),
        text("endpoint"),
        text("pod"),
        text("containerID"),
    );

    check_names(
        [
            (workload.as_ref(), "workload name"),
            (endpoint.as_ref(), "endpoint name"),
            (pod.as_ref(), "pod name"),
        ],
        diagnostics,
    );

    if let Some(id) = container.as_ref().filter(|id| !is_container(&id.value)) {
        let message = format!("`{}` is no valid container ID", id.value.escape_debug());
        let help = "a container ID is made of A-Z, a-z, 0-9 and `-`, and has no `-` at the ends";
        diagnostics.push(Diagnostic::at(Code::InvalidName, id.span, message).help(help));
    }

    NameParts {
        workload,
        endpoint,
        pod,
        container,
    }
}

fn is_container(id: &str) -> bool {
    id.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !id.starts_with('-')
        && !id.ends_with('-')
}

/// Checks that the object's name matches its fields: node, orchestrator, workload and endpoint,
/// each with `-` doubled (Calico, `WorkloadEndpointIdentifiers`).
fn check_own_name(
    name: &SpannedString,
    [node, orchestrator]: [&SpannedString; 2],
    parts: &NameParts,
    place: Span,
    diagnostics: &mut Diagnostics,
) {
    let (field, what) = match orchestrator.value.as_str() {
        "k8s" => ("pod", parts.pod.as_ref()),
        "cni" => ("containerID", parts.container.as_ref()),
        "libnetwork" => ("orchestrator", Some(orchestrator)),
        _ => ("workload", parts.workload.as_ref()),
    };

    for (field, _) in [(field, what), ("endpoint", parts.endpoint.as_ref())]
        .iter()
        .filter(|(_, part)| part.is_none())
    {
        let message = format!("`{field}` is missing, which is a part of the endpoint's name");
        diagnostics.push(Diagnostic::at(Code::MissingField, place, message));
    }
    let (Some(what), Some(endpoint)) = (what, &parts.endpoint) else {
        return;
    };

    let expected = [node, orchestrator, what, endpoint]
        .map(|part| part.value.replace('-', "--"))
        .join("-");
    if name.value != expected {
        let message = format!(
            "`{}` is not the name that the endpoint's fields make",
            name.value.escape_debug()
        );
        diagnostics.push(
            Diagnostic::at(Code::InvalidName, name.span, message)
                .help(format!("write `{}`", expected.escape_debug())),
        );
    }
}

/// Checks the fields about the endpoint's interface. None of them identifies the sender of a
/// packet.
fn check_connection(spec: &mut MappingFields<'_>, diagnostics: &mut Diagnostics) {
    if let Some(interface) = spec.text("interfaceName", diagnostics) {
        check_interface(&interface, diagnostics);
    }

    if let Some(mac) =
        absent_if_empty(spec.text("mac", diagnostics)).filter(|mac| !is_mac(&mac.value))
    {
        let message = format!("`{}` is no MAC address", mac.value.escape_debug());
        diagnostics.push(
            Diagnostic::at(Code::InvalidAddress, mac.span, message)
                .help("write `02:00:00:00:00:01`"),
        );
    }

    for (name, family) in [("ipv4Gateway", Family::V4), ("ipv6Gateway", Family::V6)] {
        let Some(gateway) = absent_if_empty(spec.text(name, diagnostics)) else {
            continue;
        };
        let fits = gateway
            .value
            .parse()
            .is_ok_and(|address: IpAddr| address.is_ipv4() == (family == Family::V4));
        if !fits {
            let message = format!("`{}` is no {family} address", gateway.value.escape_debug());
            diagnostics.push(Diagnostic::at(Code::InvalidAddress, gateway.span, message));
        }
    }
}

/// Whether a text is a hardware address: 6, 8 or 20 bytes in hexadecimal, in pairs separated by `:`
/// or `-`, or in groups of four separated by `.` (Go's `net.ParseMAC`).
fn is_mac(text: &str) -> bool {
    let is_made_of = |separator: char, digits: usize| {
        let groups: Vec<&str> = text.split(separator).collect();
        let fit = |group: &&str| {
            group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        groups.iter().all(fit) && [6, 8, 20].contains(&(groups.len() * digits / 2))
    };
    is_made_of(':', 2) || is_made_of('-', 2) || is_made_of('.', 4)
}

/// Reads a port. The inner value is `None` if the port has no name. Only a port that is mapped from
/// the host may lack one.
#[expect(
    clippy::option_option,
    reason = "outer: whether it is valid; inner: whether it has a name"
)]
fn port(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Option<EndpointPort>> {
    let mut fields = MappingFields::from_node(node, diagnostics)?;
    let host_port = fields
        .get("hostPort")
        .and_then(|node| node.integer(0, 65535, diagnostics))
        .is_some_and(|port| port.value > 0);
    let name = if host_port {
        fields.get("name")
    } else {
        fields.require("name", diagnostics)
    };

    let name = name
        .and_then(|node| node.text(diagnostics))
        .filter(|name| !(host_port && name.value.is_empty()));
    let protocol = fields
        .require("protocol", diagnostics)
        .and_then(|node| port_protocol(node, diagnostics));
    let number = fields
        .require("port", diagnostics)
        .and_then(|node| node.integer(1, 65535, diagnostics));
    if let Some(address) = absent_if_empty(fields.text("hostIP", diagnostics))
        .filter(|address| !is_network(&address.value))
    {
        let message = format!("`{}` is no IP address", address.value.escape_debug());
        diagnostics.push(Diagnostic::at(Code::InvalidAddress, address.span, message));
    }
    fields.finish(diagnostics);

    if let Some(name) = name
        .as_ref()
        .filter(|name| !NameForm::PortName.fits(&name.value))
    {
        let message = format!("`{}` is no valid port name", name.value.escape_debug());
        diagnostics.push(
            Diagnostic::at(Code::InvalidPort, name.span, message).help(format!(
                "a port name is {}",
                NameForm::PortName.description()
            )),
        );
    }

    let (protocol, number) = (protocol?, u16::try_from(number?.value).ok()?);
    Some(name.map(|name| EndpointPort {
        name,
        protocol,
        number,
    }))
}

fn port_protocol(node: &YamlNode, diagnostics: &mut Diagnostics) -> Option<Protocol> {
    let protocol = calico::written_protocol(node, diagnostics)?
        .value
        .protocol();

    if !protocol.has_ports() {
        let message = format!("{protocol} has no ports");
        diagnostics.push(
            Diagnostic::at(Code::InvalidProtocol, node.span, message)
                .help("write TCP, UDP or SCTP"),
        );
    }

    protocol.has_ports().then_some(protocol)
}

/// Whether a text is an address, or a prefix without host bits.
fn is_network(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || Cidr::parse_strict(text).is_ok()
}

fn check_interface(name: &SpannedString, diagnostics: &mut Diagnostics) {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if name.value.is_empty()
        || name.value.len() > LONGEST_INTERFACE
        || !name.value.chars().all(fits)
    {
        let message = format!("`{}` is no valid interface name", name.value.escape_debug());
        let help = format!(
            "an interface name is up to {LONGEST_INTERFACE} of A-Z, a-z, 0-9, `_`, `.` and `-`"
        );
        diagnostics.push(Diagnostic::at(Code::InvalidName, name.span, message).help(help));
    }
}
