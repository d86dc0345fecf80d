//! Several tables of a family that change together: small ones at random, in which packets find
//! whatever stands between old and new.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and says what it counted"
)]

use std::collections::BTreeMap;

use super::desired_of;
use palisade::observe::{IptablesBackend, ToolSettings};
use palisade::plan::{self, DesiredKernel, Plan, PrintCache, StepWeight};

use super::judge::{Counts, Pair, Said, Watch, check, converge, packets};
use super::model::World;
use crate::agree::random::Dice;

const SEED: u64 = 77;
const STRIDE: u64 = 1_000_003;
const PAIRS: u64 = 500;
const NETS: [&str; 5] = [
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.1",
    "10.1.2.9",
    "10.2.0.0/16",
];
const SETS: usize = 2;
const TOOLS: ToolSettings = ToolSettings {
    backend: IptablesBackend::Nft,
    lock_wait: 5,
};

/// A table: the kernel's chains that lead to ours, what rules do, and what they ask beside
/// addresses.
struct Kind {
    name: &'static str,
    chains: &'static [&'static str],
    leads: &'static [&'static str],
    asked: &'static [&'static str],
}

const TABLES: [Kind; 3] = [
    Kind {
        name: "raw",
        chains: &["PREROUTING", "OUTPUT"],
        leads: &[
            "-j DROP",
            "-j CT --notrack",
            "-j CT --notrack",
            "-j RETURN",
            "-j ACCEPT",
        ],
        asked: &[""],
    },
    Kind {
        name: "mangle",
        chains: &["PREROUTING"],
        leads: &["-j DROP", "-j DROP", "-j RETURN", "-j ACCEPT"],
        asked: &["", "", "-m conntrack --ctstate UNTRACKED"],
    },
    Kind {
        name: "filter",
        chains: &["FORWARD", "INPUT", "OUTPUT"],
        leads: &["-j DROP", "-j ACCEPT", "-j RETURN"],
        asked: &[
            "",
            "",
            "-m conntrack --ctstate UNTRACKED",
            "-m conntrack --ctstate RELATED,ESTABLISHED",
        ],
    },
];

/// How the input of a commit is changed.
type Way = fn(&str) -> String;

/// Members of sets, and the rules of tables by chain; no chains where there is no such table.
#[derive(Debug, Clone)]
struct Small {
    sets: Vec<Vec<&'static str>>,
    tables: [BTreeMap<&'static str, Vec<String>>; 3],
}

impl Small {
    fn random(dice: &mut Dice) -> Self {
        let sets = (0..SETS).map(|_| members(dice)).collect();
        Self {
            sets,
            tables: [0, 1, 2].map(|at| table(at, dice)),
        }
    }

    /// Tables and sets that are not what they were.
    fn changed(&self, dice: &mut Dice) -> Self {
        let mut changed = self.clone();
        for at in 0..TABLES.len() {
            match dice.below(4) {
                0 => {}
                1 => changed.tables[at] = table(at, dice),
                _ => changed.tables[at]
                    .values_mut()
                    .for_each(|rules| change(at, rules, dice)),
            }
        }

        if dice.chance(40) {
            changed.sets[dice.below(SETS)] = members(dice);
        }

        changed
    }

    fn desired(&self) -> DesiredKernel {
        let create = |at: usize| {
            format!("create pal-s4-{at} hash:net family inet hashsize 1024 maxelem 65536\n")
        };
        let set = |(at, members): (usize, &Vec<&str>)| {
            create(at)
                + &members
                    .iter()
                    .map(|member| format!("add pal-s4-{at} {member}\n"))
                    .collect::<String>()
        };
        let sets: String = self.sets.iter().enumerate().map(set).collect();
        let tables: Vec<String> = TABLES
            .iter()
            .zip(&self.tables)
            .map(|(kind, chains)| text(kind.name, chains))
            .collect();

        let file = |name: &str| match name {
            "sets.ipset" => Some(sets.as_str()),
            "raw.v4.rules" => Some(tables[0].as_str()).filter(|_| !self.tables[0].is_empty()),
            "mangle.v4.rules" => Some(tables[1].as_str()).filter(|_| !self.tables[1].is_empty()),
            "filter.v4.rules" => Some(tables[2].as_str()),
            _ => None,
        };
        desired_of(file)
    }
}

fn members(dice: &mut Dice) -> Vec<&'static str> {
    NETS.into_iter().filter(|_| dice.chance(45)).collect()
}

fn table(at: usize, dice: &mut Dice) -> BTreeMap<&'static str, Vec<String>> {
    let Kind { name, chains, .. } = TABLES[at];
    if name != "filter" && dice.chance(30) {
        return BTreeMap::new();
    }

    let mut rules = |chain: &&'static str| {
        let mut rules: Vec<String> = (0..1 + dice.below(3)).map(|_| rule(at, dice)).collect();
        rules.extend(
            (name == "filter" && dice.chance(60))
                .then(|| dice.pick(&["-j DROP", "-j ACCEPT"]).to_owned()),
        );
        (*chain, rules)
    };
    chains.iter().map(&mut rules).collect()
}

fn rule(at: usize, dice: &mut Dice) -> String {
    let Kind { leads, asked, .. } = TABLES[at];
    let side = dice.pick(&["src", "dst"]);
    let address = match dice.below(3) {
        0 => format!("-m set --match-set pal-s4-{} {side}", dice.below(SETS)),
        _ => format!(
            "{} {}",
            if side == "src" { "-s" } else { "-d" },
            dice.pick(&NETS)
        ),
    };

    [address.as_str(), dice.pick(asked), dice.pick(leads)]
        .join(" ")
        .replace("  ", " ")
}

fn change(at: usize, rules: &mut Vec<String>, dice: &mut Dice) {
    match dice.below(3) {
        0 => rules.insert(dice.below(rules.len() + 1), rule(at, dice)),
        1 if !rules.is_empty() => drop(rules.remove(dice.below(rules.len()))),
        _ => rules.reverse(),
    }
}

fn text(name: &str, chains: &BTreeMap<&'static str, Vec<String>>) -> String {
    let declared: String = chains
        .keys()
        .map(|chain| format!(":pal-{chain} - [0:0]\n"))
        .collect();
    let rules = chains.iter().flat_map(|(chain, rules)| {
        rules
            .iter()
            .map(move |rule| format!("-A pal-{chain} {rule}\n"))
    });
    let hooks: String = chains
        .keys()
        .map(|chain| format!("-I {chain} 1 -m comment --comment \"palisade\" -j pal-{chain}\n"))
        .collect();

    format!(
        "*{name}\n{declared}{}{hooks}COMMIT\n",
        rules.collect::<String>()
    )
}

/// A kernel in which a plan to some state was killed at some instant.
fn killed(mut world: World, other: &DesiredKernel, dice: &mut Dice) -> World {
    let plan = plan::between(other, &world.observed(), &PrintCache::default(), &TOOLS);
    let mut states = vec![world.clone()];
    let mut note = |state: &World| states.extend((!state.is_fleeting).then(|| state.clone()));
    plan.steps
        .iter()
        .for_each(|step| world.step(step, &mut note).expect("it runs"));
    dice.pick(&states)
}

fn pair(seed: u64) -> (Pair, Dice) {
    let mut dice = Dice(seed);
    let old = Small::random(&mut dice);
    let new = old.changed(&mut dice);
    let mut start = World::new(true);
    let memory = converge(&mut start, &old.desired(), &TOOLS).expect("it runs");

    if dice.chance(40) {
        start = killed(start, &old.changed(&mut dice).desired(), &mut dice);
    }

    let mut goal = World::new(true);
    converge(&mut goal, &new.desired(), &TOOLS).expect("it runs");
    (
        Pair {
            start,
            memory,
            goal,
            new: new.desired(),
            tools: TOOLS,
        },
        dice,
    )
}

fn pairs() -> impl Iterator<Item = (u64, Pair, Dice)> {
    let seeds = (0..PAIRS).map(|index| SEED.wrapping_add(index.wrapping_mul(STRIDE)));
    seeds.map(|seed| {
        let (pair, dice) = pair(seed);
        (seed, pair, dice)
    })
}

#[test]
fn several_tables_keep_the_law() {
    let mut counts = Counts::default();
    for (seed, pair, mut dice) in pairs() {
        check(&pair, &mut dice, &mut counts)
            .unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        counts.pairs += 1;
    }

    println!("{counts:?}");
    assert!(
        counts.guarded > 200 && counts.said.iter().all(|said| *said > 50),
        "{counts:?}"
    );
    assert!(counts.leaks > 0 && counts.losses > 0, "{counts:?}");
}

/// Were there no guards, or were tables written in another order, this test would tell.
#[test]
fn plans_without_a_guard_are_found_out() {
    let ways: [(&str, Way); 2] = [("no guard", without_guard), ("backwards", backwards)];

    for (name, changed) in ways {
        let (mut found, mut count) = (0, 0);
        for (_, pair, mut dice) in pairs() {
            let mut plan =
                plan::between(&pair.new, &pair.start.observed(), &pair.memory, &pair.tools);
            if Said::of(&plan).leaks[0] {
                continue;
            }
            let inputs = plan
                .steps
                .iter_mut()
                .flat_map(|step| &mut step.calls)
                .map(|call| &mut call.input);
            let several = inputs
                .filter(|input| input.matches("COMMIT\n").count() > 1 && !input.contains("-X "));
            let is_changed = several.map(|input| *input = changed(input)).count() > 0;
            count += usize::from(is_changed);
            found += usize::from(is_changed && breaks_the_law(&pair, &plan, &mut dice));
        }
        println!("{name}: {found} of {count}");
        assert!(found >= 10, "{name}: {found} of {count}");
    }
}

fn breaks_the_law(pair: &Pair, plan: &Plan, dice: &mut Dice) -> bool {
    let packets = packets(&pair.ends(), dice);
    let (mut known, mut counts) = (std::collections::BTreeSet::new(), Counts::default());
    let mut watch = Watch {
        packets: &packets,
        known: &mut known,
        last: pair.start.texts(),
        said: Said::of(plan),
        counts: &mut counts,
        problem: None,
    };
    let mut world = pair.start.clone();

    let steps = plan
        .steps
        .iter()
        .filter(|step| step.weight == StepWeight::Must);
    steps.for_each(|step| {
        world
            .step(step, &mut |state| watch.look(state))
            .expect("it runs")
    });

    watch.problem.is_some()
}

/// The transactions of an input.
fn transactions(input: &str) -> Vec<String> {
    input
        .split_inclusive("COMMIT\n")
        .map(str::to_owned)
        .collect()
}

fn without_guard(input: &str) -> String {
    transactions(input)
        .into_iter()
        .filter(|text| !text.starts_with("*security"))
        .collect()
}

fn backwards(input: &str) -> String {
    let (guard, mut own): (Vec<String>, Vec<String>) = transactions(input)
        .into_iter()
        .partition(|text| text.starts_with("*security"));
    own.reverse();
    let first = guard.first().into_iter().filter(|_| guard.len() > 1);
    first
        .chain(&own)
        .chain(guard.last())
        .map(String::as_str)
        .collect()
}
