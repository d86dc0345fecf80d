//! `palisade apply`: a bundle to this node's kernel.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::apply::{self, ApplyOutcome, ApplyTarget, Inspection, TargetBundle};
use crate::cli::ExitStatus;
use crate::cli::config::{self, ExtensionArguments};
use crate::cli::node::{self, ApplyNotes, BundleArguments, NodeArguments};
use crate::cli::report::OutputStreams;
use crate::output::{BufferedOutput, JsonWriter};
use crate::plan::PlanStep;
use crate::runner::ToolCall;

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
    extensions: ExtensionArguments,
    #[command(flatten)]
    options: NodeArguments,
}

pub(super) fn run(
    arguments: &Arguments,
    config: Option<&Path>,
    report: &mut OutputStreams,
) -> ExitStatus {
    let mut processes = arguments.options.processes();
    let extensions = match config::extensions(&arguments.extensions, config) {
        Ok(extensions) => extensions,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let asked = BundleArguments {
        node: arguments.node.as_deref(),
        takes_staged: arguments.staged,
        extensions: &extensions,
    };
    let (wanted, why) = match node::wanted(&arguments.bundle, &asked, &mut processes) {
        Ok(wanted) => wanted,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let settings = apply::ApplySettings {
        takes_over: arguments.take_over,
        ..arguments.options.settings()
    };
    let mut node = ApplyTarget {
        runner: &mut processes,
        settings,
    };

    if arguments.dry_run {
        return match apply::inspect(&mut node, &wanted) {
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
            report_outcome(&outcome, &wanted, &why, arguments, report)
        }
        Err(error) => node::fail(&error, &processes, report),
    }
}

/// Ends denied connections, where that is asked for, and tells of all of it.
fn report_outcome(
    outcome: &ApplyOutcome,
    wanted: &TargetBundle,
    why: &str,
    arguments: &Arguments,
    report: &mut OutputStreams,
) -> ExitStatus {
    let cut = arguments
        .cut_denied
        .then(|| node::clean_up_conntrack(wanted, &mut arguments.options.processes()))
        .transpose();
    let (cut, problem) = match cut {
        Ok(cut) => (cut, None),
        Err(problem) => (None, Some(problem)),
    };
    let status = node::report_outcome(
        outcome,
        &format!("node {}{why}", wanted.node),
        &ApplyNotes {
            waits: arguments.confirm,
            cut,
        },
        report,
    );

    match problem {
        None => status,
        Some(problem) => {
            report.failure(&problem);
            ExitStatus::Refused
        }
    }
}

fn show(look: &Inspection, wanted: &TargetBundle, report: &mut OutputStreams) -> ExitStatus {
    let text = match report.is_json() {
        true => {
            let differences: Vec<String> = look
                .plan
                .differences
                .iter()
                .map(ToString::to_string)
                .collect();
            let call = |call: &ToolCall| json!({"call": call.to_string(), "input": call.input});
            let step = |step: &PlanStep| json!({"about": step.about, "calls": step.calls.iter().map(call).collect::<Vec<_>>()});
            let steps: Vec<_> = look.plan.steps.iter().map(step).collect();
            let value = json!({"node": wanted.node, "backend": look.tools.backend.label(), "differences": differences, "steps": steps});
            BufferedOutput::capture(|out| JsonWriter::on(out).pretty(&value))
        }
        false => BufferedOutput::capture(|out| look.plan.text(out)),
    };

    match report.data(&text) {
        Ok(()) => ExitStatus::Clean,
        Err(diagnostic) => report.diagnostic(diagnostic),
    }
}
