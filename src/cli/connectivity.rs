//! `palisade connectivity`: who can talk to whom on what.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::report::OutputStreams;
use crate::cli::{ExitStatus, OutputFormat, emptiness, input};
use crate::connectivity::{self, Connectivity, ConnectivityQuery, peers};
use crate::diagnostic::Diagnostics;
use crate::output::OutputSink;
use crate::packet::endpoint_pattern::EndpointPattern;
use crate::packet_space::TrafficPattern;
use crate::report;
use crate::resolve;

/// List who can talk to whom on what
///
/// Workloads, and addresses outside of the cluster; outside to outside is left out. Pods of one
/// owner are one peer, unless policy tells them apart. `--format` is text, json, csv, md (Markdown)
/// or dot (Graphviz).
///
/// Exit status: 0, or 2 invalid input or question.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files, directories (*.yaml, *.yml, *.json below them), or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only from these: NAMESPACE/POD, NAMESPACE/KIND/NAME, NAMESPACE/sa:NAME (all that run as a
    /// service account), an address or a CIDR (may be repeated)
    #[arg(long, value_name = "WHO")]
    from: Vec<EndpointPattern>,
    /// Only to these, written alike (may be repeated)
    #[arg(long, value_name = "WHO")]
    to: Vec<EndpointPattern>,
    /// Only by this: tcp/443, udp/8000-8100, tcp, icmp/8, icmp/8/0, proto/47, any (may be repeated)
    #[arg(long, value_name = "WHAT")]
    port: Vec<TrafficPattern>,
    /// What makes pods one peer
    #[arg(long, value_name = "WHAT", default_value = "workload")]
    by: GroupBy,
    /// Also where there is no endpoint in the input
    #[arg(long)]
    allow_no_endpoints: bool,
    /// Answer as if staged policies were in force
    #[arg(long)]
    staged: bool,
}

/// What makes endpoints one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GroupBy {
    /// Their owner, their service account, and the policy they have
    Workload,
    /// Their service account: what one of them may do, the peer may do
    ServiceAccount,
}

pub(super) fn run(arguments: &Arguments, report: &mut OutputStreams) -> ExitStatus {
    let mut found = Diagnostics::default();
    let files = input::read(&arguments.paths, &mut found);
    let input = crate::read(&files, input::staging(arguments.staged), &mut found);

    if !arguments.allow_no_endpoints {
        emptiness::refuse(&input, "the list", &mut found);
    }

    emptiness::note_unpoliced(&input, &mut found);
    if found.has_errors() {
        return report.diagnostics(&found, &files);
    }

    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
    let answer = connectivity::list(&resolved, &arguments.asked());
    let answer = answer.map_err(|diagnostic| found.push(diagnostic)).ok();
    let status = report.diagnostics(&found, &files);

    match answer {
        Some(answer) if status == ExitStatus::Clean => {
            report.data_by(|format, out| write(&answer, format, out))
        }
        Some(_) | None => status,
    }
}

fn write(answer: &Connectivity, format: OutputFormat, out: &mut OutputSink<'_>) {
    match format {
        // a command without a format never gets here with it
        OutputFormat::Text
        | OutputFormat::Sarif
        | OutputFormat::Junit
        | OutputFormat::Prometheus => report::connectivity::text(answer, out),
        OutputFormat::Json => report::connectivity::json(answer, out),
        OutputFormat::Csv => report::connectivity::csv(answer, out),
        OutputFormat::Md => report::connectivity::markdown(answer, out),
        OutputFormat::Dot => report::connectivity::dot(answer, out),
    }
}

impl Arguments {
    fn asked(&self) -> ConnectivityQuery {
        let by = match self.by {
            GroupBy::Workload => peers::PeerGrouping::Workload,
            GroupBy::ServiceAccount => peers::PeerGrouping::ServiceAccount,
        };
        ConnectivityQuery {
            by,
            from: self.from.clone(),
            to: self.to.clone(),
            what: self.port.clone(),
        }
    }
}
