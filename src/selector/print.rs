//! Selectors as text, in Calico's canonical form.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
};

use crate::selector::{Expr, Test};

impl Display for Expr {
    /// Canonical form: one blank round operators; every `&&` and `||` group in parentheses, the
    /// outermost too; sets sorted; values in double quotes unless they hold one. Equal trees print
    /// equally, and a printed tree parses to itself.
    ///
    /// Two kinds of tree that no parser makes print as text that does not parse back: values that
    /// hold both kinds of quote (printed in single quotes, as Calico does), and names that are no
    /// labels. Never parse the print of such a tree.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::All => out.write_str("all()"),
            Expr::Global => out.write_str("global()"),
            Expr::Label { name, test } => write_test(name, test, out),
            Expr::Not(operand) => {
                out.write_str("!")?;
                operand.fmt(out)
            }
            Expr::And(parts) => write_group(parts, " && ", out),
            Expr::Or(parts) => write_group(parts, " || ", out),
        }
    }
}

fn write_group(parts: &[Expr], separator: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str("(")?;
    for (index, part) in parts.iter().enumerate() {
        out.write_str(if index == 0 { "" } else { separator })?;
        part.fmt(out)?;
    }
    out.write_str(")")
}

fn write_test(name: &str, test: &Test, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match test {
        Test::Present => write!(out, "has({name})"),
        Test::Equals(value) => write!(out, "{name} == {}", Quoted(value)),
        Test::NotEquals(value) => write!(out, "{name} != {}", Quoted(value)),
        Test::In(values) => write!(out, "{name} in {}", Braced(values)),
        Test::NotIn(values) => write!(out, "{name} not in {}", Braced(values)),
        Test::Contains(part) => write!(out, "{name} contains {}", Quoted(part)),
        Test::StartsWith(start) => write!(out, "{name} starts with {}", Quoted(start)),
        Test::EndsWith(end) => write!(out, "{name} ends with {}", Quoted(end)),
    }
}

/// A value in the quotes it can stand in.
struct Quoted<'value>(&'value str);

impl Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(out, "{quote}{}{quote}", self.0)
    }
}

/// A set in braces.
struct Braced<'values>(&'values BTreeSet<String>);

impl Display for Braced<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (index, value) in self.0.iter().enumerate() {
            out.write_str(if index == 0 { "" } else { ", " })?;
            Quoted(value).fmt(out)?;
        }
        out.write_str("}")
    }
}
