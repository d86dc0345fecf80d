//! Services and their backends.
//!
//! Backends come from `EndpointSlice` objects. For a service without any in the input, they come
//! from its `Endpoints` object. Readiness does not count (semantics §6.2). Cluster addresses do not
//! count either, because a packet already has a backend's address when it reaches policy.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::diagnostic::Code;
use crate::inventory::check::MetadataCheck;
use crate::inventory::objects::{ObjectKey, ObjectTable};
use crate::inventory::{addresses, manifests};
use crate::net::Protocol;

/// Key of a service: namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// The backends of a service.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ServiceBackends {
    /// Addresses of all backends, sorted and deduplicated.
    pub addresses: Vec<IpAddr>,
    /// Address, protocol and port of all backends, sorted and deduplicated.
    pub ports: Vec<(IpAddr, Protocol, u16)>,
}

/// Label of an `EndpointSlice` that contains the name of its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The service of a slice and its backends, or `None` for a slice without a service.
pub(super) type SliceBackends = Option<(String, ServiceBackends)>;

impl fmt::Display for ServiceKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// Reads the backends in an `EndpointSlice`.
pub(super) fn read_slice(
    slice: manifests::EndpointSlice,
    labels: &BTreeMap<String, String>,
    check: &mut MetadataCheck<'_>,
) -> Option<SliceBackends> {
    let Some(service) = labels.get(SERVICE_NAME).filter(|name| !name.is_empty()) else {
        return Some(None);
    };
    if slice.address_type.as_deref() == Some("FQDN") {
        return Some(Some((service.clone(), ServiceBackends::default())));
    }

    let texts: Vec<String> = slice
        .endpoints
        .into_iter()
        .flatten()
        .flat_map(|endpoint| endpoint.addresses.unwrap_or_default())
        .collect();

    let backends = backends(&texts, &slice.ports.unwrap_or_default(), check)?;
    Some(Some((service.clone(), backends)))
}

/// Reads the backends in an `Endpoints` object.
pub(super) fn read_endpoints(
    endpoints: manifests::EndpointsManifest,
    check: &mut MetadataCheck<'_>,
) -> Option<ServiceBackends> {
    let mut service = ServiceBackends::default();
    for subset in endpoints.subsets.unwrap_or_default() {
        let addresses = subset
            .addresses
            .into_iter()
            .chain(subset.not_ready_addresses)
            .flatten();
        let texts: Vec<String> = addresses.filter_map(|address| address.ip).collect();
        service.extend(backends(&texts, &subset.ports.unwrap_or_default(), check)?);
    }

    Some(service)
}

/// All combinations of address and port.
fn backends(
    texts: &[String],
    ports: &[manifests::EndpointPortManifest],
    check: &mut MetadataCheck<'_>,
) -> Option<ServiceBackends> {
    let addresses = texts
        .iter()
        // One wrong address makes the whole object wrong. A partial set of backends could widen or
        // break a rule.
        .map(|text| addresses::address("service", text, check))
        .collect::<Option<Vec<_>>>()?;
    let ports = ports
        .iter()
        .map(|port| port_of(port, check))
        .collect::<Option<Vec<_>>>()?;
    let numbered = ports.into_iter().flatten();
    let all = numbered.flat_map(|(protocol, port)| {
        addresses
            .iter()
            .map(move |address| (*address, protocol, port))
    });

    let mut service = ServiceBackends {
        ports: all.collect(),
        addresses: Vec::new(),
    };
    service.extend(ServiceBackends {
        addresses,
        ports: Vec::new(),
    });

    Some(service)
}

/// Protocol and number of a port. A port without a number is ignored.
#[expect(
    clippy::option_option,
    reason = "outer: whether it is valid; inner: whether it is there"
)]
fn port_of(
    port: &manifests::EndpointPortManifest,
    check: &mut MetadataCheck<'_>,
) -> Option<Option<(Protocol, u16)>> {
    let protocol = match port.protocol.as_deref() {
        None | Some("") => Protocol::TCP,
        Some(name) => match Protocol::from_name(name).filter(|protocol| protocol.has_ports()) {
            Some(protocol) => protocol,
            None => {
                check.refuse(
                    Code::InvalidProtocol,
                    &format!("`{}` is no protocol of a service", name.escape_debug()),
                );
                return None;
            }
        },
    };

    let Some(number) = port.port else {
        return Some(None);
    };

    let valid = u16::try_from(number).ok().filter(|number| *number != 0);
    if valid.is_none() {
        check.refuse(Code::InvalidPort, &format!("`{number}` is no port"));
    }

    Some(Some((protocol, valid?)))
}

impl ServiceBackends {
    fn extend(&mut self, other: ServiceBackends) {
        self.addresses.extend(other.addresses);
        self.addresses.sort_unstable();
        self.addresses.dedup();
        self.ports.extend(other.ports);
        self.ports.sort_unstable();
        self.ports.dedup();
    }
}

/// All services. Slices of one service are merged. `Endpoints` objects are used only if the service
/// has no slice.
pub(super) fn services(
    slices: ObjectTable<SliceBackends>,
    endpoints: ObjectTable<ServiceBackends>,
) -> BTreeMap<ServiceKey, ServiceBackends> {
    let mut services: BTreeMap<ServiceKey, ServiceBackends> = BTreeMap::new();
    for (key, slice) in slices.known {
        let Some((name, backends)) = slice.value else {
            continue;
        };
        services
            .entry(ServiceKey {
                namespace: key.namespace.to_string(),
                name,
            })
            .or_default()
            .extend(backends);
    }

    for (ObjectKey { namespace, name }, backends) in endpoints.known {
        let text = |shared: Arc<str>| shared.to_string();
        services
            .entry(ServiceKey {
                namespace: text(namespace),
                name: text(name),
            })
            // Kubernetes keeps slices for the same backends, so `Endpoints` would only repeat them.
            .or_insert(backends.value);
    }

    services
}
