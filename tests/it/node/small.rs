//! Sets that change while rules of one small table look into them: most changes are in place.
#![expect(clippy::print_stdout, reason = "a test says what it counted")]

use std::collections::{BTreeMap, BTreeSet};

use super::desired_of;
use palisade::observe::{IptablesBackend, ToolSettings};
use palisade::plan::DesiredKernel;

use super::judge::{Counts, Pair, Said, Watch, check, converge, packets};
use super::model::World;
use crate::agree::random::Dice;

/// Where the random numbers begin.
const SEED: u64 = 2_026;
const STRIDE: u64 = 1_000_003;

/// A few rules that look into a few sets, whose members overlap: most changes are in place.
#[test]
fn changes_in_place_keep_the_law() {
    let mut counts = Counts::default();
    for seed in (0..SMALL).map(|index| SEED.wrapping_add(index.wrapping_mul(STRIDE))) {
        let mut dice = Dice(seed);
        let table = small_table(&mut dice);
        let mut members: Vec<Vec<String>> =
            (0..SMALL_SETS).map(|_| small_members(&mut dice)).collect();
        let old = small(&members, &table);
        for _ in 0..1 + dice.below(3) {
            let set = &mut members[dice.below(SMALL_SETS)];
            if dice.chance(20) {
                *set = small_members(&mut dice);
                continue;
            }
            let net = dice.pick(&SMALL_NETS);
            let count = set.len();
            set.retain(|member| member.split(' ').next() != Some(net));
            set.extend((set.len() == count).then(|| net.to_owned()));
        }
        let new = small(&members, &table);
        let tools = ToolSettings {
            backend: IptablesBackend::Nft,
            lock_wait: 5,
        };
        let (mut start, mut goal) = (World::new(true), World::new(true));
        let memory = converge(&mut start, &old, &tools).expect("it runs");
        converge(&mut goal, &new, &tools).expect("it runs");
        let pair = Pair {
            start,
            memory,
            goal,
            new,
            tools,
        };
        check(&pair, &mut dice, &mut counts)
            .unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{table}"));
        counts.pairs += 1;
    }

    println!("{counts:?}");
    assert!(
        counts.in_place > 200 && counts.swaps > 100 && counts.switches > 100,
        "{counts:?}"
    );
}

/// Pairs of the test with small tables, and the sets of each.
const SMALL: u64 = 600;
const SMALL_SETS: usize = 3;
const SMALL_NETS: [&str; 7] = [
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.1",
    "10.1.1.2",
    "10.1.2.0/24",
    "10.1.2.9",
    "10.2.0.0/16",
];

fn small(sets: &[Vec<String>], table: &str) -> DesiredKernel {
    let text: String = (0..)
        .zip(sets)
        .map(|(index, members)| {
            let members: String = members
                .iter()
                .map(|member| format!("add pal-s4-{index} {member}\n"))
                .collect();
            format!(
                "create pal-s4-{index} hash:net family inet hashsize 1024 maxelem 65536\n{members}"
            )
        })
        .collect();

    let file = |name: &str| match name {
        "sets.ipset" => Some(text.as_str()),
        "filter.v4.rules" => Some(table),
        _ => None,
    };
    desired_of(file)
}

fn small_table(dice: &mut Dice) -> String {
    let sides: &[&str] = if dice.chance(50) {
        &["src"]
    } else {
        &["src", "dst"]
    };

    let leads: &[&str] = match dice.below(3) {
        0 => &["-j ACCEPT", "-g pal-allowed"],
        1 => &["-j ACCEPT", "-j DROP", "-g pal-allowed"],
        _ => &["-j ACCEPT", "-j DROP", "-j RETURN", "-g pal-class"],
    };
    let count = 2 + dice.below(3);

    let mut rule = || {
        let negation = if dice.chance(35) { "! " } else { "" };
        let (set, side, lead) = (dice.below(SMALL_SETS), dice.pick(sides), dice.pick(leads));
        format!("-A pal-FORWARD -m set {negation}--match-set pal-s4-{set} {side} {lead}\n")
    };

    let rules: String = (0..count).map(|_| rule()).collect();
    let end = dice.pick(&["-j DROP", "-j ACCEPT", "-j RETURN"]);
    format!(
        "*filter\n:pal-FORWARD - [0:0]\n:pal-allowed - [0:0]\n:pal-class - [0:0]\n{}-A \
         pal-FORWARD {end}\n-A pal-allowed -j ACCEPT\n-A pal-class -m set --match-set pal-s4-0 \
         dst -j ACCEPT\n-A pal-class -j DROP\n-I FORWARD 1 -j pal-FORWARD\nCOMMIT\n",
        rules
    )
}

fn small_members(dice: &mut Dice) -> Vec<String> {
    let chosen: Vec<&str> = SMALL_NETS.into_iter().filter(|_| dice.chance(45)).collect();
    chosen
        .into_iter()
        .map(|net| format!("{net}{}", if dice.chance(20) { " nomatch" } else { "" }))
        .collect()
}

/// Were the last prefix of a length removed in place, this test would tell: the kernel may miss a
/// wider one meanwhile.
#[test]
fn the_race_of_lengths_is_found_out() {
    let table = "*filter\n:pal-FORWARD - [0:0]\n-A pal-FORWARD -m set --match-set pal-s4-0 src -j \
                 ACCEPT\n-A pal-FORWARD -j DROP\n-I FORWARD 1 -j pal-FORWARD\nCOMMIT\n";
    let members = |words: &[&str]| [words.iter().map(|word| (*word).to_owned()).collect()];
    let [old, new] = [&["10.1.0.0/16", "10.1.1.1"][..], &["10.1.0.0/16"]]
        .map(|words| small(&members(words), table));
    let tools = ToolSettings {
        backend: IptablesBackend::Nft,
        lock_wait: 5,
    };
    let (mut start, mut goal) = (World::new(true), World::new(true));
    let memory = converge(&mut start, &old, &tools).expect("it runs");

    converge(&mut goal, &new, &tools).expect("it runs");
    let pair = Pair {
        start,
        memory,
        goal,
        new,
        tools,
    };
    let (mut dice, mut counts, mut known) = (Dice(SEED), Counts::default(), BTreeSet::new());

    check(&pair, &mut dice, &mut counts).unwrap_or_else(|problem| panic!("{problem}"));
    let packets = packets(&pair.ends(), &mut dice);
    let last = pair.start.texts();
    let mut watch = Watch {
        packets: &packets,
        known: &mut known,
        last,
        said: Said::default(),
        counts: &mut counts,
        problem: None,
    };
    let call = tools
        .sets_restore()
        .with_input(in_place(&pair.start, &pair.goal));

    pair.start
        .clone()
        .run(&call, &mut |state| watch.look(state))
        .expect("it runs");
    assert!(
        watch
            .problem
            .is_some_and(|problem| problem.contains("old and new say Accept")),
        "nobody saw it"
    );
}

/// The lines that change every set of one kernel to that of another, by its name and while rules
/// look into it.
pub(super) fn in_place(start: &World, goal: &World) -> String {
    let mut lines = String::new();
    for (name, set) in &goal.sets {
        let none = BTreeMap::new();
        let found = start
            .sets
            .get(name)
            .filter(|found| found.create == set.create);
        if found.is_none() && start.sets.contains_key(name) {
            continue;
        }
        lines.push_str(&if found.is_none() {
            format!("create {name} {}\n", set.create)
        } else {
            String::new()
        });
        let found = found.map_or(&none, |found| &found.members);
        let changes =
            |from: &BTreeMap<String, bool>, to: &BTreeMap<String, bool>| -> Vec<(String, bool)> {
                from.iter()
                    .filter(|(member, is_exception)| to.get(*member) != Some(is_exception))
                    .map(|(name, is)| (name.clone(), *is))
                    .collect()
            };
        lines.extend(
            changes(found, &set.members)
                .iter()
                .map(|(member, _)| format!("del {name} {member}\n")),
        );
        lines.extend(
            changes(&set.members, found)
                .iter()
                .map(|(member, is_exception)| {
                    format!(
                        "add {name} {member}{}\n",
                        if *is_exception { " nomatch" } else { "" }
                    )
                }),
        );
    }

    lines
}
