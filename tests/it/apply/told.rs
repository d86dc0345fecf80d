//! What a user is told.

use std::fs;
use std::time::Duration;

use palisade::apply::{self, ApplyTarget};
use palisade::net::Family;
use palisade::runner::ToolCall;

use super::confirmed::until;
use super::world::{BEFORE, OTHER, World, bundle, wanted};

pub(super) fn what_waits_is_told(world: &World) {
    let (status, said) = world.palisade(&["status"]);
    assert!(
        status == 2 && said.contains("no bundle was applied on this node yet"),
        "{said}"
    );
    world.apply(BEFORE).unwrap();
    // a guard that does nothing
    let guard = ToolCall::new("echo", &["ready"]);
    let (mut processes, settings) = (world.processes(), world.settings());
    apply::run_to_be_confirmed(
        &mut ApplyTarget {
            runner: &mut processes,
            settings,
        },
        &wanted(OTHER),
        Duration::from_secs(1000),
        &guard,
    )
    .unwrap();
    let (status, said) = world.palisade(&["status"]);
    assert!(
        status == 0
            && said.contains("an apply waits to be confirmed, for ")
            && said.contains("n1: in sync"),
        "{said}"
    );

    fs::write(
        "/run/p/state/pending.json",
        "{\"boot\": \"another\", \"until\": 0}",
    )
    .unwrap();
    let (status, said) = world.palisade(&["apply", &bundle(BEFORE)]);
    assert!(
        status == 0
            && said.contains("an apply that nobody confirmed in time was taken back first\n"),
        "{said}"
    );
    assert!(said.contains("in sync, nothing was written"), "{said}");
    world.holds(BEFORE);
}

/// Takes the place of systemd.
const SYSTEMD_RUN: &str =
    "echo \"$@\" > /run/scope\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";

pub(super) fn the_guard_is_in_a_scope_of_its_own(world: &World) {
    let _replaced = world.replace("systemd-run", SYSTEMD_RUN);
    world.apply(BEFORE).unwrap();
    assert!(
        world
            .command(&["apply", &bundle(OTHER), "--confirm", "2"])
            .status()
            .unwrap()
            .success()
    );

    let scope = fs::read_to_string("/run/scope").unwrap();
    assert!(
        scope.starts_with("--scope ") && scope.contains("/exe confirm --guard --backend "),
        "{scope}"
    );
    until("the guard takes it back", || world.is_held(BEFORE));
}

pub(super) fn uninstall_names_the_rules_that_hold_on(world: &World) {
    world.apply(BEFORE).unwrap();
    let v4 = world.iptables(Family::V4, "");
    let foreign = [
        ["-N", "mine", "", ""],
        ["-A", "mine", "-j", "pal-FORWARD"],
        [
            "-A",
            "INPUT",
            "-m set --match-set pal-local4 src",
            "-j ACCEPT",
        ],
    ];
    let words = |line: &[&str; 4]| {
        line.join(" ")
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for line in foreign.iter().map(words) {
        world.tool(
            &v4,
            &line.iter().map(String::as_str).collect::<Vec<_>>(),
            "",
        );
    }
    let (status, said) = world.palisade(&["uninstall"]);
    assert_eq!(status, 3, "{said}");
    assert!(
        said.contains(
            "policy is out of force, and this could not be removed: chain pal-FORWARD, set \
             pal-local4\n"
        ),
        "{said}"
    );
    for rule in [
        "mine -j pal-FORWARD",
        "INPUT -m set --match-set pal-local4 src -j ACCEPT",
    ] {
        assert!(
            said.contains(&format!("`{v4} -t filter -D {rule}`")),
            "{said}"
        );
    }
    let left = world.observe();
    let chains: Vec<_> = left
        .tables
        .values()
        .flat_map(|table| &table.chains)
        .collect();
    assert_eq!(chains, [(&"pal-FORWARD".to_owned(), &Vec::new())]);
    assert_eq!(left.sets.keys().collect::<Vec<_>>(), ["pal-local4"]);
    assert_eq!(
        fs::read_dir("/run/p/state").unwrap().count(),
        0,
        "no boot brings it back"
    );

    for line in foreign[1..].iter().map(words) {
        let deleted: Vec<&str> = line
            .iter()
            .map(|word| if word == "-A" { "-D" } else { word.as_str() })
            .collect();
        world.tool(&v4, &deleted, "");
    }
    let (status, said) = world.palisade(&["uninstall"]);
    assert_eq!(status, 0, "{said}");
    let left = world.observe();
    assert!(
        left.sets.is_empty() && left.tables.values().all(|table| table.is_empty()),
        "{left:?}"
    );
}
