//! What is in force where the policy that is wanted is bad, refused, or not kept.

use std::fs;
use std::io::ErrorKind;

use palisade::net::Family;

use super::cut::write;
use super::drift;
use super::keeper::Keeper;
use crate::apply::confirmed::until;
use crate::apply::replaced::Replaced;
use crate::apply::world::World;
use crate::palisade::root;

const PLACE: &str = "/run/b/bundle";

/// Two bundles of node n1: the second allows a port less, or a port more, than the first.
fn bundles(ports: [&str; 2]) -> [String; 2] {
    let inventory = root()
        .join("golden/dual-stack/inventory.yaml")
        .display()
        .to_string();
    ["first", "second"].map(|name| {
        let policy = write(name, ports[usize::from(name == "second")]);
        let place = format!("/run/{name}");
        let outcome =
            crate::palisade::run(&root(), &["render", &inventory, &policy, "--out", &place]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        place
    })
}

const WIDE: &str = "8080, 8081";
const NARROW: &str = "8080";

/// Has the loop find another bundle at its place.
fn give(bundle: &str) {
    fs::create_dir_all("/run/b").unwrap();
    let _ = fs::remove_file("/run/b/new");
    std::os::unix::fs::symlink(bundle, "/run/b/new").unwrap();
    fs::rename("/run/b/new", PLACE).unwrap();
}

fn done(world: &World, words: &[&str]) {
    let (status, said) = world.palisade(&[words, &["--node", "n1"]].concat());
    assert_eq!(status, 0, "{said}");
}

fn once(world: &World, bundle: &str, node: &str) -> (i32, String) {
    world.palisade(&["reconcile", "--once", bundle, "--node", node])
}

/// Makes room for our files that can be used up.
fn small_state(world: &World) {
    fs::create_dir_all("/run/p/state").unwrap();
    world.tool(
        "mount",
        &[
            "-t",
            "tmpfs",
            "-o",
            "size=256k,mode=755",
            "tmpfs",
            "/run/p/state",
        ],
        "",
    );
}

const FILLER: &str = "/run/p/state/filler";

fn fill() {
    let error = fs::write(FILLER, vec![0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

/// A kernel that refuses IPv6's part of whatever allows the second port, when IPv4's is in force.
fn refusing(world: &World) -> Replaced {
    let script = "text=$(cat)\ncase \"$text\" in *8081*) echo 'not by me' >&2; exit 2;; esac\n\
        printf '%s\\n' \"$text\" | \"$real\" \"$@\"";
    world.replace(&world.iptables(Family::V6, "-restore"), script)
}

pub(super) fn what_the_kernel_refuses_gives_way_to_the_last_good_one(world: &World) {
    let [good, refused] = bundles([NARROW, WIDE]);
    done(world, &["apply", &good]);
    let before = world.print();
    let refusing = refusing(world);
    let (status, said) = world.palisade(&["apply", &refused, "--node", "n1"]);
    assert!(
        status == 3 && said.contains("enforced now: the policy before this run"),
        "{status}: {said}"
    );
    assert_eq!(world.print(), before, "no part of it is in force");
    let (status, said) = world.palisade(&["reconcile", "--once", &refused, "--node", "n1"]);
    assert!(
        status == 3
            && said.contains("not by me")
            && said.contains("the last good bundle is in force"),
        "{status}: {said}"
    );
    assert_eq!(world.print(), before);

    // the loop tries the new one again
    give(&good);
    let keeper = Keeper::start(world, &[PLACE, "--node", "n1", "--interval", "1"], &[]);
    give(&refused);
    until("it is refused", || {
        keeper.said().contains("the last good bundle is in force")
    });
    assert!(!before.contains("8081"));
    drop(refusing);
    until("it is not refused any more", || {
        keeper.said().contains(": done in ")
    });
    assert_eq!(keeper.end(), Some(0));
    let (status, said) = once(world, &refused, "n1");
    assert!(status == 0 && said.contains("in sync"), "{status}: {said}");
}

/// A tool that lies: it says that all is well, and writes another port than it is told.
fn lying(world: &World) -> Replaced {
    world.replace(
        &world.iptables(Family::V4, "-restore"),
        "sed s/8081/8082/ | \"$real\" \"$@\"",
    )
}

pub(super) fn what_does_not_settle_gives_way_to_what_was_before(world: &World) {
    let [good, lied] = bundles([NARROW, WIDE]);
    let _lying = lying(world);
    let empty = world.print();
    let (status, said) = world.palisade(&["apply", &lied, "--node", "n1"]);
    assert!(
        status == 3 && said.contains("enforced now: nothing of palisade"),
        "{status}: {said}"
    );
    assert_eq!(world.print(), empty);

    done(world, &["apply", &good]);
    let before = world.print();
    let scripts = status_of(world);
    for command in [&["apply"][..], &["reconcile", "--once"]] {
        let words = [command, &[&lied, "--node", "n1"]].concat();
        let (status, said) = world.palisade(&words);
        assert!(
            status == 3 && said.starts_with("error[not-settled]"),
            "{words:?}, {status}: {said}"
        );
        let enforced = format!("the last good bundle (node n1, scripts {scripts})");
        assert!(said.contains(&enforced), "{words:?}: {said}");
        assert_eq!(world.print(), before, "{words:?}");
    }

    // from a state that is not the last good bundle's, the loop goes on to that
    drift(world);
    let (status, said) = world.palisade(&["reconcile", "--once", &lied, "--node", "n1"]);
    assert!(
        status == 3 && said.contains("which is not that of the last good bundle"),
        "{status}: {said}"
    );
    assert!(
        said.contains("the last good bundle is in force; the new one is tried again"),
        "{said}"
    );
    assert_eq!(world.print(), before);
}

/// The digest of the scripts in force.
fn status_of(world: &World) -> String {
    let (status, said) = world.palisade(&["status"]);
    assert_eq!(status, 0, "{said}");
    let (_, behind) = said.split_once("scripts ").unwrap();
    behind.split(',').next().unwrap().to_owned()
}

pub(super) fn what_was_not_kept_is_not_replaced_by_what_is_older(world: &World) {
    let [wide, narrow] = bundles([WIDE, NARROW]);
    small_state(world);
    done(world, &["apply", &wide]);
    fill();
    let (status, said) = world.palisade(&["apply", &narrow, "--node", "n1"]);
    assert!(
        status == 2 && said.contains("the kernel holds the new policy"),
        "{status}: {said}"
    );
    drift(world);
    let before = world.print();
    let (status, said) = once(world, "/run/none", "n1");
    assert!(
        status == 2 && said.contains("what was applied last stays; it was not kept"),
        "{status}: {said}"
    );
    let replaced = world.replace("ipset", "exit 1");
    let (status, said) = world.palisade(&["reconcile", "--once", &wide, "--node", "n1"]);
    drop(replaced);
    assert!(
        status == 3 && said.contains("nothing is brought back: what was applied last"),
        "{status}: {said}"
    );
    assert_eq!(world.print(), before, "no older one");

    fs::remove_file(FILLER).unwrap();
    done(world, &["apply", &narrow]);
    let before = world.print();
    drift(world);
    let (status, said) = once(world, "/run/none", "n1");
    assert!(
        status == 2 && said.contains("the last good bundle stays in force"),
        "{status}: {said}"
    );
    assert_eq!(world.print(), before, "what is kept is repaired");
}

pub(super) fn a_last_good_bundle_that_is_not_ours_or_damaged_is_not_taken(world: &World) {
    let [good, _] = bundles([NARROW, WIDE]);
    done(world, &["apply", &good]);
    drift(world);
    let before = world.print();
    let (status, said) = once(world, "/run/none", "n2");

    assert!(
        status == 2 && said.contains("the last good bundle is for node `n1`, and not taken"),
        "{status}: {said}"
    );
    assert_eq!(world.print(), before);
    fs::write("/run/p/state/good/nodes/n1/filter.v4.rules", "").unwrap();

    let (status, said) = once(world, "/run/none", "n1");
    assert!(
        status == 2 && said.contains("error[bundle-damaged]"),
        "{status}: {said}"
    );
    assert!(
        said.contains("the last good bundle cannot be read; what is in force stays"),
        "{said}"
    );

    assert_eq!(world.print(), before);
}

/// An entry of a connection to the second port.
const ENTRY: &str =
    "-I -p tcp --state ESTABLISHED -t 600 -s 10.0.0.2 -d 10.0.0.1 --sport 5 --dport 8081";

pub(super) fn connections_are_ended_also_where_policy_was_not_kept_at_first(world: &World) {
    let [wide, narrow] = bundles([WIDE, NARROW]);
    small_state(world);
    give(&wide);
    let keeper = Keeper::start(
        world,
        &[PLACE, "--node", "n1", "--interval", "1", "--cut-denied"],
        &[],
    );

    until("a first round", || {
        keeper.said().contains("known connections")
    });
    let entry: Vec<&str> = ENTRY.split(' ').collect();
    world.tool("conntrack", &entry, "");

    let is_known = || world.tool("conntrack", &["-L"], "").contains("dport=8081");
    fill();
    give(&narrow);
    until("it is not kept", || {
        keeper.said().contains("the kernel holds the new policy")
    });
    assert!(is_known());
    fs::remove_file(FILLER).unwrap();

    until("connections are ended", || !is_known());
}
