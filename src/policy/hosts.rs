//! Host endpoints, checked (reference §2.6, §7.5).

use std::{net::IpAddr, sync::Arc};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::NamedPort;
use crate::manifest::{self, HostPort};
use crate::name::Form;
use crate::policy::{HostEndpoint, HostPlace};
use crate::text::Text;

/// The interface name that stands for every interface.
const EVERY_INTERFACE: &str = "*";

/// Bytes of an interface's name: `IFNAMSIZ` 16 less the end mark (linux/if.h).
const INTERFACE_NAME: usize = 15;

/// The profile that every cluster has, and that lets everything through both ways.
const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

/// All host endpoints, by name.
pub(super) fn endpoints(written: &[manifest::HostEndpoint], found: &mut Diagnostics) -> Vec<HostEndpoint> {
    let mut endpoints: Vec<HostEndpoint> = written.iter().filter_map(|written| endpoint(written, found)).collect();
    endpoints.sort_by(|left, right| left.name.cmp(&right.name));
    endpoints
}

fn endpoint(written: &manifest::HostEndpoint, found: &mut Diagnostics) -> Option<HostEndpoint> {
    let name = &written.metadata.name;
    let node_fits = Form::DnsSubdomain.check_text(&written.node, "node name", found);
    let place = place(written, found);
    let labels = written.metadata.labels.iter().map(|(key, value)| (key.value.clone(), value.value.clone()));
    let (addresses, ports) = (addresses(&written.expected_ips, found), ports(&written.ports, found));
    let allows_by_default = allows_by_default(&written.profiles, found);
    let endpoint = HostEndpoint {
        name: name.value.clone(),
        node: written.node.value.clone(),
        place: place?,
        addresses,
        ports,
        labels: labels.collect(),
        allows_by_default,
        span: name.span,
    };
    node_fits.then_some(endpoint)
}

fn place(written: &manifest::HostEndpoint, found: &mut Diagnostics) -> Option<HostPlace> {
    let Some(interface) = &written.interface else {
        let name = &written.metadata.name;
        if written.expected_ips.is_empty() {
            let message = "a host endpoint needs `interfaceName` or `expectedIPs`";
            found
                .push(Diagnostic::at(Code::MissingField, name.span, message).help("`interfaceName: \"*\"` is every interface of the node"));
            return None;
        }
        let message = format!("`{}` names no interface, so its packets are told by its addresses", name.value);
        let help = "name its interface: packets that it receives for other addresses of the node are not its";
        found.push(Diagnostic::at(Code::HostEndpointByAddress, name.span, message).help(help));
        return Some(HostPlace::Addresses);
    };
    if interface.value == EVERY_INTERFACE {
        return Some(HostPlace::Everywhere);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if interface.value.len() > INTERFACE_NAME || !interface.value.bytes().all(allowed) {
        let message = format!("`{}` is no valid interface name", interface.value.escape_debug());
        let help = "an interface name is `*`, or up to 15 of A-Z, a-z, 0-9, `_`, `.` and `-`";
        found.push(Diagnostic::at(Code::InvalidName, interface.span, message).help(help));
        return None;
    }
    Some(HostPlace::Interface(interface.value.clone()))
}

fn addresses(written: &[Text], found: &mut Diagnostics) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = written.iter().filter_map(|text| address(text, found)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// An address that a host can have. An IPv4 address in IPv6 notation is refused: it would stand in the sets of the wrong family.
fn address(text: &Text, found: &mut Diagnostics) -> Option<IpAddr> {
    let in_other_notation = |address: &IpAddr| matches!(address, IpAddr::V6(inner) if inner.to_ipv4_mapped().is_some());
    let nobodys = |address: &IpAddr| address.is_unspecified() || address.is_loopback() || address.is_multicast();
    let address = text.value.parse().ok().filter(|address| !in_other_notation(address) && !nobodys(address));
    if address.is_none() {
        let message = format!("`{}` is not an address that a host can have", text.value.escape_debug());
        found.push(Diagnostic::at(Code::InvalidAddress, text.span, message).help("write one address, without a prefix length"));
    }
    address
}

fn ports(written: &[HostPort], found: &mut Diagnostics) -> Vec<NamedPort> {
    let mut ports: Vec<NamedPort> = written.iter().filter_map(|written| port(written, found)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn port(HostPort { name, protocol, number }: &HostPort, found: &mut Diagnostics) -> Option<NamedPort> {
    let fits = Form::PortName.check_text(name, "port name", found);
    let written = protocol.value.protocol();
    if !written.has_ports() {
        let message = format!("{written} has no ports");
        found.push(Diagnostic::at(Code::InvalidProtocol, protocol.span, message).help("write TCP, UDP or SCTP"));
        return None;
    }
    fits.then(|| NamedPort { name: Arc::from(name.value.as_str()), protocol: written, number: *number })
}

/// Whether the profiles let everything through. Others than the built-in one are not compiled.
fn allows_by_default(profiles: &[Text], found: &mut Diagnostics) -> bool {
    for profile in profiles.iter().filter(|profile| profile.value != DEFAULT_ALLOW) {
        let message = format!("the profile `{}` is not supported yet", profile.value.escape_debug());
        let help = format!("Palisade refuses what it does not enforce; it knows `{DEFAULT_ALLOW}`");
        found.push(Diagnostic::at(Code::UnsupportedField, profile.span, message).help(help));
    }
    profiles.iter().any(|profile| profile.value == DEFAULT_ALLOW)
}
