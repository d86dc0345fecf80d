//! Input made bad at random: nothing panics, nothing is half refused, and what is accepted gives
//! scripts of known lines only.
//!
//! A failure prints its seed, and `PALISADE_FUZZ_SEED=n` runs it again; `PALISADE_FUZZ_CASES=n`
//! tries more.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read files and the environment"
)]
#![expect(clippy::print_stdout, reason = "shown when a test fails")]

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use palisade::bundle::NodePart;
use palisade::diagnostic::{Diagnostics, print};
use palisade::options::CompileOptions;
use palisade::render::TemplateSet;
use palisade::source::SourceFiles;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::palisade::root;

/// What comes of texts: the nodes' scripts, or the errors as people see them.
fn compile(texts: &[(&str, &str)]) -> Result<Vec<NodePart>, String> {
    let mut files = SourceFiles::default();
    for (name, text) in texts {
        files.add(*name, (*text).to_owned()).expect("a small file");
    }

    let mut diagnostics = Diagnostics::default();
    let input = palisade::read(
        &files,
        palisade::policy::StagedPolicies::Proposed,
        &mut diagnostics,
    );
    let told = |diagnostics: &Diagnostics| {
        diagnostics
            .sorted()
            .into_iter()
            .map(|problem| {
                print::human(problem, &files, false) + print::json(problem, &files).as_str()
            })
            .collect::<String>()
    };

    if diagnostics.has_errors() {
        return Err(told(&diagnostics));
    }

    let resolved =
        palisade::resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let templates = TemplateSet::new(&[]).expect("built-in templates");
    let nodes = input.inventory.nodes_with_ids();

    let parts = nodes.map(|(node, _)| {
        palisade::compile(
            &resolved,
            node,
            &CompileOptions::default(),
            &templates,
            &mut diagnostics,
        )
    });
    let parts: Vec<NodePart> = parts
        .map(|part| part.expect("built-in templates render"))
        .map_while(|part| part)
        .collect();

    if diagnostics.has_errors() {
        Err(told(&diagnostics))
    } else {
        Ok(parts)
    }
}

/// Bytes of the longest line that the tools may be given.
const LONGEST_SETS_LINE: usize = 1_000;
const LONGEST_TABLE_LINE: usize = 2_000;

const SETS_LINES: [&str; 3] = ["# ", "create pal-", "add pal-"];

/// How lines of tables begin: of the filter table, and of the raw table that validates sources.
const TABLE_LINES: [&str; 11] = [
    "# ",
    "#   ip",
    "*filter",
    "*raw",
    ":pal-",
    "-A pal-",
    "-I FORWARD 1 ",
    "-I INPUT 1 ",
    "-I OUTPUT 1 ",
    "-I PREROUTING 1 ",
    "COMMIT",
];

/// What is wrong with the lines of scripts.
fn strange_lines(parts: &[NodePart]) -> Vec<String> {
    let scripts = parts.iter().flat_map(|part| part.scripts.files());
    let strange = scripts.flat_map(|(name, text)| match name {
        "sets.ipset" => strange(text, &SETS_LINES, LONGEST_SETS_LINE),
        _ => strange(text, &TABLE_LINES, LONGEST_TABLE_LINE),
    });
    strange.collect()
}

fn strange(text: &str, shapes: &[&str], longest: usize) -> Vec<String> {
    let is_known =
        |line: &str| line.is_empty() || shapes.iter().any(|shape| line.starts_with(shape));
    let is_plain = |line: &str| {
        line.bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    };
    let is_good = |line: &str| {
        is_known(line)
            && is_plain(line)
            && line.len() <= longest
            && (line.starts_with('#') || is_well_quoted(line))
    };

    // `lines` would hide a `\r`
    text.split('\n')
        .filter(|line| !is_good(line))
        .map(str::to_owned)
        .collect()
}

/// Quotes only round a comment or log prefix, and nothing in them that a shell or the tools would
/// take for more than text.
fn is_well_quoted(line: &str) -> bool {
    let pieces: Vec<&str> = line.split('"').collect();
    let is_text = |piece: &str| {
        piece
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || " -_./:,()=@+".contains(letter))
    };
    let is_introduced =
        |piece: &str| piece.ends_with("--comment ") || piece.ends_with("--log-prefix ");
    let outside = pieces
        .iter()
        .step_by(2)
        .all(|piece| piece.chars().all(|letter| !"\\'`$;|&<>#".contains(letter)));

    let pairs = pieces
        .chunks_exact(2)
        .all(|pair| matches!(pair, [before, inside] if is_introduced(before) && is_text(inside)));
    pieces.len() % 2 == 1 && outside && pairs
}

/// Runs a property on a seed of its own, which is printed.
fn holds<Input: Strategy>(
    cases: u32,
    input: &Input,
    property: impl Fn(Input::Value) -> Result<(), TestCaseError>,
) {
    let asked = std::env::var("PALISADE_FUZZ_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = asked.unwrap_or_else(|| RandomState::new().hash_one(cases));
    let cases = std::env::var("PALISADE_FUZZ_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(cases);

    println!("PALISADE_FUZZ_SEED={seed}");
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(input, property)
        .expect("the property holds");
}

/// The texts of an example: its cluster and its policies.
fn example(name: &str) -> [String; 2] {
    ["cluster", "policies"].map(|file| {
        fs::read_to_string(root().join(format!("examples/{name}/{file}.yaml"))).expect("an example")
    })
}

fn examples() -> &'static [[String; 2]; 2] {
    static EXAMPLES: OnceLock<[[String; 2]; 2]> = OnceLock::new();
    EXAMPLES.get_or_init(|| ["service-accounts", "online-boutique"].map(example))
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Change {
    DropLetter(Index),
    Insert(Index, &'static str),
    ReplaceWord(Index, &'static str),
    DropLine(Index),
    RepeatLine(Index),
    SwapLines(Index, Index),
    Shift(Index),
    Cut(Index),
}

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "\n", "\"", "'", "\\", "\t", "\0", ":", "- ", "---\n", "{", "}", "[", "]", "*a", "&a ", "<<: ", "# ", "!", "null", "~", "0", "-1",
    "65536", "1e400", "0x10", "10.0.0.0/0", "::/0", "fe80::1%eth0", "all()", "global()", "!has(", "in {", "==", "&&", "\"\\u0000\"",
    "\"\\n-A pal-x\"", "$(reboot)", "\u{feff}", "\u{2028}", "\u{1f980}", "Allow", "Deny", "Pass", "Log", "TCP", "ICMPv6", "ICMP", "default",
    "kube-system", "spec:", "selector:", "notSelector:", "nets:", "notNets:", "ports:", "serviceAccounts:", "Egress", "Ingress", "yes",
];

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Change::DropLetter),
        (at(), select(WORDS)).prop_map(|(place, word)| Change::Insert(place, word)),
        (at(), select(WORDS)).prop_map(|(place, word)| Change::ReplaceWord(place, word)),
        (at(), select(WORDS)).prop_map(|(place, word)| Change::ReplaceWord(place, word)),
        at().prop_map(Change::DropLine),
        at().prop_map(Change::RepeatLine),
        (at(), at()).prop_map(|(one, other)| Change::SwapLines(one, other)),
        at().prop_map(Change::Shift),
        at().prop_map(Change::Cut),
    ]
}

impl Change {
    fn apply(&self, text: &str) -> String {
        let letter = |place: &Index| text.floor_char_boundary(place.index(text.len().max(1)));
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        let line = |place: &Index| place.index(lines.len().max(1));

        match self {
            Self::DropLetter(place) => {
                let (before, after) = text.split_at(letter(place));
                let mut after = after.chars();
                after.next();
                return before.to_owned() + after.as_str();
            }
            Self::Insert(place, word) => {
                let (before, after) = text.split_at(letter(place));
                return format!("{before}{word}{after}");
            }
            Self::ReplaceWord(place, word) => return replace_word(text, place, word),
            Self::Cut(place) => return text.split_at(letter(place)).0.to_owned(),
            _ if lines.is_empty() => {}
            Self::DropLine(place) => {
                lines.remove(line(place));
            }
            Self::RepeatLine(place) => {
                let repeated = lines.get(line(place)).copied().unwrap_or_default();
                lines.insert(line(place), repeated);
            }
            Self::SwapLines(one, other) => {
                let (one, other) = (line(one), line(other));
                lines.swap(one, other);
            }
            Self::Shift(place) => lines.insert(line(place), "  "),
        }

        lines.concat()
    }
}

/// Words are what stands between white space and YAML's own marks.
fn replace_word(text: &str, place: &Index, word: &str) -> String {
    let words: Vec<&str> = text
        .split([' ', '\n', ',', '[', ']', '{', '}'])
        .filter(|word| !word.is_empty())
        .collect();
    let Some(old) = words.get(place.index(words.len().max(1))) else {
        return word.to_owned();
    };
    let start = old.as_ptr().addr() - text.as_ptr().addr();
    format!("{}{word}{}", &text[..start], &text[start + old.len()..])
}

#[test]
fn changed_examples_are_refused_or_give_known_lines() {
    let input = (
        select(examples().as_slice()),
        0..3_usize,
        vec(change(), 1..4),
    );

    holds(150, &input, |([cluster, policies], which, changes)| {
        let changed = |text: &String| {
            changes
                .iter()
                .fold(text.clone(), |text, change| change.apply(&text))
        };
        let (cluster, policies) = match which {
            0 => (changed(&cluster), policies),
            _ => (cluster, changed(&policies)),
        };
        if let Ok(parts) = compile(&[("cluster.yaml", &cluster), ("policies.yaml", &policies)]) {
            prop_assert_eq!(strange_lines(&parts), Vec::<String>::new());
        }
        Ok(())
    });
}

#[test]
fn random_selectors_never_panic() {
    let words = [
        "a", "\"b\"", "'c'", "==", "!=", "in", "not in", "{", "}", "(", ")", "!", "&&", "||", ",",
        "has", "all()", "global()", "\\", "\n", "é",
    ];

    let text = prop_oneof![
        any::<String>(),
        vec(select(words.to_vec()), 0..20).prop_map(|words| words.join(" "))
    ];
    holds(300, &text, |text| {
        let mut policy = rich_policy();
        policy["spec"]["selector"] = json!(text);
        policy["spec"]["ingress"][0]["source"]["notSelector"] = json!(text);
        if let Ok(parts) = compile(&[
            ("cluster.json", &cluster()),
            ("policy.json", &policy.to_string()),
        ]) {
            prop_assert_eq!(strange_lines(&parts), Vec::<String>::new());
        }
        Ok(())
    });
}

/// A policy with every field in it.
fn rich_policy() -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "rich", "labels": {"a": "b"}},
        "spec": {
            "tier": "default", "order": 10.5, "selector": "app == \"web\"", "namespaceSelector": "has(team)",
            "serviceAccountSelector": "has(role)", "types": ["Ingress", "Egress"],
            "ingress": [
                {
                    "action": "Allow", "ipVersion": 4, "protocol": "TCP",
                    "source": {
                        "nets": ["10.0.0.0/8"], "notNets": ["10.1.0.0/16"], "selector": "app == \"web\"", "notSelector": "app == \"db\"",
                        "namespaceSelector": "has(team)", "serviceAccounts": {"names": ["front"], "selector": "has(role)"},
                        "ports": [1024, "2000:3000"], "notPorts": [2500]
                    },
                    "destination": {"nets": ["10.9.0.0/24"], "ports": [80, "http"]}
                },
                {"action": "Deny", "protocol": "ICMP", "icmp": {"type": 8, "code": 0}},
                {"action": "Log", "notProtocol": "UDP"},
                {"action": "Pass", "protocol": "ICMPv6", "notICMP": {"type": 128}}
            ],
            "egress": [{"action": "Allow", "protocol": 6, "destination": {"notPorts": [25]}}]
        }
    })
}

/// A namespaced policy of Kubernetes, with every field in it.
fn rich_kubernetes_policy() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "plain", "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [
                    {"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {"matchLabels": {"team": "one"}}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
                ],
                "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}, {"protocol": "UDP", "port": "http"}]
            }],
            "egress": [{"to": [{"podSelector": {}}]}]
        }
    })
}

/// A cluster of one node and two pods, as one list.
fn cluster_value() -> Value {
    let pod = |name: &str, address: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
            "spec": {"nodeName": "node-1", "serviceAccountName": "front",
                "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "one"}}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "front", "namespace": "shop", "labels": {"role": "r"}}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"]}},
        pod("web", "10.9.0.5"), pod("db", "10.9.0.6"),
        {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "edge"}, "spec": {"order": 5, "defaultAction": "Pass"}},
        {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet", "metadata": {"name": "set", "labels": {"app": "db"}},
            "spec": {"nets": ["192.0.2.0/24"]}}
    ]})
}

fn cluster() -> String {
    cluster_value().to_string()
}

/// JSON pointers to every value, and, by the second of each, to every key (as its object's pointer
/// and the key).
fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, places: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value))
                .collect(),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, value)| (index.to_string(), value))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        for (key, child) in children {
            let path = format!("{path}/{key}");
            walk(child, &path, places);
            places.push(path);
        }
    }

    let mut all = Vec::new();
    walk(value, "", &mut all);
    all
}

/// The value with another one at a place.
fn with(value: &Value, place: &str, other: Value) -> Value {
    let mut value = value.clone();
    *value.pointer_mut(place).expect("a place") = other;
    value
}

/// The value with a key misspelt; none where the place is no key.
fn with_key_misspelt(value: &Value, place: &str) -> Option<Value> {
    let (parent, key) = place.rsplit_once('/')?;
    let mut value = value.clone();
    let fields = value.pointer_mut(parent)?.as_object_mut()?;
    let moved = fields.remove(key)?;
    fields.insert(format!("{key}x"), moved);
    Some(value)
}

#[test]
fn no_mistake_in_a_policy_is_taken_for_an_absent_field() {
    let cluster = cluster();

    for policy in [rich_policy(), rich_kubernetes_policy()] {
        let compiled = compile(&[
            ("cluster.json", &cluster),
            ("policy.json", &policy.to_string()),
        ]);
        assert_eq!(compiled.map(|parts| strange_lines(&parts)), Ok(Vec::new()));
        for place in places(&policy) {
            let junk = [
                json!("~!"),
                json!([[]]),
                json!({"nope": 1}),
                json!(true),
                json!(-7.5),
            ];
            // an order may be any number; a key of labels may be any key
            let wrong = junk
                .into_iter()
                .filter(|junk| !(place.ends_with("/order") && junk.is_number()));
            let mut mistakes: Vec<Value> = wrong.map(|junk| with(&policy, &place, junk)).collect();
            let is_label = place.contains("abels/");
            mistakes.extend(with_key_misspelt(&policy, &place).filter(|_| !is_label));
            for mistake in mistakes {
                let compiled = compile(&[
                    ("cluster.json", &cluster),
                    ("policy.json", &mistake.to_string()),
                ]);
                assert!(
                    compiled.is_err(),
                    "a mistake at {place} is not seen:\n{mistake}"
                );
            }
        }
    }
}

#[rustfmt::skip]
const HOSTILE: &[&str] = &[
    "a\n-A pal-FORWARD -j ACCEPT", "a\r\nCOMMIT", "a\" -j ACCEPT --comment \"b", "a\\\"b\\", "$(reboot)", "`reboot`", "a;b|c&d>e", "\u{0}",
    "\u{1}1\u{1}\n", "\u{202e}a", "\u{2028}COMMIT", "{{rules}}", "%s%n", "-j", "#", " ", "", "pal-FORWARD", "ы",
    "app == \"\n-A pal-FORWARD -j ACCEPT\"", "app == '\" -j ACCEPT --comment \"'", "app == \"$(reboot)`\\\" || has(x)",
    "app in {\"a\", '{{rules}}', '\u{1}2\u{1}\n'}",
];

#[test]
fn hostile_strings_are_refused_or_harmless() {
    let (cluster, policy) = (cluster_value(), rich_policy());
    let long = "a".repeat(5_000);
    let long_selector = format!("app == '{}'", "b c".repeat(2_000));
    let strings: Vec<&str> = HOSTILE
        .iter()
        .copied()
        .chain([long.as_str(), &long_selector])
        .collect();
    let mut accepted = 0;

    for hostile in strings {
        let in_policy = string_places(&policy)
            .map(|place| (cluster.clone(), with(&policy, &place, json!(hostile))));
        let in_cluster = string_places(&cluster)
            .map(|place| (with(&cluster, &place, json!(hostile)), policy.clone()));
        for (cluster, policy) in in_policy.chain(in_cluster) {
            let Ok(parts) = compile(&[
                ("cluster.json", &cluster.to_string()),
                ("policy.json", &policy.to_string()),
            ]) else {
                continue;
            };
            accepted += 1;
            assert_eq!(
                strange_lines(&parts),
                Vec::<String>::new(),
                "{hostile:?}\n{cluster}\n{policy}"
            );
        }
    }

    assert!(
        accepted > 100,
        "nearly everything was refused, so that little was tried: {accepted}"
    );
}

fn string_places(value: &Value) -> impl Iterator<Item = String> {
    places(value)
        .into_iter()
        .filter(|place| value.pointer(place).is_some_and(Value::is_string))
}

#[test]
fn strange_lines_are_seen() {
    for line in [
        "-A pal-a -m comment --comment \"a\" b\" -j DROP",
        "-A pal-a -m comment --comment \"a\\\" -j DROP",
        "-F",
        "-A FORWARD -j ACCEPT",
        "\r",
    ] {
        assert_eq!(strange(line, &TABLE_LINES, LONGEST_TABLE_LINE), [line]);
    }
    assert_eq!(
        strange(
            &format!("# {}", "a".repeat(2_000)),
            &TABLE_LINES,
            LONGEST_TABLE_LINE
        )
        .len(),
        1
    );
    assert!(
        strange(
            "-A pal-a -m comment --comment \"a (b)\" -j DROP",
            &TABLE_LINES,
            LONGEST_TABLE_LINE
        )
        .is_empty()
    );
}
