//! At every instant of a plan, a packet that was allowed and will be allowed passes, and one that was denied and will be denied does
//! not: on random pairs of bundles, from random states of the kernel, also when the plan is killed anywhere and made anew.
//! What happens is played on [`World`], and judged by palisade's interpreter of scripts.
#![expect(clippy::disallowed_methods, reason = "the seed comes from the environment")]
#![expect(clippy::indexing_slicing, clippy::print_stdout, reason = "a test may panic, and says what it counted")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade::analysis::netfilter::Kernel;
use palisade::analysis::space::{Class, Cuts, Range, Traffic};
use palisade::analysis::{Flow, Hook, Original, Packet, State, Verdict};
use palisade::net::{Cidr, Family, Protocol};
use palisade::observe::{Backend, Tools};
use palisade::plan::{self, Desired, Memory, Plan};
use palisade::render::Scripts;
use palisade::script::{Member, Rule, SetKind};

use super::model::{Loaded, TABLES, World, WorldTexts};
use crate::agree::random::{self, Dice};
use crate::agree::world::{self, Policy};
use crate::agree::{compiled, parts_less};

/// Where the random numbers begin; `PALISADE_SEED` is one more.
const SEEDS: [u64; 3] = [5, 2_026, 0xca11_c0de];
const PAIRS: u64 = 24;
const STRIDE: u64 = 1_000_003;
/// Packets of a pair.
const PACKETS: usize = 800;
/// Of the instants of a plan, so many are tried as the last one.
const KILLS: usize = 8;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) pairs: usize,
    pub(super) refused: usize,
    /// States that packets could meet, and those of them that differ from the one before.
    pub(super) instants: usize,
    pub(super) visible: usize,
    pub(super) packets: usize,
    pub(super) kills: usize,
    pub(super) in_place: usize,
    pub(super) swaps: usize,
    pub(super) switches: usize,
    /// Families that are written with a guard.
    pub(super) guarded: usize,
    /// Families where the plan says that the law may be broken, by [`BREACHES`].
    pub(super) said: [usize; 3],
    /// Packets of these families that met it.
    pub(super) leaks: usize,
    pub(super) losses: usize,
}

/// A packet, what old and new say of it, and whether they track it alike.
pub(super) struct Decided {
    pub(super) packet: Packet,
    pub(super) verdict: Verdict,
    pub(super) is_tracked_alike: bool,
}

/// The texts of states that were judged.
pub(super) type Known = BTreeSet<WorldTexts>;

/// What a plan says of itself, by family.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) leaks: [bool; 2],
    pub(super) losses: [bool; 2],
}

/// Words for people, and whether they are about leaks.
const BREACHES: [(&str, bool); 3] =
    [("a packet may pass between", true), ("which was killed, denied already", true), ("may be lost", false)];

/// A plan under way.
pub(super) struct Watch<'all> {
    pub(super) packets: &'all [Decided],
    pub(super) known: &'all mut Known,
    pub(super) last: WorldTexts,
    pub(super) said: Said,
    pub(super) counts: &'all mut Counts,
    pub(super) problem: Option<String>,
}

#[test]
fn what_old_and_new_decide_alike_is_decided_so_at_every_instant() {
    let mut counts = Counts::default();
    let own = std::env::var("PALISADE_SEED").ok().map(|seed| seed.parse().expect("PALISADE_SEED is a number"));
    let fixed = SEEDS.iter().flat_map(|seed| (0..PAIRS).map(move |index| seed.wrapping_add(index.wrapping_mul(STRIDE))));
    for seed in own.into_iter().chain(fixed) {
        check_pair(seed, &mut counts).unwrap_or_else(|problem| panic!("PALISADE_SEED={seed}: {problem}"));
    }
    println!("{counts:?}");
    assert!(counts.pairs > 50 && counts.visible > 300 && counts.kills > 200, "{counts:?}");
    assert!(counts.in_place > 10 && counts.swaps > 6 && counts.switches > 40, "{counts:?}");
}

/// Were all sets changed in place, line by line, this test would tell.
#[test]
fn changes_in_place_are_found_out() {
    let (mut found, mut counts) = (0, Counts::default());
    for seed in (0..PAIRS).map(|index| SEEDS[0].wrapping_add(index.wrapping_mul(STRIDE))) {
        let mut dice = Dice(seed);
        let Some(pair) = Pair::random(&mut dice, &mut counts).unwrap_or_else(|problem| panic!("seed {seed}: {problem}")) else { continue };
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
        pair.start.clone().run(&call, &mut |state| watch.look(state)).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        found += usize::from(watch.problem.is_some());
    }
    println!("{found} of {}", counts.pairs);
    assert!(found >= 3, "{found} of {}", counts.pairs);
}

/// Were the last prefix of a length removed in place, this test would tell: the kernel may miss a wider one meanwhile.
#[test]
fn the_race_of_lengths_is_found_out() {
    let table = "*filter\n:pal-FORWARD - [0:0]\n-A pal-FORWARD -m set --match-set pal-s4-0 src -j ACCEPT\n-A pal-FORWARD -j DROP\n\
                 -I FORWARD 1 -j pal-FORWARD\nCOMMIT\n";
    let members = |words: &[&str]| [words.iter().map(|word| (*word).to_owned()).collect()];
    let [old, new] = [&["10.1.0.0/16", "10.1.1.1"][..], &["10.1.0.0/16"]].map(|words| small(&members(words), table));
    let tools = Tools { backend: Backend::Nft, lock_wait: 5 };
    let (mut start, mut goal) = (World::new(true), World::new(true));
    let memory = converge(&mut start, &old, &tools).expect("it runs");
    converge(&mut goal, &new, &tools).expect("it runs");
    let pair = Pair { start, memory, goal, new, tools };
    let (mut dice, mut counts, mut known) = (Dice(SEEDS[0]), Counts::default(), BTreeSet::new());
    check(&pair, &mut dice, &mut counts).unwrap_or_else(|problem| panic!("{problem}"));
    let packets = packets(&pair.ends(), &mut dice);
    let last = pair.start.texts();
    let mut watch = Watch { packets: &packets, known: &mut known, last, said: Said::default(), counts: &mut counts, problem: None };
    let call = tools.sets_restore().with_input(in_place(&pair.start, &pair.goal));
    pair.start.clone().run(&call, &mut |state| watch.look(state)).expect("it runs");
    assert!(watch.problem.is_some_and(|problem| problem.contains("old and new say Accept")), "nobody saw it");
}

/// A kernel, and what is to become of it.
pub(super) struct Pair {
    pub(super) start: World,
    pub(super) memory: Memory,
    pub(super) goal: World,
    pub(super) new: Desired,
    pub(super) tools: Tools,
}

impl Pair {
    /// None where palisade refuses one of the worlds.
    fn random(dice: &mut Dice, counts: &mut Counts) -> Result<Option<Self>, String> {
        let first = random::world(dice);
        let second = if dice.chance(25) { random::world(dice) } else { changed(&first, dice) };
        let (old, new) = if dice.chance(50) { (first, second) } else { (second, first) };
        let (Ok(old), Ok(new)) = (compiled(&old), compiled(&new)) else {
            counts.refused += 1;
            return Ok(None);
        };
        counts.pairs += 1;
        let node = dice.below(old.len().min(new.len()));
        let is_at_end = dice.chance(20);
        let [old, mut new] = [&old[node], &new[node]].map(|scripts| desired(scripts, is_at_end != dice.chance(5)));
        if dice.chance(60) {
            new = with_other_members(&old, dice);
        }
        let is_nft = dice.chance(50);
        let tools = Tools { backend: if is_nft { Backend::Nft } else { Backend::Legacy }, lock_wait: 5 };
        let mut start = with_others(World::new(is_nft));
        let mut memory = Memory::default();
        if dice.chance(92) {
            memory = converge(&mut start, &old, &tools)?;
            disturb(&mut start, dice);
        }
        if dice.chance(10) {
            memory = Memory::default();
        }
        let mut goal = with_others(World::new(is_nft));
        converge(&mut goal, &new, &tools)?;
        Ok(Some(Self { start, memory, goal, new, tools }))
    }
}

impl Pair {
    pub(super) fn ends(&self) -> [Loaded; 2] {
        [&self.start, &self.goal].map(|world| world.texts().load())
    }
}

fn check_pair(seed: u64, counts: &mut Counts) -> Result<(), String> {
    let mut dice = Dice(seed);
    match Pair::random(&mut dice, counts)? {
        Some(pair) => check(&pair, &mut dice, counts),
        None => Ok(()),
    }
}

pub(super) fn check(pair: &Pair, dice: &mut Dice, counts: &mut Counts) -> Result<(), String> {
    let packets = packets(&pair.ends(), dice);
    counts.packets += packets.len();
    let mut known = BTreeSet::new();
    let plan = plan::between(&pair.new, &pair.start.observed(), &pair.memory, &pair.tools);
    count(&plan, counts);
    let mut states = vec![pair.start.clone()];
    let first = Said::of(&plan);
    let end = watched(&pair.start, (&plan, first), (&packets, counts, &mut known), &mut |state| {
        states.extend((!state.is_fleeting).then(|| state.clone()))
    })?;
    in_sync(&end, pair, &plan)?;
    let stride = states.len().div_ceil(KILLS);
    for killed in states.iter().skip(dice.below(stride)).step_by(stride) {
        counts.kills += 1;
        let plan = plan::between(&pair.new, &killed.observed(), &pair.memory, &pair.tools);
        count(&plan, counts);
        let again = (&packets[..], &mut *counts, &mut known);
        let said = Said::of(&plan).or(first); // it begins with what the first one did
        let end = watched(killed, (&plan, said), again, &mut |_| {}).map_err(|problem| format!("killed before: {problem}"))?;
        in_sync(&end, pair, &plan).map_err(|problem| format!("killed before: {problem}"))?;
    }
    Ok(())
}

/// A few rules that look into a few sets, whose members overlap: most changes are in place.
#[test]
fn changes_in_place_keep_the_law() {
    let mut counts = Counts::default();
    for seed in (0..SMALL).map(|index| SEEDS[1].wrapping_add(index.wrapping_mul(STRIDE))) {
        let mut dice = Dice(seed);
        let table = small_table(&mut dice);
        let mut members: Vec<Vec<String>> = (0..SMALL_SETS).map(|_| small_members(&mut dice)).collect();
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
        let tools = Tools { backend: Backend::Nft, lock_wait: 5 };
        let (mut start, mut goal) = (World::new(true), World::new(true));
        let memory = converge(&mut start, &old, &tools).expect("it runs");
        converge(&mut goal, &new, &tools).expect("it runs");
        let pair = Pair { start, memory, goal, new, tools };
        check(&pair, &mut dice, &mut counts).unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{table}"));
        counts.pairs += 1;
    }
    println!("{counts:?}");
    assert!(counts.in_place > 200 && counts.swaps > 100 && counts.switches > 100, "{counts:?}");
}

/// Pairs of the test with small tables, and the sets of each.
const SMALL: u64 = 600;
const SMALL_SETS: usize = 3;
const SMALL_NETS: [&str; 7] = ["10.1.0.0/16", "10.1.1.0/24", "10.1.1.1", "10.1.1.2", "10.1.2.0/24", "10.1.2.9", "10.2.0.0/16"];

fn small(sets: &[Vec<String>], table: &str) -> Desired {
    let text: String = (0..)
        .zip(sets)
        .map(|(index, members)| {
            let members: String = members.iter().map(|member| format!("add pal-s4-{index} {member}\n")).collect();
            format!("create pal-s4-{index} hash:net family inet hashsize 1024 maxelem 65536\n{members}")
        })
        .collect();
    let file = |name: &str| match name {
        "sets.ipset" => Some(text.as_str()),
        "filter.v4.rules" => Some(table),
        _ => None,
    };
    Desired::read(file).expect("scripts")
}

fn small_table(dice: &mut Dice) -> String {
    let sides: &[&str] = if dice.chance(50) { &["src"] } else { &["src", "dst"] };
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
        "*filter\n:pal-FORWARD - [0:0]\n:pal-allowed - [0:0]\n:pal-class - [0:0]\n{}-A pal-FORWARD {end}\n-A pal-allowed -j ACCEPT\n\
         -A pal-class -m set --match-set pal-s4-0 dst -j ACCEPT\n-A pal-class -j DROP\n-I FORWARD 1 -j pal-FORWARD\nCOMMIT\n",
        rules
    )
}

fn small_members(dice: &mut Dice) -> Vec<String> {
    let chosen: Vec<&str> = SMALL_NETS.into_iter().filter(|_| dice.chance(45)).collect();
    chosen.into_iter().map(|net| format!("{net}{}", if dice.chance(20) { " nomatch" } else { "" })).collect()
}

/// The lines that change every set of one kernel to that of another, by its name and while rules look into it.
fn in_place(start: &World, goal: &World) -> String {
    let mut lines = String::new();
    for (name, set) in &goal.sets {
        let none = BTreeMap::new();
        let found = start.sets.get(name).filter(|found| found.create == set.create);
        if found.is_none() && start.sets.contains_key(name) {
            continue;
        }
        lines.push_str(&if found.is_none() { format!("create {name} {}\n", set.create) } else { String::new() });
        let found = found.map_or(&none, |found| &found.members);
        let changes = |from: &BTreeMap<String, bool>, to: &BTreeMap<String, bool>| -> Vec<(String, bool)> {
            from.iter()
                .filter(|(member, is_exception)| to.get(*member) != Some(is_exception))
                .map(|(name, is)| (name.clone(), *is))
                .collect()
        };
        lines.extend(changes(found, &set.members).iter().map(|(member, _)| format!("del {name} {member}\n")));
        lines.extend(
            changes(&set.members, found)
                .iter()
                .map(|(member, is_exception)| format!("add {name} {member}{}\n", if *is_exception { " nomatch" } else { "" })),
        );
    }
    lines
}

/// Runs a plan and judges every state on the way.
fn watched(
    start: &World,
    (plan, said): (&Plan, Said),
    (packets, counts, known): (&[Decided], &mut Counts, &mut Known),
    then: &mut dyn FnMut(&World),
) -> Result<World, String> {
    let mut watch = Watch { packets, known, last: start.texts(), said, counts, problem: None };
    let mut world = start.clone();
    for step in &plan.steps {
        let done = world.step(step, &mut |state| {
            watch.look(state);
            then(state);
        });
        done.map_err(|problem| format!("{problem}\n{plan}"))?;
    }
    match watch.problem {
        Some(problem) => Err(format!("{problem}\n{plan}")),
        None => Ok(world),
    }
}

impl Watch<'_> {
    pub(super) fn look(&mut self, state: &World) {
        self.counts.instants += 1;
        let texts = state.texts();
        if texts == self.last || self.problem.is_some() {
            return;
        }
        self.counts.visible += 1;
        self.last = texts.clone();
        if !self.known.insert(texts.clone()) {
            return;
        }
        let kernel = texts.load();
        for decided in self.packets {
            let Decided { packet, verdict, .. } = decided;
            let (met, _, passed) = kernel.run(packet);
            if met == *verdict || self.is_said(decided) {
                continue;
            }
            let passed: String = passed.iter().map(|passed| format!("\n  {passed}")).collect();
            self.problem = Some(format!("{packet:?}\nold and new say {verdict:?}, and on the way it is {met:?}:{passed}"));
            return;
        }
    }

    /// Whether the plan said that this may happen to a packet which is decided otherwise on the way, and counts it then.
    fn is_said(&mut self, decided: &Decided) -> bool {
        let family = usize::from(decided.packet.flow.family() == Family::V6);
        let is_leak = decided.verdict == Verdict::Drop;
        let is_said = if is_leak { self.said.leaks[family] } else { self.said.losses[family] && !decided.is_tracked_alike };
        let count = if is_leak { &mut self.counts.leaks } else { &mut self.counts.losses };
        *count += usize::from(is_said);
        is_said
    }
}

impl Said {
    pub(super) fn of(plan: &Plan) -> Self {
        let parts: Vec<&str> = plan.steps.iter().flat_map(|step| step.about.split("; ")).collect();
        let says = |is_leak: bool| {
            ["meanwhile, in IPv4, ", "meanwhile, in IPv6, "].map(|family| {
                let is_said = |part: &str| BREACHES.iter().any(|(words, leaks)| *leaks == is_leak && part.contains(words));
                parts.iter().any(|part| part.starts_with(family) && is_said(part))
            })
        };
        Self { leaks: says(true), losses: says(false) }
    }

    fn or(mut self, other: Self) -> Self {
        for family in 0..2 {
            self.leaks[family] |= other.leaks[family];
            self.losses[family] |= other.losses[family];
        }
        self
    }
}

/// The end: nothing differs, and every packet fares as new says.
fn in_sync(end: &World, pair: &Pair, plan: &Plan) -> Result<(), String> {
    let observed = end.observed();
    let memory = remembered(&pair.new, end, (plan, &pair.memory), &pair.tools);
    let again = plan::between(&pair.new, &observed, &memory, &pair.tools);
    if !again.steps.is_empty() || !again.differences.is_empty() {
        return Err(format!("not in sync behind\n{plan}\nbut\n{again}"));
    }
    // which slot a set stands in is nobody's business
    let bare = |world: &World| lines(&world.texts().whole());
    if bare(end) == bare(&pair.goal) { Ok(()) } else { Err(format!("another end than from nothing:\n{plan}\n{}", end.texts().whole())) }
}

/// The lines of a text with the sets' own names, sorted where they stand for sets.
fn lines(text: &str) -> Vec<String> {
    let word = |word: &str| if word.starts_with("pal-") { plan::base(word) } else { word.to_owned() };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = text.lines().map(line).collect();
    let chain = |line: &String| line.starts_with("-A").then(|| line.split(' ').nth(1).unwrap_or_default().to_owned());
    lines.sort_by_key(|line| (chain(line), if line.starts_with("-A") { String::new() } else { line.clone() }));
    lines
}

/// Runs a plan, and says what is to be remembered of it.
pub(super) fn converge(world: &mut World, desired: &Desired, tools: &Tools) -> Result<Memory, String> {
    let plan = plan::between(desired, &world.observed(), &Memory::default(), tools);
    plan.steps.iter().try_for_each(|step| world.step(step, &mut |_| {})).map_err(|problem| format!("{problem}\n{plan}"))?;
    Ok(remembered(desired, world, (&plan, &Memory::default()), tools))
}

fn remembered(desired: &Desired, world: &World, (plan, previous): (&Plan, &Memory), tools: &Tools) -> Memory {
    let previous = Memory { version: Memory::VERSION, backend: tools.backend.word().to_owned(), ..previous.clone() };
    plan::remember(desired, &world.observed(), plan, previous)
}

fn count(plan: &Plan, counts: &mut Counts) {
    for (count, (words, _)) in counts.said.iter_mut().zip(BREACHES) {
        *count += plan.steps.iter().map(|step| step.about.matches(words).count()).sum::<usize>();
    }
    counts.guarded += plan.steps.iter().map(|step| step.about.matches("as a guard").count()).sum::<usize>();
    for step in &plan.steps {
        counts.swaps += usize::from(step.about.contains("swap"));
        counts.in_place += usize::from(step.about.contains("in place"));
        counts.switches += step.calls.iter().filter(|call| call.input.contains("COMMIT\n") && call.input.contains("--match-set")).count();
    }
}

/// What a node is to hold; by chance the jumps stand at the end of the kernel's chains.
fn desired(scripts: &Scripts, is_at_end: bool) -> Desired {
    let files: BTreeMap<String, String> = scripts
        .files()
        .into_iter()
        .map(|(name, text)| {
            let at_end = |line: &str| match line.strip_prefix("-I ").and_then(|rest| rest.split_once(" 1 ")) {
                Some((chain, rule)) if is_at_end => format!("-A {chain} {rule}\n"),
                Some(_) | None => format!("{line}\n"),
            };
            (name.to_owned(), text.lines().map(at_end).collect())
        })
        .collect();
    Desired::read(|name| files.get(name).map(String::as_str)).expect("palisade wrote it")
}

/// The same rules with other members in a few sets, often the same in all of them.
fn with_other_members(old: &Desired, dice: &mut Dice) -> Desired {
    let mut new = old.clone();
    let looked: BTreeSet<String> =
        old.tables.values().flat_map(|table| table.chains.values().flatten()).flat_map(Rule::sets).map(str::to_owned).collect();
    let names: Vec<String> = looked.into_iter().filter(|name| name.starts_with("pal-s") || dice.chance(40)).collect();
    let count = 1 + dice.below(3);
    let some: Vec<String> = (0..1 + dice.below(3)).map(|_| dice.pick(&NETS).to_owned()).collect();
    let names: Vec<String> = (0..count).filter_map(|_| pick(&names, dice)).collect();
    for name in names {
        let set = new.sets.get_mut(&name).expect("a set");
        let kept = dice.pick(&[40, 90, 100]);
        set.members.retain(|_| dice.chance(kept));
        let more: Vec<Member> = match set.kind {
            Some(SetKind::Nets(family)) => nets(family, &some, dice),
            Some(SetKind::Ports) => vec![Member::Port(80), Member::Port(443)],
            Some(SetKind::Services(_)) | None => Vec::new(),
        };
        set.members.extend(more);
        set.members.sort_unstable();
        set.members.dedup();
        set.members.dedup_by(|left, right| matches!((left, right), (Member::Net(left, _), Member::Net(right, _)) if left == right));
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

fn nets(family: Family, some: &[String], dice: &mut Dice) -> Vec<Member> {
    let nets = some.iter().filter_map(|text| Cidr::parse_lenient(text)).filter(|net| net.family() == family);
    let is_exception = dice.chance(15);
    nets.map(|net| Member::Net(net, is_exception)).collect()
}

/// A kernel in which others have rules of their own.
fn with_others(mut world: World) -> World {
    for family in Family::BOTH {
        world.insert((family, "filter", "FORWARD"), 0, "-m comment --comment \"docker's\" -j ACCEPT");
        world.insert((family, "filter", "INPUT"), 0, "-i lo -j ACCEPT");
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
                let (create, members) = ("hash:ip family inet hashsize 64 maxelem 10".to_owned(), BTreeMap::new());
                world.sets.insert("pal-left-over".to_owned(), super::model::Members { create, members });
                world.tables.get_mut(&(Family::V4, "filter")).expect("a table").insert("pal-old".to_owned(), vec!["-j DROP".to_owned()]);
            }
        }
    }
}

fn disturb_set(world: &mut World, dice: &mut Dice) {
    let names: Vec<String> = world.sets.keys().filter(|name| world.sets[*name].create.starts_with("hash:net")).cloned().collect();
    let Some(set) = pick(&names, dice).and_then(|name| world.sets.get_mut(&name)) else { return };
    let members: Vec<String> = set.members.keys().cloned().collect();
    match pick(&members, dice).filter(|_| dice.chance(60)) {
        Some(member) => drop(set.members.remove(&member)),
        None => {
            let word = if set.create.contains("inet6") { "2001:db8::/34" } else { "203.0.113.64/26" };
            set.members.insert(word.to_owned(), dice.chance(30));
        }
    }
}

/// A set that stands under another of its names, also for the rules of one family only.
fn rename_set(world: &mut World, dice: &mut Dice) {
    let names: Vec<String> = world.sets.keys().cloned().collect();
    let Some(name) = pick(&names, dice) else { return };
    let slots: Vec<String> = plan::slots(&plan::base(&name)).filter(|slot| !world.sets.contains_key(slot)).collect();
    let Some(slot) = pick(&slots, dice) else { return };
    world.sets.insert(slot.clone(), world.sets[&name].clone());
    let only = dice.chance(30).then(|| dice.pick(&Family::BOTH));
    for ((family, _), chains) in &mut world.tables {
        let is_renamed = only.is_none_or(|only| only == *family);
        for rule in chains.values_mut().flatten().filter(|_| is_renamed) {
            *rule = rule.replace(&format!("--match-set {name} "), &format!("--match-set {slot} "));
        }
    }
}

fn disturb_chain(world: &mut World, dice: &mut Dice) {
    let family = dice.pick(&Family::BOTH);
    let (table, _) = dice.pick(&TABLES);
    let chains = world.tables.get_mut(&(family, table)).expect("a table");
    let names: Vec<String> = chains.keys().filter(|name| name.starts_with("pal-")).cloned().collect();
    let Some(rules) = pick(&names, dice).and_then(|name| chains.get_mut(&name)) else { return };
    match dice.below(4) {
        0 => rules.clear(),
        1 if !rules.is_empty() => drop(rules.remove(dice.below(rules.len()))),
        2 if !rules.is_empty() => rules.push(rules[0].clone()),
        _ => rules.insert(0, if family == Family::V4 { "-s 10.1.1.0/24 -j ACCEPT" } else { "-s fd00:1::/64 -j DROP" }.to_owned()),
    }
}

fn disturb_hook(world: &mut World, dice: &mut Dice) {
    let family = dice.pick(&Family::BOTH);
    let chain = dice.pick(&["FORWARD", "INPUT", "OUTPUT"]);
    let rules = world.tables.get_mut(&(family, "filter")).and_then(|chains| chains.get_mut(chain)).expect("a chain");
    match dice.below(4) {
        0 => rules.insert(0, "-m comment --comment \"somebody's\" -j ACCEPT".to_owned()),
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
                changed = if less.is_empty() { changed } else { dice.pick(&less) };
            }
            2 if count > 0 => {
                let pod = dice.pick(&changed.pods);
                let addresses = pod.addresses.iter().map(|address| moved(*address, dice)).collect();
                changed.pods.push(world::Pod { name: format!("new-{count}"), addresses, ..pod });
            }
            3 if count > 0 => {
                let pod = &mut changed.pods[dice.below(count)];
                pod.addresses = pod.addresses.iter().map(|address| moved(*address, dice)).collect();
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
        let nets = ["198.51.100.0/24", "10.9.0.0/16", "10.1.1.4/32", "10.1.2.0/25", "2001:db8:1::/48", "fd00:1::4/128"];
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

/// Packets that both kernels decide alike, and how: random ones of the kinds that either tells apart.
pub(super) fn packets(ends: &[Loaded; 2], dice: &mut Dice) -> Vec<Decided> {
    let mut cuts = Cuts::default();
    let kernels: Vec<&Kernel> = ends.iter().flat_map(Loaded::kernels).collect();
    kernels.iter().for_each(|kernel| kernel.cut(&mut cuts));
    let traffic = Traffic::of(&cuts);
    let examples: Vec<_> = traffic.classes(Traffic::ALL).filter_map(Class::example).collect();
    let addresses = Family::BOTH.map(|family| addresses(&kernels, family));
    let mut interfaces: Vec<String> = kernels.iter().flat_map(|kernel| kernel.interfaces()).map(str::to_owned).collect();
    interfaces.extend(["eth1", "cali0", "lo"].map(str::to_owned));
    let states = [State::New, State::New, State::New, State::New, State::Established, State::Related, State::Invalid, State::Untracked];
    let mut packets = Vec::new();
    while packets.len() < PACKETS {
        let addresses = dice.pick(&addresses);
        let (source, destination) = (dice.pick(&addresses), dice.pick(&addresses));
        let (protocol, ports, message) = dice.pick(&examples);
        let icmp = message.filter(|_| (protocol == Protocol::ICMP) == source.is_ipv4());
        let [arrives, leaves] = [(); 2].map(|()| dice.pick(&interfaces));
        let hook = match dice.below(4) {
            0 | 1 => Hook::Forward { arrives, leaves },
            2 => Hook::Input { arrives },
            _ => Hook::Output { leaves },
        };
        let original = dice.chance(12).then(|| Original { address: dice.pick(&addresses), port: ports.map(|ports| ports.destination) });
        let flow = Flow { source, destination, protocol, ports, icmp };
        packets.push(Packet { flow, original, hook, state: dice.pick(&states) });
    }
    let decided = packets.into_iter().filter_map(|packet| {
        let [(old, is_untracked, _), (new, will_be_untracked, _)] = ends.each_ref().map(|end| end.run(&packet));
        (old == new).then_some(Decided { packet, verdict: old, is_tracked_alike: is_untracked == will_be_untracked })
    });
    decided.collect()
}

/// One address of each kind that the kernels tell apart.
fn addresses(kernels: &[&Kernel], family: Family) -> Vec<IpAddr> {
    let lists: Vec<_> = kernels.iter().flat_map(|kernel| kernel.prefixes()).collect();
    let outside = if family == Family::V4 { "192.0.2.77" } else { "2001:db8:ffff::77" };
    let nets = lists.iter().flatten().filter(|net| net.family() == family);
    let ends = nets.flat_map(|net| [Range::of(*net).first_address(), Range::of(*net).last_address()]);
    let all = ends.chain([outside.parse().expect("an address")]);
    let kinds: BTreeMap<Vec<bool>, IpAddr> =
        all.map(|address| (lists.iter().map(|list| list.iter().any(|net| net.holds(address))).collect(), address)).collect();
    kinds.into_values().collect()
}
