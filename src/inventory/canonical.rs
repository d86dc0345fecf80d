//! The inventory as canonical lines. They contain everything that is checked and no source
//! locations.
//!
//! Each line is a JSON object without spaces, with sorted keys. Lists are in the inventory's own
//! order, which is that of addresses, names and numbers. Every struct is destructured completely,
//! so that a new field cannot be forgotten here. Locations (`Span`), symbols and derived data are
//! left out.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::inventory::{
    ClusterNode, Endpoint, Inventory, LabelSource, PodOwner, ProfileList, ServiceBackends,
};

impl Inventory {
    /// One line per object, in no particular order.
    pub fn canonical_lines(&self) -> impl Iterator<Item = String> {
        let Self {
            namespaces,
            service_accounts,
            nodes,
            endpoints,
            services,
            profiles,
            strings: _,
        } = self;
        let of_namespaces = namespaces
            .iter()
            .map(|(name, parent)| self.parent_line("namespace", name, parent));
        let of_accounts = service_accounts
            .iter()
            .flat_map(move |(namespace, accounts)| {
                let line = move |(name, parent): (&Arc<str>, &LabelSource)| {
                    self.parent_line("serviceAccount", &format!("{namespace}/{name}"), parent)
                };
                accounts.iter().map(line)
            });
        let of_nodes = nodes.iter().map(node_line);
        let of_endpoints = endpoints
            .iter()
            .map(|endpoint| self.endpoint_line(endpoint));
        let of_services = services.iter().map(|(key, service)| {
            let ServiceBackends { addresses, ports } = service;
            let ports: Vec<Value> = ports
                .iter()
                .map(|(address, protocol, port)| json!([address, protocol.number(), port]))
                .collect();
            json!({ "service": key.to_string(), "addresses": addresses, "ports": ports })
        });
        let of_profiles = profiles
            .iter()
            .map(|(name, labels)| json!({ "profileLabels": name, "labels": labels }));
        let parents = of_namespaces.chain(of_accounts);

        let lines = parents
            .chain(of_nodes)
            .chain(of_endpoints)
            .chain(of_services)
            .chain(of_profiles);
        lines.map(|line| line.to_string())
    }

    /// A namespace or service account. One that is only referenced equals one without labels.
    fn parent_line(&self, what: &str, name: &str, parent: &LabelSource) -> Value {
        let LabelSource { span: _, labels } = parent;
        json!({ what: name, "labels": self.texts(labels) })
    }

    fn endpoint_line(&self, endpoint: &Endpoint) -> Value {
        // `inherited` is derived from the profiles, whose labels have their own lines
        let Endpoint {
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
            span: _,
            labels,
            inherited: _,
        } = endpoint;

        let owner_text = |owner: &PodOwner| {
            let PodOwner { kind, name } = owner;
            format!("{kind}/{name}")
        };
        let profiles = match profiles {
            ProfileList::OfPod => None,
            ProfileList::Listed(_) => Some(profiles.names().collect::<Vec<_>>()),
        };

        json!({
            "endpoint": format!("{namespace}/{}/{name}", kind.manifest_word()),
            "node": node.map(|node| &*self.node(node).name),
            "serviceAccount": service_account.as_deref(),
            "addresses": addresses,
            "ports": ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "profiles": profiles,
            "owner": owner.as_ref().map(owner_text),
            "workload": workload.as_ref().map(owner_text),
            "labels": self.texts(labels),
        })
    }
}

fn node_line(node: &ClusterNode) -> Value {
    let ClusterNode {
        name,
        pod_ranges,
        addresses,
        labels,
        span: _,
    } = node;

    json!({
        "node": &**name,
        "podRanges": pod_ranges.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "addresses": addresses,
        "labels": labels,
    })
}
