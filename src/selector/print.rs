//! Selectors as text, in Calico's canonical form.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
};

use crate::selector::{Expr, LabelTest};

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

fn write_test(name: &str, test: &LabelTest, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match test {
        LabelTest::Present => write!(out, "has({name})"),
        LabelTest::Equals(value) => write!(out, "{name} == {}", QuotedValue(value)),
        LabelTest::NotEquals(value) => write!(out, "{name} != {}", QuotedValue(value)),
        LabelTest::In(values) => write!(out, "{name} in {}", BracedSet(values)),
        LabelTest::NotIn(values) => write!(out, "{name} not in {}", BracedSet(values)),
        LabelTest::Contains(part) => write!(out, "{name} contains {}", QuotedValue(part)),
        LabelTest::StartsWith(start) => write!(out, "{name} starts with {}", QuotedValue(start)),
        LabelTest::EndsWith(end) => write!(out, "{name} ends with {}", QuotedValue(end)),
    }
}

/// A value in the quotes it can stand in.
struct QuotedValue<'value>(&'value str);

impl Display for QuotedValue<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(out, "{quote}{}{quote}", self.0)
    }
}

/// A set in braces.
struct BracedSet<'values>(&'values BTreeSet<String>);

impl Display for BracedSet<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (index, value) in self.0.iter().enumerate() {
            out.write_str(if index == 0 { "" } else { ", " })?;
            QuotedValue(value).fmt(out)?;
        }
        out.write_str("}")
    }
}
