//! Workloads: what makes pods. They say what those pods will be, but not where.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::InventoryKind;
use crate::inventory::{
    NamedPort, Strings,
    builder::{Key, Objects},
    check::Check,
    labels::LabelList,
    manifests,
    pods::{self, Template},
};
use crate::text::{Span, Spanned};

/// A Deployment or the like: an endpoint without addresses.
#[derive(Debug)]
pub struct Workload {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its kind, as in manifests.
    pub kind: &'static str,
    /// Its name.
    pub name: Arc<str>,
    /// What its pods run as.
    pub service_account: Arc<str>,
    /// The named ports of its pods, in order, once.
    pub ports: Box<[NamedPort]>,
    /// Where it stands.
    pub span: Span,
    /// Its pods' own; see [`crate::inventory::Inventory::workload_labels`] for those that count.
    pub(super) labels: LabelList,
}

/// Workloads of every kind.
pub(super) type Given = BTreeMap<InventoryKind, Objects<Read>>;

/// What counts of a workload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Pods(Template),
    /// Its pods have the addresses of their nodes, and are no endpoints.
    OnHosts,
}

/// Checks a workload; one that is wrong anywhere is reported and gives none.
pub(super) fn read(key: &Key, spec: Option<manifests::WorkloadSpec>, strings: &mut Strings, check: &mut Check<'_>) -> Option<Read> {
    let spec = spec.unwrap_or_default();
    let of_jobs = spec.job_template.and_then(|jobs| jobs.spec).and_then(|spec| spec.template);
    let Some(template) = spec.template.or(of_jobs) else {
        check.refuse(Code::MissingField, "the template of its pods is missing");
        return None;
    };
    let own = check.labels(template.metadata.unwrap_or_default().labels);
    let mut spec = template.spec.unwrap_or_default();
    let on_hosts = spec.host_network == Some(true);
    let template = pods::template(key, own?, &mut spec, strings, check)?;
    Some(if on_hosts { Read::OnHosts } else { Read::Pods(template) })
}

/// The workloads whose pods are endpoints, by namespace, kind and name; and a note that none of them has an address.
pub(super) fn workloads(given: Given, found: &mut Diagnostics) -> Vec<Workload> {
    let mut workloads = Vec::new();
    let mut on_hosts = 0;
    for (kind, objects) in given {
        for (Key { namespace, name }, Spanned { value, span }) in objects.known {
            match value {
                Read::OnHosts => on_hosts += 1,
                Read::Pods(Template { service_account, ports, labels }) => {
                    workloads.push(Workload { namespace, kind: kind.name(), name, service_account, ports, span, labels });
                }
            }
        }
    }
    workloads.sort_by(|left, right| (&left.namespace, left.kind, &left.name).cmp(&(&right.namespace, right.kind, &right.name)));
    note_without_addresses(workloads.len(), on_hosts, found);
    workloads
}

fn note_without_addresses(endpoints: usize, on_hosts: usize, found: &mut Diagnostics) {
    let subject = match endpoints + on_hosts {
        0 => return,
        1 => "1 workload has no addresses, so no script names it".to_owned(),
        many => format!("{many} workloads have no addresses, so no script names them"),
    };
    let hosts = if on_hosts == 0 { String::new() } else { format!(" ({on_hosts} on the network of hosts)") };
    let diagnostic = Diagnostic::new(Code::WorkloadsWithoutAddresses, format!("{subject}{hosts}"));
    found.push(diagnostic.help("scripts are made from pods, as `kubectl get pods -A -o json` gives them"));
}
