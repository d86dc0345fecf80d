//! Where nothing goes wrong.

use std::net::UdpSocket;

use palisade::apply::{self, ApplySettings, ApplyTarget};
use palisade::net::Family;
use palisade::observe::IptablesBackend;

use super::faulty::{Fault, Faulty};
use super::world::{BEFORE, HOST, MOVED, OTHER, World, bundle};

pub(super) fn first_apply_then_nothing(world: &World) {
    let others = world.others();
    let outcome = world.apply(BEFORE).unwrap();
    assert_eq!(
        (outcome.calls, outcome.rounds, outcome.left.len()),
        (3, 1, 0),
        "{outcome:?}"
    );
    world.holds(BEFORE);
    assert_eq!(world.others(), others);

    // a packet of the loopback interface is counted at our jump from INPUT
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .send_to(b"counted", socket.local_addr().unwrap())
        .unwrap();
    let counters = || {
        let saved = world.tool(&world.iptables(Family::V4, "-save"), &["-c"], "");
        let ours: Vec<String> = saved
            .lines()
            .filter(|line| line.contains("pal-") && line.starts_with('['))
            .map(str::to_owned)
            .collect();
        ours
    };
    let before = counters();
    assert!(
        before
            .iter()
            .any(|line| line.contains("INPUT") && !line.starts_with("[0:0]")),
        "{before:?}"
    );
    let mut counting = Faulty::new(world.processes(), Fault::None, 0);
    let outcome = world.apply_by(&mut counting, BEFORE).unwrap();
    assert!(outcome.is_in_sync(), "{outcome:?}");
    assert_eq!(
        counting.calls.len(),
        3,
        "one process for sets and one a family: {:?}",
        counting.calls
    );
    assert!(
        counting.calls.iter().all(|call| call.contains("save")),
        "{:?}",
        counting.calls
    );
    assert_eq!(counters(), before);

    // and by the program, as people see it
    let (status, said) = world.palisade(&["apply", &bundle(BEFORE)]);
    assert_eq!(
        (status, said),
        (
            0,
            format!(
                "node n1 (the host's name), iptables-{}: in sync, nothing was written\n",
                world.build.label()
            )
        )
    );
}

pub(super) fn members_and_policy_change(world: &World) {
    let others = world.others();
    for case in [BEFORE, MOVED, OTHER, HOST, BEFORE, HOST, MOVED] {
        let outcome = world
            .apply(case)
            .unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert!(
            outcome.left.is_empty() && outcome.rounds == 1,
            "{case}: {outcome:?}"
        );
        world.holds(case);
        assert_eq!(world.others(), others, "{case}");
        assert!(world.apply(case).unwrap().is_in_sync(), "{case}");
    }
}

pub(super) fn uninstall_leaves_what_is_not_ours(world: &World) {
    let before = world.print();
    world.apply(HOST).unwrap();
    assert_ne!(world.print(), before);
    let (status, said) = world.palisade(&["uninstall"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(
        world.print(),
        before,
        "a table of no rules may stay only where it was before"
    );
    assert_eq!(
        std::fs::read_dir("/run/p/state").unwrap().count(),
        0,
        "our files are gone"
    );

    let (status, said) = world.palisade(&["uninstall"]);
    assert_eq!(status, 0, "{said}");
}

pub(super) fn the_other_build_is_refused_or_taken_over(world: &World) {
    let other = World {
        build: world.build.other(),
    };
    other.apply(BEFORE).unwrap();

    let before = (world.print(), other.print());
    let (status, said) = world.palisade(&["apply", &bundle(BEFORE)]);
    assert_eq!(status, 3, "{said}");
    let word = other.build.label();
    assert!(
        said.contains(&format!(
            "error[other-backend]: iptables-{word} holds chains of ours"
        )),
        "{said}"
    );
    assert_eq!(
        (world.print(), other.print()),
        before,
        "nothing was changed"
    );

    let mut processes = world.processes();
    let settings = ApplySettings {
        takes_over: true,
        ..world.settings()
    };

    let mut node = ApplyTarget {
        runner: &mut processes,
        settings,
    };
    apply::run(&mut node, &super::world::wanted(BEFORE)).unwrap();
    world.holds(BEFORE);
    assert!(
        other
            .observe()
            .tables
            .values()
            .all(|table| table.is_empty()),
        "the other build is rid of ours"
    );

    // what was used last is found again
    let found = ApplySettings {
        backend: None,
        ..world.settings()
    };
    let outcome = apply::run(
        &mut ApplyTarget {
            runner: &mut world.processes(),
            settings: found,
        },
        &super::world::wanted(BEFORE),
    )
    .unwrap();

    assert!(
        outcome.is_in_sync() && outcome.backend == world.build,
        "{outcome:?}"
    );
    assert!(IptablesBackend::BOTH.contains(&outcome.backend));
}
