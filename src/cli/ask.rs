//! What `palisade eval` and `palisade explain` have in common: a question, read, answered and
//! printed.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::config::{self, Choices};
use crate::cli::report::Report;
use crate::cli::trace::Tracer;
use crate::cli::{Status, input};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::explain;
use crate::explain::query::{Question, Traffic};
use crate::inventory::Edit;
use crate::output::Printed;
use crate::packet::endpoint_pattern::Subject;
use crate::report::eval::{self, Answer, Detail, Verdict};
use crate::resolve::{self, Resolved};
use crate::semantics::evaluate::Evaluator;
use crate::semantics::path::Router;
use crate::source::Files;

/// A question about a connection.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Files, directories (*.yaml, *.yml, *.json below them), or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Who connects: NAMESPACE/POD, NAMESPACE/KIND/NAME (a Deployment, or all pods of a
    /// ReplicaSet), NAMESPACE/sa:NAME (all that run as a service account), an address or a CIDR
    #[arg(long, value_name = "WHO")]
    from: Subject,
    /// Whom it connects to, written alike
    #[arg(long, value_name = "WHO")]
    to: Subject,
    /// By what: tcp/443, udp/53, sctp/36412, icmp (an echo request), icmp/TYPE, icmp/TYPE/CODE,
    /// icmpv6/…, or a protocol's number, as proto/47
    #[arg(long, value_name = "WHAT")]
    port: Traffic,
    /// The port it connects from [default: 49152]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    source_port: Option<u16>,
    /// Answer as if this label were set: sa:NAMESPACE/NAME:KEY=VALUE, pod:NAMESPACE/NAME:KEY=VALUE,
    /// ns:NAME:KEY=VALUE; KEY- in place of KEY=VALUE removes one (may be repeated)
    #[arg(long = "set-label", value_name = "LABEL")]
    labels: Vec<Edit>,
    /// Answer as if staged policies were in force
    #[arg(long)]
    staged: bool,
    #[command(flatten)]
    choices: Choices,
}

/// Reads, answers and prints.
pub(super) fn run(
    asked: &Asked,
    (config, detail): (Option<&Path>, Detail),
    report: &mut Report,
) -> Status {
    let tracer = match config::load(&asked.choices, config) {
        Ok((options, templates)) => Tracer { options, templates },
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
        false => tell(asked, (&resolved, &files), (detail, &tracer), report)
            .map_err(|diagnostic| found.push(diagnostic))
            .ok(),
    };
    let status = report.diagnostics(&found, &files);
    match told {
        Some((text, answered)) if status == Status::Clean => report.answer(&text, answered),
        Some(_) | None => status,
    }
}

/// The answer as text, and the status it gives.
fn tell(
    asked: &Asked,
    (resolved, files): (&Resolved<'_>, &Files),
    (detail, tracer): (Detail, &Tracer),
    report: &Report,
) -> Result<(Printed, Status), Diagnostic> {
    let question = asked.question()?;
    let evaluator = Evaluator::of(resolved);
    let mut router = Router::of(&evaluator, &tracer.options);
    let groups = explain::answer_on_nodes(
        &evaluator,
        &mut router,
        &question.cases(&evaluator, &tracer.options)?,
    );
    let traced = tracer.trace(resolved, &groups, detail)?;
    let answer = Answer {
        question: &question,
        groups: &groups,
        traced: &traced,
        resolved,
        files,
    };
    let text = Printed::of(|out| match report.is_json() {
        true => eval::json(&answer, detail, out),
        false => eval::text(&answer, detail, out),
    });
    let status = match answer.verdict() {
        Verdict::Allowed => Status::Clean,
        Verdict::Denied | Verdict::Mixed => Status::Differs,
    };
    Ok((text, status))
}

impl Asked {
    fn question(&self) -> Result<Question, Diagnostic> {
        if self.source_port.is_some() && self.port.port.is_none() {
            let message = format!("{} has no ports, and `--source-port` names one", self.port);
            return Err(Diagnostic::new(Code::NoAnswer, message));
        }
        Ok(Question {
            from: self.from.clone(),
            to: self.to.clone(),
            traffic: self.port,
            source_port: self.source_port,
        })
    }
}
