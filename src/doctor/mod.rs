//! What a node has and lacks of all that palisade needs.
//!
//! In: a [`Runner`]. Out: [`NodeFinding`]s, check by check, with what to do about each. Nothing of
//! the node is changed: what must be tried is tried in a network namespace of its own, and where
//! none can be made, that is said. A row of `CHECKS` is a check.
//!
//! Cost: some thirty short processes.

mod host;
mod kernel;
mod rights;
mod rules;
mod sources;
mod tools;

use serde_json::{Value, json};

use crate::observe::IptablesBackend;
use crate::output::{JsonWriter, OutputSink, TerminalWriter};
use crate::runner::{Retention, Runner, ToolCall};

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFinding {
    /// The thing.
    pub what: String,
    /// How it is.
    pub grade: FindingGrade,
    /// What is there.
    pub found: String,
    /// What to do about it; nothing where all is well.
    pub advice: String,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingGrade {
    /// As it should be.
    Good,
    /// It works, or may not concern this node; somebody should know.
    Warning,
    /// Without it palisade does not work here.
    Missing,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// In the order of the checks.
    pub findings: Vec<NodeFinding>,
}

/// Looks at something; it may find several things.
type NodeCheck = fn(&mut CheckContext<'_>) -> Vec<NodeFinding>;

/// All checks, in the order in which they are told. A later one may rest on what an earlier one saw
/// to be there.
const CHECKS: [NodeCheck; 15] = [
    tools::ipset,
    tools::build,
    tools::programs,
    rules::by_build,
    rules::dormant,
    kernel::sets,
    kernel::rules,
    rights::capabilities,
    rights::lock,
    rights::directories,
    host::forwarding,
    host::bridges,
    sources::sources,
    host::connections,
    host::firewalld,
];

/// Runs all checks. Without a build the one that `iptables` is counts, as for `apply --backend
/// auto`.
pub fn examine(runner: &mut dyn Runner, backend: Option<IptablesBackend>) -> Examination {
    let backend = backend
        .or_else(|| tools::build_of(runner, "iptables"))
        .unwrap_or(IptablesBackend::Nft);
    let mut node = CheckContext { runner, backend };
    Examination {
        findings: CHECKS.iter().flat_map(|check| check(&mut node)).collect(),
    }
}

/// What checks ask.
struct CheckContext<'run> {
    runner: &'run mut dyn Runner,
    /// The build of iptables that palisade is to work with.
    backend: IptablesBackend,
}

impl CheckContext<'_> {
    /// What a call prints; an error is what it said instead, on one line.
    fn ask(&mut self, call: &ToolCall) -> Result<String, String> {
        let answer = self
            .runner
            .run(call)
            .map_err(|failure| failure.to_string())?;

        match answer.status {
            Some(0) => Ok(answer.output),
            Some(_) | None => {
                let said = answer
                    .errors
                    .lines()
                    .chain(answer.output.lines())
                    .find(|line| !line.trim().is_empty());
                Err(said.map_or_else(|| format!("`{call}` failed"), |line| line.trim().to_owned()))
            }
        }
    }

    /// A file below `/proc`; none where it is not there or cannot be read.
    fn file(&mut self, path: &str) -> Option<String> {
        let content = self.runner.read(Retention::Kernel, path).ok()??;
        Some(String::from_utf8_lossy(&content).into_owned())
    }
}

impl NodeFinding {
    fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            grade: FindingGrade::Good,
            found: found.into(),
            advice: String::new(),
        }
    }

    fn warning(
        what: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            grade: FindingGrade::Warning,
            found: found.into(),
            advice: advice.into(),
        }
    }

    fn missing(
        what: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            grade: FindingGrade::Missing,
            found: found.into(),
            advice: advice.into(),
        }
    }
}

impl FindingGrade {
    /// In a word, as JSON has it.
    pub fn label(self) -> &'static str {
        match self {
            FindingGrade::Good => "ok",
            FindingGrade::Warning => "warning",
            FindingGrade::Missing => "missing",
        }
    }
}

impl Examination {
    /// Whether nothing is missing.
    pub fn is_fit(&self) -> bool {
        self.count(FindingGrade::Missing) == 0
    }

    /// For machines: `{"fit", "findings": [{"what", "grade": "ok"|"warning"|"missing", "found",
    /// "advice"}]}`, on one line.
    pub fn json(&self, out: &mut OutputSink<'_>) {
        let finding = |finding: &NodeFinding| {
            let NodeFinding {
                what,
                grade,
                found,
                advice,
            } = finding;
            json!({ "what": what, "grade": grade.label(), "found": found, "advice": advice })
        };

        let view = json!({ "fit": self.is_fit(), "findings": self.findings.iter().map(finding).collect::<Vec<Value>>() });
        JsonWriter::on(out).line(&view);
    }

    /// For people: a line a finding, what to do below it, and how much is missing at the end.
    pub fn text(&self, out: &mut OutputSink<'_>) {
        let mut out = TerminalWriter::on(out);
        let widths = self
            .findings
            .iter()
            .map(|finding| finding.what.chars().count());
        let width = widths.max().unwrap_or_default();

        for NodeFinding {
            what,
            grade,
            found,
            advice,
        } in &self.findings
        {
            out.line(format_args!("{:<8} {what:<width$}  {found}", grade.label()));
            if !advice.is_empty() {
                out.line(format_args!("{:<8} {:<width$}  to do: {advice}", "", ""));
            }
        }

        let (missing, warnings) = (
            self.count(FindingGrade::Missing),
            self.count(FindingGrade::Warning),
        );

        match missing {
            0 => out.line(format_args!("nothing is missing; warnings: {warnings}")),
            _ => out.line(format_args!("missing: {missing}; warnings: {warnings}")),
        }
    }

    fn count(&self, grade: FindingGrade) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.grade == grade)
            .count()
    }
}

#[cfg(test)]
mod tests;
