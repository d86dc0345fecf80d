use super::{StagedPolicies, check};
use crate::diagnostic::Diagnostics;
use crate::document;
use crate::manifest::ManifestReader;
use crate::source::SourceFiles;

/// The checked form of a manifest, printed, or the codes of its errors.
fn meaning(yaml: &str) -> String {
    let mut files = SourceFiles::default();
    files.add("a.yaml", yaml.to_owned()).unwrap();
    let mut diagnostics = Diagnostics::default();
    let mut reader = ManifestReader::default();
    document::for_each(&files, &mut diagnostics, &mut |object, diagnostics| {
        reader.ingest(&object, diagnostics)
    });

    let policies = check(reader.finish(), StagedPolicies::Proposed, &mut diagnostics);
    match diagnostics.has_errors() {
        true => diagnostics
            .sorted()
            .iter()
            .map(|diagnostic| format!("{}: {}\n", diagnostic.code, diagnostic.message))
            .collect(),
        false => policies.to_string(),
    }
}

fn policy(namespace: &str, spec: &str) -> String {
    let kind = if namespace.is_empty() {
        "GlobalNetworkPolicy"
    } else {
        "NetworkPolicy"
    };
    let place = if namespace.is_empty() {
        String::new()
    } else {
        format!(", namespace: {namespace}")
    };

    format!(
        "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: p{place}}}\nspec: \
         {{{spec}}}\n"
    )
}

/// The line of the policy itself.
fn applies_to(namespace: &str, spec: &str) -> String {
    let printed = meaning(&policy(namespace, spec));
    printed
        .lines()
        .nth(1)
        .unwrap_or(&printed)
        .split("applies to ")
        .nth(1)
        .unwrap_or(&printed)
        .to_owned()
}

/// The first rule of a policy with one ingress rule.
fn rule(namespace: &str, rule: &str) -> String {
    let printed = meaning(&policy(namespace, &format!("ingress: [{{{rule}}}]")));
    printed
        .lines()
        .nth(2)
        .and_then(|line| line.strip_prefix("    ingress 1: "))
        .unwrap_or(&printed)
        .to_owned()
}

#[test]
fn policies_apply_where_their_selectors_together_say() {
    let cases = [
        ("ns", "", r#"projectcalico.org/namespace == "ns""#),
        (
            "ns",
            r#"selector: """#,
            r#"projectcalico.org/namespace == "ns""#,
        ),
        (
            "ns",
            "selector: a == 'b'",
            r#"(a == "b" && projectcalico.org/namespace == "ns")"#,
        ),
        (
            "ns",
            "selector: all(), serviceAccountSelector: all()",
            r#"(all() && projectcalico.org/namespace == "ns" && all())"#,
        ),
        (
            "ns",
            "serviceAccountSelector: role == 'x'",
            r#"(projectcalico.org/namespace == "ns" && pcsa.role == "x")"#,
        ),
        ("", "", "all()"),
        ("", "selector: a == 'all()'", r#"a == "all()""#),
        (
            "",
            "namespaceSelector: all()",
            "has(projectcalico.org/namespace)",
        ),
        (
            "",
            "selector: all(), namespaceSelector: e == 'p'",
            r#"(has(projectcalico.org/namespace) && pcns.e == "p")"#,
        ),
        (
            "",
            "selector: all(), serviceAccountSelector: r == 'x'",
            r#"(has(projectcalico.org/serviceaccount) && pcsa.r == "x")"#,
        ),
        (
            "",
            "namespaceSelector: all(), serviceAccountSelector: all()",
            "(has(projectcalico.org/namespace) && has(projectcalico.org/serviceaccount))",
        ),
    ];
    for (namespace, spec, expected) in cases {
        assert_eq!(applies_to(namespace, spec), expected, "{namespace} {spec}");
    }
}

#[test]
fn rule_peers_are_scoped_as_calico_scopes_them() {
    let ns = r#"projectcalico.org/namespace == "ns""#;
    let cases = [
        ("ns", "selector: a == 'b'", format!(r#"({ns} && a == "b")"#)),
        ("ns", "notSelector: has(a)", format!("({ns} && !has(a))")),
        (
            "",
            "selector: has(b), notSelector: has(a)",
            "(has(b) && !has(a))".to_owned(),
        ),
        ("", "notSelector: has(a)", "not has(a)".to_owned()),
        (
            "ns",
            "namespaceSelector: all()",
            "has(projectcalico.org/namespace)".to_owned(),
        ),
        (
            "ns",
            "namespaceSelector: global()",
            "!has(projectcalico.org/namespace)".to_owned(),
        ),
        (
            "ns",
            "namespaceSelector: e == 'p', selector: has(a)",
            r#"(pcns.e == "p" && has(a))"#.to_owned(),
        ),
        (
            "ns",
            "serviceAccounts: {names: [b, a]}",
            format!(r#"({ns} && projectcalico.org/serviceaccount in {{"a", "b"}})"#),
        ),
        (
            "",
            "serviceAccounts: {names: [a]}",
            r#"projectcalico.org/serviceaccount in {"a"}"#.to_owned(),
        ),
        (
            "ns",
            "serviceAccounts: {names: [a], selector: r == 'x'}",
            format!(r#"({ns} && (pcsa.r == "x" && projectcalico.org/serviceaccount in {{"a"}}))"#),
        ),
        ("", "serviceAccounts: {selector: all()}", "all()".to_owned()),
        // different from no selector: matches known addresses only
        ("", "selector: ' '", "all()".to_owned()),
        (
            "ns",
            "serviceAccounts: {selector: r == 'x'}, selector: has(a)",
            format!(r#"({ns} && pcsa.r == "x" && has(a))"#),
        ),
    ];
    for (namespace, source, expected) in cases {
        assert_eq!(
            rule(namespace, &format!("action: Allow, source: {{{source}}}")),
            format!("allow from {{{expected}}} to anyone"),
            "{source}"
        );
    }
    assert_eq!(
        rule("ns", "action: Allow, source: {nets: [10.0.0.0/8]}"),
        "allow IPv4 from {in 10.0.0.0/8} to anyone"
    );
    assert_eq!(
        rule("ns", "action: Allow, source: {serviceAccounts: {}}"),
        "allow from anyone to anyone"
    );
}

#[test]
fn rules_keep_their_families_together() {
    let cases = [
        (
            "action: Allow, protocol: ICMP",
            "allow IPv4 ICMP from anyone to anyone",
        ),
        (
            "action: Allow, protocol: 1",
            "allow ICMP from anyone to anyone",
        ),
        (
            "action: Deny, ipVersion: 6",
            "deny IPv6 from anyone to anyone",
        ),
        (
            "action: Deny, source: {notNets: ['10.0.0.0/8']}",
            "deny IPv4 from {not in 10.0.0.0/8} to anyone",
        ),
        (
            "action: Allow, source: {nets: ['10.0.0.0/8', '::/0']}",
            "mixed-families: this is IPv6, and the rest of the rule is IPv4\n",
        ),
        (
            "action: Allow, protocol: ICMPv6, ipVersion: 4",
            "mixed-families: this is IPv6, and the rest of the rule is IPv4\n",
        ),
    ];

    for (written, expected) in cases {
        assert_eq!(rule("", written), expected, "{written}");
    }
}

#[test]
fn types_are_inferred_from_the_rules() {
    let allow = "[{action: Allow}]";
    let cases = [
        (String::new(), "ingress: no rule"),
        (
            format!("ingress: {allow}"),
            "ingress 1: allow from anyone to anyone",
        ),
        (
            format!("egress: {allow}"),
            "egress 1: allow from anyone to anyone",
        ),
        (
            format!("types: [Egress], ingress: {allow}"),
            "egress: no rule",
        ),
    ];

    for (spec, expected) in cases {
        let printed = meaning(&policy("ns", &spec));
        let rules: Vec<&str> = printed.lines().skip(2).map(str::trim).collect();
        assert_eq!(rules, [expected], "{spec}");
    }
}

#[test]
fn order_then_name_then_namespace_then_kind_decide() {
    let object = |name: &str, order: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: \
             {name}}}\nspec: {{{order}}}\n"
        )
    };
    let objects = [
        object("a", ""),
        object("z", "order: -1"),
        object("a-b", ""),
        object("m", "order: 0"),
        object("default.k", "order: 0"),
    ];
    let printed = meaning(&objects.concat());

    let names: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  Global")?.split([' ', ',']).nth(1))
        .collect();
    assert_eq!(names, ["z", "k", "m", "a-b", "a"]);
}

#[test]
fn kubernetes_rules_become_rules_by_protocol_and_kind_of_peer() {
    let yaml = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: ns}
spec:
  podSelector: {}
  ingress:
  - from:
    - podSelector: {matchLabels: {a: b}}
    - namespaceSelector: {}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    - ipBlock: {cidr: 2001:db8::/32}
    ports:
    - {port: 80, endPort: 90}
    - {protocol: UDP}
    - {protocol: UDP, port: 53}
";
    let expected = r#"tier default, order 1000000, ends in deny
  KubernetesNetworkPolicy ns/p, order 1000, applies to (projectcalico.org/orchestrator == "k8s" && projectcalico.org/namespace == "ns")
    ingress 1: allow TCP from {((projectcalico.org/namespace == "ns" && (projectcalico.org/orchestrator == "k8s" && a == "b")) || (has(projectcalico.org/namespace) && projectcalico.org/orchestrator == "k8s"))} to {ports 80:90}
    ingress 1: allow IPv4 TCP from {in 10.0.0.0/8; not in 10.1.0.0/16} to {ports 80:90}
    ingress 1: allow IPv6 TCP from {in 2001:db8::/32} to {ports 80:90}
    ingress 1: allow UDP from {((projectcalico.org/namespace == "ns" && (projectcalico.org/orchestrator == "k8s" && a == "b")) || (has(projectcalico.org/namespace) && projectcalico.org/orchestrator == "k8s"))} to anyone
    ingress 1: allow IPv4 UDP from {in 10.0.0.0/8; not in 10.1.0.0/16} to anyone
    ingress 1: allow IPv6 UDP from {in 2001:db8::/32} to anyone
"#;
    assert_eq!(meaning(yaml), expected);
}

#[test]
fn cluster_wide_policies_have_tiers_of_their_own() {
    let yaml = "apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: a}
spec:
  priority: 5
  subject: {namespaces: {}}
  egress:
  - {action: Pass, to: [{namespaces: {matchLabels: {e: p}}}, {pods: {namespaceSelector: {}, \
                podSelector: {matchLabels: {a: b}}}}]}
  - {action: Deny, to: [{networks: [10.0.0.0/8, '2001:db8::/32']}, {nodes: {}}], ports: \
                [{portNumber: {port: 80}}, {portRange: {protocol: UDP, start: 1, end: 9}}]}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: c}
spec:
  tier: Baseline
  priority: 7
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {a: b}}}}
  ingress:
  - {name: dns, action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: \
                {number: 53}}}, {udp: {}}, {destinationNamedPort: web}]}
";
    let expected = r#"tier adminnetworkpolicy, order 1000, ends in pass
  AdminNetworkPolicy a, order 5, applies to (projectcalico.org/orchestrator == "k8s" && has(projectcalico.org/namespace))
    egress 1: pass from anyone to {((has(projectcalico.org/namespace) && pcns.e == "p") || (has(projectcalico.org/namespace) && (projectcalico.org/orchestrator == "k8s" && a == "b")))}
    egress 2: deny TCP from anyone to {nodes: all(); ports 80}
    egress 2: deny IPv4 TCP from anyone to {in 10.0.0.0/8; ports 80}
    egress 2: deny IPv6 TCP from anyone to {in 2001:db8::/32; ports 80}
    egress 2: deny UDP from anyone to {nodes: all(); ports 1:9}
    egress 2: deny IPv4 UDP from anyone to {in 10.0.0.0/8; ports 1:9}
    egress 2: deny IPv6 UDP from anyone to {in 2001:db8::/32; ports 1:9}
tier kube-baseline, order 10000000, ends in pass
  ClusterNetworkPolicy c, order 7, applies to ((projectcalico.org/orchestrator == "k8s" && a == "b") && has(projectcalico.org/namespace))
    ingress 1: allow TCP from {has(projectcalico.org/namespace)} to {ports 53}
    ingress 1: allow UDP from {has(projectcalico.org/namespace)} to anyone
    ingress 1: allow from {has(projectcalico.org/namespace)} to {ports web}
"#;
    assert_eq!(meaning(yaml), expected);
}

#[test]
fn services_say_who_is_meant() {
    let cases = [
        (
            "ns",
            "egress",
            "destination: {services: {name: db}}",
            "egress 1: allow from anyone to {service ns/db}",
        ),
        (
            "ns",
            "ingress",
            "source: {services: {name: db, namespace: other}}",
            "ingress 1: allow from {service other/db} to anyone",
        ),
        (
            "",
            "egress",
            "destination: {services: {name: db}}",
            "missing-field: a global policy must name the namespace of a service",
        ),
        (
            "ns",
            "ingress",
            "destination: {services: {name: db}}",
            "conflicting-fields: `destination.services` may only stand in egress rules",
        ),
        (
            "ns",
            "egress",
            "destination: {services: {name: db}, selector: all()}",
            "conflicting-fields: `services` excludes `selector`",
        ),
        (
            "ns",
            "egress",
            "destination: {services: {name: DB}}",
            "invalid-name: `DB` is no valid service name",
        ),
    ];

    for (namespace, direction, side, expected) in cases {
        let printed = meaning(&policy(
            namespace,
            &format!("{direction}: [{{action: Allow, {side}}}]"),
        ));
        assert_eq!(
            printed.lines().last().map(str::trim),
            Some(expected),
            "{side}"
        );
    }

    let with_ports =
        "egress: [{action: Allow, protocol: TCP, destination: {services: {name: db}, ports: [1]}}]";
    assert!(
        meaning(&policy("ns", with_ports)).contains("`services` excludes `ports` and `notPorts`")
    );
}

#[test]
fn nothing_passes_for_what_it_is_not() {
    let set = |name: &str, labels: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: \
             {name}, labels: {{{labels}}}}}\nspec: {{}}\n"
        )
    };
    let claim = "invalid-label: the label `projectcalico.org/namespace` is not for a network set \
                 to claim\n";

    assert_eq!(
        meaning(&set("a", "projectcalico.org/namespace: prod")),
        claim
    );
    assert_eq!(
        rule(
            "",
            "action: Deny, protocol: TCP, destination: {ports: [8e1]}"
        ),
        "invalid-port: `8e1` is no port\n",
        "a number is no port name"
    );

    let kubernetes = |name: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: \
             {name}}}\nspec: {{podSelector: {{}}}}\n"
        )
    };

    let both = meaning(&[kubernetes("web"), kubernetes("default.web")].concat());
    assert_eq!(both.matches("KubernetesNetworkPolicy").count(), 2, "{both}");
    assert!(
        !meaning(&[set("a", ""), set("default.a", "a: b")].concat()).contains("duplicate"),
        "two sets, not one"
    );
}

#[test]
fn a_wrong_peer_does_not_make_its_list_empty() {
    let policy = |peers: &str| {
        let head = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: \
                    AdminNetworkPolicy\nmetadata: {name: a}\n";
        meaning(&format!(
            "{head}spec: {{priority: 1, subject: {{namespaces: {{}}}}, ingress: [{{action: Deny, \
             from: [{peers}]}}]}}\n"
        ))
    };

    assert_eq!(
        policy("{pods: {namespaceSelector: {}}}"),
        "missing-field: `podSelector` is missing\n"
    );
    assert_eq!(policy(""), "invalid-value: this list must not be empty\n");
}
