//! YAML and JSON have the same meaning, and no input makes the reader panic.

use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::{Sample, one, read};
use crate::diagnostic::{Code, Diagnostics, print};
use crate::document::input::SourceText;
use crate::document::{NodeScalar, NodeValue, YamlNode, for_each, yaml};

/// A tree without spans.
pub(super) fn bare(node: &YamlNode) -> Json {
    match &node.value {
        NodeValue::Scalar(NodeScalar::Null) => Json::Null,
        NodeValue::Scalar(NodeScalar::Bool(value)) => Json::Bool(*value),
        NodeValue::Scalar(NodeScalar::Number(number)) => exact(number),
        NodeValue::Scalar(NodeScalar::Text(text)) => Json::String(text.value.clone()),
        NodeValue::Scalar(NodeScalar::Ambiguous(word)) => panic!("{word} was quoted"),
        NodeValue::List(items) => Json::Array(items.iter().map(bare).collect()),
        NodeValue::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|entry| (entry.key.value.clone(), bare(&entry.value)))
                .collect(),
        ),
    }
}

/// A number with all of its digits, which serde_json's own reader rounds for speed.
fn exact(number: &str) -> Json {
    let whole = number
        .parse::<i64>()
        .map(Json::from)
        .or_else(|_| number.parse::<u64>().map(Json::from));
    whole.unwrap_or_else(|_| Json::from(number.parse::<f64>().unwrap()))
}

fn tree(file: &str, text: &str) -> Json {
    let mut diagnostics = Diagnostics::default();
    let mut tree = None;
    for_each(
        &one(file, text),
        &mut diagnostics,
        &mut |object, diagnostics| tree = object.tree(diagnostics).as_deref().map(bare),
    );
    assert!(
        !diagnostics.has_errors(),
        "{text}\n{:?}",
        diagnostics.sorted()
    );

    tree.unwrap()
}

/// The result of a typed read: the value, or the problem without its location.
fn decoded(file: &str, text: &str) -> Result<Sample, Vec<(Code, String)>> {
    let mut diagnostics = Diagnostics::default();
    let mut sample = None;
    for_each(
        &one(file, text),
        &mut diagnostics,
        &mut |object, diagnostics| sample = object.decode(diagnostics),
    );

    sample.ok_or_else(|| {
        diagnostics
            .sorted()
            .into_iter()
            .map(|problem| (problem.code, problem.message.clone()))
            .collect()
    })
}

fn json(string: impl Strategy<Value = String> + Clone + 'static) -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        (-1e9..1e9).prop_map(Json::from)
    ];

    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number,
        string.clone().prop_map(Json::String)
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let map = prop::collection::btree_map(string.clone(), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Json::Array),
            map.prop_map(|map| Json::Object(map.into_iter().collect::<Map<String, Json>>())),
        ]
    })
}

fn pod(spec: &Json) -> Json {
    serde_json::json!({"apiVersion": "v1", "kind": "Pod", "spec": spec})
}

const WORDS: &[&str] = &[
    "yes", "on", "null", "~", "0123", "1_000", "80:50", "<<", "- a", "a: b", "#", "\n", "\t", "*a",
    "&a", "!!str", "%", "---", "...",
];

/// Valid and invalid values of a field.
const VALUES: &[&str] = &[
    "null",
    "true",
    "\"x\"",
    "\"Running\"",
    "0",
    "-1",
    "80",
    "70000",
    "-2147483649",
    "18446744073709551615",
    "1.5",
    "1e3",
    "1e999",
    "1.0",
    "[]",
    "[80]",
    "[80, null]",
    "[\"80\"]",
    "{}",
    "{\"a\": \"b\"}",
    "{\"a\": 1}",
    "{\"a\": null}",
    "{\"a\": \"b\", \"a\": \"c\"}",
];

const MANIFEST: &str = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: projectcalico.org/v3\n  \
                        kind: NetworkPolicy\n  metadata: &m {name: 'wéb', namespace: \"prod\"}\n  \
                        spec:\n    selector: app == 'x'\n    types: [Ingress]\n    ingress:\n    \
                        - action: Allow\n      source:\n        notes: |\n          a\n          \
                        b\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  <<: *m\n";
const JSON_MANIFEST: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "wéb", "labels": {"a": "\u00fc"}}, "spec": {"ports": [80, 1.5e3]}}, {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "spec": {"order": null}}]}"#;
const SNIPPETS: &[&str] = &[
    "\0",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "é",
    "日",
    "&a ",
    "*a",
    "*m",
    "<<: ",
    "!!str ",
    "!x ",
    "---\n",
    "\n---\n",
    "...\n",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|",
    ">-\n",
    "? ",
    ": ",
    "- ",
    ", ",
    "# ",
    "%YAML 1.2\n",
    "\\u",
    "\\ud800",
    "{{ x }}",
    "items",
    "null",
    "kind: PodList\n",
    "1e999",
];

/// Fragments of YAML that have a meaning in combination.
const TOKENS: &[&str] = &[
    "a",
    "b:",
    "c: ",
    ": ",
    "- ",
    "-",
    "\n",
    "\n  ",
    "\n    ",
    "\n ",
    "\n\n",
    "\r\n",
    "\t",
    " ",
    "'",
    "\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    ", ",
    "#",
    " #",
    "|",
    ">",
    "|-",
    ">+",
    "80",
    "true",
    "? ",
    "x y",
    "\\n",
    "\\",
    "!!str ",
    "é",
    "&x ",
    "*x",
    "http://a:1",
    "a:b",
    "::",
    "-1",
    "'q'",
    "\"d\"",
    "%",
    "@",
    "`",
    "k: v",
    "...",
];

/// Whether a tree equals the one that libyaml builds from the same text. go-yaml is a translation
/// of libyaml.
fn agrees(node: &YamlNode, other: &serde_yaml::Value) -> bool {
    use serde_yaml::Value as Other;

    match (&node.value, other) {
        (NodeValue::Scalar(NodeScalar::Ambiguous(_)), _)
        | (NodeValue::Scalar(NodeScalar::Null), Other::Null) => true,
        (NodeValue::Scalar(NodeScalar::Bool(value)), Other::Bool(other)) => value == other,
        (NodeValue::Scalar(NodeScalar::Number(number)), Other::Number(other)) => {
            number.parse::<f64>().ok() == other.as_f64()
        }
        (NodeValue::Scalar(NodeScalar::Text(text)), Other::String(other)) => text.value == *other,
        (NodeValue::List(items), Other::Sequence(others)) => {
            items.len() == others.len()
                && items
                    .iter()
                    .zip(others)
                    .all(|(item, other)| agrees(item, other))
        }
        (NodeValue::Map(entries), Other::Mapping(others)) => {
            let named = |name: &str| {
                others.iter().find(|(key, _)| {
                    key.as_str() == Some(name) || serde_yaml::to_string(key).unwrap().trim() == name
                })
            };
            entries.len() == others.len()
                && entries.iter().all(|entry| {
                    named(&entry.key.value).is_some_and(|(_, other)| agrees(&entry.value, other))
                })
        }
        _ => false,
    }
}

fn check_nothing_panics(text: &str) {
    for name in ["a.yaml", "a.json"] {
        let files = one(name, text);
        let mut diagnostics = Diagnostics::default();
        read(&files, &mut diagnostics);
        for problem in diagnostics.sorted() {
            let outside = problem
                .labels
                .iter()
                .find(|label| text.get(label.span.range()).is_none());
            assert!(outside.is_none(), "{problem:?} in {text:?}");
            print::human(problem, &files, false);
        }
    }
}

/// A text with random insertions and deletions.
fn mutated(text: &str, edits: &[(prop::sample::Index, usize, prop::sample::Index)]) -> String {
    let mut text = text.to_owned();
    for (place, cut, snippet) in edits {
        let start = text.floor_char_boundary(place.index(text.len() + 1));
        let end = text.floor_char_boundary(start + cut).max(start);
        text.replace_range(start..end, snippet.get::<&str>(SNIPPETS));
    }
    text
}

proptest! {
    #[test]
    fn trees_of_json_and_flow_yaml_agree(spec in json(prop_oneof!["\\PC{0,12}", prop::sample::select(WORDS).prop_map(str::to_owned)])) {
        let value = pod(&spec);
        let text = value.to_string();
        prop_assert_eq!(tree("a.json", &text), value.clone());
        prop_assert_eq!(tree("a.yaml", &format!("--- {text}")), value.clone());
        prop_assert_eq!(tree("a.yaml", &format!("---\n{}", serde_json::to_string_pretty(&value).unwrap())), value);
    }

    #[test]
    fn trees_of_block_yaml_agree(spec in json("x[a-z0-9 :#.-]{0,9}z|x\n[a-z]\n")) {
        let value = pod(&spec);
        let text = serde_yaml::to_string(&value).unwrap();
        prop_assert_eq!(&serde_yaml::from_str::<Json>(&text).unwrap(), &value);
        prop_assert_eq!(tree("a.yaml", &text), value);
    }

    #[test]
    fn typed_reads_agree(fields in prop::collection::vec(prop::sample::select(VALUES), 7)) {
        let [name, namespace, labels, network, ports, weight, phase] = fields[..] else { unreachable!() };
        let name = if name == "null" { "\"web\"" } else { name };
        let text = format!(r#"{{"apiVersion": "v1", "kind": "Pod",
            "metadata": {{"name": {name}, "namespace": {namespace}, "labels": {labels}}},
            "spec": {{"hostNetwork": {network}, "ports": {ports}, "weight": {weight}, "priority": {weight}, "phase": {phase}, "other": {labels}}}}}"#);
        if fields.iter().all(|value| !value.contains("\"c\"")) {
            prop_assert_eq!(decoded("a.json", &text), decoded("a.yaml", &format!("--- {text}")));
        }
    }

    #[test]
    fn single_fields_agree(field in 0usize..7, value in prop::sample::select(VALUES)) {
        let names = ["hostNetwork", "ports", "weight", "priority", "phase", "other", "metadata"];
        let text = format!(r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "web"}}, "spec": {{"{}": {value}}}}}"#, names[field]);
        if !value.contains("\"c\"") {
            prop_assert_eq!(decoded("a.json", &text), decoded("a.yaml", &format!("--- {text}")));
        }
    }

    #[test]
    fn what_libyaml_reads_too_it_reads_the_same(tokens in prop::collection::vec(prop::sample::select(TOKENS), 1..14)) {
        let text = format!("k: {}\n", tokens.concat());
        let files = one("a.yaml", &text);
        let input = SourceText { file: files.iter().next().unwrap().0, text: &text };
        let mut diagnostics = Diagnostics::default();
        let documents = yaml::read(input, &text, &mut diagnostics);
        if let (false, [document], Ok(other)) = (diagnostics.has_errors(), documents.as_slice(), serde_yaml::from_str(&text)) {
            prop_assert!(agrees(&document.root, &other), "{:?}\n{:?}\n{:?}", text, document.root, other);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        check_nothing_panics(&text);
    }

    #[test]
    fn no_mutated_manifest_makes_the_reader_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..9, any::<prop::sample::Index>()), 1..5)) {
        check_nothing_panics(&mutated(MANIFEST, &edits));
        check_nothing_panics(&mutated(JSON_MANIFEST, &edits));
    }
}
