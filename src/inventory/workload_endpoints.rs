//! Adds Calico's workload endpoints, which describe themselves, to the pods.

use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::{
    EndpointKind, NamedPort, ProfileList, StringTable,
    addresses::is_nobodys,
    labels,
    objects::ObjectKey,
    pods::{PodFields, PodLocation, UnaddressedReason},
};
use crate::manifest::WorkloadEndpoint;
use crate::net::Cidr;
use crate::source::{Spanned, SpannedString};

/// Checks the endpoints. Wrong ones are reported and omitted.
pub(super) fn read(
    written: &[WorkloadEndpoint],
    strings: &mut StringTable,
    diagnostics: &mut Diagnostics,
) -> Vec<(ObjectKey, Spanned<PodFields>)> {
    written
        .iter()
        .filter_map(|written| endpoint(written, strings, diagnostics))
        .collect()
}

fn endpoint(
    written: &WorkloadEndpoint,
    strings: &mut StringTable,
    diagnostics: &mut Diagnostics,
) -> Option<(ObjectKey, Spanned<PodFields>)> {
    let WorkloadEndpoint { metadata, .. } = written;
    let addresses: Vec<_> = written
        .networks
        .iter()
        .map(|text| address(text, diagnostics))
        .collect();

    let mut addresses = addresses.into_iter().collect::<Option<Vec<_>>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    let namespace = metadata
        .namespace
        .as_ref()
        .map_or("", |namespace| &namespace.value);
    let own = metadata
        .labels
        .iter()
        .map(|(key, value)| (key.value.clone(), value.value.clone()))
        .collect();
    let account = written
        .service_account
        .as_ref()
        .map(|account| account.value.as_str());
    let labels = labels::of_endpoint(own, namespace, &written.orchestrator.value, account);

    let mut ports: Vec<NamedPort> = written
        .ports
        .iter()
        .map(|port| NamedPort {
            name: strings.share(&port.name.value),
            protocol: port.protocol,
            number: port.number,
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();

    let place = match addresses.is_empty() {
        true => PodLocation::Open(UnaddressedReason::NoAddress),
        false => PodLocation::Addressed {
            node: strings.share(&written.node.value),
            addresses: addresses.into_boxed_slice(),
        },
    };
    let profiles = written
        .profiles
        .iter()
        .map(|profile| strings.share(&profile.value))
        .collect();
    let pod = PodFields {
        kind: EndpointKind::WorkloadEndpoint,
        place,
        service_account: account.map(|account| strings.share(account)),
        ports: ports.into_boxed_slice(),
        profiles: ProfileList::Listed(profiles),
        owner: None,
        workload: None,
        labels: strings.intern_labels(&labels),
        is_leaving: false,
    };

    let key = ObjectKey {
        namespace: strings.share(namespace),
        name: Arc::from(metadata.name.value.as_str()),
    };
    Some((key, Spanned::new(pod, metadata.name.span)))
}

/// The address of a network, which must be a single address.
fn address(text: &SpannedString, diagnostics: &mut Diagnostics) -> Option<std::net::IpAddr> {
    let network = Cidr::parse_strict(&text.value)
        .ok()
        .filter(|network| *network == Cidr::host(network.address()));

    let address = network
        .map(|network| network.address())
        .filter(|address| !is_nobodys(*address));
    if address.is_none() {
        let message = format!(
            "`{}` is not the network of one address that an endpoint can have",
            text.value.escape_debug()
        );
        diagnostics.push(
            Diagnostic::at(Code::InvalidAddress, text.span, message)
                .help("write an address and `/32`, or `/128` for IPv6"),
        );
    }

    address
}
