//! Which files are read as JSON and which as YAML: a table of file names and contents, each with
//! the objects that are read, or with the codes and lines of all errors.

use proptest::prelude::*;

use super::{one, read};
use crate::diagnostic::{Diagnostics, MOST};
use crate::document::{NodeScalar, NodeValue, YamlNode, trees};
use crate::source::SourceFiles;

/// A file: its name, its text, and the names of its pods or `code:line` of its errors.
///
/// In the text, `J1` is pod `1` as JSON, `F1` as a YAML flow mapping that is not JSON, and `B1` as
/// a YAML block.
type Row = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const FILES: &[Row] = &[
    // JSON, regardless of the name
    ("a.json", "J1", &["1"]),
    ("a.yaml", "J1", &["1"]),
    ("<stdin>", "J1\nJ2", &["1", "2"]),
    ("a.yml", "\u{feff}\n J1J2", &["1", "2"]),
    // YAML that starts like JSON
    ("a.yaml", "F1", &["1"]),
    ("a.yml", "\u{feff} F1", &["1"]),
    ("<stdin>", "F1\n---\nF2\n", &["1", "2"]),
    ("a.yaml", "J1\n---\nB2", &["1", "2"]),
    ("a.yaml", "J1\n---\nJ2\n---\nF3", &["1", "2", "3"]),
    ("<stdin>", "J1\n---\nJ2\n...\n", &["1", "2"]),
    ("a.yaml", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"1\",},} # a comma\n", &["1"]),
    ("a.yaml", "J1 # the first\n", &["1"]),
    ("a.yaml", "{apiVersion: v1, kind: List, items: [J1, F2]}", &["1", "2"]),
    ("a.yaml", "{apiVersion: v1, kind: Pod, metadata: &m {name: '1'}}\n---\nJ2\n", &["1", "2"]),
    // a file name that requires JSON
    ("a.json", "F1", &["json-syntax:1"]),
    ("a.json", "J1\n---\nJ2", &["json-syntax:2"]),
    // neither: the YAML error with its line
    ("a.yaml", "J1\nF2", &["yaml-syntax:2"]),
    ("a.yaml", "J1\n\n\nJ2\n---\nB3", &["yaml-syntax:4"]),
    ("<stdin>", "F1\n---\n{kind: ]\n", &["yaml-syntax:3"]),
    ("a.yaml", "{a: b", &["yaml-syntax:1"]),
    ("a.yaml", "{{ .Values.x }}\n---\nB1", &["wrong-type:1"]),
    ("a.yaml", "[F1]", &["not-an-object:1"]),
    ("a.yaml", "[J1]", &["not-an-object:1"]),
    // truncated JSON, which is not YAML either
    ("<stdin>", "J1\n{\"apiVersion\": \"v1\",\n\"kind\": \"Po", &["json-syntax:3"]),
    ("a.yaml", "{\"apiVersion\": \"v1\", \"metadata\":\n", &["json-syntax:1"]),
    // both readers are equally strict
    ("a.yaml", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}", &["duplicate-field:1"]),
    ("a.yaml", "{apiVersion: v1, kind: Pod, kind: Pod, metadata: {name: a}}", &["duplicate-field:1"]),
    ("a.yaml", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}\n---\nB1", &["duplicate-field:1"]),
    ("a.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {a: b, \"a\": c}}}", &["duplicate-field:1"]),
    ("a.yaml", "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": 1}}", &["wrong-type:1"]),
    ("a.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: 1}}", &["wrong-type:1"]),
    ("a.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: yes}}", &["wrong-type:1"]),
    ("a.yaml", "J1\n---\n{apiVersion: v1, kind: Pod, metadata: {name: !secret x}}", &["yaml-syntax:3"]),
    ("a.yaml", "J1\n---\n%TAG ! x\n---\nB2", &["yaml-syntax:3"]),
    ("a.yaml", "{apiVersion: v1, kind: Pod, metadata: *nobody}", &["yaml-syntax:1"]),
    ("a.yaml", "{apiVersion: v1, kind: Pod, 1.5: x}", &["wrong-type:1"]),
];

fn written(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["1", "2", "3"] {
        let json =
            format!(r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{name}"}}}}"#);
        let flow = format!("{{apiVersion: v1, kind: Pod, metadata: {{name: '{name}'}}}}");
        let block = format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: '{name}'\n");
        for (mark, pod) in [("J", json), ("F", flow), ("B", block)] {
            text = text.replace(&format!("{mark}{name}"), &pod);
        }
    }
    text
}

/// Returns the code and the line of every error.
fn errors(files: &SourceFiles, found: &Diagnostics) -> Vec<String> {
    let place = |label: &crate::diagnostic::Label| files.position(label.span).line;
    found
        .sorted()
        .into_iter()
        .map(|one| format!("{}:{}", one.code, one.labels.first().map_or(0, place)))
        .collect()
}

#[test]
fn a_file_is_json_or_else_yaml() {
    let mut wrong = Vec::new();
    for (name, text, expected) in FILES {
        let text = written(text);
        let files = one(name, &text);
        let mut diagnostics = Diagnostics::default();
        let objects: Vec<String> = read(&files, &mut diagnostics)
            .into_iter()
            .map(|(_, name, _)| name)
            .collect();

        let seen = if diagnostics.has_errors() {
            errors(&files, &diagnostics)
        } else {
            objects
        };
        if seen != *expected {
            wrong.push(format!("{name}: {text}: {seen:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Readers of other files than manifests, such as assertions, get the same documents.
#[test]
fn trees_are_those_of_the_same_format() {
    for (name, text, expected) in FILES {
        let text = written(text);
        let files = one(name, &text);
        let own: Vec<_> = files.iter().map(|(id, _)| id).collect();
        let (mut diagnostics, mut count) = (Diagnostics::default(), 0);
        trees(&files, &own, &mut diagnostics, &mut |_, _| count += 1);

        let is_no_object = |error: &&str| {
            ["wrong-type", "not-an-object"]
                .iter()
                .any(|code| error.starts_with(code))
        };
        let is_list = text.contains("items");
        if !diagnostics.has_errors() && !is_list {
            assert!(
                count == expected.len() || expected.iter().any(is_no_object),
                "{name}: {text}: {count}"
            );
        }
        let has_syntax_error = expected
            .iter()
            .any(|error| error.contains("-syntax") || error.starts_with("duplicate"));
        assert!(
            !has_syntax_error || diagnostics.has_errors(),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_file_of_very_many_values_that_are_no_objects_is_given_up() {
    let text = "{}\n".repeat(3 * MOST) + "---\nkind: Pod\n";
    let files = one("a.yaml", &text);
    let mut diagnostics = Diagnostics::default();
    assert!(read(&files, &mut diagnostics).is_empty());
    assert_eq!(diagnostics.error_count(), MOST + 1);
}

#[test]
fn text_that_is_too_large_for_yaml_keeps_the_error_of_json() {
    let text = written("J1\n") + "{\"a\": \"" + &"x".repeat(64 << 20) + "\", a: b}";
    let files = one("<stdin>", &text);
    let mut diagnostics = Diagnostics::default();
    read(&files, &mut diagnostics);
    assert_eq!(errors(&files, &diagnostics), ["json-syntax:2"]);
}

fn has_ambiguous(node: &YamlNode) -> bool {
    match &node.value {
        NodeValue::Scalar(scalar) => matches!(scalar, NodeScalar::Ambiguous(_)),
        NodeValue::List(items) => items.iter().any(has_ambiguous),
        NodeValue::Map(entries) => entries.iter().any(|entry| has_ambiguous(&entry.value)),
    }
}

proptest! {
    /// Both readers accept the same texts, so it does not matter which one reads a file.
    #[test]
    fn both_readers_see_the_same_objects(pods in prop::collection::vec((any::<bool>(), "[a-z]{1,8}", "\\PC{0,12}"), 1..4), extra in any::<bool>()) {
        let pod = |(pretty, name, note): &(bool, String, String)| {
            let value = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"note": note}}});
            if *pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() }
        };

        let pods: Vec<String> = pods.iter().map(pod).collect();
        let joint = if extra { "\n---\n" } else { "\n--- # next\n" };
        let tree = |name: &str, text: &str| {
            let files = one(name, text);
            let own: Vec<_> = files.iter().map(|(id, _)| id).collect();
            let (mut diagnostics, mut values) = (Diagnostics::default(), Vec::new());
            trees(&files, &own, &mut diagnostics, &mut |node, _| {
                assert!(!has_ambiguous(node), "{text}");
                values.push(super::agree::bare(node));
            });
            assert!(!diagnostics.has_errors(), "{text}\n{:?}", diagnostics.sorted());
            values
        };
        prop_assert_eq!(tree("a.json", &pods.join("\n")), tree("<stdin>", &pods.join(joint)));

        prop_assert_eq!(tree("a.yaml", &pods.join("\n")), tree("a.yaml", &format!("{} # end\n", pods.join(joint))));
    }
}
