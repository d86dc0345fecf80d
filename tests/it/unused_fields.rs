//! What an input has beside the fields that palisade reads changes no byte of a bundle, nor does
//! the way it is written; and whatever changes a script changes the digest of the input.
#![expect(clippy::disallowed_methods, reason = "tests read and write files")]
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it counted"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use palisade::bundle::NodePart;
use palisade::diagnostic::Diagnostics;
use palisade::options::CompileOptions;
use palisade::policy::StagedPolicies;
use palisade::render::TemplateSet;
use palisade::source::SourceFiles;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::agree::random::Dice;
use crate::palisade::{files_below, root, run};

/// Golden cases that have a bundle.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("golden"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries
        .filter(|case| case.join("bundle").is_dir())
        .collect();
    cases.sort_unstable();
    cases
}

/// The objects of a case's inputs, as a parser of another hand reads them; none where it cannot.
fn objects(case: &Path) -> Option<Vec<Value>> {
    let inputs = files_below(case)
        .into_iter()
        .filter(|(path, _)| !path.contains('/'));
    let mut objects = Vec::new();

    for (path, text) in inputs {
        if path.ends_with(".json") {
            objects.push(serde_json::from_str(&text).ok()?);
        } else if path.ends_with(".yaml") || path.ends_with(".yml") {
            let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
            objects.extend(documents.collect::<Result<Vec<Value>, _>>().ok()?);
        }
    }

    objects.retain(|object| !object.is_null());
    Some(objects)
}

/// Kinds of which palisade reads a part of the fields.
const INVENTORY: [&str; 14] = [
    "Pod",
    "Node",
    "Namespace",
    "ServiceAccount",
    "EndpointSlice",
    "Endpoints",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
    "Service",
];

/// Fields that an API server or a controller writes, in every object; in those of an inventory some
/// that nobody has heard of.
fn litter(object: &mut Value, kind: &str, dice: &mut Dice) {
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or(kind)
        .to_owned();
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        let kind = kind.strip_suffix("List").unwrap_or(&kind);
        return items.iter_mut().for_each(|item| litter(item, kind, dice));
    }

    let number = dice.below(1_000_000);
    let time = format!(
        "2026-11-30T{:02}:{:02}:{:02}Z",
        number % 24,
        number % 60,
        number / 60 % 60
    );

    let Some(object) = object.as_object_mut() else {
        return;
    };

    let metadata = below(object, "metadata");
    let fields = json!({"f:spec": {format!("f:x{number}"): {}}});
    metadata.extend([
        ("resourceVersion".to_owned(), json!(number.to_string())),
        ("uid".to_owned(), json!(format!("00000000-0000-4000-8000-{number:012}"))),
        ("generation".to_owned(), json!(number)),
        ("creationTimestamp".to_owned(), json!(time)),
        (
            "managedFields".to_owned(),
            json!([{"manager": "kubelet", "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields}]),
        ),
    ]);

    let note = format!("{{\"x\": {number}}}\n");
    below(metadata, "annotations").insert(
        "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
        json!(note),
    );

    if INVENTORY.contains(&kind.as_str()) {
        let word = format!("unknown{number}");
        object.insert(word.clone(), json!([number, null, {"a": time}]));
        below(object, "spec").insert(word.clone(), json!({"b": number}));
        let beat =
            json!({"type": "Ready", "status": "True", "lastHeartbeatTime": time, "reason": word});
        let status = below(object, "status");
        status.extend([
            ("conditions".to_owned(), json!([beat])),
            ("observedGeneration".to_owned(), json!(number)),
        ]);
    }
}

/// The mapping at a key, made where there is none.
fn below<'map>(map: &'map mut Map<String, Value>, key: &str) -> &'map mut Map<String, Value> {
    let value = map.entry(key).or_insert_with(|| json!({}));
    if value.is_null() {
        *value = json!({});
    }
    value
        .as_object_mut()
        .unwrap_or_else(|| panic!("`{key}` is no mapping"))
}

/// JSON with keys in any order and gaps anywhere; in YAML, some texts in single quotes.
fn shuffled(value: &Value, is_yaml: bool, dice: &mut Dice) -> String {
    let gap = dice.pick(&["", " ", "\n  "]);

    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            for end in (1..entries.len()).rev() {
                entries.swap(end, dice.below(end + 1));
            }
            let entries = entries.into_iter().map(|(key, value)| {
                format!("{}:{gap}{}", json!(key), shuffled(value, is_yaml, dice))
            });
            format!(
                "{{{}}}",
                entries.collect::<Vec<_>>().join(&format!(",{gap}"))
            )
        }
        Value::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| shuffled(item, is_yaml, dice))
                .collect();
            format!("[{gap}{}]", items.join(&format!("{gap},")))
        }
        Value::String(text) if is_yaml && !text.contains(char::is_control) && dice.chance(50) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// Whether a line of YAML ends in a word without quotes that YAML readers disagree about, as ports
/// such as `1:9` and the word `yes`, which that library writes so.
fn is_ambiguous(line: &str) -> bool {
    let word = line
        .rsplit([' ', '-'])
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let is_sexagesimal = word.contains(':')
        && word
            .chars()
            .all(|letter| letter.is_ascii_digit() || letter == ':');
    is_sexagesimal || ["yes", "no", "on", "off", "y", "n"].contains(&word.as_str())
}

/// The same objects, written in two ways: a list in JSON, and YAML documents in another order.
fn rewritten(objects: &[Value], dice: &mut Dice) -> (&'static str, String) {
    if dice.chance(50) {
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "7"}, "items": objects});
        return ("all.json", shuffled(&list, false, dice));
    }

    let documents = objects.iter().rev().map(|object| {
        let text = serde_yaml::to_string(object).unwrap();
        let is_clear = !text.lines().any(is_ambiguous);
        if is_clear && dice.chance(50) {
            text
        } else {
            shuffled(object, true, dice) + "\n"
        }
    });

    let text = documents.collect::<Vec<_>>().join("---\n# a comment\n");
    // a file that begins with a brace is read as one JSON value
    ("all.yaml", format!("---\n{text}"))
}

#[test]
fn fields_that_are_not_read_change_no_byte() {
    let (mut dice, mut compared, mut lists) = (Dice(13), 0, 0);
    for case in cases() {
        let Some(plain) = objects(&case) else {
            continue;
        };
        // lists in lists are another matter
        let is_list = plain.iter().any(|object| object.get("items").is_some());
        lists += usize::from(is_list);
        let home = tempfile::tempdir().unwrap();
        let mut littered = plain.clone();
        littered
            .iter_mut()
            .for_each(|object| litter(object, "", &mut dice));
        let (name, text) = rewritten(&littered, &mut dice);
        let file = home.path().join(name);
        fs::write(&file, &text).unwrap();
        let out = home.path().join("bundle");
        let arguments = fs::read_to_string(case.join("arguments")).unwrap_or_default();
        let mut words = vec![
            "render".to_owned(),
            "--out".to_owned(),
            out.display().to_string(),
        ];
        words.extend(arguments.split_whitespace().map(str::to_owned));
        words.push(file.display().to_string());
        let outcome = run(&case, &words);
        assert_eq!(
            outcome.status,
            0,
            "{}: {}\n{text}",
            case.display(),
            outcome.stderr
        );
        let (expected, found) = (files_below(&case.join("bundle")), files_below(&out));
        for (path, text) in &expected {
            assert_eq!(found.get(path), Some(text), "{}: {path}", case.display());
        }
        assert_eq!(found.len(), expected.len(), "{}", case.display());
        compared += 1;
    }

    println!("{compared} bundles, {lists} of lists");
    assert!(compared > 100, "{compared}");
}

/// The digest of an input and the scripts of its nodes; none where it is refused.
fn compile(objects: &[Value]) -> Option<(String, Vec<NodePart>)> {
    let mut files = SourceFiles::default();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    files.add("all.json", list.to_string()).ok()?;
    let mut diagnostics = Diagnostics::default();
    let input = palisade::read(&files, StagedPolicies::Proposed, &mut diagnostics);
    if diagnostics.has_errors() {
        return None;
    }

    let resolved =
        palisade::resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let templates = TemplateSet::new(&[]).unwrap();
    let nodes = input.inventory.nodes_with_ids();
    let parts = nodes.map(|(node, _)| {
        palisade::compile(
            &resolved,
            node,
            &CompileOptions::default(),
            &templates,
            &mut diagnostics,
        )
        .unwrap()
    });

    let parts: Option<Vec<NodePart>> = parts.collect();
    parts.map(|parts| (input.digest, parts))
}

/// The paths of all scalars in a value, as JSON pointers.
fn scalars(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            scalars(
                value,
                format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                out,
            )
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| scalars(item, format!("{at}/{index}"), out)),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push(at),
    }
}

/// Changes a scalar into another one of its sort, which may mean something else, nothing, or the
/// same.
fn change(value: &mut Value, dice: &mut Dice) {
    *value = match &*value {
        Value::Bool(is_set) => json!(!is_set),
        Value::Number(number) => json!(number.as_f64().unwrap_or_default() as u64 + 1),
        Value::String(text) => {
            let digit = text
                .rfind(|letter: char| letter.is_ascii_digit())
                .filter(|_| dice.chance(70));
            match digit {
                Some(at) => {
                    let mut changed = text.clone();
                    let other = if text.as_bytes().get(at) == Some(&b'1') {
                        "2"
                    } else {
                        "1"
                    };
                    changed.replace_range(at..=at, other);
                    json!(changed)
                }
                None => json!(format!("{text}x")),
            }
        }
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    };
}

/// How many scalars of each case are changed, one at a time.
const CHANGES: usize = 12;

#[test]
fn what_changes_a_script_changes_the_digest() {
    let mut dice = Dice(17);
    let (mut digests, mut scripts, mut same) = (0, 0, 0);
    for case in cases() {
        let Some(plain) = objects(&case) else {
            continue;
        };
        let Some((digest, parts)) = compile(&plain) else {
            continue;
        };
        let mut paths = Vec::new();
        scalars(&json!(plain), String::new(), &mut paths);
        for _ in 0..CHANGES {
            let path = dice.pick(&paths);
            let mut changed = json!(plain);
            change(changed.pointer_mut(&path).unwrap(), &mut dice);
            let Some((other, others)) = compile(changed.as_array().unwrap()) else {
                continue;
            };
            let about = format!("{}: {path}", case.display());
            assert!(
                digest != other || parts == others,
                "{about}: other scripts, and the same digest"
            );
            digests += usize::from(digest != other);
            scripts += usize::from(parts != others);
            same += usize::from(digest == other);
        }
    }

    println!(
        "{digests} other digests, {scripts} of them with other scripts; {same} changes without an \
         effect"
    );
    assert!(
        scripts > 300 && digests > scripts,
        "{digests} {scripts} {same}"
    );
}

/// One change of each field of the model that no script need show.
#[test]
fn every_field_of_the_model_is_in_the_digest() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-x-1", "namespace": "prod", "labels": {"app": "web", "pod-template-hash": "x"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-x", "uid": "1", "controller": true}]},
        "spec": {"nodeName": "n1", "serviceAccountName": "web", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80}]}]},
        "status": {"podIP": "10.0.0.1"},
    });
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"zone": "a"}},
        "spec": {"podCIDR": "10.0.0.0/24"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    });
    let named = |kind: &str, namespace: Option<&str>, name: &str| {
        let mut metadata = json!({"name": name, "labels": {"team": "a"}});
        if let Some(namespace) = namespace {
            below(metadata.as_object_mut().unwrap(), "labels").insert("ns".to_owned(), json!("x"));
            metadata
                .as_object_mut()
                .unwrap()
                .insert("namespace".to_owned(), json!(namespace));
        }
        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata})
    };

    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "namespace": "prod", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"protocol": "TCP", "port": 80}],
    });
    let objects = json!([
        pod,
        node,
        named("Namespace", None, "prod"),
        named("ServiceAccount", Some("prod"), "web"),
        slice
    ]);
    let changes = [
        ("/0/metadata/name", json!("web-x-2")),
        ("/0/metadata/namespace", json!("test")),
        ("/0/metadata/labels/app", json!("db")),
        ("/0/metadata/labels/pod-template-hash", json!("y")),
        ("/0/metadata/ownerReferences/0/kind", json!("Job")),
        ("/0/metadata/ownerReferences/0/name", json!("db-x")),
        ("/0/spec/nodeName", json!("n2")),
        ("/0/spec/serviceAccountName", json!("db")),
        ("/0/spec/containers/0/ports/0/name", json!("web")),
        ("/0/spec/containers/0/ports/0/containerPort", json!(81)),
        ("/0/status/podIP", json!("10.0.0.2")),
        ("/1/metadata/name", json!("n3")),
        ("/1/metadata/labels/zone", json!("b")),
        ("/1/spec/podCIDR", json!("10.0.1.0/24")),
        ("/1/status/addresses/0/address", json!("192.0.2.2")),
        ("/2/metadata/labels/team", json!("b")),
        ("/3/metadata/labels/ns", json!("y")),
        ("/3/metadata/name", json!("api")),
        (
            "/4/metadata/labels/kubernetes.io~1service-name",
            json!("db"),
        ),
        ("/4/endpoints/0/addresses/0", json!("10.0.0.9")),
        ("/4/ports/0/protocol", json!("UDP")),
        ("/4/ports/0/port", json!(81)),
    ];
    let digest = |objects: &Value| compile(objects.as_array().unwrap()).expect("it compiles").0;
    let mut seen = BTreeMap::from([(digest(&objects), "nothing")]);

    for (path, value) in changes {
        let mut changed = objects.clone();
        *changed
            .pointer_mut(path)
            .unwrap_or_else(|| panic!("{path}")) = value;
        let before = seen.insert(digest(&changed), path);
        assert_eq!(
            before, None,
            "{path} changes nothing, or what another one does"
        );
    }
}
