//! Random worlds and packets. Everything comes from a few words, so that selectors select some,
//! ranges overlap, and packets fall on the edges of what policies name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::hosts;
use super::packet::{Hook, Packet, RouteBack, State};
use super::world::{
    Action, Backends, CalicoPolicy, Choices, ClusterPeer, ClusterPods, ClusterPolicy, ClusterPort,
    ClusterRule, Entity, Failsafe, KubernetesPolicy, KubernetesPort, KubernetesRule, LabelSelector,
    Labels, NamedPort, Net, NetSet, Node, Peer, Pod, Policy, Port, Profile, Protocol, Rank,
    Requirement, Rule, Selector, ServiceName, Sources, Stage, Staged, StagedAction, Tier, Way,
    Workload, World, address, number,
};

/// Random numbers by splitmix64 (Steele, Lea, Flood 2014).
pub(crate) struct Dice(pub(crate) u64);

const KEYS: [&str; 3] = ["app", "env", "team"];
const VALUES: [&str; 3] = ["ab", "abc", "xb"];
const NAMESPACES: [&str; 3] = ["one", "two", "three"];
const ACCOUNTS: [&str; 3] = ["default", "api", "web"];
const SERVICES: [&str; 2] = ["db", "web"];
/// Names of Profile objects; no world has the last.
const OBJECTS: [&str; 4] = ["first", "second", "third", "missing"];
const PROFILES: [&str; 9] = [
    "kns.one",
    "kns.two",
    "kns.nowhere",
    "ksa.one.api",
    "ksa.one.web",
    "ksa.two.default",
    "ksa.nowhere.web",
    "ksa.three.with.dots",
    "projectcalico-default-allow",
];
pub(super) const PORT_NAMES: [&str; 3] = ["http", "dns", "sig"];
pub(crate) const PORTS: [u16; 10] = [1, 53, 79, 80, 81, 90, 443, 4789, 8080, 65535];
pub(super) const V4: [&str; 12] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.0/29",
    "10.1.1.2/31",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "203.0.113.0/24",
    "203.0.113.128/25",
];
pub(super) const V6: [&str; 9] = [
    "::/0",
    "8000::/1",
    "fd00::/16",
    "fd00:1::/64",
    "fd00:1::/125",
    "fd00:2::/64",
    "fd00:2::3/128",
    "2001:db8::/32",
    "2001:db8:8000::/33",
];
/// Interfaces of nodes; pods are behind the last ones.
pub(super) const INTERFACES: [&str; 5] = ["eth0", "eth1", "lo", "cali0", "cali1"];
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const SCTP: u8 = 132;

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or_default()
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<Item: Clone>(&mut self, items: &[Item]) -> Item {
        let index = self.below(items.len());
        items.get(index).expect("an item").clone()
    }

    pub(super) fn word(&mut self, words: &[&str]) -> String {
        self.pick(words).to_owned()
    }

    pub(super) fn maybe<Item>(
        &mut self,
        percent: usize,
        make: impl FnOnce(&mut Self) -> Item,
    ) -> Option<Item> {
        self.chance(percent).then(|| make(self))
    }

    /// Up to `most` items, none of them more often than the others.
    pub(super) fn some<Item>(
        &mut self,
        least: usize,
        most: usize,
        mut make: impl FnMut(&mut Self) -> Item,
    ) -> Vec<Item> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }
}

/// A prefix, written without host bits.
pub(crate) fn net(text: &str) -> Net {
    let (address, length) = text.split_once('/').expect("a prefix");
    Net {
        address: address.parse().expect("an address"),
        length: length.parse().expect("a length"),
    }
}

/// A random cluster with random policies.
pub(crate) fn world(dice: &mut Dice) -> World {
    let mut world = World::default();
    let nodes = 2 + dice.below(2);
    world.nodes = (0..nodes).map(|index| node(dice, index)).collect();
    for namespace in NAMESPACES.iter().take(2 + dice.below(2)) {
        world
            .namespaces
            .insert((*namespace).to_owned(), labels(dice));
        for account in ACCOUNTS {
            if dice.chance(60) {
                world
                    .accounts
                    .insert(((*namespace).to_owned(), account.to_owned()), labels(dice));
            }
        }
    }

    let pods = 6 + dice.below(7);
    world.pods = (0..pods).map(|index| pod(dice, index, nodes)).collect();
    world.profiles = OBJECTS
        .iter()
        .take(1 + dice.below(3))
        .map(|name| profile(dice, name))
        .collect();

    if dice.chance(60) {
        let endpoints = 1 + dice.below(5);
        world
            .pods
            .extend((pods..pods + endpoints).map(|index| workload(dice, index, nodes)));
    }

    world.hosts = hosts::some(dice, nodes);
    world.net_sets = (0..dice.below(4))
        .map(|index| net_set(dice, index))
        .collect();

    for _ in 0..dice.below(6) {
        let backends = backends(dice, &world);
        // the same `Endpoints` twice is an error
        let known = world
            .backends
            .iter()
            .any(|other| !other.slice && other.service == backends.service);
        world
            .backends
            .extend(Some(backends).filter(|backends| backends.slice || !known));
    }

    world.tiers = tiers(dice);
    let tiers: Vec<String> = world.tiers.iter().map(|tier| tier.name.clone()).collect();
    world.policies = (0..2 + dice.below(7))
        .map(|_| policy(dice, &tiers))
        .collect();
    hosts::add_policies(dice, &mut world, &tiers);

    if dice.chance(30) {
        world.policies.iter_mut().for_each(tie);
    }

    if dice.chance(25) {
        // few enough for profiles to decide
        world.policies.truncate(1);
    }

    let mut taken = BTreeSet::new();
    world
        .policies
        .retain(|policy| taken.insert(identity(policy)));

    if dice.chance(35) {
        world.staged = staged(dice, &world.policies, &tiers);
    }

    let cluster = dice.below(4);
    let old_baseline = dice.chance(25);
    world
        .policies
        .extend((0..cluster).map(|index| Policy::Cluster(cluster_policy(dice, index))));
    world
        .policies
        .extend(old_baseline.then(|| Policy::Cluster(old_baseline_policy(dice))));
    world.choices = choices(dice);
    hosts::settle(&mut world);

    world
}

fn tiers(dice: &mut Dice) -> Vec<Tier> {
    let count = dice.below(4);
    ["admin", "last", "late"]
        .iter()
        .take(count)
        .map(|name| Tier {
            name: (*name).to_owned(),
            order: dice.maybe(60, order),
            pass: dice.chance(40),
        })
        .collect()
}

fn choices(dice: &mut Dice) -> Choices {
    Choices {
        host_closed: dice.chance(15),
        unknown_accepted: dice.chance(15),
        encapsulated_dropped: dice.chance(15),
        sources: if dice.chance(60) {
            Sources::Strict
        } else {
            dice.pick(&[
                Sources::Loose,
                Sources::Loose,
                Sources::Logged,
                Sources::Trusted,
            ])
        },
        pod_links: dice
            .maybe(40, |dice| {
                dice.pick(&[vec!["cali+"], vec!["cali0", "eth1"], vec!["c+", "cali1"]])
            })
            .unwrap_or_default(),
        inbound: hosts::failsafes(dice),
        outbound: hosts::failsafes(dice),
    }
}

fn node(dice: &mut Dice, index: usize) -> Node {
    let number = index + 1;
    let v4 = dice.maybe(75, |_| net(&format!("10.1.{number}.0/24")));
    let v6 = dice.maybe(50, |_| net(&format!("fd00:{number}::/64")));
    Node {
        name: format!("node-{index}"),
        ranges: v4.into_iter().chain(v6).collect(),
        addresses: node_addresses(dice, index),
        labels: labels(dice),
    }
}

/// What a node gets for itself bears an address of its own, whether the manifests tell it or not.
pub(crate) fn own_address(node: usize, v4: bool) -> IpAddr {
    let own = if v4 {
        format!("203.0.113.{}", 125 + node)
    } else {
        format!("2001:db8:8000::{node}")
    };
    own.parse().expect("an address")
}

fn node_addresses(dice: &mut Dice, index: usize) -> Vec<IpAddr> {
    [true, false]
        .into_iter()
        .filter_map(|v4| dice.maybe(80, |_| own_address(index, v4)))
        .collect()
}

/// A slice has addresses of one family. Some services have both slices and `Endpoints`.
fn backends(dice: &mut Dice, world: &World) -> Backends {
    let (v4, slice) = (dice.chance(60), dice.chance(70));
    let pods: Vec<IpAddr> = world
        .pods
        .iter()
        .flat_map(|pod| pod.addresses.iter().copied())
        .filter(|address| address.is_ipv4() == v4)
        .collect();
    let address = |dice: &mut Dice| match pods.is_empty() || dice.chance(15) {
        true => if v4 {
            "203.0.113.128"
        } else {
            "2001:db8:8000::"
        }
        .parse()
        .expect("an address"),
        false => dice.pick(&pods),
    };

    let new = ServiceName {
        namespace: dice.word(&NAMESPACES),
        name: dice.word(&SERVICES),
    };
    let known = world
        .backends
        .last()
        .filter(|_| dice.chance(60))
        .map(|backends| backends.service.clone());

    let mut backends = Backends {
        slice,
        service: known.unwrap_or(new),
        addresses: dice.some(0, 4, address),
        ports: dice.some(0, 3, |dice| {
            (dice.pick(&[TCP, TCP, UDP, SCTP]), dice.pick(&PORTS))
        }),
    };
    if backends.addresses.is_empty() {
        backends.ports.clear();
    }

    backends
}

/// The address is mostly in the node's own range, and sometimes in the next one's.
fn pod(dice: &mut Dice, index: usize, nodes: usize) -> Pod {
    let node = dice.below(nodes);
    let range = if dice.chance(85) {
        node + 1
    } else {
        (node + 1) % nodes + 1
    };

    let v4 = address(
        u128::from(u32::from_be_bytes([10, 1, 0, 0])) + (range as u128) * 256 + index as u128 + 2,
        true,
    );
    let v6: IpAddr = format!("fd00:{range}::{:x}", index + 2)
        .parse()
        .expect("an address");
    let addresses = match dice.below(10) {
        0..=4 => vec![v4],
        5..=8 => vec![v4, v6],
        _ => vec![v6],
    };
    let mut labels = labels(dice);

    if dice.chance(10) {
        labels.insert(
            "projectcalico.org/serviceaccount".to_owned(),
            "api".to_owned(),
        );
        labels.insert(
            dice.word(&["pcns.env", "pcsa.team", "pcns.app"]),
            dice.word(&VALUES),
        );
    }

    Pod {
        workload: None,
        namespace: dice.word(&NAMESPACES),
        name: format!("pod-{index}"),
        node: dice.chance(97).then_some(node),
        account: dice.maybe(70, |dice| dice.word(&ACCOUNTS)),
        labels,
        addresses,
        ports: dice.some(0, 3, |dice| NamedPort {
            name: dice.word(&PORT_NAMES),
            protocol: dice.pick(&[TCP, TCP, UDP, SCTP]),
            number: dice.pick(&PORTS),
        }),
        finished: dice.chance(3),
        host_network: dice.chance(3),
    }
}

/// An endpoint that is no pod, or one as Calico writes it for a pod.
fn workload(dice: &mut Dice, index: usize, nodes: usize) -> Pod {
    let mut pod = Pod {
        name: format!("endpoint-{index}"),
        finished: false,
        host_network: false,
        ..pod(dice, index, nodes)
    };

    if pod.node.is_none() {
        pod.node = Some(0);
    }

    if dice.chance(20) {
        pod.labels.insert(
            "projectcalico.org/orchestrator".to_owned(),
            "k8s".to_owned(),
        );
    }

    let profiles = profiles(dice);
    pod.workload = Some(Workload {
        orchestrator: dice.word(&["k8s", "openstack", "cni"]),
        profiles,
    });
    pod
}

pub(super) fn profiles(dice: &mut Dice) -> Vec<String> {
    dice.some(0, 4, |dice| {
        if dice.chance(65) {
            dice.pick(&OBJECTS[..])
        } else {
            dice.pick(&PROFILES[..])
        }
        .to_owned()
    })
}

fn profile(dice: &mut Dice, name: &str) -> Profile {
    let mut labels = labels(dice);
    if dice.chance(40) {
        let key = dice.word(&[
            "pcsa.team",
            "pcns.env",
            "projectcalico.org/serviceaccount",
            "pcsa.projectcalico.org/name",
        ]);
        let value = if key.contains("projectcalico.org") {
            dice.word(&ACCOUNTS)
        } else {
            dice.word(&VALUES)
        };
        labels.insert(key, value);
    }

    Profile {
        name: name.to_owned(),
        labels,
        ingress: dice.some(0, 4, |dice| profile_rule(dice, Way::Ingress)),
        egress: dice.some(0, 4, |dice| profile_rule(dice, Way::Egress)),
    }
}

/// A rule that is broad often enough to be the one that decides.
pub(super) fn profile_rule(dice: &mut Dice, way: Way) -> Rule {
    let rule = rule(dice, true, false, way);
    if dice.chance(60) {
        return rule;
    }

    let action = dice.pick(&[
        Action::Allow,
        Action::Allow,
        Action::Allow,
        Action::Deny,
        Action::Deny,
        Action::Pass,
        Action::Pass,
        Action::Log,
    ]);

    let peer = Entity {
        selector: dice.maybe(60, peer_selector),
        ..Entity::default()
    };
    let (source, destination) = if way == Way::Ingress {
        (peer, Entity::default())
    } else {
        (Entity::default(), peer)
    };

    let plain = Rule {
        action,
        version: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        http: false,
        source,
        destination,
        ..rule
    };

    Rule {
        protocol: plain.protocol.filter(|_| dice.chance(30)),
        ..plain
    }
}

/// Proposals, mostly of policies that are there.
fn staged(dice: &mut Dice, policies: &[Policy], tiers: &[String]) -> Vec<Staged> {
    let mut taken = BTreeSet::new();
    let all = dice.some(1, 4, |dice| {
        let action = dice.pick(&[
            StagedAction::Unsaid,
            StagedAction::Set,
            StagedAction::Set,
            StagedAction::Learn,
            StagedAction::Ignore,
            StagedAction::Delete,
        ]);
        let mut policy = policy(dice, tiers);
        if !policies.is_empty() && dice.chance(70) {
            let (of_calico, namespace, name) = identity(&dice.pick(policies));
            policy = match (of_calico, namespace) {
                (true, namespace) => Policy::Calico(CalicoPolicy {
                    namespace: namespace.clone(),
                    ..calico(dice, name, namespace.is_some(), tiers)
                }),
                (false, namespace) => kubernetes(dice, namespace.unwrap_or_default(), name),
            };
        }
        Staged { action, policy }
    });

    all.into_iter()
        .filter(|staged| taken.insert(identity(&staged.policy)))
        .collect()
}

fn net_set(dice: &mut Dice, index: usize) -> NetSet {
    let namespace = dice.maybe(50, |dice| dice.word(&NAMESPACES));
    let mut labels = labels(dice);
    if dice.chance(15) {
        labels.insert("pcsa.team".to_owned(), dice.word(&VALUES));
    }

    if namespace.is_none() {
        claim_a_namespace(dice, &mut labels);
    }

    let nets = dice.some(0, 4, |dice| {
        if dice.chance(65) {
            dice.word(&V4)
        } else {
            dice.word(&V6)
        }
    });

    NetSet {
        namespace,
        name: format!("set-{index}"),
        labels,
        nets: nets.iter().map(|text| net(text)).collect(),
    }
}

/// Gives labels of a namespace or of a pod to what is neither, as whoever writes it may.
pub(super) fn claim_a_namespace(dice: &mut Dice, labels: &mut Labels) {
    if dice.chance(25) {
        labels.insert(
            dice.word(&["pcns.env", "pcns.team", "pcns.app"]),
            dice.word(&VALUES),
        );
    }

    if dice.chance(25) {
        labels.insert(
            "projectcalico.org/orchestrator".to_owned(),
            "k8s".to_owned(),
        );
    }
}

pub(crate) fn labels(dice: &mut Dice) -> Labels {
    // an empty value is one, and hides an inherited one
    let value = |dice: &mut Dice| {
        if dice.chance(8) {
            String::new()
        } else {
            dice.word(&VALUES)
        }
    };

    KEYS.iter()
        .filter_map(|key| dice.maybe(60, |dice| ((*key).to_owned(), value(dice))))
        .collect()
}

fn order(dice: &mut Dice) -> f64 {
    dice.pick(&[
        -1.0, 0.0, 0.5, 999.0, 1000.0, 1000.0, 1000.0, 1001.0, 1e6, 1e7,
    ])
}

fn policy(dice: &mut Dice, tiers: &[String]) -> Policy {
    let name = dice.word(&["a", "a-b", "b", "c"]);
    match dice.below(10) {
        0..=2 => {
            let namespace = dice.word(&NAMESPACES);
            kubernetes(dice, namespace, name)
        }
        kind => Policy::Calico(calico(dice, name, kind < 7, tiers)),
    }
}

fn kubernetes(dice: &mut Dice, namespace: String, name: String) -> Policy {
    Policy::Kubernetes(KubernetesPolicy {
        namespace,
        name,
        pods: label_selector(dice),
        types: types(dice),
        ingress: dice.some(0, 2, kubernetes_rule),
        egress: dice.some(0, 2, kubernetes_rule),
    })
}

/// Puts a policy where many are: in tier `default`, at the order of Kubernetes policies, for whole
/// namespaces.
fn tie(policy: &mut Policy) {
    if let Policy::Calico(policy) = policy {
        (policy.tier, policy.order, policy.selector, policy.accounts) =
            (None, Some(1000.0), None, None);
    }
}

/// Kind, namespace and name; the generator makes none twice.
fn identity(policy: &Policy) -> (bool, Option<String>, String) {
    match policy {
        Policy::Calico(policy) => (true, policy.namespace.clone(), policy.name.clone()),
        Policy::Kubernetes(policy) => (false, Some(policy.namespace.clone()), policy.name.clone()),
        // made after the others, each with a name of its own
        Policy::Cluster(policy) => (false, None, policy.name.clone()),
    }
}

pub(super) fn calico(
    dice: &mut Dice,
    name: String,
    namespaced: bool,
    tiers: &[String],
) -> CalicoPolicy {
    let built_in = [
        "default",
        "kube-admin",
        "kube-baseline",
        "adminnetworkpolicy",
        "baselineadminnetworkpolicy",
    ]
    .map(str::to_owned);
    let passing = dice.chance(60);

    CalicoPolicy {
        namespace: namespaced.then(|| dice.word(&NAMESPACES)),
        name,
        tier: dice.maybe(60, |dice| {
            if tiers.is_empty() || dice.chance(30) {
                dice.pick(&built_in)
            } else {
                dice.pick(tiers)
            }
        }),
        order: dice.maybe(50, order),
        selector: dice.maybe(60, |dice| selector(dice, 2)),
        namespaces: if namespaced {
            None
        } else {
            dice.maybe(40, |dice| selector(dice, 1))
        },
        accounts: dice.maybe(30, |dice| selector(dice, 1)),
        types: types(dice),
        stage: Stage::Plain,
        ingress: dice.some(0, 4, |dice| rule(dice, passing, namespaced, Way::Ingress)),
        egress: dice.some(0, 4, |dice| rule(dice, passing, namespaced, Way::Egress)),
    }
}

fn types(dice: &mut Dice) -> Vec<Way> {
    dice.pick(&[
        vec![],
        vec![],
        vec![Way::Ingress],
        vec![Way::Egress],
        vec![Way::Ingress, Way::Egress],
        vec![Way::Egress, Way::Ingress],
    ])
}

pub(super) fn selector(dice: &mut Dice, depth: usize) -> Selector {
    let parts = |dice: &mut Dice| dice.some(2, 3, |dice| selector(dice, depth - 1));
    let key = dice.word(&KEYS);

    match dice.below(if depth == 0 { 9 } else { 13 }) {
        0 => Selector::All,
        1 => Selector::Has(key),
        2 | 3 => Selector::Equals(key, dice.word(&VALUES)),
        4 => Selector::Differs(key, dice.word(&VALUES)),
        5 => Selector::In(key, dice.some(0, 3, |dice| dice.word(&VALUES))),
        6 => Selector::NotIn(key, dice.some(0, 3, |dice| dice.word(&VALUES))),
        7 => Selector::Contains(key, dice.word(&["b", "bc", ""])),
        8 if dice.chance(50) => Selector::Starts(key, dice.word(&["a", "x", ""])),
        8 => Selector::Ends(key, dice.word(&["b", "bc", ""])),
        9 | 10 => Selector::Not(Box::new(selector(dice, depth - 1))),
        11 => Selector::And(parts(dice)),
        _ => Selector::Or(parts(dice)),
    }
}

/// A selector that may also speak of what Calico itself puts on endpoints.
pub(crate) fn peer_selector(dice: &mut Dice) -> Selector {
    match dice.below(14) {
        0 => Selector::Equals(
            "projectcalico.org/namespace".to_owned(),
            dice.word(&NAMESPACES),
        ),
        1 => Selector::Has("projectcalico.org/orchestrator".to_owned()),
        2 => Selector::Differs("pcsa.team".to_owned(), dice.word(&VALUES)),
        3 => Selector::Equals(
            "pcns.kubernetes.io/metadata.name".to_owned(),
            dice.word(&NAMESPACES),
        ),
        4 => Selector::In(
            "pcsa.projectcalico.org/name".to_owned(),
            vec![dice.word(&ACCOUNTS)],
        ),
        5 => Selector::Has("projectcalico.org/serviceaccount".to_owned()),
        6 => Selector::Equals("pcsa.team".to_owned(), dice.word(&VALUES)),
        _ => selector(dice, 2),
    }
}

/// A rule that palisade takes: ports behind protocols that have them, ICMP types behind ICMP, one
/// family.
fn rule(dice: &mut Dice, passing: bool, namespaced: bool, way: Way) -> Rule {
    let action = match dice.below(10) {
        0..=4 => Action::Allow,
        5 | 6 => Action::Deny,
        7 | 8 if passing => Action::Pass,
        7 | 8 => Action::Deny,
        _ => Action::Log,
    };
    let number = dice.maybe(65, |dice| {
        dice.pick(&[TCP, TCP, TCP, UDP, UDP, SCTP, SCTP, 1, 58, 136, 47])
    });
    let protocol = number.map(|number| Protocol {
        number,
        named: number != 47 && dice.chance(70),
    });
    let asks_type = matches!(number, Some(1 | 58)) && dice.chance(70);
    let icmp = (
        dice.pick(&[0, 3, 8, 128, 135]),
        dice.maybe(40, |dice| dice.pick(&[0, 1, 255])),
    );
    let negated = dice.chance(40);
    let v4 = match protocol {
        Some(Protocol { number: 1, named }) if named || asks_type => true,
        Some(Protocol { number: 58, named }) if named || asks_type => false,
        _ => dice.chance(70),
    };
    let other = dice.pick(&[TCP, UDP, SCTP, 1, 58, 47].map(|number| Protocol {
        number,
        named: false,
    }));
    let http = way == Way::Ingress
        && action == Action::Allow
        && matches!(number, None | Some(TCP))
        && dice.chance(15);
    // with a version stated, ICMP may only be its own, also by number and also where it is excluded
    let goes_with = |protocol: &Protocol| !matches!((protocol.number, v4), (1, false) | (58, true));

    let mut rule = Rule {
        action,
        version: dice.maybe(15, |_| if v4 { 4 } else { 6 }),
        protocol,
        not_protocol: dice
            .maybe(15, |_| other)
            .filter(|other| Some(other.number) != number),
        icmp: (asks_type && !negated).then_some(icmp),
        not_icmp: (asks_type && negated).then_some(icmp),
        http,
        source: entity(dice, number, v4),
        destination: entity(dice, number, v4),
    };

    let stated = [rule.protocol, rule.not_protocol];
    rule.version = rule
        .version
        .filter(|_| stated.iter().flatten().all(goes_with));

    if dice.chance(20) {
        let service = Some((
            dice.maybe(if namespaced { 50 } else { 100 }, |dice| {
                dice.word(&NAMESPACES)
            }),
            dice.word(&SERVICES),
        ));
        match way {
            Way::Ingress => {
                let ports = (rule.source.ports, rule.source.not_ports);
                rule.source = Entity {
                    service,
                    ports: ports.0,
                    not_ports: ports.1,
                    ..Entity::default()
                };
            }
            Way::Egress => {
                rule.destination = Entity {
                    service,
                    ..Entity::default()
                }
            }
        }
    }

    rule
}

fn cluster_policy(dice: &mut Dice, index: usize) -> ClusterPolicy {
    let rank = dice.pick(&[Rank::Admin, Rank::Baseline, Rank::OldAdmin]);
    ClusterPolicy {
        rank,
        // names and orders that Calico's policies may have too
        name: format!("{}{index}", dice.pick(&["a", "a-b", "b"])),
        priority: dice.pick(&[0, 10, 10, 500, 999, 1000]),
        subject: cluster_pods(dice),
        ingress: dice.some(0, 3, |dice| cluster_rule(dice, rank, Way::Ingress)),
        egress: dice.some(0, 3, |dice| cluster_rule(dice, rank, Way::Egress)),
    }
}

/// There is one at most, and it is called `default`.
fn old_baseline_policy(dice: &mut Dice) -> ClusterPolicy {
    ClusterPolicy {
        rank: Rank::OldBaseline,
        name: "default".to_owned(),
        priority: 0,
        subject: cluster_pods(dice),
        ingress: dice.some(0, 3, |dice| {
            cluster_rule(dice, Rank::OldBaseline, Way::Ingress)
        }),
        egress: dice.some(0, 3, |dice| {
            cluster_rule(dice, Rank::OldBaseline, Way::Egress)
        }),
    }
}

fn cluster_pods(dice: &mut Dice) -> ClusterPods {
    let mut namespaces = label_selector(dice);
    if dice.chance(15) {
        namespaces.labels.insert(
            "kubernetes.io/metadata.name".to_owned(),
            dice.word(&NAMESPACES),
        );
    }

    ClusterPods {
        namespaces,
        pods: dice.maybe(50, label_selector),
    }
}

fn cluster_rule(dice: &mut Dice, rank: Rank, way: Way) -> ClusterRule {
    let peers = dice.some(1, 3, |dice| cluster_peer(dice, way));
    let named = peers
        .iter()
        .all(|peer| matches!(peer, ClusterPeer::Pods(_)));
    let action = match dice.below(10) {
        0..=3 => Action::Allow,
        4..=7 => Action::Deny,
        _ if rank == Rank::OldBaseline => Action::Allow,
        _ => Action::Pass,
    };

    ClusterRule {
        action,
        ports: dice.some(0, 3, |dice| cluster_port(dice, named)),
        peers,
    }
}

fn cluster_peer(dice: &mut Dice, way: Way) -> ClusterPeer {
    match (way, dice.below(10)) {
        (Way::Egress, 0..=2) => ClusterPeer::Networks(dice.some(1, 4, |dice| {
            if dice.chance(60) {
                net(&dice.word(&V4))
            } else {
                net(&dice.word(&V6))
            }
        })),
        (Way::Egress, 3 | 4) => ClusterPeer::Nodes(label_selector(dice)),
        (Way::Egress | Way::Ingress, _) => ClusterPeer::Pods(cluster_pods(dice)),
    }
}

fn cluster_port(dice: &mut Dice, named: bool) -> ClusterPort {
    if named && dice.chance(30) {
        return ClusterPort::Name(dice.word(&PORT_NAMES));
    }
    let (left, right) = (dice.pick(&PORTS), dice.pick(&PORTS));
    let range = if dice.chance(50) {
        (left, left)
    } else {
        (left.min(right), left.max(right))
    };
    ClusterPort::Numbers(dice.pick(&[TCP, TCP, UDP, SCTP]), dice.maybe(80, |_| range))
}

fn entity(dice: &mut Dice, protocol: Option<u8>, v4: bool) -> Entity {
    if dice.chance(30) {
        return Entity::default();
    }
    let nets = |dice: &mut Dice| {
        dice.some(1, 4, |dice| {
            if v4 {
                net(&dice.word(&V4))
            } else {
                net(&dice.word(&V6))
            }
        })
    };

    let namespaces = dice.maybe(20, |dice| {
        if dice.chance(20) {
            Selector::Global
        } else {
            selector(dice, 1)
        }
    });
    let wanted = dice.maybe(22, nets).unwrap_or_default();

    if dice.chance(12) {
        let not_nets = nets(dice)
            .into_iter()
            .filter(|net| net.length > 0)
            .collect();
        return Entity {
            nets: nets(dice),
            not_nets,
            ..Entity::default()
        };
    }

    let not_nets = dice
        .maybe(if wanted.is_empty() { 12 } else { 50 }, nets)
        .unwrap_or_default();
    Entity {
        nets: wanted,
        not_nets: not_nets.into_iter().filter(|net| net.length > 0).collect(),
        selector: dice.maybe(35, peer_selector),
        not_selector: dice.maybe(20, peer_selector),
        namespaces,
        account_names: if dice.chance(15) {
            dice.some(1, 2, |dice| dice.word(&ACCOUNTS))
        } else {
            Vec::new()
        },
        accounts: dice.maybe(12, |dice| selector(dice, 1)),
        service: None,
        ports: if dice.chance(35) {
            ports(dice, protocol)
        } else {
            Vec::new()
        },
        not_ports: if dice.chance(20) {
            ports(dice, protocol)
        } else {
            Vec::new()
        },
    }
}

/// Ports that go with the protocol; now and then so many that one `multiport` match cannot hold
/// them.
fn ports(dice: &mut Dice, protocol: Option<u8>) -> Vec<Port> {
    let name = |dice: &mut Dice| Port::Name(dice.word(&PORT_NAMES));

    match protocol {
        Some(TCP | UDP | SCTP) if dice.chance(20) => {
            let mut many: Vec<Port> = (0..12)
                .map(|step| Port::Numbers(70 + step * 3, 70 + step * 3 + step % 2))
                .collect();
            many.extend(dice.some(0, 3, |dice| {
                if dice.chance(50) {
                    name(dice)
                } else {
                    numbers(dice)
                }
            }));
            many
        }
        Some(TCP | UDP | SCTP) => dice.some(1, 4, |dice| {
            if dice.chance(35) {
                name(dice)
            } else {
                numbers(dice)
            }
        }),
        None => dice.some(1, 2, name),
        Some(_) => Vec::new(),
    }
}

fn numbers(dice: &mut Dice) -> Port {
    let (left, right) = (dice.pick(&PORTS), dice.pick(&PORTS));
    if dice.chance(50) {
        Port::Numbers(left, left)
    } else {
        Port::Numbers(left.min(right), left.max(right))
    }
}

fn label_selector(dice: &mut Dice) -> LabelSelector {
    let mut selector = LabelSelector::default();
    if dice.chance(40) {
        selector.labels.insert(dice.word(&KEYS), dice.word(&VALUES));
    }

    selector.expressions = dice.some(0, 1, |dice| {
        let operator = dice.pick(&["In", "NotIn", "Exists", "DoesNotExist"]);
        let takes_values = matches!(operator, "In" | "NotIn");
        let values = if takes_values {
            dice.some(1, 2, |dice| dice.word(&VALUES))
        } else {
            Vec::new()
        };
        Requirement {
            key: dice.word(&KEYS),
            operator,
            values,
        }
    });

    selector
}

fn kubernetes_rule(dice: &mut Dice) -> KubernetesRule {
    KubernetesRule {
        peers: dice.some(0, 3, peer),
        ports: dice.some(0, 3, kubernetes_port),
    }
}

fn peer(dice: &mut Dice) -> Peer {
    if dice.chance(40) {
        let block = if dice.chance(60) {
            net(&dice.word(&V4))
        } else {
            net(&dice.word(&V6))
        };
        let all: Vec<Net> = V4.iter().chain(&V6).map(|text| net(text)).collect();
        let inside: Vec<Net> = all
            .into_iter()
            .filter(|other| other.length > block.length && block.holds(other.address))
            .collect();
        let except = if inside.is_empty() || dice.chance(40) {
            Vec::new()
        } else {
            dice.some(1, 3, |dice| dice.pick(&inside))
        };
        return Peer::Block { net: block, except };
    }

    let (pods, namespaces) = (
        dice.maybe(70, label_selector),
        dice.maybe(50, label_selector),
    );

    match (&pods, &namespaces) {
        (None, None) => Peer::Pods {
            pods: Some(LabelSelector::default()),
            namespaces,
        },
        _ => Peer::Pods { pods, namespaces },
    }
}

fn kubernetes_port(dice: &mut Dice) -> KubernetesPort {
    let port = dice.maybe(80, |dice| {
        if dice.chance(35) {
            Port::Name(dice.word(&PORT_NAMES))
        } else {
            numbers(dice)
        }
    });

    KubernetesPort {
        protocol: dice.maybe(60, |dice| dice.pick(&[TCP, UDP, SCTP])),
        port,
    }
}

/// Packets to ask about: between endpoints mostly, else from and to the edges of what policies
/// name.
pub(crate) struct Aim {
    pods: [Vec<(IpAddr, usize)>; 2],
    edges: [Vec<IpAddr>; 2],
}

impl Aim {
    pub(crate) fn at(world: &World) -> Self {
        let pods = |v4: bool| {
            let all = world.pods.iter().filter_map(|pod| Some((pod, pod.node?)));
            all.flat_map(|(pod, node)| pod.addresses.iter().map(move |address| (*address, node)))
                .filter(|(address, _)| address.is_ipv4() == v4)
                .collect()
        };
        Self {
            pods: [pods(true), pods(false)],
            edges: [edges(&V4, true), edges(&V6, false)],
        }
    }

    pub(crate) fn packet(&self, dice: &mut Dice, world: &World) -> Packet {
        let v4 = dice.chance(65);
        let [(source, from), (destination, to)] = [(); 2].map(|()| self.end(dice, v4));
        let hook = dice.pick(&[
            Hook::Forward,
            Hook::Forward,
            Hook::Forward,
            Hook::Forward,
            Hook::Input,
            Hook::Input,
            Hook::Output,
        ]);
        let node = node_of_ends(dice, hook, [from, to], world.nodes.len());
        let other_node = hook == Hook::Forward && dice.chance(8);
        let (source, from) = match hook {
            Hook::Output if dice.chance(85) => (own_address(node, v4), None),
            Hook::Forward | Hook::Input | Hook::Output => (source, from),
        };
        let destination = match hook {
            Hook::Input => own_address(node, v4),
            Hook::Forward | Hook::Output if other_node => {
                own_address((node + 1) % world.nodes.len(), v4)
            }
            Hook::Forward | Hook::Output => destination,
        };
        let arrives = interface(dice, from == Some(node));
        let leaves = interface(dice, to == Some(node));
        let icmp_here = if v4 { 1 } else { 58 };
        let protocol = dice.pick(&[
            TCP, TCP, TCP, TCP, UDP, UDP, UDP, SCTP, SCTP, icmp_here, icmp_here, 1, 58, 136, 47, 4,
        ]);

        let ports = [TCP, UDP, SCTP, 136]
            .contains(&protocol)
            .then(|| (port_near(dice), port_near(dice)));
        let icmp = (protocol == icmp_here).then(|| {
            (
                dice.pick(&[0, 1, 3, 8, 128, 135, 136]),
                dice.pick(&[0, 1, 2, 255]),
            )
        });
        let state = state(dice);
        let packet = Packet {
            node,
            hook,
            arrives,
            leaves,
            source,
            destination,
            original: None,
            protocol,
            ports,
            icmp,
            state,
            route_back: RouteBack::Same,
        };
        let packet = if state == State::New && dice.chance(15) {
            self.translated(&packet, dice)
        } else {
            packet
        };

        let packet = match dice.below(100) {
            0..=24 => self.at_host(packet, dice, world),
            25..=34 if hook == Hook::Forward => to_backend(packet, dice, world),
            _ => packet,
        };
        let route_back = route_back(dice, &packet);
        Packet {
            route_back,
            ..packet
        }
    }

    /// The packet, at a host endpoint where there is one, mostly of someone unknown and sometimes
    /// for a failsafe port.
    fn at_host(&self, packet: Packet, dice: &mut Dice, world: &World) -> Packet {
        if world.hosts.is_empty() {
            return packet;
        }

        let host = dice.pick(&world.hosts);
        let own = INTERFACES
            .iter()
            .copied()
            .find(|name| host.interface.as_deref() == Some(*name));
        let link = own
            .filter(|_| dice.chance(80))
            .unwrap_or_else(|| dice.pick(&INTERFACES));
        let v4 = packet.is_v4();

        let far = if dice.chance(70) {
            dice.pick(self.edges.get(usize::from(!v4)).expect("a family"))
        } else {
            self.end(dice, v4).0
        };

        let near = own_address(host.node, v4);
        let packet = Packet {
            node: host.node,
            hook: dice.pick(&[Hook::Input, Hook::Output, Hook::Forward]),
            original: None,
            ..packet
        };
        let packet = match packet.hook {
            Hook::Input => Packet {
                arrives: link,
                source: far,
                destination: near,
                ..packet
            },
            Hook::Output => Packet {
                leaves: link,
                source: near,
                destination: far,
                ..packet
            },
            Hook::Forward if dice.chance(50) => Packet {
                arrives: link,
                source: far,
                ..packet
            },
            Hook::Forward if dice.chance(50) => Packet {
                leaves: link,
                destination: far,
                ..packet
            },
            Hook::Forward => Packet {
                arrives: link,
                leaves: dice.pick(&INTERFACES[..2]),
                source: far,
                ..packet
            },
        };

        let failsafes: Vec<&Failsafe> = world
            .choices
            .inbound
            .iter()
            .chain(&world.choices.outbound)
            .collect();
        if failsafes.is_empty() || dice.chance(70) {
            return if packet.state == State::New && dice.chance(40) {
                self.translated(&packet, dice)
            } else {
                packet
            };
        }

        for_failsafe(&packet, dice.pick(&failsafes), near, dice)
    }

    /// The packet, sent to somewhere else; one to the node not to a pod, since it would go there if
    /// it were not tracked.
    fn translated(&self, packet: &Packet, dice: &mut Dice) -> Packet {
        let v4 = packet.is_v4();
        let address = if packet.hook == Hook::Input || dice.chance(50) {
            own_address(packet.node, v4)
        } else {
            self.end(dice, v4).0
        };
        Packet {
            original: Some((address, dice.maybe(70, |dice| dice.pick(&PORTS)))),
            ..packet.clone()
        }
    }

    /// An address, and its node where it is a pod's.
    fn end(&self, dice: &mut Dice, v4: bool) -> (IpAddr, Option<usize>) {
        let index = usize::from(!v4);
        let pods = self.pods.get(index).expect("a family");
        let edges = self.edges.get(index).expect("a family");
        match !pods.is_empty() && dice.chance(75) {
            true => {
                let (address, node) = dice.pick(pods);
                (address, Some(node))
            }
            false => (dice.pick(edges), None),
        }
    }
}

/// The node at which a packet between addresses of pods of these nodes is, mostly one of them.
fn node_of_ends(
    dice: &mut Dice,
    hook: Hook,
    [from, to]: [Option<usize>; 2],
    nodes: usize,
) -> usize {
    let anywhere = dice.below(nodes);
    let likely = if hook == Hook::Input || dice.chance(50) {
        from.or(to)
    } else {
        to.or(from)
    };
    if dice.chance(90) {
        likely.unwrap_or(anywhere)
    } else {
        anywhere
    }
}

/// The interface of one end, mostly a pod's where the end is a pod of the node.
fn interface(dice: &mut Dice, is_own_pod: bool) -> &'static str {
    match is_own_pod && dice.chance(80) {
        true => dice.pick(&INTERFACES[3..]),
        false if dice.chance(60) => dice.pick(&INTERFACES[..2]),
        false => dice.pick(&INTERFACES),
    }
}

/// A port that policies name, or one between.
fn port_near(dice: &mut Dice) -> u16 {
    if dice.chance(70) {
        dice.pick(&PORTS)
    } else {
        68 + u16::try_from(dice.below(42)).unwrap_or_default()
    }
}

fn state(dice: &mut Dice) -> State {
    let others = [
        State::Established,
        State::Related,
        State::Invalid,
        State::Untracked,
    ];
    if dice.chance(88) {
        State::New
    } else {
        dice.pick(&others)
    }
}

fn route_back(dice: &mut Dice, packet: &Packet) -> RouteBack {
    let is_odd = packet.hook != Hook::Output && packet.arrives != "lo" && dice.chance(15);
    if is_odd {
        dice.pick(&[RouteBack::Other, RouteBack::Other, RouteBack::Missing])
    } else {
        RouteBack::Same
    }
}

/// The packet, to or from a failsafe port, or translated from that port of the node.
fn for_failsafe(packet: &Packet, failsafe: &Failsafe, near: IpAddr, dice: &mut Dice) -> Packet {
    let Failsafe { protocol, port, .. } = failsafe;
    let packet = Packet {
        protocol: *protocol,
        icmp: None,
        ..packet.clone()
    };

    match dice.below(3) {
        0 => Packet {
            ports: Some((*port, 40_000)),
            ..packet
        },
        1 => Packet {
            ports: Some((40_000, *port)),
            ..packet
        },
        _ => Packet {
            ports: Some((40_000, 40_000)),
            original: Some((near, Some(*port))),
            ..packet
        },
    }
}

/// The packet, sent to a service where there is one.
fn to_backend(packet: Packet, dice: &mut Dice, world: &World) -> Packet {
    let of_family = |backends: &&Backends| {
        backends
            .addresses
            .first()
            .is_some_and(|address| address.is_ipv4() == packet.is_v4())
    };

    let all: Vec<&Backends> = world
        .backends
        .iter()
        .filter(of_family)
        .filter(|backends| !backends.ports.is_empty())
        .collect();
    if all.is_empty() {
        return packet;
    }

    let backends = dice.pick(&all);
    let (protocol, port) = dice.pick(&backends.ports);
    Packet {
        destination: dice.pick(&backends.addresses),
        protocol,
        ports: Some((dice.pick(&PORTS), port)),
        icmp: None,
        ..packet
    }
}

/// The first and last addresses of prefixes, and their neighbours outside.
fn edges(nets: &[&str], v4: bool) -> Vec<IpAddr> {
    let bounds = nets.iter().map(|text| net(text).bounds());
    let near = bounds
        .flat_map(|(first, last)| [first.saturating_sub(1), first, last, last.saturating_add(1)]);
    let extra = if v4 {
        ["10.1.1.200", "10.1.3.250", "198.51.100.7"]
    } else {
        ["fd00:1::200", "fd00:3::250", "2001:db8::7"]
    };

    let extra = extra.map(|text| number(text.parse().expect("an address")).0);
    let mut edges: Vec<IpAddr> = near
        .chain(extra)
        .map(|number| address(number, v4))
        .collect();
    edges.sort_unstable();
    edges.dedup();

    edges
}
