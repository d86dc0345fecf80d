//! The manifests of a case as palisade takes them.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::palisade::files_below;

/// A case.
pub(super) struct Cluster {
    objects: Vec<Value>,
}

/// Policy and what policy looks at; other kinds are left out.
const KEPT: [&str; 13] = [
    "Namespace",
    "ServiceAccount",
    "NetworkPolicy",
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
];

impl Cluster {
    pub(super) fn read(folder: &Path) -> Self {
        let mut objects = Vec::new();
        for (name, text) in files_below(folder) {
            if [".yaml", ".yml", ".json"]
                .iter()
                .any(|ending| name.ends_with(ending))
            {
                documents(&text)
                    .into_iter()
                    .for_each(|document| flatten(document, None, &mut objects));
            }
        }

        objects.retain(|object| KEPT.contains(&text(object, "/kind").as_str()));
        objects.iter_mut().for_each(as_endpoint);
        Self { objects }
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
}

/// Makes an endpoint without an address of what the other tool takes for one: its blocks of
/// addresses speak of the outside only, it polices pods on the network of their hosts, and the
/// first owner of a pod is the one that counts.
fn as_endpoint(object: &mut Value) {
    for path in [
        "/spec",
        "/spec/template/spec",
        "/spec/jobTemplate/spec/template/spec",
    ] {
        if let Some(Value::Object(spec)) = object.pointer_mut(path) {
            spec.remove("hostNetwork");
        }
    }

    if text(object, "/kind") == "Pod" {
        object
            .as_object_mut()
            .and_then(|fields| fields.remove("status"));
    }

    if let Some(Value::Object(owner)) = object.pointer_mut("/metadata/ownerReferences/0") {
        owner.insert("controller".to_owned(), json!(true));
        owner.entry("kind").or_insert_with(|| json!("Pod"));
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

/// The documents of a file; one that is no YAML ends it.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map_while(|document| Value::deserialize(document).ok())
        .collect()
}

/// An object, or the items of a list, which may leave their kind to the list.
fn flatten(mut object: Value, listed: Option<(&str, &str)>, objects: &mut Vec<Value>) {
    if let (Some((version, kind)), Some(fields)) = (
        listed.filter(|(_, kind)| !kind.is_empty()),
        object.as_object_mut(),
    ) {
        fields.entry("apiVersion").or_insert_with(|| json!(version));
        fields.entry("kind").or_insert_with(|| json!(kind));
    }

    let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
    match (
        kind.strip_suffix("List"),
        object.get_mut("items").and_then(Value::as_array_mut),
    ) {
        (Some(kind), Some(items)) => std::mem::take(items)
            .into_iter()
            .for_each(|item| flatten(item, Some((&version, kind)), objects)),
        _ if kind.is_empty() => {}
        _ => objects.push(object),
    }
}

fn text(value: &Value, path: &str) -> String {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
