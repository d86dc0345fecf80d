//! Checks whether a node has everything that Palisade needs.
//!
//! In: a [`Runner`]. Out: [`NodeFinding`]s in the order of the checks, each with advice. The node
//! is not changed: tests of the kernel run in a network namespace of their own, and a finding says
//! so if none can be created. Each row of `CHECKS` is a check.
//!
//! Cost: about thirty short processes.

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

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFinding {
    /// What was checked.
    pub what: String,
    /// The grade of the result.
    pub grade: FindingGrade,
    /// What was found.
    pub found: String,
    /// What to do. Empty if all is well.
    pub advice: String,
}

/// The grade of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingGrade {
    /// As it should be.
    Good,
    /// It works, or may not matter on this node, but the operator should know.
    Warning,
    /// Palisade does not work without it.
    Missing,
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// Findings in the order of the checks.
    pub findings: Vec<NodeFinding>,
}

/// A check. It may return several findings.
type NodeCheck = fn(&mut CheckContext<'_>) -> Vec<NodeFinding>;

/// All checks, in output order. A later check may rely on the result of an earlier one.
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

/// Runs all checks. `None` stands for the build behind the name `iptables`, as `apply --backend
/// auto` chooses it.
pub fn examine(runner: &mut dyn Runner, backend: Option<IptablesBackend>) -> Examination {
    let backend = backend
        .or_else(|| tools::build_of(runner, "iptables"))
        .unwrap_or(IptablesBackend::Nft);
    let mut node = CheckContext { runner, backend };
    Examination {
        findings: CHECKS.iter().flat_map(|check| check(&mut node)).collect(),
    }
}

/// Inputs of the checks.
struct CheckContext<'run> {
    runner: &'run mut dyn Runner,
    /// The iptables build that Palisade uses.
    backend: IptablesBackend,
}

impl CheckContext<'_> {
    /// Runs a call and returns its output, or the first line of its message if it fails.
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

    /// Reads a file below `/proc`. Returns `None` if it does not exist or cannot be read.
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
    /// Returns the grade as JSON prints it.
    pub fn label(self) -> &'static str {
        match self {
            FindingGrade::Good => "ok",
            FindingGrade::Warning => "warning",
            FindingGrade::Missing => "missing",
        }
    }
}

impl Examination {
    /// Returns whether nothing is missing.
    pub fn is_fit(&self) -> bool {
        self.count(FindingGrade::Missing) == 0
    }

    /// Prints one line of JSON: `{"fit", "findings": [{"what", "grade": "ok"|"warning"|"missing",
    /// "found", "advice"}]}`.
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

    /// Prints one line per finding, the advice below it, and the totals at the end.
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
