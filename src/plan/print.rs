//! Plans and differences in words.

use std::fmt;

use crate::plan::{Difference, HookProblem, Plan, Step, Weight};

/// What differs, and each step with its calls and what they read, indented. A call is one that can be typed.
impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.differences.is_empty() {
            writeln!(out, "in sync")?;
        }
        self.differences.iter().try_for_each(|difference| writeln!(out, "{difference}"))?;
        (1..).zip(&self.steps).try_for_each(|(number, step)| write!(out, "step {number}: {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Must => "",
            Weight::BestEffort => " (tried again later where it fails)",
        };
        writeln!(out, "{}{weight}", self.about)?;
        self.calls.iter().try_for_each(|call| {
            writeln!(out, "  {call}")?;
            call.input.lines().try_for_each(|line| writeln!(out, "    {line}"))
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::NoSet(set) => write!(out, "set {set}: missing"),
            Difference::SetKind(set) => write!(out, "set {set}: of another type, or too small"),
            Difference::SetUnlisted(set) => write!(out, "set {set}: ipset cannot list it"),
            Difference::SetSplit(set) => write!(out, "set {set}: rules look into a copy that is not the one to stay"),
            Difference::Members { set, missing, extra } => {
                write!(out, "set {set}:")?;
                members(out, "missing", missing)?;
                out.write_str(if missing.1 > 0 && extra.1 > 0 { ";" } else { "" })?;
                members(out, "too many", extra)
            }
            Difference::ExtraSet(set) => write!(out, "set {set}: nobody wants it"),
            Difference::NoChain(table, chain) => write!(out, "{table}, chain {chain}: missing"),
            Difference::ExtraChain(table, chain) => write!(out, "{table}, chain {chain}: nobody wants it"),
            Difference::Rule { table, chain, number, wanted, found } => {
                let [wanted, found] = [wanted, found].map(|rule| rule.as_deref().unwrap_or("no rule"));
                write!(out, "{table}, chain {chain}, rule {number}:\n  expected: {wanted}\n  actual:   {found}")
            }
            Difference::Hook { table, chain, problem } => write!(out, "{table}, jump from {chain}: {problem}"),
        }
    }
}

impl fmt::Display for HookProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookProblem::Missing => out.write_str("missing"),
            HookProblem::Moved(number) => write!(out, "it is rule {number}, which is not its place"),
            HookProblem::Changed => out.write_str("it is another rule than ours"),
            HookProblem::Repeated(count) => write!(out, "it is there {count} times"),
            HookProblem::Extra => out.write_str("nobody wants it"),
        }
    }
}

/// ` 7 members missing: 10.0.0.1, 10.0.0.2, …`; nothing where there are none.
fn members(out: &mut fmt::Formatter<'_>, what: &str, (named, count): &(Vec<String>, usize)) -> fmt::Result {
    if *count == 0 {
        return Ok(());
    }
    let plural = if *count == 1 { "" } else { "s" };
    let more = if *count > named.len() { ", …" } else { "" };
    write!(out, " {count} member{plural} {what}: {}{more}", named.join(", "))
}
