//! Those who look while others change the node.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use palisade::net::Family;
use palisade::runner::Runner;

use super::confirmed::until;
use super::world::{BEFORE, MOVED, World, bundle};

const NO_TIME: Duration = Duration::ZERO;

/// Whether a process has the lock's file open now.
fn opens_lock(process: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|path| path == Path::new("/run/p/run/lock"))
}

pub(super) fn who_looks_waits_for_who_changes(world: &World) {
    world.apply(BEFORE).unwrap();
    let iptables = world.iptables(Family::V4, "");
    let (mut one, mut other) = (world.processes(), world.processes());
    // half of an apply is never seen: the jump is gone while the lock is held, and there again when
    // it is let go
    let held = one.lock(NO_TIME).unwrap().expect("nobody has it");
    world.tool(&iptables, &["-D", "FORWARD", "1"], "");
    let status = world
        .command(&["status"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it waits for the lock", || opens_lock(status.id()));
    world.tool(
        &iptables,
        &[
            "-I",
            "FORWARD",
            "1",
            "-m",
            "comment",
            "--comment",
            "palisade",
            "-j",
            "pal-FORWARD",
        ],
        "",
    );
    drop(held);
    let output = status.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(0) && said.contains("n1: in sync"),
        "{said}"
    );

    let held = one.lock(NO_TIME).unwrap().expect("nobody has it");
    for words in [
        &["status", "--lock-wait", "1"][..],
        &["apply", &bundle(BEFORE), "--dry-run", "--lock-wait", "1"],
    ] {
        let (status, said) = world.palisade(words);
        assert!(
            status == 4
                && said.starts_with("error[node-busy]: another `palisade` is changing this node"),
            "{words:?}, {status}: {said}"
        );
    }
    drop(held);

    // who looks keeps nobody from looking, but an apply
    let looks = one.lock_to_look(NO_TIME).unwrap().expect("nobody has it");
    assert!(other.lock_to_look(NO_TIME).unwrap().is_some());
    assert_eq!(world.palisade(&["status"]).0, 0);
    let (status, said) =
        world.palisade(&["apply", &bundle(MOVED), "--node", "n1", "--lock-wait", "1"]);
    assert_eq!(status, 4, "{said}");
    world.holds(BEFORE);
    drop(looks);
    assert!(other.lock(NO_TIME).unwrap().is_some());

    // where nobody has worked since the node booted, looking leaves nothing behind
    fs::remove_dir_all("/run/p/run").unwrap();
    assert_eq!(world.palisade(&["status"]).0, 0);
    assert!(!Path::new("/run/p/run").exists());
}
