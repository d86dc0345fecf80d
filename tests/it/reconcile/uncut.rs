//! Entries that `--cut-denied` is to leave alone, and what becomes of policy where it fails.

use super::cut::write;
use super::drift;
use super::keeper::Keeper;
use crate::apply::confirmed::until;
use crate::apply::replaced::place_of;
use crate::apply::world::{BEFORE, World, bundle};
use crate::palisade::root;

/// A connection to a service: the address of its pod is the same in all zones, and the port is not.
pub(super) const TO_SERVICE: &str = "-I -p tcp --state ESTABLISHED -t 600 -s 10.0.0.2 -d \
                                     10.96.0.1 --sport 5 --dport 80 -r 10.0.0.1 -q 10.0.0.2";

/// What is added to it: the ports of replies and the zone.
const IN_ZONES: [&str; 4] = [
    "--reply-port-src 8081 --reply-port-dst 5",
    "--reply-port-src 8080 --reply-port-dst 5 -w 5",
    "--reply-port-src 8081 --reply-port-dst 5 -w 6",
    // entries with a zone for one direction are not understood
    "--reply-port-src 8081 --reply-port-dst 6 --orig-zone 7",
];

pub(super) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The zones and ports of all entries.
fn entries(world: &World) -> Vec<String> {
    let listed = world.tool("conntrack", &["-L", "-o", "extended"], "");
    let is_telling =
        |word: &&str| word.starts_with("zone") || *word == "sport=8080" || *word == "sport=8081";

    let mut entries: Vec<String> = listed
        .lines()
        .map(|line| {
            line.split_whitespace()
                .filter(is_telling)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    entries.sort_unstable();

    entries
}

/// Renders `/run/one.bundle`: the second pod may come to port 8080 of the first one.
pub(super) fn only_8080() {
    let policy = write("one", "8080");
    let inventory = root()
        .join("golden/dual-stack/inventory.yaml")
        .display()
        .to_string();
    let outcome = crate::palisade::run(
        &root(),
        &["render", &inventory, &policy, "--out", "/run/one.bundle"],
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

pub(super) fn entries_of_other_zones_stay(world: &World) {
    only_8080();
    let (status, said) = world.palisade(&["apply", "/run/one.bundle"]);
    assert_eq!(status, 0, "{said}");
    for zone in IN_ZONES {
        world.tool("conntrack", &words(&format!("{TO_SERVICE} {zone}")), "");
    }

    assert_eq!(
        entries(world),
        [
            "sport=8080 zone=5",
            "sport=8081",
            "sport=8081 zone=6",
            "zone-orig=7 sport=8081"
        ]
    );

    let (status, said) = world.palisade(&[
        "--format",
        "json",
        "apply",
        "/run/one.bundle",
        "--cut-denied",
    ]);
    let told: serde_json::Value =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{status}, {error}: {said}"));

    assert_eq!(
        told["connections"],
        serde_json::json!({"known": 4, "ended": 2, "notUnderstood": 1})
    );
    assert_eq!(
        entries(world),
        ["sport=8080 zone=5", "zone-orig=7 sport=8081"]
    );
}

const DENIED: &str =
    "-I -p tcp --state ESTABLISHED -t 600 -s 192.0.2.9 -d 10.0.0.1 --sport 5 --dport 80";

/// What a `conntrack` does that is not the real one, and what is told.
const FAILS: [(&str, &str); 7] = [
    (
        "echo 'Operation failed: no memory' >&2; exit 1",
        "`conntrack --dump --output extended,id --family ipv4` failed: Operation failed: no memory",
    ),
    (
        "echo 'Operation failed: no rights' >&2",
        "failed: Operation failed: no rights",
    ),
    (
        "echo garbage",
        "its output is not whole: 1 lines of no number",
    ),
    ("exit 0", "its output is not whole: 0 lines of no number"),
    ("\"$real\" \"$@\" | head -c 30", "its output is not whole"),
    (
        "exec sleep 3600",
        "`conntrack --dump --output extended,id --family ipv4` did not end within",
    ),
    // another identifier: the entry is of somebody else, and stays
    (
        "\"$real\" \"$@\" | sed 's/ id=.*/ id=1/'",
        "1 of their entries cannot be deleted: the kernel lists them, and does not find them",
    ),
];

/// Applies a bundle where nothing of ours is, and cannot end the one connection that it denies;
/// then can, with nothing to be written.
fn fails(world: &World, says: &str, script: &str) {
    world.palisade(&["uninstall"]);
    world.tool("conntrack", &words(DENIED), "");
    let apply = ["apply", &bundle(BEFORE), "--cut-denied"];
    let replaced = world.replace("conntrack", script);
    // one that hangs is waited for; all other calls must be over sooner, on a busy machine too
    let limit: &[&str] = if script.contains("sleep") {
        &["--timeout", "19", "--lock-wait", "1"]
    } else {
        &[]
    };

    let (status, said) = world.palisade(&[&apply[..], limit].concat());
    drop(replaced);
    assert!(
        status == 3 && said.contains(": done in 3 calls: ") && said.contains(says),
        "{says}: {status}, {said}"
    );
    assert!(
        said.contains("known connections that are denied now were not ended")
            && said.contains("policy is in force all the same"),
        "{said}"
    );
    world.holds(BEFORE);
    assert_eq!(entries(world).len(), 1, "{says}");

    let (status, said) = world.palisade(&apply);
    let is_cut = said.contains(
        ": in sync, nothing was written\nknown connections: 1; 1 is denied now, and was ended\n",
    );
    assert!(status == 0 && is_cut, "{says}: {status}, {said}");
    assert!(entries(world).is_empty(), "{says}");
}

pub(super) fn a_cut_that_fails_is_told_and_done_the_next_time(world: &World) {
    for (script, says) in FAILS {
        fails(world, says, script);
    }

    // by `reconcile`: the next one ends what the last one could not
    world.palisade(&["uninstall"]);
    world.tool("conntrack", &words(DENIED), "");
    let once = ["reconcile", "--once", "--cut-denied", &bundle(BEFORE)];

    for (script, expected) in [(Some("exit 1"), (3, 1)), (None, (0, 0))] {
        let _replaced = script.map(|script| world.replace("conntrack", script));
        let (status, said) = world.palisade(&once);
        assert_eq!((status, entries(world).len()), expected, "{said}");
        world.holds(BEFORE);
    }

    // without a `conntrack` on the node, whose directory has all else
    let real = place_of("conntrack");
    let directory = real.parent().unwrap().display().to_string();
    let hide = "mkdir /run/all /run/rest && mount --bind \"$0\" /run/all && ln -s /run/all/* \
                /run/rest/ && rm /run/rest/conntrack && mount --bind /run/rest \"$0\"";
    let says = "there is no program `conntrack`";

    world.tool("conntrack", &words(DENIED), "");
    world.tool("sh", &["-c", hide, &directory], "");
    world.palisade(&["uninstall"]);
    let (status, said) = world.palisade(&["apply", &bundle(BEFORE), "--cut-denied"]);
    assert!(
        status == 3
            && said.contains(says)
            && said.contains("install the packages `conntrack` and `iproute2`"),
        "{status}: {said}"
    );
    world.holds(BEFORE);
    world.tool("umount", &[&directory], "");

    let (status, said) = world.palisade(&["apply", &bundle(BEFORE), "--cut-denied"]);
    assert!(
        status == 0 && said.contains("known connections: 1; 1 is denied now, and was ended"),
        "{status}: {said}"
    );
}

/// The loop repairs drift as often as ever, and ends connections as soon as it can.
pub(super) fn the_loop_goes_on_where_connections_cannot_be_ended(world: &World) {
    let replaced = world.replace(
        "conntrack",
        "echo 'Operation failed: no memory' >&2\nexit 1",
    );
    let keeper = Keeper::start(
        world,
        &[&bundle(BEFORE), "--interval", "1", "--cut-denied"],
        &[],
    );

    world.tool("conntrack", &words(DENIED), "");
    for number in 0..2 {
        keeper.behind_its_back(|| drift(world));
        until("drift", || keeper.applies() == number + 2);
        world.holds(BEFORE);
    }

    until("it is told", || {
        keeper.said().matches("Operation failed: no memory").count() > 2
    });
    assert_eq!(entries(world).len(), 1);
    drop(replaced);
    until("connections are ended", || entries(world).is_empty());

    assert_eq!(keeper.end(), Some(0));
}
