use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::{
    ResolvedPolicy,
    lists::{difference, intersection, union},
    selectors,
};
use crate::diagnostic::Diagnostics;
use crate::inventory::{
    Inventory,
    tests::{namespace, pod, read, service_account},
};
use crate::net::{Cidr, Family};
use crate::policy::{
    DefaultAction, HostStage, NetworkSet, Policy, PolicyKey, PolicyKind, PolicySet, SelectorId,
    Tier,
};
use crate::selector::{self, Expr, LabelTest};
use crate::source::FileId;

fn network_set(
    namespace: Option<&str>,
    name: &str,
    labels: &[(&str, &str)],
    nets: &[&str],
) -> NetworkSet {
    NetworkSet {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        labels: labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        nets: nets
            .iter()
            .map(|net| Cidr::parse_lenient(net).unwrap())
            .collect(),
        span: FileId::default().span(0..0),
    }
}

/// A set of policies without rules, one for each selector.
fn policies(applies_to: &[&str], network_sets: Vec<NetworkSet>) -> (PolicySet, Vec<SelectorId>) {
    let mut set = PolicySet {
        network_sets,
        ..PolicySet::default()
    };
    let ids: Vec<SelectorId> = applies_to
        .iter()
        .map(|text| set.selectors.intern(selector::parse(text).unwrap()))
        .collect();
    let policies = ids
        .iter()
        .enumerate()
        .map(|(number, id)| policy(&format!("p{number}"), *id))
        .collect();

    set.tiers.push(Tier {
        name: "default".to_owned(),
        order: 1.0,
        default_action: DefaultAction::Deny,
        policies,
    });

    (set, ids)
}

fn policy(name: &str, applies_to: SelectorId) -> Policy {
    let key = PolicyKey {
        kind: PolicyKind::GlobalNetworkPolicy,
        namespace: None,
        name: name.to_owned(),
    };
    let span = FileId::default().span(0..0);

    Policy {
        key,
        order: None,
        applies_to,
        ingress: None,
        egress: None,
        stage: HostStage::Normal,
        span,
        selector: span,
        unused: None,
    }
}

/// The names of all objects that a selector selects.
fn names(resolved: &ResolvedPolicy<'_>, id: SelectorId) -> Vec<String> {
    let selection = resolved.members(id);
    let endpoints = selection
        .endpoints
        .iter()
        .map(|id| resolved.inventory.endpoint(*id).to_string());
    let sets = selection
        .network_sets
        .iter()
        .map(|id| resolved.network_set(*id).unwrap().name.clone());
    endpoints.chain(sets).collect()
}

/// Two namespaces with three pods, a service account with a label, and one network set of each
/// kind.
fn cluster() -> Vec<Value> {
    vec![
        namespace("dev", &json!({"env": "test"})),
        namespace("prod", &json!({"env": "live"})),
        service_account("prod", "api", &json!({"role": "api"})),
        service_account("prod", "plain", &json!({})),
        pod("dev", "web", "plain", &json!({"app": "web"}), "10.0.0.1"),
        pod(
            "prod",
            "db",
            "plain",
            &json!({"app": "db", "tier": ""}),
            "10.0.0.10",
        ),
        pod("prod", "web", "api", &json!({"app": "web"}), "10.0.0.9"),
    ]
}

fn sets() -> Vec<NetworkSet> {
    vec![
        network_set(
            Some("prod"),
            "partners",
            &[("app", "web"), ("pcns.env", "")],
            &["192.0.2.0/24", "10.0.0.9/32", "2001:db8::/32"],
        ),
        network_set(
            None,
            "world",
            &[("app", "world")],
            &["0.0.0.0/0", "0.0.0.0/1", "::/0"],
        ),
    ]
}

/// Selectors, and the objects of the cluster that each selects.
const SELECTED: &[(&str, &[&str])] = &[
    (
        "all()",
        &["dev/web", "prod/db", "prod/web", "partners", "world"],
    ),
    (
        "global()",
        &["dev/web", "prod/db", "prod/web", "partners", "world"],
    ),
    ("!all()", &[]),
    ("app == 'web'", &["dev/web", "prod/web", "partners"]),
    ("app != 'web'", &["prod/db", "world"]),
    (
        "tier != 'x'",
        &["dev/web", "prod/db", "prod/web", "partners", "world"],
    ),
    ("has(tier)", &["prod/db"]),
    ("!has(tier)", &["dev/web", "prod/web", "partners", "world"]),
    ("tier == ''", &["prod/db"]),
    ("app in {'db', 'world'}", &["prod/db", "world"]),
    (
        "app not in {'db', 'world'}",
        &["dev/web", "prod/web", "partners"],
    ),
    ("app in {}", &[]),
    (
        "app not in {}",
        &["dev/web", "prod/db", "prod/web", "partners", "world"],
    ),
    ("app contains 'or'", &["world"]),
    (
        "app starts with 'w' && app ends with 'b'",
        &["dev/web", "prod/web", "partners"],
    ),
    ("tier contains ''", &["prod/db"]),
    ("nothing contains ''", &[]),
    ("pcns.env == 'live'", &["prod/db", "prod/web"]),
    ("pcns.env == ''", &["partners"]),
    ("pcns.env != 'live'", &["dev/web", "partners", "world"]),
    ("pcsa.role == 'api'", &["prod/web"]),
    (
        "pcsa.role != 'api'",
        &["dev/web", "prod/db", "partners", "world"],
    ),
    (
        "pcsa.role != 'api' && has(projectcalico.org/namespace)",
        &["dev/web", "prod/db", "partners"],
    ),
    (
        "has(projectcalico.org/serviceaccount)",
        &["dev/web", "prod/db", "prod/web"],
    ),
    (
        "projectcalico.org/namespace == 'prod' && pcsa.role != 'api'",
        &["prod/db", "partners"],
    ),
    (
        "projectcalico.org/orchestrator == 'k8s' && app == 'web'",
        &["dev/web", "prod/web"],
    ),
    (
        "pcns.projectcalico.org/name == 'prod'",
        &["prod/db", "prod/web", "partners"],
    ),
    (
        "pcsa.projectcalico.org/name == 'plain'",
        &["dev/web", "prod/db"],
    ),
    (
        "app == 'db' || pcsa.role == 'api' || app == 'web'",
        &["dev/web", "prod/db", "prod/web", "partners"],
    ),
    ("!(app == 'web' || app == 'db')", &["world"]),
    ("app == 'nobody' && !has(x)", &[]),
    ("pcns.env == 'test' && app contains 'e'", &["dev/web"]),
    ("pcns.env == 'test' && app contains 'o'", &[]),
    ("pcns.env == '' && app starts with 'we'", &["partners"]),
    ("pcns.env == '' && app ends with 'x'", &[]),
];

#[test]
fn selectors_select_by_own_and_inherited_labels() {
    let texts: Vec<&str> = SELECTED.iter().map(|case| case.0).collect();
    let (policies, ids) = policies(&texts, sets());
    let (inventory, _) = read(&cluster());
    let resolved = selectors(&policies, &inventory, &mut Diagnostics::default());

    for ((text, expected), id) in SELECTED.iter().zip(ids) {
        assert_eq!(names(&resolved, id), *expected, "{text}");
    }
}

fn shown(members: &[Cidr]) -> Vec<String> {
    members.iter().map(ToString::to_string).collect()
}

#[test]
fn addresses_stand_in_numeric_order_once_and_without_length_zero() {
    let (policies, ids) = policies(
        &[
            "app in {'web', 'db'}",
            "app in {'web', 'world'}",
            "app == 'nobody'",
        ],
        sets(),
    );
    let (inventory, _) = read(&cluster());
    let resolved = selectors(&policies, &inventory, &mut Diagnostics::default());

    let expected: [(&[&str], &[&str]); 3] = [
        (
            &["10.0.0.1", "10.0.0.9", "10.0.0.10", "192.0.2.0/24"],
            &["2001:db8::/32"],
        ),
        (
            &[
                "0.0.0.0/1",
                "10.0.0.1",
                "10.0.0.9",
                "128.0.0.0/1",
                "192.0.2.0/24",
            ],
            &["::/1", "2001:db8::/32", "8000::/1"],
        ),
        (&[], &[]),
    ];
    for (id, (v4, v6)) in ids.into_iter().zip(expected) {
        assert_eq!(shown(resolved.addresses(id, Family::V4)), v4);
        assert_eq!(shown(resolved.addresses(id, Family::V6)), v6);
    }
}

#[test]
fn local_addresses_leave_out_endpoints_of_other_nodes_only() {
    let mut objects = cluster();
    objects[4]["spec"]["nodeName"] = json!("b");
    let (policies, ids) = policies(&["app == 'web'"], sets());
    let (inventory, _) = read(&objects);
    let resolved = selectors(&policies, &inventory, &mut Diagnostics::default());

    let local = |node: &str| {
        shown(&resolved.local_addresses(ids[0], Family::V4, inventory.find_node(node).unwrap()))
    };
    assert_eq!(local("a"), ["10.0.0.9", "192.0.2.0/24"]);
    assert_eq!(local("b"), ["10.0.0.1", "10.0.0.9", "192.0.2.0/24"]);

    let on = |node: &str| {
        resolved
            .endpoints_on(inventory.find_node(node).unwrap())
            .len()
    };
    assert_eq!((on("a"), on("b")), (2, 1));
}

#[test]
fn the_namespace_of_a_network_set_is_noted_once_when_it_is_not_in_the_input() {
    let sets =
        ["prod", "gone", "gone"].map(|namespace| network_set(Some(namespace), "x", &[], &[]));
    let (policies, _) = policies(&[], sets.to_vec());
    let (inventory, _) = read(&cluster());

    let mut diagnostics = Diagnostics::default();
    selectors(&policies, &inventory, &mut diagnostics);
    let messages: Vec<&str> = diagnostics
        .sorted()
        .into_iter()
        .map(|diagnostic| diagnostic.message.as_str())
        .collect();

    assert_eq!(
        messages,
        ["the namespace `gone` is not in the input, so it has no labels"]
    );
}

#[test]
fn what_was_resolved_prints_itself() {
    let (policies, ids) = policies(
        &[
            "app == 'web'",
            "has(projectcalico.org/namespace)",
            "app == 'web'",
        ],
        sets(),
    );
    let (inventory, _) = read(&cluster());
    let resolved = selectors(&policies, &inventory, &mut Diagnostics::default());

    let expected = "\
selector app == \"web\"
  pod dev/web: 10.0.0.1
  pod prod/web: 10.0.0.9
  network set prod/partners: 192.0.2.0/24, 10.0.0.9, 2001:db8::/32
selector has(projectcalico.org/namespace)
  pod dev/web: 10.0.0.1
  pod prod/db: 10.0.0.10
  pod prod/web: 10.0.0.9
  network set prod/partners: 192.0.2.0/24, 10.0.0.9, 2001:db8::/32
pod dev/web on a
  default: GlobalNetworkPolicy p0
  default: GlobalNetworkPolicy p1
  default: GlobalNetworkPolicy p2
pod prod/db on a
  default: GlobalNetworkPolicy p1
pod prod/web on a
  default: GlobalNetworkPolicy p0
  default: GlobalNetworkPolicy p1
  default: GlobalNetworkPolicy p2
";
    assert_eq!(resolved.to_string(), expected);

    let applied: Vec<&[SelectorId]> = inventory
        .endpoints_with_ids()
        .map(|(id, _)| resolved.applied_to(id))
        .collect();
    assert_eq!(
        applied,
        [&[ids[0], ids[1]][..], &[ids[1]], &[ids[0], ids[1]]]
    );
}

type LabelMap = BTreeMap<String, String>;

/// A cluster as a table, from which the test computes the expected labels independently.
#[derive(Debug, Clone)]
struct Table {
    /// Labels of the namespaces `n0`, `n1` …; `None` is a namespace that the input lacks.
    namespaces: Vec<Option<LabelMap>>,
    /// Labels of the service accounts `a0`, `a1` … of every namespace.
    accounts: Vec<Vec<Option<LabelMap>>>,
    /// Namespace, service account, own labels.
    pods: Vec<(usize, usize, LabelMap)>,
    /// Namespace if any, and own labels.
    sets: Vec<(Option<usize>, LabelMap)>,
}

const NAMES: [&str; 4] = ["a", "b", "pcns.a", "pcsa.b"];
const VALUES: [&str; 5] = ["", "x", "y", "xy", "yx"];

/// Label names for selectors: those in the cluster, those that Calico sets, and one that no object
/// has.
const ASKED: [&str; 13] = [
    "unique",
    "projectcalico.org/orchestrator",
    "a",
    "b",
    "pcns.a",
    "pcns.b",
    "pcsa.a",
    "pcsa.b",
    "projectcalico.org/namespace",
    "projectcalico.org/serviceaccount",
    "pcns.projectcalico.org/name",
    "pcsa.projectcalico.org/name",
    "nobody",
];
const ASKED_VALUES: [&str; 11] = ["", "x", "y", "xy", "n0", "n1", "n", "a0", "1", "u", "k8s"];

fn labels() -> impl Strategy<Value = LabelMap> {
    let label = (
        prop::sample::select(&NAMES[..]),
        prop::sample::select(&VALUES[..]),
    );
    vec(
        label.prop_map(|(key, value)| (key.to_owned(), value.to_owned())),
        0..4,
    )
    .prop_map(LabelMap::from_iter)
}

fn tables() -> impl Strategy<Value = Table> {
    let parents = || prop::option::weighted(0.8, labels());
    let pods = vec((0..3usize, 0..2usize, labels()), 0..40).prop_map(each_with_a_label_of_its_own);
    let sets = vec((prop::option::of(0..3usize), labels()), 0..4);
    (vec(parents(), 3), vec(vec(parents(), 2), 3), pods, sets).prop_map(
        |(namespaces, accounts, pods, sets)| Table {
            namespaces,
            accounts,
            pods,
            sets,
        },
    )
}

/// The label then has more values than most selections have members, like a label with the pod's
/// name.
fn each_with_a_label_of_its_own(
    mut pods: Vec<(usize, usize, LabelMap)>,
) -> Vec<(usize, usize, LabelMap)> {
    for (number, pod) in pods.iter_mut().enumerate() {
        pod.2.insert("unique".to_owned(), format!("u{number}"));
    }
    pods
}

fn tests() -> impl Strategy<Value = LabelTest> {
    let value = || prop::sample::select(&ASKED_VALUES[..]).prop_map(str::to_owned);
    let values = || prop::collection::btree_set(value(), 0..4);
    prop_oneof![
        Just(LabelTest::Present),
        value().prop_map(LabelTest::Equals),
        value().prop_map(LabelTest::NotEquals),
        values().prop_map(LabelTest::In),
        values().prop_map(LabelTest::NotIn),
        value().prop_map(LabelTest::Contains),
        value().prop_map(LabelTest::StartsWith),
        value().prop_map(LabelTest::EndsWith),
    ]
}

fn exprs() -> impl Strategy<Value = Expr> {
    let label = (prop::sample::select(&ASKED[..]), tests())
        .prop_map(|(name, test)| Expr::label(name, test));
    let leaf = prop_oneof![1 => Just(Expr::All), 1 => Just(Expr::Global), 12 => label];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|expr| Expr::Not(Box::new(expr))),
            vec(inner.clone(), 0..4).prop_map(Expr::And),
            vec(inner, 0..4).prop_map(Expr::Or),
        ]
    })
}

impl Table {
    fn inventory(&self) -> Inventory {
        let mut objects = Vec::new();
        for (number, labels) in self.namespaces.iter().enumerate() {
            objects.extend(
                labels
                    .iter()
                    .map(|labels| namespace(&format!("n{number}"), &json!(labels))),
            );
        }

        for (number, accounts) in self.accounts.iter().enumerate() {
            let given = accounts
                .iter()
                .enumerate()
                .filter_map(|(account, labels)| Some((account, labels.as_ref()?)));
            objects.extend(given.map(|(account, labels)| {
                service_account(
                    &format!("n{number}"),
                    &format!("a{account}"),
                    &json!(labels),
                )
            }));
        }

        for (number, (namespace, account, labels)) in self.pods.iter().enumerate() {
            let (namespace, account) = (format!("n{namespace}"), format!("a{account}"));
            objects.push(pod(
                &namespace,
                &format!("p{number}"),
                &account,
                &json!(labels),
                &format!("10.0.0.{}", number + 1),
            ));
        }

        read(&objects).0
    }

    /// The labels of a pod, by the definition in semantics §3.1: its own labels first, then those
    /// of each parent.
    fn of_pod(&self, number: usize) -> LabelMap {
        let (namespace, account, own) = &self.pods[number];
        let mut labels = LabelMap::new();
        for (key, value) in own {
            if !(key.starts_with("pcns.") || key.starts_with("pcsa.")) {
                labels.insert(key.clone(), value.clone());
            }
        }

        labels.insert(
            "projectcalico.org/namespace".into(),
            format!("n{namespace}"),
        );
        labels.insert("projectcalico.org/orchestrator".into(), "k8s".into());
        labels.insert(
            "projectcalico.org/serviceaccount".into(),
            format!("a{account}"),
        );
        self.inherit_namespace(*namespace, &mut labels);
        labels
            .entry("pcsa.projectcalico.org/name".into())
            .or_insert(format!("a{account}"));

        for (key, value) in self.accounts[*namespace][*account].iter().flatten() {
            labels.entry(format!("pcsa.{key}")).or_insert(value.clone());
        }

        labels
    }

    fn of_set(&self, number: usize) -> LabelMap {
        let (namespace, own) = &self.sets[number];
        let mut labels = own.clone();
        if let Some(namespace) = namespace {
            labels.insert(
                "projectcalico.org/namespace".into(),
                format!("n{namespace}"),
            );
            self.inherit_namespace(*namespace, &mut labels);
        }
        labels
    }

    fn inherit_namespace(&self, namespace: usize, labels: &mut LabelMap) {
        labels
            .entry("pcns.projectcalico.org/name".into())
            .or_insert(format!("n{namespace}"));
        labels
            .entry("pcns.kubernetes.io/metadata.name".into())
            .or_insert(format!("n{namespace}"));
        for (key, value) in self.namespaces[namespace].iter().flatten() {
            labels.entry(format!("pcns.{key}")).or_insert(value.clone());
        }
    }
}

fn lists() -> impl Strategy<Value = BTreeSet<u32>> {
    prop_oneof![
        prop::collection::btree_set(0..100u32, 0..60),
        prop::collection::btree_set(0..5_000u32, 0..400)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lists_are_sets(left in lists(), right in lists()) {
        let (one, other) = (Vec::from_iter(left.clone()), Vec::from_iter(right.clone()));
        prop_assert_eq!(intersection(&one, &other), Vec::from_iter(&left & &right));
        prop_assert_eq!(difference(&one, &other), Vec::from_iter(&left - &right));
        prop_assert_eq!(union([&one, &other]), Vec::from_iter(&left | &right));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn the_index_selects_whom_the_labels_match(table in tables(), exprs in vec(exprs(), 1..6)) {
        let inventory = table.inventory();
        let mut policies = PolicySet::default();
        for (number, (namespace, labels)) in table.sets.iter().enumerate() {
            let namespace = namespace.map(|namespace| format!("n{namespace}"));
            let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            policies.network_sets.push(network_set(namespace.as_deref(), &format!("s{number}"), &labels, &[]));
        }

        let ids: Vec<SelectorId> = exprs.iter().map(|expr| policies.selectors.intern(expr.clone())).collect();
        let policy_list = ids.iter().map(|id| policy("p", *id)).collect();
        policies.tiers.push(Tier { name: "t".into(), order: 1.0, default_action: DefaultAction::Deny, policies: policy_list });
        let resolved = selectors(&policies, &inventory, &mut Diagnostics::default());

        for (expr, id) in exprs.iter().zip(ids) {
            let of_pod = |name: &str| table.of_pod(name.trim_start_matches('p').parse().unwrap());
            let matching = inventory.endpoints_with_ids().filter(|(_, pod)| expr.matches(&of_pod(&pod.name)));
            let endpoints: Vec<_> = matching.map(|(id, _)| id).collect();
            prop_assert_eq!(&resolved.members(id).endpoints, &endpoints, "{}", expr);
            let sets: Vec<usize> = (0..table.sets.len()).filter(|set| expr.matches(&table.of_set(*set))).collect();
            prop_assert_eq!(resolved.members(id).network_sets.iter().map(|id| id.index()).collect::<Vec<_>>(), sets, "{}", expr);
            for (endpoint, _) in inventory.endpoints_with_ids() {
                prop_assert_eq!(resolved.applied_to(endpoint).contains(&id), endpoints.contains(&endpoint));
                prop_assert!(resolved.applied_to(endpoint).is_sorted());
            }
        }
    }
}
