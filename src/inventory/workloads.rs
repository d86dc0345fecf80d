//! Workloads: what makes pods. They say what those pods will be, but not where.

use std::{collections::BTreeMap, sync::Arc};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::InventoryKind;
use crate::inventory::{
    EndpointKind, Owner, Profiles, Strings,
    check::Check,
    manifests,
    objects::{Key, Objects},
    pods::{self, Place, Pod, Template},
};
use crate::source::Spanned;

/// Workloads of every kind.
pub(super) type Given = BTreeMap<InventoryKind, Objects<Workload>>;

/// A workload and what made it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) made: Read,
    pub(super) owner: Option<Owner>,
}

/// What counts of a workload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Pods(Template),
    /// Its pods have the addresses of their nodes, and are no endpoints.
    OnHosts,
}

/// Checks a workload; one that is wrong anywhere is reported and gives none.
pub(super) fn read(
    key: &Key,
    spec: Option<manifests::WorkloadSpec>,
    strings: &mut Strings,
    check: &mut Check<'_>,
) -> Option<Read> {
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
        Read::OnHosts
    } else {
        Read::Pods(template)
    })
}

/// The workloads whose pods are endpoints, as one endpoint each; and a note that none of them has
/// an address.
pub(super) fn endpoints(given: Given, found: &mut Diagnostics) -> Vec<(Key, Spanned<Pod>)> {
    let mut endpoints = Vec::new();
    let mut on_hosts = 0;
    for (kind, objects) in given {
        for (key, Spanned { value, span }) in objects.known {
            match value.made {
                Read::OnHosts => on_hosts += 1,
                Read::Pods(template) => {
                    endpoints.push((key, Spanned::new(endpoint(kind.name(), template), span)))
                }
            }
        }
    }
    note_without_addresses(endpoints.len(), on_hosts, found);
    endpoints
}

/// Tells pods what made their owners, where these are in the input and say so.
pub(super) fn tell_pods(given: &Given, pods: &mut Objects<Pod>) {
    for (key, pod) in &mut pods.known {
        let Some(owner) = &pod.value.owner else {
            continue;
        };
        let of_kind = given
            .iter()
            .find(|(kind, _)| kind.name() == &*owner.kind)
            .map(|(_, objects)| objects);
        let own = Key {
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&owner.name),
        };
        let maker = of_kind
            .and_then(|objects| objects.known.get(&own))
            .and_then(|found| found.value.owner.clone());
        pod.value.workload = maker.or(pod.value.workload.take());
    }
}

fn endpoint(kind: &'static str, template: Template) -> Pod {
    let Template {
        service_account,
        ports,
        labels,
    } = template;
    Pod {
        kind: EndpointKind::Workload(kind),
        place: Place::Template,
        service_account: Some(service_account),
        ports,
        profiles: Profiles::OfPod,
        owner: None,
        workload: None,
        labels,
        is_leaving: false,
    }
}

fn note_without_addresses(endpoints: usize, on_hosts: usize, found: &mut Diagnostics) {
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
    found.push(
        diagnostic.help("scripts are made from pods, as `kubectl get pods -A -o json` gives them"),
    );
}
