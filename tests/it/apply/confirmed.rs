//! Applies that wait to be confirmed.

use std::fs;
use std::time::{Duration, Instant};

use palisade::apply::{self, ApplyError, ApplyTarget, ConfirmOutcome};
use palisade::diagnostic::Code;
use palisade::runner::ToolCall;
use rustix::process::{Pid, Signal, kill_process};

use super::faulty::{Fault, Faulty};
use super::world::{BEFORE, MOVED, OTHER, World, bundle, wanted};
use crate::palisade::HANG;

pub(super) const PENDING: &str = "/run/p/state/pending.json";

/// Waits until it is so.
pub(crate) fn until(about: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < HANG, "{about}: it does not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends the time in which what waits can be confirmed.
fn let_time_pass() {
    let text = fs::read_to_string(PENDING).unwrap();
    let mut pending: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(
        pending["until"].as_u64().is_some_and(|until| until > 0),
        "{pending}"
    );
    pending["until"] = 0.into();

    // the guard may read it at any time: the file is replaced whole
    let draft = format!("{PENDING}.draft");
    fs::write(&draft, pending.to_string()).unwrap();
    fs::rename(&draft, PENDING).unwrap();
}

fn is_settled() -> bool {
    !fs::exists(PENDING).unwrap()
}

pub(super) fn taken_back_unless_confirmed(world: &World) {
    // nothing was there before: nothing is there again
    let empty = world.print();
    let (status, said) = world.palisade(&["apply", &bundle(BEFORE), "--confirm", "1"]);
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains("`palisade confirm` keeps it; without that, the state before is back in 1 s"),
        "{said}"
    );
    until("the first is taken back", is_settled);
    assert_eq!(world.print(), empty);

    world.apply(BEFORE).unwrap();
    let (status, said) =
        world.palisade(&["apply", &bundle(MOVED), "--node", "n1", "--confirm", "3600"]);
    assert_eq!(status, 0, "{said}");
    world.holds(MOVED);
    let_time_pass();
    until("the second is taken back", is_settled);
    world.holds(BEFORE);
    assert_eq!(world.palisade(&["confirm"]).0, 1, "nothing waits");

    world.palisade(&["apply", &bundle(MOVED), "--node", "n1", "--confirm", "3600"]);
    let (status, said) = world.palisade(&["apply", &bundle(OTHER)]);
    assert!(
        status == 4 && said.contains("an apply waits to be confirmed"),
        "{status}: {said}"
    );
    world.holds(MOVED);
    let (status, said) = world.palisade(&["confirm"]);
    assert_eq!(status, 0, "{said}");
    until("the guard is gone", || guards().is_empty());
    world.holds(MOVED);
    let (status, said) = world.palisade(&["apply", "/run/p/state/good"]);
    assert!(status == 0 && said.contains("in sync"), "{said}");

    world.palisade(&["apply", &bundle(BEFORE), "--confirm", "3600"]);
    world.holds(BEFORE);
    assert_eq!(world.palisade(&["confirm", "--undo"]).0, 0);
    world.holds(MOVED);
}

/// Processes of ours that wait.
pub(super) fn guards() -> Vec<i32> {
    let is_guard = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_in_here = fs::read_link(format!("/proc/{pid}/ns/net")).ok()
            == fs::read_link("/proc/thread-self/ns/net").ok();
        is_in_here && String::from_utf8_lossy(&words).contains("confirm\0--guard")
    };
    let entries = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    entries.filter(is_guard).collect()
}

pub(super) fn taken_back_without_the_guard(world: &World) {
    world.apply(BEFORE).unwrap();
    let (status, said) =
        world.palisade(&["apply", &bundle(MOVED), "--node", "n1", "--confirm", "3600"]);
    assert_eq!(status, 0, "{said}");
    let guard = guards();
    assert_eq!(guard.len(), 1, "{guard:?}");
    kill_process(Pid::from_raw(guard[0]).unwrap(), Signal::KILL).unwrap();
    let_time_pass();
    world.holds(MOVED);
    let mut processes = world.processes();
    let mut node = ApplyTarget {
        runner: &mut processes,
        settings: world.settings(),
    };
    assert_eq!(apply::waits(&mut node), Ok(Some(Duration::ZERO)));
    assert!(matches!(
        apply::confirm(&mut node),
        Ok(ConfirmOutcome::TooLate(_))
    ));
    world.holds(BEFORE);

    // the node boots: another boot's clock says nothing, and what was confirmed last is what comes
    // up
    let idle = ToolCall::new("sh", &["-c", "echo ready"]);
    apply::run_to_be_confirmed(&mut node, &wanted(MOVED), Duration::from_hours(1), &idle).unwrap();
    let text = fs::read_to_string(PENDING).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(PENDING, text.replace(boot.trim(), "another-boot")).unwrap();
    fs::remove_dir_all("/run/p/run").unwrap();
    let (status, said) = world.palisade(&["apply", "/run/p/state/good"]);
    assert_eq!(status, 0, "{said}");
    world.holds(BEFORE);
    assert!(is_settled());
}

pub(super) fn taken_back_when_it_goes_wrong(world: &World) {
    let idle = ToolCall::new("sh", &["-c", "echo ready"]);
    let limit = Duration::from_hours(1);
    let run = |runner: &mut Faulty, case: &str, guard: &ToolCall| {
        apply::run_to_be_confirmed(
            &mut ApplyTarget {
                runner,
                settings: world.settings(),
            },
            &wanted(case),
            limit,
            guard,
        )
    };

    world.apply(BEFORE).unwrap();
    let before = world.print();
    // a guard that does not stand: nothing is begun
    let gone = ToolCall::new("sh", &["-c", "exit 1"]);

    let error = run(
        &mut Faulty::new(world.processes(), Fault::None, 0),
        MOVED,
        &gone,
    )
    .unwrap_err();
    assert!(matches!(error, ApplyError::Files(_)), "{error:?}");
    assert_eq!((world.print(), is_settled()), (before, true));

    let mut taken_back = 0;
    for at in 3..11 {
        let mut faulty = Faulty::new(world.processes(), Fault::FailsWithZero, at);
        match run(&mut faulty, MOVED, &idle) {
            Err(error @ ApplyError::TakenBack(_)) => {
                assert_eq!(error.diagnostic(&world.processes()).code, Code::RolledBack);
                taken_back += 1;
            }
            // before the first write
            Err(ApplyError::Kernel(_)) => {}
            // sets can be listed in a second way, and what cannot be removed does not matter
            Ok(_) => drop(
                apply::undo(&mut ApplyTarget {
                    runner: &mut faulty,
                    settings: world.settings(),
                })
                .unwrap(),
            ),
            Err(other) => panic!("at {at}, {:?}: {other:?}", faulty.calls),
        }
        world.holds(BEFORE);
        assert!(is_settled(), "at {at}");
    }

    assert!(taken_back > 3, "{taken_back}");
    // policy that no apply brought there cannot be brought back
    fs::remove_dir_all("/run/p/state/good").unwrap();
    let error = run(
        &mut Faulty::new(world.processes(), Fault::None, 0),
        MOVED,
        &idle,
    )
    .unwrap_err();

    assert_eq!(
        (error.diagnostic(&world.processes()).code, error),
        (Code::NoWayBack, ApplyError::NoWayBack)
    );
    world.holds(BEFORE);
}
