use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};

use super::netlink::error_of;
use super::{
    ProcessOutput, ProcessRunner, ProcessSettings, Retention, Runner, RunnerFailure, ToolCall,
};

fn processes(home: &Path, limit: Duration) -> ProcessRunner {
    ProcessRunner::new(ProcessSettings {
        run_directory: home.join("run"),
        state_directory: home.join("state"),
        limit,
    })
}

fn sh(script: &str) -> ToolCall {
    ToolCall::new("sh", &["-c", script])
}

fn answer(status: i32, output: &str, errors: &str) -> ProcessOutput {
    ProcessOutput {
        status: Some(status),
        output: output.to_owned(),
        errors: errors.to_owned(),
    }
}

#[test]
fn processes_that_wait_for_each_other_run_at_once() {
    let home = tempfile::tempdir().unwrap();
    let pipe = home.path().join("pipe").display().to_string();
    let mut runner = processes(home.path(), LONG);
    assert_eq!(
        runner.run(&ToolCall::new("mkfifo", &[&pipe])),
        Ok(answer(0, "", ""))
    );

    let calls = [
        sh(&format!("read word < {pipe}; echo got $word")),
        ToolCall::new("no-such-tool", &[]),
        sh(&format!("echo word > {pipe}; exit 3")),
    ];
    let answers = runner.run_all(&calls);

    assert_eq!(
        answers,
        [
            Ok(answer(0, "got word\n", "")),
            Err(RunnerFailure::NotFound("no-such-tool".to_owned())),
            Ok(answer(3, "", ""))
        ]
    );
}

#[test]
fn what_a_process_says_is_told_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let mut runner = processes(home.path(), LONG);

    for (script, input, expected) in [
        ("cat", "a\nb", answer(0, "a\nb", "")),
        ("echo trouble >&2", "", answer(0, "", "trouble\n")),
        ("echo half; exit 4", "", answer(4, "half\n", "")),
        ("exec true", "nobody reads this", answer(0, "", "")),
        ("printf '\\377x'", "", answer(0, "\u{fffd}x", "")),
        ("kill -9 $$", "", ProcessOutput::default()),
        ("exec 1>&- 2>&-; sleep 0.1; exit 3", "", answer(3, "", "")),
        (
            "(sleep 0.1; echo late) & echo early",
            "",
            answer(0, "early\nlate\n", ""),
        ),
    ] {
        assert_eq!(
            runner.run(&sh(script).with_input(input.to_owned())),
            Ok(expected),
            "{script}"
        );
    }
}

#[test]
fn much_goes_in_and_out_at_once() {
    let home = tempfile::tempdir().unwrap();
    let mut runner = processes(home.path(), LONG);
    let text = "0123456789abcde\n".repeat(5 << 16);
    let said = runner
        .run(&sh("tee /dev/stderr").with_input(text.clone()))
        .unwrap();

    assert!(
        said.output == text && said.errors == text,
        "5 MiB each way came back otherwise"
    );

    let much = "x".repeat(100 << 20);
    assert_eq!(
        runner.run(&sh("wc -c").with_input(much)),
        Ok(answer(0, "104857600\n", ""))
    );
}

#[test]
fn a_process_that_does_not_end_is_killed_with_its_children() {
    let home = tempfile::tempdir().unwrap();
    let limit = Duration::from_millis(300);
    let mut runner = processes(home.path(), limit);

    // Each process keeps its own pipe open until it and its children have exited.
    let pipe = home.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for script in [
        "sleep 3600",
        "sleep 3600 & wait",
        "sleep 3600 &",
        "(sleep 3600 & wait) &",
        "trap '' TERM; while :; do echo more; done",
    ] {
        let reader = open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        let script = format!("exec 9> \"$0\"; {script}");
        let call = ToolCall::new("sh", &["-c", &script, &pipe.display().to_string()]);
        assert_eq!(
            runner.run(&call),
            Err(RunnerFailure::TimedOut(call.to_string(), limit)),
            "{script}"
        );
        // poll reports a hangup only after the pipe had a writer, and a process that was killed
        // early had not opened it.
        drop(fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        let mut end = [PollFd::new(&reader, PollFlags::IN)];
        let ended = poll(&mut end, Some(&LONG.try_into().unwrap())).unwrap();
        assert_eq!(ended, 1, "{script}: a process lives on");
    }
}

#[test]
fn a_program_that_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    let mut runner = processes(home.path(), LONG);
    let missing = runner
        .run(&ToolCall::new("palisade-no-such-program", &[]))
        .unwrap_err();

    assert_eq!(
        missing.to_string(),
        "there is no program `palisade-no-such-program`"
    );

    let file = home.path().join("text");
    fs::write(&file, "no program").unwrap();
    let refused = runner
        .run(&ToolCall::new(&file.display().to_string(), &[]))
        .unwrap_err();

    assert!(
        matches!(&refused, RunnerFailure::Other(problem) if problem.contains("Permission denied")),
        "{refused}"
    );
    assert!(
        runner.start(&sh("exit 0")).is_err(),
        "it ended without a line"
    );

    assert!(runner.start(&sh("echo ready; sleep 0.2")).is_ok());
}

#[test]
fn files_are_whole_or_not_there() {
    let home = tempfile::tempdir().unwrap();
    let mut runner = processes(home.path(), LONG);
    assert_eq!(runner.read(Retention::Always, "note"), Ok(None));
    runner
        .write(Retention::Always, "note", Some(b"one"))
        .unwrap();
    runner
        .write(Retention::Always, "note", Some(b"two"))
        .unwrap();
    assert_eq!(
        runner.read(Retention::Always, "note"),
        Ok(Some(b"two".to_vec()))
    );

    for round in 0..2 {
        let files = [
            ("palisade.json".to_owned(), vec![round]),
            (format!("nodes/{round}/sets.ipset"), vec![round]),
        ];
        runner
            .write_folder(Retention::Always, "good", Some(&files.into()))
            .unwrap();
    }

    assert_eq!(
        runner.read(Retention::Always, "good/palisade.json"),
        Ok(Some(vec![1]))
    );
    assert_eq!(
        runner.read(Retention::Always, "good/nodes/0/sets.ipset"),
        Ok(None),
        "what was there before is gone"
    );
    assert_eq!(
        fs::read_dir(home.path().join("state")).unwrap().count(),
        3,
        "nothing is left beside them and the mark"
    );
    runner.write(Retention::Always, "note", None).unwrap();
    runner
        .write_folder(Retention::Always, "good", None)
        .unwrap();
    runner
        .write_folder(Retention::Always, "good", None)
        .unwrap();
    assert_eq!(fs::read_dir(home.path().join("state")).unwrap().count(), 0);

    assert!(runner.write(Retention::Always, "", Some(b"")).is_err());
}

/// A wait this long means that the test fails.
const LONG: Duration = Duration::from_mins(10);

#[test]
fn one_at_a_time_and_a_process_of_a_killed_one_counts() {
    let home = tempfile::tempdir().unwrap();
    let [mut one, mut other] = [(); 2].map(|()| processes(home.path(), LONG));
    let held = one.lock(Duration::ZERO).unwrap().expect("nobody has it");
    assert!(other.lock(Duration::from_millis(120)).unwrap().is_none());
    drop(held);

    // A process that another test has forked may still hold the lock until it calls exec.
    let held = other.lock(LONG).unwrap().expect("it was let go");
    let pipe = home.path().join("pipe");

    let child = ToolCall::new(
        "sh",
        &[
            "-c",
            "mkfifo \"$0\"; (exec cat \"$0\") >/dev/null 2>&1 &",
            &pipe.display().to_string(),
        ],
    );
    other.run(&child).unwrap();
    drop((held, other));
    assert!(
        one.lock(Duration::ZERO).unwrap().is_none(),
        "a child still reads"
    );
    fs::OpenOptions::new().write(true).open(&pipe).unwrap();

    assert!(one.lock(LONG).unwrap().is_some());
}

/// A process that can open the lock file can lock it, even read-only.
#[test]
fn nobody_else_can_hold_the_lock() {
    let home = tempfile::tempdir().unwrap();
    let mut runner = processes(home.path(), LONG);
    let path = home.path().join("run/lock");

    for from_before in [false, true] {
        if from_before {
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        }
        drop(runner.lock(LONG).unwrap().expect("nobody has it"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "from before: {from_before}"
        );
    }
}

#[test]
fn who_waits_for_a_lock_that_is_removed_waits_for_the_next_one() {
    let home = tempfile::tempdir().unwrap();
    let [mut one, mut third] = [(); 2].map(|()| processes(home.path(), LONG));
    let first = one.lock(LONG).unwrap().expect("nobody has it");
    // Another file in its place, which is locked from the start.
    let elsewhere = home.path().join("elsewhere");
    let _second = processes(&elsewhere, LONG)
        .lock(LONG)
        .unwrap()
        .expect("nobody has it");

    thread::scope(|scope| {
        let waits = scope.spawn(|| third.lock(Duration::from_secs(2)).unwrap().is_some());
        let looks = scope.spawn(|| {
            processes(home.path(), LONG)
                .lock_to_look(Duration::from_secs(2))
                .unwrap()
                .is_some()
        });
        thread::sleep(Duration::from_millis(300));
        fs::rename(elsewhere.join("run/lock"), home.path().join("run/lock")).unwrap();
        // The first holder can no longer be sure that it is the only one.
        assert!(one.run(&sh("exit 0")).is_err() && one.run_all(&[sh("exit 0")])[0].is_err());
        drop(first);
        assert!(
            one.run(&sh("exit 0")).is_ok(),
            "without a lock all may look"
        );
        assert_eq!(
            (waits.join().unwrap(), looks.join().unwrap()),
            (false, false)
        );
    });
}

#[test]
fn only_a_whole_answer_to_the_request_says_anything() {
    let answer = |kind: u16, number: u32, error: i32| -> Vec<u8> {
        let head = [
            &20_u32.to_ne_bytes()[..],
            &kind.to_ne_bytes(),
            &0_u16.to_ne_bytes(),
            &number.to_ne_bytes(),
            &[0; 4],
        ]
        .concat();
        [head, error.to_ne_bytes().to_vec()].concat()
    };

    for (bytes, expected) in [
        (answer(2, 7, 0), Some(0)),
        (answer(2, 7, -2), Some(-2)),
        (answer(2, 8, 0), None),
        (answer(3, 7, 0), None),
        (answer(2, 7, 0)[..19].to_vec(), None),
        (Vec::new(), None),
    ] {
        assert_eq!(error_of(&bytes, 7), expected, "{bytes:?}");
    }
}
