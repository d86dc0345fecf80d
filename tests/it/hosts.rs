//! Host endpoints in real kernels: who reaches a node, whom a node reaches, and what goes through
//! it, on both builds of iptables and in both families.
#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::fs;
use std::net::SocketAddr;

use crate::enforced::{BUILDS, scripts};
use crate::kernel::{self, Cluster, Host, Node, Probe, Question};
use crate::palisade::{root, run};

/// Nodes `n1` (with the pods `db`, `web` and `shut`) and `n2` (with the pod `far`), and who is
/// outside.
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
    let node = global(
        "node",
        "
  types: [Ingress, Egress]
  ingress:

    - {action: Allow, protocol: TCP, source: {selector: who == 'friend'}, destination: {ports: \
         [8080]}}
  egress:
    - {action: Allow, protocol: TCP, destination: {ports: [9000]}}
",
    );

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
    check(&[host_endpoint(ETH0), node], &rows);
}

#[test]
fn forward_policy_of_every_interface_is_for_those_of_pods_too() {
    let forward = global(
        "forward",
        "
  applyOnForward: true
  types: [Ingress, Egress]
  ingress: [{action: Pass, source: {selector: who == 'friend'}}, {action: Allow, protocol: TCP, \
         destination: {ports: [80, 82]}}]
  egress: [{action: Allow, protocol: TCP, destination: {ports: [80, 81]}}, {action: Allow, \
         protocol: UDP, destination: {ports: [5353]}}]
",
    );

    let rows = [
        // comes in by the uplink, leaves by the interface of a pod
        ("stranger", "db", Tcp(80), true),
        ("stranger", "db", Tcp(81), false),
        ("stranger", "db", Tcp(82), false),
        ("far", "db", Tcp(80), true),
        ("far", "db", Tcp(82), false),
        // passed, and no tier is left: forwarded packets go on, and a profile allows those to the
        // host
        ("friend", "db", Tcp(81), true),
        ("friend", "db", Tcp(82), false),
        ("friend", "n1", Tcp(81), true),
        ("stranger", "n1", Tcp(81), false),
        ("stranger", "n1", Tcp(80), true),
        // comes in by the interface of a pod, leaves by the uplink
        ("db", "stranger", Tcp(80), true),
        ("db", "stranger", Tcp(81), false),
        ("db", "stranger", Tcp(82), false),
        ("db", "stranger", Udp(5353), false),
        ("db", "far", Tcp(80), true),
        ("db", "far", Tcp(81), false),
        // between pods of the node: both lists
        ("db", "web", Tcp(80), true),
        ("db", "web", Tcp(81), false),
        ("db", "web", Tcp(82), false),
        // between pods and their node: nothing is forwarded
        ("db", "n1", Tcp(81), true),
        ("db", "n1", Tcp(83), true),
        ("n1", "db", Tcp(82), true),
        ("n1", "stranger", Udp(5353), true),
        ("n1", "stranger", Tcp(82), false),
        // the pods' own policy is asked too
        ("stranger", "shut", Tcp(80), false),
        ("db", "shut", Tcp(80), false),
    ];
    check(&[host_endpoint(EVERYWHERE), forward], &rows);
}

#[test]
fn normal_policy_of_every_interface_leaves_pods_and_their_node_alone() {
    let node = global(
        "node",
        "
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
  egress: [{action: Allow, protocol: TCP, destination: {ports: [8080]}}]
",
    );

    let rows = [
        ("stranger", "n1", Tcp(80), true),
        ("stranger", "n1", Tcp(81), false),
        ("far", "n1", Tcp(81), false),
        ("n1", "stranger", Tcp(8080), true),
        ("n1", "stranger", Tcp(80), false),
        ("n1", "far", Tcp(80), false),
        ("db", "n1", Tcp(81), true),
        ("n1", "db", Tcp(80), true),
        ("n1", "shut", Tcp(80), true),
        ("db", "web", Tcp(81), true),
        ("stranger", "db", Tcp(81), true),
        ("db", "stranger", Tcp(81), true),
    ];
    check(&[host_endpoint(EVERYWHERE), node], &rows);
}

#[test]
fn an_interface_with_a_host_endpoint_is_governed_by_that_one_alone() {
    let named = "apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {uplink: 'yes'}}
spec: {node: n1, interfaceName: eth0, profiles: [projectcalico-default-allow]}
";
    let forward = global(
        "forward",
        "
  applyOnForward: true
  types: [Ingress, Egress]
  ingress: [{action: Deny, protocol: TCP, destination: {ports: [1003]}}, {action: Allow}]
  egress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}, {action: Allow}]
",
    );

    let before = global(
        "before",
        "
  preDNAT: true
  applyOnForward: true
  ingress: [{action: Deny, protocol: TCP, destination: {ports: [1004]}}]
",
    );

    let rows = [
        // the uplink has an endpoint without policy
        ("stranger", "n1", Tcp(1003), true),
        ("stranger", "n1", Tcp(1004), true),
        ("n1", "stranger", Tcp(80), true),
        ("stranger", "db", Tcp(1003), true),
        ("stranger", "db", Tcp(1004), true),
        // interfaces of pods have none of their own
        ("stranger", "db", Tcp(80), false),
        ("db", "stranger", Tcp(80), true),
        ("db", "stranger", Tcp(1003), false),
        ("db", "stranger", Tcp(1004), false),
        ("db", "web", Tcp(80), false),
        ("db", "web", Tcp(1003), false),
        ("db", "web", Tcp(1004), false),
        ("db", "web", Tcp(1005), true),
        ("db", "n1", Tcp(1003), true),
        ("db", "n1", Tcp(1004), false),
        ("n1", "db", Tcp(80), true),
        ("n1", "db", Tcp(1004), true),
    ];

    check(
        &[host_endpoint(EVERYWHERE), named.to_owned(), forward, before],
        &rows,
    );
}

#[test]
fn untracked_policy_decides_without_connections() {
    let untracked = global(
        "untracked",
        "
  doNotTrack: true
  applyOnForward: true
  types: [Ingress, Egress]
  ingress:

    - {action: Deny, source: {selector: who == 'stranger'}}
    - {action: Allow, protocol: UDP, destination: {ports: [5353, 5454]}}
  egress:
    - {action: Allow, protocol: UDP, source: {ports: [5353]}}
",
    );

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
    check(&[host_endpoint(ETH0), untracked], &rows);
}

#[test]
fn pre_dnat_policy_decides_on_all_that_arrives() {
    let before = global(
        "before",
        "
  preDNAT: true
  applyOnForward: true
  ingress:

    - {action: Allow, source: {selector: who == 'friend'}}
    - {action: Deny, protocol: TCP, destination: {ports: ['22', '30000:32767']}}
",
    );

    let rows = [
        ("friend", "n1", Tcp(30080), true),
        ("stranger", "n1", Tcp(30080), false),
        ("stranger", "n1", Tcp(8080), true),
        ("stranger", "n1", Tcp(22), true),
        ("stranger", "db", Tcp(30080), false),
        ("friend", "db", Tcp(30080), true),
        ("friend", "shut", Tcp(30080), false),
        // pods' packets arrive at an interface of the node too
        ("db", "n1", Tcp(30080), false),
        ("db", "n1", Tcp(8080), true),
        ("db", "n1", Tcp(22), true),
        ("db", "web", Tcp(30080), false),
        ("db", "web", Tcp(8080), true),
        ("db", "stranger", Tcp(30080), false),
        ("far", "db", Tcp(30080), false),
        ("n1", "stranger", Tcp(30080), true),
        ("n1", "db", Tcp(30080), true),
    ];
    check(&[host_endpoint(EVERYWHERE), before], &rows);
}

/// What others keep from connection tracking is decided as it would be if its verdicts were carried
/// along: policy that was not asked early is not asked late, and what was allowed early stays
/// allowed.
#[test]
fn what_others_do_not_track_meets_each_list_once() {
    let list =
        |name: &str, spec: &str| global(name, &format!("\n  applyOnForward: true\n  {spec}\n"));
    let untracked = list(
        "untracked",
        "doNotTrack: true
  types: [Ingress, Egress]
  ingress:

    - {action: Deny, protocol: UDP, source: {ports: [53]}}
    - {action: Deny, protocol: UDP, destination: {ports: [68, 7003]}}
    - {action: Allow, protocol: UDP, destination: {ports: [7002]}}",
    );

    let before = list(
        "before",
        "preDNAT: true\n  ingress: [{action: Allow, protocol: UDP, destination: {ports: [7000]}}]",
    );
    let behind = list(
        "behind",
        "types: [Ingress, Egress]
  ingress:

    - {action: Allow, protocol: UDP, source: {ports: [53, 54]}}
    - {action: Allow, protocol: UDP, destination: {ports: [68, 7001, 7003]}}
  egress: [{action: Allow}]",
    );

    let others = "*raw\n-I PREROUTING 1 -i eth0 -p udp -j CT --notrack\n-I OUTPUT 1 -o eth0 -p \
                  udp -j CT --notrack\nCOMMIT\n"
        .to_owned();
    let rows = [
        // pre-DNAT policy allows it by its destination, untracked policy allows it, or both are
        // silent
        ("friend", "n1", Udp(7000), true),
        ("friend", "n1", Udp(7001), true),
        ("friend", "n1", Udp(7002), true),
        ("friend", "n1", Udp(7003), false),
        ("friend", "n1", Udp(7004), false),
        ("friend", "db", Udp(7000), true),
        ("friend", "db", Udp(7001), true),
        ("friend", "db", Udp(7002), true),
        ("friend", "db", Udp(7003), false),
        ("friend", "db", Udp(7004), false),
        // untracked policy is asked about no failsafe port, of whomever, and no reply of one; all
        // others are denied
        ("friend", "n1", Udp(68), true),
        ("friend", "db", Udp(68), true),
        ("n1", "friend", Udp(53), true),
        ("n1", "friend", Udp(54), true),
        ("n1", "friend", Udp(55), false),
    ];

    check_beside(
        &[host_endpoint(ETH0), untracked, before, behind],
        &[others.clone(), others],
        &rows,
    );
}

/// Rules of others behind ours in the raw and mangle tables are asked about all that we let pass.
#[test]
fn failsafe_ports_skip_no_rule_of_others() {
    let list =
        |name: &str, spec: &str| global(name, &format!("\n  applyOnForward: true\n  {spec}\n"));
    let untracked = list(
        "untracked",
        "doNotTrack: true\n  types: [Ingress, Egress]\n  egress: [{action: Allow, protocol: UDP}]",
    );
    let before = list(
        "before",
        "preDNAT: true\n  ingress: [{action: Allow, protocol: UDP}]",
    );
    let raw = "-A PREROUTING -p tcp --dport 22 -j DROP\n-A OUTPUT -p udp --dport 53 -j DROP\n";
    let mangle = "-A PREROUTING -p tcp --dport 179 -j DROP\n";
    let others = format!("*raw\n{raw}COMMIT\n*mangle\n{mangle}COMMIT\n");
    let rows = [
        ("stranger", "n1", Tcp(22), false),
        ("stranger", "n1", Tcp(179), false),
        ("stranger", "n1", Tcp(6443), true),
        ("n1", "stranger", Udp(53), false),
        ("n1", "stranger", Udp(67), true),
    ];

    check_beside(
        &[host_endpoint(ETH0), untracked, before],
        &[others.clone(), others],
        &rows,
    );
}

#[test]
fn addresses_tell_packets_where_no_interface_is_named() {
    let node = global(
        "node",
        "
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {selector: host == 'node', ports: [8080]}}]
  egress: [{action: Allow, protocol: TCP, source: {selector: host == 'node'}, destination: {ports: \
         [9000]}}]
",
    );

    let from_the_node = "apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: from-the-node, namespace: shop}
spec: {selector: app == 'shut', ingress: [{action: Allow, source: {selector: host == 'node', \
                         namespaceSelector: global()}}]}
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

    check(
        &[host_endpoint(BY_ADDRESS), node, from_the_node.to_owned()],
        &rows,
    );
}

#[test]
fn what_pre_dnat_policy_allows_no_other_policy_of_the_host_denies() {
    let before = global(
        "before",
        "
  order: 10
  preDNAT: true
  applyOnForward: true
  ingress:

    - {action: Log, destination: {ports: [30080]}, protocol: TCP}
    - {action: Allow, protocol: TCP, source: {selector: who == 'friend'}, destination: {ports: \
         [22, 30080, '30443:30444', 30082]}}
    - {action: Deny, protocol: TCP, destination: {ports: ['30000:32767']}}
",
    );

    let behind = global(
        "behind",
        "
  applyOnForward: true
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [81]}}]
",
    );
    let rows = [
        ("friend", "n1", Tcp(30080), true),
        ("stranger", "n1", Tcp(30080), false),
        ("friend", "n1", Tcp(30443), true),
        ("friend", "n1", Tcp(30444), true),
        ("friend", "n1", Tcp(30081), false),
        // what they lead to is itself closed, but for port 81
        ("friend", "db", Tcp(80), false),
        ("friend", "n1", Tcp(8443), false),
        ("stranger", "db", Tcp(81), true),
        ("stranger", "n1", Tcp(8081), true),
        ("friend", "n1", Tcp(8080), false),
        // the pod's own policy is asked behind it all
        ("friend", "n1", Tcp(30082), false),
        ("friend", "shut", Tcp(80), false),
        // pre-DNAT policy is not asked about a failsafe port, so that it has not allowed it either
        ("friend", "n1", Tcp(22), false),
        ("friend", "n1", Tcp(2379), true),
    ];

    let ways = [
        (30080, "db", 80),
        (30443, "n1", 8443),
        (30081, "db", 80),
        (30082, "shut", 80),
        (8081, "db", 81),
        (8080, "db", 80),
        (22, "db", 80),
    ];
    check_translating(&[host_endpoint(ETH0), before, behind], &ways, &rows);
}

#[test]
fn a_host_endpoint_that_lets_in_the_cluster_only() {
    let inside = global(
        "allow-cluster-internal-ingress",
        "
  order: 10
  preDNAT: true
  applyOnForward: true
  ingress:

    - {action: Allow, source: {nets: [203.0.113.1/32]}}
    - {action: Allow, source: {nets: ['2001:db8:113::1/128']}}
",
    );

    let outside = global(
        "drop-other-ingress",
        "
  order: 20
  preDNAT: true
  applyOnForward: true
  ingress: [{action: Deny}]
",
    );

    let outbound = global(
        "allow-outbound-external",
        "\n  order: 10\n  egress: [{action: Allow}]\n",
    );
    let rows = [
        ("friend", "n1", Tcp(8080), true),
        ("stranger", "n1", Tcp(8080), false),
        ("friend", "n1", Tcp(30080), true),
        ("stranger", "n1", Tcp(30080), false),
        ("friend", "db", Tcp(80), true),
        ("stranger", "db", Tcp(80), false),
        ("friend", "shut", Tcp(80), false),
        ("stranger", "n1", Tcp(22), true),
        ("n1", "stranger", Tcp(8080), true),
        ("db", "stranger", Tcp(8080), true),
        ("db", "n1", Tcp(8080), true),
    ];

    check_translating(
        &[host_endpoint(ETH0), inside, outside, outbound],
        &[(30080, "db", 80)],
        &rows,
    );
}

#[test]
fn original_destinations_by_selector_name_and_exception() {
    let eth0 = "
  interfaceName: eth0
  expectedIPs: [192.0.2.1, '2001:db8:2::1']
  ports: [{name: console, protocol: TCP, port: 9443}]
";
    let before = global(
        "before",
        "
  preDNAT: true
  applyOnForward: true
  ingress:

    - {action: Pass, source: {selector: who == 'stranger'}, protocol: TCP, destination: {notPorts: \
         [9443, 9500]}}
    - {action: Allow, protocol: TCP, destination: {selector: host == 'node', ports: [console, \
         9501]}}
    - {action: Allow, protocol: TCP, destination: {nets: [10.1.0.0/30], notNets: [10.1.0.2/32], \
         notPorts: [90]}}
    - {action: Allow, protocol: TCP, destination: {nets: ['fd00:1::/126'], notNets: \
         ['fd00:1::2/128'], notPorts: [90]}}
    - {action: Allow, protocol: UDP, destination: {notSelector: host == 'node', notPorts: [53, \
         '100:200']}}
",
    );

    let behind = global(
        "behind",
        "\n  applyOnForward: true\n  ingress: [{action: Allow, protocol: ICMP}, {action: Allow, \
         protocol: ICMPv6}]\n",
    );
    let rows = [
        ("stranger", "n1", Tcp(9443), true),
        ("friend", "n1", Tcp(9443), true),
        ("friend", "n1", Tcp(9501), true),
        ("stranger", "n1", Tcp(9501), false),
        ("friend", "n1", Tcp(8443), false),
        ("friend", "db", Tcp(9443), true),
        ("friend", "db", Tcp(80), true),
        ("friend", "db", Tcp(90), false),
        ("friend", "web", Tcp(80), false),
        ("friend", "shut", Tcp(80), false),
        ("stranger", "db", Tcp(80), false),
        ("friend", "n1", Tcp(30080), false),
        ("friend", "db", Udp(54), true),
        ("friend", "db", Udp(53), false),
        ("friend", "db", Udp(150), false),
        ("friend", "n1", Udp(54), false),
        ("stranger", "n1", Icmp, true),
        ("stranger", "web", Icmp, true),
    ];

    check_translating(
        &[host_endpoint(eth0), before, behind],
        &[(9443, "n1", 8443), (30080, "db", 80)],
        &rows,
    );
}

#[test]
fn profiles_of_a_host_endpoint_decide_behind_its_tiers() {
    let eth0 = "\n  interfaceName: eth0\n  profiles: [first, second]\n";
    let first = "
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: first}
spec:
  labelsToApply: {zone: edge}
  ingress:

    - {action: Pass, protocol: TCP, destination: {ports: [8081]}}
    - {action: Deny, protocol: TCP, destination: {ports: [8082]}}
    - {action: Allow, protocol: TCP, source: {selector: who == 'friend'}}
";

    let second = "
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: second}
spec:
  ingress: [{action: Allow, protocol: TCP, destination: {ports: ['8080:8082']}}]
  egress: [{action: Allow, protocol: TCP, destination: {ports: [9000]}}]
";

    let tier = "
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: edge}
spec: {order: 1, defaultAction: Pass}
";
    let policy = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: edge.ports}
spec:
  tier: edge
  selector: zone == 'edge'
  types: [Ingress]
  ingress: [{action: Deny, protocol: TCP, destination: {ports: [8083]}}, {action: Allow, protocol: \
                  TCP, destination: {ports: [8084]}}]
";

    let rows = [
        ("friend", "n1", Tcp(8080), true),
        ("stranger", "n1", Tcp(8080), true),
        ("friend", "n1", Tcp(8081), true),
        ("friend", "n1", Tcp(8082), false),
        ("friend", "n1", Tcp(8083), false),
        ("stranger", "n1", Tcp(8084), true),
        ("friend", "n1", Tcp(8085), true),
        ("stranger", "n1", Tcp(8085), false),
        ("friend", "n1", Icmp, false),
        ("n1", "stranger", Tcp(9000), true),
        ("n1", "stranger", Tcp(9001), false),
        // forwarded: profiles are not asked
        ("stranger", "db", Tcp(8085), true),
    ];

    check(
        &[
            host_endpoint(eth0),
            first.to_owned(),
            second.to_owned(),
            tier.to_owned(),
            policy.to_owned(),
        ],
        &rows,
    );
}

const ETH0: &str = "\n  interfaceName: eth0\n";
const EVERYWHERE: &str = "\n  interfaceName: '*'\n  profiles: [projectcalico-default-allow]\n";
const BY_ADDRESS: &str = "\n  expectedIPs: [192.0.2.1, '2001:db8:2::1']\n";

/// A host endpoint of `n1`, which the policies of [`global`] are for.
fn host_endpoint(spec: &str) -> String {
    let head = "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: host, \
                labels: {host: node}}";
    format!("{head}\nspec:\n  node: n1{spec}")
}

/// A policy for host endpoints.
fn global(name: &str, spec: &str) -> String {
    let head = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata";
    format!("{head}: {{name: {name}}}\nspec:\n  selector: host == 'node'{spec}")
}

fn check(objects: &[String], rows: &[Row]) {
    check_beside(objects, &[String::new(), String::new()], rows);
}

/// As [`check`]; `n1` leads connections from outside to a TCP port of its own on to a port of
/// somebody.
fn check_translating(objects: &[String], ways: &[(u16, &str, u16)], rows: &[Row]) {
    check_beside(
        objects,
        &[0, 1].map(|family| translation(ways, family)),
        rows,
    );
}

/// Renders the cluster with the objects, and asks every row in both families on both builds. `n1`
/// has rules of others too, behind ours, for IPv4 and IPv6.
fn check_beside(objects: &[String], [v4, v6]: &[String; 2], rows: &[Row]) {
    let place = tempfile::tempdir().expect("a directory");
    let (input, bundle) = (place.path().join("input.yaml"), place.path().join("bundle"));
    fs::write(&input, format!("{CLUSTER}---\n{}", objects.join("---\n"))).expect("written");

    let outcome = run(
        &root(),
        &[
            "render",
            &input.display().to_string(),
            "--out",
            &bundle.display().to_string(),
        ],
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);

    let node = |name: &str, pods: &[&str]| {
        let Host { name, addresses } = host(name);
        Node {
            scripts: scripts(&bundle, &name),
            pods: pods.iter().map(|pod| host(pod)).collect(),
            name,
            addresses,
        }
    };

    let mut n1 = node("n1", &["db", "web", "shut"]);
    n1.scripts.v4.push_str(v4);
    n1.scripts.v6.push_str(v6);
    let cluster = Cluster {
        nodes: vec![n1, node("n2", &["far"])],
        outside: vec![host("friend"), host("stranger")],
    };
    let asked = rows.iter().flat_map(|(from, to, probe, through)| {
        let question = move |to| Question {
            from: (*from).to_owned(),
            to,
            probe: *probe,
            source_port: None,
        };
        host(to)
            .addresses
            .into_iter()
            .map(move |to| (question(to), *through))
    });
    let questions: Vec<(Question, bool)> = asked.collect();

    BUILDS
        .iter()
        .for_each(|build| kernel::check(&cluster, *build, &questions));
}

/// The nat table of `n1` for the family of its first or second address.
fn translation(ways: &[(u16, &str, u16)], family: usize) -> String {
    let address = |name| {
        *host(name)
            .addresses
            .get(family)
            .expect("an address of either family")
    };

    let rules = ways.iter().map(|(port, to, new)| {
        let to = SocketAddr::new(address(to), *new);
        format!(
            "-A PREROUTING -i eth0 -d {} -p tcp --dport {port} -j DNAT --to-destination {to}\n",
            address("n1")
        )
    });
    format!("*nat\n{}COMMIT\n", rules.collect::<String>())
}

fn host(name: &str) -> Host {
    let (_, v4, v6) = ADDRESSES
        .iter()
        .find(|row| row.0 == name)
        .expect("a known name");
    Host {
        name: name.to_owned(),
        addresses: [v4, v6]
            .map(|text| text.parse().expect("an address"))
            .to_vec(),
    }
}
