//! Disagreements that were found once, as small as they get.

use crate::palisade::files_below;
use palisade::options::{CompileOptions, ExtensionSet};
use palisade::ruleset::CheckedScripts;

use super::compile_yaml;
use super::packet::{Hook, Packet, RouteBack, State, Verdict};
use crate::{enforced, golden};

/// Two nodes. `client` is on the first; `server` is on the second with an address lent from the
/// first one's range.
const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: a}
spec: {podCIDRs: [10.1.1.0/24]}
---
apiVersion: v1
kind: Node
metadata: {name: b}
spec: {podCIDRs: [10.1.2.0/24]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: one, labels: {app: client}}
spec: {nodeName: a}
status: {podIP: 10.1.1.2}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: one, labels: {app: server}}
spec: {nodeName: b}
status: {podIP: 10.1.1.3}
";

/// What becomes on node `a` of a new packet of `client`.
fn on_first_node(policies: &str, destination: &str, protocol: u8, port: u16) -> Verdict {
    let kernels = compile_yaml(
        format!("{CLUSTER}---\n{policies}"),
        &["a"],
        &CompileOptions::default(),
    );
    let packet = Packet {
        node: 0,
        hook: Hook::Forward,
        arrives: "cali0",
        leaves: "eth0",
        source: "10.1.1.2".parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        original: None,
        protocol,
        ports: Some((40_000, port)),
        icmp: None,
        state: State::New,
        route_back: RouteBack::Same,
    };

    kernels
        .expect("palisade takes this")
        .first()
        .expect("one node")
        .run(&packet.seen())
        .verdict
        .into()
}

fn global_policy(rules: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: \
         p}}\nspec: {{types: [Egress], egress: [{rules}]}}\n"
    )
}

#[test]
fn an_endpoint_of_another_node_is_known_in_this_nodes_pod_range() {
    assert_eq!(on_first_node("", "10.1.1.3", 6, 80), Verdict::Accept);
    assert_eq!(on_first_node("", "10.1.1.4", 6, 80), Verdict::Drop);
}

/// A network set that holds the server's address, denied but for what has the server's label: the
/// set has no such label.
#[test]
fn not_selector_excludes_by_label_and_not_by_address() {
    let rule = "{action: Deny, destination: {selector: zone == 'x', notSelector: app == \
                'server'}}, {action: Allow}";
    let set = "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: x, \
               labels: {zone: x}}\nspec: {nets: [10.1.1.0/24]}\n";
    assert_eq!(
        on_first_node(&(global_policy(rule) + set), "10.1.1.3", 6, 80),
        Verdict::Drop
    );
}

/// Sixteen ports, one more than a `multiport` match holds.
#[test]
fn long_lists_of_sctp_ports_match() {
    let ports: Vec<String> = (0..16).map(|step| (100 + 2 * step).to_string()).collect();

    for (field, listed, other) in [
        ("ports", Verdict::Drop, Verdict::Accept),
        ("notPorts", Verdict::Accept, Verdict::Drop),
    ] {
        let rule = format!(
            "{{action: Deny, protocol: SCTP, destination: {{{field}: [{}]}}}}, {{action: Allow}}",
            ports.join(", ")
        );
        let policy = global_policy(&rule);
        for (port, expected) in [(100, listed), (130, listed), (101, other), (132, other)] {
            assert_eq!(
                on_first_node(&policy, "10.1.1.3", 132, port),
                expected,
                "{field} {port}"
            );
        }
    }
}

/// Of one order and one name in one tier, Calico's own policy comes first: kinds of Kubernetes sort
/// as `Kubernetes…`.
#[test]
fn ties_of_kinds_go_by_calicos_names() {
    let calico =
        global_policy("{action: Allow}").replace("spec: {", "spec: {tier: kube-admin, order: 5, ");
    let cluster = "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: \
                   ClusterNetworkPolicy\nmetadata: {name: p}\nspec: {tier: Admin, priority: 5, \
                   subject: {namespaces: {}}, egress: [{action: Deny, to: [{networks: \
                   [0.0.0.0/0]}]}]}\n";

    assert_eq!(
        on_first_node(&(calico + cluster), "10.1.1.3", 6, 80),
        Verdict::Accept
    );
    assert_eq!(on_first_node(cluster, "10.1.1.3", 6, 80), Verdict::Drop);
}

/// A network set in the peer's namespace lists the address of a pod in another one, whose port has
/// the name: the peer does not select that pod, and so the name says nothing of its port.
#[test]
fn a_port_by_name_is_one_of_a_pod_that_the_peer_selects() {
    let policy = |namespace: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: \
             {{name: p}}\nspec: {{tier: Admin, priority: 5, subject: {{namespaces: {{}}}}, \
             egress: [{{action: Deny, protocols: [{{destinationNamedPort: web}}],\n  to: \
             [{{namespaces: {{matchLabels: {{kubernetes.io/metadata.name: \
             {namespace}}}}}}}]}}]}}\n"
        )
    };

    let others = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: named, namespace: one}\nspec: \
                  {nodeName: b, containers: [{ports: [{name: web, containerPort: 80}]}]}\nstatus: \
                  {podIP: 10.1.2.9}\n---\napiVersion: projectcalico.org/v3\nkind: \
                  NetworkSet\nmetadata: {name: set, namespace: two}\nspec: {nets: [10.1.2.0/24]}\n";
    assert_eq!(
        on_first_node(&(policy("one") + others), "10.1.2.9", 6, 80),
        Verdict::Drop
    );

    assert_eq!(
        on_first_node(&(policy("two") + others), "10.1.2.9", 6, 80),
        Verdict::Accept
    );
}

/// What palisade renders in every golden case, its interpreter takes.
#[test]
fn every_golden_bundle_loads() {
    for case in golden::cases() {
        for node in enforced::node_names(&case.join("bundle"))
            .iter()
            .map(|node| case.join("bundle/nodes").join(node))
        {
            let texts = files_below(&node);
            let files = texts
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str()));
            let checked = CheckedScripts::read(files, &ExtensionSet::default());
            assert!(
                checked.is_ok(),
                "{}: {}",
                node.display(),
                checked.unwrap_err()
            );
        }
    }
}
