//! Options and words of the commands that work on this node.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::apply::{
    self, ApplyError, ApplyOutcome, ErrorKind, GOOD, NodeNameHints, NodeNameSource, TargetBundle,
};
use crate::bundle::BundleOnDisk;
use crate::cli::ExitStatus;
use crate::cli::report::OutputStreams;
use crate::conntrack::{self, ConntrackCleanup};
use crate::diagnostic::{Code, Diagnostic};
use crate::netfilter::NodeKernel;
use crate::observe::{self, KernelProblem};
use crate::options::ExtensionSet;
use crate::output::{BufferedOutput, JsonWriter, OutputSink, TerminalWriter};
use crate::ruleset::TableId;
use crate::runner::{ProcessRunner, ProcessSettings, Retention, Runner, RunnerFailure, ToolCall};
use crate::status::{self, PolicyPlaces};

/// How this node is worked on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of this node")]
pub(super) struct NodeArguments {
    /// The build of iptables; auto is the one that was used last here, else the one that `iptables`
    /// is
    #[arg(
        long,
        value_name = "BUILD",
        default_value = "auto",
        env = "PALISADE_BACKEND",
        hide_env_values = true
    )]
    backend: BackendChoice,
    /// How long to wait for another apply, and for the xtables lock
    #[arg(long, value_name = "SECONDS", default_value_t = 10, env = "PALISADE_LOCK_WAIT", hide_env_values = true,
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    lock_wait: u32,
    /// How long a tool may take, its wait for a lock aside, before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 60, env = "PALISADE_TIMEOUT", hide_env_values = true,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: u32,
    /// Where to keep what is of use until the next boot
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/run/palisade",
        env = "PALISADE_RUN_DIR",
        hide_env_values = true
    )]
    run_dir: PathBuf,
    /// Where to keep the last good bundle
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/palisade",
        env = "PALISADE_STATE_DIR",
        hide_env_values = true
    )]
    state_dir: PathBuf,
}

/// Builds of iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BackendChoice {
    /// Found out
    Auto,
    /// iptables-legacy: the xtables of the kernel
    Legacy,
    /// iptables-nft: nf_tables
    Nft,
}

impl NodeArguments {
    /// What runs processes and keeps files.
    pub(super) fn processes(&self) -> ProcessRunner {
        let limit = Duration::from_secs(u64::from(self.timeout) + u64::from(self.lock_wait));
        ProcessRunner::new(ProcessSettings {
            run_directory: self.run_dir.clone(),
            state_directory: self.state_dir.clone(),
            limit,
        })
    }

    /// How the node is worked on.
    pub(super) fn settings(&self) -> apply::ApplySettings {
        let backend = match self.backend {
            BackendChoice::Auto => None,
            BackendChoice::Legacy => Some(observe::IptablesBackend::Legacy),
            BackendChoice::Nft => Some(observe::IptablesBackend::Nft),
        };
        apply::ApplySettings {
            backend,
            wait: Duration::from_secs(u64::from(self.lock_wait)),
            takes_over: false,
        }
    }

    /// The process that takes back what nobody confirms.
    pub(super) fn guard(&self) -> ToolCall {
        let path = |path: &Path| path.display().to_string();
        let backend = self
            .backend
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default();
        let words = [
            ("--backend", backend),
            ("--lock-wait", self.lock_wait.to_string()),
            ("--timeout", self.timeout.to_string()),
            ("--run-dir", path(&self.run_dir)),
            ("--state-dir", path(&self.state_dir)),
        ];

        // whoever starts it is another program than this one
        let mut call = ToolCall::new(
            &format!("/proc/{}/exe", std::process::id()),
            &["confirm", "--guard"],
        );
        call.arguments.extend(
            words
                .into_iter()
                .flat_map(|(option, value)| [option.to_owned(), value]),
        );

        call
    }
}

/// What is asked of a bundle.
pub(super) struct BundleArguments<'run> {
    /// The node that the user says it is.
    pub(super) node: Option<&'run str>,
    /// Whether staged policies may be in force in it.
    pub(super) takes_staged: bool,
    /// The extensions that its scripts may have.
    pub(super) extensions: &'run ExtensionSet,
}

/// Opens a bundle and takes this node's part; says on what ground it is this node's.
pub(super) fn wanted(
    place: &Path,
    asked: &BundleArguments<'_>,
    runner: &mut dyn Runner,
) -> Result<(TargetBundle, String), Diagnostic> {
    let bundle = BundleOnDisk::open(place)?;
    let is_good = is_good(place, runner);
    if bundle.is_staged() && !asked.takes_staged && !is_good {
        let message = format!(
            "`{}` has staged policies in force: it is a proposal",
            place.display()
        );
        return Err(Diagnostic::new(Code::BundleStaged, message)
            .help("render it without --staged, or apply the proposal with --staged"));
    }

    let every = ExtensionSet::every();
    let allowed = if is_good { &every } else { asked.extensions };
    let asked = name(asked.node);
    let (host, last) = (
        apply::host_name(runner).unwrap_or_default(),
        apply::last_node(runner),
    );
    let known = NodeNameHints {
        asked: asked.as_deref(),
        host: host.as_deref(),
        last: last.as_deref(),
    };
    let (node, named) = apply::node_of(&bundle, known)?;

    let why = match named {
        NodeNameSource::Asked => "",
        NodeNameSource::Host => " (the host's name)",
        NodeNameSource::Last => " (applied here last)",
    };
    Ok((TargetBundle::read(&bundle, &node, allowed)?, why.to_owned()))
}

/// Whether that is where the last good bundle is: whoever applied it said all there is to say of
/// it.
fn is_good(place: &Path, runner: &dyn Runner) -> bool {
    let good = runner.place(Retention::Always, GOOD).canonicalize();
    good.is_ok_and(|good| place.canonicalize().is_ok_and(|place| place == good))
}

/// The name of this node, as far as somebody says it.
pub(super) fn name(asked: Option<&str>) -> Option<String> {
    let environment = || {
        std::env::var_os("NODE_NAME")
            .as_deref()
            .and_then(OsStr::to_str)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
    };
    asked.map(str::to_owned).or_else(environment)
}

/// Tells of an error; its status is the caller's.
pub(super) fn fail(
    error: &ApplyError,
    runner: &dyn Runner,
    report: &mut OutputStreams,
) -> ExitStatus {
    report.failure(&error.diagnostic(runner));
    match error.kind() {
        ErrorKind::Bad => ExitStatus::Invalid,
        ErrorKind::Refused => ExitStatus::Refused,
        ErrorKind::Busy => ExitStatus::Busy,
    }
}

/// What there is to tell beside an apply's outcome.
#[derive(Debug, Default)]
pub(super) struct ApplyNotes {
    /// Within how many seconds it must be confirmed.
    pub(super) waits: Option<u32>,
    /// What became of known connections.
    pub(super) cut: Option<ConntrackCleanup>,
}

/// Ends known connections that a bundle in force denies.
pub(super) fn clean_up_conntrack(
    wanted: &TargetBundle,
    runner: &mut dyn Runner,
) -> Result<ConntrackCleanup, Diagnostic> {
    let checked = wanted.checked().map_err(|refused| {
        let message = format!("known connections that are denied now were not ended: {refused}");
        Diagnostic::new(Code::BundleDamaged, message).help("policy is in force all the same")
    })?;

    let kernel = NodeKernel::load(&checked);
    conntrack::cut_denied(runner, &kernel).map_err(|problem| {
        let is_missing = matches!(problem, KernelProblem::NoAnswer(RunnerFailure::NotFound(_)));
        let (code, help) = match is_missing {
            true => (
                Code::ToolMissing,
                "policy is in force all the same; install the packages `conntrack` and `iproute2`",
            ),
            false => (
                Code::KernelRefused,
                "policy is in force all the same; the next run tries again",
            ),
        };
        Diagnostic::new(
            code,
            format!("known connections that are denied now were not ended: {problem}"),
        )
        .help(help)
    })
}

/// `known connections: 7; 2 are denied now, and were ended`.
pub(super) fn words_of_cut(cut: &ConntrackCleanup) -> String {
    let unread = match cut.unread {
        0 => String::new(),
        unread => format!("; {unread} not understood, and left alone"),
    };
    let denied = match cut.denied.len() {
        0 => "none is denied now".to_owned(),
        1 => "1 is denied now".to_owned(),
        denied => format!("{denied} are denied now"),
    };

    let ended = match (cut.denied.len(), cut.denied.len().saturating_sub(cut.ended)) {
        (0, _) => String::new(),
        (1, 0) => ", and was ended".to_owned(),
        (_, 0) => ", and were ended".to_owned(),
        (_, others) => format!("; {} ended, {others} had ended by then", cut.ended),
    };
    format!("known connections: {}; {denied}{ended}{unread}", cut.known)
}

/// What a look at the node says of a bundle.
pub(super) fn status(
    wanted: &TargetBundle,
    look: &apply::Inspection,
    places: &PolicyPlaces,
) -> status::EnforcementStatus {
    status::EnforcementStatus::new(&status::NodeInspection {
        node: &wanted.node,
        digest: &wanted.scripts,
        backend: look.tools.backend,
        desired: &wanted.desired,
        scripts: &TableId::of_bundles()
            .filter_map(|id| Some((id, wanted.text(&id.file())?)))
            .collect(),
        observed: &look.observed,
        differences: &look.plan.differences,
        places,
    })
}

/// Tells what an apply did: `node n1: done in 3 calls: 4 chains written`.
pub(super) fn report_outcome(
    outcome: &ApplyOutcome,
    name: &str,
    beside: &ApplyNotes,
    report: &mut OutputStreams,
) -> ExitStatus {
    if outcome.took_back {
        report.remark("an apply that nobody confirmed in time was taken back first");
    }

    if outcome.gave_up {
        report.remark(
            "an apply that nobody confirmed in time could not be taken back, since the last good \
             bundle was damaged; this one is the last good one now",
        );
    }

    for left in &outcome.left {
        report.remark(&format!(
            "not done yet, and tried again with the next apply: {left}"
        ));
    }

    let text = BufferedOutput::capture(|out| match report.is_json() {
        true => json(outcome, beside, out),
        false => write_outcome(outcome, name, beside, &mut TerminalWriter::on(out)),
    });
    match report.data(&text) {
        Ok(()) => ExitStatus::Clean,
        Err(diagnostic) => report.diagnostic(diagnostic),
    }
}

fn write_outcome(
    outcome: &ApplyOutcome,
    name: &str,
    beside: &ApplyNotes,
    out: &mut TerminalWriter<'_, '_>,
) {
    let build = outcome.backend.label();
    let done = match outcome.calls {
        0 if outcome.node.is_empty() => "nothing was there to remove".to_owned(),
        0 => "in sync, nothing was written".to_owned(),
        calls => format!(
            "done in {calls} call{}: {}",
            if calls == 1 { "" } else { "s" },
            outcome.counts
        ),
    };

    out.line(format_args!("{name}, iptables-{build}: {done}"));
    if let Some(cut) = &beside.cut {
        out.line(words_of_cut(cut));
    }

    if let Some(seconds) = beside.waits.filter(|_| outcome.rounds > 0) {
        let otherwise = "without that, the state before is back";
        out.line(format_args!(
            "`palisade confirm` keeps it; {otherwise} in {seconds} s"
        ));
    }
}

fn json(outcome: &ApplyOutcome, beside: &ApplyNotes, out: &mut OutputSink<'_>) {
    let value = json!({
        "node": outcome.node,
        "backend": outcome.backend.label(),
        "inSync": outcome.is_in_sync(),
        "calls": outcome.calls,
        "rounds": outcome.rounds,
        "changes": outcome.counts,
        "left": outcome.left,
        "tookBack": outcome.took_back,
        "gaveUp": outcome.gave_up,
        "confirmWithin": beside.waits.filter(|_| outcome.rounds > 0),
        "connections": beside.cut.as_ref().map(|cut| json!({"known": cut.known, "ended": cut.ended, "notUnderstood": cut.unread})),
    });

    JsonWriter::on(out).pretty(&value);
}
