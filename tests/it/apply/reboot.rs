//! A node that boots: a kernel that holds nothing of ours, no run directory, another boot, and the
//! state directory as it was.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::confirmed::{PENDING, guards, until};
use super::world::{BEFORE, MOVED, World, bundle};
use crate::kernel::enter;
use crate::reconcile::keeper::Keeper;
use crate::reconcile::put_damaged;

const GOOD: &str = "/run/p/state/good";

/// Ends all that no boot leaves alive, and begins the next one, in which others have their rules
/// already.
fn boot(world: &World, name: &str) -> World {
    for guard in guards() {
        kill_process(Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    }

    until("no process of ours is left", || guards().is_empty());
    fs::remove_dir_all("/run/p/run").unwrap();
    let id = format!("/run/{name}");
    fs::write(&id, format!("{name}\n")).unwrap();
    world.tool(
        "mount",
        &["--bind", &id, "/proc/sys/kernel/random/boot_id"],
        "",
    );
    world.tool("ip", &["netns", "add", name], "");
    enter(name).unwrap();
    world.tool("ip", &["link", "set", "lo", "up"], "");

    let booted = World::new(world.build);
    assert!(
        !booted.print().contains("pal-"),
        "a kernel that knows nothing of us"
    );
    booted
}

/// Runs the program, which must end with this status.
fn run(world: &World, words: &[&str], expected: i32) -> String {
    let (status, said) = world.palisade(words);
    assert_eq!(status, expected, "{words:?}: {said}");
    said
}

pub(super) fn a_boot_brings_back_the_last_good_bundle(world: &World) {
    world.apply(BEFORE).unwrap();
    let world = boot(world, "first");
    let others = world.others();
    assert!(run(&world, &["status"], 1).contains("chain pal-FORWARD: missing"));
    assert!(run(&world, &["apply", GOOD], 0).contains(": done in 3 calls: "));
    world.holds(BEFORE);
    assert_eq!(world.others(), others);
    assert!(run(&world, &["apply", GOOD], 0).contains(": in sync, nothing was written"));
    run(&world, &["status"], 0);
}

pub(super) fn a_boot_takes_back_what_nobody_confirmed(world: &World) {
    let is_pending = || Path::new(PENDING).exists();
    let pending = |world: &World, case: &str| {
        run(
            world,
            &["apply", &bundle(case), "--node", "n1", "--confirm", "3600"],
            0,
        );
        world.holds(case);
    };
    // there was nothing before: nothing is there, and nothing waits
    pending(world, MOVED);
    let world = boot(world, "first");
    assert!(run(&world, &["apply", GOOD], 2).contains("error[not-a-bundle]"));
    assert!(is_pending());
    assert!(run(&world, &["confirm"], 1).contains("too late: the policy before is in force again"));
    assert!(!is_pending() && !world.print().contains("pal-"));

    // the unit at boot, a loop of one round, and somebody who confirms: each finds the policy
    // before
    run(&world, &["apply", &bundle(BEFORE)], 0);
    let mut world = world;
    let before = bundle(BEFORE);
    for (name, words, status) in [
        ("second", &["apply", GOOD][..], 0),
        ("third", &["reconcile", "--once", &before], 0),
        ("fourth", &["confirm"], 1),
        ("fifth", &["confirm", "--undo"], 0),
    ] {
        pending(&world, MOVED);
        world = boot(&world, name);
        run(&world, words, status);
        world.holds(BEFORE);
        assert!(!is_pending(), "{words:?}");
        run(&world, &["confirm"], 1);
        world.holds(BEFORE);
    }
}

pub(super) fn the_loop_begins_at_boot(world: &World) {
    world.apply(BEFORE).unwrap();
    let world = boot(world, "first");
    let keeper = Keeper::start(&world, &[&bundle(BEFORE)], &[]);
    world.holds(BEFORE);
    assert_eq!(keeper.end(), Some(0));

    // where the bundle is bad, by the one that is kept beyond the boot; also where another one
    // waited to be confirmed
    put_damaged(MOVED, Path::new("/run/b/bundle"));
    run(
        &world,
        &["apply", &bundle(MOVED), "--node", "n1", "--confirm", "3600"],
        0,
    );
    let world = boot(&world, "second");
    let keeper = Keeper::start(&world, &["/run/b/bundle", "--interval", "1"], &[]);
    until("the last good bundle", || world.is_held(BEFORE));
    assert!(
        keeper
            .said()
            .contains("the last good bundle stays in force"),
        "{}",
        keeper.said()
    );
    assert_eq!(keeper.end(), Some(0));
    assert!(!Path::new(PENDING).exists());
    world.holds(BEFORE);
}
