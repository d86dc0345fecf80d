//! Host endpoints in real kernels: who reaches a node, whom a node reaches, and what goes through it, on both builds of
//! iptables and in both families.
#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::fs;

use crate::enforced::{BUILDS, scripts};
use crate::kernel::{self, Cluster, Host, Node, Probe, Question};
use crate::palisade::{root, run};

/// Nodes `n1` (with the pods `db`, `web` and `shut`) and `n2` (with the pod `far`), and who is outside.
const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.1.0.1}, {ip: 'fd00:1::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.1.0.2}, {ip: 'fd00:1::2'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shut, namespace: shop, labels: {app: shut}}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.1.0.3}, {ip: 'fd00:1::3'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: shop}
spec: {nodeName: n2}
status: {podIPs: [{ip: 10.2.0.1}, {ip: 'fd00:2::1'}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: shut, namespace: shop}
spec: {selector: app == 'shut', types: [Ingress]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: friend, labels: {who: friend}}
spec: {nets: [203.0.113.1/32, '2001:db8:113::1/128']}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: stranger, labels: {who: stranger}}
spec: {nets: [203.0.113.2/32, '2001:db8:113::2/128']}
";

/// Name, IPv4 and IPv6 address of everyone.
const ADDRESSES: [(&str, &str, &str); 8] = [
    ("n1", "192.0.2.1", "2001:db8:2::1"),
    ("n2", "192.0.2.2", "2001:db8:2::2"),
    ("db", "10.1.0.1", "fd00:1::1"),
    ("web", "10.1.0.2", "fd00:1::2"),
    ("shut", "10.1.0.3", "fd00:1::3"),
    ("far", "10.2.0.1", "fd00:2::1"),
    ("friend", "203.0.113.1", "2001:db8:113::1"),
    ("stranger", "203.0.113.2", "2001:db8:113::2"),
];

/// From, to, how, and whether it gets through.
type Row = (&'static str, &'static str, Probe, bool);

use Probe::{Icmp, Tcp, Udp};

#[test]
fn a_host_endpoint_guards_its_host_and_nothing_else() {
    let policies = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n1-eth0, labels: {host: node}}
spec: {node: n1, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: node}
spec:
  selector: host == 'node'
  types: [Ingress, Egress]
  ingress:
    - {action: Allow, protocol: TCP, source: {selector: who == 'friend'}, destination: {ports: [8080]}}
  egress:
    - {action: Allow, protocol: TCP, destination: {ports: [9000]}}
";
    let rows = [
        ("friend", "n1", Tcp(8080), true),
        ("stranger", "n1", Tcp(8080), false),
        ("friend", "n1", Tcp(8081), false),
        ("friend", "n1", Icmp, false),
        // failsafe, both ways
        ("stranger", "n1", Tcp(22), true),
        ("stranger", "n1", Udp(68), true),
        ("stranger", "n1", Udp(53), false),
        ("n1", "stranger", Udp(53), true),
        ("n1", "stranger", Tcp(22), false),
        ("n1", "stranger", Tcp(9000), true),
        ("n1", "stranger", Tcp(9001), false),
        // pods and their node
        ("db", "n1", Tcp(8081), true),
        ("n1", "db", Tcp(8081), true),
        ("n1", "shut", Tcp(80), true),
        ("far", "n1", Tcp(8081), false),
        ("n1", "far", Tcp(80), false),
        // forwarded: not the host endpoint's
        ("stranger", "db", Tcp(80), true),
        ("db", "stranger", Tcp(80), true),
        ("stranger", "shut", Tcp(80), false),
        // the other node has no host endpoint
        ("stranger", "n2", Tcp(8081), true),
        ("n2", "stranger", Tcp(8081), true),
    ];
    check(policies, &rows);
}

#[test]
fn forward_policy_of_every_interface_is_not_for_those_of_pods() {
    let policies = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n1-all, labels: {host: node}}
spec: {node: n1, interfaceName: '*', profiles: [projectcalico-default-allow]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: forward}
spec:
  selector: host == 'node'
  applyOnForward: true
  types: [Ingress, Egress]
  ingress: [{action: Pass, source: {selector: who == 'friend'}}, {action: Allow, protocol: TCP, destination: {ports: [80]}}]
  egress: [{action: Allow, protocol: UDP, destination: {ports: [5353]}}]
";
    let rows = [
        ("stranger", "db", Tcp(80), true),
        ("stranger", "db", Tcp(81), false),
        ("far", "db", Tcp(80), true),
        ("far", "db", Tcp(81), false),
        // passed, and no tier is left: forwarded packets go on, and a profile allows those to the host
        ("friend", "db", Tcp(81), true),
        ("friend", "n1", Tcp(81), true),
        ("stranger", "n1", Tcp(81), false),
        ("stranger", "n1", Tcp(80), true),
        ("db", "stranger", Udp(5353), true),
        ("db", "stranger", Tcp(80), false),
        ("db", "far", Udp(5353), true),
        ("db", "far", Tcp(80), false),
        ("n1", "stranger", Udp(5353), true),
        ("n1", "stranger", Tcp(80), false),
        // between pods of the node, and between them and it
        ("db", "web", Tcp(81), true),
        ("db", "n1", Tcp(81), true),
        ("n1", "db", Tcp(81), true),
        // the pods' own policy is asked too
        ("stranger", "shut", Tcp(80), false),
        ("db", "shut", Tcp(80), false),
    ];
    check(policies, &rows);
}

#[test]
fn untracked_policy_decides_without_connections() {
    let policies = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n1-eth0, labels: {host: node}}
spec: {node: n1, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: untracked}
spec:
  selector: host == 'node'
  doNotTrack: true
  applyOnForward: true
  types: [Ingress, Egress]
  ingress:
    - {action: Deny, source: {selector: who == 'stranger'}}
    - {action: Allow, protocol: UDP, destination: {ports: [5353, 5454]}}
  egress:
    - {action: Allow, protocol: UDP, source: {ports: [5353]}}
";
    let rows = [
        ("friend", "n1", Udp(5353), true),
        // the reply is of no connection, and nothing allows it
        ("friend", "n1", Udp(5454), false),
        ("stranger", "n1", Udp(5353), false),
        ("friend", "n1", Tcp(80), false),
        ("stranger", "n1", Tcp(22), true),
        ("n1", "friend", Udp(53), true),
        ("n1", "friend", Udp(54), false),
        // what is forwarded arrives at the interface too
        ("stranger", "db", Tcp(80), false),
        ("friend", "db", Tcp(80), true),
        ("db", "friend", Tcp(80), true),
    ];
    check(policies, &rows);
}

#[test]
fn pre_dnat_policy_decides_on_all_that_arrives() {
    let policies = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n1-all, labels: {host: node}}
spec: {node: n1, interfaceName: '*', profiles: [projectcalico-default-allow]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: before}
spec:
  selector: host == 'node'
  preDNAT: true
  applyOnForward: true
  ingress:
    - {action: Allow, source: {selector: who == 'friend'}}
    - {action: Deny, protocol: TCP, destination: {ports: ['22', '30000:32767']}}
";
    let rows = [
        ("friend", "n1", Tcp(30080), true),
        ("stranger", "n1", Tcp(30080), false),
        ("stranger", "n1", Tcp(8080), true),
        ("stranger", "n1", Tcp(22), true),
        ("stranger", "db", Tcp(30080), false),
        ("friend", "db", Tcp(30080), true),
        ("friend", "shut", Tcp(30080), false),
        ("db", "n1", Tcp(30080), true),
        ("db", "web", Tcp(30080), true),
        ("n1", "stranger", Tcp(30080), true),
        ("db", "stranger", Tcp(30080), true),
    ];
    check(policies, &rows);
}

#[test]
fn addresses_tell_packets_where_no_interface_is_named() {
    let policies = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: n1, labels: {host: node}}
spec: {node: n1, expectedIPs: [192.0.2.1, '2001:db8:2::1']}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: node}
spec:
  selector: host == 'node'
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {selector: host == 'node', ports: [8080]}}]
  egress: [{action: Allow, protocol: TCP, source: {selector: host == 'node'}, destination: {ports: [9000]}}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: from-the-node, namespace: shop}
spec: {selector: app == 'shut', ingress: [{action: Allow, source: {selector: host == 'node', namespaceSelector: global()}}]}
";
    let rows = [
        ("stranger", "n1", Tcp(8080), true),
        ("stranger", "n1", Tcp(8081), false),
        ("stranger", "n1", Tcp(22), true),
        ("n1", "stranger", Tcp(9000), true),
        ("n1", "stranger", Tcp(9001), false),
        ("db", "n1", Tcp(8081), true),
        ("n1", "db", Tcp(81), true),
        ("stranger", "db", Tcp(81), true),
        ("stranger", "shut", Tcp(81), false),
    ];
    check(policies, &rows);
}

/// Renders the cluster with the policies, and asks every row in both families on both builds.
fn check(policies: &str, rows: &[Row]) {
    let place = tempfile::tempdir().expect("a directory");
    let (input, bundle) = (place.path().join("input.yaml"), place.path().join("bundle"));
    fs::write(&input, format!("{CLUSTER}---{policies}")).expect("written");
    let outcome = run(&root(), &["render", &input.display().to_string(), "--out", &bundle.display().to_string()]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let node = |name: &str, pods: &[&str]| {
        let Host { name, addresses } = host(name);
        Node { scripts: scripts(&bundle, &name), pods: pods.iter().map(|pod| host(pod)).collect(), name, addresses }
    };
    let nodes = vec![node("n1", &["db", "web", "shut"]), node("n2", &["far"])];
    let cluster = Cluster { nodes, outside: vec![host("friend"), host("stranger")] };
    let asked = rows.iter().flat_map(|(from, to, probe, through)| {
        let question = move |to| Question { from: (*from).to_owned(), to, probe: *probe, source_port: None };
        host(to).addresses.into_iter().map(move |to| (question(to), *through))
    });
    let questions: Vec<(Question, bool)> = asked.collect();
    BUILDS.iter().for_each(|build| kernel::check(&cluster, *build, &questions));
}

fn host(name: &str) -> Host {
    let (_, v4, v6) = ADDRESSES.iter().find(|row| row.0 == name).expect("a known name");
    Host { name: name.to_owned(), addresses: [v4, v6].map(|text| text.parse().expect("an address")).to_vec() }
}
