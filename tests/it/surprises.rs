//! Calico's surprises, which its documentation does not lead one to expect: what Palisade does
//! about each, and which case or test shows it. The numbers are of this list.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::fs;

use crate::golden;
use crate::palisade::{files_below, root};

/// Number, what we do, and a golden case or the path and name of a test; `-` where there is nothing
/// to show, with the reason. `semantics §9.N` is a choice of `docs/semantics.md`, which wins over
/// Calico.
const SURPRISES: [(u8, &str, &str); 76] = [
    // selectors
    (
        0,
        "a pod that names no service account has `default` (semantics §9.6)",
        "service-account-of-a-pod-that-names-none",
    ),
    (
        1,
        "as Calico: `!=` and `not in` are true where the label is absent",
        "src/selector/tests.rs::every_operator_with_a_missing_an_equal_another_and_an_empty_value",
    ),
    (
        2,
        "as Calico",
        "service-account-selector-negative-in-a-global-policy",
    ),
    (
        3,
        "as Calico: `!` negates the comparison",
        "selector-presence",
    ),
    (
        4,
        "as Calico: a line break is refused, a string holds what its quotes do not end",
        "src/selector/tests.rs::every_error_names_what_was_expected_and_points_at_it",
    ),
    (
        5,
        "as Calico: words are operators by their place",
        "src/selector/tests.rs::words_are_operators_only_behind_a_label",
    ),
    (
        6,
        "as Calico: a set may be empty, and one comma may end it",
        "selector-sets",
    ),
    (
        7,
        "what is printed parses to what was printed, always",
        "src/selector/tests.rs::printed_trees_parse_to_themselves",
    ),
    (
        8,
        "`global()` anywhere but alone in a rule's `namespaceSelector` is refused",
        "bad-global",
    ),
    (
        9,
        "replaced in the tree, so that values stay as they are (semantics §9.10)",
        "selector-values-are-not-rewritten",
    ),
    (
        10,
        "as Calico",
        "selector-all-beside-the-selectors-of-a-global-policy",
    ),
    // scoping
    (
        11,
        "as Calico, and a lint says so",
        "not-selector-in-a-namespaced-policy",
    ),
    (12, "as Calico", "nets-are-not-namespaced"),
    (13, "as Calico", "service-accounts-of-other-namespaces"),
    (14, "as Calico", "service-account-names-in-a-global-policy"),
    (15, "as Calico", "service-accounts-empty"),
    (
        16,
        "a name that Kubernetes does not allow is an error (semantics §9.9)",
        "bad-names",
    ),
    (17, "as Calico", "service-account-selector-all"),
    (
        18,
        "the policy's own namespace, as the API documentation promises (semantics §9.11)",
        "services",
    ),
    (
        19,
        "as Calico",
        "src/inventory/tests.\
         rs::a_network_set_keeps_its_own_labels_even_empty_ones_before_those_of_its_namespace",
    ),
    (
        20,
        "as Calico, which refuses no label of these but the one of the namespace on network sets",
        "network-sets-may-claim-a-service-account",
    ),
    (
        21,
        "such a pod has `default`, and the label is gone (semantics §9.6)",
        "pod-labels-cannot-claim-identity",
    ),
    (22, "as Calico", "host-endpoints-as-peers"),
    (
        23,
        "two live pods with one address are an error (semantics §9.7)",
        "two-pods-with-one-address",
    ),
    // order and verdict
    (24, "as Calico", "policy-order-ties"),
    (25, "as Calico", "tier-order"),
    (26, "as Calico", "policy-order"),
    (
        27,
        "an unknown tier is an error (semantics §9.8)",
        "unknown-tier",
    ),
    (
        28,
        "inferred, as by Calico's API",
        "src/policy/tests.rs::types_are_inferred_from_the_rules",
    ),
    (29, "as Calico", "default-deny-ingress"),
    (30, "as Calico, and a lint says so", "types-hide-rules"),
    (31, "as Calico", "tier-that-denies-hides-later-tiers"),
    (32, "as Calico", "staged-policies-alone-in-a-tier"),
    (33, "as Calico", "log-only"),
    (
        34,
        "as Calico's iptables: the next profile is asked",
        "profiles",
    ),
    (
        35,
        "a profile that is not in the input denies, and a note names it; a namespace that is not \
         in the input has no labels, and its profile allows (semantics §9.6)",
        "profiles-missing",
    ),
    (
        36,
        "one invalid policy refuses all, nothing is written (semantics §9.4)",
        "tests/it/bad_input.rs::a_bad_policy_is_refused",
    ),
    (37, "as Calico", "host-lists-of-pods"),
    (38, "as Calico", "host-forward"),
    // addresses, ports, protocols
    (
        39,
        "as Calico: refused in rules, and taken in network sets, for which see `network-sets`",
        "bad-addresses",
    ),
    (40, "as Calico (semantics §9.18)", "not-nets"),
    (41, "an error, as in Calico", "exception-of-everything"),
    (42, "an error, as in Calico", "bad-ports"),
    (43, "an error, as in Calico", "bad-protocols"),
    (
        44,
        "as Calico by number, but a type is asked for in its own family only; `notICMP` without \
         protocol is an error, see `icmp-without-protocol`",
        "icmp-by-number",
    ),
    (
        45,
        "6, 17 and 132 are TCP, UDP and SCTP; a name beside any other protocol is an error, see \
         `ports-without-protocol`",
        "named-ports-of-protocols-by-number",
    ),
    (46, "as Calico", "named-ports-excluded-of-a-selection"),
    (
        47,
        "as Calico: one of the backends is not ready",
        "services",
    ),
    (48, "as Calico (semantics §9.25)", "network-sets"),
    // Kubernetes
    (
        49,
        "as Calico; for Kubernetes NetworkPolicy see `kubernetes-peers`",
        "cluster-network-policy-reaches-network-sets",
    ),
    (
        50,
        "as the API server, which fills in Egress where there are egress rules",
        "kubernetes-policy-types-absent",
    ),
    (51, "an error (semantics §9.12)", "bad-addresses"),
    (52, "as Calico", "kubernetes-port-without-number"),
    (53, "an error (semantics §9.12)", "bad-cluster-policies"),
    (
        54,
        "as Calico; for ClusterNetworkPolicy see `cluster-network-policy`",
        "kubernetes-beside-calico",
    ),
    // the program on a node
    (
        55,
        "as Calico (semantics §9.15)",
        "tests/it/hosts.rs::a_host_endpoint_guards_its_host_and_nothing_else",
    ),
    (
        56,
        "as Calico, but accepted by default (semantics §9.15)",
        "endpoint-to-host-drop",
    ),
    (57, "as Calico (semantics §9.16)", "ipv6-only"),
    (
        58,
        "an option, off by default (semantics §9.16)",
        "encapsulated-drop",
    ),
    (59, "as Calico (semantics §9.20)", "named-ports-ingress"),
    (
        60,
        "names have a part of the hash in them always, and collisions are errors (semantics §9.22)",
        "src/lower/tests.rs::names_fit_the_kernel_and_depend_on_content_alone",
    ),
    (
        61,
        "names of chains are our own (semantics §9.22)",
        "src/lower/tests.rs::names_fit_the_kernel_and_depend_on_content_alone",
    ),
    (
        62,
        "there are no marks: the last allow is ACCEPT (semantics §9.19)",
        "tests/it/surprises.rs::no_rule_knows_marks",
    ),
    (
        63,
        "there are no marks (semantics §9.19)",
        "tests/it/surprises.rs::no_rule_knows_marks",
    ),
    (
        64,
        "long lists are sets, so that one rule stays one (semantics §9.20)",
        "ports-more-than-multiport-takes",
    ),
    (
        65,
        "the same input gives the same bytes (semantics §9.23)",
        "tests/it/golden.rs::the_order_of_files_and_objects_changes_no_byte",
    ),
    (66, "about hashes of rules, which we do not keep", "-"),
    (
        67,
        "there are no marks (semantics §9.19)",
        "tests/it/surprises.rs::no_rule_knows_marks",
    ),
    (
        68,
        "cut to what the kernel takes",
        "src/lower/tests.rs::log_prefixes_fit_and_hold_no_quote",
    ),
    (
        69,
        "about an agent that changes sets in the kernel: ours, `palisade apply`, is not there yet",
        "-",
    ),
    (
        70,
        "about an agent that removes sets from the kernel: ours, `palisade apply`, is not there \
         yet",
        "-",
    ),
    (
        71,
        "a setting of Felix, which we do not have: what is denied is dropped",
        "-",
    ),
    // application layer policy
    (
        72,
        "about Dikastes; we make IP sets only, which are what protects",
        "-",
    ),
    (
        73,
        "about Dikastes; a set that a rule names is always made",
        "-",
    ),
    (
        74,
        "about Dikastes; named ports are sets of address and port, see `named-ports-ingress`",
        "-",
    ),
    (
        75,
        "as Calico's iptables, and a note says so (semantics §9.13)",
        "http-is-for-the-mesh",
    ),
];

#[test]
fn every_surprise_is_dealt_with() {
    let numbers: Vec<u8> = SURPRISES.iter().map(|(number, ..)| *number).collect();
    assert_eq!(
        numbers,
        Vec::from_iter(0..=75),
        "every number once, in order"
    );

    let wrong: Vec<String> = SURPRISES
        .iter()
        .filter_map(|(number, what, place)| {
            problem(what, place).map(|told| format!("{number}: {told}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_rule_knows_marks() {
    let bundles = golden::cases()
        .into_iter()
        .flat_map(|case| files_below(&case.join("bundle")));
    let rules: Vec<String> = bundles
        .filter(|(path, _)| path.ends_with(".rules"))
        .map(|(_, text)| text)
        .collect();
    let words = rules
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.starts_with('-'))
        .flat_map(str::split_whitespace);

    assert!(rules.len() > 100, "bundles are missing");
    assert_eq!(
        words
            .filter(|word| ["mark", "connmark", "MARK", "CONNMARK"].contains(word))
            .count(),
        0
    );
}

/// What is wrong with a row.
fn problem(what: &str, place: &str) -> Option<String> {
    let named = what
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains('-') && !word.contains(' '));
    let missing = named
        .chain((place != "-" && !place.contains("::")).then_some(place))
        .find(|case| !is_case(case));

    match place.split_once("::") {
        _ if what.is_empty() => Some("what do we do?".to_owned()),
        Some((path, name)) if !has_test(path, name) => {
            Some(format!("`{path}` has no test `{name}`"))
        }
        _ => missing.map(|case| format!("there is no case `{case}`")),
    }
}

fn is_case(name: &str) -> bool {
    root().join("golden").join(name).join("about.md").is_file()
}

fn has_test(path: &str, name: &str) -> bool {
    let text = fs::read_to_string(root().join(path)).unwrap_or_default();
    text.split("#[test]")
        .skip(1)
        .filter_map(|behind| behind.split("fn ").nth(1))
        .any(|signature| signature.split('(').next() == Some(name))
}
