//! A world as the YAML a user would write.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use super::world::{
    Action, Backends, CalicoPolicy, ClusterPeer, ClusterPods, ClusterPolicy, ClusterPort,
    ClusterRule, Entity, Host, KubernetesPolicy, KubernetesRule, LabelSelector, Labels, NamedPort,
    Net, NetSet, Peer, Pod, Policy, Port, Profile, Protocol, Rank, Rule, Selector, Stage, Staged,
    StagedAction, Tier, Way, Workload, World,
};

/// All objects of a world, one document each.
pub(crate) fn yaml(world: &World) -> String {
    let mut out = Out::default();
    for node in &world.nodes {
        out.object("v1", "Node", None, &node.name, &node.labels);
        out.line(0, "spec:");
        out.texts(1, "podCIDRs", node.ranges.iter().map(net));
        out.line(0, "status:");
        out.texts(
            1,
            "addresses",
            node.addresses
                .iter()
                .map(|address| format!("{{type: InternalIP, address: '{address}'}}")),
        );
    }

    for (name, labels) in &world.namespaces {
        out.object("v1", "Namespace", None, name, labels);
    }

    for ((namespace, name), labels) in &world.accounts {
        out.object("v1", "ServiceAccount", Some(namespace), name, labels);
    }

    for pod in &world.pods {
        match &pod.workload {
            None => out.pod(pod),
            Some(workload) => out.workload(pod, workload),
        }
    }

    world.hosts.iter().for_each(|host| out.host(host));
    world
        .profiles
        .iter()
        .for_each(|profile| out.profile(profile));
    world.net_sets.iter().for_each(|set| out.net_set(set));
    world
        .backends
        .iter()
        .enumerate()
        .for_each(|(index, backends)| out.backends(index, backends));
    world.tiers.iter().for_each(|tier| out.tier(tier));

    for policy in &world.policies {
        match policy {
            Policy::Calico(policy) => out.calico(policy),
            Policy::Kubernetes(policy) => out.kubernetes(policy),
            Policy::Cluster(policy) => out.cluster(policy),
        }
    }

    world.staged.iter().for_each(|staged| out.staged(staged));
    out.text
}

#[derive(Default)]
struct Out {
    text: String,
}

impl Out {
    fn line(&mut self, depth: usize, text: impl AsRef<str>) {
        let _ = writeln!(self.text, "{:1$}{2}", "", depth * 2, text.as_ref());
    }

    fn object(
        &mut self,
        version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        labels: &Labels,
    ) {
        self.line(0, "---");
        self.line(0, format!("apiVersion: {version}"));
        self.line(0, format!("kind: {kind}"));
        self.line(0, "metadata:");
        self.line(1, format!("name: {name}"));
        if let Some(namespace) = namespace {
            self.line(1, format!("namespace: {namespace}"));
        }
        self.labels(1, "labels", labels);
    }

    fn labels(&mut self, depth: usize, field: &str, labels: &Labels) {
        if !labels.is_empty() {
            self.line(depth, format!("{field}:"));
        }
        for (key, value) in labels {
            self.line(depth + 1, format!("{key}: {}", quoted(value)));
        }
    }

    fn texts(&mut self, depth: usize, field: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        if !items.is_empty() {
            self.line(depth, format!("{field}: [{}]", items.join(", ")));
        }
    }

    fn pod(&mut self, pod: &Pod) {
        self.object("v1", "Pod", Some(&pod.namespace), &pod.name, &pod.labels);
        self.line(0, "spec:");
        if let Some(node) = pod.node {
            self.line(1, format!("nodeName: node-{node}"));
        }

        if let Some(account) = &pod.account {
            self.line(1, format!("serviceAccountName: {account}"));
        }

        if pod.host_network {
            self.line(1, "hostNetwork: true");
        }

        self.line(1, "containers:");
        self.line(1, "- name: main");
        let ports = pod.ports.iter().map(|port| {
            let protocol = if port.protocol == 6 {
                String::new()
            } else {
                format!(", protocol: {}", word(port.protocol))
            };
            format!(
                "{{name: {}, containerPort: {}{protocol}}}",
                port.name, port.number
            )
        });
        self.texts(2, "ports", ports);
        self.line(0, "status:");
        self.line(
            1,
            format!(
                "phase: {}",
                if pod.finished { "Succeeded" } else { "Running" }
            ),
        );

        self.texts(
            1,
            "podIPs",
            pod.addresses
                .iter()
                .map(|address| format!("{{ip: '{address}'}}")),
        );
    }

    fn net_set(&mut self, set: &NetSet) {
        let kind = if set.namespace.is_some() {
            "NetworkSet"
        } else {
            "GlobalNetworkSet"
        };

        self.object(
            "projectcalico.org/v3",
            kind,
            set.namespace.as_deref(),
            &set.name,
            &set.labels,
        );
        self.line(0, "spec:");

        self.line(
            1,
            format!(
                "nets: [{}]",
                once(set.nets.iter().map(net))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        );
    }

    fn backends(&mut self, index: usize, backends: &Backends) {
        let service = &backends.service;
        let named = Labels::from([(
            "kubernetes.io/service-name".to_owned(),
            service.name.clone(),
        )]);
        let ports = || {
            backends
                .ports
                .iter()
                .map(|(protocol, port)| format!("{{protocol: {}, port: {port}}}", word(*protocol)))
        };

        match backends.slice {
            true => {
                self.object(
                    "discovery.k8s.io/v1",
                    "EndpointSlice",
                    Some(&service.namespace),
                    &format!("slice-{index}"),
                    &named,
                );
                let v4 = backends.addresses.iter().all(IpAddr::is_ipv4);
                self.line(
                    0,
                    format!("addressType: {}", if v4 { "IPv4" } else { "IPv6" }),
                );
                self.texts(
                    0,
                    "endpoints",
                    backends
                        .addresses
                        .iter()
                        .map(|address| format!("{{addresses: ['{address}']}}")),
                );
                self.texts(0, "ports", ports());
            }
            false => {
                self.object(
                    "v1",
                    "Endpoints",
                    Some(&service.namespace),
                    &service.name,
                    &Labels::new(),
                );
                self.line(0, "subsets:");
                let addresses: Vec<String> = backends
                    .addresses
                    .iter()
                    .map(|address| format!("{{ip: '{address}'}}"))
                    .collect();
                let ports: Vec<String> = ports().collect();
                self.line(
                    0,
                    format!(
                        "- {{addresses: [{}], ports: [{}]}}",
                        addresses.join(", "),
                        ports.join(", ")
                    ),
                );
            }
        }
    }

    fn tier(&mut self, tier: &Tier) {
        self.object(
            "projectcalico.org/v3",
            "Tier",
            None,
            &tier.name,
            &Labels::new(),
        );
        self.line(0, "spec:");
        self.line(
            1,
            format!("defaultAction: {}", if tier.pass { "Pass" } else { "Deny" }),
        );

        if let Some(order) = tier.order {
            self.line(1, format!("order: {order}"));
        }
    }

    fn calico(&mut self, policy: &CalicoPolicy) {
        let kind = if policy.namespace.is_some() {
            "NetworkPolicy"
        } else {
            "GlobalNetworkPolicy"
        };

        self.object(
            "projectcalico.org/v3",
            kind,
            policy.namespace.as_deref(),
            &policy.name,
            &Labels::new(),
        );
        self.line(0, "spec:");

        self.calico_spec(policy, self.text.len(), false);
    }

    /// The fields behind `begun`; of a policy to delete only the tier.
    fn calico_spec(&mut self, policy: &CalicoPolicy, begun: usize, delete: bool) {
        if let Some(tier) = &policy.tier {
            self.line(1, format!("tier: {tier}"));
        }

        if delete {
            return;
        }

        if let Some(order) = policy.order {
            self.line(1, format!("order: {order}"));
        }

        self.selector(1, "selector", policy.selector.as_ref());
        self.selector(1, "namespaceSelector", policy.namespaces.as_ref());
        self.selector(1, "serviceAccountSelector", policy.accounts.as_ref());
        self.texts(
            1,
            "types",
            once(policy.types.iter().map(|way| way_word(*way).to_owned())),
        );

        if policy.stage != Stage::Plain {
            self.line(1, "applyOnForward: true");
        }

        match policy.stage {
            Stage::Plain | Stage::Forwarded => {}
            Stage::Untracked => self.line(1, "doNotTrack: true"),
            Stage::PreDnat => self.line(1, "preDNAT: true"),
        }

        self.rules(&policy.ingress, &policy.egress);
        if self.text.len() == begun {
            self.line(1, "{}");
        }
    }

    fn rules(&mut self, ingress: &[Rule], egress: &[Rule]) {
        for (field, rules) in [("ingress", ingress), ("egress", egress)] {
            if !rules.is_empty() {
                self.line(1, format!("{field}:"));
            }
            rules.iter().for_each(|rule| self.rule(rule));
        }
    }

    fn selector(&mut self, depth: usize, field: &str, selector: Option<&Selector>) {
        if let Some(selector) = selector {
            self.line(depth, format!("{field}: {}", quoted(&expression(selector))));
        }
    }

    fn rule(&mut self, rule: &Rule) {
        let action = match rule.action {
            Action::Allow => "Allow",
            Action::Deny => "Deny",
            Action::Pass => "Pass",
            Action::Log => "Log",
        };
        self.line(1, format!("- action: {action}"));

        if let Some(version) = rule.version {
            self.line(2, format!("ipVersion: {version}"));
        }

        for (field, protocol) in [
            ("protocol", rule.protocol),
            ("notProtocol", rule.not_protocol),
        ] {
            if let Some(Protocol { number, named }) = protocol {
                self.line(
                    2,
                    format!(
                        "{field}: {}",
                        if named {
                            word(number).to_owned()
                        } else {
                            number.to_string()
                        }
                    ),
                );
            }
        }

        for (field, icmp) in [("icmp", rule.icmp), ("notICMP", rule.not_icmp)] {
            if let Some((kind, code)) = icmp {
                let code = code.map_or_else(String::new, |code| format!(", code: {code}"));
                self.line(2, format!("{field}: {{type: {kind}{code}}}"));
            }
        }

        if rule.http {
            self.line(2, "http: {methods: [GET]}");
        }

        self.entity("source", &rule.source);
        self.entity("destination", &rule.destination);
    }

    fn entity(&mut self, field: &str, entity: &Entity) {
        let before = self.text.len();
        self.line(2, format!("{field}:"));
        let begun = self.text.len();
        self.texts(3, "nets", once(entity.nets.iter().map(net)));
        self.texts(3, "notNets", once(entity.not_nets.iter().map(net)));
        self.selector(3, "selector", entity.selector.as_ref());
        self.selector(3, "notSelector", entity.not_selector.as_ref());
        self.selector(3, "namespaceSelector", entity.namespaces.as_ref());

        if entity.accounts.is_some() || !entity.account_names.is_empty() {
            self.line(3, "serviceAccounts:");
            self.texts(4, "names", once(entity.account_names.iter().cloned()));
            self.selector(4, "selector", entity.accounts.as_ref());
        }

        if let Some((namespace, name)) = &entity.service {
            let namespace = namespace
                .as_ref()
                .map_or_else(String::new, |namespace| format!(", namespace: {namespace}"));
            self.line(3, format!("services: {{name: {name}{namespace}}}"));
        }

        self.texts(3, "ports", entity.ports.iter().map(port));
        self.texts(3, "notPorts", entity.not_ports.iter().map(port));
        if self.text.len() == begun {
            self.text.truncate(before);
        }
    }

    fn kubernetes(&mut self, policy: &KubernetesPolicy) {
        self.object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            Some(&policy.namespace),
            &policy.name,
            &Labels::new(),
        );
        self.line(0, "spec:");
        self.kubernetes_spec(policy);
    }

    fn kubernetes_spec(&mut self, policy: &KubernetesPolicy) {
        self.line(1, format!("podSelector: {}", label_selector(&policy.pods)));
        self.texts(
            1,
            "policyTypes",
            policy.types.iter().map(|way| way_word(*way).to_owned()),
        );

        for (field, other, rules) in [
            ("ingress", "from", &policy.ingress),
            ("egress", "to", &policy.egress),
        ] {
            let rules: Vec<String> = rules
                .iter()
                .map(|rule| kubernetes_rule(rule, other))
                .collect();
            if !rules.is_empty() {
                self.line(1, format!("{field}:"));
            }
            rules
                .iter()
                .for_each(|rule| self.line(1, format!("- {rule}")));
        }
    }
}

/// Every item where it comes first: a world may list one twice, and its manifest may not.
fn once(items: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut seen = BTreeSet::new();
    items.filter(move |item| seen.insert(item.clone()))
}

impl Out {
    fn workload(&mut self, pod: &Pod, workload: &Workload) {
        let node = format!("node-{}", pod.node.expect("it names its node"));
        let name = [&node, &workload.orchestrator, &pod.name, "eth0"]
            .map(|part| part.replace('-', "--"))
            .join("-");
        self.object(
            "projectcalico.org/v3",
            "WorkloadEndpoint",
            Some(&pod.namespace),
            &name,
            &pod.labels,
        );
        self.line(0, "spec:");
        self.line(1, format!("orchestrator: {}", workload.orchestrator));
        self.line(1, format!("node: {node}"));

        match workload.orchestrator.as_str() {
            "k8s" => self.line(1, format!("pod: {}", pod.name)),
            "cni" => self.line(1, format!("containerID: {}", pod.name)),
            _ => self.line(1, format!("workload: {}", pod.name)),
        }

        self.line(1, "endpoint: eth0");
        self.texts(
            1,
            "ipNetworks",
            pod.addresses.iter().map(|address| {
                net(&Net {
                    address: *address,
                    length: if address.is_ipv4() { 32 } else { 128 },
                })
            }),
        );
        self.texts(1, "profiles", workload.profiles.iter().cloned());

        if let Some(account) = &pod.account {
            self.line(1, format!("serviceAccountName: {account}"));
        }

        self.ports(&pod.ports);
    }

    fn host(&mut self, host: &Host) {
        self.object(
            "projectcalico.org/v3",
            "HostEndpoint",
            None,
            &host.name,
            &host.labels,
        );
        self.line(0, "spec:");
        self.line(1, format!("node: node-{}", host.node));

        if let Some(interface) = &host.interface {
            self.line(1, format!("interfaceName: {}", quoted(interface)));
        }

        self.texts(
            1,
            "expectedIPs",
            host.addresses.iter().map(|address| format!("'{address}'")),
        );
        self.texts(1, "profiles", once(host.profiles.iter().cloned()));

        self.ports(&host.ports);
    }

    fn ports(&mut self, ports: &[NamedPort]) {
        let ports = ports.iter().map(|port| {
            format!(
                "{{name: {}, protocol: {}, port: {}}}",
                port.name,
                word(port.protocol),
                port.number
            )
        });
        self.texts(1, "ports", once(ports));
    }

    fn profile(&mut self, profile: &Profile) {
        self.object(
            "projectcalico.org/v3",
            "Profile",
            None,
            &profile.name,
            &Labels::new(),
        );
        self.line(0, "spec:");

        let begun = self.text.len();
        self.labels(1, "labelsToApply", &profile.labels);
        self.rules(&profile.ingress, &profile.egress);
        if self.text.len() == begun {
            self.line(1, "{}");
        }
    }

    fn staged(&mut self, staged: &Staged) {
        let (kind, namespace, name) = match &staged.policy {
            Policy::Calico(policy) if policy.namespace.is_none() => {
                ("StagedGlobalNetworkPolicy", None, &policy.name)
            }
            Policy::Calico(policy) => (
                "StagedNetworkPolicy",
                policy.namespace.as_deref(),
                &policy.name,
            ),
            Policy::Kubernetes(policy) => (
                "StagedKubernetesNetworkPolicy",
                Some(policy.namespace.as_str()),
                &policy.name,
            ),
            Policy::Cluster(_) => unreachable!("there is no such kind"),
        };

        self.object(
            "projectcalico.org/v3",
            kind,
            namespace,
            name,
            &Labels::new(),
        );
        self.line(0, "spec:");

        let action = match staged.action {
            StagedAction::Unsaid | StagedAction::Set => "Set",
            StagedAction::Learn => "Learn",
            StagedAction::Ignore => "Ignore",
            StagedAction::Delete => "Delete",
        };
        let begun = self.text.len();

        if staged.action != StagedAction::Unsaid {
            self.line(1, format!("stagedAction: {action}"));
        }

        let delete = staged.action == StagedAction::Delete;
        match &staged.policy {
            Policy::Calico(policy) => self.calico_spec(policy, begun, delete),
            Policy::Kubernetes(policy) if !delete => self.kubernetes_spec(policy),
            Policy::Kubernetes(_) | Policy::Cluster(_) => {}
        }
    }

    fn cluster(&mut self, policy: &ClusterPolicy) {
        let (version, kind, tier) = match policy.rank {
            Rank::Admin => ("v1alpha2", "ClusterNetworkPolicy", Some("Admin")),
            Rank::Baseline => ("v1alpha2", "ClusterNetworkPolicy", Some("Baseline")),
            Rank::OldAdmin => ("v1alpha1", "AdminNetworkPolicy", None),
            Rank::OldBaseline => ("v1alpha1", "BaselineAdminNetworkPolicy", None),
        };

        self.object(
            &format!("policy.networking.k8s.io/{version}"),
            kind,
            None,
            &policy.name,
            &Labels::new(),
        );
        self.line(0, "spec:");

        if let Some(tier) = tier {
            self.line(1, format!("tier: {tier}"));
        }

        if policy.rank != Rank::OldBaseline {
            self.line(1, format!("priority: {}", policy.priority));
        }

        self.line(1, format!("subject: {{{}}}", cluster_pods(&policy.subject)));
        for (field, other, rules) in [
            ("ingress", "from", &policy.ingress),
            ("egress", "to", &policy.egress),
        ] {
            if !rules.is_empty() {
                self.line(1, format!("{field}:"));
            }
            rules.iter().for_each(|rule| {
                self.line(
                    1,
                    format!("- {}", cluster_rule(rule, other, tier.is_some())),
                )
            });
        }
    }
}

fn cluster_pods(pods: &ClusterPods) -> String {
    let namespaces = label_selector(&pods.namespaces);
    match &pods.pods {
        None => format!("namespaces: {namespaces}"),
        Some(pods) => format!(
            "pods: {{namespaceSelector: {namespaces}, podSelector: {}}}",
            label_selector(pods)
        ),
    }
}

/// A rule of `v1alpha2`, or of the older `v1alpha1`.
fn cluster_rule(rule: &ClusterRule, other: &str, new: bool) -> String {
    let action = match (rule.action, new) {
        (Action::Allow, true) => "Accept",
        (Action::Allow, false) => "Allow",
        (Action::Pass, _) => "Pass",
        (Action::Deny | Action::Log, _) => "Deny",
    };
    let peers = rule.peers.iter().map(|peer| match peer {
        ClusterPeer::Pods(pods) => format!("{{{}}}", cluster_pods(pods)),
        ClusterPeer::Networks(nets) => format!(
            "{{networks: [{}]}}",
            nets.iter().map(net).collect::<Vec<_>>().join(", ")
        ),
        ClusterPeer::Nodes(nodes) => format!("{{nodes: {}}}", label_selector(nodes)),
    });

    let ports: Vec<String> = rule
        .ports
        .iter()
        .map(|port| {
            if new {
                cluster_port(port)
            } else {
                old_port(port)
            }
        })
        .collect();
    let field = if new { "protocols" } else { "ports" };

    let ports = if ports.is_empty() {
        String::new()
    } else {
        format!(", {field}: [{}]", ports.join(", "))
    };

    format!(
        "{{action: {action}, {other}: [{}]{ports}}}",
        peers.collect::<Vec<_>>().join(", ")
    )
}

fn cluster_port(port: &ClusterPort) -> String {
    match port {
        ClusterPort::Name(name) => format!("{{destinationNamedPort: {name}}}"),
        ClusterPort::Numbers(protocol, ports) => {
            let ports = match ports {
                None => String::new(),
                Some((first, last)) if first == last => {
                    format!("destinationPort: {{number: {first}}}")
                }
                Some((first, last)) => {
                    format!("destinationPort: {{range: {{start: {first}, end: {last}}}}}")
                }
            };
            format!("{{{}: {{{ports}}}}}", word(*protocol).to_lowercase())
        }
    }
}

/// All ports of a protocol are a range there.
fn old_port(port: &ClusterPort) -> String {
    match port {
        ClusterPort::Name(name) => format!("{{namedPort: {name}}}"),
        ClusterPort::Numbers(protocol, Some((first, last))) if first == last => {
            format!(
                "{{portNumber: {{protocol: {}, port: {first}}}}}",
                word(*protocol)
            )
        }
        ClusterPort::Numbers(protocol, ports) => {
            let (first, last) = ports.unwrap_or((1, u16::MAX));
            format!(
                "{{portRange: {{protocol: {}, start: {first}, end: {last}}}}}",
                word(*protocol)
            )
        }
    }
}

fn kubernetes_rule(rule: &KubernetesRule, other: &str) -> String {
    let peers: Vec<String> = rule.peers.iter().map(peer).collect();
    let ports: Vec<String> = rule
        .ports
        .iter()
        .map(|wanted| {
            let protocol = wanted
                .protocol
                .map(|protocol| format!("protocol: {}", word(protocol)));
            let (number, end) = match &wanted.port {
                Some(Port::Numbers(first, last)) => (
                    Some(first.to_string()),
                    (first != last).then(|| format!("endPort: {last}")),
                ),
                Some(Port::Name(name)) => (Some(name.clone()), None),
                None => (None, None),
            };
            let fields: Vec<String> = protocol
                .into_iter()
                .chain(number.map(|number| format!("port: {number}")))
                .chain(end)
                .collect();
            format!("{{{}}}", fields.join(", "))
        })
        .collect();
    let list = |field: &str, items: &[String]| {
        (!items.is_empty()).then(|| format!("{field}: [{}]", items.join(", ")))
    };

    let fields: Vec<String> = list(other, &peers)
        .into_iter()
        .chain(list("ports", &ports))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Pods { pods, namespaces } => {
            let field = |name: &str, selector: &Option<LabelSelector>| {
                selector
                    .as_ref()
                    .map(|selector| format!("{name}: {}", label_selector(selector)))
            };
            let fields: Vec<String> = field("podSelector", pods)
                .into_iter()
                .chain(field("namespaceSelector", namespaces))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Peer::Block { net: block, except } => {
            let except: Vec<String> = except.iter().map(net).collect();
            format!(
                "{{ipBlock: {{cidr: {}, except: [{}]}}}}",
                net(block),
                except.join(", ")
            )
        }
    }
}

fn label_selector(selector: &LabelSelector) -> String {
    let labels: Vec<String> = selector
        .labels
        .iter()
        .map(|(key, value)| format!("{key}: {}", quoted(value)))
        .collect();
    let expressions: Vec<String> = selector
        .expressions
        .iter()
        .map(|requirement| {
            let values: Vec<String> = requirement
                .values
                .iter()
                .map(|value| quoted(value))
                .collect();
            let values = if values.is_empty() {
                String::new()
            } else {
                format!(", values: [{}]", values.join(", "))
            };
            format!(
                "{{key: {}, operator: {}{values}}}",
                requirement.key, requirement.operator
            )
        })
        .collect();
    let labels = (!labels.is_empty()).then(|| format!("matchLabels: {{{}}}", labels.join(", ")));
    let expressions = (!expressions.is_empty())
        .then(|| format!("matchExpressions: [{}]", expressions.join(", ")));

    format!(
        "{{{}}}",
        labels
            .into_iter()
            .chain(expressions)
            .collect::<Vec<_>>()
            .join(", ")
    )
}

/// A selector in Calico's language.
fn expression(selector: &Selector) -> String {
    let list = |values: &[String]| {
        values
            .iter()
            .map(|value| format!("'{value}'"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let group = |parts: &[Selector], sign: &str| {
        format!(
            "({})",
            parts.iter().map(expression).collect::<Vec<_>>().join(sign)
        )
    };

    match selector {
        Selector::All => "all()".to_owned(),
        Selector::Global => "global()".to_owned(),
        Selector::Has(key) => format!("has({key})"),
        Selector::Equals(key, value) => format!("{key} == '{value}'"),
        Selector::Differs(key, value) => format!("{key} != \"{value}\""),
        Selector::In(key, values) => format!("{key} in {{{}}}", list(values)),
        Selector::NotIn(key, values) => format!("{key} not in {{{}}}", list(values)),
        Selector::Contains(key, value) => format!("{key} contains '{value}'"),
        Selector::Starts(key, value) => format!("{key} starts with '{value}'"),
        Selector::Ends(key, value) => format!("{key} ends with '{value}'"),
        Selector::Not(operand) => format!("!{}", expression(operand)),
        Selector::And(parts) => group(parts, " && "),
        Selector::Or(parts) => group(parts, " || "),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn net(net: &Net) -> String {
    format!("'{}/{}'", net.address, net.length)
}

fn port(port: &Port) -> String {
    match port {
        Port::Numbers(first, last) if first == last => first.to_string(),
        Port::Numbers(first, last) => format!("'{first}:{last}'"),
        Port::Name(name) => name.clone(),
    }
}

fn word(protocol: u8) -> &'static str {
    match protocol {
        1 => "ICMP",
        6 => "TCP",
        17 => "UDP",
        58 => "ICMPv6",
        132 => "SCTP",
        _ => "UDPLite",
    }
}

fn way_word(way: Way) -> &'static str {
    match way {
        Way::Ingress => "Ingress",
        Way::Egress => "Egress",
    }
}
