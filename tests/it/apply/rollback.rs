//! Applies that fail behind their first write: what the kernel held before comes back, by meaning,
//! and nothing of others differs.

use std::collections::BTreeMap;

use palisade::apply::{self, ApplyError, ApplyOutcome, ApplySettings, ApplyTarget, EnforcedState};
use palisade::net::Family;
use palisade::observe::ObservedKernel;
use palisade::plan::base;
use palisade::ruleset::RuleText;
use palisade::runner::{
    FileTree, NodeLock, ProcessOutput, ProcessRunner, Retention, Runner, RunnerFailure, ToolCall,
};

use super::drift::number;
use super::faulty::{Fault, Faulty};
use super::world::{BEFORE, HOST, MOVED, OTHER, World, is_between, verdicts_of, wanted};

/// Faults behind which a tool and palisade go on.
const FAULTS: [Fault; 9] = [
    Fault::Fails,
    Fault::FailsWithZero,
    Fault::FailsBehind,
    Fault::FailsWithin,
    Fault::Hangs,
    Fault::HangsBehind,
    Fault::Lies,
    Fault::LiesWithin,
    Fault::Garbage,
];

/// How many calls that write go wrong behind the first one: by these, the way back may go wrong as
/// well.
const MORE: [usize; 2] = [1, 99];

/// The call behind the first look, and the last one that is tried.
const FIRST: usize = 3;
const LAST: usize = 8;

/// What a kernel holds of ours, without the names that copies of sets have there.
fn meaning(observed: &ObservedKernel) -> Vec<String> {
    let members = |slot: &str| {
        observed.sets.get(slot).map_or_else(
            || "unlisted".to_owned(),
            |set| format!("{:?} {:?}", set.kind, set.members),
        )
    };
    let plain = |rule: &RuleText| {
        let rule = rule.with_sets(|slot| format!("{}:{}", base(slot), members(slot)));
        rule.text().to_owned()
    };
    let sets = observed.sets.keys().chain(&observed.unlisted);

    let mut lines: Vec<String> = sets
        .map(|slot| format!("{} {}", base(slot), members(slot)))
        .collect();
    lines.sort_unstable();
    lines.dedup();

    for (id, table) in &observed.tables {
        lines.extend(table.hooks.iter().map(|hook| {
            format!(
                "{id} {} {} {}",
                hook.from,
                number(hook.place),
                plain(&hook.rule)
            )
        }));
        for (chain, rules) in &table.chains {
            lines.push(format!("{id} {chain}"));
            lines.extend(
                rules
                    .iter()
                    .map(|rule| format!("{id} {chain} {}", plain(rule))),
            );
        }
    }

    lines
}

/// Brings a node to a golden case, or to nothing.
fn begin(world: &World, from: Option<&str>) {
    match from {
        Some(case) => drop(
            world
                .apply(case)
                .unwrap_or_else(|error| panic!("{case}: {error:?}")),
        ),
        None => assert_eq!(world.palisade(&["uninstall"]).0, 0),
    }
}

/// How applies ended that met a fault.
#[derive(Debug, Default)]
struct Ends {
    done: usize,
    untouched: usize,
    rolled_back: usize,
    not_rolled_back: usize,
}

/// Applies with a fault, and looks at what it left.
fn fails(
    world: &World,
    from: Option<&str>,
    to: &str,
    faulty: &mut Faulty,
    about: &str,
    ends: &mut Ends,
) {
    let (before, others) = (world.observe(), world.others_of_both());
    let outcome = world.apply_by(faulty, to);
    let about = format!("{about}, {:?}: {outcome:?}", faulty.calls.last());
    assert_eq!(world.others_of_both(), others, "{about}");

    let is_back = |about: &str| assert_eq!(meaning(&world.observe()), meaning(&before), "{about}");
    match outcome {
        Ok(_) => {
            ends.done += 1;
            assert_eq!(world.verdicts(), verdicts_of(Some(to)), "{about}");
        }
        Err(ApplyError::RolledBack { why, enforced }) => {
            ends.rolled_back += 1;
            is_back(&about);
            says_what_is_enforced(from, &enforced, &about);
            assert!(
                matches!(*why, ApplyError::Kernel(_) | ApplyError::NotSettled(_)),
                "{about}"
            );
        }
        Err(ApplyError::NotRolledBack { .. }) => {
            ends.not_rolled_back += 1;
            let states = [verdicts_of(from), verdicts_of(Some(to))];
            is_between(&world.verdicts(), [&states[0], &states[1]], &about);
        }
        Err(_) => {
            ends.untouched += 1;
            is_back(&about);
        }
    }
}

fn says_what_is_enforced(from: Option<&str>, enforced: &EnforcedState, about: &str) {
    let expected = match from {
        None => EnforcedState::Nothing,
        Some(case) => EnforcedState::Bundle {
            node: "n1".to_owned(),
            scripts: wanted(case).scripts,
        },
    };
    assert_eq!(*enforced, expected, "{about}");
}

/// Bundles that a node goes between: members and rules that differ, tables that come, change and
/// go.
const WAYS: [(Option<&str>, &str); 5] = [
    (None, BEFORE),
    (Some(BEFORE), MOVED),
    (Some(MOVED), OTHER),
    (Some(OTHER), HOST),
    (Some(HOST), BEFORE),
];

/// Which faults are tried at which calls, and how often each comes about: every third fault of each
/// call, and every second of those once more, where it lasts.
fn trials() -> impl Iterator<Item = (usize, Fault, usize, usize)> {
    let ways = 0..WAYS.len();
    let calls = ways.flat_map(|way| (FIRST..=LAST).map(move |at| (way, at)));
    let faults = calls.flat_map(|(way, at)| (0..FAULTS.len()).map(move |fault| (way, at, fault)));
    let tried = faults.filter(|(way, at, fault)| (way + at + fault).is_multiple_of(3));
    tried.flat_map(|(way, at, fault)| {
        let number = way + at + fault;
        let lasting = Some(MORE[number / 6 % 2]).filter(|_| number.is_multiple_of(2));
        std::iter::once(0)
            .chain(lasting)
            .map(move |more| (way, FAULTS[fault], at, more))
    })
}

pub(super) fn what_fails_is_taken_back(world: &World) {
    let (mut once, mut lasting) = (Ends::default(), Ends::default());
    for (way, fault, at, more) in trials() {
        let (from, to) = WAYS[way];
        begin(world, from);
        let mut faulty = Faulty::new(world.processes(), fault, at).lasting(more);
        let about = format!("{from:?} to {to}, {fault:?} at {at}, and {more} more");
        let ends = if more == 0 { &mut once } else { &mut lasting };
        fails(world, from, to, &mut faulty, &about, ends);
        if more > 0 {
            world
                .apply(to)
                .unwrap_or_else(|error| panic!("{about}, then {error:?}"));
            world.holds(to);
        }
    }

    println!(
        "{}: once: {once:?}, several times: {lasting:?}",
        world.build.label()
    );
    assert!(
        once.rolled_back > 30 && lasting.rolled_back > 9,
        "{once:?} {lasting:?}"
    );

    assert_eq!(once.not_rolled_back, 0, "{once:?}");
}

/// What others did to ours before; a rule, a jump, a member. The jump comes back to its number.
const DRIFT: [(&str, &[&str]); 7] = [
    (
        "a rule in our chain",
        &["iptables -I pal-FORWARD 1 -s 10.9.9.9 -j ACCEPT"],
    ),
    ("our rules flushed", &["ip6tables -F pal-from-endpoint"]),
    (
        "the jump moved",
        &[
            "iptables -D FORWARD 1",
            "iptables -I FORWARD 3 -j pal-FORWARD",
        ],
    ),
    (
        "the jump last",
        &[
            "ip6tables -D FORWARD 1",
            "ip6tables -A FORWARD -j pal-FORWARD",
        ],
    ),
    ("the jump twice", &["iptables -I FORWARD 3 -j pal-FORWARD"]),
    (
        "members",
        &[
            "ipset del pal-local4 10.0.0.1",
            "ipset add pal-local4 10.66.0.0/16",
        ],
    ),
    (
        "a chain of others",
        &["iptables -N mine", "iptables -A mine -j pal-FORWARD"],
    ),
];

/// Runs lines of `iptables`, `ip6tables` and `ipset`.
fn act(world: &World, deeds: &[&str]) {
    for deed in deeds {
        let words: Vec<&str> = deed.split(' ').collect();
        let program = match words[0] {
            "iptables" => world.iptables(Family::V4, ""),
            "ip6tables" => world.iptables(Family::V6, ""),
            other => other.to_owned(),
        };
        world.tool(&program, &words[1..], "");
    }
}

pub(super) fn a_state_that_drifted_comes_back_as_it_was(world: &World) {
    let mut rolled_back = 0;
    for (number, (about, deeds)) in DRIFT.into_iter().enumerate() {
        let to = [OTHER, MOVED, HOST][number % 3];
        for at in FIRST..=LAST {
            begin(world, None);
            begin(world, Some(BEFORE));
            act(world, deeds);
            let (before, others) = (world.observe(), world.others_of_both());
            let fault = [Fault::FailsBehind, Fault::FailsWithin, Fault::HangsBehind][at % 3];
            let mut faulty = Faulty::new(world.processes(), fault, at);
            let outcome = world.apply_by(&mut faulty, to);
            let about = format!("{about}, to {to}, {fault:?} at {at}: {outcome:?}");
            assert_eq!(world.others_of_both(), others, "{about}");
            if let Err(error) = outcome {
                let is_back = matches!(error, ApplyError::RolledBack { .. });
                rolled_back += usize::from(is_back);
                let wrote = faulty.calls.iter().any(|call| call.contains("restore"));
                assert!(
                    is_back || !wrote && matches!(error, ApplyError::Kernel(_)),
                    "{about}"
                );
                assert_eq!(meaning(&world.observe()), meaning(&before), "{about}");
            }
            act(
                world,
                if about.starts_with("a chain of") {
                    &["iptables -F mine", "iptables -X mine"]
                } else {
                    &[]
                },
            );
        }
    }

    println!("{}: {rolled_back} states came back", world.build.label());
    assert!(rolled_back > 20, "{rolled_back}");
}

/// Plans that were killed leave rules that look into several copies of a set.
pub(super) fn a_state_between_two_comes_back(world: &World) {
    let mut split = 0;
    for killed in 4..8 {
        for at in FIRST..=LAST {
            begin(world, None);
            begin(world, Some(BEFORE));
            let mut faulty = Faulty::new(world.processes(), Fault::KilledBehind, killed);
            let _ = world.apply_by(&mut faulty, MOVED);
            let (before, others) = (world.observe(), world.others_of_both());
            let copies: Vec<String> = before.sets.keys().map(|slot| base(slot)).collect();
            split += usize::from(copies.windows(2).any(|pair| pair[0] == pair[1]));
            let outcome = world.apply_by(
                &mut Faulty::new(world.processes(), Fault::FailsBehind, at),
                OTHER,
            );
            let about = format!("killed behind {killed}, failed at {at}: {outcome:?}");
            assert_eq!(world.others_of_both(), others, "{about}");
            if outcome.is_err() {
                assert_eq!(in_force(&world.observe()), in_force(&before), "{about}");
            }
            begin(world, Some(OTHER));
            world.holds(OTHER);
        }
    }

    assert!(split > 0, "no state had two copies of a set");
}

/// The rules with the members of the sets that they look into, whatever the sets' names are.
fn in_force(observed: &ObservedKernel) -> BTreeMap<String, Vec<String>> {
    let members = |slot: &str| {
        observed
            .sets
            .get(slot)
            .map_or_else(String::new, |set| format!("{:?}", set.members))
    };
    let mut chains = BTreeMap::new();

    for (id, table) in &observed.tables {
        for (chain, rules) in &table.chains {
            let rules = rules
                .iter()
                .map(|rule| rule.with_sets(members).text().to_owned());
            chains.insert(format!("{id} {chain}"), rules.collect());
        }
        let hooks = table.hooks.iter();
        let hooks = hooks
            .map(|hook| format!("{} {}", hook.from, hook.rule.text()))
            .collect();
        chains.insert(format!("{id} jumps"), hooks);
    }

    chains
}

pub(super) fn a_take_over_that_fails_leaves_both(world: &World) {
    let other = World {
        build: world.build.other(),
    };
    let mut both = 0;

    for at in FIRST..20 {
        begin(world, None);
        other.apply(BEFORE).unwrap();
        let (before, others) = (other.observe(), world.others_of_both());
        let mut faulty = Faulty::new(world.processes(), Fault::FailsBehind, at);
        let settings = ApplySettings {
            takes_over: true,
            ..world.settings()
        };
        let outcome = apply::run(
            &mut ApplyTarget {
                runner: &mut faulty,
                settings,
            },
            &wanted(BEFORE),
        );
        let about = format!("failed at {at}, {:?}: {outcome:?}", faulty.calls.last());
        assert_eq!(world.others_of_both(), others, "{about}");
        if let Err(ApplyError::RolledBack { enforced, .. }) = &outcome {
            assert_eq!(meaning(&other.observe()), meaning(&before), "{about}");
            let is_both = *enforced == EnforcedState::Both(other.build);
            assert_eq!(is_both, world.is_held(BEFORE), "{about}");
            both += usize::from(is_both);
        }
    }

    assert!(both > 0);
}

/// Somebody who puts a rule into a chain of ours behind each of the first writes of it.
struct Rival<'world> {
    inner: ProcessRunner,
    world: &'world World,
    left: usize,
}

impl Runner for Rival<'_> {
    fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
        let answer = self.inner.run(call)?;
        if call.program == self.world.iptables(Family::V4, "-restore") && self.left > 0 {
            self.left -= 1;
            act(self.world, &["iptables -I pal-FORWARD 1 -j ACCEPT"]);
        }
        Ok(answer)
    }

    fn start(&mut self, call: &ToolCall) -> Result<(), RunnerFailure> {
        self.inner.start(call)
    }

    fn lock(&mut self, wait: std::time::Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        self.inner.lock(wait)
    }

    fn read(&mut self, file: Retention, name: &str) -> Result<Option<Vec<u8>>, RunnerFailure> {
        self.inner.read(file, name)
    }

    fn write(
        &mut self,
        file: Retention,
        name: &str,
        content: Option<&[u8]>,
    ) -> Result<(), RunnerFailure> {
        self.inner.write(file, name, content)
    }

    fn write_folder(
        &mut self,
        folder: Retention,
        name: &str,
        files: Option<&FileTree>,
    ) -> Result<(), RunnerFailure> {
        self.inner.write_folder(folder, name, files)
    }

    fn place(&self, keep: Retention, name: &str) -> std::path::PathBuf {
        self.inner.place(keep, name)
    }
}

pub(super) fn a_rival_who_gives_in(world: &World) {
    for (from, to) in [(None, BEFORE), (Some(BEFORE), OTHER), (Some(HOST), MOVED)] {
        begin(world, from);
        let (before, others) = (world.observe(), world.others_of_both());
        let mut ends = Vec::new();
        for left in 0..6 {
            begin(world, from);
            let mut rival = Rival {
                inner: world.processes(),
                world,
                left,
            };
            let outcome: Result<ApplyOutcome, ApplyError> = world.apply_by(&mut rival, to);
            let about = format!("{from:?} to {to}, a rival of {left}: {outcome:?}");
            assert_eq!(world.others_of_both(), others, "{about}");
            match outcome {
                Ok(_) => world.holds(to),
                Err(ApplyError::RolledBack { why, enforced }) => {
                    assert!(matches!(*why, ApplyError::NotSettled(_)), "{about}");
                    says_what_is_enforced(from, &enforced, &about);
                    assert_eq!(meaning(&world.observe()), meaning(&before), "{about}");
                }
                Err(_) => panic!("{about}"),
            }
            ends.push(rival.left);
        }
        assert!(ends.iter().all(|left| *left == 0), "{ends:?}");
    }
}
