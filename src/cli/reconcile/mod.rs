//! `palisade reconcile`: the loop that keeps this node's kernel as a bundle says.

mod fallback;
mod source;
mod history;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::agent::{self, Health, Listener, Pace, System, Why};
use crate::apply::{self, Error, Kind, Node, Wanted};
use crate::cli::Status;
use crate::cli::config::Choices;
use crate::cli::node::{self, Beside, Options};
use crate::cli::report::Report;
use crate::diagnostic::{Code, Diagnostic};
use crate::runner::Processes;
use crate::status::{self, Places};

use fallback::Fallback;
use history::Told;
use source::{Found, Source};

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
    options: Options,
    #[command(flatten)]
    choices: Choices,
}

/// The first wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// How long metrics wait for an apply of somebody else's; they do without the kernel's state then.
const MEASURE_WAIT: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &Arguments, config: Option<&Path>, report: &mut Report) -> Status {
    let mut keeper = match Keeper::new(arguments, config, report) {
        Ok(keeper) => keeper,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    if arguments.once {
        return keeper.round(Why::Start).1;
    }
    let mut system = match System::watching(&arguments.inputs()) {
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
        &Pace {
            interval,
            retry: RETRY.min(interval),
        },
        &mut |why| {
            let (health, _) = keeper.round(why);
            agent::tell_ready(keeper.words());
            health
        },
    );
    agent::tell_stopping();
    keeper.report.remark("told to end; policy stays in place");
    Status::Clean
}

impl Arguments {
    /// What is watched.
    fn inputs(&self) -> Vec<PathBuf> {
        self.bundle.iter().chain(&self.policies).cloned().collect()
    }
}

/// What goes on from round to round.
struct Keeper<'run> {
    arguments: &'run Arguments,
    source: Source<'run>,
    processes: Processes,
    /// What is to be in force, and why it is for this node.
    wanted: Option<(Wanted, String)>,
    /// Whether that is the last good bundle, since nothing good was read yet.
    is_fallback: bool,
    /// Whether what was read last is bad.
    is_bad: bool,
    /// Whether connections are to be ended: policy was written, by this process or perhaps by one
    /// before, which was killed or could not end them.
    owes_cut: bool,
    told: Told,
    listener: Option<Listener>,
    /// How the apply of this round left the kernel, where it looked last and metrics are wanted.
    seen: Option<status::Status>,
    report: &'run mut Report,
}

impl<'run> Keeper<'run> {
    fn new(
        arguments: &'run Arguments,
        config: Option<&'run Path>,
        report: &'run mut Report,
    ) -> Result<Self, Diagnostic> {
        let mut processes = arguments.options.processes();
        let source = Source::of(arguments, config, &mut processes)?;
        let at = |address: SocketAddr| {
            Listener::at(address).map_err(|error| {
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
            told: Told::default(),
            listener,
            seen: None,
            report,
        })
    }

    /// Reads what has changed, brings the kernel there, and tells how it went.
    fn round(&mut self, why: Why) -> (Health, Status) {
        self.refresh(why);
        let (health, status) = match self.wanted.take() {
            None => (Health::Failed, Status::Invalid),
            Some((wanted, ground)) => {
                let done = self.keep(&wanted, &ground);
                self.wanted = Some((wanted, ground));
                done
            }
        };
        // drift from the last good one is looked for as often as from any other
        let status = if self.is_bad && status == Status::Clean {
            Status::Invalid
        } else {
            status
        };
        self.told.count(status, self.is_bad);
        self.measure();
        (health, status)
    }

    /// Reads what is to be in force, where that may have changed. What is bad is told of, and what
    /// was good before stays.
    fn refresh(&mut self, why: Why) {
        match self.source.read(why, &mut self.processes, self.report) {
            Found::Same => {}
            Found::New(wanted, ground) => {
                (self.is_bad, self.is_fallback) = (false, false);
                self.wanted = Some((wanted, ground));
            }
            Found::Bad => {
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
        let fallback = Fallback::find(&mut self.node(), name.as_deref());
        if let Fallback::Unreadable(error) = &fallback {
            self.report.failure(&error.diagnostic(&self.processes));
        }
        self.report.remark(&fallback.words());
        self.wanted = fallback
            .good()
            .map(|good| (good, " (the last good bundle)".to_owned()));
        self.is_fallback = self.wanted.is_some();
    }

    fn node(&mut self) -> Node<'_> {
        Node {
            runner: &mut self.processes,
            settings: self.arguments.options.settings(),
        }
    }

    fn keep(&mut self, wanted: &Wanted, ground: &str) -> (Health, Status) {
        match apply::run(&mut self.node(), wanted) {
            Ok(mut outcome) => {
                let look = outcome.look.take().filter(|_| self.is_measured());
                self.seen = look.map(|look| node::status(wanted, &look, &Places::new()));
                self.owes_cut |= outcome.rounds > 0;
                self.told.apply(&outcome);
                let mut status = Status::Clean;
                let is_news = !outcome.is_in_sync()
                    || outcome.took_back
                    || outcome.gave_up
                    || self.told.is_first()
                    || (self.told.has_failed() && !self.is_bad);
                if is_news || self.arguments.once {
                    status = node::tell(
                        &outcome,
                        (&format!("node {}{ground}", wanted.node), &Beside::default()),
                        self.report,
                    );
                }
                // policy is in force all the same, and is looked after as often
                let is_cut = !self.owes_cut || !self.arguments.cut_denied || self.cut(wanted);
                (Health::Good, if is_cut { status } else { Status::Refused })
            }
            Err(error) => self.fail(wanted, &error),
        }
    }

    fn fail(&mut self, wanted: &Wanted, error: &Error) -> (Health, Status) {
        // policy may have been written before, and the next round finds nothing to write
        self.owes_cut |= !matches!(error, Error::Locked | Error::Waiting(_));
        match error.kind() {
            // that is tried every second, and need not be told each time
            Kind::Busy if self.told.is_busy() => (Health::Busy, Status::Busy),
            Kind::Busy => (
                Health::Busy,
                node::fail(error, &self.processes, self.report),
            ),
            Kind::Bad => (
                Health::Failed,
                node::fail(error, &self.processes, self.report),
            ),
            Kind::Refused => {
                let status = node::fail(error, &self.processes, self.report);
                // the state before is enforced again, if it could be; it may be another one than
                // the last good bundle's
                if matches!(
                    error,
                    Error::Kernel(_) | Error::RolledBack { .. } | Error::NotRolledBack { .. }
                ) {
                    self.bring_back(wanted, error);
                }
                (Health::Failed, status)
            }
        }
    }

    /// The last good bundle comes back, until the new one is tried again.
    fn bring_back(&mut self, refused: &Wanted, why: &Error) {
        let fallback = Fallback::find(&mut self.node(), Some(&refused.node));
        let words = fallback.words();
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
    fn words(&self) -> &'static str {
        match self.wanted {
            Some(_) => self.told.words(),
            None => "there is no good bundle that could be put in force",
        }
    }

    /// Ends known connections that policy denies now; whether that was possible. Where it was not,
    /// the next round tries again.
    fn cut(&mut self, wanted: &Wanted) -> bool {
        match node::cut(wanted, &mut self.processes) {
            Ok(cut) => {
                self.told.cut(cut.ended);
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
    fn see(&mut self) -> Option<status::Status> {
        let settings = apply::Settings {
            wait: MEASURE_WAIT,
            ..self.arguments.options.settings()
        };
        let (wanted, _) = self.wanted.as_ref()?;
        let look = apply::look(
            &mut Node {
                runner: &mut self.processes,
                settings,
            },
            wanted,
        )
        .ok()?;
        Some(node::status(wanted, &look, &Places::new()))
    }

    /// Metrics to whoever wants them; where they cannot be written that is said, and no more.
    fn measure(&mut self) {
        if !self.is_measured() {
            return;
        }
        let seen = self.seen.take().or_else(|| self.see());
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
