//! Source validation in real kernels: who gets through with an address of somebody else, on both
//! builds of iptables and in both families. The kernel's own `rp_filter` is off.
#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::collections::BTreeMap;
use std::fs;

use crate::enforced::{BUILDS, scripts};
use crate::kernel::{self, Changes, Cluster, Forgery, Host, Node, Probe, Question, Trial};
use crate::palisade::{root, run};

/// Nodes `n1` (with the pods `db`, `web` and `other`) and `n2` (with the pods `far` and `stray`).
/// Only the service account `web` and a friend outside may reach `db`.
const OBJECTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.1.0.1}, {ip: 'fd00:1::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {nodeName: n1, serviceAccountName: web}
status: {podIPs: [{ip: 10.1.0.2}, {ip: 'fd00:1::2'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: shop}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.1.0.3}, {ip: 'fd00:1::3'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: shop}
spec: {nodeName: n2, serviceAccountName: web}
status: {podIPs: [{ip: 10.2.0.1}, {ip: 'fd00:2::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stray, namespace: shop}
spec: {nodeName: n2}
status: {podIPs: [{ip: 10.2.0.2}, {ip: 'fd00:2::2'}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: app == 'db'
  ingress:
  - {action: Allow, source: {serviceAccounts: {names: [web]}}}
  - {action: Allow, source: {nets: [203.0.113.1/32]}}
  - {action: Allow, source: {nets: ['2001:db8:113::1/128']}}
";

/// Name, IPv4 and IPv6 address of everyone.
const ADDRESSES: [(&str, &str, &str); 9] = [
    ("n1", "192.0.2.1", "2001:db8:2::1"),
    ("n2", "192.0.2.2", "2001:db8:2::2"),
    ("db", "10.1.0.1", "fd00:1::1"),
    ("web", "10.1.0.2", "fd00:1::2"),
    ("other", "10.1.0.3", "fd00:1::3"),
    ("far", "10.2.0.1", "fd00:2::1"),
    ("stray", "10.2.0.2", "fd00:2::2"),
    ("friend", "203.0.113.1", "2001:db8:113::1"),
    ("stranger", "203.0.113.2", "2001:db8:113::2"),
];

/// What everyone may do with the address that is theirs: it is the same in every mode.
const OWN: [(&str, &str, bool); 14] = [
    ("web", "db", true),
    ("far", "db", true),
    ("friend", "db", true),
    ("other", "db", false),
    ("stray", "db", false),
    ("stranger", "db", false),
    ("n1", "db", true),
    ("n2", "db", false),
    ("db", "far", true),
    ("db", "n1", true),
    ("other", "stranger", true),
    ("stranger", "far", true),
    ("n2", "far", true),
    ("n1", "n2", true),
];

/// Who claims to be whom to the database, and in which modes it gets there. A letter is a mode:
/// `s`trict, `l`oose, loose with `p`od interfaces, lo`g`, and off, which is `-`.
const FORGED: [(&str, &str, &str); 10] = [
    // the handed fault: a pod on the node takes the address of another one there
    ("other", "web", "g-"),
    // a pod takes the address of a pod of another node
    ("other", "far", "lg-"),
    // a pod of another node takes the address of one on this node, or of one beside it
    ("stray", "web", "g-"),
    ("stray", "far", "g-"),
    // somebody outside takes the address of a pod of this node
    ("stranger", "web", "g-"),
    // another node takes the address of a pod of this node
    ("n2", "web", "g-"),
    // a pod takes an address outside
    ("other", "friend", "slg-"),
    // no route tells these apart: both are behind the one uplink
    ("stranger", "far", "slpg-"),
    // a node is not policed when it sends to its own pods
    ("n1", "web", "slpg-"),
    ("n1", "far", "slpg-"),
];

/// Words for `palisade render`, by mode.
const MODES: [(char, &[&str]); 5] = [
    ('s', &[]),
    ('l', &["--source-validation", "loose"]),
    (
        'p',
        &["--source-validation", "loose", "--pod-interface", "cali+"],
    ),
    ('g', &["--source-validation", "log"]),
    ('-', &["--source-validation", "off"]),
];

#[test]
fn nobody_gets_through_as_somebody_else() {
    for (mode, words) in MODES {
        for is_ranged in [true, false] {
            let trial = Trial {
                cluster: cluster(is_ranged, words),
                changes: Vec::new(),
                questions: own(&OWN),
                forgeries: forged(mode, &FORGED),
            };
            for build in BUILDS {
                let counters = kernel::check_forgeries(&trial, build);
                assert!(
                    kernel::skipped() || mode == '-' || is_counted(&counters, "n1"),
                    "{mode}: {counters:?}"
                );
            }
        }
    }
}

/// `n1` has a second uplink, by which all packets to its pods come. It sends by the first.
#[test]
fn routes_may_be_asymmetric_where_validation_is_loose() {
    // by the second uplink comes what is no pod's, and nothing else of the cluster, where
    // validation is strict
    const STRICT: [(&str, &str, bool); 4] = [
        ("web", "db", true),
        ("far", "db", false),
        ("friend", "db", true),
        ("stray", "db", false),
    ];
    const LOOSE: [(&str, &str, bool); 4] = [
        ("web", "db", true),
        ("far", "db", true),
        ("friend", "db", true),
        ("stray", "db", false),
    ];

    for (mode, words) in MODES {
        let own_rows = if mode == 's' { STRICT } else { LOOSE };
        let forged_rows: Vec<_> = FORGED
            .iter()
            .copied()
            .filter(|row| (row.0, row.1) != ("stranger", "far"))
            .collect();
        let mut forgeries = forged(mode, &forged_rows);
        forgeries.extend(forged(mode, &[("stranger", "far", "lpg-")]));
        let trial = Trial {
            cluster: cluster(true, words),
            changes: second_uplink(),
            questions: own(&own_rows),
            forgeries,
        };
        BUILDS
            .iter()
            .for_each(|build| drop(kernel::check_forgeries(&trial, *build)));
    }
}

/// Pods behind one bridge are behind one interface: what they claim of each other nobody sees. This
/// is what `palisade doctor` warns of.
#[test]
fn a_bridge_hides_its_pods_from_each_other() {
    let forged_rows = [
        ("other", "web", "slpg-"),
        ("other", "far", "lg-"),
        ("stranger", "web", "g-"),
    ];

    for (mode, words) in MODES.into_iter().filter(|(mode, _)| *mode != 'p') {
        let trial = Trial {
            cluster: cluster(true, words),
            changes: bridge(),
            questions: own(&[
                ("web", "db", true),
                ("far", "db", true),
                ("other", "db", false),
                ("n1", "db", true),
            ]),
            forgeries: forged(mode, &forged_rows),
        };
        BUILDS
            .iter()
            .for_each(|build| drop(kernel::check_forgeries(&trial, *build)));
    }
}

fn cluster(is_ranged: bool, words: &[&str]) -> Cluster {
    let place = tempfile::tempdir().expect("a directory");
    let (input, bundle) = (place.path().join("input.yaml"), place.path().join("bundle"));
    let nodes = [1, 2].map(|number| {
        let ranges = format!("podCIDRs: [10.{number}.0.0/24, 'fd00:{number}::/64']");
        let spec = if is_ranged { ranges } else { String::new() };
        format!("apiVersion: v1\nkind: Node\nmetadata: {{name: n{number}}}\nspec: {{{spec}}}\n---")
    });
    fs::write(&input, format!("{}{OBJECTS}", nodes.join("\n"))).expect("written");

    let (input, bundle_name) = (input.display().to_string(), bundle.display().to_string());
    let all = [
        &["render", &input, "--verify", "--out", &bundle_name],
        words,
    ]
    .concat();
    let outcome = run(&root(), &all);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);

    let node = |name: &str, pods: &[&str]| {
        let Host { name, addresses } = host(name);
        let pods = pods.iter().map(|pod| host(pod)).collect();
        Node {
            scripts: scripts(&bundle, &name),
            pods,
            name,
            addresses,
        }
    };
    let nodes = vec![
        node("n1", &["db", "web", "other"]),
        node("n2", &["far", "stray"]),
    ];
    Cluster {
        nodes,
        outside: vec![host("friend"), host("stranger")],
    }
}

fn own(rows: &[(&str, &str, bool)]) -> Vec<(Question, bool)> {
    let asked = rows.iter().flat_map(|(from, to, through)| {
        let probes = [Probe::Tcp(5432), Probe::Udp(5432), Probe::Icmp];
        let questions = host(to)
            .addresses
            .into_iter()
            .flat_map(move |to| probes.map(|probe| (to, probe)));
        questions.map(move |(to, probe)| {
            (
                Question {
                    from: (*from).to_owned(),
                    to,
                    probe,
                    source_port: None,
                },
                *through,
            )
        })
    });

    asked.collect()
}

fn forged(mode: char, rows: &[(&str, &str, &str)]) -> Vec<(Forgery, bool)> {
    let each = rows.iter().flat_map(|(from, claims, modes)| {
        let pairs = host(claims).addresses.into_iter().zip(host("db").addresses);
        pairs.map(move |(claims, to)| {
            (
                Forgery {
                    from: (*from).to_owned(),
                    claims,
                    to,
                },
                modes.contains(mode),
            )
        })
    });

    each.collect()
}

/// Whether a node has counted packets with a spoofed source in both families.
fn is_counted(counters: &BTreeMap<String, String>, node: &str) -> bool {
    let lines = counters
        .get(node)
        .map(|text| text.lines())
        .into_iter()
        .flatten();
    lines
        .filter(|line| line.contains("-A pal-spoofed") && !line.contains("LOG"))
        .count()
        == 2
}

fn second_uplink() -> Changes {
    let pods = [
        ("10.1.0.1", "fd00:1::1"),
        ("10.1.0.2", "fd00:1::2"),
        ("10.1.0.3", "fd00:1::3"),
    ];
    let routes = pods.iter().map(|(v4, v6)| {
        format!(
            "route replace {v4}/32 via 169.254.2.3 dev second onlink\n\
             route replace {v6}/128 via fe80::2 dev second onlink\n"
        )
    });
    let fabric = format!(
        "link add second type veth peer name eth1 netns n0\n\
         link set second up\n\
         addr add 169.254.2.1/32 dev second\n\
         addr add fe80::1/64 dev second nodad\n{}",
        routes.collect::<String>()
    );
    let node =
        "link set eth1 up\naddr add 169.254.2.3/32 dev eth1\naddr add fe80::2/64 dev eth1 nodad\n";

    // the link comes up when both ends are
    vec![
        ("fabric".to_owned(), fabric),
        ("n0".to_owned(), node.to_owned()),
    ]
}

/// The pods of `n1` on a bridge that has the node's addresses for them. Pods reach each other by
/// way of the node, as where a bridge's ports are isolated from each other.
fn bridge() -> Changes {
    let mut node = "link add cni0 type bridge\nlink set cni0 up\n\
                    addr add 169.254.1.1/32 dev cni0\naddr add fe80::1/64 dev cni0 nodad\n"
        .to_owned();

    for (number, (v4, v6)) in [
        ("10.1.0.1", "fd00:1::1"),
        ("10.1.0.2", "fd00:1::2"),
        ("10.1.0.3", "fd00:1::3"),
    ]
    .iter()
    .enumerate()
    {
        node.push_str(&format!(
            "addr flush dev cali{number}\nlink set cali{number} master cni0\n\
             route replace {v4}/32 dev cni0\nroute replace {v6}/128 dev cni0\n"
        ));
    }

    vec![("n0".to_owned(), node)]
}

fn host(name: &str) -> Host {
    let (_, v4, v6) = ADDRESSES
        .iter()
        .find(|row| row.0 == name)
        .expect("a known name");
    let addresses = [v4, v6].map(|text| text.parse().expect("an address"));
    Host {
        name: name.to_owned(),
        addresses: addresses.to_vec(),
    }
}
