//! Checks host endpoints (semantics §2.6, §7.5).

use std::{net::IpAddr, sync::Arc};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::{NamedPort, ProfileList};
use crate::manifest::{self, HostPort};
use crate::name::{NameForm, reserved};
use crate::policy::{HostEndpoint, HostPlace};
use crate::source::SpannedString;

/// The interface name that means all interfaces.
const EVERY_INTERFACE: &str = "*";

/// Bytes of an interface name: `IFNAMSIZ` 16, minus the terminator (linux/if.h).
const INTERFACE_NAME: usize = 15;

/// All host endpoints, by name.
pub(super) fn endpoints(
    written: &[manifest::HostEndpoint],
    diagnostics: &mut Diagnostics,
) -> Vec<HostEndpoint> {
    let mut endpoints: Vec<HostEndpoint> = written
        .iter()
        .filter_map(|written| endpoint(written, diagnostics))
        .collect();
    endpoints.sort_by(|left, right| left.name.cmp(&right.name));
    endpoints
}

fn endpoint(
    written: &manifest::HostEndpoint,
    diagnostics: &mut Diagnostics,
) -> Option<HostEndpoint> {
    let name = &written.metadata.name;
    refuse_namespace(written, diagnostics);
    let node_fits = NameForm::DnsSubdomain.check_text(&written.node, "node name", diagnostics);
    let place = place(written, diagnostics);
    let labels = written
        .metadata
        .labels
        .iter()
        .map(|(key, value)| (key.value.clone(), value.value.clone()));
    let (addresses, ports) = (
        addresses(&written.expected_ips, diagnostics),
        ports(&written.ports, diagnostics),
    );

    let endpoint = HostEndpoint {
        name: name.value.clone(),
        node: written.node.value.clone(),
        place: place?,
        addresses,
        ports,
        labels: labels.collect(),
        profiles: ProfileList::named(&written.profiles),
        span: name.span,
    };
    node_fits.then_some(endpoint)
}

/// Refuses the namespace label. With it, the host endpoint would look like a pod of that namespace,
/// and policies of the namespace would apply to it.
fn refuse_namespace(written: &manifest::HostEndpoint, diagnostics: &mut Diagnostics) {
    for (key, _) in written
        .metadata
        .labels
        .iter()
        .filter(|(key, _)| key.value == reserved::NAMESPACE)
    {
        let message = format!(
            "the label `{}` is not for a host endpoint to claim",
            key.value
        );
        diagnostics.push(
            Diagnostic::at(Code::InvalidLabel, key.span, message)
                .help("a host endpoint is in no namespace"),
        );
    }
}

fn place(written: &manifest::HostEndpoint, diagnostics: &mut Diagnostics) -> Option<HostPlace> {
    let Some(interface) = &written.interface else {
        let name = &written.metadata.name;
        if written.expected_ips.is_empty() {
            let message = "a host endpoint needs `interfaceName` or `expectedIPs`";
            diagnostics.push(
                Diagnostic::at(Code::MissingField, name.span, message)
                    .help("`interfaceName: \"*\"` is every interface of the node"),
            );
            return None;
        }
        let message = format!(
            "`{}` names no interface, so its packets are told by its addresses",
            name.value
        );
        let help = "name its interface: packets that it receives for other addresses of the node \
                    are not its";
        diagnostics
            .push(Diagnostic::at(Code::HostEndpointByAddress, name.span, message).help(help));
        return Some(HostPlace::Addresses);
    };
    if interface.value == EVERY_INTERFACE {
        return Some(HostPlace::Everywhere);
    }

    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if interface.value.len() > INTERFACE_NAME || !interface.value.bytes().all(allowed) {
        let message = format!(
            "`{}` is no valid interface name",
            interface.value.escape_debug()
        );
        let help = "an interface name is `*`, or up to 15 of A-Z, a-z, 0-9, `_`, `.` and `-`";
        diagnostics.push(Diagnostic::at(Code::InvalidName, interface.span, message).help(help));
        return None;
    }

    Some(HostPlace::Interface(interface.value.clone()))
}

fn addresses(written: &[SpannedString], diagnostics: &mut Diagnostics) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = written
        .iter()
        .filter_map(|text| address(text, diagnostics))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Checks an address of a host. IPv4-mapped IPv6 addresses are refused, because they would end up
/// in sets of the wrong family.
fn address(text: &SpannedString, diagnostics: &mut Diagnostics) -> Option<IpAddr> {
    let in_other_notation =
        |address: &IpAddr| matches!(address, IpAddr::V6(inner) if inner.to_ipv4_mapped().is_some());
    let nobodys = |address: &IpAddr| {
        address.is_unspecified() || address.is_loopback() || address.is_multicast()
    };

    let address = text
        .value
        .parse()
        .ok()
        .filter(|address| !in_other_notation(address) && !nobodys(address));
    if address.is_none() {
        let message = format!(
            "`{}` is not an address that a host can have",
            text.value.escape_debug()
        );
        diagnostics.push(
            Diagnostic::at(Code::InvalidAddress, text.span, message)
                .help("write one address, without a prefix length"),
        );
    }

    address
}

fn ports(written: &[HostPort], diagnostics: &mut Diagnostics) -> Vec<NamedPort> {
    let mut ports: Vec<NamedPort> = written
        .iter()
        .filter_map(|written| port(written, diagnostics))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn port(
    HostPort {
        name,
        protocol,
        number,
    }: &HostPort,
    diagnostics: &mut Diagnostics,
) -> Option<NamedPort> {
    let fits = NameForm::PortName.check_text(name, "port name", diagnostics);
    let written = protocol.value.protocol();
    if !written.has_ports() {
        let message = format!("{written} has no ports");
        diagnostics.push(
            Diagnostic::at(Code::InvalidProtocol, protocol.span, message)
                .help("write TCP, UDP or SCTP"),
        );
        return None;
    }

    fits.then(|| NamedPort {
        name: Arc::from(name.value.as_str()),
        protocol: written,
        number: *number,
    })
}
