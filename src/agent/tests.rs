#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::agent::http::{ConnectionLimits, LIMITS};
use crate::agent::{
    LONGEST_WAIT, LoopEnvironment, LoopTiming, MetricsServer, RoundHealth, RoundReason,
    SystemEvents, WakeEvent, run,
};

const PACE: LoopTiming = LoopTiming {
    interval: Duration::from_secs(30),
    retry: Duration::from_secs(1),
};

/// Reports the given events in order, then a stop.
struct Script {
    events: Vec<WakeEvent>,
    waits: Vec<u64>,
}

impl LoopEnvironment for Script {
    fn wait(&mut self, most: Duration) -> WakeEvent {
        self.waits.push(most.as_secs());
        if self.events.is_empty() {
            WakeEvent::Stop
        } else {
            self.events.remove(0)
        }
    }
}

#[test]
fn rounds_their_reasons_and_the_waits_between() {
    use RoundHealth::{Busy, Failed, Good};
    use WakeEvent::{Asked, Changed, Elapsed};
    type Row<'row> = (
        &'row [WakeEvent],
        &'row [RoundHealth],
        &'row [RoundReason],
        &'row [u64],
    );

    let table: [Row<'_>; 4] = [
        (
            &[Elapsed, Changed, Asked],
            &[Good; 4],
            &[
                RoundReason::Start,
                RoundReason::Interval,
                RoundReason::Changed,
                RoundReason::Asked,
            ],
            &[30; 4],
        ),
        (
            &[Elapsed, Elapsed, Elapsed, Elapsed],
            &[Failed, Failed, Failed, Good, Good],
            &[
                RoundReason::Start,
                RoundReason::Retry,
                RoundReason::Retry,
                RoundReason::Retry,
                RoundReason::Interval,
            ],
            &[1, 2, 4, 30, 30],
        ),
        (
            &[Elapsed, Elapsed],
            &[Busy, Busy, Good],
            &[
                RoundReason::Start,
                RoundReason::Interval,
                RoundReason::Interval,
            ],
            &[1, 1, 30],
        ),
        // A change begins a round at once, but does not reset the count of failures.
        (
            &[Elapsed, Changed],
            &[Failed, Failed, Failed],
            &[RoundReason::Start, RoundReason::Retry, RoundReason::Changed],
            &[1, 2, 4],
        ),
    ];
    for (events, healths, reasons, waits) in table {
        let mut world = Script {
            events: events.to_vec(),
            waits: Vec::new(),
        };
        let mut left = healths.iter().copied();
        let mut seen = Vec::new();
        run(&mut world, &PACE, &mut |why| {
            seen.push(why);
            left.next().unwrap()
        });
        assert_eq!((seen.as_slice(), world.waits.as_slice()), (reasons, waits));
    }
}

#[test]
fn waits_grow_to_a_bound() {
    assert_eq!(PACE.after(0), PACE.interval);
    assert_eq!(PACE.after(5), Duration::from_secs(16));
    assert_eq!([PACE.after(20), PACE.after(u32::MAX)], [LONGEST_WAIT; 2]);
    let slow = LoopTiming {
        interval: Duration::from_secs(3600),
        ..PACE
    };
    assert_eq!(slow.after(20), slow.interval);
}

/// A wait this long means that the test fails.
const LONG: Duration = Duration::from_mins(10);

#[test]
fn changes_of_files_are_seen_and_those_of_others_are_not() {
    let place = tempfile::tempdir().unwrap();
    let (bundle, beside) = (place.path().join("bundle"), place.path().join("beside"));
    let mut system = SystemEvents::watching(std::slice::from_ref(&bundle)).unwrap();
    let change = |what: &str| match what {
        "it comes" => std::fs::create_dir_all(bundle.join("nodes/n1")).unwrap(),
        "a file in it" => std::fs::write(bundle.join("nodes/n1/x"), "1").unwrap(),
        "a file of it is replaced" => {
            let new = place.path().join("new.json");
            std::fs::write(&new, "{}").unwrap();
            std::fs::rename(&new, bundle.join("palisade.json")).unwrap();
        }
        "it is replaced" => {
            std::fs::create_dir_all(beside.join("nodes")).unwrap();
            std::fs::rename(&bundle, place.path().join("old")).unwrap();
            std::fs::rename(&beside, &bundle).unwrap();
        }
        "a file of the new one" => std::fs::write(bundle.join("nodes/y"), "1").unwrap(),
        other => panic!("{other}"),
    };

    for what in [
        "it comes",
        "a file in it",
        "a file of it is replaced",
        "it is replaced",
        "a file of the new one",
    ] {
        change(what);
        assert_eq!(system.wait(LONG), WakeEvent::Changed, "{what}");
    }

    std::fs::write(&beside, "somebody else's").unwrap();
    assert_eq!(system.wait(Duration::from_millis(1)), WakeEvent::Elapsed);
}

#[test]
fn what_cannot_be_watched_is_watched_once_it_can_be() {
    let place = tempfile::tempdir().unwrap();
    let bundle = place.path().join("volume/bundle");
    let mut system = SystemEvents::watching(std::slice::from_ref(&bundle)).unwrap();
    assert!(system.unwatched().is_some(), "there is no directory");
    assert_eq!(system.wait(Duration::from_millis(1)), WakeEvent::Elapsed);
    std::fs::create_dir_all(&bundle).unwrap();
    assert_eq!(system.wait(Duration::from_millis(1)), WakeEvent::Elapsed);
    assert!(system.unwatched().is_none());
    std::fs::write(bundle.join("palisade.json"), "{}").unwrap();
    assert_eq!(system.wait(LONG), WakeEvent::Changed);
}

fn ask(listener: &MetricsServer, request: &str) -> String {
    let mut client = TcpStream::connect(listener.address()).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_over_http() {
    let listener = MetricsServer::at(([127, 0, 0, 1], 0).into()).unwrap();
    listener.show("palisade_in_sync 1\n");
    let answer = ask(&listener, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n")
            && answer.ends_with("\r\n\r\npalisade_in_sync 1\n"),
        "{answer}"
    );

    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("hello\r\n\r\n", "400"),
        ("GET /metr", "400"),
        ("", "400"),
    ] {
        let answer = ask(&listener, request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
}

/// Clients that are harmless alone: what each does, and the bytes that it sends while connected.
const BURDENS: [(&str, &[u8]); 5] = [
    ("says nothing", b""),
    ("begins a request", b"GET /metrics HTTP/1.1\r\nHost: "),
    ("reads no answer", b"GET /metrics HTTP/1.1\r\n\r\n"),
    (
        "says more than a request",
        b"GET /metrics HTTP/1.1\r\n\r\nand more",
    ),
    ("says what is no request", &[0; 600]),
];

fn connect(listener: &MetricsServer, text: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(listener.address()).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client.write_all(text).unwrap();
    client
}

/// Reads to the end, or to where the server closed the connection.
fn read_all(mut client: TcpStream) -> String {
    let mut answer = Vec::new();
    match client.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8(answer).unwrap()
}

/// Without a limit and a deadline for each, these clients would take longer than [`LONG`].
#[test]
fn clients_that_do_not_go_on_keep_no_other_waiting() {
    let listener = MetricsServer::with(
        ([127, 0, 0, 1], 0).into(),
        ConnectionLimits {
            time: LONG * 2,
            ..LIMITS
        },
    )
    .unwrap();

    // More than the kernel's socket buffers hold.
    let text = "palisade_in_sync 1\n".repeat(1 << 20);
    listener.show(&text);
    let mut burdens = Vec::new();

    for (about, said) in BURDENS {
        burdens.extend((0..LIMITS.connections + 3).map(|_| connect(&listener, said)));
        let answer = read_all(connect(&listener, b"GET /metrics HTTP/1.1\r\n\r\n"));
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&text),
            "{about}"
        );
    }

    // The oldest connection was closed to make room.
    assert_eq!(read_all(burdens.swap_remove(0)), "");
}

#[test]
fn each_connection_has_a_deadline() {
    let limits = ConnectionLimits {
        time: Duration::from_millis(100),
        ..LIMITS
    };
    let listener = MetricsServer::with(([127, 0, 0, 1], 0).into(), limits).unwrap();
    let clients: Vec<TcpStream> = (0..4).map(|_| connect(&listener, b"GET /metr")).collect();
    let mut trickling = connect(&listener, b"");

    // The server closes the connections without an answer.
    assert!(
        clients
            .into_iter()
            .all(|client| read_all(client).is_empty())
    );

    while trickling.write_all(b"G").is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }

    assert_eq!(read_all(trickling), "");
}
