//! The manifests of a case as palisade takes them: workloads become one pod each, with addresses of their own.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::palisade::files_below;

/// A case.
pub(super) struct Cluster {
    objects: Vec<Value>,
    pub(super) peers: Vec<Peer>,
    /// Names of peers with their labels.
    known: BTreeSet<(String, String)>,
}

/// A pod that stands for all pods of its owner with its labels. IPv4 is for talking to the outside, IPv6 for other pods: the
/// blocks of policies, all of them IPv4, speak of the outside only, as the other tool takes them.
pub(super) struct Peer {
    /// `namespace/owner[Kind]`.
    pub(super) name: String,
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
}

/// Policy and what policy looks at; other kinds are left out.
const KEPT: [&str; 5] = ["Namespace", "ServiceAccount", "NetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"];
const WORKLOADS: [&str; 7] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"];

impl Cluster {
    pub(super) fn read(folder: &Path) -> Self {
        let mut objects = Vec::new();
        for (name, text) in files_below(folder) {
            if [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending)) {
                documents(&text).into_iter().for_each(|document| flatten(document, None, &mut objects));
            }
        }
        let mut cluster = Self { objects: Vec::new(), peers: Vec::new(), known: BTreeSet::new() };
        objects.into_iter().for_each(|object| cluster.take(object));
        cluster
    }

    fn take(&mut self, object: Value) {
        let kind = text(&object, "/kind");
        let namespace = Some(text(&object, "/metadata/namespace")).filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
        if kind == "Pod" {
            self.pod(format!("{namespace}/{}", owner(&object)), &namespace, &object);
        } else if WORKLOADS.contains(&kind.as_str()) {
            let mut template = ["/spec/template", "/spec/jobTemplate/spec/template"].iter().filter_map(|path| object.pointer(path));
            let name = format!("{namespace}/{}[{kind}]", text(&object, "/metadata/name"));
            self.pod(name, &namespace, template.next().expect("a template"));
        } else if KEPT.contains(&kind.as_str()) {
            self.objects.push(object);
        }
    }

    /// All objects, as a JSON `List`.
    pub(super) fn manifest(&self) -> String {
        json!({"apiVersion": "v1", "kind": "List", "items": self.objects}).to_string()
    }

    /// Writes down what the other tool takes for granted and an API server does not.
    pub(super) fn mend(&mut self) {
        for object in &mut self.objects {
            if let Some(Value::String(name)) = object.pointer_mut("/metadata/name") {
                *name = name.replace('_', "-");
            }
            if let Some(spec) = object.get_mut("spec") {
                complete(spec);
            }
        }
    }

    /// The pod of a new peer.
    fn pod(&mut self, name: String, namespace: &str, pod: &Value) {
        let labels = pod.pointer("/metadata/labels").filter(|labels| !labels.is_null()).cloned().unwrap_or_else(|| json!({}));
        if !self.known.insert((name.clone(), labels.to_string())) {
            return;
        }
        let index = u32::try_from(self.peers.len()).expect("few peers");
        let v4 = Ipv4Addr::from_bits(Ipv4Addr::new(240, 0, 0, 1).to_bits() + index);
        let v6 = Ipv6Addr::from_bits(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).to_bits() + u128::from(index));
        self.peers.push(Peer { name, v4, v6 });
        let mut spec = Map::from_iter([("nodeName".to_owned(), json!("node"))]);
        for field in ["serviceAccountName", "containers", "initContainers"] {
            spec.extend(pod.pointer(&format!("/spec/{field}")).map(|value| (field.to_owned(), value.clone())));
        }
        self.objects.push(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": format!("pod-{index}"), "namespace": namespace, "labels": labels},
            "spec": spec,
            "status": {"podIPs": [{"ip": v4.to_string()}, {"ip": v6.to_string()}]},
        }))
    }
}

/// Adds the selector that is missing in a peer or subject `pods`, as one that selects all.
fn complete(value: &mut Value) {
    if let Some(pods) = value.get_mut("pods").and_then(Value::as_object_mut) {
        for field in ["namespaceSelector", "podSelector"] {
            pods.entry(field).or_insert_with(|| json!({}));
        }
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(complete),
        Value::Array(items) => items.iter_mut().for_each(complete),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `owner[Kind]` of a pod; one without an owner owns itself.
fn owner(pod: &Value) -> String {
    let owner = pod.pointer("/metadata/ownerReferences/0").unwrap_or(&Value::Null);
    let kind = Some(text(owner, "/kind")).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "Pod".to_owned());
    let name = Some(text(owner, "/name")).filter(|name| !name.is_empty()).unwrap_or_else(|| text(pod, "/metadata/name"));
    format!("{name}[{kind}]")
}

/// The documents of a file; one that is no YAML ends it.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).map_while(|document| Value::deserialize(document).ok()).collect()
}

/// An object, or the items of a list, which may leave their kind to the list.
fn flatten(mut object: Value, listed: Option<(&str, &str)>, objects: &mut Vec<Value>) {
    if let (Some((version, kind)), Some(fields)) = (listed.filter(|(_, kind)| !kind.is_empty()), object.as_object_mut()) {
        fields.entry("apiVersion").or_insert_with(|| json!(version));
        fields.entry("kind").or_insert_with(|| json!(kind));
    }
    let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
    match (kind.strip_suffix("List"), object.get_mut("items").and_then(Value::as_array_mut)) {
        (Some(kind), Some(items)) => std::mem::take(items).into_iter().for_each(|item| flatten(item, Some((&version, kind)), objects)),
        _ if kind.is_empty() => {}
        _ => objects.push(object),
    }
}

fn text(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}
