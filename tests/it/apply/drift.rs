//! What others do to what is ours.

use palisade::net::Family;
use palisade::ruleset::TableKind;

use super::world::{BEFORE, MOVED, World};

/// Of rules of the second family, every so many-th is tried: they are as those of the first.
const STRIDE: usize = 4;

pub(super) fn every_line_that_is_deleted_comes_back(world: &World) {
    world.apply(BEFORE).unwrap();
    let others = world.others();
    let seen = world.observe();
    let mut damages: Vec<(String, Vec<String>)> = Vec::new();

    for (id, table) in seen
        .tables
        .iter()
        .filter(|(id, _)| id.kind == TableKind::Filter)
    {
        let stride = if id.family == Family::V4 { 1 } else { STRIDE };
        let rules = table.chains.iter().flat_map(|(chain, rules)| {
            (1..=rules.len()).map(move |number| (chain.clone(), number))
        });
        let hooks = table
            .hooks
            .iter()
            .map(|hook| (hook.from.clone(), number(hook.place)));
        let program = world.iptables(id.family, "");
        damages.extend(
            rules.chain(hooks).step_by(stride).map(|(chain, number)| {
                (program.clone(), words(&["-D", &chain, &number.to_string()]))
            }),
        );
    }

    for (name, set) in &seen.sets {
        damages.extend(set.members.iter().map(|member| {
            (
                "ipset".to_owned(),
                words(&["del", name, &member.to_string()]),
            )
        }));
    }

    assert!(damages.len() > 30, "{}", damages.len());
    for (program, words) in damages {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        world.tool(&program, &words, "");
        let outcome = world
            .apply(BEFORE)
            .unwrap_or_else(|error| panic!("{program} {words:?}: {error:?}"));
        assert!(!outcome.is_in_sync(), "{program} {words:?} was not seen");
    }

    world.holds(BEFORE);
    assert_eq!(world.others(), others);
}

pub(super) fn number(place: palisade::ruleset::RulePosition) -> usize {
    match place {
        palisade::ruleset::RulePosition::Head => 1,
        palisade::ruleset::RulePosition::Number(number)
        | palisade::ruleset::RulePosition::At(number) => number,
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What others do, line by line: a family's `iptables`, or `ipset`.
const DEEDS: [(&str, &[&str]); 13] = [
    (
        "a rule in our chain",
        &["iptables -I pal-FORWARD 1 -s 10.9.9.9 -j ACCEPT"],
    ),
    (
        "a rule behind ours",
        &["ip6tables -A pal-allowed -j ACCEPT"],
    ),
    (
        "our rule with another end",
        &["iptables -R pal-OUTPUT 1 -j ACCEPT"],
    ),
    (
        "the jump moved",
        &[
            "iptables -D FORWARD 1",
            "iptables -A FORWARD -m comment --comment palisade -j pal-FORWARD",
        ],
    ),
    (
        "the jump twice",
        &["iptables -I FORWARD 1 -m comment --comment palisade -j pal-FORWARD"],
    ),
    (
        "a rule before the jump",
        &["ip6tables -I FORWARD 1 -i eth8 -j ACCEPT"],
    ),
    ("all rules flushed", &["iptables -F", "ip6tables -F"]),
    (
        "all chains gone",
        &["iptables -F", "iptables -X", "ip6tables -F", "ip6tables -X"],
    ),
    (
        "everything gone",
        &[
            "iptables -F",
            "iptables -X",
            "ip6tables -F",
            "ip6tables -X",
            "ipset flush",
            "ipset destroy",
        ],
    ),
    ("a set emptied", &["ipset flush pal-local4"]),
    (
        "members too many",
        &[
            "ipset add pal-local4 10.66.0.0/16",
            "ipset add pal-local6 fd66::/64",
        ],
    ),
    (
        "a set of another type",
        &[
            "iptables -F",
            "ip6tables -F",
            "ipset destroy pal-local4",
            "ipset create pal-local4 hash:ip",
        ],
    ),
    (
        "chains of ours that nobody wants",
        &[
            "iptables -N pal-stale",
            "iptables -A pal-stale -j ACCEPT",
            "ipset create pal-stale hash:net",
        ],
    ),
];

pub(super) fn whatever_others_do_is_repaired(world: &World) {
    world.apply(BEFORE).unwrap();

    for (about, deeds) in DEEDS {
        for deed in deeds {
            let (program, words) = deed.split_once(' ').expect("a program and its words");
            let words: Vec<&str> = words.split(' ').collect();
            let program = match program {
                "iptables" => world.iptables(Family::V4, ""),
                "ip6tables" => world.iptables(Family::V6, ""),
                other => other.to_owned(),
            };
            let (is_done, said) = world.try_tool(&program, &words, "");
            assert!(is_done || words == ["destroy"], "{deed}: {said}");
        }
        let others = world.others();
        let outcome = world
            .apply(BEFORE)
            .unwrap_or_else(|error| panic!("{about}: {error:?}"));
        assert!(
            !outcome.is_in_sync() && outcome.left.is_empty(),
            "{about}: {outcome:?}"
        );
        world.holds(BEFORE);
        assert_eq!(world.others(), others, "{about}");
        assert!(world.apply(BEFORE).unwrap().is_in_sync(), "{about}");
    }
}

pub(super) fn a_set_that_others_use_stays(world: &World) {
    world.apply(BEFORE).unwrap();
    let iptables = world.iptables(Family::V4, "");
    let rule = [
        "FORWARD",
        "-m",
        "set",
        "--match-set",
        "pal-i4-from-api-2vaqshr62a",
        "src",
        "-j",
        "ACCEPT",
    ];
    world.tool(&iptables, &[&["-A"], &rule[..]].concat(), "");

    let members = world.observe().sets["pal-i4-from-api-2vaqshr62a"]
        .members
        .clone();
    let others = world.others();

    for case in [MOVED, super::world::OTHER] {
        world
            .apply(case)
            .unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert!(
            world.apply(case).unwrap().is_in_sync(),
            "{case}: what cannot be removed is not tried for ever"
        );
        assert_eq!(world.others(), others, "{case}");
        let now = &world.observe().sets["pal-i4-from-api-2vaqshr62a"].members;
        assert!(*now == members || case == MOVED, "{case}: {now:?}");
    }

    world.tool(&iptables, &[&["-D"], &rule[..]].concat(), "");
    let outcome = world.apply(super::world::OTHER).unwrap();
    assert!(outcome.left.is_empty(), "{outcome:?}");
    assert!(
        !world
            .observe()
            .sets
            .contains_key("pal-i4-from-api-2vaqshr62a")
    );

    world.holds(super::world::OTHER);
}
