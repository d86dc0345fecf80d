mod agree;
mod bad;
mod format;
mod good;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::diagnostic::{Diagnostics, print};
use crate::document::{ObjectKind, YamlNode, for_each, null_as_default, unique_keys};
use crate::source::SourceFiles;

/// The fields that the `inventory` room would read from an object.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    metadata: Metadata,
    #[serde(default, deserialize_with = "null_as_default")]
    spec: Spec,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    #[serde(default, deserialize_with = "unique_keys")]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, deserialize_with = "null_as_default")]
    host_network: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    ports: Vec<u16>,
    weight: Option<f64>,
    priority: Option<i32>,
    phase: Option<Phase>,
}

#[derive(Debug, PartialEq, Deserialize)]
enum Phase {
    Running,
    Failed,
}

/// A single file with this text.
fn one(name: &str, text: &str) -> SourceFiles {
    let mut files = SourceFiles::default();
    files.add(name, text.to_owned()).unwrap();
    files
}

/// Reads every object as the room for its kind does. Returns kinds, names and sources.
fn read(files: &SourceFiles, diagnostics: &mut Diagnostics) -> Vec<(ObjectKind, String, String)> {
    let mut objects = Vec::new();
    for_each(files, diagnostics, &mut |object, diagnostics| {
        let name = match object.kind {
            ObjectKind::Manifest(_) => object.tree(diagnostics).and_then(|node| name_of(&node)),
            ObjectKind::Inventory(_) => object
                .decode(diagnostics)
                .map(|sample: Sample| sample.metadata.name),
        };
        objects.push((
            object.kind,
            name.unwrap_or_default(),
            object.source.to_owned(),
        ));
    });

    objects
}

fn name_of(node: &YamlNode) -> Option<String> {
    node.get("metadata")?
        .get("name")?
        .text(&mut Diagnostics::default())
        .map(|text| text.value)
}

/// Every diagnostic of a file, as printed for people.
fn told(name: &str, text: &str) -> String {
    let files = one(name, text);
    let mut diagnostics = Diagnostics::default();
    read(&files, &mut diagnostics);
    let told: Vec<String> = diagnostics
        .sorted()
        .into_iter()
        .map(|diagnostic| print::human(diagnostic, &files, false))
        .collect();
    told.join("\n")
}
