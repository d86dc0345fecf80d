use crate::diagnostic::Diagnostics;
use crate::net::{Protocol, State};
use crate::options::CompileOptions;
use crate::packet::{Flow, Hook, Packet, PortPair, PreDnatDestination, ReversePath};
use crate::resolve;
use crate::semantics::evaluate::{Evaluator, ListTrace};
use crate::semantics::node::{ExpectedVerdict, NodeSemantics};
use crate::source::SourceFiles;

/// Two pods, `client` on 10.0.0.1 and `server` on 10.0.0.2 with a port named `web`, and policies.
const CLUSTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: one, labels: {app: client}}
spec: {nodeName: a}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: one, labels: {app: server}}
spec: {nodeName: b, containers: [{ports: [{name: web, containerPort: 80}]}]}
status: {podIP: 10.0.0.2}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: first}
spec: {order: 1}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: guard}
spec:
  tier: first
  selector: app == 'server'
  ingress: [{action: Log}, {action: Pass, protocol: TCP, destination: {ports: [web]}}, {action: \
                       Deny, source: {nets: [192.0.2.0/24]}}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: a, namespace: one}
spec: {selector: app == 'server', types: [Egress]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: b, namespace: one}
spec: {selector: app == 'server', ingress: [{action: Allow, source: {selector: app == 'client'}}]}
";

/// Describes the decision at every end of a flow.
fn ways(source: &str, destination: &str, port: u16) -> String {
    asked(CLUSTER, |evaluator| {
        let decision = evaluator.decide(&flow(source, destination, port));
        let ends = [("egress", &decision.egress), ("ingress", &decision.ingress)];
        let words = ends.into_iter().filter_map(|(end, passage)| {
            passage
                .as_ref()
                .map(|passage| format!("{end}:{}", way(passage)))
        });
        format!(
            "{} {}",
            if decision.is_allowed() {
                "allowed"
            } else {
                "denied"
            },
            words.collect::<Vec<_>>().join("; ")
        )
    })
}

fn asked<Answer>(cluster: &str, ask: impl FnOnce(&Evaluator<'_, '_>) -> Answer) -> Answer {
    let mut files = SourceFiles::default();
    files.add("a.yaml", cluster.to_owned()).unwrap();
    let mut diagnostics = Diagnostics::default();
    let input = crate::read(
        &files,
        crate::policy::StagedPolicies::Proposed,
        &mut diagnostics,
    );

    assert!(!diagnostics.has_errors(), "{:?}", diagnostics.sorted());
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    ask(&Evaluator::new(&resolved))
}

fn flow(source: &str, destination: &str, port: u16) -> Flow {
    Flow {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: Protocol::TCP,
        ports: Some(PortPair {
            source: 4000,
            destination: port,
        }),
        icmp: None,
    }
}

fn way(passage: &ListTrace<'_>) -> String {
    let mut words = String::new();
    for passed in &passage.tiers {
        for policy in &passed.policies {
            let numbers: Vec<usize> = policy.rules.iter().map(|rule| rule.number).collect();
            words += &format!(" {} {numbers:?}", policy.policy.key.name);
        }
        words += &format!(" {:?} by {}", passed.end, passed.tier.name);
    }
    words
}

#[test]
fn every_tier_policy_and_rule_on_the_way_is_told() {
    for (source, destination, port, expected) in [
        (
            "10.0.0.1",
            "10.0.0.2",
            80,
            "allowed egress:; ingress: guard [1, 2] Passed by first b [1] Allowed by default",
        ),
        (
            "10.0.0.1",
            "10.0.0.2",
            81,
            "denied egress:; ingress: guard [1] DeniedByDefault by first",
        ),
        (
            "192.0.2.1",
            "10.0.0.2",
            81,
            "denied ingress: guard [1, 3] Denied by first",
        ),
        (
            "192.0.2.1",
            "10.0.0.2",
            80,
            "denied ingress: guard [1, 2] Passed by first b [] DeniedByDefault by default",
        ),
        (
            "10.0.0.2",
            "192.0.2.1",
            80,
            "denied egress: a [] DeniedByDefault by default",
        ),
        ("192.0.2.1", "192.0.2.2", 80, "allowed "),
    ] {
        assert_eq!(
            ways(source, destination, port),
            expected,
            "{source} to {destination}:{port}"
        );
    }
}

/// Policy of a host endpoint for each list, on the node `b`, which runs the pod `server`.
const HOSTS: &str = "
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: b-eth0, labels: {host: b}}
spec: {node: b, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: b-all}
spec: {node: b, interfaceName: '*', profiles: [projectcalico-default-allow]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: early}
spec: {selector: host == 'b', preDNAT: true, applyOnForward: true, ingress: [{action: Deny, \
                     protocol: TCP, destination: {ports: [22, 30000]}}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: quick}
spec: {selector: host == 'b', doNotTrack: true, applyOnForward: true, ingress: [{action: Allow, \
                     protocol: TCP, destination: {ports: [53]}}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: through}
spec: {selector: host == 'b', applyOnForward: true, ingress: [{action: Allow, protocol: TCP, \
                     destination: {ports: [80, 81]}}]}
";

type OwedRow = (
    (Option<&'static str>, Option<&'static str>),
    (&'static str, &'static str, u16),
    Option<u16>,
    &'static str,
);

/// Input interface and output interface, if any; source, destination and port; the port before
/// DNAT; and the expected verdict.
const OWED: [OwedRow; 12] = [
    (
        (Some("eth0"), Some("cali0")),
        ("192.0.2.1", "10.0.0.2", 80),
        None,
        "Drop Policy: Untracked; PreDnat; Forward Allowed; Normal DeniedByDefault",
    ),
    (
        (Some("eth0"), Some("cali0")),
        ("10.0.0.1", "10.0.0.2", 80),
        None,
        "Accept Policy: Untracked; PreDnat; Forward Allowed; Normal Allowed",
    ),
    (
        (Some("eth0"), Some("cali0")),
        ("10.0.0.1", "10.0.0.2", 80),
        Some(30_000),
        "Drop Policy: Untracked; PreDnat Denied",
    ),
    (
        (Some("eth0"), Some("cali0")),
        ("10.0.0.1", "10.0.0.2", 53),
        None,
        "untracked Drop Policy: Untracked Allowed; Normal DeniedByDefault",
    ),
    (
        (Some("eth0"), Some("cali0")),
        ("192.0.2.1", "192.0.2.3", 81),
        None,
        "Undecided Nothing: Untracked; PreDnat; Forward Allowed",
    ),
    (
        (Some("eth0"), None),
        ("192.0.2.1", "192.0.2.2", 53),
        None,
        "untracked Accept Policy: Untracked Allowed",
    ),
    (
        (Some("eth0"), None),
        ("192.0.2.1", "192.0.2.2", 80),
        None,
        "Accept Policy: Untracked; PreDnat; Normal Allowed",
    ),
    (
        (Some("eth0"), None),
        ("192.0.2.1", "192.0.2.2", 82),
        None,
        "Drop Policy: Untracked; PreDnat; Normal DeniedByDefault",
    ),
    (
        (Some("eth0"), None),
        ("192.0.2.1", "192.0.2.2", 22),
        None,
        "Accept Failsafe: ",
    ),
    (
        (Some("eth1"), None),
        ("192.0.2.1", "192.0.2.2", 82),
        None,
        "Accept Policy: Normal",
    ),
    (
        (None, Some("eth0")),
        ("192.0.2.2", "192.0.2.1", 443),
        None,
        "Drop Policy: Normal",
    ),
    (
        (None, Some("cali0")),
        ("192.0.2.2", "10.0.0.2", 443),
        None,
        "Undecided Nothing: ",
    ),
];

/// Returns `None` if a packet neither comes from an interface nor goes to one.
fn hook(arrives: Option<&str>, leaves: Option<&str>) -> Option<Hook> {
    let [arrives, leaves] = [arrives, leaves].map(|name| name.map(str::to_owned));
    match (arrives, leaves) {
        (Some(arrives), Some(leaves)) => Some(Hook::Forward { arrives, leaves }),
        (Some(arrives), None) => Some(Hook::Input { arrives }),
        (None, Some(leaves)) => Some(Hook::Output { leaves }),
        (None, None) => None,
    }
}

#[test]
fn a_node_owes_a_packet_what_the_policies_of_its_way_say() {
    asked(&format!("{CLUSTER}{HOSTS}"), |evaluator| {
        let id = evaluator.resolved().inventory.find_node("b").unwrap();
        let options = CompileOptions::default();
        let node = NodeSemantics::new(evaluator, id, &options);
        for ((arrives, leaves), (source, destination, port), sent_to, expected) in OWED {
            let original = sent_to.map(|port| PreDnatDestination {
                address: "192.0.2.2".parse().unwrap(),
                port: Some(port),
            });
            let packet = Packet {
                flow: flow(source, destination, port),
                original,
                hook: hook(arrives, leaves).unwrap(),
                state: State::New,
                reverse_path: ReversePath::Arriving,
            };
            assert_eq!(words(&node.expect(&packet)), expected, "{packet:?}");
        }
    });
}

fn words(expected: &ExpectedVerdict<'_>) -> String {
    let passages = expected.passages.iter().map(|passage| {
        let ends = passage
            .tiers
            .iter()
            .map(|tier| tier.end)
            .filter(|end| !end.goes_on());
        let end = ends.map(|end| format!(" {end:?}")).collect::<String>();
        format!("{:?}{end}", passage.list)
    });
    let passages = passages.collect::<Vec<_>>().join("; ");

    let untracked = if expected.is_untracked {
        "untracked "
    } else {
        ""
    };

    format!(
        "{untracked}{:?} {:?}: {passages}",
        expected.verdict, expected.cause
    )
}
