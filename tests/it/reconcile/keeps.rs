//! The loop.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};

use palisade::net::Family;
use rustix::process::Signal;

use super::keeper::Keeper;
use super::{drift, put, put_damaged};
use crate::apply::confirmed::until;
use crate::apply::world::{BEFORE, MOVED, OTHER, World, bundle};
use crate::palisade::HANG;

/// What others do, each by one family's tool or by `ipset`.
const DEEDS: [(&str, &[&str]); 5] = [
    ("the jump is deleted", &["iptables -D FORWARD 1"]),
    (
        "a foreign rule in our chain",
        &["iptables -I pal-FORWARD 1 -s 10.9.9.9 -j ACCEPT"],
    ),
    ("a member is removed", &["ipset del pal-local4 10.0.0.1"]),
    ("all rules flushed", &["iptables -F", "ip6tables -F"]),
    ("everything is gone", &EVERYTHING),
];

/// Takes all rules, chains and sets away; source validation has some in the raw tables.
const EVERYTHING: [&str; 10] = [
    "iptables -t raw -F",
    "iptables -t raw -X",
    "ip6tables -t raw -F",
    "ip6tables -t raw -X",
    "iptables -F",
    "iptables -X",
    "ip6tables -F",
    "ip6tables -X",
    "ipset flush",
    "ipset destroy",
];

fn act(world: &World, deed: &str) {
    let (program, words) = deed.split_once(' ').unwrap();
    let words: Vec<&str> = words.split(' ').collect();
    let wait = ["-w", "600"];
    let (is_done, said) = match program {
        "iptables" => world.try_tool(
            &world.iptables(Family::V4, ""),
            &[&wait, words.as_slice()].concat(),
            "",
        ),
        "ip6tables" => world.try_tool(
            &world.iptables(Family::V6, ""),
            &[&wait, words.as_slice()].concat(),
            "",
        ),
        other => world.try_tool(other, &words, ""),
    };

    assert!(is_done, "{deed}: {said}");
}

pub(super) fn the_loop_repairs_what_others_do(world: &World) {
    let keeper = Keeper::start(world, &[&bundle(BEFORE), "--interval", "1"], &[]);
    world.holds(BEFORE);
    for (number, (about, deeds)) in DEEDS.into_iter().enumerate() {
        keeper.behind_its_back(|| {
            deeds.iter().for_each(|deed| act(world, deed));
            assert!(!world.is_held(BEFORE), "{about}");
        });
        until(about, || keeper.applies() == number + 2);
        world.holds(BEFORE);
    }

    assert_eq!(keeper.end(), Some(0));
    world.holds(BEFORE);
}

pub(super) fn the_loop_takes_what_changes(world: &World) {
    let place = Path::new("/run/b/bundle");
    put(BEFORE, place);
    // nothing comes about by the interval
    let keeper = Keeper::start(
        world,
        &["/run/b/bundle", "--node", "n1", "--interval", "3600"],
        &[],
    );
    world.holds(BEFORE);
    put(MOVED, place);
    until("another bundle", || world.is_held(MOVED));

    put_damaged(OTHER, place);
    until("a bad bundle is told of", || {
        keeper
            .said()
            .contains("the last good bundle stays in force")
    });
    assert!(
        keeper.said().contains("error[bundle-damaged]"),
        "{}",
        keeper.said()
    );
    world.holds(MOVED);
    drift(world);
    keeper.signal(Signal::HUP);
    until("a round that is asked for", || world.is_held(MOVED));

    put(OTHER, place);
    until("a good one after a bad one", || world.is_held(OTHER));
    let before = world.print();
    assert_eq!(keeper.end(), Some(0));
    assert_eq!(world.print(), before, "policy stays");
}

/// Drift is repaired also where the bundle is bad, and as often.
fn repairs_beside_a_bad_bundle(world: &World, keeper: &Keeper, place: &Path) {
    put_damaged(MOVED, place);
    until("a bad bundle", || {
        keeper
            .said()
            .contains("the last good bundle stays in force")
    });

    for number in 0..4 {
        keeper.behind_its_back(|| drift(world));
        until("drift beside a bad bundle", || {
            keeper.applies() == number + 2
        });
        world.holds(BEFORE);
    }
}

pub(super) fn the_loop_tells_how_it_is(world: &World) {
    let place = Path::new("/run/b/bundle");
    put(BEFORE, place);
    let heard = Heard::listen("/run/notify");
    let words = [
        "/run/b/bundle",
        "--node",
        "n1",
        "--interval",
        "1",
        "--metrics-file",
        "/run/pal.prom",
        "--metrics-listen",
        "127.0.0.1:9632",
    ];
    let keeper = Keeper::start(
        world,
        &words,
        &[
            ("NOTIFY_SOCKET", "/run/notify"),
            ("WATCHDOG_USEC", "400000"),
        ],
    );
    heard.told(&["READY=1", "STATUS=in sync"], 1);
    heard.told(&["WATCHDOG=1"], 4);
    measures(&[
        "palisade_in_sync 1",
        "palisade_applies_total 1",
        "palisade_rounds_total{end=\"bad\"} 0",
        "palisade_bundle_bad 0",
    ]);
    assert_eq!(
        fs::metadata("/run/pal.prom").unwrap().permissions(),
        std::os::unix::fs::PermissionsExt::from_mode(0o100_644)
    );

    repairs_beside_a_bad_bundle(world, &keeper, place);
    heard.told(
        &["STATUS=the bundle is bad; the last good one is in force"],
        1,
    );
    measures(&[
        "palisade_in_sync 1",
        "palisade_applies_total 5",
        "palisade_bundle_bad 1",
    ]);
    assert!(asked("GET /else").starts_with("HTTP/1.1 404 "));
    assert!(asked("POST /metrics").starts_with("HTTP/1.1 405 "));
    assert_eq!(keeper.end(), Some(0));
    heard.told(&["STOPPING=1"], 1);
}

/// A socket that is full, which nobody reads, holds up neither rounds nor the end.
pub(super) fn the_loop_goes_on_where_nobody_listens(world: &World) {
    let full = UnixDatagram::bind("/run/full").unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"unread", "/run/full").is_ok() {}
    let variables = [("NOTIFY_SOCKET", "/run/full"), ("WATCHDOG_USEC", "100000")];
    let keeper = Keeper::start(world, &[&bundle(BEFORE), "--interval", "1"], &variables);

    for number in 0..2 {
        keeper.behind_its_back(|| drift(world));
        until("a round", || keeper.applies() == number + 2);
        world.holds(BEFORE);
    }

    assert_eq!(keeper.end(), Some(0));
    drop(full);
}

/// What systemd would be told; it is read at once, since a sender waits while ten messages are
/// unread.
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn listen(path: &str) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut space = [0; 4096];
            while let Ok(length) = socket.recv(&mut space) {
                let said = String::from_utf8_lossy(space.get(..length).unwrap()).into_owned();
                kept.lock().unwrap().push(said);
            }
        });

        Self(heard)
    }

    /// Waits until so many messages have come that have all of these lines.
    fn told(&self, lines: &[&str], times: usize) {
        let has_all = |said: &&String| {
            lines
                .iter()
                .all(|line| said.lines().any(|said| said == *line))
        };
        until(&format!("{lines:?}"), || {
            self.0.lock().unwrap().iter().filter(has_all).count() >= times
        });
    }
}

/// Waits until the metrics hold these lines: in the file, and over HTTP.
fn measures(lines: &[&str]) {
    let has_all = |text: &str| {
        lines
            .iter()
            .all(|line| text.lines().any(|shown| shown == *line))
    };

    until(&format!("{lines:?}"), || {
        let answer = asked("GET /metrics");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 200 OK\r\n"),
            "{answer}"
        );
        has_all(&fs::read_to_string("/run/pal.prom").unwrap_or_default()) && has_all(&answer)
    });
}

/// What is answered to a request.
fn asked(request: &str) -> String {
    let mut stream = TcpStream::connect("127.0.0.1:9632").unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
        .write_all(format!("{request} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
