//! Host endpoints of random worlds, and policy of them.

use std::net::IpAddr;

use super::meaning::Cluster;
use super::random::{
    Dice, INTERFACES, PORT_NAMES, PORTS, SCTP, TCP, UDP, V4, V6, calico, claim_a_namespace, labels,
    net, own_address, profile_rule, profiles, selector,
};
use super::world::{
    CalicoPolicy, Entity, Failsafe, Host, NamedPort, Policy, Port, Stage, Way, World,
};

/// The host endpoints of a world; now and then none.
pub(super) fn some(dice: &mut Dice, nodes: usize) -> Vec<Host> {
    if dice.chance(30) {
        return Vec::new();
    }

    let places = dice.pick(&[
        Places::Interfaces,
        Places::Interfaces,
        Places::WithEverywhere,
        Places::All,
    ]);

    let hosts = 1 + dice.below(3 * nodes);
    (0..hosts)
        .map(|index| host(dice, index, nodes, places))
        .collect()
}

/// Policies for the host endpoints, where there are any.
pub(super) fn add_policies(dice: &mut Dice, world: &mut World, tiers: &[String]) {
    if world.hosts.is_empty() {
        return;
    }

    world
        .policies
        .iter_mut()
        .for_each(|policy| in_stage(dice, policy));
    world
        .policies
        .extend((0..2 + dice.below(4)).map(|_| host_policy(dice, tiers)));

    for (name, stage) in [("u", Stage::Untracked), ("v", Stage::PreDnat)] {
        world
            .policies
            .extend(dice.chance(50).then(|| early_policy(dice, name, stage)));
    }
}

pub(super) fn failsafes(dice: &mut Dice) -> Vec<Failsafe> {
    dice.some(0, 3, failsafe)
}

/// Where the host endpoints of a world are: fewer places leave more lists to have policy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Places {
    Interfaces,
    WithEverywhere,
    All,
}

/// Names go against the order in which they are written.
fn host(dice: &mut Dice, index: usize, nodes: usize, places: Places) -> Host {
    let node = dice.below(nodes);
    let interface = match (dice.below(10), places) {
        (8 | 9, Places::All) => None,
        (5..=7, Places::All | Places::WithEverywhere) => Some("*".to_owned()),
        (4, _) => Some(dice.word(&INTERFACES)),
        (_, _) => Some(dice.word(&INTERFACES[..2])),
    };
    let least = usize::from(interface.is_none());

    let mut addresses: Vec<IpAddr> = dice.some(least, 2, |dice| {
        let v4 = dice.chance(60);
        own_address(node, v4)
    });
    addresses.sort_unstable();
    addresses.dedup();

    let mut labels = labels(dice);
    claim_a_namespace(dice, &mut labels);
    Host {
        name: format!("host-{}", 9 - index),
        node,
        interface,
        addresses,
        labels,
        ports: dice.some(0, 2, |dice| NamedPort {
            name: dice.word(&PORT_NAMES),
            protocol: dice.pick(&[TCP, UDP, SCTP]),
            number: dice.pick(&PORTS),
        }),
        profiles: match dice.below(3) {
            0 => vec!["projectcalico-default-allow".to_owned()],
            1 => Vec::new(),
            _ => profiles(dice),
        },
    }
}

fn failsafe(dice: &mut Dice) -> Failsafe {
    let net = dice.maybe(40, |dice| {
        if dice.chance(60) {
            net(&dice.word(&V4))
        } else {
            net(&dice.word(&V6))
        }
    });

    Failsafe {
        protocol: dice.pick(&[TCP, UDP]),
        net,
        port: dice.pick(&PORTS),
    }
}

/// Makes a global policy one for some part of host endpoints' traffic.
fn in_stage(dice: &mut Dice, policy: &mut Policy) {
    let Policy::Calico(policy) = policy else {
        return;
    };
    if policy.namespace.is_some() {
        return;
    }

    policy.stage = match dice.below(10) {
        0..=3 => Stage::Plain,
        4 | 5 => Stage::Forwarded,
        6 | 7 => Stage::Untracked,
        _ => Stage::PreDnat,
    };

    if policy.stage == Stage::PreDnat {
        before_dnat(policy);
    }
}

fn before_dnat(policy: &mut CalicoPolicy) {
    policy.stage = Stage::PreDnat;
    policy.egress.clear();
    policy.types.retain(|way| *way == Way::Ingress);
}

/// A policy that likely applies to host endpoints.
fn host_policy(dice: &mut Dice, tiers: &[String]) -> Policy {
    let name = dice.word(&["h", "h-i", "i", "j"]);
    let [ingress, egress] =
        [Way::Ingress, Way::Egress].map(|way| dice.some(0, 4, |dice| profile_rule(dice, way)));
    let drawn = calico(dice, name, false, tiers);

    let mut policy = Policy::Calico(CalicoPolicy {
        selector: dice.maybe(70, |dice| selector(dice, 1)),
        namespaces: None,
        accounts: None,
        ingress,
        egress,
        ..drawn
    });
    in_stage(dice, &mut policy);

    policy
}

/// Policy of all host endpoints, before any other of its stage.
fn early_policy(dice: &mut Dice, name: &str, stage: Stage) -> Policy {
    let [ingress, egress] =
        [Way::Ingress, Way::Egress].map(|way| dice.some(1, 4, |dice| profile_rule(dice, way)));
    let types = vec![Way::Ingress, Way::Egress];
    let mut policy = CalicoPolicy {
        name: name.to_owned(),
        order: Some(-2.0),
        types,
        stage,
        ingress,
        egress,
        ..CalicoPolicy::default()
    };

    if stage == Stage::PreDnat {
        before_dnat(&mut policy);
    }

    Policy::Calico(policy)
}

/// Takes back what palisade refuses by design (semantics §10.16, §10.17, §10.23).
pub(super) fn settle(world: &mut World) {
    let mut all: Vec<Policy> = world
        .policies
        .iter()
        .chain(world.staged.iter().map(|staged| &staged.policy))
        .cloned()
        .collect();
    let cluster = Cluster::of(world);
    let by_address = |node: usize| {
        world
            .hosts
            .iter()
            .any(|host| host.node == node && host.interface.is_none())
    };

    for policy in &mut all {
        let hosts = cluster.hosts_of(policy);
        let Policy::Calico(policy) = policy else {
            continue;
        };
        let untold = |host: &&Host| match host.interface.as_deref() {
            None => true,
            Some("*") => policy.stage == Stage::Untracked || by_address(host.node),
            Some(_) => false,
        };
        if hosts.iter().any(untold) {
            policy.stage = Stage::Plain;
        }
        if policy.stage == Stage::PreDnat {
            policy
                .ingress
                .iter_mut()
                .for_each(|rule| of_original(&mut rule.destination));
        }
    }

    let staged = all.split_off(world.policies.len());
    world.policies = all;
    world
        .staged
        .iter_mut()
        .zip(staged)
        .for_each(|(staged, policy)| staged.policy = policy);
}

/// Leaves of a destination what can be asked behind DNAT.
fn of_original(destination: &mut Entity) {
    destination
        .not_ports
        .retain(|port| matches!(port, Port::Numbers(..)));
    destination.not_ports.truncate(4);
    destination.ports.truncate(3);

    let selects = destination.selector.is_some()
        || destination.namespaces.is_some()
        || !destination.account_names.is_empty();
    if selects || destination.accounts.is_some() {
        destination.ports.truncate(1);
    } else {
        destination.not_selector = None;
    }
}
