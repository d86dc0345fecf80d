//! One pod: what it says, checked.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::diagnostic::Code;
use crate::inventory::{
    EndpointKind, NamedPort, Owner, Profiles, Strings,
    addresses::address,
    check::Check,
    labels::{self, LabelList},
    manifests,
    objects::Key,
};
use crate::name::Form;
use crate::net::Protocol;
use crate::source::Spanned;

/// What counts of a pod, or of another endpoint. Two pods that are equal here are one, however else
/// they differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) kind: EndpointKind,
    pub(super) place: Place,
    pub(super) service_account: Option<Arc<str>>,
    pub(super) ports: Box<[NamedPort]>,
    pub(super) profiles: Profiles,
    pub(super) owner: Option<Owner>,
    /// What made the owner, where that is certain.
    pub(super) workload: Option<Owner>,
    pub(super) labels: LabelList,
    /// Whether it is being deleted.
    pub(super) is_leaving: bool,
}

/// A pod or another endpoint, by namespace and name.
pub(super) type Given = (Key, Spanned<Pod>);

/// Where packets for a pod go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Addressed {
        node: Arc<str>,
        addresses: Box<[IpAddr]>,
    },
    /// Nobody knows yet.
    Open(Unaddressed),
    /// Nowhere, or to its node.
    Nowhere(Unaddressed),
    /// Wherever the pods of this template will be.
    Template,
}

/// Why a pod is no addressable endpoint; the first reason that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unaddressed {
    Finished,
    HostNetwork,
    Unscheduled,
    NoAddress,
    Leaving,
}

impl Place {
    /// The node of an addressable pod.
    pub(super) fn node(&self) -> Option<&Arc<str>> {
        match self {
            Place::Addressed { node, .. } => Some(node),
            Place::Open(_) | Place::Nowhere(_) | Place::Template => None,
        }
    }
}

impl Unaddressed {
    pub(super) fn words(self) -> &'static str {
        match self {
            Unaddressed::Finished => "finished",
            Unaddressed::HostNetwork => "on the host's network",
            Unaddressed::Unscheduled => "not scheduled",
            Unaddressed::NoAddress => "without an address",
            Unaddressed::Leaving => "being deleted, with an address that another one has",
        }
    }
}

/// Phases of pods that have given their address back (Calico also counts `Completed`).
const FINISHED: [&str; 3] = ["Succeeded", "Failed", "Completed"];

/// Checks a pod; one that is wrong anywhere is reported and gives none.
pub(super) fn read(
    key: &Key,
    own: BTreeMap<String, String>,
    mut pod: manifests::Pod,
    strings: &mut Strings,
    check: &mut Check<'_>,
) -> Option<Pod> {
    let mut spec = pod.spec.take().unwrap_or_default();
    let template = template(key, own, &mut spec, strings, check);
    let place = place(spec, pod.status.unwrap_or_default(), strings, check);
    let Template {
        service_account,
        ports,
        labels,
    } = template?;
    let service_account = Some(service_account);
    Some(Pod {
        kind: EndpointKind::Pod,
        place: place?,
        service_account,
        ports,
        profiles: Profiles::OfPod,
        owner: None,
        workload: None,
        labels,
        is_leaving: false,
    })
}

/// The controller among the owners of a pod.
pub(super) fn owner(
    owners: Option<Vec<manifests::OwnerReference>>,
    strings: &mut Strings,
) -> Option<Owner> {
    let controller = owners
        .into_iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))?;
    Some(Owner {
        kind: strings.share(&controller.kind?),
        name: strings.share(&controller.name?),
    })
}

/// The label by which the controller of Deployments tells the pods of one template from those of
/// another.
pub(super) const TEMPLATE_HASH: &str = "pod-template-hash";

/// The Deployment of a ReplicaSet whose name is a Deployment's and the hash of the template behind
/// it, as the Deployment's controller names them.
pub(super) fn deployment(
    owner: &Owner,
    hash: Option<&str>,
    strings: &mut Strings,
) -> Option<Owner> {
    let hash = hash.filter(|hash| !hash.is_empty() && &*owner.kind == "ReplicaSet")?;
    let name = owner
        .name
        .strip_suffix(hash)?
        .strip_suffix('-')
        .filter(|name| !name.is_empty())?;
    Some(Owner {
        kind: strings.share("Deployment"),
        name: strings.share(name),
    })
}

/// What pods of one template have in common.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) service_account: Arc<str>,
    pub(super) ports: Box<[NamedPort]>,
    pub(super) labels: LabelList,
}

/// Checks the part of a pod that does not depend on where it runs.
pub(super) fn template(
    key: &Key,
    own: BTreeMap<String, String>,
    spec: &mut manifests::PodSpec,
    strings: &mut Strings,
    check: &mut Check<'_>,
) -> Option<Template> {
    let account =
        given(spec.service_account_name.take()).or_else(|| given(spec.service_account.take()));
    let account = account.unwrap_or_else(|| "default".to_owned());
    let ports = named_ports(spec, strings, check);
    check.name("service account", &account, Form::DnsSubdomain)?;
    let labels = labels::of_pod(own, &key.namespace, &account);
    Some(Template {
        service_account: strings.share(&account),
        ports: ports?,
        labels: strings.intern_labels(&labels),
    })
}

/// The text of a field; the API server does not tell an empty one from an absent one.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn place(
    spec: manifests::PodSpec,
    status: manifests::PodStatus,
    strings: &mut Strings,
    check: &mut Check<'_>,
) -> Option<Place> {
    if status
        .phase
        .as_deref()
        .is_some_and(|phase| FINISHED.contains(&phase))
    {
        return Some(Place::Nowhere(Unaddressed::Finished));
    }
    if spec.host_network == Some(true) {
        return Some(Place::Nowhere(Unaddressed::HostNetwork));
    }
    let Some(node) = given(spec.node_name) else {
        return Some(Place::Open(Unaddressed::Unscheduled));
    };
    check.name("node", &node, Form::DnsSubdomain)?;
    let addresses = addresses(status, check)?;
    match addresses.is_empty() {
        true => Some(Place::Open(Unaddressed::NoAddress)),
        false => Some(Place::Addressed {
            node: strings.share(&node),
            addresses,
        }),
    }
}

/// `podIPs`, else `podIP`.
fn addresses(status: manifests::PodStatus, check: &mut Check<'_>) -> Option<Box<[IpAddr]>> {
    let mut texts: Vec<String> = status
        .pod_ips
        .into_iter()
        .flatten()
        .filter_map(|entry| given(entry.ip))
        .collect();
    if texts.is_empty() {
        texts.extend(given(status.pod_ip));
    }
    let addresses: Vec<Option<IpAddr>> = texts
        .iter()
        .map(|text| address("pod", text, check))
        .collect();
    let mut addresses = addresses.into_iter().collect::<Option<Vec<_>>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    Some(addresses.into_boxed_slice())
}

/// The ports that have a name, of containers and init containers.
fn named_ports(
    spec: &manifests::PodSpec,
    strings: &mut Strings,
    check: &mut Check<'_>,
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
    strings: &mut Strings,
    check: &mut Check<'_>,
) -> Option<NamedPort> {
    let name = port.name.as_deref().unwrap_or_default();
    if !check.form(Form::PortName, name, Code::InvalidPort, "port name") {
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

fn protocol(text: Option<&str>, check: &mut Check<'_>) -> Option<Protocol> {
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
