//! At every instant of a plan, a packet that was allowed and will be allowed passes, and one that
//! was denied and will be denied does not: on random pairs of bundles, from random states of the
//! kernel, also when the plan is killed anywhere and made anew. What happens is played on
//! [`World`], and judged by palisade's interpreter of scripts.
#![expect(
    clippy::disallowed_methods,
    reason = "the seed comes from the environment"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and says what it counted"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade::net::{Cidr, Family};
use palisade::observe::{IptablesBackend, ToolSettings};
use palisade::options::ExtensionSet;
use palisade::plan::{self, DesiredKernel, PrintCache};
use palisade::render::NodeScripts;
use palisade::ruleset::{CheckedScripts, ParsedMember, RuleText, SetKind};

use super::judge::{Counts, Pair, Said, Watch, check, converge, packets};
use super::model::{TABLES, World};
use super::small::in_place;
use crate::agree::random::{self, Dice};
use crate::agree::world::{self, Node, Policy};
use crate::agree::{compiled, parts_less};

/// Where the random numbers begin; `PALISADE_SEED` is one more.
const SEEDS: [u64; 3] = [5, 2_026, 0xca11_c0de];
const PAIRS: u64 = 24;
const STRIDE: u64 = 1_000_003;

#[test]
fn what_old_and_new_decide_alike_is_decided_so_at_every_instant() {
    let mut counts = Counts::default();
    let own = std::env::var("PALISADE_SEED")
        .ok()
        .map(|seed| seed.parse().expect("PALISADE_SEED is a number"));

    let fixed = SEEDS.iter().flat_map(|seed| {
        (0..PAIRS).map(move |index| seed.wrapping_add(index.wrapping_mul(STRIDE)))
    });
    for seed in own.into_iter().chain(fixed) {
        check_pair(seed, &mut counts)
            .unwrap_or_else(|problem| panic!("PALISADE_SEED={seed}: {problem}"));
    }

    println!("{counts:?}");
    assert!(
        counts.pairs > 50 && counts.visible > 300 && counts.kills > 200,
        "{counts:?}"
    );
    assert!(
        counts.in_place > 10 && counts.swaps > 6 && counts.switches > 40 && counts.guarded > 5,
        "{counts:?}"
    );

    assert!(counts.gates > 20, "{counts:?}");
}

/// A node that comes is one more pod range to all others. Their raw tables stay as they are, so
/// that no guard is needed, which the legacy build may not have.
#[test]
fn a_pod_range_that_comes_or_goes_writes_no_table() {
    let node = |number: usize| Node {
        name: format!("node-{number}"),
        ranges: vec![random::net(&format!("10.1.{}.0/24", 2 * number))],
        addresses: Vec::new(),
        labels: BTreeMap::new(),
    };
    let desired_of = |nodes: usize| {
        let world = world::World {
            nodes: (0..nodes).map(node).collect(),
            ..world::World::default()
        };
        desired(
            compiled(&world)
                .expect("palisade takes it")
                .first()
                .expect("a node"),
            false,
        )
    };

    let tools = ToolSettings {
        backend: IptablesBackend::Legacy,
        lock_wait: 5,
    };
    let mut kernel = World::new(false);

    for (nodes, expected) in [(2, ""), (4, "add pal-pods4"), (1, "del pal-pods4")] {
        let plan = plan::between(
            &desired_of(nodes),
            &kernel.observed(),
            &PrintCache::default(),
            &tools,
        );
        let inputs: String = plan
            .steps
            .iter()
            .flat_map(|step| &step.calls)
            .map(|call| call.input.as_str())
            .collect();
        assert!(
            expected.is_empty() || inputs.contains(expected) && !inputs.contains('*'),
            "{nodes}: {plan}"
        );
        plan.steps
            .iter()
            .for_each(|step| kernel.step(step, &mut |_| {}).expect("a step"));
    }
}

/// Were all sets changed in place, line by line, this test would tell.
#[test]
fn changes_in_place_are_found_out() {
    let (mut found, mut counts) = (0, Counts::default());
    for seed in (0..PAIRS).map(|index| SEEDS[0].wrapping_add(index.wrapping_mul(STRIDE))) {
        let mut dice = Dice(seed);
        let Some(pair) = Pair::random(&mut dice, &mut counts)
            .unwrap_or_else(|problem| panic!("seed {seed}: {problem}"))
        else {
            continue;
        };
        let packets = packets(&pair.ends(), &mut dice);
        let lines = in_place(&pair.start, &pair.goal);
        let mut known = BTreeSet::new();
        let mut watch = Watch {
            packets: &packets,
            known: &mut known,
            last: pair.start.texts(),
            said: Said::default(),
            counts: &mut counts,
            problem: None,
        };
        let call = pair.tools.sets_restore().with_input(lines);
        pair.start
            .clone()
            .run(&call, &mut |state| watch.look(state))
            .unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        found += usize::from(watch.problem.is_some());
    }

    println!("{found} of {}", counts.pairs);
    assert!(found >= 3, "{found} of {}", counts.pairs);
}

impl Pair {
    /// None where palisade refuses one of the worlds.
    fn random(dice: &mut Dice, counts: &mut Counts) -> Result<Option<Self>, String> {
        let first = random::world(dice);
        let second = if dice.chance(25) {
            random::world(dice)
        } else {
            changed(&first, dice)
        };
        let (old, new) = if dice.chance(50) {
            (first, second)
        } else {
            (second, first)
        };
        let (Ok(old), Ok(new)) = (compiled(&old), compiled(&new)) else {
            counts.refused += 1;
            return Ok(None);
        };

        counts.pairs += 1;
        let node = dice.below(old.len().min(new.len()));
        let is_at_end = dice.chance(20);
        let [old, mut new] =
            [&old[node], &new[node]].map(|scripts| desired(scripts, is_at_end != dice.chance(5)));

        if dice.chance(60) {
            new = with_other_members(&old, dice);
        }

        let is_nft = dice.chance(50);
        let tools = ToolSettings {
            backend: if is_nft {
                IptablesBackend::Nft
            } else {
                IptablesBackend::Legacy
            },
            lock_wait: 5,
        };

        let mut start = with_others(World::new(is_nft));
        let mut memory = PrintCache::default();
        if dice.chance(92) {
            memory = converge(&mut start, &old, &tools)?;
            disturb(&mut start, dice);
        }

        if dice.chance(10) {
            memory = PrintCache::default();
        }

        let mut goal = with_others(World::new(is_nft));
        converge(&mut goal, &new, &tools)?;
        Ok(Some(Self {
            start,
            memory,
            goal,
            new,
            tools,
        }))
    }
}

fn check_pair(seed: u64, counts: &mut Counts) -> Result<(), String> {
    let mut dice = Dice(seed);
    match Pair::random(&mut dice, counts)? {
        Some(pair) => check(&pair, &mut dice, counts),
        None => Ok(()),
    }
}

/// What a node is to hold; by chance the jumps stand at the end of the kernel's chains.
fn desired(scripts: &NodeScripts, is_at_end: bool) -> DesiredKernel {
    let files: BTreeMap<String, String> = scripts
        .files()
        .into_iter()
        .map(|(name, text)| {
            let at_end = |line: &str| match line
                .strip_prefix("-I ")
                .and_then(|rest| rest.split_once(" 1 "))
            {
                Some((chain, rule)) if is_at_end => format!("-A {chain} {rule}\n"),
                Some(_) | None => format!("{line}\n"),
            };
            (name.to_owned(), text.lines().map(at_end).collect())
        })
        .collect();
    let files = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));

    DesiredKernel::from_scripts(
        CheckedScripts::read(files, &ExtensionSet::default()).expect("palisade wrote it"),
    )
}

/// The same rules with other members in a few sets, often the same in all of them.
fn with_other_members(old: &DesiredKernel, dice: &mut Dice) -> DesiredKernel {
    let mut new = old.clone();
    let looked: BTreeSet<String> = old
        .tables
        .values()
        .flat_map(|table| table.chains.values().flatten())
        .flat_map(RuleText::sets)
        .map(str::to_owned)
        .collect();
    let names: Vec<String> = looked
        .into_iter()
        .filter(|name| name.starts_with("pal-s") || dice.chance(40))
        .collect();
    let count = 1 + dice.below(3);
    let some: Vec<String> = (0..1 + dice.below(3))
        .map(|_| dice.pick(&NETS).to_owned())
        .collect();

    let names: Vec<String> = (0..count).filter_map(|_| pick(&names, dice)).collect();
    for name in names {
        let set = new.sets.get_mut(&name).expect("a set");
        let kept = dice.pick(&[40, 90, 100]);
        set.members.retain(|_| dice.chance(kept));
        let more: Vec<ParsedMember> = match set.kind {
            Some(SetKind::Nets(family)) => nets(family, &some, dice),
            Some(SetKind::Ports) => vec![ParsedMember::Port(80), ParsedMember::Port(443)],
            Some(SetKind::Services(_)) | None => Vec::new(),
        };
        set.members.extend(more);
        set.members.sort_unstable();
        set.members.dedup();
        set.members.dedup_by(|left, right| matches!((left, right), (ParsedMember::Net(left, _), ParsedMember::Net(right, _)) if left == right));
    }

    new
}

/// Prefixes that may come into sets.
const NETS: [&str; 12] = [
    "10.1.1.4",
    "10.1.1.5",
    "10.1.2.3",
    "10.1.2.0/24",
    "10.1.0.0/16",
    "203.0.113.128/25",
    "198.51.100.7",
    "fd00:1::4",
    "fd00:1::/64",
    "fd00:2::3",
    "2001:db8::/32",
    "2001:db8:8000::/33",
];

fn nets(family: Family, some: &[String], dice: &mut Dice) -> Vec<ParsedMember> {
    let nets = some
        .iter()
        .filter_map(|text| Cidr::parse_lenient(text))
        .filter(|net| net.family() == family);
    let is_exception = dice.chance(15);
    nets.map(|net| ParsedMember::Net(net, is_exception))
        .collect()
}

/// A kernel in which others have rules of their own.
fn with_others(mut world: World) -> World {
    for family in Family::BOTH {
        world.insert(
            family,
            "filter",
            "FORWARD",
            0,
            "-m comment --comment \"docker's\" -j ACCEPT",
        );
        world.insert(family, "filter", "INPUT", 0, "-i lo -j ACCEPT");
    }

    world
}

/// What may have happened since.
fn disturb(world: &mut World, dice: &mut Dice) {
    if dice.chance(60) {
        return;
    }

    for _ in 0..1 + dice.below(3) {
        match dice.below(8) {
            0 | 1 => disturb_set(world, dice),
            2 | 3 => rename_set(world, dice),
            4 | 5 => disturb_chain(world, dice),
            6 => disturb_hook(world, dice),
            _ => {
                let (create, members) = (
                    "hash:ip family inet hashsize 64 maxelem 10".to_owned(),
                    BTreeMap::new(),
                );
                world.sets.insert(
                    "pal-left-over".to_owned(),
                    super::model::Members { create, members },
                );
                world
                    .tables
                    .get_mut(&(Family::V4, "filter"))
                    .expect("a table")
                    .insert("pal-old".to_owned(), vec!["-j DROP".to_owned()]);
            }
        }
    }
}

fn disturb_set(world: &mut World, dice: &mut Dice) {
    let names: Vec<String> = world
        .sets
        .keys()
        .filter(|name| world.sets[*name].create.starts_with("hash:net"))
        .cloned()
        .collect();
    let Some(set) = pick(&names, dice).and_then(|name| world.sets.get_mut(&name)) else {
        return;
    };

    let members: Vec<String> = set.members.keys().cloned().collect();
    match pick(&members, dice).filter(|_| dice.chance(60)) {
        Some(member) => drop(set.members.remove(&member)),
        None => {
            let word = if set.create.contains("inet6") {
                "2001:db8::/34"
            } else {
                "203.0.113.64/26"
            };
            set.members.insert(word.to_owned(), dice.chance(30));
        }
    }
}

/// A set that stands under another of its names, also for the rules of one family only.
fn rename_set(world: &mut World, dice: &mut Dice) {
    let names: Vec<String> = world.sets.keys().cloned().collect();
    let Some(name) = pick(&names, dice) else {
        return;
    };

    let slots: Vec<String> = plan::slots(&plan::base(&name))
        .filter(|slot| !world.sets.contains_key(slot))
        .collect();
    let Some(slot) = pick(&slots, dice) else {
        return;
    };

    world.sets.insert(slot.clone(), world.sets[&name].clone());
    let only = dice.chance(30).then(|| dice.pick(&Family::BOTH));
    for ((family, _), chains) in &mut world.tables {
        let is_renamed = only.is_none_or(|only| only == *family);
        for rule in chains.values_mut().flatten().filter(|_| is_renamed) {
            *rule = rule.replace(
                &format!("--match-set {name} "),
                &format!("--match-set {slot} "),
            );
        }
    }
}

fn disturb_chain(world: &mut World, dice: &mut Dice) {
    let family = dice.pick(&Family::BOTH);
    let (table, _) = dice.pick(&TABLES);
    let chains = world.tables.get_mut(&(family, table)).expect("a table");

    let names: Vec<String> = chains
        .keys()
        .filter(|name| name.starts_with("pal-"))
        .cloned()
        .collect();
    let Some(rules) = pick(&names, dice).and_then(|name| chains.get_mut(&name)) else {
        return;
    };

    match dice.below(4) {
        0 => rules.clear(),
        1 if !rules.is_empty() => drop(rules.remove(dice.below(rules.len()))),
        2 if !rules.is_empty() => rules.push(rules[0].clone()),
        _ => rules.insert(
            0,
            if family == Family::V4 {
                "-s 10.1.1.0/24 -j ACCEPT"
            } else {
                "-s fd00:1::/64 -j DROP"
            }
            .to_owned(),
        ),
    }
}

fn disturb_hook(world: &mut World, dice: &mut Dice) {
    let family = dice.pick(&Family::BOTH);
    let chain = dice.pick(&["FORWARD", "INPUT", "OUTPUT"]);
    let rules = world
        .tables
        .get_mut(&(family, "filter"))
        .and_then(|chains| chains.get_mut(chain))
        .expect("a chain");

    match dice.below(4) {
        0 => rules.insert(
            0,
            "-m comment --comment \"somebody's\" -j ACCEPT".to_owned(),
        ),
        1 => rules.clear(),
        2 => rules.extend(rules.clone()),
        _ => rules.reverse(),
    }
}

fn pick(items: &[String], dice: &mut Dice) -> Option<String> {
    (!items.is_empty()).then(|| dice.pick(items))
}

/// A world that differs a little: somebody or something comes, goes or changes.
fn changed(world: &world::World, dice: &mut Dice) -> world::World {
    let mut changed = world.clone();
    for _ in 0..1 + dice.below(3) {
        let count = changed.pods.len();
        match dice.below(6) {
            0 | 1 => {
                let less = parts_less(&changed);
                changed = if less.is_empty() {
                    changed
                } else {
                    dice.pick(&less)
                };
            }
            2 if count > 0 => {
                let pod = dice.pick(&changed.pods);
                let addresses = pod
                    .addresses
                    .iter()
                    .map(|address| moved(*address, dice))
                    .collect();
                changed.pods.push(world::Pod {
                    name: format!("new-{count}"),
                    addresses,
                    ..pod
                });
            }
            3 if count > 0 => {
                let pod = &mut changed.pods[dice.below(count)];
                pod.addresses = pod
                    .addresses
                    .iter()
                    .map(|address| moved(*address, dice))
                    .collect();
            }
            4 if count > 0 => changed.pods[dice.below(count)].labels = random::labels(dice),
            _ => grow(&mut changed, dice),
        }
    }

    changed
}

/// More prefixes in a network set, or a policy's rules turned around.
fn grow(world: &mut world::World, dice: &mut Dice) {
    let sets = world.net_sets.len();
    if sets > 0 && dice.chance(70) {
        let nets = [
            "198.51.100.0/24",
            "10.9.0.0/16",
            "10.1.1.4/32",
            "10.1.2.0/25",
            "2001:db8:1::/48",
            "fd00:1::4/128",
        ];
        let set = &mut world.net_sets[dice.below(sets)];
        (0..1 + dice.below(4)).for_each(|_| set.nets.push(random::net(dice.pick(&nets))));
        return;
    }

    let policies = world.policies.len();
    if policies > 0 {
        match &mut world.policies[dice.below(policies)] {
            Policy::Calico(policy) => {
                policy.ingress.reverse();
                policy.egress.reverse();
            }
            Policy::Kubernetes(policy) => drop(policy.ingress.pop()),
            Policy::Cluster(policy) => policy.ingress.reverse(),
        }
    }
}

/// Another address nearby.
fn moved(address: IpAddr, dice: &mut Dice) -> IpAddr {
    let (number, bits) = world::number(address);
    world::address(number ^ (1 + dice.below(30) as u128), bits == 32)
}
