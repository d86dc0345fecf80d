use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{EndpointKind, Inventory, InventoryBuilder, LabelEdit};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::document;
use crate::manifest::Manifest;
use crate::selector::Labels;
use crate::source::SourceFiles;

/// Builds an inventory from objects, read as one JSON list.
pub(crate) fn read(objects: &[Value]) -> (Inventory, Vec<Diagnostic>) {
    let mut files = SourceFiles::default();
    files
        .add(
            "cluster.json",
            json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(),
        )
        .unwrap();

    let (mut builder, mut diagnostics) = (InventoryBuilder::default(), Diagnostics::default());
    document::for_each(&files, &mut diagnostics, &mut |object, diagnostics| {
        builder.ingest(&object, diagnostics)
    });

    let inventory = builder.finish(&Manifest::default(), &mut diagnostics);
    (
        inventory,
        diagnostics.sorted().into_iter().cloned().collect(),
    )
}

pub(crate) fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

pub(crate) fn service_account(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name, "labels": labels}})
}

/// A pod on node `a`.
pub(crate) fn pod(
    namespace: &str,
    name: &str,
    account: &str,
    labels: &Value,
    address: &str,
) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"nodeName": "a", "serviceAccountName": account}, "status": {"podIPs": [{"ip": address}]}})
}

fn node(name: &str, ranges: &[&str]) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": ranges}})
}

/// A copy of an object with another value at a path, or without the value.
fn with(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(field);
    } else {
        parent.insert(field.to_owned(), value);
    }
    object
}

fn plain() -> Value {
    pod("prod", "web", "app", &json!({}), "10.0.0.1")
}

fn labels_of(inventory: &Inventory, index: usize) -> BTreeMap<&str, &str> {
    inventory
        .labels(&inventory.endpoints[index])
        .iter()
        .collect()
}

fn codes(found: &[Diagnostic]) -> Vec<&'static str> {
    found
        .iter()
        .map(|diagnostic| diagnostic.code.name())
        .collect()
}

#[test]
fn a_pod_has_its_own_labels_then_those_of_its_namespace_then_those_of_its_service_account() {
    let own = json!({"app": "web", "empty": "", "pcns.env": "forged", "pcsa.role": "forged", "pcns.projectcalico.org/name": "x",
        "projectcalico.org/namespace": "forged", "projectcalico.org/orchestrator": "forged",
        "projectcalico.org/serviceaccount": "forged"});
    let (inventory, found) = read(&[
        namespace(
            "prod",
            &json!({"env": "live", "kubernetes.io/metadata.name": "forged", "projectcalico.org/name": "forged"}),
        ),
        service_account(
            "prod",
            "app",
            &json!({"role": "api", "projectcalico.org/name": "forged"}),
        ),
        pod("prod", "web", "app", &own, "10.0.0.1"),
    ]);

    assert_eq!(codes(&found), [""; 0]);
    let expected = BTreeMap::from([
        ("app", "web"),
        ("empty", ""),
        ("pcns.env", "live"),
        ("pcns.kubernetes.io/metadata.name", "prod"),
        ("pcns.projectcalico.org/name", "prod"),
        ("pcsa.projectcalico.org/name", "app"),
        ("pcsa.role", "api"),
        ("projectcalico.org/namespace", "prod"),
        ("projectcalico.org/orchestrator", "k8s"),
        ("projectcalico.org/serviceaccount", "app"),
    ]);
    assert_eq!(labels_of(&inventory, 0), expected);

    let labels = inventory.labels(&inventory.endpoints[0]);
    assert_eq!(
        (
            labels.get("empty"),
            labels.get("pcns.env"),
            labels.get("env")
        ),
        (Some(""), Some("live"), None)
    );
}

#[test]
fn what_is_not_in_the_input_has_no_labels_but_its_name_and_is_noted_once() {
    let (inventory, found) = read(&[
        with(plain(), "/spec/serviceAccountName", Value::Null),
        with(
            with(plain(), "/metadata/name", json!("web2")),
            "/status/podIPs",
            json!([{"ip": "10.0.0.2"}]),
        ),
        with(
            pod("prod", "web3", "app", &json!({}), "10.0.0.3"),
            "/spec/serviceAccountName",
            json!(""),
        ),
    ]);

    assert_eq!(
        codes(&found),
        [
            "unknown-namespace",
            "unknown-service-account",
            "unknown-service-account"
        ]
    );

    let expected = BTreeMap::from([
        ("pcns.kubernetes.io/metadata.name", "prod"),
        ("pcns.projectcalico.org/name", "prod"),
        ("pcsa.projectcalico.org/name", "default"),
        ("projectcalico.org/namespace", "prod"),
        ("projectcalico.org/orchestrator", "k8s"),
        ("projectcalico.org/serviceaccount", "default"),
    ]);
    assert_eq!(labels_of(&inventory, 0), expected);

    assert_eq!(
        labels_of(&inventory, 1)["pcsa.projectcalico.org/name"],
        "app"
    );
}

#[test]
fn a_service_account_of_another_namespace_gives_nothing() {
    let (inventory, _) = read(&[
        service_account("dev", "app", &json!({"role": "api"})),
        plain(),
    ]);
    assert!(!labels_of(&inventory, 0).contains_key("pcsa.role"));
}

#[test]
fn the_service_account_is_the_new_field_then_the_old_then_default() {
    let cases = [
        (json!("new"), json!("old"), "new"),
        (Value::Null, json!("old"), "old"),
        (json!(""), json!("old"), "old"),
        (Value::Null, Value::Null, "default"),
    ];

    for (new, old, expected) in cases {
        let pod = with(
            with(plain(), "/spec/serviceAccountName", new),
            "/spec/serviceAccount",
            old,
        );
        assert_eq!(
            read(&[pod]).0.endpoints[0]
                .service_account
                .as_deref()
                .unwrap(),
            expected
        );
    }
}

#[test]
fn a_network_set_keeps_its_own_labels_even_empty_ones_before_those_of_its_namespace() {
    let (inventory, _) = read(&[namespace("prod", &json!({"env": "live", "team": "a"}))]);
    let own = [
        ("pcns.env".to_owned(), String::new()),
        ("pcsa.role".to_owned(), "claimed".to_owned()),
    ];
    let expected = [
        ("pcns.env", ""),
        ("pcns.kubernetes.io/metadata.name", "prod"),
        ("pcns.projectcalico.org/name", "prod"),
        ("pcns.team", "a"),
        ("pcsa.role", "claimed"),
        ("projectcalico.org/namespace", "prod"),
    ];

    let owned = |labels: &[(&str, &str)]| {
        labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    };

    assert_eq!(
        inventory.network_set_labels(Some("prod"), &own),
        owned(&expected)
    );
    assert_eq!(
        inventory.network_set_labels(None, &own),
        BTreeMap::from(own)
    );

    let unknown = [
        ("pcns.kubernetes.io/metadata.name", "dev"),
        ("pcns.projectcalico.org/name", "dev"),
        ("projectcalico.org/namespace", "dev"),
    ];

    assert_eq!(
        inventory.network_set_labels(Some("dev"), &[]),
        owned(&unknown)
    );
}

#[test]
fn pods_that_nobody_can_reach_are_counted_in_one_note() {
    let named = |object: Value, name: &str| with(object, "/metadata/name", json!(name));
    let (inventory, found) = read(&[
        named(with(plain(), "/status/phase", json!("Succeeded")), "done"),
        named(with(plain(), "/status/phase", json!("Failed")), "failed"),
        named(with(plain(), "/spec/hostNetwork", json!(true)), "host"),
        named(with(plain(), "/spec/nodeName", Value::Null), "pending"),
        named(with(plain(), "/status/podIPs", json!([])), "starting"),
        named(
            with(
                plain(),
                "/metadata/deletionTimestamp",
                json!("2026-01-01T00:00:00Z"),
            ),
            "leaving",
        ),
    ]);

    let known: Vec<(String, usize)> = inventory
        .endpoints
        .iter()
        .map(|known| (known.to_string(), known.addresses.len()))
        .collect();
    let expected = [
        ("prod/leaving", 1),
        ("prod/pending", 0),
        ("prod/starting", 0),
    ];

    assert_eq!(
        known,
        expected.map(|(name, addresses)| (name.to_owned(), addresses))
    );

    let note = found
        .iter()
        .find(|diagnostic| diagnostic.code.name() == "skipped-pods")
        .unwrap();

    let expected = "5 pods are no addressable endpoints: 2 finished, 1 on the host's network, 1 \
                    not scheduled, 1 without an address";
    assert_eq!(note.message, expected);
}

/// A pod that is being deleted gives up its addresses, so only a valid time may indicate that.
#[test]
fn a_deletion_timestamp_is_a_time() {
    let is_refused = |value: &Value| {
        let (_, found) = read(&[with(plain(), "/metadata/deletionTimestamp", value.clone())]);
        found
            .iter()
            .any(|diagnostic| ["wrong-type", "invalid-value"].contains(&diagnostic.code.name()))
    };

    for value in [
        json!(null),
        json!("2026-01-31T12:00:00Z"),
        json!("2026-01-31T12:00:00.5Z"),
        json!("2026-01-31T12:00:00+01:00"),
    ] {
        assert!(!is_refused(&value), "{value}");
    }

    let wrong = [
        json!(false),
        json!(0),
        json!({}),
        json!([]),
        json!(""),
        json!("notadate"),
        json!("2026-01-31"),
        json!("2026-01-31T12:00:00"),
    ];
    for value in wrong {
        assert!(is_refused(&value), "{value}");
    }
}

#[test]
fn addresses_are_those_of_pod_ips_else_the_pod_ip() {
    let cases = [
        (
            json!({"podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.9"}, {"ip": "10.0.0.9"}], "podIP": "10.0.0.8"}),
            vec!["10.0.0.9", "fd00::1"],
        ),
        (json!({"podIP": "10.0.0.8"}), vec!["10.0.0.8"]),
        (
            json!({"podIPs": null, "podIP": "10.0.0.8"}),
            vec!["10.0.0.8"],
        ),
        (
            json!({"podIPs": [{"ip": ""}], "podIP": "10.0.0.8"}),
            vec!["10.0.0.8"],
        ),
    ];

    for (status, expected) in cases {
        let (inventory, _) = read(&[with(plain(), "/status", status)]);
        let addresses: Vec<String> = inventory.endpoints[0]
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(addresses, expected);
    }
}

#[test]
fn named_ports_come_from_all_containers_and_default_to_tcp() {
    let ports = |ports: Value| json!([{"name": "c", "ports": ports}]);
    let object = with(
        plain(),
        "/spec/containers",
        ports(
            json!([{"name": "http", "containerPort": 80, "hostPort": 8080}, {"containerPort": 9}, {"name": "", "containerPort": 9}]),
        ),
    );
    let object = with(
        object,
        "/spec/initContainers",
        ports(
            json!([{"name": "dns", "containerPort": 53, "protocol": "UDP"}, {"name": "http", "containerPort": 81}]),
        ),
    );
    let (inventory, _) = read(&[object]);

    let ports: Vec<String> = inventory.endpoints[0]
        .ports
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ports, ["dns=UDP:53", "http=TCP:80", "http=TCP:81"]);
}

#[test]
fn the_same_object_may_come_twice_but_not_another_of_its_name() {
    let first = [
        namespace("prod", &json!({})),
        service_account("prod", "app", &json!({})),
        node("a", &["10.0.0.0/24"]),
        plain(),
    ];

    let twice: Vec<Value> = first.iter().chain(&first).cloned().collect();
    assert_eq!(codes(&read(&twice).1), [""; 0]);
    let others = [
        namespace("prod", &json!({"x": "y"})),
        service_account("prod", "app", &json!({"x": "y"})),
        node("a", &["10.0.1.0/24"]),
        with(plain(), "/status/podIPs", json!([{"ip": "10.0.0.7"}])),
    ];
    for other in others {
        let (_, found) = read(&[&first[..], &[other]].concat());
        assert_eq!(codes(&found), ["duplicate-object"]);
        assert_eq!(found[0].labels.len(), 2);
        assert!(found[0].labels[0].span > found[0].labels[1].span);
    }
}

#[test]
fn two_pods_with_one_address_are_refused_with_both_places() {
    let other = with(
        with(plain(), "/metadata/name", json!("other")),
        "/status/podIPs",
        json!([{"ip": "10.0.0.2"}, {"ip": "10.0.0.1"}]),
    );
    let (_, found) = read(&[plain(), other.clone()]);

    let shared = found
        .iter()
        .find(|diagnostic| diagnostic.code.name() == "duplicate-address")
        .unwrap();
    assert_eq!(shared.labels.len(), 2);
    assert!(
        shared.message.contains("prod/web")
            && shared.message.contains("prod/other")
            && shared.message.contains("`10.0.0.1`")
    );

    let (_, found) = read(&[plain(), with(other, "/status/phase", json!("Failed"))]);
    assert!(!codes(&found).contains(&"duplicate-address"));
}

/// Checks that each object is refused with only its code, and that the inventory stays empty.
fn are_refused(cases: &[(Value, &str)]) {
    for (object, code) in cases {
        let (inventory, found) = read(std::slice::from_ref(object));
        assert_eq!(codes(&found), [*code], "{object}");
        assert!(
            inventory.endpoints.is_empty() && inventory.nodes.is_empty(),
            "{object}"
        );
    }
}

#[test]
fn names_that_kubernetes_does_not_allow_are_refused() {
    let long = "a".repeat(64);
    are_refused(&[
        (
            with(plain(), "/metadata/name", Value::Null),
            "missing-field",
        ),
        (
            with(plain(), "/metadata/name", json!("a\nb")),
            "invalid-name",
        ),
        (
            with(plain(), "/metadata/name", json!("a\"b")),
            "invalid-name",
        ),
        (
            with(plain(), "/metadata/name", json!("Web")),
            "invalid-name",
        ),
        (
            with(plain(), "/metadata/namespace", json!("a.b")),
            "invalid-name",
        ),
        (
            with(plain(), "/metadata/namespace", json!(long)),
            "invalid-name",
        ),
        (
            with(plain(), "/spec/serviceAccountName", json!("it's")),
            "invalid-name",
        ),
        (
            with(plain(), "/spec/nodeName", json!("a b")),
            "invalid-name",
        ),
        (namespace("a.b", &json!({})), "invalid-name"),
        (namespace(&long, &json!({})), "invalid-name"),
        (service_account("prod", "a/b", &json!({})), "invalid-name"),
        (node("-a", &[]), "invalid-name"),
    ]);
}

#[test]
fn labels_that_kubernetes_does_not_allow_are_refused() {
    let label = |key: &str, value: &str| with(plain(), "/metadata/labels", json!({key: value}));
    let long = "a".repeat(64);
    are_refused(&[
        (label("a b", "x"), "invalid-label"),
        (label("/a", "x"), "invalid-label"),
        (label("A.com/a", "x"), "invalid-label"),
        (label("a/b/c", "x"), "invalid-label"),
        (label("", "x"), "invalid-label"),
        (label("a", "x y"), "invalid-label"),
        (label("a", "-x"), "invalid-label"),
        (label("a", &long), "invalid-label"),
        (namespace("prod", &json!({"a": "\n"})), "invalid-label"),
    ]);
}

#[test]
fn addresses_that_kubernetes_does_not_allow_are_refused() {
    let ip = |ip: &str| with(plain(), "/status", json!({"podIP": ip}));
    are_refused(&[
        (ip("10.0.0.256"), "invalid-address"),
        (ip("10.0.0.1/32"), "invalid-address"),
        (ip("010.0.0.1"), "invalid-address"),
        (ip("::ffff:10.0.0.1"), "invalid-address"),
        (ip("0.0.0.0"), "invalid-address"),
        (ip("127.0.0.1"), "invalid-address"),
        (ip("224.0.0.1"), "invalid-address"),
        (ip("fe80::1%eth0"), "invalid-address"),
        (node("a", &["10.0.0.0"]), "invalid-cidr"),
        (node("a", &["10.0.0.0/33"]), "invalid-cidr"),
        (node("a", &["0.0.0.0/0"]), "invalid-cidr"),
    ]);
}

#[test]
fn ports_that_kubernetes_does_not_allow_are_refused() {
    let ports = |port: Value| with(plain(), "/spec/containers", json!([{"ports": [port]}]));
    are_refused(&[
        (
            ports(json!({"name": "http", "containerPort": 0})),
            "invalid-port",
        ),
        (
            ports(json!({"name": "http", "containerPort": 65536})),
            "invalid-port",
        ),
        (ports(json!({"name": "http"})), "invalid-port"),
        (
            ports(json!({"name": "HTTP", "containerPort": 80})),
            "invalid-port",
        ),
        (
            ports(json!({"name": "a--b", "containerPort": 80})),
            "invalid-port",
        ),
        (
            ports(json!({"name": "80", "containerPort": 80})),
            "invalid-port",
        ),
        (
            ports(json!({"name": "http", "containerPort": 80, "protocol": "tcp"})),
            "invalid-protocol",
        ),
        (
            ports(json!({"name": "http", "containerPort": 80, "protocol": "ICMP"})),
            "invalid-protocol",
        ),
    ]);
}

#[test]
fn the_inventory_prints_itself_the_same_in_any_order() {
    let mut objects = vec![
        namespace("prod", &json!({"env": "live"})),
        service_account("prod", "app", &json!({"role": "api"})),
        node("b", &["10.0.1.9/24", "fd00:1::/64"]),
        pod("prod", "web", "app", &json!({"app": "web"}), "10.0.0.10"),
        with(
            pod("prod", "db", "app", &json!({}), "10.0.0.9"),
            "/spec/containers",
            json!([{"ports": [{"name": "sql", "containerPort": 5432}]}]),
        ),
        with(
            pod("x", "y", "", &json!({}), "fd00::1"),
            "/metadata/namespace",
            Value::Null,
        ),
    ];

    let expected = "\
node a
node b
  pod ranges: 10.0.1.0/24, fd00:1::/64
namespace default
  gives labels: pcns.kubernetes.io/metadata.name=default, pcns.projectcalico.org/name=default
namespace prod
  gives labels: pcns.env=live, pcns.kubernetes.io/metadata.name=prod, \
                    pcns.projectcalico.org/name=prod
service account default/default
  gives labels: pcsa.projectcalico.org/name=default
service account prod/app
  gives labels: pcsa.projectcalico.org/name=app, pcsa.role=api
pod default/y on a as default
  addresses: fd00::1
  labels: projectcalico.org/namespace=default, projectcalico.org/orchestrator=k8s, \
                    projectcalico.org/serviceaccount=default
pod prod/db on a as app
  addresses: 10.0.0.9
  ports: sql=TCP:5432
  labels: projectcalico.org/namespace=prod, projectcalico.org/orchestrator=k8s, \
                    projectcalico.org/serviceaccount=app
pod prod/web on a as app
  addresses: 10.0.0.10
  labels: app=web, projectcalico.org/namespace=prod, projectcalico.org/orchestrator=k8s, \
                    projectcalico.org/serviceaccount=app
";
    assert_eq!(read(&objects).0.to_string(), expected);
    objects.reverse();

    let (inventory, _) = read(&objects);
    assert_eq!(inventory.to_string(), expected);
    assert_eq!(
        inventory.find_node("b").map(|id| &*inventory.node(id).name),
        Some("b")
    );

    assert_eq!(inventory.find_node("c"), None);
}

#[test]
fn a_workload_has_the_labels_that_its_pods_will_have_and_pods_know_their_controller() {
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"serviceAccountName": "app"}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "prod", "name": "web"}, "spec": {"template": template},
    });
    let owners = json!([
        {"apiVersion": "v1", "kind": "Node", "name": "a"},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d", "controller": true},
    ]);
    let objects = [
        namespace("prod", &json!({"env": "prod"})),
        service_account("prod", "app", &json!({"role": "api"})),
        with(plain(), "/metadata/ownerReferences", owners),
        deployment,
    ];
    let (inventory, found) = read(&objects);

    assert_eq!(codes(&found), ["workloads-without-addresses"]);
    let workload = inventory
        .endpoints
        .iter()
        .find(|endpoint| endpoint.kind == EndpointKind::Workload("Deployment"))
        .unwrap();

    assert_eq!(
        (&*workload.name, workload.addresses.len(), workload.node),
        ("web", 0, None)
    );

    let labels = inventory.labels(workload);
    let seen = [
        "app",
        "pcns.env",
        "pcsa.role",
        "projectcalico.org/serviceaccount",
    ]
    .map(|key| labels.get(key));
    assert_eq!(seen, [Some("web"), Some("prod"), Some("api"), Some("app")]);

    let pod = inventory
        .endpoints
        .iter()
        .find(|endpoint| endpoint.kind == EndpointKind::Pod)
        .unwrap();

    let owner = pod.owner.as_ref().unwrap();
    assert_eq!((&*owner.kind, &*owner.name), ("ReplicaSet", "web-5d"));
    assert_eq!(pod.workload, None);
}

#[test]
fn a_pod_belongs_to_the_deployment_that_certainly_made_its_owner() {
    let made_by = |kind: &str, owner: &str, hash: &str, others: &[Value]| {
        let owners = json!([{"kind": kind, "name": owner, "controller": true}]);
        let pod = with(
            with(plain(), "/metadata/ownerReferences", owners),
            "/metadata/labels",
            json!({"pod-template-hash": hash}),
        );
        let (inventory, _) = read(&[&[pod], others].concat());
        let pod = inventory
            .endpoints
            .iter()
            .find(|endpoint| endpoint.kind == EndpointKind::Pod)
            .unwrap();
        pod.workload
            .as_ref()
            .map(|owner| format!("{} {}", owner.kind, owner.name))
    };

    let maker = |kind: &str, name: &str, owner: &Value| {
        let spec = json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}});
        json!({"apiVersion": if kind == "Job" { "batch/v1" } else { "apps/v1" }, "kind": kind, "metadata": {"namespace": "prod", "name": name, "ownerReferences": [owner]}, "spec": spec})
    };

    assert_eq!(
        made_by("ReplicaSet", "web-5d8f7c9b6d", "5d8f7c9b6d", &[]).as_deref(),
        Some("Deployment web")
    );

    for (kind, owner, hash) in [
        ("ReplicaSet", "web-5d8f7c9b6d", "6d8f7c9b6d"),
        ("ReplicaSet", "web-5d8f7c9b6d", ""),
        ("ReplicaSet", "web5d8f7c9b6d", "5d8f7c9b6d"),
        ("StatefulSet", "web-5d8f7c9b6d", "5d8f7c9b6d"),
        ("Job", "tidy-29384756", ""),
    ] {
        assert_eq!(
            made_by(kind, owner, hash, &[]),
            None,
            "{kind} {owner} {hash}"
        );
    }

    let of_cron = |controls: bool| {
        maker(
            "Job",
            "tidy-29384756",
            &json!({"kind": "CronJob", "name": "tidy", "controller": controls}),
        )
    };

    assert_eq!(
        made_by("Job", "tidy-29384756", "", &[of_cron(true)]).as_deref(),
        Some("CronJob tidy")
    );
    assert_eq!(made_by("Job", "tidy-29384756", "", &[of_cron(false)]), None);
    assert_eq!(made_by("Job", "tidy-1", "", &[of_cron(true)]), None);

    let of_rollout = maker(
        "ReplicaSet",
        "web-5d",
        &json!({"kind": "Rollout", "name": "web", "controller": true}),
    );

    assert_eq!(
        made_by("ReplicaSet", "web-5d", "5d", &[of_rollout]).as_deref(),
        Some("Rollout web")
    );
}

#[test]
fn edits_are_read_and_applied() {
    for text in [
        "sa:one/web:role=db",
        "pod:one/web:a/b=",
        "pod:one/Deployment/web:a=b",
        "ns:one:team=x",
        "ns:one:team-",
    ] {
        assert!(text.parse::<LabelEdit>().is_ok(), "{text}");
    }

    for text in [
        "",
        "sa:web:role=db",
        "one/web:role=db",
        "ns:one/two:a=b",
        "ns:one:a",
        "ns:one:=b",
        "ns::a=b",
        "ns:one:a=b c",
        "pod:one/a:projectcalico.org/namespace=b",
        "pod:one/a:pcns.a=b",
        "ns:one:kubernetes.io/metadata.name=b",
    ] {
        assert!(text.parse::<LabelEdit>().is_err(), "{text}");
    }
}

#[test]
fn an_edit_changes_what_endpoints_inherit_and_nothing_of_others() {
    let pods = [
        pod("one", "web", "web", &json!({"app": "web"}), "10.0.0.1"),
        pod("two", "web", "web", &json!({}), "10.0.0.2"),
    ];
    let parents = [
        namespace("one", &json!({"team": "a"})),
        service_account("one", "web", &json!({"role": "front"})),
    ];
    let (mut inventory, _) = read(&[parents.as_slice(), &pods].concat());
    let before: Vec<String> = labels_of(&inventory, 1)
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();

    for text in [
        "ns:one:team=b",
        "sa:one/web:role-",
        "sa:one/web:tier=x",
        "pod:one/web:app=y",
    ] {
        inventory.edit(&text.parse().unwrap()).unwrap();
    }

    let after = labels_of(&inventory, 0);
    assert_eq!(after.get("pcns.team"), Some(&"b"));
    assert_eq!(after.get("pcsa.role"), None);
    assert_eq!(after.get("pcsa.tier"), Some(&"x"));
    assert_eq!(after.get("app"), Some(&"y"));

    let others: Vec<String> = labels_of(&inventory, 1)
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(others, before);

    for (text, help) in [
        ("ns:onne:a=b", "did you mean `ns:one`?"),
        ("sa:one/webb:a=b", "did you mean `sa:one/web`?"),
        ("pod:one/web:ap-", "did you mean `app`?"),
    ] {
        let refused = inventory.edit(&text.parse().unwrap()).unwrap_err();
        assert_eq!(refused.help.as_deref(), Some(help), "{text}");
    }
}

/// Texts that are neither a label nor a key nor an owner.
const HOSTILE: [&str; 9] = [
    "=HYPERLINK(\"http://evil.example/\")",
    "x\u{1b}]0;pwned\u{7}",
    "a\n::error::b",
    "@org/team",
    "a|b",
    "<img>",
    "\u{202e}a",
    "a\u{200b}",
    "-",
];

/// Objects of every kind that is read, with the path of their metadata, and that of the metadata of
/// the pods they create.
fn objects_with_metadata() -> Vec<(Value, &'static str)> {
    let object = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a", "namespace": "prod"}});
    let template = |metadata: Value| json!({"metadata": metadata, "spec": {"containers": []}});
    let mut objects = vec![
        (namespace("prod", &json!({})), "/metadata"),
        (service_account("prod", "app", &json!({})), "/metadata"),
        (node("a", &[]), "/metadata"),
        (plain(), "/metadata"),
        (
            with(
                object("discovery.k8s.io/v1", "EndpointSlice"),
                "/addressType",
                json!("IPv4"),
            ),
            "/metadata",
        ),
        (object("v1", "Endpoints"), "/metadata"),
    ];

    for (version, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "ReplicationController"),
        ("batch/v1", "Job"),
    ] {
        let workload = with(
            object(version, kind),
            "/spec",
            json!({"template": template(json!({}))}),
        );
        objects.extend([
            (workload.clone(), "/metadata"),
            (workload, "/spec/template/metadata"),
        ]);
    }

    let jobs = json!({"jobTemplate": {"spec": {"template": template(json!({}))}}});
    let cron = with(object("batch/v1", "CronJob"), "/spec", jobs);
    objects.extend([
        (cron.clone(), "/metadata"),
        (cron, "/spec/jobTemplate/spec/template/metadata"),
    ]);

    objects
}

#[test]
fn metadata_is_checked_as_an_api_server_does() {
    let owner = |field: &str, text: &str| {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "x"});
        json!([with(owner, &format!("/{field}"), json!(text))])
    };

    for (object, metadata) in objects_with_metadata() {
        let refused = |field: &str, value: Value| {
            let (_, found) = read(&[with(object.clone(), &format!("{metadata}/{field}"), value)]);
            found
                .iter()
                .filter(|problem| problem.severity() == Severity::Error)
                .count()
        };
        assert_eq!(
            refused("labels", json!({"app.example/a": "v_1.x", "b": ""})),
            0,
            "{object}"
        );
        assert_eq!(
            refused(
                "annotations",
                json!({"Example.com/A": "any\u{1b}\n text", "b": ""})
            ),
            0,
            "{object}"
        );
        assert_eq!(
            refused("ownerReferences", owner("name", "system:x.y")),
            0,
            "{object}"
        );
        for text in HOSTILE {
            assert_eq!(
                refused("labels", json!({text: "x"})),
                1,
                "{object} {text:?}"
            );
            assert_eq!(
                refused("labels", json!({"x": text})),
                1,
                "{object} {text:?}"
            );
            assert_eq!(
                refused("annotations", json!({text: "x"})),
                1,
                "{object} {text:?}"
            );
            for field in ["apiVersion", "kind", "name"] {
                assert_eq!(
                    refused("ownerReferences", owner(field, text)),
                    1,
                    "{object} {field} {text:?}"
                );
            }
        }
        for field in ["apiVersion", "kind", "name"] {
            assert_eq!(
                refused("ownerReferences", owner(field, "")),
                1,
                "{object} {field}"
            );
        }
        let large = "x".repeat(256 * 1024);
        assert_eq!(refused("annotations", json!({"a": large})), 1, "{object}");
        let two = json!({"apiVersion": "v1", "kind": "Node", "name": "a", "controller": true});
        assert_eq!(refused("ownerReferences", json!([two, two])), 1, "{object}");
    }
}
