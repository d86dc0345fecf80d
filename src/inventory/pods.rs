//! Reads and checks pods.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::diagnostic::Code;
use crate::inventory::{
    EndpointKind, NamedPort, PodOwner, ProfileList, StringTable,
    addresses::address,
    check::MetadataCheck,
    labels::{self, LabelList},
    manifests,
    objects::ObjectKey,
};
use crate::name::NameForm;
use crate::net::Protocol;
use crate::source::Spanned;

/// The relevant fields of a pod or another endpoint. Two pods that are equal here count as one,
/// even if they differ elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PodFields {
    pub(super) kind: EndpointKind,
    pub(super) place: PodLocation,
    pub(super) service_account: Option<Arc<str>>,
    pub(super) ports: Box<[NamedPort]>,
    pub(super) profiles: ProfileList,
    pub(super) owner: Option<PodOwner>,
    /// The controller of the owner, if it is certain.
    pub(super) workload: Option<PodOwner>,
    pub(super) labels: LabelList,
    /// Whether it is being deleted.
    pub(super) is_leaving: bool,
}

/// A pod or another endpoint, with namespace and name.
pub(super) type InputEndpoint = (ObjectKey, Spanned<PodFields>);

/// Where packets for a pod go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PodLocation {
    Addressed {
        node: Arc<str>,
        addresses: Box<[IpAddr]>,
    },
    /// The location is not known yet.
    Open(UnaddressedReason),
    /// No packet can be addressed to the pod, or the packet goes to its node.
    Nowhere(UnaddressedReason),
    /// To the locations of the pods of this template, which are not known.
    Template,
}

/// Why a pod is not an addressable endpoint. The first reason that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UnaddressedReason {
    Finished,
    HostNetwork,
    Unscheduled,
    NoAddress,
    Leaving,
}

impl PodLocation {
    /// The node of an addressable pod, or `None`.
    pub(super) fn node(&self) -> Option<&Arc<str>> {
        match self {
            PodLocation::Addressed { node, .. } => Some(node),
            PodLocation::Open(_) | PodLocation::Nowhere(_) | PodLocation::Template => None,
        }
    }
}

impl UnaddressedReason {
    pub(super) fn description(self) -> &'static str {
        match self {
            UnaddressedReason::Finished => "finished",
            UnaddressedReason::HostNetwork => "on the host's network",
            UnaddressedReason::Unscheduled => "not scheduled",
            UnaddressedReason::NoAddress => "without an address",
            UnaddressedReason::Leaving => "being deleted, with an address that another one has",
        }
    }
}

/// Phases of pods that have released their address (Calico also uses `Completed`).
const FINISHED: [&str; 3] = ["Succeeded", "Failed", "Completed"];

/// Reads and checks a pod. If anything in it is wrong, reports that and returns `None`.
pub(super) fn read(
    key: &ObjectKey,
    own: BTreeMap<String, String>,
    mut pod: manifests::PodManifest,
    strings: &mut StringTable,
    check: &mut MetadataCheck<'_>,
) -> Option<PodFields> {
    let mut spec = pod.spec.take().unwrap_or_default();
    let template = template(key, own, &mut spec, strings, check);
    let place = place(spec, pod.status.unwrap_or_default(), strings, check);
    let TemplateFields {
        service_account,
        ports,
        labels,
    } = template?;
    let service_account = Some(service_account);

    Some(PodFields {
        kind: EndpointKind::Pod,
        place: place?,
        service_account,
        ports,
        profiles: ProfileList::OfPod,
        owner: None,
        workload: None,
        labels,
        is_leaving: false,
    })
}

/// The owner of a pod that is its controller.
pub(super) fn owner(
    owners: Option<Vec<manifests::OwnerReference>>,
    strings: &mut StringTable,
) -> Option<PodOwner> {
    let controller = owners
        .into_iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))?;
    Some(PodOwner {
        kind: strings.share(&controller.kind?),
        name: strings.share(&controller.name?),
    })
}

/// The label with which the Deployment controller distinguishes the pods of different templates.
pub(super) const TEMPLATE_HASH: &str = "pod-template-hash";

/// The Deployment of a ReplicaSet. The Deployment controller names a ReplicaSet after the
/// Deployment and the hash of its template. Returns `None` if the name does not have that form.
pub(super) fn deployment(
    owner: &PodOwner,
    hash: Option<&str>,
    strings: &mut StringTable,
) -> Option<PodOwner> {
    let hash = hash.filter(|hash| !hash.is_empty() && &*owner.kind == "ReplicaSet")?;
    let name = owner
        .name
        .strip_suffix(hash)?
        .strip_suffix('-')
        .filter(|name| !name.is_empty())?;
    Some(PodOwner {
        kind: strings.share("Deployment"),
        name: strings.share(name),
    })
}

/// Properties that all pods of one template share.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TemplateFields {
    pub(super) service_account: Arc<str>,
    pub(super) ports: Box<[NamedPort]>,
    pub(super) labels: LabelList,
}

/// Reads and checks the part of a pod that does not depend on its location.
pub(super) fn template(
    key: &ObjectKey,
    own: BTreeMap<String, String>,
    spec: &mut manifests::PodSpec,
    strings: &mut StringTable,
    check: &mut MetadataCheck<'_>,
) -> Option<TemplateFields> {
    let account =
        given(spec.service_account_name.take()).or_else(|| given(spec.service_account.take()));
    let account = account.unwrap_or_else(|| "default".to_owned());
    let ports = named_ports(spec, strings, check);
    check.name("service account", &account, NameForm::DnsSubdomain)?;

    let labels = labels::of_pod(own, &key.namespace, &account);
    Some(TemplateFields {
        service_account: strings.share(&account),
        ports: ports?,
        labels: strings.intern_labels(&labels),
    })
}

/// The text of a field. The API server does not distinguish empty from absent text.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn place(
    spec: manifests::PodSpec,
    status: manifests::PodStatus,
    strings: &mut StringTable,
    check: &mut MetadataCheck<'_>,
) -> Option<PodLocation> {
    if status
        .phase
        .as_deref()
        .is_some_and(|phase| FINISHED.contains(&phase))
    {
        return Some(PodLocation::Nowhere(UnaddressedReason::Finished));
    }
    // The address belongs to the node, so policy for pods must not apply to it.
    if spec.host_network == Some(true) {
        return Some(PodLocation::Nowhere(UnaddressedReason::HostNetwork));
    }
    // Without a node there is no script that could contain the pod.
    let Some(node) = given(spec.node_name) else {
        return Some(PodLocation::Open(UnaddressedReason::Unscheduled));
    };

    check.name("node", &node, NameForm::DnsSubdomain)?;
    let addresses = addresses(status, check)?;
    match addresses.is_empty() {
        true => Some(PodLocation::Open(UnaddressedReason::NoAddress)),
        false => Some(PodLocation::Addressed {
            node: strings.share(&node),
            addresses,
        }),
    }
}

/// Addresses from `podIPs`, or else from `podIP`.
fn addresses(status: manifests::PodStatus, check: &mut MetadataCheck<'_>) -> Option<Box<[IpAddr]>> {
    let mut texts: Vec<String> = status
        .pod_ips
        .into_iter()
        .flatten()
        .filter_map(|entry| given(entry.ip))
        .collect();

    // The API server fills in both fields. Handwritten manifests may contain only one.
    if texts.is_empty() {
        texts.extend(given(status.pod_ip));
    }

    // Checks all addresses before it stops, so that every mistake is reported.
    let addresses: Vec<Option<IpAddr>> = texts
        .iter()
        .map(|text| address("pod", text, check))
        .collect();

    let mut addresses = addresses.into_iter().collect::<Option<Vec<_>>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    Some(addresses.into_boxed_slice())
}

/// The named ports of containers and init containers.
fn named_ports(
    spec: &manifests::PodSpec,
    strings: &mut StringTable,
    check: &mut MetadataCheck<'_>,
) -> Option<Box<[NamedPort]>> {
    let containers = spec
        .containers
        .iter()
        .chain(&spec.init_containers)
        .flatten();
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let named = ports.filter(|port| port.name.as_deref().is_some_and(|name| !name.is_empty()));
    let read: Vec<Option<NamedPort>> = named.map(|port| named_port(port, strings, check)).collect();

    let mut read = read.into_iter().collect::<Option<Vec<_>>>()?;
    read.sort_unstable();
    read.dedup();
    Some(read.into_boxed_slice())
}

fn named_port(
    port: &manifests::ContainerPort,
    strings: &mut StringTable,
    check: &mut MetadataCheck<'_>,
) -> Option<NamedPort> {
    let name = port.name.as_deref().unwrap_or_default();
    if !check.form(NameForm::PortName, name, Code::InvalidPort, "port name") {
        return None;
    }

    let number = port
        .container_port
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number != 0);
    if number.is_none() {
        check.refuse(
            Code::InvalidPort,
            &format!("the port `{name}` has no number from 1 to 65535"),
        );
    }

    Some(NamedPort {
        name: strings.share(name),
        protocol: protocol(port.protocol.as_deref(), check)?,
        number: number?,
    })
}

fn protocol(text: Option<&str>, check: &mut MetadataCheck<'_>) -> Option<Protocol> {
    let name = text.filter(|name| !name.is_empty()).unwrap_or("TCP");
    let protocol = Protocol::from_name(name).filter(|protocol| protocol.has_ports());
    if protocol.is_none() {
        check.refuse(
            Code::InvalidProtocol,
            &format!("`{name}` is none of `TCP`, `UDP`, `SCTP`"),
        );
    }
    protocol
}
