//! Listings that go wrong while two others go well beside them: three real processes at once.

use std::fs;

use palisade::net::Family;

use super::replaced::Replaced;
use super::world::{BEFORE, MOVED, World, bundle, is_between, verdicts_of};

/// What a tool does in place of its listing, what is told of it, whether `ipset` is asked in its
/// second way then, and at which listings it is tried: before the first write, and when it is read
/// back.
const FAULTS: [(&str, &str, bool, &[usize]); 5] = [
    (
        "echo 'no reason' >&2; exit 1",
        "failed: no reason",
        true,
        &[1, 2],
    ),
    (
        "\"$real\" \"$@\"; echo 'Error: bad file descriptor' >&2",
        "failed: Error: bad file descriptor",
        true,
        &[1, 2],
    ),
    (
        "printf 'garbage\\n'",
        "failed: its output is not whole",
        false,
        &[1, 2],
    ),
    (
        "\"$real\" \"$@\" | head -c 200",
        "failed: its output",
        false,
        &[1, 2],
    ),
    ("kill -9 $$", "it was killed by a signal", true, &[1, 2]),
];

/// Ways to hang; all other calls of the same apply must be over within [`LIMIT`], on a busy machine
/// too.
const HANGS: [&str; 2] = ["sleep 3600 & wait", "exec >&- 2>&-; sleep 3600"];
const LIMIT: [&str; 4] = ["--timeout", "19", "--lock-wait", "1"];

/// Puts a program into the way that does `fault` in place of the `at`-th listing from now on, and
/// what the real one does else.
fn hinder(world: &World, tool: &str, fault: &str, at: usize) -> Replaced {
    let _ = fs::remove_file("/run/count");
    let is_it = format!("{{ echo x >> /run/count; test $(wc -l < /run/count) = {at}; }}");
    let is_listing = if tool == "ipset" {
        "test \"$*\" = save"
    } else {
        "true"
    };

    world.replace(
        tool,
        &format!("if {is_listing} && {is_it}; then\n{fault}\nelse exec \"$real\" \"$@\"; fi"),
    )
}

/// Applies with a program in the way.
fn hindered(world: &World, case: &str) -> (i32, String) {
    world.palisade(&["apply", &bundle(case), "--node", "n1"])
}

pub(super) fn a_listing_that_hangs_is_given_up(world: &World) {
    let tools = ["ipset".to_owned(), world.iptables(Family::V6, "-save")];
    world.apply(BEFORE).unwrap();
    let before = world.print();

    for (tool, fault) in tools.iter().zip(HANGS) {
        let replaced = hinder(world, tool, fault, 1);
        let to = bundle(MOVED);
        let words = [&["apply", &to, "--node", "n1"], &LIMIT[..]].concat();
        let (status, said) = world.palisade(&words);
        drop(replaced);
        let is_told = said.contains("did not end within 20 s and was killed");
        assert!(status == 3 && is_told, "{tool} `{fault}`, {status}: {said}");
        assert_eq!(
            world.print(),
            before,
            "{tool} `{fault}`: the kernel was touched"
        );
    }
}

pub(super) fn one_of_three_listings_goes_wrong(world: &World) {
    let tools = [
        "ipset".to_owned(),
        world.iptables(Family::V4, "-save"),
        world.iptables(Family::V6, "-save"),
    ];
    let states = [BEFORE, MOVED].map(|case| verdicts_of(Some(case)));
    let others = world.others();
    let mut refused = [0; 2];

    for (number, (tool, (fault, says, has_second_way, listings))) in tools
        .iter()
        .flat_map(|tool| FAULTS.map(|fault| (tool, fault)))
        .enumerate()
    {
        let second_way = has_second_way && tool == "ipset";
        for at in listings.iter().copied() {
            let [from, to] = if at == 1 {
                [BEFORE, MOVED]
            } else {
                [MOVED, BEFORE]
            };
            world.apply(from).unwrap();
            let before = world.print();
            let replaced = hinder(world, tool, fault, at);
            let about = format!("{number}: {tool} `{fault}`, listing {at}");
            let (status, said) = hindered(world, to);
            drop(replaced);
            if second_way {
                assert_eq!(status, 0, "{about}: {said}");
            } else {
                assert!(
                    status == 3 && said.contains(says),
                    "{about}, {status}: {said}"
                );
                refused[at - 1] += 1;
            }
            assert!(
                at > 1 || second_way || world.print() == before,
                "{about}: the kernel was touched"
            );
            is_between(&world.verdicts(), [&states[0], &states[1]], &about);
            assert_eq!(world.others(), others, "{about}");
            world
                .apply(to)
                .unwrap_or_else(|error| panic!("{about}, then {error:?}"));
            world.holds(to);
        }
    }

    assert!(refused.iter().all(|count| *count > 11), "{refused:?}");
}
