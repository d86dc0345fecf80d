//! What Calico's and Kubernetes' own validation refuses, statement by statement (semantics §2, §5,
//! §6): the code it has here, and the place. `»` marks where each of the codes must point, in
//! order; it is taken out before the text is read.
#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::fs;

use crate::palisade::run;

/// Kind and metadata of what the texts of a table belong to.
type Head = &'static str;

const POLICY: Head = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p, \
                      namespace: shop}\nspec:\n";
const GLOBAL: Head =
    "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: g}\nspec:\n";
const CALICO: Head = "apiVersion: projectcalico.org/v3\n";
const KUBERNETES: Head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: \
                          k, namespace: shop}\nspec:\n";
const CLUSTER: Head = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: \
                       ClusterNetworkPolicy\nmetadata: {name: c}\nspec:\n";
const ADMIN: Head = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: \
                     AdminNetworkPolicy\nmetadata: {name: a}\nspec:\n";
const HOST: Head =
    "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\nspec:\n";
const WORKLOAD: Head = "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n";

/// An ingress rule of a namespaced policy.
macro_rules! rule {
    ($text:literal) => {
        (POLICY, concat!("  ingress: [{", $text, "}]"))
    };
}

/// A head with a text, and the codes it is refused with; none where it is taken.
type Row = ((Head, &'static str), &'static [&'static str]);

#[rustfmt::skip]
const RULES: &[Row] = &[
    (rule!("action: »allow"), &["invalid-value"]),
    ((POLICY, "  ingress: [»{protocol: TCP}]"), &["missing-field"]),
    (rule!("action: Allow, ipVersion: »5"), &["invalid-value"]),
    (rule!("action: Allow, ipVersion: »'4'"), &["wrong-type"]),
    // protocols
    (rule!("action: Allow, protocol: »tcp"), &["invalid-protocol"]),
    (rule!("action: Allow, protocol: »0"), &["invalid-protocol"]),
    (rule!("action: Allow, notProtocol: »256"), &["invalid-protocol"]),
    (rule!("action: Allow, protocol: »'+6'"), &["invalid-protocol"]),
    (rule!("action: Allow, protocol: '6', destination: {ports: [80]}"), &[]),
    (rule!("action: Allow, protocol: 255"), &[]),
    // ICMP and families
    (rule!("action: Allow, ipVersion: 6, protocol: »ICMP"), &["mixed-families"]),
    (rule!("action: Allow, ipVersion: 6, protocol: »1"), &["mixed-families"]),
    (rule!("action: Allow, ipVersion: 4, protocol: »ICMPv6"), &["mixed-families"]),
    (rule!("action: Allow, ipVersion: 4, protocol: »58"), &["mixed-families"]),
    (rule!("action: Allow, ipVersion: 6, notProtocol: »ICMP"), &["mixed-families"]),
    (rule!("action: Allow, ipVersion: 4, notProtocol: »58"), &["mixed-families"]),
    (rule!("action: Allow, ipVersion: 4, protocol: 1, icmp: {type: 8}"), &[]),
    (rule!("action: Allow, ipVersion: 6, notProtocol: 58"), &[]),
    (rule!("action: Allow, protocol: TCP, icmp: »{type: 8}"), &["icmp-needs-protocol"]),
    (rule!("action: Allow, icmp: »{type: 8}"), &["icmp-needs-protocol"]),
    (rule!("action: Allow, protocol: ICMP, icmp: »{code: 1}"), &["conflicting-fields"]),
    (rule!("action: Allow, protocol: ICMP, icmp: {type: »255, code: »256}"), &["invalid-value", "invalid-value"]),
    (rule!("action: Allow, protocol: ICMP, notICMP: {type: »-1}"), &["invalid-value"]),
    (rule!("action: Allow, protocol: ICMP, icmp: {type: 254, code: 255}"), &[]),
    // addresses
    (rule!("action: Allow, source: {nets: [»10.0.0.1]}"), &["invalid-cidr"]),
    (rule!("action: Allow, source: {nets: [»10.0.0.1/24]}"), &["invalid-cidr"]),
    (rule!("action: Allow, source: {nets: [»'2001:db8::1/64']}"), &["invalid-cidr"]),
    (rule!("action: Allow, source: {nets: [10.0.0.0/8], notNets: [»'fd00::/8']}"), &["mixed-families"]),
    (rule!("action: Allow, source: {nets: [10.0.0.0/8]}, destination: {notNets: [»'fd00::/8']}"), &["mixed-families"]),
    (rule!("action: Allow, ipVersion: 6, source: {nets: [»10.0.0.0/8]}"), &["mixed-families"]),
    (rule!("action: Allow, source: {notNets: [»0.0.0.0/0]}"), &["excepts-everything"]),
    (rule!("action: Allow, source: {notNets: [»'0::0/0']}"), &["excepts-everything"]),
    (rule!("action: Allow, source: {nets: [10.0.0.0/8, 10.0.0.0/16, »10.0.0.0/8]}"), &["repeated-value"]),
    (rule!("action: Allow, source: {notNets: [10.0.0.0/8, »10.0.0.0/8]}"), &["repeated-value"]),
    // selectors
    (rule!("action: Allow, source: {selector: »'global()'}"), &["selector-global"]),
    (rule!("action: Allow, source: {notSelector: »'global()'}"), &["selector-global"]),
    (rule!("action: Allow, source: {namespaceSelector: »'global() || has(a)'}"), &["selector-global"]),
    (rule!("action: Allow, source: {serviceAccounts: {selector: »'global()'}}"), &["selector-global"]),
    (rule!("action: Allow, source: {namespaceSelector: ' global( ) '}"), &[]),
    (rule!("action: Allow, source: {selector: has(a»}"), &["selector-syntax"]),
    // ports
    (rule!("action: Allow, destination: {ports: [»80]}"), &["ports-need-protocol"]),
    (rule!("action: Allow, destination: {notPorts: [»'80:90']}"), &["ports-need-protocol"]),
    (rule!("action: Allow, notProtocol: TCP, source: {ports: [»80]}"), &["ports-need-protocol"]),
    (rule!("action: Allow, protocol: UDPLite, source: {ports: [»http]}"), &["ports-need-protocol"]),
    (rule!("action: Allow, protocol: ICMP, source: {notPorts: [»http]}"), &["ports-need-protocol"]),
    (rule!("action: Allow, destination: {ports: [http, 3d-http]}"), &[]),
    (rule!("action: Allow, protocol: 132, destination: {ports: [1, 65535, '80:80', http]}"), &[]),
    (rule!("action: Allow, protocol: TCP, destination: {ports: [»0, »'0:1', »65536, »'90:80', »80-90, »'80:', »8.5]}"), &["invalid-port"; 7]),
    (rule!("action: Allow, protocol: TCP, destination: {ports: [»Http, »a--b, »-a, »a_b, »abcdefghijklmnop]}"), &["invalid-port"; 5]),
    // service accounts and services
    (rule!("action: Allow, source: {serviceAccounts: {names: [api, »api]}}"), &["repeated-value"]),
    (rule!("action: Allow, source: {serviceAccounts: {names: [»API]}}"), &["invalid-name"]),
    (rule!("action: Allow, source: {serviceAccounts: {}}"), &[]),
    (rule!("action: Allow, source: {services: »{namespace: shop}}"), &["missing-field"]),
    (rule!("action: Allow, source: {services: {name: »''}}"), &["invalid-name"]),
    (rule!("action: Allow, source: {services: {name: »A, namespace: »B}}"), &["invalid-name"; 2]),
    (rule!("action: Allow, source: {services: »{name: a}, selector: has(a)}"), &["conflicting-fields"]),
    (rule!("action: Allow, source: {services: »{name: a}, notSelector: has(a)}"), &["conflicting-fields"]),
    (rule!("action: Allow, source: {services: »{name: a}, namespaceSelector: has(a)}"), &["conflicting-fields"]),
    (rule!("action: Allow, source: {services: »{name: a}, serviceAccounts: {}}"), &["conflicting-fields"]),
    (rule!("action: Allow, source: {services: »{name: a}, nets: [10.0.0.0/8]}"), &["conflicting-fields"]),
    (rule!("action: Allow, source: {services: »{name: a}, notNets: [10.0.0.0/8]}"), &["conflicting-fields"]),
    (rule!("action: Allow, destination: {services: »{name: a}}"), &["conflicting-fields"]),
    (rule!("action: Allow, protocol: TCP, source: {services: {name: a}, ports: [80]}, destination: {ports: [80]}"), &[]),
    ((POLICY, "  egress: [{action: Allow, source: {services: »{name: a}}}]"), &["conflicting-fields"]),
    ((POLICY, "  egress: [{action: Allow, protocol: TCP, destination: {services: »{name: a}, ports: [80]}}]"), &["conflicting-fields"]),
    ((POLICY, "  egress: [{action: Allow, protocol: TCP, destination: {services: »{name: a}, notPorts: [80]}}]"), &["conflicting-fields"]),
    ((GLOBAL, "  egress: [{action: Allow, destination: {services: »{name: a}}}]"), &["missing-field"]),
    // HTTP
    (rule!("action: Deny, http: »{methods: [GET]}"), &["conflicting-fields"]),
    (rule!("action: Allow, protocol: UDP, http: »{methods: [GET]}"), &["conflicting-fields"]),
    (rule!("action: Allow, http: {methods: [GET, PUT, »GET]}"), &["repeated-value"]),
    (rule!("action: Allow, http: {methods: [a, b, c, d, e, f, g, h, i, j, k, l, m, 'n', o, p, q, r, s, t, »u, v, w]}"), &["too-long"]),
    (rule!("action: Allow, http: {paths: [{exact: »a}, {exact: »'/a?b'}, {prefix: »'/a#'}, {prefix: »'/a b'}, »{}, »{exact: /a, prefix: /b}]}"), &["invalid-value", "invalid-value", "invalid-value", "invalid-value", "conflicting-fields", "conflicting-fields"]),
    (rule!("action: Allow, http: {paths: [{exact: '', prefix: /b}, {exact: »1}]}"), &["wrong-type"]),
    ((POLICY, "  egress: [{action: Allow, http: »{methods: [GET]}}]"), &["conflicting-fields"]),
    (rule!("action: Allow, protocol: 6, http: {methods: [GET, '*'], paths: [{prefix: /}]}"), &[]),
    // remarks
    (rule!("action: Allow, metadata: {annotations: {»a b: c}}"), &["invalid-label"]),
    (rule!("action: Allow, metadata: {annotations: {a: »1}}"), &["wrong-type"]),
    (rule!("action: Allow, metadata: {annotations: {Example.com/Why: because it is so}, »labels: {a: b}}"), &["unknown-field"]),
];

#[rustfmt::skip]
const POLICIES: &[Row] = &[
    ((POLICY, "  types: [Ingress, »Ingress]"), &["repeated-value"]),
    ((POLICY, "  types: [»ingress]"), &["invalid-value"]),
    ((POLICY, "  types: »[]"), &["invalid-value"]),
    ((POLICY, "  order: ».nan"), &["wrong-type"]),
    ((POLICY, "  order: -1e3"), &[]),
    ((POLICY, "  selector: »global()"), &["selector-global"]),
    ((POLICY, "  serviceAccountSelector: »'!global()'"), &["selector-global"]),
    ((POLICY, "  »namespaceSelector: all()"), &["unknown-field"]),
    ((POLICY, "  »preDNAT: true"), &["unknown-field"]),
    ((POLICY, "  performanceHints: [AssumeNeededOnEveryNode, »AssumeNeededOnEveryNode, »Fast]"), &["repeated-value", "invalid-value"]),
    ((GLOBAL, "  namespaceSelector: »global()"), &["selector-global"]),
    ((GLOBAL, "  applyOnForward: true\n  doNotTrack: true\n  preDNAT: »true"), &["conflicting-fields"]),
    ((GLOBAL, "  applyOnForward: true\n  preDNAT: true\n  types: [Ingress, »Egress]\n  egress: [»{action: Allow}]"), &["conflicting-fields"; 2]),
    ((GLOBAL, "  preDNAT: »true"), &["missing-field"]),
    ((GLOBAL, "  applyOnForward: false\n  doNotTrack: »true"), &["missing-field"]),
    ((GLOBAL, "  doNotTrack: false\n  preDNAT: false"), &[]),
    // names
    ((CALICO, "kind: NetworkPolicy\nmetadata: {name: »a.b.c, namespace: shop}\nspec: {}"), &["invalid-name"]),
    ((CALICO, "kind: NetworkPolicy\nmetadata: {name: knp.default.a.b.c, namespace: shop}\nspec: {}"), &[]),
    ((CALICO, "kind: GlobalNetworkPolicy\nmetadata: {name: »knp.default.a}\nspec: {}"), &["invalid-name"]),
    ((CALICO, "kind: StagedGlobalNetworkPolicy\nmetadata: {name: »ossg.default.a}\nspec: {}"), &["invalid-name"]),
    ((CALICO, "kind: GlobalNetworkPolicy\nmetadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\nspec: {}"), &[]),
    ((CALICO, "kind: Tier\nmetadata: {name: »aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\nspec: {}"), &["invalid-name"]),
    ((CALICO, "kind: Tier\nmetadata: {name: »a.b}\nspec: {}"), &["invalid-name"]),
    ((CALICO, "kind: Tier\nmetadata: {name: a, namespace: »b}\nspec: {order: »first, defaultAction: »Allow}"), &["unknown-field", "wrong-type", "invalid-value"]),
    ((CALICO, "kind: Profile\nmetadata: {name: »A_b, labels: {»-a: b, c: »d e}, annotations: {»a/b/c: d}}\nspec: {labelsToApply: {»/a: b, c: »'-'}}"), &["invalid-name", "invalid-label", "invalid-label", "invalid-label", "invalid-label", "invalid-label"]),
    // tiers
    ((CALICO, "kind: Tier\nmetadata: {name: default}\nspec: {order: »1, defaultAction: »Pass}"), &["fixed-tier"; 2]),
    ((CALICO, "kind: Tier\nmetadata: {name: kube-admin}\nspec: {order: »999, defaultAction: »Deny}"), &["fixed-tier"; 2]),
    ((CALICO, "kind: Tier\nmetadata: {name: »kube-baseline}\nspec: {defaultAction: Pass}"), &["fixed-tier"]),
    ((CALICO, "kind: Tier\nmetadata: {name: »kube-admin}\nspec: {order: 1000}"), &["fixed-tier"]),
    ((CALICO, "kind: Tier\nmetadata: {name: default}\nspec: {}"), &[]),
    ((CALICO, "kind: Tier\nmetadata: {name: kube-baseline}\nspec: {order: 10000000, defaultAction: Pass}"), &[]),
    // staged kinds
    ((CALICO, "kind: StagedNetworkPolicy\nmetadata: {name: a}\nspec: {stagedAction: »set}"), &["invalid-value"]),
    ((CALICO, "kind: StagedNetworkPolicy\nmetadata: {name: a}\nspec: {stagedAction: Delete, tier: default, »selector: all(), »order: 0}"), &["conflicting-fields"; 2]),
    ((CALICO, "kind: StagedGlobalNetworkPolicy\nmetadata: {name: a}\nspec: {stagedAction: Delete, preDNAT: false, selector: ''}"), &[]),
    ((CALICO, "kind: StagedKubernetesNetworkPolicy\nmetadata: {name: a}\nspec: {stagedAction: Delete, »policyTypes: [Ingress]}"), &["conflicting-fields"]),
    ((CALICO, "kind: StagedKubernetesNetworkPolicy\nmetadata: {name: a}\nspec: {podSelector: {}, policyTypes: [Ingress, »Ingress]}"), &["repeated-value"]),
];

#[rustfmt::skip]
const OTHERS: &[Row] = &[
    // network sets
    ((CALICO, "kind: NetworkSet\nmetadata: {name: s}\nspec: {nets: [10.0.0.1, 10.0.0.1/8, 10.1.0.0/16, »10.1.0.0/16, »10.0.0.0/33]}"), &["repeated-value", "invalid-cidr"]),
    ((CALICO, "kind: NetworkSet\nmetadata: {name: s, labels: {»projectcalico.org/namespace: a}}\nspec: {}"), &["invalid-label"]),
    ((CALICO, "kind: GlobalNetworkSet\nmetadata: {name: s, labels: {»projectcalico.org/namespace: a}}\nspec: {»allowedEgressDomains: [a.b]}"), &["invalid-label", "unsupported-field"]),
    // host endpoints
    ((HOST, "  »interfaceName: eth0"), &["missing-field"]),
    ((HOST, "  node: »''\n  interfaceName: eth0"), &["invalid-name"]),
    ((HOST, "  node: n1\n  interfaceName: »eth/0"), &["invalid-name"]),
    ((HOST, "  node: n1\n  interfaceName: »abcdefghijklmnop"), &["invalid-name"]),
    ((HOST, "  node: n1\n  interfaceName: '*'\n  expectedIPs: [10.0.0.1, »10.0.0.1, »10.0.0.0/8, »host]"), &["repeated-value", "invalid-address", "invalid-address"]),
    ((HOST, "  node: n1\n  interfaceName: '*'\n  profiles: [projectcalico-default-allow, »projectcalico-default-allow]"), &["repeated-value"]),
    ((HOST, "  node: n1\n  interfaceName: '*'\n  ports: [{name: »A, protocol: »ICMP, port: 1}, {name: a, protocol: 6, port: »0}, »»»{}]"), &["invalid-name", "invalid-protocol", "invalid-value", "missing-field", "missing-field", "missing-field"]),
    // workload endpoints
    ((WORKLOAD, "metadata: {name: n--1-k8s-web--0-eth0}\nspec: {orchestrator: k8s, node: n-1, pod: web-0, endpoint: eth0, ipNetworks: [10.0.0.1/32, 'fd00::1/128']}"), &[]),
    ((WORKLOAD, "metadata: {name: »n-1-k8s-web-0-eth0}\nspec: {orchestrator: k8s, node: n-1, pod: web-0, endpoint: eth0}"), &["invalid-name"]),
    ((WORKLOAD, "metadata: {name: n1-libnetwork-libnetwork-eth0}\nspec: {orchestrator: libnetwork, node: n1, endpoint: eth0}"), &[]),
    ((WORKLOAD, "metadata: {name: n1-cni-1f-eth0}\nspec: »{orchestrator: cni, node: n1, endpoint: eth0}"), &["missing-field"]),
    ((WORKLOAD, "metadata: {name: n1-openstack-vm-eth0}\nspec: {orchestrator: openstack, node: n1, workload: vm, endpoint: eth0, mac: »'02:00', ipv4Gateway: »'fd00::1', ipv6Gateway: »10.0.0.1}"), &["invalid-address"; 3]),
    ((WORKLOAD, "metadata: {name: n1-openstack-vm-eth0}\nspec: {orchestrator: openstack, node: n1, workload: vm, endpoint: eth0, mac: 02-00-00-00-00-0a, ipv4Gateway: 169.254.1.1, ipNetworks: [»10.0.0.0/24]}"), &["invalid-address"]),
    ((WORKLOAD, "metadata: {name: x}\nspec: {orchestrator: »K8S, node: »N1, workload: »W_1, pod: »P_1, endpoint: »E_1, containerID: »-a, serviceAccountName: »S_1, profiles: [»P_2]}"), &["invalid-name"; 8]),
    ((WORKLOAD, "metadata: {name: n1-k8s-web-eth0}\nspec: {orchestrator: k8s, node: n1, pod: web, endpoint: eth0, ports: [{name: »A, protocol: »UDPLite, port: 1, hostIP: »a}, »{protocol: TCP, port: 1}, {hostPort: 1, protocol: 17, port: 1}]}"), &["invalid-port", "invalid-protocol", "invalid-address", "missing-field"]),
];

#[rustfmt::skip]
const KUBERNETES_KINDS: &[Row] = &[
    ((KUBERNETES, "  podSelector: {matchLabels: {»-a: b, c: »d e}}"), &["invalid-label"; 2]),
    ((KUBERNETES, "  podSelector: {matchExpressions: [{key: a, operator: »In}, {key: a, operator: »Exists, values: [b]}, {key: »'a b', operator: »Is, values: [»'-']}]}"), &["conflicting-fields", "conflicting-fields", "invalid-label", "invalid-value", "invalid-label"]),
    ((KUBERNETES, "  podSelector: {}\n  policyTypes: [Ingress, Egress, »Ingress, »All]"), &["too-long", "invalid-value"]),
    ((KUBERNETES, "  ingress: [{from: [»{}]}]"), &["missing-field"]),
    ((KUBERNETES, "  ingress: [{from: [»{podSelector: {matchLabels: {a: »'-'}}, ipBlock: {cidr: »10.0.0.1}}]}]"), &["conflicting-fields", "invalid-label", "invalid-cidr"]),
    ((KUBERNETES, "  ingress: [{from: [{ipBlock: »{except: [»10.0.0.1]}}, {ipBlock: {cidr: 10.0.0.0/8, except: [»11.0.0.0/16, »10.0.0.0/8]}}]}]"), &["missing-field", "invalid-cidr", "invalid-cidr", "invalid-cidr"]),
    ((KUBERNETES, "  ingress: [{from: [{ipBlock: {cidr: »10.0.0.0/33, except: [»10.0.0.1]}}]}]"), &["invalid-cidr"; 2]),
    ((KUBERNETES, "  ingress: [{ports: [{protocol: »tcp, port: »0}, {port: »Http}, {endPort: »80}, {port: http, endPort: »80}, {port: 80, endPort: »79}, {port: 80, endPort: »65536}]}]"), &["invalid-value", "invalid-port", "invalid-port", "conflicting-fields", "conflicting-fields", "invalid-port", "invalid-value"]),
    // cluster-wide kinds
    ((CLUSTER, "  tier: »admin\n  priority: »1001\n  subject: »{}\n  ingress: [{action: »Allow, from: »[]}]"), &["invalid-value", "invalid-value", "conflicting-fields", "invalid-value", "invalid-value"]),
    ((CLUSTER, "  tier: Admin\n  priority: 1\n  subject: {namespaces: {}}\n  egress: [{action: »Allow, to: [{networks: [»10.0.0.1/8]}, »{}], protocols: [{tcp: {destinationPort: {range: »{start: 80, end: 80}}}}, {udp: {destinationPort: {range: »{start: 90, end: 80}}}}, »{}]}]"), &["invalid-value", "invalid-cidr", "conflicting-fields", "invalid-port", "invalid-port", "conflicting-fields"]),
    ((CLUSTER, "  tier: Admin\n  priority: 1\n  subject: {namespaces: {}}\n  egress: [{action: Deny, to: [»{networks: »[], nodes: {matchLabels: {»a b: c}}}], protocols: [»{tcp: {destinationPort: {number: »0}}, sctp: {»port: 1}}]}]"), &["conflicting-fields", "invalid-value", "invalid-label", "conflicting-fields", "invalid-value", "unknown-field"]),
    ((ADMIN, "  »priority: 1\n  »subjects: {}\n  ingress: [{action: Allow, from: [{pods: »{podSelector: {matchLabels: {a: »'-'}}}}], ports: [{portNumber: {protocol: »tcp, port: »0}}, »{namedPort: a, portRange: {start: »0, end: 1}}, {namedPort: »A}]}]"), &["missing-field", "unknown-field", "missing-field", "invalid-label", "invalid-value", "invalid-value", "conflicting-fields", "invalid-value", "invalid-port"]),
    ((ADMIN, "  priority: 1\n  subject: {namespaces: {}}\n  ingress: [{action: Allow, from: [{namespaces: {}}], ports: [{portRange: {start: 80, end: 80}}]}]"), &[]),
];

/// Several mistakes of one thing, told at once.
#[rustfmt::skip]
const TOGETHER: &[Row] = &[
    (rule!("action: »Alow, protocol: »tcp, ipVersion: »5, icmp: {type: »999}, source: {nets: [»10.0.0.1/8], selector: has(a»}, destination: {ports: [»0], notPorts: [»A]}"), &["invalid-value", "invalid-protocol", "invalid-value", "invalid-value", "invalid-cidr", "selector-syntax", "invalid-port", "invalid-port"]),
    (rule!("action: »Permit, source: {ports: [»80]}, icmp: »{type: 8}"), &["invalid-value", "ports-need-protocol", "icmp-needs-protocol"]),
    (rule!("action: Allow, protocol: »XTP, icmp: {type: 8}, notICMP: »{type: 0}, destination: {ports: [80]}"), &["invalid-protocol", "conflicting-fields"]),
    (rule!("action: Allow, notProtocol: »XTP, destination: {ports: [»80]}"), &["invalid-protocol", "ports-need-protocol"]),
    ((POLICY, "  ingress: [»{protocol: TCP, source: {selector: a »= 'b', nets: [»10.0.0.1]}}]"), &["missing-field", "selector-syntax", "invalid-cidr"]),
    (rule!("action: Allow, source: {services: »»{namespace: »B}, selector: has(a)}"), &["missing-field", "conflicting-fields", "invalid-name"]),
    ((CALICO, "kind: NetworkPolicy\nmetadata: {name: »A, namespace: »B, labels: {»-a: b}}\nspec: {order: »x, ingress: [{action: »x, source: {nets: [»x]}}]}"), &["invalid-name", "invalid-name", "invalid-label", "wrong-type", "invalid-value", "invalid-cidr"]),
    ((CALICO, "kind: GlobalNetworkPolicy\nmetadata: »[]\nspec: {ingress: [{action: »x}]}"), &["wrong-type", "invalid-value"]),
    ((CALICO, "kind: StagedNetworkPolicy\nmetadata: {name: a}\nspec: {stagedAction: »x, selector: »global()}"), &["invalid-value", "selector-global"]),
    ((CALICO, "kind: GlobalNetworkPolicy\nmetadata: {name: a}\nspec: {}\n---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: »a}\nspec: {selector: »global()}"), &["duplicate-object", "selector-global"]),
    ((CALICO, "kind: GlobalNetworkPolicy\nmetadata: »{}\nspec: {order: »x}\n---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: »{}\nspec: {selector: »global()}"), &["missing-field", "wrong-type", "missing-field", "selector-global"]),
    ((HOST, "  »interfaceName: »eth/0\n  expectedIPs: [»x]\n  ports: [»{name: »A, port: »0}]"), &["missing-field", "invalid-name", "invalid-address", "missing-field", "invalid-name", "invalid-value"]),
    ((KUBERNETES, "  podSelector: {matchLabels: {a: »'-'}}\n  ingress: [{from: [{ipBlock: {cidr: »x}}, {podSelector: »[]}], ports: [{protocol: »x, port: »x_y, »end: 1}]}]"), &["invalid-label", "invalid-cidr", "wrong-type", "invalid-value", "invalid-port", "unknown-field"]),
    ((CALICO, "kind: Tier\nmetadata: {name: »A}\nspec: {order: »x, »more: 1}"), &["invalid-name", "wrong-type", "unknown-field"]),
];

/// Codes and places as they are told.
fn told(stderr: &str) -> Vec<String> {
    let heads = stderr
        .lines()
        .zip(stderr.lines().skip(1))
        .filter(|(head, _)| head.starts_with("error["));
    let code = |head: &str| head.split(['[', ']']).nth(1).unwrap_or_default().to_owned();

    heads
        .map(|(head, place)| {
            format!(
                "{} {}",
                place.rsplit_once("yaml:").map_or("", |(_, place)| place),
                code(head)
            )
        })
        .collect()
}

/// What is wrong with a row.
fn problem(place: &std::path::Path, ((head, marked), codes): &Row) -> Option<String> {
    let text = format!("{head}{marked}\n");
    let mut places = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let columns = line
            .chars()
            .enumerate()
            .filter(|(_, letter)| *letter == '»')
            .map(|(column, _)| column);
        places.extend(
            columns
                .enumerate()
                .map(|(earlier, column)| format!("{}:{}", index + 1, column - earlier + 1)),
        );
    }

    fs::write(place.join("a.yaml"), text.replace('»', "")).expect("written");
    let outcome = run(place, &["check", "a.yaml"]);
    let mut found = told(&outcome.stderr);
    let mut expected: Vec<String> = places
        .iter()
        .zip(*codes)
        .map(|(place, code)| format!("{place} {code}"))
        .collect();

    found.sort_unstable();
    expected.sort_unstable();
    let fits = found == expected
        && places.len() == codes.len()
        && (outcome.status == 2) != codes.is_empty();
    (!fits).then(|| {
        format!(
            "{marked}\n  expected {expected:?}\n  found    {found:?}\n  status   {}",
            outcome.status
        )
    })
}

fn check(rows: &[Row]) {
    let place = tempfile::tempdir().expect("a directory");
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| problem(place.path(), row))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules() {
    check(RULES);
}

#[test]
fn policies_tiers_and_their_names() {
    check(POLICIES);
}

#[test]
fn network_sets_and_endpoints() {
    check(OTHERS);
}

#[test]
fn kubernetes_kinds() {
    check(KUBERNETES_KINDS);
}

fn times(count: usize, item: &str) -> String {
    vec![item; count].join(", ")
}

fn letters(count: usize) -> String {
    "a".repeat(count)
}

/// Nets, none of which is another.
fn nets(count: usize) -> String {
    (0..count)
        .map(|index| format!("10.{}.{}.0/24", index / 256, index % 256))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A policy whose rule has more fields.
fn with_rule(fields: &str) -> String {
    format!("{POLICY}  ingress: [{{action: Allow, {fields}}}]\n")
}

/// A cluster network policy whose rule has more fields.
fn with_cluster_rule(fields: &str) -> String {
    format!(
        "{CLUSTER}  tier: Admin\n  priority: 1\n  subject: {{namespaces: {{}}}}\n  egress: \
         [{{action: Deny, to: [{{namespaces: {{}}}}], {fields}}}]\n"
    )
}

fn admin_rules(head: Head, count: usize) -> String {
    let tier = if head == CLUSTER { "tier: Admin, " } else { "" };
    let rules = times(count, "{action: Deny, from: [{namespaces: {}}]}");
    format!(
        "{}{{{tier}priority: 1, subject: {{namespaces: {{}}}}, ingress: [{rules}]}}\n",
        head.replace("spec:\n", "spec: ")
    )
}

fn annotated(count: usize) -> String {
    format!(
        "{}spec: {{}}\n",
        POLICY.replace(
            "namespace: shop}\nspec:\n",
            &format!("annotations: {{a: {}}}}}\n", letters(count))
        )
    )
}

/// The longest list or text of a kind, and a manifest with one of a length.
type Limit = (usize, fn(usize) -> String);

const LIMITS: [Limit; 17] = [
    (1_024, |count| {
        format!("{POLICY}  ingress: [{}]\n", times(count, "{action: Deny}"))
    }),
    (1_024, |count| {
        format!("{POLICY}  egress: [{}]\n", times(count, "{action: Deny}"))
    }),
    (1_024, |count| {
        format!(
            "{POLICY}  selector: has({:<width$})\n",
            "a",
            width = count - 5
        )
    }),
    (1_024, |count| {
        with_rule(&format!(
            "source: {{namespaceSelector: 'has({:<width$})'}}",
            "a",
            width = count - 5
        ))
    }),
    (1_024, |count| {
        with_rule(&format!(
            "http: {{paths: [{{exact: /{}}}]}}",
            letters(count - 1)
        ))
    }),
    (20, |count| {
        with_rule(&format!(
            "http: {{paths: [{}]}}",
            times(count, "{exact: /a}")
        ))
    }),
    (256, |count| {
        with_rule(&format!("source: {{nets: [{}]}}", nets(count)))
    }),
    (256, |count| {
        with_rule(&format!("destination: {{notNets: [{}]}}", nets(count)))
    }),
    (50, |count| {
        with_rule(&format!(
            "protocol: TCP, source: {{ports: [{}]}}",
            times(count, "80")
        ))
    }),
    (50, |count| {
        with_rule(&format!(
            "protocol: TCP, destination: {{notPorts: [{}]}}",
            times(count, "80")
        ))
    }),
    (262_143, annotated),
    (262_143, |count| {
        with_rule(&format!(
            "metadata: {{annotations: {{a: {}}}}}",
            letters(count)
        ))
    }),
    (25, |count| {
        with_cluster_rule(&format!(
            "protocols: [{}]",
            times(count, "{tcp: {destinationPort: {number: 80}}}")
        ))
    }),
    (100, |count| {
        with_cluster_rule(&format!("name: {}", letters(count)))
    }),
    (25, |count| {
        with_cluster_rule("").replace(
            "{namespaces: {}}], }",
            &format!("{{networks: [{}]}}]}}", nets(count)),
        )
    }),
    (25, |count| admin_rules(CLUSTER, count)),
    (100, |count| admin_rules(ADMIN, count)),
];

/// A list or text one longer than it may be is refused, and one of just that length is taken.
#[test]
fn limits() {
    let place = tempfile::tempdir().expect("a directory");

    for (number, (most, text)) in LIMITS.into_iter().enumerate() {
        let codes = |count| {
            fs::write(place.path().join("a.yaml"), text(count)).expect("written");
            let stderr = run(place.path(), &["check", "a.yaml"]).stderr;
            told(&stderr)
                .iter()
                .filter_map(|told| told.split_once(' '))
                .map(|(_, code)| code.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (codes(most), codes(most + 1)),
            (Vec::new(), vec!["too-long".to_owned()]),
            "case {number}: {most}"
        );
    }
}

#[test]
fn mistakes_beside_each_other_are_told_at_once() {
    check(TOGETHER);
}
