use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{name_of, one, read, told};
use crate::diagnostic::{Code, Diagnostics};
use crate::document::scalar::{PlainScalar, resolve};
use crate::document::{ManifestKind, NodeScalar, NodeValue, ObjectKind, YamlNode, for_each};
use crate::source::SourceFiles;

/// Names of the objects in a file, which must have no diagnostics.
fn names(file: &str, text: &str) -> Vec<String> {
    let mut diagnostics = Diagnostics::default();
    let objects = read(&one(file, text), &mut diagnostics);
    assert_eq!(
        diagnostics.sorted(),
        Vec::<&crate::diagnostic::Diagnostic>::new(),
        "{text}"
    );

    objects
        .into_iter()
        .map(|(kind, name, _)| format!("{} {name}", kind.name()))
        .collect()
}

#[test]
fn streams_and_lists_are_taken_apart() {
    let pod = |name: &str| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}}}");
    let json = |name: &str| {
        format!(r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{name}"}}}}"#)
    };
    let (a, b) = (pod("a"), pod("b"));
    let (json_a, json_b) = (json("a"), json("b"));
    let cases = [
        ("a.yaml", format!("--- {a}\n--- # next\n{b}\n")),
        ("a.yaml", format!("# first\n---\n{a}\n---\n---\n{b}\n---\n")),
        ("a.yaml", format!("--- {a}\n...\n{b}\n...\n")),
        ("a.yaml", format!("\u{feff}---\r\n{a}\r\n---\r\n{b}\r\n")),
        ("a.yaml", format!("apiVersion: v1\nkind: List\nitems:\n- {a}\n- {b}\n")),
        ("a.yaml", format!("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [{a}, {b}]\n")),
        ("a.yaml", "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n".to_owned()),
        ("a.json", format!("{json_a}\n{json_b}")),
        ("a.json", format!("\u{feff} {json_a}{json_b}")),
        (
            "<stdin>",
            format!(r#" {{"apiVersion": "v1", "kind": "List", "metadata": {{"resourceVersion": ""}}, "items": [{json_a}, {json_b}]}}"#),
        ),
        (
            "<stdin>",
            format!(
                r#"{{"apiVersion": "v1", "kind": "List", "items": [{{"apiVersion": "v1", "kind": "List", "items": [{json_a}, {json_b}]}}]}}"#
            ),
        ),
        (
            "a.json",
            r#"{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}"#.to_owned(),
        ),
    ];
    for (file, text) in cases {
        assert_eq!(names(file, &text), ["Pod a", "Pod b"], "{text}");
    }
}

#[test]
fn empty_lists_are_no_mistake() {
    assert!(names("a.json", r#"{"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": ""}, "items": null}"#).is_empty());
    assert!(names("a.yaml", "apiVersion: v1\nkind: List\nitems: []\n").is_empty());
}

#[test]
fn both_groups_of_calico_are_one_kind() {
    let files = one(
        "a.yaml",
        "apiVersion: crd.projectcalico.org/v1\nkind: Tier\n---\napiVersion: \
         projectcalico.org/v3\nkind: Tier\n",
    );
    let mut seen = Vec::new();

    for_each(&files, &mut Diagnostics::default(), &mut |object, _| {
        seen.push((object.kind, object.internal))
    });
    assert_eq!(
        seen,
        [true, false].map(|internal| (ObjectKind::Manifest(ManifestKind::Tier), internal))
    );
}

#[test]
fn sources_hold_all_that_an_object_is_made_of() {
    let plain = "# head\n---\napiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- \
                 metadata:\n    name: b # end\n";
    let sources: Vec<String> = read(&one("a.yaml", plain), &mut Diagnostics::default())
        .into_iter()
        .map(|(_, _, source)| source)
        .collect();
    assert_eq!(sources, ["metadata: {name: a}", "metadata:\n    name: b"]);

    let aliased = "apiVersion: v1\nkind: PodList\nmetadata: {annotations: &m {name: \
                   a}}\nitems:\n- metadata: *m\n";
    let sources: Vec<String> = read(&one("a.yaml", aliased), &mut Diagnostics::default())
        .into_iter()
        .map(|(_, _, source)| source)
        .collect();
    assert_eq!(sources, [aliased.trim()]);
}

/// The text of every value, as its span shows it.
fn shown(files: &SourceFiles, node: &YamlNode, lines: &mut Vec<String>) {
    lines.push(files.slice(node.span).to_owned());
    match &node.value {
        NodeValue::Scalar(_) => {}
        NodeValue::List(items) => items.iter().for_each(|item| shown(files, item, lines)),
        NodeValue::Map(entries) => entries.iter().for_each(|entry| {
            lines.push(format!("{}:", files.slice(entry.key.span)));
            shown(files, &entry.value, lines);
        }),
    }
}

/// The tree of the field `spec` of the only object.
fn spec(files: &SourceFiles) -> YamlNode {
    let mut spec = None;
    let mut diagnostics = Diagnostics::default();
    for_each(files, &mut diagnostics, &mut |object, diagnostics| {
        spec = object
            .tree(diagnostics)
            .and_then(|node| node.get("spec").cloned())
    });
    assert!(!diagnostics.has_errors(), "{:?}", diagnostics.sorted());
    spec.unwrap()
}

#[test]
fn spans_show_what_was_written() {
    let head = "\u{feff}apiVersion: v1 # ü\r\nkind: Pod\r\nspec:\r\n";
    let cases = [
        ("  'ö': é\r\n", &["'ö': é", "'ö':", "é"][..]),
        (
            "  a: \"x\\n\" # c\r\n  b:\r\n",
            &["a: \"x\\n\" # c\r\n  b", "a:", "\"x\\n\"", "b:", ""],
        ),
        (
            "  a: |\r\n    one\r\n    two\r\n\r\n  b: >-\r\n    x\r\n",
            &[
                "a: |\r\n    one\r\n    two\r\n\r\n  b: >-\r\n    x",
                "a:",
                "one\r\n    two",
                "b:",
                "x",
            ],
        ),
        (
            "  - [1, {a: b} ]\r\n  -   two\r\n   words\r\n",
            &[
                "- [1, {a: b} ]\r\n  -   two\r\n   words",
                "[1, {a: b} ]",
                "1",
                "{a: b}",
                "a:",
                "b",
                "two\r\n   words",
            ],
        ),
        ("  a: !!str 80\r\n", &["a: !!str 80", "a:", "80"]),
    ];
    for (text, expected) in cases {
        let files = one("a.yaml", &format!("{head}{text}"));
        let mut lines = Vec::new();
        shown(&files, &spec(&files), &mut lines);
        assert_eq!(lines, expected, "{text}");
    }
    let files = one(
        "a.json",
        r#"{"apiVersion": "v1", "kind": "Pod", "spec": {"ö" : [ 1, "\u00fc" , {} ] } }"#,
    );
    let mut lines = Vec::new();
    shown(&files, &spec(&files), &mut lines);
    assert_eq!(
        lines,
        [
            r#"{"ö" : [ 1, "\u00fc" , {} ] }"#,
            r#""ö":"#,
            r#"[ 1, "\u00fc" , {} ]"#,
            "1",
            r#""\u00fc""#,
            "{}"
        ]
    );
}

#[test]
fn plain_scalars_are_what_kubectl_reads_or_ambiguous() {
    let cases: [(PlainScalar, &[&str]); 6] = [
        (PlainScalar::Null, &["", "~", "null", "Null", "NULL"]),
        (PlainScalar::Bool(true), &["true", "True", "TRUE"]),
        (PlainScalar::Bool(false), &["false", "False", "FALSE"]),
        (
            PlainScalar::Number,
            &[
                "0",
                "-0",
                "80",
                "+80",
                "-1",
                "1.5",
                ".5",
                "1.",
                "0.10",
                "1e3",
                "1.5e-3",
                "1E+3",
                "99999999999999999999",
            ],
        ),
        (
            PlainScalar::Ambiguous,
            &[
                "y", "N", "yes", "Yes", "NO", "on", "Off", "0123", "-0123", "089", "00", "0x1f",
                "0X1F", "0o17", "0b11", "-0b1", "1_000", "80_", "0_1", "1_0.5", "80:50",
                "12:30:45", "1:2", "0:30.5", "+1:30", ".inf", "-.INF", ".NaN", "00.5",
            ],
        ),
        (
            PlainScalar::Text,
            &[
                "yEs",
                "nULL",
                "tRUE",
                "yes sir",
                "80:90",
                "8000:8050",
                "0:30",
                "1.2.3",
                "10.0.0.0/8",
                "::1",
                "0x",
                "0xg",
                "0b2",
                "1e",
                "e3",
                ".",
                "-",
                "+",
                "_1",
                "1a",
                "2001-12-14",
                "12:30:45Z",
                "<<",
                "=",
                "-.e3",
                "1.2:3",
                "--1",
            ],
        ),
    ];

    for (plain, values) in cases {
        for value in values {
            assert_eq!(resolve(value), plain, "{value}");
        }
    }
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    let text = "apiVersion: v1\nkind: Pod\nspec:\n  base: &base {a: 1, b: 2}\n  other: &other {b: \
                3, c: 4}\n  all:\n    <<: [*base, *other]\n    a: 0\n  list: [*base, &x y, *x]\n";
    let spec = spec(&one("a.yaml", text));
    let all: Vec<(&str, &NodeValue)> = spec
        .get("all")
        .unwrap()
        .entries()
        .unwrap()
        .iter()
        .map(|entry| (entry.key.value.as_str(), &entry.value.value))
        .collect();
    let number = |text: &str| NodeValue::Scalar(NodeScalar::Number(text.to_owned()));

    assert_eq!(
        all,
        [
            ("a", &number("0")),
            ("b", &number("2")),
            ("c", &number("4"))
        ]
    );
    let NodeValue::List(list) = &spec.get("list").unwrap().value else {
        panic!("no list")
    };

    assert_eq!(list.first(), spec.get("base"));
    assert_eq!(list[1].value, list[2].value);
}

#[test]
fn blocks_keep_their_lines() {
    let spec = spec(&one(
        "a.yaml",
        "apiVersion: v1\nkind: Pod\nspec:\n- |\n  a\n\n   b\n- >-\n  a\n  b\n- |+\n\n- ''\n",
    ));
    let values = spec.list(&mut Diagnostics::default(), |node, diagnostics| {
        node.text(diagnostics).map(|text| text.value)
    });
    assert_eq!(values, ["a\n\n b\n", "a b", "\n", ""]);
}

#[test]
fn tags_and_quotes_make_strings_and_whole_numbers_can_be_keys() {
    let text = "apiVersion: v1\nkind: Pod\nspec: {a: !!str 80, b: 'yes', c: !!int 80, d: !!float \
                1, 80: !!str , e: !!null , f: !!map {}, g: '', h: \"\"}\n";
    let spec = spec(&one("a.yaml", text));
    let value = |key: &str| spec.get(key).unwrap();
    let text = |key: &str| value(key).text(&mut Diagnostics::default()).unwrap().value;

    assert_eq!(
        (text("a").as_str(), text("b").as_str(), text("80").as_str()),
        ("80", "yes", "")
    );
    assert_eq!(
        value("c").value,
        NodeValue::Scalar(NodeScalar::Number("80".to_owned()))
    );

    assert!(value("e").is_null());
}

/// The processor time of this thread so far.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a time is positive")
}

/// The codes of a file's diagnostics. Reading must not take much processor time; the limit allows
/// for a debug build.
fn quick_codes(file: &str, text: &str) -> Vec<Code> {
    let started = busy();
    let files = one(file, text);
    let mut diagnostics = Diagnostics::default();
    read(&files, &mut diagnostics);

    let took = busy() - started;
    assert!(took < Duration::from_secs(10), "{took:?}");
    diagnostics
        .sorted()
        .into_iter()
        .map(|diagnostic| diagnostic.code)
        .collect()
}

#[test]
fn bombs_are_refused_quickly() {
    let pod = "apiVersion: v1\nkind: Pod\nspec:\n";
    let mut laughs = format!("{pod}  a0: &a0 lol\n");
    for level in 1..=10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("  a{level}: &a{level} [{aliases}]\n"));
    }

    assert_eq!(quick_codes("a.yaml", &laughs), [Code::AliasExpansion]);
    let long = format!(
        "{pod}  a: &a {}\n  b: [{}]\n",
        "x".repeat(1 << 20),
        "*a, ".repeat(10_000)
    );
    assert_eq!(quick_codes("a.yaml", &long), [Code::AliasExpansion]);

    let mut deep = format!("{pod}  a0: &a0 [x]\n");
    for level in 1..=100 {
        deep.push_str(&format!("  a{level}: &a{level} [*a{}]\n", level - 1));
    }

    assert_eq!(quick_codes("a.yaml", &deep), [Code::NestingTooDeep]);
}

#[test]
fn depth_is_bounded() {
    let many = 100_000;
    let cases = [
        (
            "a.yaml",
            format!("kind: {}", "[".repeat(many)),
            Code::NestingTooDeep,
        ),
        (
            "a.yaml",
            format!("--- {}", "{\"a\":".repeat(many)),
            Code::NestingTooDeep,
        ),
        (
            "a.yaml",
            format!("a:\n {}x", "- ".repeat(many)),
            Code::NestingTooDeep,
        ),
        ("a.json", "[".repeat(many), Code::JsonSyntax),
        ("a.json", "{\"a\":".repeat(many), Code::JsonSyntax),
        (
            "a.json",
            format!("{}{}", "[".repeat(many), "]".repeat(many)),
            Code::NotAnObject,
        ),
    ];
    for (file, text, code) in cases {
        assert_eq!(quick_codes(file, &text), [code], "{}", &text[..20]);
    }
    let nested = format!("{}{}", "[".repeat(many), "]".repeat(many));
    let policy =
        format!(r#"{{"apiVersion": "projectcalico.org/v3", "kind": "Tier", "spec": {nested}}}"#);
    assert_eq!(quick_codes("a.json", &policy), [Code::NestingTooDeep]);
    let level = |depth: usize| format!("{}\"[\\\"[\"{}", "[".repeat(depth), "]".repeat(depth));
    let tier = |depth: usize| {
        format!(
            r#"{{"apiVersion": "projectcalico.org/v3", "kind": "Tier", "spec": {}}}"#,
            level(depth)
        )
    };
    assert_eq!(quick_codes("a.json", &tier(63)), []);
    assert_eq!(quick_codes("a.json", &tier(64)), [Code::NestingTooDeep]);
    assert_eq!(quick_codes("a.yaml", &format!("--- {}", tier(63))), []);
    assert_eq!(
        quick_codes("a.yaml", &format!("--- {}", tier(64))),
        [Code::NestingTooDeep]
    );
    let lists = format!(
        "{}{}",
        r#"{"apiVersion":"v1","kind":"List","items":["#.repeat(20),
        "]}".repeat(20)
    );
    assert_eq!(quick_codes("a.json", &lists), [Code::NestingTooDeep]);
}

#[test]
fn a_yaml_document_has_a_largest_size() {
    let text = format!(
        "apiVersion: v1\nkind: Pod\n# {}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: 1}}\n",
        "x".repeat(64 << 20)
    );
    let lines = told("a.yaml", &text);

    assert!(
        lines.starts_with(
            "error[too-large]: this YAML document is larger than 64 MiB\n --> a.yaml:1:1"
        ),
        "{lines}"
    );

    assert!(
        lines.contains("error[wrong-type]"),
        "the next document is read all the same: {lines}"
    );
}

#[test]
fn a_tree_of_json_is_the_tree_of_yaml() {
    let node = spec(&one(
        "a.json",
        r#"{"apiVersion": "v1", "kind": "Pod", "spec": {"metadata": {"name": "w\u0065b"}}}"#,
    ));
    assert_eq!(name_of(&node).as_deref(), Some("web"));
}
