//! Where something goes wrong in the middle.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::time::Duration;

use palisade::apply::{self, ApplyError, EnforcedState};
use palisade::diagnostic::Code;
use palisade::net::Family;
use palisade::observe::IptablesBackend;
use palisade::ruleset::RuleText;
use palisade::runner::{
    FileTree, NodeLock, ProcessOutput, ProcessRunner, Retention, Runner, RunnerFailure, ToolCall,
};

use super::faulty::{Fault, Faulty};
use super::world::{BEFORE, HOST, MOVED, OTHER, World, bundle, is_between, verdicts_of, wanted};
use crate::palisade::root;
use crate::tools;

/// The calls that look, and the first ones that remove what is not used; those behind are like it.
const LOOKS: usize = 3;
const LAST: usize = 10;

/// Tries a fault at each call of an apply, from one state to another: in between, and when it is
/// applied again.
fn at_each_call(world: &World, from: &str, to: &str, faults: &[Fault], first: usize) -> usize {
    let states = [from, to].map(|case| verdicts_of(Some(case)));
    let others = world.others();
    let mut tried = 0;

    for fault in faults {
        for at in first..=LAST {
            world
                .apply(from)
                .unwrap_or_else(|error| panic!("back to {from}: {error:?}"));
            let before = world.print();
            let mut faulty = Faulty::new(world.processes(), *fault, at);
            let outcome = world.apply_by(&mut faulty, to);
            if !faulty.was_met() {
                break;
            }
            tried += 1;
            let about = format!(
                "{from} to {to}, {fault:?} at {at}: {:?}",
                faulty.calls.last()
            );
            is_between(&world.verdicts(), [&states[0], &states[1]], &about);
            assert_eq!(world.others(), others, "{about}");
            let wrote = faulty
                .calls
                .iter()
                .any(|call| call.contains("restore") || call.contains("destroy"));
            assert!(
                wrote || world.print() == before,
                "{about}: changed without a call that changes"
            );
            assert!(
                outcome.is_err() || world.verdicts() == states[1],
                "{about}: {outcome:?}"
            );
            world
                .apply(to)
                .unwrap_or_else(|error| panic!("{about}, then {error:?}"));
            world.holds(to);
        }
    }

    tried
}

pub(super) fn killed_anywhere_the_next_apply_goes_on(world: &World) {
    let kills = [Fault::KilledBefore, Fault::KilledWithin];
    let tried = at_each_call(world, BEFORE, MOVED, &kills, LOOKS)
        + at_each_call(world, OTHER, BEFORE, &[Fault::KilledBehind], LOOKS);
    assert!(tried > 20, "{tried}");

    // the tables of host endpoints are seen again though nothing says that they were written
    for at in 4..8 {
        world.apply(MOVED).unwrap();
        let mut faulty = Faulty::new(world.processes(), Fault::KilledBehind, at);
        assert!(world.apply_by(&mut faulty, HOST).is_err() && faulty.was_met());
        world.apply(MOVED).unwrap();
        world.holds(MOVED);
    }
}

pub(super) fn tools_that_fail(world: &World) {
    let tried = at_each_call(
        world,
        BEFORE,
        MOVED,
        &[Fault::FailsWithZero, Fault::Garbage],
        0,
    ) + at_each_call(world, MOVED, OTHER, &[Fault::Fails, Fault::Hangs], LOOKS);
    assert!(tried > 30, "{tried}");
}

pub(super) fn a_lock_that_is_held(world: &World) {
    world.apply(BEFORE).unwrap();
    let before = world.print();
    let held = |path: &str, says: &str| {
        let file: File = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .unwrap();
        file.lock().unwrap();
        let (status, said) =
            world.palisade(&["apply", &bundle(MOVED), "--lock-wait", "1", "--node", "n1"]);
        assert_eq!(status, 4, "{said}");
        assert!(
            said.starts_with("error[node-busy]") && said.contains(says),
            "{said}"
        );
    };
    held(
        "/run/p/run/lock",
        "another `palisade` is changing this node",
    );
    assert_eq!(world.print(), before);

    // the nft build has no such lock
    if world.build == IptablesBackend::Legacy {
        held(
            "/run/xtables.lock",
            "the xtables lock is held by somebody else",
        );
        let states = [BEFORE, MOVED].map(|case| verdicts_of(Some(case)));
        is_between(
            &world.verdicts(),
            [&states[0], &states[1]],
            "the xtables lock is held",
        );
    }

    world.apply(MOVED).unwrap();
    world.holds(MOVED);
}

/// A runner that is another one in all but how it runs processes.
macro_rules! runs_otherwise {
    ($runner:ty, $run:expr) => {
        impl Runner for $runner {
            fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
                $run(self, call)
            }

            fn start(&mut self, call: &ToolCall) -> Result<(), RunnerFailure> {
                self.0.start(call)
            }

            fn lock(&mut self, wait: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
                self.0.lock(wait)
            }

            fn read(
                &mut self,
                file: Retention,
                name: &str,
            ) -> Result<Option<Vec<u8>>, RunnerFailure> {
                self.0.read(file, name)
            }

            fn write(
                &mut self,
                file: Retention,
                name: &str,
                content: Option<&[u8]>,
            ) -> Result<(), RunnerFailure> {
                self.0.write(file, name, content)
            }

            fn write_folder(
                &mut self,
                folder: Retention,
                name: &str,
                files: Option<&FileTree>,
            ) -> Result<(), RunnerFailure> {
                self.0.write_folder(folder, name, files)
            }

            fn place(&self, keep: Retention, name: &str) -> std::path::PathBuf {
                self.0.place(keep, name)
            }
        }
    };
}

/// An `ipset` that is too old for one set.
struct Old(ProcessRunner, &'static str);

runs_otherwise!(Old, |old: &mut Old, call: &ToolCall| {
    let answer = old.0.run(call)?;
    let lists_it = call.program == "ipset"
        && call.arguments[0] == "save"
        && answer.output.contains(&format!("create {} ", old.1));
    let errors = "ipset v7.1: Kernel and userspace incompatible: settype hash:net with revision 9 \
                  not supported by userspace.\n";
    Ok(if lists_it {
        ProcessOutput {
            status: Some(1),
            output: String::new(),
            errors: errors.to_owned(),
        }
    } else {
        answer
    })
});

/// A node without `ipset`.
struct Bare(ProcessRunner);

runs_otherwise!(Bare, |bare: &mut Bare, call: &ToolCall| {
    if call.program == "ipset" {
        Err(RunnerFailure::NotFound(call.program.clone()))
    } else {
        bare.0.run(call)
    }
});

runs_otherwise!(Rival<'_>, |rival: &mut Rival<'_>, call: &ToolCall| {
    let answer = rival.0.run(call)?;
    if call.program == rival.1.iptables(Family::V4, "-restore") {
        // the chain may have no such rule where the state before comes back
        let _ = rival
            .1
            .try_tool(&rival.1.iptables(Family::V4, ""), rival.2, "");
    }
    Ok(answer)
});

pub(super) fn a_set_that_cannot_be_listed(world: &World) {
    world.apply(BEFORE).unwrap();
    let mut old = Old(world.processes(), "pal-local4");
    let outcome = world.apply_by(&mut old, BEFORE).unwrap();
    assert!(
        !outcome.is_in_sync() && outcome.left.is_empty(),
        "{outcome:?}"
    );
    assert!(
        !world.observe().sets.contains_key("pal-local4"),
        "rules look into another one, which can be listed"
    );
    assert!(world.apply_by(&mut old, BEFORE).unwrap().is_in_sync());
    world.holds(BEFORE);

    // a set of somebody else's that cannot be listed is none of our business
    let mut old = Old(world.processes(), "KUBE-LOOP");
    assert!(world.apply_by(&mut old, BEFORE).unwrap().is_in_sync());
    world.apply_by(&mut old, MOVED).unwrap();
    world.holds(MOVED);
}

pub(super) fn no_room_for_our_files(world: &World) {
    world.apply(BEFORE).unwrap();
    fs::create_dir_all("/run/small").unwrap();
    world.tool(
        "mount",
        &["-t", "tmpfs", "-o", "size=8k", "tmpfs", "/run/small"],
        "",
    );

    let apply = |words: &[&str]| {
        let output = tools::command(env!("CARGO_BIN_EXE_palisade"))
            .args([
                "apply",
                &bundle(MOVED),
                "--node",
                "n1",
                "--backend",
                world.build.label(),
            ])
            .args(words)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let before = world.print();
    let written = || apply::last_written(&mut world.processes());
    let of = |case: &str| wanted(case).scripts;

    assert_eq!(
        written().map(|written| (written.node, written.scripts)),
        Some(("n1".to_owned(), of(BEFORE)))
    );

    let small = ["--state-dir", "/run/small/state", "--run-dir", "/run/p/run"];
    let (status, said) = apply(&[&small[..], &["--confirm", "30"]].concat());
    assert_eq!(status, 2, "{said}");
    assert_eq!(
        world.print(),
        before,
        "what could not be taken back is not begun: {said}"
    );

    let (status, said) = apply(&small);
    assert_eq!(status, 2, "{said}");
    assert!(
        said.contains("No space left") && said.contains("the kernel holds the new policy"),
        "{said}"
    );
    world.holds(MOVED);
    assert_eq!(
        written().map(|written| written.scripts),
        Some(of(MOVED)),
        "what was written counts, kept or not"
    );

    let (status, said) = apply(&["--state-dir", "/run/p/state", "--run-dir", "/run/small/run"]);
    assert_eq!(status, 0, "{said}");
    assert!(matches!(world.apply(MOVED), Ok(outcome) if outcome.is_in_sync()));
}

/// Somebody who does something with a chain of ours whenever it is written.
struct Rival<'world>(Faulty, &'world World, &'world [&'world str]);

/// Fails unless no apply settles while a rival does this.
fn never_settles(world: &World, deed: &[&str]) -> ApplyError {
    let mut rival = Rival(Faulty::new(world.processes(), Fault::None, 0), world, deed);
    let error = world.apply_by(&mut rival, BEFORE).unwrap_err();
    let (ApplyError::NotRolledBack { why, .. } | ApplyError::RolledBack { why, .. }) = &error
    else {
        panic!("{deed:?}: {error:?}")
    };

    assert!(
        matches!(&**why, ApplyError::NotSettled(differences) if !differences.is_empty()),
        "{deed:?}: {error:?}"
    );
    assert_eq!(error.diagnostic(&world.processes()).code, Code::NotSettled);
    world.apply(BEFORE).unwrap();
    world.holds(BEFORE);

    error
}

pub(super) fn others_who_do_not_give_in(world: &World) {
    // nor does the way back settle: it writes the same chain
    let error = never_settles(world, &["-I", "pal-FORWARD", "1", "-j", "ACCEPT"]);
    assert!(
        matches!(&error, ApplyError::NotRolledBack { then: Some(then), .. } if matches!(**then, ApplyError::NotSettled(_))),
        "{error:?}"
    );
    let message = error.diagnostic(&world.processes()).message;
    assert!(message.ends_with("enforced now: unknown"), "{message}");
}

/// Rules of ours with the same comment, sets and target that let more pass.
const WIDENED: [&str; 3] = [
    "-R pal-from-endpoint 1 -m conntrack --ctstate NEW,RELATED,ESTABLISHED -m comment --comment X \
     -j ACCEPT",
    "-R pal-from-endpoint 2 -s 192.0.2.1 -m conntrack --ctstate INVALID -m comment --comment X -j \
     DROP",
    "-R pal-from-endpoint 2 -m comment --comment X -m conntrack --ctstate INVALID -m mark --mark \
     7 -j DROP",
];

pub(super) fn rules_that_were_widened_are_never_ours(world: &World) {
    let comments = [
        "known connections",
        "packets that no connection explains",
        "packets that no connection explains",
    ];

    for (deed, comment) in WIDENED.iter().zip(comments) {
        let deed: Vec<&str> = deed
            .split(' ')
            .map(|word| if word == "X" { comment } else { word })
            .collect();
        world.apply(OTHER).unwrap();
        world.tool(
            &world.iptables(Family::V4, ""),
            &["-F", "pal-from-endpoint"],
            "",
        );
        let error = never_settles(world, &deed);
        assert!(
            matches!(
                error,
                ApplyError::RolledBack {
                    enforced: EnforcedState::Before,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

/// Every sort of rule that a golden bundle has is known again, however the tools print it.
pub(super) fn no_rule_of_ours_is_refused(world: &World) {
    let (mut shapes, mut applied) = (BTreeSet::new(), 0);
    let golden = root().join("golden");
    let mut cases: Vec<String> = fs::read_dir(&golden)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    cases.sort_unstable();

    for case in cases
        .iter()
        .filter(|case| golden.join(case).join("bundle/nodes").exists())
    {
        let desired = wanted(case).desired;
        let rules = desired
            .tables
            .values()
            .flat_map(|table| table.chains.values().flatten());
        let before = shapes.len();
        shapes.extend(rules.map(shape));
        if shapes.len() > before {
            applied += 1;
            let outcome = world
                .apply(case)
                .unwrap_or_else(|error| panic!("{case}: {error:?}"));
            assert!(outcome.rounds <= 1, "{case}: {outcome:?}");
            world.holds(case);
        }
    }
    println!(
        "{}: {applied} bundles with {} sorts of rules",
        world.build.label(),
        shapes.len()
    );

    assert!(
        applied > 20 && shapes.len() > 100,
        "{applied} {}",
        shapes.len()
    );
}

/// A rule without names of its own: its options, and values that tools may print otherwise.
fn shape(rule: &RuleText) -> String {
    let words = rule.split_words();
    let is_name = |word: &str| word.starts_with("pal-") || word.contains(' ');
    let comment = rule.comment();
    words
        .iter()
        .filter(|word| !is_name(word) && **word != comment)
        .map(|word| &**word)
        .collect::<Vec<_>>()
        .join(" ")
}

pub(super) fn tools_that_are_not_there(world: &World) {
    // programs of these names come first, and are not what they seem
    for (script, says) in [
        (
            "echo 'Kernel error received: Operation not permitted' >&2; exit 1",
            "= help: run it as root",
        ),
        (
            "echo garbage",
            "its output is not whole: line 1: unknown line `garbage`",
        ),
        (
            "echo 'Cannot open session to kernel.' >&2",
            "= help: the kernel lacks a module",
        ),
    ] {
        let _replaced = world.replace("ipset", script);
        let (status, said) = world.palisade(&["apply", &bundle(BEFORE)]);
        assert!(
            status == 3 && said.starts_with("error[kernel-refused]") && said.contains(says),
            "{status}: {said}"
        );
    }

    let error = world
        .apply_by(&mut Bare(world.processes()), BEFORE)
        .unwrap_err();
    let diagnostic = error.diagnostic(&world.processes());
    assert_eq!(
        (diagnostic.code, diagnostic.message.as_str()),
        (Code::ToolMissing, "there is no program `ipset`")
    );

    assert!(world.observe().sets.is_empty());
}
