//! `palisade apply`: a bundle to this node's kernel.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::apply::{self, Look, Node, Outcome, Wanted};
use crate::cli::Status;
use crate::cli::config::{self, Allowed};
use crate::cli::node::{self, Asked, Beside, Options};
use crate::cli::report::Report;
use crate::output::{Json, Printed};
use crate::plan::Step;
use crate::runner::Call;

/// Bring this node's kernel to what a bundle says
///
/// Looks at the sets and chains of ours that the kernel has, changes what differs, reads it back,
/// and keeps the bundle for the next boot. At every moment, what the policy before and the new one
/// both allow passes, and what both deny does not. What is not ours is left alone. Where nothing
/// differs, nothing is written.
///
/// Exit status: 0 done or in sync, 2 bad bundle or no room for our files, 3 the kernel or a tool
/// refused, 4 somebody else is at it: try again.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory of the bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Which node this is; without it NODE_NAME, the host's name, or the bundle's only node if that
    /// was applied last
    #[arg(
        long,
        value_name = "NODE",
        env = "PALISADE_NODE",
        hide_env_values = true
    )]
    node: Option<String>,
    /// Change nothing; print what differs, and each call that would be made
    #[arg(long)]
    dry_run: bool,
    /// Take it back unless `palisade confirm` comes within so many seconds, also where the terminal
    /// or the node dies
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400), conflicts_with = "dry_run")]
    confirm: Option<u32>,
    /// Apply a bundle with staged policies in force
    #[arg(long)]
    staged: bool,
    /// Where the other build of iptables holds chains of ours: remove them behind the apply
    #[arg(long, conflicts_with_all = ["dry_run", "confirm"])]
    take_over: bool,
    /// Once it holds, also where it held already: end known connections that policy denies, and
    /// only those (needs `conntrack`)
    #[arg(long, conflicts_with = "dry_run")]
    cut_denied: bool,
    #[command(flatten)]
    extensions: Allowed,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments, config: Option<&Path>, report: &mut Report) -> Status {
    let mut processes = arguments.options.processes();
    let extensions = match config::extensions(&arguments.extensions, config) {
        Ok(extensions) => extensions,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let asked = Asked {
        node: arguments.node.as_deref(),
        takes_staged: arguments.staged,
        extensions: &extensions,
    };
    let (wanted, why) = match node::wanted(&arguments.bundle, &asked, &mut processes) {
        Ok(wanted) => wanted,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let settings = apply::Settings {
        takes_over: arguments.take_over,
        ..arguments.options.settings()
    };
    let mut node = Node {
        runner: &mut processes,
        settings,
    };
    if arguments.dry_run {
        return match apply::look(&mut node, &wanted) {
            Ok(look) => show(&look, &wanted, report),
            Err(error) => node::fail(&error, &processes, report),
        };
    }
    let outcome = match arguments.confirm {
        None => apply::run(&mut node, &wanted),
        Some(seconds) => apply::run_to_be_confirmed(
            &mut node,
            &wanted,
            Duration::from_secs(u64::from(seconds)),
            &arguments.options.guard(),
        ),
    };
    match outcome {
        Ok(mut outcome) => {
            outcome.look = None; // ending connections takes memory of its own
            tell(&outcome, (&wanted, &why), arguments, report)
        }
        Err(error) => node::fail(&error, &processes, report),
    }
}

/// Ends denied connections, where that is asked for, and tells of all of it.
fn tell(
    outcome: &Outcome,
    (wanted, why): (&Wanted, &str),
    arguments: &Arguments,
    report: &mut Report,
) -> Status {
    let cut = arguments
        .cut_denied
        .then(|| node::cut(wanted, &mut arguments.options.processes()))
        .transpose();
    let (cut, problem) = match cut {
        Ok(cut) => (cut, None),
        Err(problem) => (None, Some(problem)),
    };
    let status = node::tell(
        outcome,
        (
            &format!("node {}{why}", wanted.node),
            &Beside {
                waits: arguments.confirm,
                cut,
            },
        ),
        report,
    );
    match problem {
        None => status,
        Some(problem) => {
            report.failure(&problem);
            Status::Refused
        }
    }
}

fn show(look: &Look, wanted: &Wanted, report: &mut Report) -> Status {
    let text = match report.is_json() {
        true => {
            let differences: Vec<String> = look
                .plan
                .differences
                .iter()
                .map(ToString::to_string)
                .collect();
            let call = |call: &Call| json!({"call": call.to_string(), "input": call.input});
            let step = |step: &Step| json!({"about": step.about, "calls": step.calls.iter().map(call).collect::<Vec<_>>()});
            let steps: Vec<_> = look.plan.steps.iter().map(step).collect();
            let value = json!({"node": wanted.node, "backend": look.tools.backend.word(), "differences": differences, "steps": steps});
            Printed::of(|out| Json::on(out).pretty(&value))
        }
        false => Printed::of(|out| look.plan.text(out)),
    };
    match report.data(&text) {
        Ok(()) => Status::Clean,
        Err(diagnostic) => report.diagnostic(diagnostic),
    }
}
