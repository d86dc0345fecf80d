//! `palisade reconcile`: the loop that keeps this node's kernel as a bundle says.

mod fallback;
mod source;
mod history;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::agent::{self, LoopTiming, MetricsServer, RoundHealth, RoundReason, SystemEvents};
use crate::apply::{self, ApplyError, ApplyTarget, ErrorKind, TargetBundle};
use crate::cli::ExitStatus;
use crate::cli::config::RenderArguments;
use crate::cli::node::{self, ApplyNotes, NodeArguments};
use crate::cli::report::OutputStreams;
use crate::diagnostic::{Code, Diagnostic};
use crate::runner::ProcessRunner;
use crate::status::{self, PolicyPlaces};

use fallback::FallbackBundle;
use history::ReconcileStats;
use source::{DesiredSource, SourceReading};

/// Keep this node's kernel as a bundle says
///
/// Applies the bundle, and again when it changes or the kernel drifts: looks at both on every
/// change of the files, after every interval, and on SIGHUP. A bundle that is bad is told of, and
/// the last good one stays in force; it comes back where the kernel refuses the new one. After a
/// failure it tries again soon, then less and less often. SIGTERM ends it and leaves policy in
/// place. With --policies it compiles this node's part itself.
///
/// Under systemd it says when it is ready, how it is, and that it is alive (Type=notify,
/// WatchdogSec).
///
/// Exit status with --once: 0 in sync or done, 2 bad bundle (the last good one is in force, where
/// it is what was applied last), 3 the kernel or a tool refused, 4 busy; else 0 when it was told to
/// end, 2 where it cannot begin.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory of the bundle
    #[arg(
        value_name = "BUNDLE",
        required_unless_present = "policies",
        conflicts_with = "policies"
    )]
    bundle: Option<PathBuf>,
    /// Compile this node's part from these files and directories instead
    #[arg(long, value_name = "PATH", num_args = 1..)]
    policies: Vec<PathBuf>,
    /// Which node this is; without it NODE_NAME, the host's name, or the bundle's only node if that
    /// was applied last
    #[arg(
        long,
        value_name = "NODE",
        env = "PALISADE_NODE",
        hide_env_values = true
    )]
    node: Option<String>,
    /// How often to look for drift
    #[arg(long, value_name = "SECONDS", default_value_t = 30, env = "PALISADE_INTERVAL", hide_env_values = true,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: u32,
    /// One round only, for cron
    #[arg(long)]
    once: bool,
    /// At the start (so always with --once), and when policy has changed, end known connections
    /// that it denies, and only those (needs `conntrack`)
    #[arg(long, env = "PALISADE_CUT_DENIED", hide_env_values = true, value_parser = BoolishValueParser::new())]
    cut_denied: bool,
    /// Compile also where there is no endpoint in the input
    #[arg(long, requires = "policies")]
    allow_no_endpoints: bool,
    /// Take policy with staged policies in force
    #[arg(long)]
    staged: bool,
    /// Write metrics to this file after each round, for node_exporter's textfile collector (FILE
    /// ends in .prom)
    #[arg(
        long,
        value_name = "FILE",
        env = "PALISADE_METRICS_FILE",
        hide_env_values = true
    )]
    metrics_file: Option<PathBuf>,
    /// Answer `GET /metrics` at this address, such as 127.0.0.1:9632
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PALISADE_METRICS_LISTEN",
        hide_env_values = true,
        conflicts_with = "once"
    )]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    options: NodeArguments,
    #[command(flatten)]
    choices: RenderArguments,
}

/// The first wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// How long metrics wait for an apply of somebody else's; they do without the kernel's state then.
const MEASURE_WAIT: Duration = Duration::from_secs(1);

pub(super) fn run(
    arguments: &Arguments,
    config: Option<&Path>,
    report: &mut OutputStreams,
) -> ExitStatus {
    let mut keeper = match Reconciler::new(arguments, config, report) {
        Ok(keeper) => keeper,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    if arguments.once {
        return keeper.round(RoundReason::Start).1;
    }

    let mut system = match SystemEvents::watching(&arguments.inputs()) {
        Ok(system) => system,
        Err(problem) => {
            return keeper
                .report
                .diagnostic(Diagnostic::new(Code::Unreadable, problem.to_string()));
        }
    };
    if let Some(problem) = system.unwatched() {
        keeper.report.remark(&format!(
            "{problem}; until that is possible, changes are seen when the interval is over"
        ));
    }

    let interval = Duration::from_secs(u64::from(arguments.interval));
    agent::run(
        &mut system,
        &LoopTiming {
            interval,
            retry: RETRY.min(interval),
        },
        &mut |why| {
            let (health, _) = keeper.round(why);
            agent::tell_ready(keeper.description());
            health
        },
    );
    agent::tell_stopping();
    keeper.report.remark("told to end; policy stays in place");

    ExitStatus::Clean
}

impl Arguments {
    /// What is watched.
    fn inputs(&self) -> Vec<PathBuf> {
        self.bundle.iter().chain(&self.policies).cloned().collect()
    }
}

/// What goes on from round to round.
struct Reconciler<'run> {
    arguments: &'run Arguments,
    source: DesiredSource<'run>,
    processes: ProcessRunner,
    /// What is to be in force, and why it is for this node.
    wanted: Option<(TargetBundle, String)>,
    /// Whether that is the last good bundle, since nothing good was read yet.
    is_fallback: bool,
    /// Whether what was read last is bad.
    is_bad: bool,
    /// Whether connections are to be ended: policy was written, by this process or perhaps by one
    /// before, which was killed or could not end them.
    owes_cut: bool,
    told: ReconcileStats,
    listener: Option<MetricsServer>,
    /// How the apply of this round left the kernel, where it looked last and metrics are wanted.
    seen: Option<status::EnforcementStatus>,
    report: &'run mut OutputStreams,
}

impl<'run> Reconciler<'run> {
    fn new(
        arguments: &'run Arguments,
        config: Option<&'run Path>,
        report: &'run mut OutputStreams,
    ) -> Result<Self, Diagnostic> {
        let mut processes = arguments.options.processes();
        let source = DesiredSource::from_arguments(arguments, config, &mut processes)?;
        let at = |address: SocketAddr| {
            MetricsServer::at(address).map_err(|error| {
                Diagnostic::new(
                    Code::Unwritable,
                    format!("cannot listen at {address}: {error}"),
                )
            })
        };
        let listener = arguments.metrics_listen.map(at).transpose()?;

        Ok(Self {
            arguments,
            source,
            processes,
            wanted: None,
            is_fallback: false,
            is_bad: false,
            owes_cut: true,
            told: ReconcileStats::default(),
            listener,
            seen: None,
            report,
        })
    }

    /// Reads what has changed, brings the kernel there, and tells how it went.
    fn round(&mut self, why: RoundReason) -> (RoundHealth, ExitStatus) {
        self.refresh(why);
        let (health, status) = match self.wanted.take() {
            None => (RoundHealth::Failed, ExitStatus::Invalid),
            Some((wanted, ground)) => {
                let done = self.keep(&wanted, &ground);
                self.wanted = Some((wanted, ground));
                done
            }
        };

        // drift from the last good one is looked for as often as from any other
        let status = if self.is_bad && status == ExitStatus::Clean {
            ExitStatus::Invalid
        } else {
            status
        };

        self.told.count(status, self.is_bad);
        self.measure();
        (health, status)
    }

    /// Reads what is to be in force, where that may have changed. What is bad is told of, and what
    /// was good before stays.
    fn refresh(&mut self, why: RoundReason) {
        match self.source.read(why, &mut self.processes, self.report) {
            SourceReading::Same => {}
            SourceReading::New(wanted, ground) => {
                (self.is_bad, self.is_fallback) = (false, false);
                self.wanted = Some((wanted, ground));
            }
            SourceReading::Bad => {
                self.is_bad = true;
                match self.wanted.is_none() || self.is_fallback {
                    true => self.fall_back(),
                    false => self.report.remark("the last good bundle stays in force"),
                }
            }
        }
    }

    /// Where nothing good was read yet, the last good bundle is wanted, if it may be; by each round
    /// anew, since others apply, too.
    fn fall_back(&mut self) {
        let name = self.source.node();
        let fallback = FallbackBundle::find(&mut self.node(), name.as_deref());
        if let FallbackBundle::Unreadable(error) = &fallback {
            self.report.failure(&error.diagnostic(&self.processes));
        }
        self.report.remark(&fallback.description());
        self.wanted = fallback
            .good()
            .map(|good| (good, " (the last good bundle)".to_owned()));
        self.is_fallback = self.wanted.is_some();
    }

    fn node(&mut self) -> ApplyTarget<'_> {
        ApplyTarget {
            runner: &mut self.processes,
            settings: self.arguments.options.settings(),
        }
    }

    fn keep(&mut self, wanted: &TargetBundle, ground: &str) -> (RoundHealth, ExitStatus) {
        match apply::run(&mut self.node(), wanted) {
            Ok(mut outcome) => {
                let look = outcome.look.take().filter(|_| self.is_measured());
                self.seen = look.map(|look| node::status(wanted, &look, &PolicyPlaces::new()));
                self.owes_cut |= outcome.rounds > 0;
                self.told.apply(&outcome);
                let mut status = ExitStatus::Clean;
                let is_news = !outcome.is_in_sync()
                    || outcome.took_back
                    || outcome.gave_up
                    || self.told.is_first()
                    || (self.told.has_failed() && !self.is_bad);
                if is_news || self.arguments.once {
                    status = node::report_outcome(
                        &outcome,
                        &format!("node {}{ground}", wanted.node),
                        &ApplyNotes::default(),
                        self.report,
                    );
                }
                // policy is in force all the same, and is looked after as often
                let is_cut =
                    !self.owes_cut || !self.arguments.cut_denied || self.clean_up_conntrack(wanted);
                (
                    RoundHealth::Good,
                    if is_cut { status } else { ExitStatus::Refused },
                )
            }
            Err(error) => self.fail(wanted, &error),
        }
    }

    fn fail(&mut self, wanted: &TargetBundle, error: &ApplyError) -> (RoundHealth, ExitStatus) {
        // policy may have been written before, and the next round finds nothing to write
        self.owes_cut |= !matches!(error, ApplyError::Locked | ApplyError::Waiting(_));

        match error.kind() {
            // that is tried every second, and need not be told each time
            ErrorKind::Busy if self.told.is_busy() => (RoundHealth::Busy, ExitStatus::Busy),
            ErrorKind::Busy => (
                RoundHealth::Busy,
                node::fail(error, &self.processes, self.report),
            ),
            ErrorKind::Bad => (
                RoundHealth::Failed,
                node::fail(error, &self.processes, self.report),
            ),
            ErrorKind::Refused => {
                let status = node::fail(error, &self.processes, self.report);
                // the state before is enforced again, if it could be; it may be another one than
                // the last good bundle's
                if matches!(
                    error,
                    ApplyError::Kernel(_)
                        | ApplyError::RolledBack { .. }
                        | ApplyError::NotRolledBack { .. }
                ) {
                    self.bring_back(wanted, error);
                }
                (RoundHealth::Failed, status)
            }
        }
    }

    /// The last good bundle comes back, until the new one is tried again.
    fn bring_back(&mut self, refused: &TargetBundle, why: &ApplyError) {
        let fallback = FallbackBundle::find(&mut self.node(), Some(&refused.node));
        let words = fallback.description();
        let Some(good) = fallback.good() else {
            return self
                .report
                .remark(&format!("nothing is brought back: {words}"));
        };
        if good.scripts == refused.scripts {
            return;
        }

        match apply::run(&mut self.node(), &good) {
            Ok(outcome) => {
                self.told.apply(&outcome);
                self.report
                    .remark("the last good bundle is in force; the new one is tried again");
            }
            Err(error) => {
                if error != *why {
                    self.report.failure(&error.diagnostic(&self.processes));
                }
                self.report
                    .remark("the last good bundle could not be brought back");
            }
        }
    }

    /// How things are, for `systemctl status`.
    fn description(&self) -> &'static str {
        match self.wanted {
            Some(_) => self.told.description(),
            None => "there is no good bundle that could be put in force",
        }
    }

    /// Ends known connections that policy denies now; whether that was possible. Where it was not,
    /// the next round tries again.
    fn clean_up_conntrack(&mut self, wanted: &TargetBundle) -> bool {
        match node::clean_up_conntrack(wanted, &mut self.processes) {
            Ok(cut) => {
                self.told.record_conntrack_cleanup(cut.ended);
                self.report.remark(&node::words_of_cut(&cut));
                self.owes_cut = false;
            }
            Err(problem) => self.report.failure(&problem),
        }
        !self.owes_cut
    }

    fn is_measured(&self) -> bool {
        self.arguments.metrics_file.is_some() || self.listener.is_some()
    }

    /// Looks at the kernel.
    fn inspect(&mut self) -> Option<status::EnforcementStatus> {
        let settings = apply::ApplySettings {
            wait: MEASURE_WAIT,
            ..self.arguments.options.settings()
        };
        let (wanted, _) = self.wanted.as_ref()?;

        let look = apply::inspect(
            &mut ApplyTarget {
                runner: &mut self.processes,
                settings,
            },
            wanted,
        )
        .ok()?;
        Some(node::status(wanted, &look, &PolicyPlaces::new()))
    }

    /// Metrics to whoever wants them; where they cannot be written that is said, and no more.
    fn measure(&mut self) {
        if !self.is_measured() {
            return;
        }

        let seen = self.seen.take().or_else(|| self.inspect());
        let text = self.told.metrics(seen.as_ref());
        if let Some(listener) = &self.listener {
            listener.show(&text);
        }

        let written = self
            .arguments
            .metrics_file
            .as_deref()
            .map(|path| agent::write_metrics(path, &text).map_err(|error| (path, error)));
        if let Some(Err((path, error))) = written {
            self.report.remark(&format!(
                "cannot write the metrics to `{}`: {error}",
                path.display()
            ));
        }
    }
}
