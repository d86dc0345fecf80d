//! Plans and differences in words.

use std::fmt;

use crate::output::{Printed, Sink, Terminal};
use crate::plan::{Difference, HookProblem, Plan, Step, Weight};

impl Plan {
    /// What differs, and each step with its calls and what they read, indented. A call is one that
    /// can be typed.
    pub fn text(&self, out: &mut Sink<'_>) {
        let mut out = Terminal::on(out);
        if self.differences.is_empty() {
            out.literal("in sync\n");
        }
        self.differences
            .iter()
            .flat_map(Difference::lines)
            .for_each(|line| out.line(line));
        for (number, step) in (1..).zip(&self.steps) {
            out.text(format_args!("step {number}: "));
            step.text(&mut out);
        }
    }
}

impl fmt::Display for Plan {
    /// As [`Plan::text`] prints it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(Printed::of(|out| self.text(out)).as_str())
    }
}

impl Step {
    fn text(&self, out: &mut Terminal<'_, '_>) {
        let weight = match self.weight {
            Weight::Must => "",
            Weight::BestEffort => " (tried again later where it fails)",
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

impl Difference {
    /// What differs, line by line.
    pub fn lines(&self) -> Vec<String> {
        let Difference::Rule {
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

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::NoSet(set) => write!(out, "set {set}: missing"),
            Difference::SetKind(set) => write!(out, "set {set}: of another type, or too small"),
            Difference::SetUnlisted(set) => write!(out, "set {set}: ipset cannot list it"),
            Difference::SetSplit(set) => write!(
                out,
                "set {set}: rules look into a copy that is not the one to stay"
            ),
            Difference::Members {
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
            Difference::ExtraSet(set) => write!(out, "set {set}: nobody wants it"),
            Difference::NoChain(table, chain) => write!(out, "{table}, chain {chain}: missing"),
            Difference::ExtraChain(table, chain) => {
                write!(out, "{table}, chain {chain}: nobody wants it")
            }
            Difference::Rule { .. } => out.write_str(&self.lines().join("\n")),
            Difference::Hook {
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

/// ` 7 members missing: 10.0.0.1, 10.0.0.2, …`; nothing where there are none.
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
