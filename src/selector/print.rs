//! Selectors as text, in Calico's canonical form.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
};

use crate::selector::{Expr, LabelTest};

impl Display for Expr {
    /// Canonical form: one space around operators; every `&&` and `||` group in parentheses,
    /// including the outermost; sets sorted; values in double quotes unless they contain one. Equal
    /// trees print equally, and a printed tree parses to itself.
    ///
    /// Two kinds of tree, which the parser never produces, print as text that does not parse back:
    /// values that contain both kinds of quote (printed in single quotes, as in Calico), and names
    /// that are not valid labels. Never parse the output for such a tree.
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

/// A value, quoted with quotes that it does not contain.
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
