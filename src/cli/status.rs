//! `palisade status`: what this node's kernel holds, and what policy rules counted.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::apply::{self, ApplyTarget};
use crate::cli::config::{self, ExtensionArguments};
use crate::cli::node::{self, BundleArguments, NodeArguments};
use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, OutputFormat, input};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::metrics::MetricFamilies;
use crate::net::Direction;
use crate::output::OutputSink;
use crate::policy::{PolicyKey, PolicySet, Rule};
use crate::runner::Runner;
use crate::source::SourceFiles;
use crate::status::{self, PolicyPlaces};

/// Say whether this node's kernel holds what its bundle says, and how often each policy rule took a
/// packet
///
/// Looks, when no apply is under way, and changes nothing. What differs is told set by set and rule
/// by rule. Policy is asked about the packets that begin a connection; all others count as known
/// connections. With `--format prometheus`, the text is for the textfile collector of
/// node_exporter.
///
/// Exit status: 0 in sync, 1 something differs, 2 no bundle, or a bad one, 3 the kernel cannot be
/// looked at, 4 somebody else is changing the node: try again.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory of the bundle; without it the last one that was applied here
    #[arg(value_name = "BUNDLE")]
    bundle: Option<PathBuf>,
    /// Which node this is; without it NODE_NAME, the host's name, or the bundle's only node if that
    /// was applied last
    #[arg(
        long,
        value_name = "NODE",
        env = "PALISADE_NODE",
        hide_env_values = true
    )]
    node: Option<String>,
    /// Files and directories of the policies that the bundle was made from, to tell the place of
    /// each rule (may be repeated)
    #[arg(long, value_name = "PATH")]
    policies: Vec<PathBuf>,
    /// The policies were rendered with `--staged`
    #[arg(long)]
    staged: bool,
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
    let mut found = Diagnostics::default();
    let (places, files) = places(arguments, &mut found);
    if found.has_errors() {
        return report.diagnostics(&found, &files);
    }

    let mut processes = arguments.options.processes();
    let bundle = match &arguments.bundle {
        Some(bundle) => bundle.clone(),
        None => match last_applied(&mut processes, report) {
            Ok(bundle) => bundle,
            Err(status) => return status,
        },
    };
    let extensions = match config::extensions(&arguments.extensions, config) {
        Ok(extensions) => extensions,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let asked = BundleArguments {
        node: arguments.node.as_deref(),
        takes_staged: true,
        extensions: &extensions,
    };
    let wanted = match node::wanted(&bundle, &asked, &mut processes) {
        Ok((wanted, _)) => wanted,
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let mut node = ApplyTarget {
        runner: &mut processes,
        settings: arguments.options.settings(),
    };
    let look = match apply::inspect(&mut node, &wanted) {
        Ok(look) => look,
        Err(error) => return node::fail(&error, &processes, report),
    };
    let status = node::status(&wanted, &look, &places);

    let told = report.data_by(|format, out| print(&status, format, out));
    if told == ExitStatus::Clean && !status.is_in_sync() {
        ExitStatus::Differs
    } else {
        told
    }
}

/// Where the bundle is that was applied last; says it where that may be taken back.
fn last_applied(
    runner: &mut dyn Runner,
    report: &mut OutputStreams,
) -> Result<PathBuf, ExitStatus> {
    match apply::last_applied(runner) {
        Err(error) => Err(node::fail(&error, runner, report)),
        Ok(None) => {
            let help = "apply one, or name the bundle to compare with";
            let nothing = Diagnostic::new(
                Code::NotABundle,
                "no bundle was applied on this node yet, or the last one was taken back",
            )
            .help(help);
            Err(report.diagnostic(nothing))
        }
        Ok(Some((bundle, waits))) => {
            if let Some(left) = waits {
                report.remark(&format!(
                    "an apply waits to be confirmed, for {} s more; this is about that one",
                    left.as_secs()
                ));
            }
            Ok(bundle)
        }
    }
}

fn print(status: &status::EnforcementStatus, format: OutputFormat, out: &mut OutputSink<'_>) {
    match format {
        OutputFormat::Json => status.json(out),
        OutputFormat::Prometheus => {
            let mut metrics = MetricFamilies::default();
            status.measure(&mut metrics);
            metrics.text(out);
        }
        OutputFormat::Text
        | OutputFormat::Csv
        | OutputFormat::Md
        | OutputFormat::Dot
        | OutputFormat::Sarif
        | OutputFormat::Junit => status.text(out),
    }
}

/// Where each rule of the policies stands; nothing where no policies are given.
fn places(arguments: &Arguments, diagnostics: &mut Diagnostics) -> (PolicyPlaces, SourceFiles) {
    if arguments.policies.is_empty() {
        return (PolicyPlaces::new(), SourceFiles::default());
    }
    let files = input::read(&arguments.policies, diagnostics);
    let input = crate::read(&files, input::staging(arguments.staged), diagnostics);
    (places_of(&input.policies, &files), files)
}

fn places_of(policies: &PolicySet, files: &SourceFiles) -> PolicyPlaces {
    let mut places = PolicyPlaces::new();
    let mut add = |key: &PolicyKey, direction: Direction, rules: &[Rule]| {
        for rule in rules {
            let place = format!(
                "{}:{}",
                files.get(rule.span.file).name,
                files.position(rule.span).line
            );
            places
                .entry((key.to_string(), direction, rule.number))
                .or_insert(place);
        }
    };

    for direction in [Direction::Ingress, Direction::Egress] {
        let policies_of_tiers = policies.tiers.iter().flat_map(|tier| &tier.policies);
        policies_of_tiers.for_each(|policy| {
            add(
                &policy.key,
                direction,
                policy.rules(direction).unwrap_or_default(),
            )
        });
        policies
            .profiles
            .values()
            .for_each(|profile| add(&profile.key, direction, profile.rules(direction)));
    }

    places
}
