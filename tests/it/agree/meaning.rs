//! What policies mean, straight from `docs/semantics.md`: one packet, one verdict,
//! by looking at everything there is. Slow, short, and without a line of palisade's.

use std::net::IpAddr;

use super::packet::{Hook, Packet, RouteBack, State, Verdict};
use super::world::{
    Action, Backends, CalicoPolicy, ClusterPeer, ClusterPods, ClusterPort, ClusterRule, Entity,
    Failsafe, Host, KubernetesPolicy, KubernetesPort, KubernetesRule, LabelSelector, Labels,
    NamedPort, Net, Node, Peer, Pod, Policy, Port, Rank, Rule, Selector, ServiceName, Sources,
    Stage, StagedAction, Way, World,
};

const NAMESPACE: &str = "projectcalico.org/namespace";
const ACCOUNT: &str = "projectcalico.org/serviceaccount";
const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
const NAME: &str = "projectcalico.org/name";
const TCP: u8 = 6;

/// Something that selectors select.
struct Member<'world> {
    labels: Labels,
    /// By what it is, and not by its labels.
    is_in_a_namespace: bool,
    /// None is a network set, or a host endpoint.
    pod: Option<&'world Pod>,
    /// None is a network set, or a pod.
    host: Option<&'world Host>,
    nets: Vec<Net>,
    ports: &'world [NamedPort],
}

/// The lists of policy that an endpoint has (semantics §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Normal,
    Forward,
    Untracked,
    PreDnat,
}

/// Everyone who has an address.
pub(crate) struct Cluster<'world> {
    world: &'world World,
    members: Vec<Member<'world>>,
}

/// What `all()` and `global()` stand for, and what stands before label names (semantics §3.2 to
/// §3.4).
#[derive(Clone, Copy)]
struct Reading {
    prefix: &'static str,
    all: Option<&'static str>,
}

const PLAIN: Reading = Reading {
    prefix: "",
    all: None,
};

/// A step of policy.
enum Step {
    Decided(bool),
    Pass,
    Silent,
}

impl Step {
    /// The step that the first matching rule makes.
    fn of(action: Option<Action>) -> Self {
        match action {
            Some(Action::Allow) => Step::Decided(true),
            Some(Action::Deny) => Step::Decided(false),
            Some(Action::Pass) => Step::Pass,
            Some(Action::Log) | None => Step::Silent,
        }
    }
}

impl<'world> Cluster<'world> {
    pub(crate) fn of(world: &'world World) -> Self {
        let live = world.pods.iter().filter(|pod| is_endpoint(pod));
        let pods = live.map(|pod| Member {
            labels: endpoint_labels(world, pod),
            is_in_a_namespace: true,
            pod: Some(pod),
            host: None,
            nets: pod.addresses.iter().map(alone).collect(),
            ports: &pod.ports,
        });

        let hosts = world.hosts.iter().map(|host| {
            let mut labels = host.labels.clone();
            host.profiles
                .iter()
                .for_each(|name| inherit(&mut labels, profile_labels(world, name)));
            let nets = host.addresses.iter().map(alone).collect();
            Member {
                labels,
                is_in_a_namespace: false,
                pod: None,
                host: Some(host),
                nets,
                ports: &host.ports,
            }
        });

        let sets = world.net_sets.iter().map(|set| {
            let mut labels = set.labels.clone();
            if let Some(namespace) = &set.namespace {
                labels.insert(NAMESPACE.to_owned(), namespace.clone());
                inherit(&mut labels, namespace_labels(world, namespace));
            }
            let is_in_a_namespace = set.namespace.is_some();
            Member {
                labels,
                is_in_a_namespace,
                pod: None,
                host: None,
                nets: set.nets.clone(),
                ports: &[],
            }
        });

        Self {
            world,
            members: pods.chain(sets).chain(hosts).collect(),
        }
    }

    /// What a packet's fate on a node is, and whether it is kept from connection tracking.
    pub(crate) fn verdict(&self, packet: &Packet) -> (Verdict, bool) {
        let way = if packet.hook == Hook::Output {
            Way::Egress
        } else {
            Way::Ingress
        };
        if way == Way::Ingress && self.is_forged(packet) {
            return (Verdict::Drop, packet.state == State::Untracked);
        }

        let sent = sent(packet);
        let untracked = self.early(List::Untracked, way, &sent);
        let kept = packet.state == State::Untracked || untracked == Some(true);
        // what is not tracked is not translated
        let mut seen = if kept {
            Packet {
                state: State::Untracked,
                ..sent.clone()
            }
        } else {
            packet.clone()
        };
        if untracked == Some(false) {
            return (Verdict::Drop, kept);
        }

        let mut marked = untracked == Some(true);
        if way == Way::Ingress && !marked {
            let state = seen.state;
            match self.early(List::PreDnat, way, &Packet { state, ..sent }) {
                Some(false) => return (Verdict::Drop, kept),
                said => marked = said == Some(true),
            }
        }

        seen.original = None;
        let verdict = match packet.hook {
            Hook::Forward => self.forward(&seen, marked),
            Hook::Input => self.input(&seen, marked),
            Hook::Output => self.output(&seen, marked),
        };
        (verdict, kept)
    }

    /// What policy alone says: of the sender's egress and of the receiver's ingress, where they are
    /// endpoints of any node.
    pub(crate) fn policy(&self, packet: &Packet) -> (Option<bool>, Option<bool>) {
        let said = |address, way| {
            self.endpoint(address)
                .map(|member| self.allows(member, way, packet))
        };
        (
            said(packet.source, Way::Egress),
            said(packet.destination, Way::Ingress),
        )
    }

    /// The host endpoints that a policy applies to.
    pub(crate) fn hosts_of(&self, policy: &Policy) -> Vec<&'world Host> {
        self.members
            .iter()
            .filter(|member| self.applies(policy, member))
            .filter_map(|member| member.host)
            .collect()
    }

    /// The host endpoint that a packet meets (semantics §9.36, §10.23).
    fn met(&self, way: Way, packet: &Packet) -> Option<&Member<'world>> {
        let (interface, near) = match way {
            Way::Ingress => (packet.arrives, packet.destination),
            Way::Egress => (packet.leaves, packet.source),
        };

        let mut here: Vec<(&Host, &Member<'world>)> = self
            .members
            .iter()
            .filter_map(|member| Some((member.host?, member)))
            .filter(|(host, _)| host.node == packet.node)
            .collect();
        here.sort_by(|left, right| left.0.name.cmp(&right.0.name));

        let of = |name: &str| {
            here.iter()
                .find(|(host, _)| host.interface.as_deref() == Some(name))
        };
        let by_address = || {
            here.iter()
                .find(|(host, _)| host.interface.is_none() && host.addresses.contains(&near))
        };

        of(interface)
            .or_else(by_address)
            .or_else(|| of("*"))
            .map(|(_, member)| *member)
    }

    /// What untracked or pre-DNAT policy says of a packet, if anything.
    fn early(&self, list: List, way: Way, packet: &Packet) -> Option<bool> {
        let host = self.met(way, packet)?;
        let any = self
            .world
            .policies
            .iter()
            .any(|policy| self.is_on(policy, list, way, host));

        let tracked = list != List::Untracked;
        if !any || tracked && is_known(packet) {
            return None;
        }
        if tracked && packet.state == State::Invalid {
            return Some(false);
        }
        if is_neighbour(packet) || self.is_failsafe(way, packet, !tracked) {
            return None;
        }

        self.says(host, list, way, packet)
    }

    /// Semantics §7.12: the raw table knows no replies, so failsafe ports are open there both ways.
    fn is_failsafe(&self, way: Way, packet: &Packet, both: bool) -> bool {
        let choices = &self.world.choices;
        let (own, other, far) = match way {
            Way::Ingress => (&choices.inbound, &choices.outbound, packet.source),
            Way::Egress => (&choices.outbound, &choices.inbound, packet.destination),
        };
        let open = |failsafe: &Failsafe, port: u16| {
            failsafe.protocol == packet.protocol
                && failsafe.port == port
                && failsafe.net.is_none_or(|net| net.holds(far))
        };

        packet.ports.is_some_and(|(source, destination)| {
            own.iter().any(|failsafe| open(failsafe, destination))
                || both && other.iter().any(|failsafe| open(failsafe, source))
        })
    }

    fn forward(&self, packet: &Packet, marked: bool) -> Verdict {
        if self.is_unknown(packet.node, packet.source)
            || self.is_unknown(packet.node, packet.destination)
        {
            return Verdict::Drop;
        }

        if !marked && self.is_stopped(Way::Ingress, packet) || self.is_stopped(Way::Egress, packet)
        {
            return Verdict::Drop;
        }

        match (
            self.local(packet.node, packet.source),
            self.local(packet.node, packet.destination),
        ) {
            (None, None) => Verdict::NotOurs,
            _ if is_known(packet) => Verdict::Accept,
            _ if packet.state == State::Invalid => Verdict::Drop,
            (source, _) if source.is_some() && self.drops_encapsulated(packet) => Verdict::Drop,
            (source, destination) => {
                let leaves = source.is_none_or(|member| self.allows(member, Way::Egress, packet));
                let enters =
                    destination.is_none_or(|member| self.allows(member, Way::Ingress, packet));
                if leaves && enters {
                    Verdict::Accept
                } else {
                    Verdict::Drop
                }
            }
        }
    }

    /// Whether forward policy stops a packet. Without any, it does not look.
    fn is_stopped(&self, way: Way, packet: &Packet) -> bool {
        let Some(host) = self.met(way, packet) else {
            return false;
        };

        let any = self
            .world
            .policies
            .iter()
            .any(|policy| self.is_on(policy, List::Forward, way, host));

        let denied = || {
            packet.state == State::Invalid
                || self.says(host, List::Forward, way, packet) == Some(false)
        };
        any && !is_known(packet) && denied()
    }

    /// Pod to host, then anyone to the host's endpoints.
    fn input(&self, packet: &Packet, marked: bool) -> Verdict {
        let Some(source) = self.local(packet.node, packet.source) else {
            let unknown = packet.arrives != "lo" && self.is_unknown(packet.node, packet.source);
            return if unknown {
                Verdict::Drop
            } else {
                self.at_host(Way::Ingress, packet, marked)
            };
        };

        let open = !self.world.choices.host_closed
            && packet.state != State::Invalid
            && !self.drops_encapsulated(packet);

        let accepted = is_neighbour(packet)
            || is_known(packet)
            || open && self.allows(source, Way::Egress, packet);
        if accepted {
            Verdict::Accept
        } else {
            Verdict::Drop
        }
    }

    /// Host to pod is not policed; the host's endpoints guard the rest.
    fn output(&self, packet: &Packet, marked: bool) -> Verdict {
        match self.local(packet.node, packet.destination) {
            Some(_) => Verdict::NotOurs,
            None => self.at_host(Way::Egress, packet, marked),
        }
    }

    /// Semantics §4.3 for a host endpoint's own traffic.
    fn at_host(&self, way: Way, packet: &Packet, marked: bool) -> Verdict {
        let Some(host) = self.met(way, packet) else {
            return Verdict::NotOurs;
        };

        let open = marked || is_neighbour(packet) || self.is_failsafe(way, packet, false);
        let accepted = is_known(packet)
            || packet.state != State::Invalid && (open || self.allows(host, way, packet));
        if accepted {
            Verdict::Accept
        } else {
            Verdict::Drop
        }
    }

    fn drops_encapsulated(&self, packet: &Packet) -> bool {
        let vxlan = packet.protocol == 17 && packet.ports.is_some_and(|ports| ports.1 == 4789);
        self.world.choices.encapsulated_dropped && (vxlan || packet.protocol == 4)
    }

    /// Semantics §9.27: the sender claims what is a pod's, or is a pod, and its packets come
    /// another way.
    fn is_forged(&self, packet: &Packet) -> bool {
        let choices = &self.world.choices;
        if matches!(choices.sources, Sources::Logged | Sources::Trusted) {
            return false;
        }

        let named = |link: &&str| match link.strip_suffix('+') {
            Some(start) => packet.arrives.starts_with(start),
            None => packet.arrives == *link,
        };
        let from_pod = choices.pod_links.iter().any(named);
        let in_ranges = |node: &Node| node.ranges.iter().any(|range| range.holds(packet.source));
        let here = self.world.nodes.get(packet.node).is_some_and(in_ranges)
            || self.local(packet.node, packet.source).is_some();
        let anywhere =
            self.world.nodes.iter().any(in_ranges) || self.endpoint(packet.source).is_some();
        let strict = from_pod || here || choices.sources == Sources::Strict && anywhere;

        match packet.route_back {
            RouteBack::Same => false,
            RouteBack::Other => strict,
            RouteBack::Missing => strict || anywhere,
        }
    }

    /// Semantics §9.17: in the node's pod ranges, and no known endpoint has it.
    fn is_unknown(&self, node: usize, address: IpAddr) -> bool {
        let in_range = self
            .world
            .nodes
            .get(node)
            .is_some_and(|node| node.ranges.iter().any(|range| range.holds(address)));
        !self.world.choices.unknown_accepted && in_range && self.endpoint(address).is_none()
    }

    fn endpoint(&self, address: IpAddr) -> Option<&Member<'world>> {
        self.members.iter().find(|member| {
            member
                .pod
                .is_some_and(|pod| pod.addresses.contains(&address))
        })
    }

    fn at(&self, address: IpAddr) -> impl Iterator<Item = &Member<'world>> {
        self.members
            .iter()
            .filter(move |member| member.nets.iter().any(|net| net.holds(address)))
    }

    fn local(&self, node: usize, address: IpAddr) -> Option<&Member<'world>> {
        self.endpoint(address)
            .filter(|member| member.pod.is_some_and(|pod| pod.node == Some(node)))
    }

    /// Semantics §4: tiers, policies, rules in order; without a verdict the profiles decide.
    fn allows(&self, endpoint: &Member<'_>, way: Way, packet: &Packet) -> bool {
        self.says(endpoint, List::Normal, way, packet)
            .unwrap_or_else(|| {
                let workload = endpoint.pod.and_then(|pod| pod.workload.as_ref());
                match (endpoint.host, workload) {
                    (Some(host), _) => self.profiles_allow(&host.profiles, way, packet),
                    (None, Some(workload)) => self.profiles_allow(&workload.profiles, way, packet),
                    (None, None) => true,
                }
            })
    }

    /// What the policies on a list decide. Before connections and before DNAT, the end of a tier
    /// decides nothing (semantics §4.2).
    fn says(&self, endpoint: &Member<'_>, list: List, way: Way, packet: &Packet) -> Option<bool> {
        for (_, pass, policies) in self.tiers() {
            let pass = pass || matches!(list, List::Untracked | List::PreDnat);
            let applying: Vec<&Policy> = policies
                .into_iter()
                .filter(|policy| self.is_on(policy, list, way, endpoint))
                .collect();
            if applying.is_empty() {
                continue;
            }
            match applying
                .iter()
                .map(|policy| self.step(policy, way, packet))
                .find(|step| !matches!(step, Step::Silent))
            {
                Some(Step::Decided(allowed)) => return Some(allowed),
                Some(Step::Pass) => {}
                Some(Step::Silent) | None if pass => {}
                Some(Step::Silent) | None => return Some(false),
            }
        }

        None
    }

    /// Whether a policy applies to an endpoint, speaks about a direction, and is on a list
    /// (semantics §4.2).
    fn is_on(&self, policy: &Policy, list: List, way: Way, endpoint: &Member<'_>) -> bool {
        let stage = match policy {
            Policy::Calico(policy) => policy.stage,
            Policy::Kubernetes(_) | Policy::Cluster(_) => Stage::Plain,
        };

        let listed = match stage {
            Stage::Plain => list == List::Normal,
            Stage::Forwarded => matches!(list, List::Normal | List::Forward),
            Stage::Untracked => list == List::Untracked,
            Stage::PreDnat => list == List::PreDnat && way == Way::Ingress,
        };
        listed && speaks(policy, way) && self.applies(policy, endpoint)
    }

    /// Semantics §4.3.6: profiles in order; one that is not there denies, and so does their
    /// end.
    fn profiles_allow(&self, names: &[String], way: Way, packet: &Packet) -> bool {
        for name in names {
            let step = match origin(name) {
                Origin::Namespace(_) | Origin::BuiltIn => Step::Decided(true),
                Origin::Account(..) => Step::Silent,
                Origin::Object => match self
                    .world
                    .profiles
                    .iter()
                    .find(|profile| profile.name == *name)
                {
                    Some(profile) => self.rules_step(
                        if way == Way::Ingress {
                            &profile.ingress
                        } else {
                            &profile.egress
                        },
                        None,
                        packet,
                    ),
                    None => Step::Decided(false),
                },
            };
            if let Step::Decided(allowed) = step {
                return allowed;
            }
        }

        false
    }

    /// The first rule that matches; Log goes on.
    fn rules_step(&self, rules: &[Rule], namespace: Option<&str>, packet: &Packet) -> Step {
        let mut terminal = rules.iter().filter(|rule| rule.action != Action::Log);
        Step::of(
            terminal
                .find(|rule| self.rule_matches(rule, namespace, packet))
                .map(|rule| rule.action),
        )
    }

    /// Name, whether its default is to pass, policies; all in order (semantics §4.1).
    fn tiers(&self) -> Vec<(String, bool, Vec<&'world Policy>)> {
        let fixed = [
            ("default", 1e6, false),
            ("kube-admin", 1e3, true),
            ("kube-baseline", 1e7, true),
            ("adminnetworkpolicy", 1e3, true),
            ("baselineadminnetworkpolicy", 1e7, true),
        ];

        let mut tiers: Vec<(String, f64, bool)> = fixed
            .into_iter()
            .map(|(name, order, pass)| (name.to_owned(), order, pass))
            .collect();
        tiers.extend(
            self.world
                .tiers
                .iter()
                .map(|tier| (tier.name.clone(), tier.order.unwrap_or(1e6), tier.pass)),
        );
        tiers.sort_by(|left, right| {
            left.1
                .total_cmp(&right.1)
                .then_with(|| left.0.cmp(&right.0))
        });

        let of_tier = |name: &str| {
            let mut policies: Vec<&Policy> = self
                .world
                .policies
                .iter()
                .filter(|policy| tier_of(policy) == name)
                .collect();
            policies.sort_by(|left, right| {
                let ((left, left_tie), (right, right_tie)) = (rank(left), rank(right));
                left.total_cmp(&right)
                    .then_with(|| left_tie.as_bytes().cmp(right_tie.as_bytes()))
            });
            policies
        };

        tiers
            .into_iter()
            .map(|(name, _, pass)| (name.clone(), pass, of_tier(&name)))
            .collect()
    }

    fn applies(&self, policy: &Policy, endpoint: &Member<'_>) -> bool {
        let labels = &endpoint.labels;

        match policy {
            Policy::Calico(policy) => applies_to(policy, labels),
            Policy::Kubernetes(policy) => {
                is_of_kubernetes(endpoint)
                    && labels.get(NAMESPACE) == Some(&policy.namespace)
                    && fits(&policy.pods, labels, "")
            }
            Policy::Cluster(policy) => {
                let pods = policy
                    .subject
                    .pods
                    .as_ref()
                    .is_none_or(|pods| fits(pods, labels, ""));
                is_of_kubernetes(endpoint)
                    && pods
                    && is_in_namespaces(&policy.subject.namespaces, endpoint)
            }
        }
    }

    fn step(&self, policy: &Policy, way: Way, packet: &Packet) -> Step {
        match policy {
            Policy::Calico(policy) => {
                let rules = if way == Way::Ingress {
                    &policy.ingress
                } else {
                    &policy.egress
                };
                self.rules_step(rules, policy.namespace.as_deref(), packet)
            }
            Policy::Kubernetes(policy) => {
                let rules = if way == Way::Ingress {
                    &policy.ingress
                } else {
                    &policy.egress
                };
                let allowed = rules
                    .iter()
                    .any(|rule| self.kubernetes_matches(rule, policy, way, packet));
                if allowed {
                    Step::Decided(true)
                } else {
                    Step::Silent
                }
            }
            Policy::Cluster(policy) => {
                let rules = if way == Way::Ingress {
                    &policy.ingress
                } else {
                    &policy.egress
                };
                Step::of(
                    rules
                        .iter()
                        .find(|rule| self.cluster_matches(rule, way, packet))
                        .map(|rule| rule.action),
                )
            }
        }
    }

    fn rule_matches(&self, rule: &Rule, namespace: Option<&str>, packet: &Packet) -> bool {
        let served = |entity: &Entity| {
            entity
                .service
                .as_ref()
                .map(|service| self.backends(service, namespace))
        };
        let from = served(&rule.source).is_none_or(|backends| {
            backends
                .iter()
                .any(|backend| backend.addresses.contains(&packet.source))
        });
        let to = served(&rule.destination)
            .is_none_or(|backends| backends.iter().any(|backend| is_backend(backend, packet)));
        let sides = [
            (
                &rule.source,
                packet.source,
                packet.ports.map(|ports| ports.0),
            ),
            (
                &rule.destination,
                packet.destination,
                packet.ports.map(|ports| ports.1),
            ),
        ];

        in_family(rule, packet.is_v4())
            && from
            && to
            && rule
                .protocol
                .is_none_or(|protocol| protocol.number == packet.protocol)
            && rule
                .not_protocol
                .is_none_or(|protocol| protocol.number != packet.protocol)
            && rule.icmp.is_none_or(|icmp| {
                packet
                    .icmp
                    .is_some_and(|found| is_icmp(icmp.0, icmp.1, found))
            })
            && rule.not_icmp.is_none_or(|icmp| {
                !packet
                    .icmp
                    .is_some_and(|found| is_icmp(icmp.0, icmp.1, found))
            })
            && sides.into_iter().all(|(entity, address, port)| {
                self.entity_matches(entity, namespace, address, port, rule, packet)
            })
    }

    fn entity_matches(
        &self,
        entity: &Entity,
        namespace: Option<&str>,
        address: IpAddr,
        port: Option<u16>,
        rule: &Rule,
        packet: &Packet,
    ) -> bool {
        let positive = |member: &Member<'_>| is_selected(entity, namespace, &member.labels);
        let excluded = |member: &Member<'_>| {
            entity
                .not_selector
                .as_ref()
                .is_some_and(|selector| holds(selector, &member.labels, PLAIN))
        };
        let has = |member: &&Member<'_>| member.nets.iter().any(|net| net.holds(address));
        let asks = has_positive(entity, namespace);
        // Semantics §3.2: with a positive part the two are one selection; without one the exclusion
        // stands alone
        let who = match (asks, &entity.not_selector) {
            (true, _) => self
                .members
                .iter()
                .filter(has)
                .any(|member| positive(member) && !excluded(member)),
            (false, Some(_)) => !self.members.iter().filter(has).any(excluded),
            (false, None) => true,
        };

        let in_list = |ports: &[Port]| {
            ports.iter().any(|wanted| match wanted {
                Port::Numbers(first, last) => {
                    port.is_some_and(|port| (*first..=*last).contains(&port))
                }
                Port::Name(name) => {
                    let candidates = self
                        .members
                        .iter()
                        .filter(has)
                        .filter(|member| !asks || positive(member) && !excluded(member));
                    let protocol = rule.protocol.map(|protocol| protocol.number);
                    candidates
                        .into_iter()
                        .any(|member| has_port(member.ports, name, protocol, packet.protocol, port))
                }
            })
        };

        who && (entity.nets.is_empty() || entity.nets.iter().any(|net| net.holds(address)))
            && !entity.not_nets.iter().any(|net| net.holds(address))
            && (entity.ports.is_empty() || in_list(&entity.ports))
            && !in_list(&entity.not_ports)
    }

    /// Semantics §9.11, §6.2: the slices of a service, or else its `Endpoints`.
    fn backends(
        &self,
        (stated, name): &(Option<String>, String),
        own: Option<&str>,
    ) -> Vec<&'world Backends> {
        let namespace = stated.as_deref().or(own).unwrap_or_default().to_owned();
        let service = ServiceName {
            namespace,
            name: name.clone(),
        };
        let all = self
            .world
            .backends
            .iter()
            .filter(|backends| backends.service == service);
        let (slices, endpoints): (Vec<_>, Vec<_>) = all.partition(|backends| backends.slice);

        if slices.is_empty() { endpoints } else { slices }
    }

    /// Semantics §5.4.
    fn cluster_matches(&self, rule: &ClusterRule, way: Way, packet: &Packet) -> bool {
        let other = if way == Way::Ingress {
            packet.source
        } else {
            packet.destination
        };

        let peer = |peer: &ClusterPeer| match peer {
            ClusterPeer::Networks(nets) => nets.iter().any(|net| net.holds(other)),
            ClusterPeer::Nodes(nodes) => self
                .world
                .nodes
                .iter()
                .any(|node| node.addresses.contains(&other) && fits(nodes, &node.labels, "")),
            ClusterPeer::Pods(peer) => {
                let here = self
                    .members
                    .iter()
                    .filter(|member| member.nets.iter().any(|net| net.holds(other)));
                here.into_iter().any(|member| is_cluster_peer(peer, member))
            }
        };
        let port = packet.ports.map(|ports| ports.1);

        let wanted = |wanted: &ClusterPort| match wanted {
            ClusterPort::Numbers(protocol, None) => packet.protocol == *protocol,
            ClusterPort::Numbers(protocol, Some((first, last))) => {
                packet.protocol == *protocol
                    && port.is_some_and(|port| (*first..=*last).contains(&port))
            }
            ClusterPort::Name(name) => {
                // Semantics §6.1: of those that the rule selects itself, not of those whose
                // addresses a network set lists
                let selects = |member: &Member<'_>| {
                    let peers = rule.peers.iter();
                    way == Way::Ingress
                        || peers.into_iter().any(|peer| matches!(peer, ClusterPeer::Pods(pods) if is_cluster_peer(pods, member)))
                };
                self.at(packet.destination).any(|member| {
                    selects(member) && has_port(member.ports, name, None, packet.protocol, port)
                })
            }
        };
        rule.peers.iter().any(peer) && (rule.ports.is_empty() || rule.ports.iter().any(wanted))
    }

    fn kubernetes_matches(
        &self,
        rule: &KubernetesRule,
        policy: &KubernetesPolicy,
        way: Way,
        packet: &Packet,
    ) -> bool {
        let other = if way == Way::Ingress {
            packet.source
        } else {
            packet.destination
        };

        let peer = |peer: &Peer| match peer {
            Peer::Block { net, except } => {
                net.holds(other) && !except.iter().any(|except| except.holds(other))
            }
            Peer::Pods { pods, namespaces } => self.endpoint(other).is_some_and(|member| {
                let there = match namespaces {
                    Some(namespaces) => is_in_namespaces(namespaces, member),
                    None => member.labels.get(NAMESPACE) == Some(&policy.namespace),
                };
                is_of_kubernetes(member)
                    && there
                    && pods
                        .as_ref()
                        .is_none_or(|pods| fits(pods, &member.labels, ""))
            }),
        };
        (rule.peers.is_empty() || rule.peers.iter().any(peer))
            && (rule.ports.is_empty()
                || rule
                    .ports
                    .iter()
                    .any(|port| self.kubernetes_port(port, packet)))
    }

    fn kubernetes_port(&self, wanted: &KubernetesPort, packet: &Packet) -> bool {
        let protocol = wanted.protocol.unwrap_or(TCP);
        let port = packet.ports.map(|ports| ports.1);
        protocol == packet.protocol
            && match &wanted.port {
                None => true,
                Some(Port::Numbers(first, last)) => {
                    port.is_some_and(|port| (*first..=*last).contains(&port))
                }
                Some(Port::Name(name)) => self.at(packet.destination).any(|member| {
                    has_port(member.ports, name, Some(protocol), packet.protocol, port)
                }),
            }
    }
}

/// The packet as it was before its destination was translated.
fn sent(packet: &Packet) -> Packet {
    let mut sent = packet.clone();
    if let Some((address, port)) = sent.original.take() {
        sent.destination = address;
        sent.ports = sent
            .ports
            .map(|(source, destination)| (source, port.unwrap_or(destination)));
    }
    sent
}

/// Semantics §9.14.
fn is_known(packet: &Packet) -> bool {
    matches!(packet.state, State::Established | State::Related)
}

/// Semantics §9.16.
fn is_neighbour(packet: &Packet) -> bool {
    let found = packet.protocol == 58
        && packet
            .icmp
            .is_some_and(|(kind, _)| [130, 131, 132, 133, 135, 136, 143].contains(&kind));
    found && !packet.is_v4()
}

fn is_backend(backends: &Backends, packet: &Packet) -> bool {
    let port = packet.ports.map(|ports| (packet.protocol, ports.1));
    backends.addresses.contains(&packet.destination)
        && port.is_some_and(|port| backends.ports.contains(&port))
}

/// Whole namespaces include their network sets, pods are pods (semantics §5.4).
fn is_cluster_peer(peer: &ClusterPods, member: &Member<'_>) -> bool {
    let pods = |pods: &LabelSelector| is_of_kubernetes(member) && fits(pods, &member.labels, "");
    is_in_namespaces(&peer.namespaces, member) && peer.pods.as_ref().is_none_or(pods)
}

/// Whether something is in a namespace that a Kubernetes policy selects (semantics §9.30). Global
/// network sets and host endpoints are in none, whatever their labels say.
fn is_in_namespaces(selected: &LabelSelector, member: &Member<'_>) -> bool {
    member.is_in_a_namespace && fits(selected, &member.labels, "pcns.")
}

/// What Kubernetes policy knows as a pod (semantics §5.1, §5.4): by its label.
fn is_of_kubernetes(member: &Member<'_>) -> bool {
    member
        .labels
        .get(ORCHESTRATOR)
        .is_some_and(|orchestrator| orchestrator == "k8s")
}

fn is_endpoint(pod: &Pod) -> bool {
    !pod.finished && !pod.host_network && pod.node.is_some() && !pod.addresses.is_empty()
}

fn alone(address: &IpAddr) -> Net {
    Net {
        address: *address,
        length: if address.is_ipv4() { 32 } else { 128 },
    }
}

/// Own labels, then those of the profiles in order; the first that has a key wins (semantics §3.1).
/// A pod's profiles are its namespace's and its service account's.
fn endpoint_labels(world: &World, pod: &Pod) -> Labels {
    let mut labels = pod.labels.clone();
    labels.retain(|key, _| !key.starts_with("pcns.") && !key.starts_with("pcsa."));
    let orchestrator = pod
        .workload
        .as_ref()
        .map_or("k8s", |workload| &workload.orchestrator);
    // semantics §9.6, which is of pods
    let account = pod
        .account
        .as_deref()
        .or(pod.workload.is_none().then_some("default"));

    for (key, value) in [
        (NAMESPACE, Some(pod.namespace.as_str())),
        (ORCHESTRATOR, Some(orchestrator)),
        (ACCOUNT, account),
    ] {
        labels.extend(value.map(|value| (key.to_owned(), value.to_owned())));
    }

    match &pod.workload {
        None => {
            inherit(&mut labels, namespace_labels(world, &pod.namespace));
            inherit(
                &mut labels,
                account_labels(world, &pod.namespace, account.unwrap_or_default()),
            );
        }
        Some(workload) => workload
            .profiles
            .iter()
            .for_each(|name| inherit(&mut labels, profile_labels(world, name))),
    }

    labels
}

/// Where a profile comes from, by its name.
enum Origin<'name> {
    Namespace(&'name str),
    Account(&'name str, &'name str),
    BuiltIn,
    Object,
}

fn origin(name: &str) -> Origin<'_> {
    if name == "projectcalico-default-allow" {
        return Origin::BuiltIn;
    }
    if let Some(namespace) = name.strip_prefix("kns.") {
        return Origin::Namespace(namespace);
    }

    match name
        .strip_prefix("ksa.")
        .and_then(|rest| rest.split_once('.'))
    {
        Some((namespace, account)) => Origin::Account(namespace, account),
        None => Origin::Object,
    }
}

fn profile_labels(world: &World, name: &str) -> Labels {
    match origin(name) {
        Origin::Namespace(namespace) => namespace_labels(world, namespace),
        Origin::Account(namespace, account) => account_labels(world, namespace, account),
        Origin::BuiltIn => Labels::new(),
        Origin::Object => world
            .profiles
            .iter()
            .find(|profile| profile.name == name)
            .map(|profile| profile.labels.clone())
            .unwrap_or_default(),
    }
}

fn account_labels(world: &World, namespace: &str, account: &str) -> Labels {
    let mut given = world
        .accounts
        .get(&(namespace.to_owned(), account.to_owned()))
        .cloned()
        .unwrap_or_default();
    given.insert(NAME.to_owned(), account.to_owned());
    given
        .into_iter()
        .map(|(key, value)| (format!("pcsa.{key}"), value))
        .collect()
}

/// The world in which what is proposed has become so (semantics §2.5).
pub(crate) fn with_staged(world: &World) -> World {
    let mut after = world.clone();
    for staged in after
        .staged
        .drain(..)
        .filter(|staged| staged.action != StagedAction::Ignore)
    {
        let replaced = name_of(&staged.policy);
        after.policies.retain(|policy| name_of(policy) != replaced);
        after
            .policies
            .extend(Some(staged.policy).filter(|_| staged.action != StagedAction::Delete));
    }

    after
}

/// Kind, namespace and name.
fn name_of(policy: &Policy) -> (&'static str, &str, &str) {
    match policy {
        Policy::Calico(policy) => match &policy.namespace {
            Some(namespace) => ("NetworkPolicy", namespace, &policy.name),
            None => ("GlobalNetworkPolicy", "", &policy.name),
        },
        Policy::Kubernetes(policy) => ("KubernetesNetworkPolicy", &policy.namespace, &policy.name),
        Policy::Cluster(policy) => ("one that is never staged", "", &policy.name),
    }
}

/// What members of a namespace inherit. The API server labels every namespace with its name.
fn namespace_labels(world: &World, namespace: &str) -> Labels {
    let mut given = world.namespaces.get(namespace).cloned().unwrap_or_default();
    given.insert(NAME.to_owned(), namespace.to_owned());
    given.insert(
        "kubernetes.io/metadata.name".to_owned(),
        namespace.to_owned(),
    );
    given
        .into_iter()
        .map(|(key, value)| (format!("pcns.{key}"), value))
        .collect()
}

fn inherit(labels: &mut Labels, parents: Labels) {
    for (key, value) in parents {
        labels.entry(key).or_insert(value);
    }
}

fn holds(selector: &Selector, labels: &Labels, reading: Reading) -> bool {
    let value = |key: &str| {
        labels
            .get(&format!("{}{key}", reading.prefix))
            .map(String::as_str)
    };

    match selector {
        Selector::All => reading.all.is_none_or(|key| labels.contains_key(key)),
        Selector::Global => !labels.contains_key(NAMESPACE),
        Selector::Has(key) => value(key).is_some(),
        Selector::Equals(key, wanted) => value(key) == Some(wanted),
        Selector::Differs(key, unwanted) => value(key) != Some(unwanted),
        Selector::In(key, values) => {
            value(key).is_some_and(|value| values.iter().any(|wanted| wanted == value))
        }
        Selector::NotIn(key, values) => {
            !value(key).is_some_and(|value| values.iter().any(|wanted| wanted == value))
        }
        Selector::Contains(key, part) => {
            value(key).is_some_and(|value| value.contains(part.as_str()))
        }
        Selector::Starts(key, part) => {
            value(key).is_some_and(|value| value.starts_with(part.as_str()))
        }
        Selector::Ends(key, part) => value(key).is_some_and(|value| value.ends_with(part.as_str())),
        Selector::Not(operand) => !holds(operand, labels, reading),
        Selector::And(parts) => parts.iter().all(|part| holds(part, labels, reading)),
        Selector::Or(parts) => parts.iter().any(|part| holds(part, labels, reading)),
    }
}

/// A Kubernetes label selector; `prefix` stands before every key.
fn fits(selector: &LabelSelector, labels: &Labels, prefix: &str) -> bool {
    let value = |key: &str| labels.get(&format!("{prefix}{key}"));
    let listed =
        |key: &str, values: &[String]| value(key).is_some_and(|value| values.contains(value));

    selector
        .labels
        .iter()
        .all(|(key, wanted)| value(key) == Some(wanted))
        && selector
            .expressions
            .iter()
            .all(|expression| match expression.operator {
                "In" => listed(&expression.key, &expression.values),
                "NotIn" => !listed(&expression.key, &expression.values),
                "Exists" => value(&expression.key).is_some(),
                _ => value(&expression.key).is_none(),
            })
}

/// Semantics §3.4.
fn applies_to(policy: &CalicoPolicy, labels: &Labels) -> bool {
    let asks = |selector: &Option<Selector>, reading| {
        selector
            .as_ref()
            .is_none_or(|selector| holds(selector, labels, reading))
    };
    if let Some(namespace) = &policy.namespace {
        return labels.get(NAMESPACE) == Some(namespace)
            && asks(&policy.selector, PLAIN)
            && asks(
                &policy.accounts,
                Reading {
                    prefix: "pcsa.",
                    all: None,
                },
            );
    }

    let own = match (&policy.namespaces, &policy.accounts) {
        (Some(_), _) => Some(NAMESPACE),
        (None, Some(_)) => Some(ACCOUNT),
        (None, None) => None,
    };

    asks(
        &policy.selector,
        Reading {
            prefix: "",
            all: own,
        },
    ) && asks(
        &policy.namespaces,
        Reading {
            prefix: "pcns.",
            all: Some(NAMESPACE),
        },
    ) && asks(
        &policy.accounts,
        Reading {
            prefix: "pcsa.",
            all: Some(ACCOUNT),
        },
    )
}

/// Whether a side of a rule asks for anyone in particular (semantics §3.2).
fn has_positive(entity: &Entity, namespace: Option<&str>) -> bool {
    let named = entity.selector.is_some()
        || entity.accounts.is_some()
        || !entity.account_names.is_empty()
        || entity.namespaces.is_some();
    named || namespace.is_some() && entity.not_selector.is_some()
}

/// The positive part of a side (semantics §3.2, §3.3).
fn is_selected(entity: &Entity, namespace: Option<&str>, labels: &Labels) -> bool {
    let there = match (&entity.namespaces, namespace) {
        (Some(selector), _) => holds(
            selector,
            labels,
            Reading {
                prefix: "pcns.",
                all: Some(NAMESPACE),
            },
        ),
        (None, Some(namespace)) => labels.get(NAMESPACE).is_some_and(|own| own == namespace),
        (None, None) => true,
    };

    there
        && (entity.account_names.is_empty()
            || labels
                .get(ACCOUNT)
                .is_some_and(|account| entity.account_names.contains(account)))
        && entity.accounts.as_ref().is_none_or(|selector| {
            holds(
                selector,
                labels,
                Reading {
                    prefix: "pcsa.",
                    all: None,
                },
            )
        })
        && entity
            .selector
            .as_ref()
            .is_none_or(|selector| holds(selector, labels, PLAIN))
}

/// Semantics §6.3, §6.4.
fn in_family(rule: &Rule, v4: bool) -> bool {
    let lists = [
        &rule.source.nets,
        &rule.source.not_nets,
        &rule.destination.nets,
        &rule.destination.not_nets,
    ];
    let asks_type = rule.icmp.is_some() || rule.not_icmp.is_some();
    let tied = rule
        .protocol
        .filter(|protocol| protocol.named || asks_type)
        .map(|protocol| protocol.number);

    rule.version.is_none_or(|version| (version == 4) == v4)
        && !(tied == Some(1) && !v4 || tied == Some(58) && v4)
        && lists
            .into_iter()
            .all(|list| list.is_empty() || list.iter().any(|net| net.address.is_ipv4() == v4))
}

fn is_icmp(kind: u8, code: Option<u8>, found: (u8, u8)) -> bool {
    kind == found.0 && code.is_none_or(|code| code == found.1)
}

/// Semantics §6.1: a port of that name, of the rule's protocol where it has one with ports, and of
/// the packet's protocol and number.
fn has_port(
    ports: &[NamedPort],
    name: &str,
    wanted: Option<u8>,
    protocol: u8,
    number: Option<u16>,
) -> bool {
    ports.iter().any(|port| {
        port.name == name
            && wanted.is_none_or(|wanted| wanted == port.protocol)
            && port.protocol == protocol
            && Some(port.number) == number
    })
}

/// Semantics §2.3 and §5.1, the latter with the API server's default.
fn speaks(policy: &Policy, way: Way) -> bool {
    let (types, ingress, egress, kubernetes) = match policy {
        Policy::Cluster(policy) if way == Way::Ingress => return !policy.ingress.is_empty(),
        Policy::Cluster(policy) => return !policy.egress.is_empty(),
        Policy::Calico(policy) => (
            &policy.types,
            policy.ingress.is_empty(),
            policy.egress.is_empty(),
            false,
        ),
        Policy::Kubernetes(policy) => (
            &policy.types,
            policy.ingress.is_empty(),
            policy.egress.is_empty(),
            true,
        ),
    };

    match (types.is_empty(), way) {
        (false, _) => types.contains(&way),
        (true, Way::Ingress) => kubernetes || !ingress || egress,
        (true, Way::Egress) => !egress,
    }
}

fn tier_of(policy: &Policy) -> &str {
    match policy {
        Policy::Calico(policy) => policy.tier.as_deref().unwrap_or("default"),
        Policy::Kubernetes(_) => "default",
        Policy::Cluster(policy) => match policy.rank {
            Rank::Admin => "kube-admin",
            Rank::Baseline => "kube-baseline",
            Rank::OldAdmin => "adminnetworkpolicy",
            Rank::OldBaseline => "baselineadminnetworkpolicy",
        },
    }
}

/// Order, and the text that breaks ties.
fn rank(policy: &Policy) -> (f64, String) {
    match policy {
        Policy::Calico(policy) => {
            let order = policy.order.unwrap_or(f64::INFINITY);
            match &policy.namespace {
                Some(namespace) => (order, format!("{}/{namespace}/NetworkPolicy", policy.name)),
                None => (order, format!("{}//GlobalNetworkPolicy", policy.name)),
            }
        }
        // the one baseline policy of the old kind has no priority
        Policy::Cluster(policy) if policy.rank == Rank::OldBaseline => (
            f64::INFINITY,
            format!("{}//KubernetesBaselineAdminNetworkPolicy", policy.name),
        ),
        Policy::Cluster(policy) if policy.rank == Rank::OldAdmin => (
            policy.priority.into(),
            format!("{}//KubernetesAdminNetworkPolicy", policy.name),
        ),
        Policy::Cluster(policy) => (
            policy.priority.into(),
            format!("{}//KubernetesClusterNetworkPolicy", policy.name),
        ),
        Policy::Kubernetes(policy) => (
            1000.0,
            format!(
                "{}/{}/KubernetesNetworkPolicy",
                policy.name, policy.namespace
            ),
        ),
    }
}
