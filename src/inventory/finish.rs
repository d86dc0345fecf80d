//! Completes the inventory: adds objects that are only referenced, and turns every reference into
//! an id.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use rustc_hash::FxHashMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::{
    ClusterNode, Endpoint, Inventory, InventoryBuilder, LabelSource, NodeId, ProfileName,
    StringTable,
    builder::InputNode,
    labels::{self, LabelList},
    leaving,
    objects::{ObjectKey, ObjectTable},
    pods::{InputEndpoint, PodFields, PodLocation, UnaddressedReason},
    profile_name, services, workload_endpoints, workloads,
};
use crate::manifest::{HostEndpoint, Manifest};
use crate::source::{Span, Spanned, SpannedString};

type NamespaceTable = BTreeMap<Arc<str>, LabelSource>;
type ServiceAccountTable = BTreeMap<Arc<str>, BTreeMap<Arc<str>, LabelSource>>;

impl InventoryBuilder {
    /// Builds the inventory from the collected objects and the endpoints of the manifest. Nodes,
    /// namespaces and service accounts that endpoints refer to are included even if the input lacks
    /// them.
    pub fn finish(mut self, manifest: &Manifest, diagnostics: &mut Diagnostics) -> Inventory {
        // Before the pods are moved out of their table, and while the workloads are still complete.
        workloads::tell_pods(&self.workloads, &mut self.pods);
        let mut strings = self.strings;
        let mut given: Vec<InputEndpoint> = self.pods.known.into_iter().collect();
        given.extend(workload_endpoints::read(
            &manifest.workload_endpoints,
            &mut strings,
            diagnostics,
        ));
        given.extend(workloads::endpoints(self.workloads, diagnostics));
        // Before the check for shared addresses, because the network reuses addresses of deleted
        // pods early.
        leaving::give_up_shared(&mut given, diagnostics);

        let nodes = nodes(self.nodes, self.named_nodes, &given);
        let endpoints = endpoints(given, &nodes, diagnostics);
        refuse_shared_addresses(&endpoints, diagnostics);
        let mut namespaces = namespaces(self.namespaces);
        let mut service_accounts = service_accounts(self.service_accounts);

        let members = NamespaceMembers {
            endpoints: &endpoints,
            hosts: &manifest.host_endpoints,
        };
        add_namespaces(&mut namespaces, &members, &mut strings, diagnostics);
        add_service_accounts(&mut service_accounts, &members, &mut strings, diagnostics);

        let services = services::services(self.slices, self.backends);
        let profiles = profile_labels(manifest);
        let mut inventory = Inventory {
            namespaces,
            service_accounts,
            nodes,
            endpoints,
            services,
            profiles,
            strings,
        };
        // Last, because profiles of namespaces and service accounts must be complete.
        inventory.inherit();

        inventory
    }
}

/// The labels that Profile objects define.
fn profile_labels(manifest: &Manifest) -> BTreeMap<String, BTreeMap<String, String>> {
    let text =
        |(key, value): &(SpannedString, SpannedString)| (key.value.clone(), value.value.clone());
    manifest
        .profiles
        .iter()
        .map(|profile| {
            (
                profile.metadata.name.value.clone(),
                profile.labels.iter().map(text).collect(),
            )
        })
        .collect()
}

/// Nodes of the input, nodes of endpoints, and other nodes that are named, by name.
fn nodes(
    given: ObjectTable<InputNode>,
    named: Vec<Arc<str>>,
    endpoints: &[InputEndpoint],
) -> Vec<ClusterNode> {
    let mut names: BTreeSet<Arc<str>> = given
        .known
        .keys()
        .map(|key| Arc::clone(&key.name))
        .collect();
    names.extend(named);

    for (_, endpoint) in endpoints {
        let node = endpoint.value.place.node();
        names.extend(node.filter(|node| !names.contains(*node)).map(Arc::clone));
    }

    let mut given: BTreeMap<Arc<str>, Spanned<InputNode>> = given
        .known
        .into_iter()
        .map(|(key, node)| (key.name, node))
        .collect();

    let node = |name: Arc<str>| {
        let (node, span) = given
            .remove(&name)
            .map(|node| (node.value, node.span))
            .unzip();
        let InputNode {
            pod_ranges,
            addresses,
            labels,
        } = node.unwrap_or_default();
        ClusterNode {
            name,
            pod_ranges,
            addresses,
            labels,
            span,
        }
    };
    names.into_iter().map(node).collect()
}

/// The endpoints. Notes how many of them have no address, and why.
fn endpoints(
    given: Vec<InputEndpoint>,
    nodes: &[ClusterNode],
    diagnostics: &mut Diagnostics,
) -> Vec<Endpoint> {
    let mut skipped: BTreeMap<&str, BTreeMap<UnaddressedReason, usize>> = BTreeMap::new();
    let mut endpoints = Vec::with_capacity(given.len());
    for (key, given) in given {
        if let PodLocation::Open(reason) | PodLocation::Nowhere(reason) = given.value.place {
            *skipped
                .entry(given.value.kind.label())
                .or_default()
                .entry(reason)
                .or_default() += 1;
        }
        endpoints.extend(endpoint(key, given, nodes));
    }

    skipped
        .iter()
        .for_each(|(kind, skipped)| note_skipped(kind, skipped, diagnostics));
    // Ids are positions, so the order must not depend on the order of the input.
    endpoints.sort_by(|left, right| {
        (&left.namespace, &left.name, left.kind).cmp(&(&right.namespace, &right.name, right.kind))
    });
    endpoints.shrink_to_fit();

    endpoints
}

fn endpoint(key: ObjectKey, pod: Spanned<PodFields>, nodes: &[ClusterNode]) -> Option<Endpoint> {
    let Spanned {
        value:
            PodFields {
                kind,
                place,
                service_account,
                ports,
                profiles,
                owner,
                workload,
                labels,
                is_leaving: _,
            },
        span,
    } = pod;

    let (node, addresses) = match place {
        PodLocation::Addressed { node, addresses } => (
            nodes
                .binary_search_by(|known| known.name.cmp(&node))
                .ok()
                .map(NodeId::at),
            addresses,
        ),
        PodLocation::Open(_) | PodLocation::Template => (None, Box::default()),
        PodLocation::Nowhere(_) => return None,
    };
    let ObjectKey { namespace, name } = key;
    let inherited = Box::default();

    Some(Endpoint {
        kind,
        namespace,
        name,
        node,
        service_account,
        addresses,
        ports,
        profiles,
        owner,
        workload,
        span,
        labels,
        inherited,
    })
}

fn note_skipped(
    kind: &str,
    skipped: &BTreeMap<UnaddressedReason, usize>,
    diagnostics: &mut Diagnostics,
) {
    let reasons: Vec<String> = skipped
        .iter()
        .map(|(reason, count)| format!("{count} {}", reason.description()))
        .collect();

    let message = match skipped.values().sum() {
        0 => return,
        1usize => format!(
            "1 {kind} is no addressable endpoint: {}",
            reasons.join(", ")
        ),
        many => format!(
            "{many} {kind}s are no addressable endpoints: {}",
            reasons.join(", ")
        ),
    };
    diagnostics.push(Diagnostic::new(Code::SkippedPods, message));
}

/// Refuses an address that two endpoints share, because no verdict about it could be right.
fn refuse_shared_addresses(endpoints: &[Endpoint], diagnostics: &mut Diagnostics) {
    let mut holders: FxHashMap<IpAddr, &Endpoint> = FxHashMap::default();

    for endpoint in endpoints {
        for address in &endpoint.addresses {
            let Some(first) = holders.insert(*address, endpoint) else {
                continue;
            };
            let (kind, other) = (first.kind.label(), endpoint.kind.label());
            let holders = match kind == other {
                true => format!("{kind}s `{first}` and `{endpoint}`"),
                false => format!("{kind} `{first}` and the {other} `{endpoint}`"),
            };
            let message = format!("the {holders} both have the address `{address}`");
            let diagnostic = Diagnostic::at(Code::DuplicateAddress, endpoint.span, message);
            diagnostics.push(
                diagnostic
                    .label(first.span, format!("the other {kind}"))
                    .help(format!("take stale {kind}s out of the input")),
            );
        }
    }
}

fn namespaces(given: ObjectTable<LabelList>) -> NamespaceTable {
    given
        .known
        .into_iter()
        .map(|(key, labels)| (key.name, LabelSource::given(labels)))
        .collect()
}

fn service_accounts(given: ObjectTable<LabelList>) -> ServiceAccountTable {
    let mut accounts = ServiceAccountTable::new();
    for (key, labels) in given.known {
        accounts
            .entry(key.namespace)
            .or_default()
            .insert(key.name, LabelSource::given(labels));
    }
    accounts
}

/// Objects that may be in a namespace or use its profile.
struct NamespaceMembers<'all> {
    endpoints: &'all [Endpoint],
    hosts: &'all [HostEndpoint],
}

impl NamespaceMembers<'_> {
    /// The references that profile names contain, each with its location and the owner of the list.
    fn profiles(&self) -> impl Iterator<Item = (ProfileName<'_>, Span, &str)> {
        let of_endpoints = self.endpoints.iter().flat_map(|endpoint| {
            let own = endpoint.profiles.names();
            own.map(|profile| (profile_name(profile), endpoint.span, &*endpoint.name))
        });

        let of_hosts = self.hosts.iter().flat_map(|host| {
            let own = host.profiles.iter();
            own.map(|profile| {
                (
                    profile_name(&profile.value),
                    profile.span,
                    host.metadata.name.value.as_str(),
                )
            })
        });
        of_endpoints.chain(of_hosts)
    }
}

fn add_namespaces(
    namespaces: &mut NamespaceTable,
    members: &NamespaceMembers<'_>,
    strings: &mut StringTable,
    diagnostics: &mut Diagnostics,
) {
    let mut add = |name: &str, span: Span, why: String| {
        if namespaces.contains_key(name) {
            return;
        }
        let labels = strings.intern_labels(&labels::from_namespace(name, BTreeMap::new()));
        namespaces.insert(strings.share(name), LabelSource { span: None, labels });
        let message = format!("the namespace `{name}` is not in the input, so it has no labels");
        diagnostics.push(Diagnostic::new(Code::UnknownNamespace, message).label(span, why));
    };

    for endpoint in members.endpoints {
        add(
            &endpoint.namespace,
            endpoint.span,
            format!("`{}` is in it", endpoint.name),
        );
    }

    for (profile, span, owner) in members.profiles() {
        if let ProfileName::Namespace(name) = profile {
            add(name, span, format!("`{owner}` has its profile"));
        }
    }
}

fn add_service_accounts(
    accounts: &mut ServiceAccountTable,
    members: &NamespaceMembers<'_>,
    strings: &mut StringTable,
    diagnostics: &mut Diagnostics,
) {
    let mut add = |namespace: &str, name: &str, span: Span, why: String| {
        if accounts
            .get(namespace)
            .is_some_and(|accounts| accounts.contains_key(name))
        {
            return;
        }
        let labels = strings.intern_labels(&labels::from_service_account(name, BTreeMap::new()));
        accounts
            .entry(strings.share(namespace))
            .or_default()
            .insert(strings.share(name), LabelSource { span: None, labels });
        let message = format!(
            "the service account `{namespace}/{name}` is not in the input, so it has no labels"
        );
        diagnostics.push(Diagnostic::new(Code::UnknownServiceAccount, message).label(span, why));
    };

    for endpoint in members.endpoints {
        if let Some(name) = &endpoint.service_account {
            add(
                &endpoint.namespace,
                name,
                endpoint.span,
                format!("`{}` uses it", endpoint.name),
            );
        }
    }

    for (profile, span, owner) in members.profiles() {
        if let ProfileName::ServiceAccount(namespace, name) = profile {
            add(namespace, name, span, format!("`{owner}` has its profile"));
        }
    }
}

impl LabelSource {
    fn given(labels: Spanned<LabelList>) -> Self {
        Self {
            span: Some(labels.span),
            labels: labels.value,
        }
    }
}
