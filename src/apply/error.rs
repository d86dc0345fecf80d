//! Why an apply failed, and what to do next.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::apply::GOOD;
use crate::diagnostic::{Code, Diagnostic};
use crate::observe::{IptablesBackend, KernelProblem};
use crate::plan::KernelDifference;
use crate::runner::{LOCK_FILE, ProcessSettings, Retention, Runner, RunnerFailure};

/// Why an apply failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyError {
    /// Another process holds the node lock.
    Locked,
    /// An apply is pending confirmation, for this long.
    Waiting(Duration),
    /// The kernel cannot be read or changed.
    Kernel(KernelProblem),
    /// Palisade's files cannot be read or written. The kernel is unchanged.
    Files(RunnerFailure),
    /// Palisade's files cannot be written. The kernel holds the desired state.
    NotKept(RunnerFailure),
    /// The read-back differed from what was written, in every round.
    NotSettled(Vec<KernelDifference>),
    /// Palisade objects could not be removed.
    Left {
        /// Names of the sets and chains.
        names: Vec<String>,
        /// Commands that delete the foreign rules that reference them.
        held_by: Vec<String>,
    },
    /// No policy is in force any more, but Palisade's files cannot be removed.
    NotForgotten(RunnerFailure),
    /// The kernel holds Palisade objects without a known bundle, so they could not be restored.
    NoWayBack,
    /// The bundle that is pending confirmation is damaged.
    Bundle(Box<Diagnostic>),
    /// The last good bundle is damaged, so a rollback is impossible.
    Good(Box<Diagnostic>),
    /// The run failed after its first write. The kernel state from before the run is restored.
    RolledBack {
        /// The cause of the failure.
        why: Box<ApplyError>,
        /// What the kernel enforces now.
        enforced: EnforcedState,
    },
    /// The run failed after its first write, and the kernel state from before the run could not be
    /// restored.
    NotRolledBack {
        /// The cause of the failure.
        why: Box<ApplyError>,
        /// Why the rollback failed. `None` if it was not tried, because a tool may still be
        /// writing.
        then: Option<Box<ApplyError>>,
    },
    /// An apply with confirmation failed and was rolled back.
    TakenBack(Box<ApplyError>),
    /// An apply with confirmation failed, and so did its rollback.
    NotTakenBack(Box<ApplyError>, Box<ApplyError>),
}

/// What the kernel enforces after a failed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnforcedState {
    /// No Palisade policy.
    Nothing,
    /// One node's part of a bundle, unchanged.
    Bundle {
        /// The node.
        node: String,
        /// SHA-256 of its scripts, in hexadecimal, as in
        /// [`TargetBundle::scripts`](crate::apply::TargetBundle::scripts).
        scripts: String,
    },
    /// The kernel state from before the run, which is not the last good bundle.
    Before,
    /// The desired state, and also what this other iptables build held before.
    Both(IptablesBackend),
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Provide another bundle, or make Palisade's directories writable.
    Bad,
    /// Check the kernel and its tools.
    Refused,
    /// Try again later.
    Busy,
}

/// Advice by the messages of tools: substrings, and what to do.
const ADVICE: [(&[&str], &str); 6] = [
    (
        &["open lock file"],
        "this process cannot write `/run/xtables.lock`: have the host make it \
         (deploy/systemd/tmpfiles.d), and give it to the unit or the container",
    ),
    (
        &[
            "you must be root",
            "Permission denied",
            "Operation not permitted",
        ],
        "run it as root; a container needs the host's network and the capabilities NET_ADMIN and \
         NET_RAW",
    ),
    (
        &["not supported by userspace", "incompatible"],
        "another program made that with `nft`, or with a newer version of the tool; take it out \
         of the table, or install that version here",
    ),
    (
        &[
            "Cannot open session to kernel",
            "can't initialize iptables table",
            "Protocol not supported",
            "Couldn't load match",
            "No chain/target/match",
        ],
        "the kernel lacks a module: `modprobe -a ip_set_hash_net xt_set` on the host, and keep \
         that in /etc/modules-load.d (deploy/host)",
    ),
    (
        &["Set cannot be created: set type not supported"],
        "the kernel lacks a module: `modprobe -a ip_set_hash_net ip_set_hash_ipport \
         ip_set_bitmap_port` on the host",
    ),
    (
        &["is not whole", "in the middle of a line"],
        "nothing was changed on such an answer; run the command by hand and see what it prints",
    ),
];

const LOOK_AGAIN: &str = "run the command by hand to see more, and apply again";

impl ApplyError {
    /// Returns what a caller can do about the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ApplyError::Locked
            | ApplyError::Waiting(_)
            | ApplyError::Kernel(KernelProblem::Busy(_)) => ErrorKind::Busy,
            ApplyError::Kernel(_)
            | ApplyError::NotSettled(_)
            | ApplyError::Left { .. }
            | ApplyError::NotForgotten(_) => ErrorKind::Refused,
            ApplyError::Files(_)
            | ApplyError::NotKept(_)
            | ApplyError::NoWayBack
            | ApplyError::Bundle(_)
            | ApplyError::Good(_) => ErrorKind::Bad,
            ApplyError::TakenBack(why) | ApplyError::RolledBack { why, .. } => why.kind(),
            ApplyError::NotTakenBack(..) | ApplyError::NotRolledBack { .. } => ErrorKind::Refused,
        }
    }

    /// Returns the message and what to do next. `runner` supplies the paths of Palisade's files.
    pub fn diagnostic(&self, runner: &dyn Runner) -> Diagnostic {
        match self {
            ApplyError::Locked => locked(runner),
            ApplyError::Waiting(left) => {
                let message = format!(
                    "an apply waits to be confirmed, for {} s more",
                    left.as_secs()
                );
                let [keep, undo] =
                    ["confirm", "confirm --undo"].map(|words| command_line(words, runner));
                Diagnostic::new(Code::NodeBusy, message)
                    .help(format!("`{keep}` keeps it, `{undo}` takes it back"))
            }
            ApplyError::Kernel(problem) => of_problem(problem),
            ApplyError::Files(failure) => of_files(failure),
            ApplyError::NotKept(failure) => Diagnostic::new(
                Code::Unwritable,
                format!("{failure}; the kernel holds the new policy"),
            )
            .help(
                "a reboot would bring back the bundle before; make room, or name other \
                 directories with --run-dir and --state-dir, and apply again",
            ),
            ApplyError::NotSettled(differences) => not_settled(differences),
            ApplyError::Left { names, held_by } => left(names, held_by),
            ApplyError::NotForgotten(failure) => Diagnostic::new(
                Code::Unwritable,
                format!("{failure}; nothing of ours is in the kernel"),
            )
            .help(format!(
                "a boot may bring policy back: remove `{}` by hand, or disable \
                 palisade-boot.service",
                runner.place(Retention::Always, GOOD).display()
            )),
            ApplyError::NoWayBack => Diagnostic::new(
                Code::NoWayBack,
                "this node holds policy that was not applied by `palisade apply`, so it could not \
                 be brought back",
            )
            .help("apply the bundle that it holds first, without --confirm"),
            ApplyError::Bundle(diagnostic) => (**diagnostic).clone(),
            ApplyError::Good(why) => Diagnostic::new(
                why.code,
                format!(
                    "the last good bundle cannot be brought back: {}",
                    why.message
                ),
            )
            .help(
                "apply a sound bundle without --confirm, and it takes its place; nothing was \
                 changed",
            ),
            ApplyError::RolledBack { why, enforced } => {
                let why = why.diagnostic(runner);
                let message = format!("{}\nenforced now: {enforced}", why.message);
                Diagnostic::new(why.code, message).maybe_help(why.help)
            }
            ApplyError::NotRolledBack { why, then } => {
                not_rolled_back(why, then.as_deref(), runner)
            }
            ApplyError::TakenBack(why) => {
                let why = why.diagnostic(runner);
                Diagnostic::new(
                    Code::RolledBack,
                    format!("the node holds the policy before again: {}", why.message),
                )
                .maybe_help(why.help)
            }
            ApplyError::NotTakenBack(why, then) => not_taken_back(why, then, runner),
        }
    }
}

fn locked(runner: &dyn Runner) -> Diagnostic {
    Diagnostic::new(Code::NodeBusy, "another `palisade` is changing this node").help(format!(
        "try again when it is done; `fuser -v {}` says who it is",
        runner.place(Retention::UntilBoot, LOCK_FILE).display()
    ))
}

fn of_problem(problem: &KernelProblem) -> Diagnostic {
    match problem {
        KernelProblem::Busy(_) => Diagnostic::new(Code::NodeBusy, problem.to_string()).help(
            "try again, or wait longer with --lock-wait; `fuser -v /run/xtables.lock` says who \
             has it",
        ),
        KernelProblem::Refused { said, .. } => {
            let advice = ADVICE
                .iter()
                .find(|(words, _)| words.iter().any(|word| said.contains(word)));
            Diagnostic::new(Code::KernelRefused, problem.to_string())
                .help(advice.map_or(LOOK_AGAIN, |(_, advice)| *advice))
        }
        KernelProblem::NoAnswer(RunnerFailure::NotFound(_)) => {
            Diagnostic::new(Code::ToolMissing, problem.to_string()).help(
                "install the packages `iptables` and `ipset`, or choose a build of iptables that \
                 is there with --backend",
            )
        }
        KernelProblem::NoAnswer(RunnerFailure::Other(_)) => {
            Diagnostic::new(Code::KernelRefused, problem.to_string())
                .help("see what the system says, and apply again")
        }
        KernelProblem::NoAnswer(RunnerFailure::TimedOut(..)) => {
            Diagnostic::new(Code::KernelRefused, problem.to_string())
                .help("see what it waits for, or give it longer with --timeout, and apply again")
        }
        KernelProblem::NoAnswer(RunnerFailure::Stuck(..)) => {
            Diagnostic::new(Code::KernelRefused, problem.to_string()).help(
                "see what the kernel does for it (`cat /proc/PID/stack`); the next apply waits \
                 until it is gone",
            )
        }
        KernelProblem::OtherBackend(other) => {
            let help = format!(
                "use that build with --backend {}, or let the new chains take over with `palisade \
                 apply --take-over`",
                other.label()
            );
            Diagnostic::new(
                Code::OtherBackend,
                format!("{problem}, and what both builds hold, both decide"),
            )
            .help(help)
        }
    }
}

fn of_files(failure: &RunnerFailure) -> Diagnostic {
    let said = failure.to_string();
    let help = match said.contains("Permission denied") {
        true => "nothing was changed; run it as root",
        false => {
            "nothing was changed; make room, or name other directories with --run-dir and \
             --state-dir"
        }
    };
    Diagnostic::new(Code::Unwritable, said).help(help)
}

/// Palisade objects are left, but no Palisade rule is in force.
fn left(names: &[String], held_by: &[String]) -> Diagnostic {
    let message = format!(
        "policy is out of force, and this could not be removed: {}",
        names.join(", ")
    );

    let help = match held_by {
        [] => "others hold on to it, perhaps a set of sets: see `ipset list`, then run it again"
            .to_owned(),
        rules => format!(
            "rules of others lead there; delete them, then run it again: {}",
            rules.join(", ")
        ),
    };
    Diagnostic::new(Code::KernelRefused, message).help(help)
}

/// The rollback of an apply with confirmation failed, too.
fn not_taken_back(why: &ApplyError, then: &ApplyError, runner: &dyn Runner) -> Diagnostic {
    let message = format!(
        "{}; and it could not be taken back: {}",
        why.diagnostic(runner).message,
        then.diagnostic(runner).message
    );
    Diagnostic::new(Code::KernelRefused, message).help(format!(
        "apply a good bundle, `{}`, or see what the tools say",
        apply_good(runner)
    ))
}

/// The rollback failed or was not tried, so the enforced policy is unknown.
fn not_rolled_back(why: &ApplyError, then: Option<&ApplyError>, runner: &dyn Runner) -> Diagnostic {
    let why = why.diagnostic(runner);
    let then = match then {
        Some(then) => format!(
            "could not be brought back: {}",
            then.diagnostic(runner).message
        ),
        None => "was not brought back, since that tool may still be writing".to_owned(),
    };
    let message = format!(
        "{}\nthe state before this run {then}\nenforced now: unknown",
        why.message
    );

    let help = format!(
        "`{}` says what differs from the last good bundle; `{}` enforces it, from any state",
        command_line("status", runner),
        apply_good(runner)
    );
    Diagnostic::new(why.code, message).help(help)
}

/// Returns a `palisade` command line with the same directories.
fn command_line(words: &str, runner: &dyn Runner) -> String {
    let defaults = ProcessSettings::default();
    let mut command = format!("palisade {words}");
    for (keep, default, option) in [
        (Retention::UntilBoot, defaults.run_directory, "--run-dir"),
        (Retention::Always, defaults.state_directory, "--state-dir"),
    ] {
        let directory = runner.place(keep, "");
        if directory != default {
            let directory: PathBuf = directory.components().collect();
            command.push_str(&format!(" {option} {}", directory.display()));
        }
    }

    command
}

/// Returns the command that applies the last good bundle.
fn apply_good(runner: &dyn Runner) -> String {
    command_line(
        &format!("apply {}", runner.place(Retention::Always, GOOD).display()),
        runner,
    )
}

impl fmt::Display for EnforcedState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnforcedState::Nothing => out.write_str("nothing of palisade, as before this run"),
            EnforcedState::Bundle { node, scripts } => {
                write!(
                    out,
                    "the policy before this run, the last good bundle (node {node}, scripts \
                     {scripts})"
                )
            }
            EnforcedState::Both(other) => {
                let other = other.label();
                write!(
                    out,
                    "the new policy, and that of iptables-{other} beside it: a packet passes \
                     where both let it"
                )
            }
            EnforcedState::Before => out
                .write_str("the policy before this run, which is not that of the last good bundle"),
        }
    }
}

fn not_settled(differences: &[KernelDifference]) -> Diagnostic {
    const SHOWN: usize = 5;
    let shown: Vec<String> = differences
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();

    let message = format!(
        "what was written was otherwise when it was read back, three times:\n{}",
        shown.join("\n")
    );
    Diagnostic::new(Code::NotSettled, message).help(
        "another program changes the same chains or sets: find it (`auditctl`, `nft monitor`), \
         and apply again",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ApplyError;
    use crate::runner::{ProcessRunner, ProcessSettings, RunnerFailure};

    /// Returns every error whose advice names a directory.
    fn errors() -> Vec<ApplyError> {
        let full = || ApplyError::Files(RunnerFailure::Other("no room".to_owned()));

        vec![
            ApplyError::Locked,
            ApplyError::Waiting(Duration::from_secs(3)),
            ApplyError::NotForgotten(RunnerFailure::Other("no room".to_owned())),
            ApplyError::NotTakenBack(Box::new(full()), Box::new(ApplyError::Locked)),
            ApplyError::NotRolledBack {
                why: Box::new(full()),
                then: None,
            },
            ApplyError::RolledBack {
                why: Box::new(ApplyError::Locked),
                enforced: super::EnforcedState::Nothing,
            },
            ApplyError::TakenBack(Box::new(ApplyError::Locked)),
        ]
    }

    fn advice(error: &ApplyError, settings: ProcessSettings) -> String {
        error
            .diagnostic(&ProcessRunner::new(settings))
            .help
            .expect("advice")
            .to_string()
    }

    #[test]
    fn advice_names_the_directories_that_are_used() {
        for error in errors() {
            let [run_directory, state_directory] = ["/srv/run", "/srv/state"].map(Into::into);
            let own = advice(
                &error,
                ProcessSettings {
                    run_directory,
                    state_directory,
                    ..ProcessSettings::default()
                },
            );
            assert!(
                own.contains("/srv/run") || own.contains("/srv/state"),
                "{error:?}: {own}"
            );
            assert!(
                !own.contains("/run/palisade") && !own.contains("/var/lib/palisade"),
                "{error:?}: {own}"
            );

            let default = advice(&error, ProcessSettings::default());
            assert!(!default.contains("-dir"), "{error:?}: {default}");
        }
        let kept = advice(
            &errors()[3],
            ProcessSettings {
                state_directory: "/srv/state".into(),
                ..ProcessSettings::default()
            },
        );
        assert_eq!(
            kept,
            "apply a good bundle, `palisade apply /srv/state/good --state-dir /srv/state`, or see \
             what the tools say"
        );
    }
}
