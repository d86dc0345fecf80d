//! What `palisade eval` and `palisade explain` have in common: a question, read, answered and
//! printed.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::config::{self, RenderArguments};
use crate::cli::report::OutputStreams;
use crate::cli::trace::ScriptTracer;
use crate::cli::{ExitStatus, input};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::explain;
use crate::explain::query::{Query, QueryTraffic};
use crate::inventory::LabelEdit;
use crate::output::BufferedOutput;
use crate::packet::endpoint_pattern::EndpointPattern;
use crate::report::eval::{self, DetailLevel, QueryReport, QueryVerdict};
use crate::resolve::{self, ResolvedPolicy};
use crate::semantics::evaluate::Evaluator;
use crate::semantics::path::FlowRouter;
use crate::source::SourceFiles;

/// A question about a connection.
#[derive(Debug, Args)]
pub(super) struct QueryArguments {
    /// Files, directories (*.yaml, *.yml, *.json below them), or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Who connects: NAMESPACE/POD, NAMESPACE/KIND/NAME (a Deployment, or all pods of a
    /// ReplicaSet), NAMESPACE/sa:NAME (all that run as a service account), an address or a CIDR
    #[arg(long, value_name = "WHO")]
    from: EndpointPattern,
    /// Whom it connects to, written alike
    #[arg(long, value_name = "WHO")]
    to: EndpointPattern,
    /// By what: tcp/443, udp/53, sctp/36412, icmp (an echo request), icmp/TYPE, icmp/TYPE/CODE,
    /// icmpv6/…, or a protocol's number, as proto/47
    #[arg(long, value_name = "WHAT")]
    port: QueryTraffic,
    /// The port it connects from [default: 49152]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    source_port: Option<u16>,
    /// Answer as if this label were set: sa:NAMESPACE/NAME:KEY=VALUE, pod:NAMESPACE/NAME:KEY=VALUE,
    /// ns:NAME:KEY=VALUE; KEY- in place of KEY=VALUE removes one (may be repeated)
    #[arg(long = "set-label", value_name = "LABEL")]
    labels: Vec<LabelEdit>,
    /// Answer as if staged policies were in force
    #[arg(long)]
    staged: bool,
    #[command(flatten)]
    choices: RenderArguments,
}

/// Reads, answers and prints.
pub(super) fn run(
    asked: &QueryArguments,
    config: Option<&Path>,
    detail: DetailLevel,
    report: &mut OutputStreams,
) -> ExitStatus {
    let tracer = match config::load(&asked.choices, config) {
        Ok((options, templates)) => ScriptTracer { options, templates },
        Err(diagnostic) => return report.diagnostic(diagnostic),
    };
    let mut found = Diagnostics::default();
    let files = input::read(&asked.paths, &mut found);
    let mut input = crate::read(&files, input::staging(asked.staged), &mut found);

    if !found.has_errors() {
        let edited = asked
            .labels
            .iter()
            .try_for_each(|edit| input.inventory.edit(edit));
        edited.unwrap_or_else(|diagnostic| found.push(diagnostic));
    }

    if found.has_errors() {
        return report.diagnostics(&found, &files);
    }

    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
    let told = match found.has_errors() {
        true => None,
        false => report_answer(asked, &resolved, &files, detail, &tracer, report)
            .map_err(|diagnostic| found.push(diagnostic))
            .ok(),
    };
    let status = report.diagnostics(&found, &files);

    match told {
        Some((text, answered)) if status == ExitStatus::Clean => report.answer(&text, answered),
        Some(_) | None => status,
    }
}

/// The answer as text, and the status it gives.
fn report_answer(
    asked: &QueryArguments,
    resolved: &ResolvedPolicy<'_>,
    files: &SourceFiles,
    detail: DetailLevel,
    tracer: &ScriptTracer,
    report: &OutputStreams,
) -> Result<(BufferedOutput, ExitStatus), Diagnostic> {
    let question = asked.question()?;
    let evaluator = Evaluator::new(resolved);
    let mut router = FlowRouter::new(&evaluator, &tracer.options);
    let groups = explain::answer_on_nodes(
        &evaluator,
        &mut router,
        &question.cases(&evaluator, &tracer.options)?,
    );
    let traced = tracer.trace(resolved, &groups, detail)?;
    let answer = QueryReport {
        question: &question,
        groups: &groups,
        traced: &traced,
        resolved,
        files,
    };
    let text = BufferedOutput::capture(|out| match report.is_json() {
        true => eval::json(&answer, detail, out),
        false => eval::text(&answer, detail, out),
    });

    let status = match answer.verdict() {
        QueryVerdict::Allowed => ExitStatus::Clean,
        QueryVerdict::Denied | QueryVerdict::Mixed => ExitStatus::Differs,
    };
    Ok((text, status))
}

impl QueryArguments {
    fn question(&self) -> Result<Query, Diagnostic> {
        if self.source_port.is_some() && self.port.port.is_none() {
            let message = format!("{} has no ports, and `--source-port` names one", self.port);
            return Err(Diagnostic::new(Code::NoAnswer, message));
        }
        Ok(Query {
            from: self.from.clone(),
            to: self.to.clone(),
            traffic: self.port,
            source_port: self.source_port,
        })
    }
}
