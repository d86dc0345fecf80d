//! The last good bundle, where it is damaged, staged, or of another node than the one at hand.

use std::fs;
use std::path::Path;
use std::time::Duration;

use palisade::apply::{self, ApplyError, ApplyTarget, ConfirmOutcome, TargetBundle};
use palisade::bundle::BundleOnDisk;
use palisade::options::ExtensionSet;
use palisade::runner::ToolCall;

use super::confirmed::PENDING;
use super::world::{BEFORE, MOVED, OTHER, World, bundle, wanted};

const GOOD: &str = "/run/p/state/good";

/// Each sort of damage, by a script. What is no directory is not ours to replace (`super::own`).
const DAMAGES: [&str; 4] = [
    "echo > $1/nodes/n1/filter.v4.rules",
    "rm $1/nodes/n1/sets.ipset",
    "rm $1/palisade.json",
    "echo > $1/palisade.json",
];

fn damage(world: &World, script: &str) {
    world.tool("sh", &["-c", script, "sh", GOOD], "");
}

/// Runs the program, which must end with this status and say these words.
fn run(world: &World, words: &[&str], expected: i32, says: &str) {
    let (status, said) = world.palisade(words);
    assert!(
        status == expected && said.contains(says),
        "{words:?}, {status}: {said}"
    );
}

pub(super) fn a_damaged_one_is_no_way_back_and_is_mended(world: &World) {
    let before = bundle(BEFORE);

    for script in DAMAGES {
        world.apply(BEFORE).unwrap();
        damage(world, script);
        run(
            world,
            &["apply", &bundle(MOVED), "--confirm", "60"],
            2,
            "the last good bundle cannot be brought back: ",
        );
        world.holds(BEFORE);
        assert!(!Path::new(PENDING).exists(), "{script}");
        run(
            world,
            &["apply", &before],
            0,
            "in sync, nothing was written",
        );
        run(world, &["apply", GOOD], 0, "in sync, nothing was written");
        fs::remove_dir_all("/run/p/run").unwrap();
    }
}

pub(super) fn a_damaged_one_wedges_nothing(world: &World) {
    let idle = ToolCall::new("echo", &["ready"]);
    for script in DAMAGES {
        world.apply(BEFORE).unwrap();
        let (mut processes, settings) = (world.processes(), world.settings());
        let mut node = ApplyTarget {
            runner: &mut processes,
            settings,
        };
        apply::run_to_be_confirmed(&mut node, &wanted(MOVED), Duration::from_hours(1), &idle)
            .unwrap();
        damage(world, script);
        assert_eq!(
            world.palisade(&["apply", &bundle(OTHER)]).0,
            4,
            "{script}: it can be confirmed yet"
        );
        fs::write(PENDING, "{\"boot\": \"another\", \"until\": 0}").unwrap();
        for words in [
            &["confirm"][..],
            &["confirm", "--undo"],
            &["apply", &bundle(OTHER), "--confirm", "9"],
        ] {
            run(
                world,
                words,
                2,
                "the last good bundle cannot be brought back: ",
            );
            world.holds(MOVED);
        }
        run(
            world,
            &["apply", &bundle(OTHER)],
            0,
            "could not be taken back, since the last good bundle was damaged",
        );
        world.holds(OTHER);
        assert!(!Path::new(PENDING).exists(), "{script}");
        run(world, &["apply", GOOD], 0, "in sync, nothing was written");
        // what is confirmed in time needs no way back
        apply::run_to_be_confirmed(&mut node, &wanted(MOVED), Duration::from_hours(1), &idle)
            .unwrap();
        damage(world, script);
        assert_eq!(
            apply::confirm(&mut node),
            Ok(ConfirmOutcome::Kept),
            "{script}"
        );
        assert!(
            matches!(apply::last_good(node.runner), Ok(Some(good)) if good.scripts == wanted(MOVED).scripts),
            "{script}"
        );
    }

    damage(world, DAMAGES[0]);
    assert!(matches!(
        apply::last_good(&mut world.processes()),
        Err(ApplyError::Good(_))
    ));
}

pub(super) fn a_staged_one_is_applied_at_boot(world: &World) {
    world.tool("cp", &["-r", &bundle(BEFORE), "/run/staged"], "");
    let index = fs::read_to_string("/run/staged/palisade.json").unwrap();
    fs::write(
        "/run/staged/palisade.json",
        index.replacen('{', "{\"staged\": true,", 1),
    )
    .unwrap();
    run(world, &["apply", "/run/staged"], 2, "it is a proposal");
    run(world, &["apply", "/run/staged", "--staged"], 0, "done in ");
    fs::remove_dir_all("/run/p/run").unwrap();
    std::os::unix::fs::symlink("/run/p", "/run/link").unwrap();
    for place in [GOOD, "/run/p/state/good/", "/run/link/state/../state/good"] {
        run(world, &["apply", place], 0, "in sync, nothing was written");
    }
    run(world, &["apply", "/run/staged"], 2, "it is a proposal");
}

pub(super) fn a_bundle_of_another_node_is_refused(world: &World) {
    fs::write("/run/host", "n7\n").unwrap();
    let empty = world.print();
    run(
        world,
        &["apply", &bundle(BEFORE)],
        2,
        "is for node `n1`, and nothing says that this host, `n7`, is that node\n",
    );
    assert_eq!(world.print(), empty);
    run(
        world,
        &["apply", &bundle(BEFORE), "--node", "n1"],
        0,
        "node n1, ",
    );

    let second = TargetBundle::read(
        &BundleOnDisk::open(Path::new(&bundle(MOVED))).unwrap(),
        "n2",
        &ExtensionSet::default(),
    )
    .unwrap();
    for (name, content) in second.folder() {
        let path = Path::new("/run/second").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    for boots in [false, true] {
        if boots {
            fs::remove_dir_all("/run/p/run").unwrap();
        }
        run(
            world,
            &["apply", "/run/second"],
            2,
            "`n7`, is that node; policy of node `n1` was applied here last\n",
        );
        run(
            world,
            &["apply", &bundle(MOVED)],
            2,
            "the bundle has nothing for this host, `n7`",
        );
        world.holds(BEFORE);
        run(world, &["apply", GOOD], 0, "node n1 (applied here last), ");
        run(
            world,
            &["apply", &bundle(BEFORE)],
            0,
            "node n1 (applied here last), ",
        );
        run(world, &["status"], 0, "n1: in sync");
    }
    run(
        world,
        &["apply", "/run/second", "--node", "n2"],
        0,
        "node n2, ",
    );
    run(
        world,
        &["apply", &bundle(BEFORE)],
        2,
        "policy of node `n2` was applied here last",
    );
    run(world, &["uninstall"], 0, "");
    run(world, &["apply", "/run/second"], 2, "is that node\n");
}
