//! Prints plans and differences.

use std::fmt;

use crate::output::{BufferedOutput, OutputSink, TerminalWriter};
use crate::plan::{HookProblem, KernelDifference, Plan, PlanStep, StepWeight};

impl Plan {
    /// Prints the differences, then each step with its calls and their input, indented. Each call
    /// is a command that an operator can type.
    pub fn text(&self, out: &mut OutputSink<'_>) {
        let mut out = TerminalWriter::on(out);
        if self.differences.is_empty() {
            out.literal("in sync\n");
        }

        self.differences
            .iter()
            .flat_map(KernelDifference::lines)
            .for_each(|line| out.line(line));

        for (number, step) in (1..).zip(&self.steps) {
            out.text(format_args!("step {number}: "));
            step.text(&mut out);
        }
    }
}

impl fmt::Display for Plan {
    /// Formats like [`Plan::text`].
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(BufferedOutput::capture(|out| self.text(out)).as_str())
    }
}

impl PlanStep {
    fn text(&self, out: &mut TerminalWriter<'_, '_>) {
        let weight = match self.weight {
            StepWeight::Must => "",
            StepWeight::BestEffort => " (tried again later where it fails)",
        };
        out.line(format_args!("{}{weight}", self.about));

        for call in &self.calls {
            out.indented(1, call);
            call.input
                .split_terminator('\n')
                .for_each(|line| out.indented(2, line));
        }
    }
}

impl KernelDifference {
    /// Returns the difference, line by line.
    pub fn lines(&self) -> Vec<String> {
        let KernelDifference::Rule {
            table,
            chain,
            number,
            wanted,
            found,
        } = self
        else {
            return vec![self.to_string()];
        };

        let [wanted, found] = [wanted, found].map(|rule| rule.as_deref().unwrap_or("no rule"));
        let rule = format!("{table}, chain {chain}, rule {number}:");
        vec![
            rule,
            format!("  expected: {wanted}"),
            format!("  actual:   {found}"),
        ]
    }
}

impl fmt::Display for KernelDifference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelDifference::NoSet(set) => write!(out, "set {set}: missing"),
            KernelDifference::SetKind(set) => {
                write!(out, "set {set}: of another type, or too small")
            }
            KernelDifference::SetUnlisted(set) => write!(out, "set {set}: ipset cannot list it"),
            KernelDifference::SetSplit(set) => write!(
                out,
                "set {set}: rules look into a copy that is not the one to stay"
            ),
            KernelDifference::Members {
                set,
                missing,
                extra,
            } => {
                write!(out, "set {set}:")?;
                members(out, "missing", missing)?;
                out.write_str(if missing.1 > 0 && extra.1 > 0 {
                    ";"
                } else {
                    ""
                })?;
                members(out, "too many", extra)
            }
            KernelDifference::ExtraSet(set) => write!(out, "set {set}: nobody wants it"),
            KernelDifference::NoChain(table, chain) => {
                write!(out, "{table}, chain {chain}: missing")
            }
            KernelDifference::ExtraChain(table, chain) => {
                write!(out, "{table}, chain {chain}: nobody wants it")
            }
            KernelDifference::Rule { .. } => out.write_str(&self.lines().join("\n")),
            KernelDifference::Hook {
                table,
                chain,
                problem,
            } => write!(out, "{table}, jump from {chain}: {problem}"),
        }
    }
}

impl fmt::Display for HookProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookProblem::Missing => out.write_str("missing"),
            HookProblem::Moved(number) => {
                write!(out, "it is rule {number}, which is not its place")
            }
            HookProblem::Changed => out.write_str("it is another rule than ours"),
            HookProblem::Repeated(count) => write!(out, "it is there {count} times"),
            HookProblem::Extra => out.write_str("nobody wants it"),
        }
    }
}

/// Writes ` 7 members missing: 10.0.0.1, 10.0.0.2, …`, or nothing if the count is 0.
fn members(
    out: &mut fmt::Formatter<'_>,
    what: &str,
    (named, count): &(Vec<String>, usize),
) -> fmt::Result {
    if *count == 0 {
        return Ok(());
    }
    let plural = if *count == 1 { "" } else { "s" };
    let more = if *count > named.len() { ", …" } else { "" };
    write!(
        out,
        " {count} member{plural} {what}: {}{more}",
        named.join(", ")
    )
}
