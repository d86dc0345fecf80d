//! Random worlds and packets. Everything comes from a few words, so that selectors select some, ranges overlap, and packets
//! fall on the edges of what policies name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::packet::{Hook, Packet, State};
use super::world::{
    Action, CalicoPolicy, Choices, Entity, KubernetesPolicy, KubernetesPort, KubernetesRule, LabelSelector, Labels, NamedPort, Net, NetSet,
    Node, Peer, Pod, Policy, Port, Protocol, Requirement, Rule, Selector, Tier, Way, World, address, number,
};

/// Random numbers by splitmix64 (Steele, Lea, Flood 2014).
pub(crate) struct Dice(pub(crate) u64);

const KEYS: [&str; 3] = ["app", "env", "team"];
const VALUES: [&str; 3] = ["ab", "abc", "xb"];
const NAMESPACES: [&str; 3] = ["one", "two", "three"];
const ACCOUNTS: [&str; 3] = ["default", "api", "web"];
const PORT_NAMES: [&str; 3] = ["http", "dns", "sig"];
const PORTS: [u16; 10] = [1, 53, 79, 80, 81, 90, 443, 4789, 8080, 65535];
const V4: [&str; 12] = [
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
const V6: [&str; 9] =
    ["::/0", "8000::/1", "fd00::/16", "fd00:1::/64", "fd00:1::/125", "fd00:2::/64", "fd00:2::3/128", "2001:db8::/32", "2001:db8:8000::/33"];
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or_default()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<Item: Clone>(&mut self, items: &[Item]) -> Item {
        let index = self.below(items.len());
        items.get(index).expect("an item").clone()
    }

    fn word(&mut self, words: &[&str]) -> String {
        self.pick(words).to_owned()
    }

    fn maybe<Item>(&mut self, percent: usize, make: impl FnOnce(&mut Self) -> Item) -> Option<Item> {
        self.chance(percent).then(|| make(self))
    }

    /// Up to `most` items, none of them more often than the others.
    fn some<Item>(&mut self, least: usize, most: usize, mut make: impl FnMut(&mut Self) -> Item) -> Vec<Item> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }
}

/// A prefix, written without host bits.
pub(crate) fn net(text: &str) -> Net {
    let (address, length) = text.split_once('/').expect("a prefix");
    Net { address: address.parse().expect("an address"), length: length.parse().expect("a length") }
}

/// A random cluster with random policies.
pub(crate) fn world(dice: &mut Dice) -> World {
    let mut world = World::default();
    let nodes = 2 + dice.below(2);
    world.nodes = (0..nodes).map(|index| node(dice, index)).collect();
    for namespace in NAMESPACES.iter().take(2 + dice.below(2)) {
        world.namespaces.insert((*namespace).to_owned(), labels(dice));
        for account in ACCOUNTS {
            if dice.chance(60) {
                world.accounts.insert(((*namespace).to_owned(), account.to_owned()), labels(dice));
            }
        }
    }
    let pods = 6 + dice.below(7);
    world.pods = (0..pods).map(|index| pod(dice, index, nodes)).collect();
    world.net_sets = (0..dice.below(4)).map(|index| net_set(dice, index)).collect();
    let tiers: Vec<String> = ["admin", "last", "late"].iter().take(dice.below(4)).map(|name| (*name).to_owned()).collect();
    world.tiers = tiers.iter().map(|name| Tier { name: name.clone(), order: dice.maybe(60, order), pass: dice.chance(40) }).collect();
    world.policies = (0..2 + dice.below(7)).map(|_| policy(dice, &tiers)).collect();
    if dice.chance(30) {
        world.policies.iter_mut().for_each(tie);
    }
    let mut taken = BTreeSet::new();
    world.policies.retain(|policy| taken.insert(identity(policy)));
    world.choices = Choices { host_closed: dice.chance(15), unknown_accepted: dice.chance(15), encapsulated_dropped: dice.chance(15) };
    world
}

fn node(dice: &mut Dice, index: usize) -> Node {
    let number = index + 1;
    let v4 = dice.maybe(75, |_| net(&format!("10.1.{number}.0/24")));
    let v6 = dice.maybe(50, |_| net(&format!("fd00:{number}::/64")));
    Node { name: format!("node-{index}"), ranges: v4.into_iter().chain(v6).collect() }
}

/// The address is mostly in the node's own range, and sometimes in the next one's.
fn pod(dice: &mut Dice, index: usize, nodes: usize) -> Pod {
    let node = dice.below(nodes);
    let range = if dice.chance(85) { node + 1 } else { (node + 1) % nodes + 1 };
    let v4 = address(u128::from(u32::from_be_bytes([10, 1, 0, 0])) + (range as u128) * 256 + index as u128 + 2, true);
    let v6: IpAddr = format!("fd00:{range}::{:x}", index + 2).parse().expect("an address");
    let addresses = match dice.below(10) {
        0..=4 => vec![v4],
        5..=8 => vec![v4, v6],
        _ => vec![v6],
    };
    let mut labels = labels(dice);
    if dice.chance(10) {
        labels.insert("projectcalico.org/serviceaccount".to_owned(), "api".to_owned());
        labels.insert(dice.word(&["pcns.env", "pcsa.team", "pcns.app"]), dice.word(&VALUES));
    }
    Pod {
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

fn net_set(dice: &mut Dice, index: usize) -> NetSet {
    let mut labels = labels(dice);
    if dice.chance(15) {
        labels.insert("pcsa.team".to_owned(), dice.word(&VALUES));
    }
    let nets = dice.some(0, 4, |dice| if dice.chance(65) { dice.word(&V4) } else { dice.word(&V6) });
    NetSet {
        namespace: dice.maybe(50, |dice| dice.word(&NAMESPACES)),
        name: format!("set-{index}"),
        labels,
        nets: nets.iter().map(|text| net(text)).collect(),
    }
}

fn labels(dice: &mut Dice) -> Labels {
    KEYS.iter().filter_map(|key| dice.maybe(60, |dice| ((*key).to_owned(), dice.word(&VALUES)))).collect()
}

fn order(dice: &mut Dice) -> f64 {
    dice.pick(&[-1.0, 0.0, 0.5, 999.0, 1000.0, 1000.0, 1000.0, 1001.0, 1e6, 1e7])
}

fn policy(dice: &mut Dice, tiers: &[String]) -> Policy {
    let name = dice.word(&["a", "a-b", "b", "c"]);
    match dice.below(10) {
        0..=2 => Policy::Kubernetes(KubernetesPolicy {
            namespace: dice.word(&NAMESPACES),
            name,
            pods: label_selector(dice),
            types: types(dice),
            ingress: dice.some(0, 2, kubernetes_rule),
            egress: dice.some(0, 2, kubernetes_rule),
        }),
        kind => Policy::Calico(calico(dice, name, kind < 7, tiers)),
    }
}

/// Puts a policy where many are: in tier `default`, at the order of Kubernetes policies, for whole namespaces.
fn tie(policy: &mut Policy) {
    if let Policy::Calico(policy) = policy {
        (policy.tier, policy.order, policy.selector, policy.accounts) = (None, Some(1000.0), None, None);
    }
}

/// Kind, namespace and name; the generator makes none twice.
fn identity(policy: &Policy) -> (bool, Option<String>, String) {
    match policy {
        Policy::Calico(policy) => (true, policy.namespace.clone(), policy.name.clone()),
        Policy::Kubernetes(policy) => (false, Some(policy.namespace.clone()), policy.name.clone()),
    }
}

fn calico(dice: &mut Dice, name: String, namespaced: bool, tiers: &[String]) -> CalicoPolicy {
    let built_in = ["default", "kube-admin", "kube-baseline"].map(str::to_owned);
    let passing = dice.chance(60);
    CalicoPolicy {
        namespace: namespaced.then(|| dice.word(&NAMESPACES)),
        name,
        tier: dice.maybe(60, |dice| if tiers.is_empty() || dice.chance(30) { dice.pick(&built_in) } else { dice.pick(tiers) }),
        order: dice.maybe(50, order),
        selector: dice.maybe(60, |dice| selector(dice, 2)),
        namespaces: if namespaced { None } else { dice.maybe(40, |dice| selector(dice, 1)) },
        accounts: dice.maybe(30, |dice| selector(dice, 1)),
        types: types(dice),
        ingress: dice.some(0, 4, |dice| rule(dice, passing)),
        egress: dice.some(0, 4, |dice| rule(dice, passing)),
    }
}

fn types(dice: &mut Dice) -> Vec<Way> {
    dice.pick(&[vec![], vec![], vec![Way::Ingress], vec![Way::Egress], vec![Way::Ingress, Way::Egress], vec![Way::Egress, Way::Ingress]])
}

fn selector(dice: &mut Dice, depth: usize) -> Selector {
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
fn peer_selector(dice: &mut Dice) -> Selector {
    match dice.below(12) {
        0 => Selector::Equals("projectcalico.org/namespace".to_owned(), dice.word(&NAMESPACES)),
        1 => Selector::Has("projectcalico.org/orchestrator".to_owned()),
        2 => Selector::Differs("pcsa.team".to_owned(), dice.word(&VALUES)),
        3 => Selector::Equals("pcns.kubernetes.io/metadata.name".to_owned(), dice.word(&NAMESPACES)),
        4 => Selector::In("pcsa.projectcalico.org/name".to_owned(), vec![dice.word(&ACCOUNTS)]),
        _ => selector(dice, 2),
    }
}

/// A rule that palisade takes: ports behind protocols that have them, ICMP types behind ICMP, one family.
fn rule(dice: &mut Dice, passing: bool) -> Rule {
    let action = match dice.below(10) {
        0..=4 => Action::Allow,
        5 | 6 => Action::Deny,
        7 | 8 if passing => Action::Pass,
        7 | 8 => Action::Deny,
        _ => Action::Log,
    };
    let number = dice.maybe(65, |dice| dice.pick(&[TCP, TCP, TCP, UDP, UDP, SCTP, SCTP, 1, 58, 136, 47]));
    let protocol = number.map(|number| Protocol { number, named: number != 47 && dice.chance(70) });
    let asks_type = matches!(number, Some(1 | 58)) && dice.chance(70);
    let icmp = (dice.pick(&[0, 3, 8, 128, 135]), dice.maybe(40, |dice| dice.pick(&[0, 1, 255])));
    let negated = dice.chance(40);
    let v4 = match protocol {
        Some(Protocol { number: 1, named }) if named || asks_type => true,
        Some(Protocol { number: 58, named }) if named || asks_type => false,
        _ => dice.chance(70),
    };
    let other = dice.pick(&[TCP, UDP, SCTP, 1, 58, 47].map(|number| Protocol { number, named: false }));
    Rule {
        action,
        version: dice.maybe(15, |_| if v4 { 4 } else { 6 }),
        protocol,
        not_protocol: dice.maybe(15, |_| other).filter(|other| Some(other.number) != number),
        icmp: (asks_type && !negated).then_some(icmp),
        not_icmp: (asks_type && negated).then_some(icmp),
        source: entity(dice, number, v4),
        destination: entity(dice, number, v4),
    }
}

fn entity(dice: &mut Dice, protocol: Option<u8>, v4: bool) -> Entity {
    if dice.chance(30) {
        return Entity::default();
    }
    let nets = |dice: &mut Dice| dice.some(1, 4, |dice| if v4 { net(&dice.word(&V4)) } else { net(&dice.word(&V6)) });
    let namespaces = dice.maybe(20, |dice| if dice.chance(20) { Selector::Global } else { selector(dice, 1) });
    let wanted = dice.maybe(22, nets).unwrap_or_default();
    if dice.chance(12) {
        let not_nets = nets(dice).into_iter().filter(|net| net.length > 0).collect();
        return Entity { nets: nets(dice), not_nets, ..Entity::default() };
    }
    let not_nets = dice.maybe(if wanted.is_empty() { 12 } else { 50 }, nets).unwrap_or_default();
    Entity {
        nets: wanted,
        not_nets: not_nets.into_iter().filter(|net| net.length > 0).collect(),
        selector: dice.maybe(35, peer_selector),
        not_selector: dice.maybe(20, peer_selector),
        namespaces,
        account_names: if dice.chance(15) { dice.some(1, 2, |dice| dice.word(&ACCOUNTS)) } else { Vec::new() },
        accounts: dice.maybe(12, |dice| selector(dice, 1)),
        ports: if dice.chance(35) { ports(dice, protocol) } else { Vec::new() },
        not_ports: if dice.chance(20) { ports(dice, protocol) } else { Vec::new() },
    }
}

/// Ports that go with the protocol; now and then so many that one `multiport` match cannot hold them.
fn ports(dice: &mut Dice, protocol: Option<u8>) -> Vec<Port> {
    let name = |dice: &mut Dice| Port::Name(dice.word(&PORT_NAMES));
    match protocol {
        Some(TCP | UDP | SCTP) if dice.chance(20) => {
            let mut many: Vec<Port> = (0..12).map(|step| Port::Numbers(70 + step * 3, 70 + step * 3 + step % 2)).collect();
            many.extend(dice.some(0, 3, |dice| if dice.chance(50) { name(dice) } else { numbers(dice) }));
            many
        }
        Some(TCP | UDP | SCTP) => dice.some(1, 4, |dice| if dice.chance(35) { name(dice) } else { numbers(dice) }),
        None => dice.some(1, 2, name),
        Some(_) => Vec::new(),
    }
}

fn numbers(dice: &mut Dice) -> Port {
    let (left, right) = (dice.pick(&PORTS), dice.pick(&PORTS));
    if dice.chance(50) { Port::Numbers(left, left) } else { Port::Numbers(left.min(right), left.max(right)) }
}

fn label_selector(dice: &mut Dice) -> LabelSelector {
    let mut selector = LabelSelector::default();
    if dice.chance(40) {
        selector.labels.insert(dice.word(&KEYS), dice.word(&VALUES));
    }
    selector.expressions = dice.some(0, 1, |dice| {
        let operator = dice.pick(&["In", "NotIn", "Exists", "DoesNotExist"]);
        let takes_values = matches!(operator, "In" | "NotIn");
        let values = if takes_values { dice.some(1, 2, |dice| dice.word(&VALUES)) } else { Vec::new() };
        Requirement { key: dice.word(&KEYS), operator, values }
    });
    selector
}

fn kubernetes_rule(dice: &mut Dice) -> KubernetesRule {
    KubernetesRule { peers: dice.some(0, 3, peer), ports: dice.some(0, 3, kubernetes_port) }
}

fn peer(dice: &mut Dice) -> Peer {
    if dice.chance(40) {
        let block = if dice.chance(60) { net(&dice.word(&V4)) } else { net(&dice.word(&V6)) };
        let all: Vec<Net> = V4.iter().chain(&V6).map(|text| net(text)).collect();
        let inside: Vec<Net> = all.into_iter().filter(|other| other.length > block.length && block.holds(other.address)).collect();
        let except = if inside.is_empty() || dice.chance(40) { Vec::new() } else { dice.some(1, 3, |dice| dice.pick(&inside)) };
        return Peer::Block { net: block, except };
    }
    let (pods, namespaces) = (dice.maybe(70, label_selector), dice.maybe(50, label_selector));
    match (&pods, &namespaces) {
        (None, None) => Peer::Pods { pods: Some(LabelSelector::default()), namespaces },
        _ => Peer::Pods { pods, namespaces },
    }
}

fn kubernetes_port(dice: &mut Dice) -> KubernetesPort {
    let port = dice.maybe(80, |dice| if dice.chance(35) { Port::Name(dice.word(&PORT_NAMES)) } else { numbers(dice) });
    KubernetesPort { protocol: dice.maybe(60, |dice| dice.pick(&[TCP, UDP, SCTP])), port }
}

/// Packets to ask about: between endpoints mostly, else from and to the edges of what policies name.
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
        Self { pods: [pods(true), pods(false)], edges: [edges(&V4, true), edges(&V6, false)] }
    }

    pub(crate) fn packet(&self, dice: &mut Dice, world: &World) -> Packet {
        let v4 = dice.chance(65);
        let [(source, from), (destination, to)] = [(); 2].map(|()| self.end(dice, v4));
        let hook = dice.pick(&[Hook::Forward, Hook::Forward, Hook::Forward, Hook::Forward, Hook::Input, Hook::Output]);
        let anywhere = dice.below(world.nodes.len());
        let likely = if hook == Hook::Input || dice.chance(50) { from.or(to) } else { to.or(from) };
        let node = if dice.chance(90) { likely.unwrap_or(anywhere) } else { anywhere };
        // what a node gets for itself bears an address of its own
        let own = |node: usize| if v4 { format!("203.0.113.{}", 125 + node) } else { format!("2001:db8:8000::{node}") };
        let destination = if hook == Hook::Input { own(node).parse().expect("an address") } else { destination };
        let icmp_here = if v4 { 1 } else { 58 };
        let protocol = dice.pick(&[TCP, TCP, TCP, TCP, UDP, UDP, UDP, SCTP, SCTP, icmp_here, icmp_here, 1, 58, 136, 47, 4]);
        let port =
            |dice: &mut Dice| if dice.chance(70) { dice.pick(&PORTS) } else { 68 + u16::try_from(dice.below(42)).unwrap_or_default() };
        let ports = [TCP, UDP, SCTP, 136].contains(&protocol).then(|| (port(dice), port(dice)));
        let icmp = (protocol == icmp_here).then(|| (dice.pick(&[0, 1, 3, 8, 128, 135, 136]), dice.pick(&[0, 1, 2, 255])));
        let state = if dice.chance(92) { State::New } else { dice.pick(&[State::Established, State::Related, State::Invalid]) };
        Packet { node, hook, source, destination, protocol, ports, icmp, state, loopback: hook == Hook::Input && dice.chance(10) }
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

/// The first and last addresses of prefixes, and their neighbours outside.
fn edges(nets: &[&str], v4: bool) -> Vec<IpAddr> {
    let bounds = nets.iter().map(|text| net(text).bounds());
    let near = bounds.flat_map(|(first, last)| [first.saturating_sub(1), first, last, last.saturating_add(1)]);
    let extra = if v4 { ["10.1.1.200", "10.1.3.250", "198.51.100.7"] } else { ["fd00:1::200", "fd00:3::250", "2001:db8::7"] };
    let extra = extra.map(|text| number(text.parse().expect("an address")).0);
    let mut edges: Vec<IpAddr> = near.chain(extra).map(|number| address(number, v4)).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}
