//! What others do in the raw and mangle tables: found line by line, told exactly, and mended.

use palisade::apply::{self, ApplyTarget};
use palisade::net::Family;
use palisade::ruleset::{ParsedTable, RuleText, TableId, TableKind};

use super::drift::number;
use super::world::{BEFORE, HOST, World, bundle, wanted};

const UNTRACKED: &str = "host-untracked";

/// Of rules about failsafe ports, and of those of the second family, every so many-th is tried:
/// they are alike.
const STRIDE: usize = 4;
/// Of damages, every so many-th is shown to the program as well as to the library.
const SHOWN: usize = 6;

/// What somebody does, by words for a family's `iptables`, and how it is told.
struct Damage {
    deeds: Vec<String>,
    told: String,
    /// What takes away what is not ours.
    behind: Option<String>,
}

pub(super) fn every_line_of_raw_and_mangle_is_told_and_mended(world: &World) {
    let mut tried = 0;
    for (case, kind) in [(UNTRACKED, TableKind::Raw), (HOST, TableKind::Mangle)] {
        world.apply(case).unwrap();
        let others = world.others();
        for (id, table) in world
            .observe()
            .tables
            .iter()
            .filter(|(id, _)| id.kind == kind)
        {
            let damages = deleted(*id, table)
                .into_iter()
                .chain(inserted(*id, table))
                .chain(moved(*id, table))
                .collect::<Vec<Damage>>();
            assert!(damages.len() > 8, "{id}: {}", damages.len());
            for damage in damages {
                tries(world, case, *id, &damage, tried % SHOWN == 0);
                tried += 1;
            }
        }
        world.holds(case);
        assert_eq!(world.others(), others);
    }

    assert!(tried > 80, "{tried}");
    // where no table but the filter table is wanted any more, the others are still looked at until
    // they are clean
    world.apply(BEFORE).unwrap();
    world.holds(BEFORE);
}

/// Each rule of each chain.
fn deleted(id: TableId, table: &ParsedTable) -> Vec<Damage> {
    let stride = |rule: &RuleText| {
        if id.family == Family::V4 && !rule.text().contains("failsafe") {
            1
        } else {
            STRIDE
        }
    };

    let of_chain = |(chain, rules): (&String, &Vec<RuleText>)| {
        let numbers = (1..)
            .zip(rules)
            .filter(|(number, rule)| number % stride(rule) == 0)
            .map(|(number, _)| number);
        let damage = |number| Damage {
            deeds: vec![format!("-D {chain} {number}")],
            told: format!("{id}, chain {chain}, rule {number}:\n  expected: -"),
            behind: None,
        };
        numbers.map(damage).collect::<Vec<_>>()
    };
    table.chains.iter().flat_map(of_chain).collect()
}

/// A rule at the head and one at the end of each chain.
fn inserted(id: TableId, table: &ParsedTable) -> Vec<Damage> {
    let source = if id.family == Family::V4 {
        "10.9.9.9/32"
    } else {
        "fd09::9/128"
    };

    let of_chain = |(chain, rules): (&String, &Vec<_>)| {
        [1, rules.len() + 1].map(|number| Damage {
            deeds: vec![format!("-I {chain} {number} -s {source} -j ACCEPT")],
            told: format!(
                "{id}, chain {chain}, rule {number}:\n  expected: no rule\n  actual:   -s \
                 {source} -j ACCEPT"
            ),
            behind: None,
        })
    };
    table.chains.iter().flat_map(of_chain).collect()
}

/// The jumps: gone, behind another rule, and twice.
fn moved(id: TableId, table: &ParsedTable) -> Vec<Damage> {
    let of_hook = |hook: &palisade::ruleset::HookRule| {
        let (chain, place) = (&hook.from, number(hook.place));
        let told = |problem: &str| format!("{id}, jump from {chain}: {problem}");
        let other = format!("{chain} -m comment --comment theirs -j ACCEPT");
        let words = hook.rule.text().replace('"', "");
        [
            Damage {
                deeds: vec![format!("-D {chain} {place}")],
                told: told("missing"),
                behind: None,
            },
            Damage {
                deeds: vec![format!("-I {other}")],
                told: told("it is rule 2, which is not its place"),
                behind: Some(format!("-D {other}")),
            },
            Damage {
                deeds: vec![format!("-A {chain} {words}")],
                told: told("it is there 2 times"),
                behind: None,
            },
            Damage {
                deeds: vec![format!("-R {chain} {place} {words} -m mark --mark 7")],
                told: told("it is another rule than ours"),
                behind: None,
            },
        ]
    };

    table.hooks.iter().flat_map(of_hook).collect()
}

/// Does it, and sees it told as the one difference, and mended.
fn tries(world: &World, case: &str, id: TableId, damage: &Damage, is_shown: bool) {
    let iptables = |line: &str| {
        let words: Vec<&str> = ["-t", id.kind.label()]
            .into_iter()
            .chain(line.split(' '))
            .collect();
        world.tool(&world.iptables(id.family, ""), &words, "");
    };
    damage.deeds.iter().for_each(|deed| iptables(deed));

    let about = format!("{case}, {:?}", damage.deeds);
    let mut runner = world.processes();
    let look = apply::inspect(
        &mut ApplyTarget {
            runner: &mut runner,
            settings: world.settings(),
        },
        &wanted(case),
    )
    .unwrap();
    let told: Vec<String> = look
        .plan
        .differences
        .iter()
        .map(ToString::to_string)
        .collect();

    assert!(
        told.len() == 1 && told[0].starts_with(&damage.told),
        "{about}: {told:#?} and not\n{}",
        damage.told
    );

    let is_deleted = damage.deeds[0].starts_with("-D pal-");
    assert!(
        !is_deleted || told[0].ends_with("\n  actual:   no rule"),
        "{about}: {told:#?}"
    );

    if is_shown {
        let (status, said) = world.palisade(&["status", &bundle(case)]);
        let first = damage.told.lines().next().unwrap_or_default();
        assert!(
            status == 1 && said.contains(first),
            "{about}, {status}: {said}"
        );
    }

    let outcome = world
        .apply(case)
        .unwrap_or_else(|error| panic!("{about}: {error:?}"));
    assert!(
        !outcome.is_in_sync() && outcome.left.is_empty(),
        "{about}: {outcome:?}"
    );
    world.holds(case);

    damage.behind.iter().for_each(|line| iptables(line));
}
