//! Workloads, which create pods. They determine the labels and ports of those pods, but not where
//! they run.

use std::{collections::BTreeMap, sync::Arc};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::InventoryKind;
use crate::inventory::{
    EndpointKind, PodOwner, ProfileList, StringTable,
    check::MetadataCheck,
    manifests,
    objects::{ObjectKey, ObjectTable},
    pods::{self, PodFields, PodLocation, TemplateFields},
};
use crate::source::Spanned;

/// Workloads by kind.
pub(super) type InputWorkloads = BTreeMap<InventoryKind, ObjectTable<WorkloadSource>>;

/// A workload and its controller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WorkloadSource {
    pub(super) made: WorkloadFields,
    pub(super) owner: Option<PodOwner>,
}

/// The relevant fields of a workload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WorkloadFields {
    Pods(TemplateFields),
    /// Its pods use the addresses of their nodes, so they are not endpoints.
    OnHosts,
}

/// Reads and checks a workload. If anything in it is wrong, reports that and returns `None`.
pub(super) fn read(
    key: &ObjectKey,
    spec: Option<manifests::WorkloadSpec>,
    strings: &mut StringTable,
    check: &mut MetadataCheck<'_>,
) -> Option<WorkloadFields> {
    let spec = spec.unwrap_or_default();
    let of_jobs = spec
        .job_template
        .and_then(|jobs| jobs.spec)
        .and_then(|spec| spec.template);
    let Some(template) = spec.template.or(of_jobs) else {
        check.refuse(Code::MissingField, "the template of its pods is missing");
        return None;
    };

    let own = check.template_labels(template.metadata.unwrap_or_default());
    let mut spec = template.spec.unwrap_or_default();
    let on_hosts = spec.host_network == Some(true);
    let template = pods::template(key, own?, &mut spec, strings, check)?;
    Some(if on_hosts {
        WorkloadFields::OnHosts
    } else {
        WorkloadFields::Pods(template)
    })
}

/// The workloads whose pods are endpoints, as one endpoint each. Notes that none of them has an
/// address.
pub(super) fn endpoints(
    given: InputWorkloads,
    diagnostics: &mut Diagnostics,
) -> Vec<(ObjectKey, Spanned<PodFields>)> {
    let mut endpoints = Vec::new();
    let mut on_hosts = 0;
    for (kind, objects) in given {
        for (key, Spanned { value, span }) in objects.known {
            match value.made {
                // Counted for the note only: policy for pods does not apply to the addresses of
                // nodes.
                WorkloadFields::OnHosts => on_hosts += 1,
                WorkloadFields::Pods(template) => {
                    endpoints.push((key, Spanned::new(endpoint(kind.name(), template), span)))
                }
            }
        }
    }

    note_without_addresses(endpoints.len(), on_hosts, diagnostics);
    endpoints
}

/// Records for each pod the controller of its owner, if the input contains the owner.
pub(super) fn tell_pods(given: &InputWorkloads, pods: &mut ObjectTable<PodFields>) {
    for (key, pod) in &mut pods.known {
        let Some(owner) = &pod.value.owner else {
            continue;
        };
        let of_kind = given
            .iter()
            .find(|(kind, _)| kind.name() == &*owner.kind)
            .map(|(_, objects)| objects);
        let own = ObjectKey {
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&owner.name),
        };
        let maker = of_kind
            .and_then(|objects| objects.known.get(&own))
            .and_then(|found| found.value.owner.clone());
        // An owner in the input is certain; the name of a ReplicaSet is only a hint.
        pod.value.workload = maker.or(pod.value.workload.take());
    }
}

fn endpoint(kind: &'static str, template: TemplateFields) -> PodFields {
    let TemplateFields {
        service_account,
        ports,
        labels,
    } = template;

    PodFields {
        kind: EndpointKind::Workload(kind),
        place: PodLocation::Template,
        service_account: Some(service_account),
        ports,
        profiles: ProfileList::OfPod,
        owner: None,
        workload: None,
        labels,
        is_leaving: false,
    }
}

fn note_without_addresses(endpoints: usize, on_hosts: usize, diagnostics: &mut Diagnostics) {
    let subject = match endpoints + on_hosts {
        0 => return,
        1 => "1 workload has no addresses, so no script names it".to_owned(),
        many => format!("{many} workloads have no addresses, so no script names them"),
    };
    let hosts = if on_hosts == 0 {
        String::new()
    } else {
        format!(" ({on_hosts} on the network of hosts)")
    };

    let diagnostic = Diagnostic::new(Code::WorkloadsWithoutAddresses, format!("{subject}{hosts}"));
    diagnostics.push(
        diagnostic.help("scripts are made from pods, as `kubectl get pods -A -o json` gives them"),
    );
}
