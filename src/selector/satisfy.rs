//! What can be proven of a selector without looking at anybody's labels.

use std::collections::BTreeMap;

use crate::selector::{Expr, LabelTest};

/// Steps of one proof. A selector that takes more is left unproven; those that people write take a
/// few dozen.
const BUDGET: usize = 4_000;

/// Whether it is proven that the selector matches nothing, whatever labels there are. Values may be
/// any text. For one label the proof is exact, and so it is for a whole selector, but for those
/// that outrun the budget.
pub fn contradicts(expr: &Expr) -> bool {
    refutes(vec![(expr, true)])
}

/// Whether it is proven that all that the first selector matches, the second matches too.
pub fn implies(narrow: &Expr, wide: &Expr) -> bool {
    narrow == wide || *wide == Expr::All || refutes(vec![(narrow, true), (wide, false)])
}

/// A selector and whether it must hold or must not.
type SelectorClaim<'expr> = (&'expr Expr, bool);

fn refutes(claims: Vec<SelectorClaim<'_>>) -> bool {
    let mut budget = BUDGET;
    NormalFormBranch {
        claims,
        ..NormalFormBranch::default()
    }
    .closes(&mut budget)
}

/// What is assumed on the way to one leaf of the disjunctive normal form.
#[derive(Clone, Default)]
struct NormalFormBranch<'expr> {
    /// Not taken apart yet.
    claims: Vec<SelectorClaim<'expr>>,
    /// Alternatives, one of each of which must hold; taken apart last.
    choices: Vec<(&'expr [Expr], bool)>,
    /// What is asked of every label.
    labels: BTreeMap<&'expr str, Vec<(&'expr LabelTest, bool)>>,
}

impl<'expr> NormalFormBranch<'expr> {
    /// Whether no labels fit, proven within the budget.
    fn closes(mut self, budget: &mut usize) -> bool {
        while let Some((expr, holds)) = self.claims.pop() {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            if !self.takes(expr, holds) {
                return true;
            }
        }

        let Some((parts, holds)) = self.choices.pop() else {
            return false;
        };

        let cost = self.choices.len() + self.labels.len();
        parts.iter().all(|part| {
            *budget = budget.saturating_sub(cost);
            let mut branch = self.clone();
            branch.claims.push((part, holds));
            branch.closes(budget)
        })
    }

    /// Takes one claim apart; false when it cannot hold.
    fn takes(&mut self, expr: &'expr Expr, holds: bool) -> bool {
        match (expr, holds) {
            (Expr::All | Expr::Global, holds) => return holds,
            (Expr::Not(operand), holds) => self.claims.push((operand, !holds)),
            (Expr::And(parts), true) | (Expr::Or(parts), false) => {
                self.claims.extend(parts.iter().map(|part| (part, holds)))
            }
            (Expr::Or(parts), true) | (Expr::And(parts), false) => {
                self.choices.push((parts, holds))
            }
            (Expr::Label { name, test }, holds) => {
                let asked = self.labels.entry(name).or_default();
                asked.push((test, holds));
                return is_possible(asked);
            }
        }

        true
    }
}

/// Whether a label can have a value, or be missing, so that every test has its answer.
fn is_possible(asked: &[(&LabelTest, bool)]) -> bool {
    let fits = |value: Option<&str>| {
        asked
            .iter()
            .all(|(test, holds)| test.holds(value) == *holds)
    };
    if fits(None) {
        return true;
    }

    let listed = asked.iter().find_map(|(test, holds)| match (test, holds) {
        (LabelTest::Equals(value), true) | (LabelTest::NotEquals(value), false) => {
            Some(vec![value.as_str()])
        }
        (LabelTest::In(values), true) | (LabelTest::NotIn(values), false) => {
            Some(values.iter().map(String::as_str).collect())
        }
        _ => None,
    });
    match listed {
        Some(values) => values.into_iter().any(|value| fits(Some(value))),
        None => fits_some_long_text(asked),
    }
}

/// Whether some text fits tests of which none lists values: if any does, then one that begins with
/// the longest start that is asked for, ends with the longest end, and has every part that is asked
/// for between them, with a letter around each that no test knows. Such a text equals no value of a
/// list, and what it holds beside the parts breaks no test.
fn fits_some_long_text(asked: &[(&LabelTest, bool)]) -> bool {
    let (mut start, mut end, mut parts) = ("", "", Vec::new());
    for (test, _) in asked.iter().filter(|(_, holds)| *holds) {
        match test {
            LabelTest::StartsWith(text) if text.len() > start.len() => start = text,
            LabelTest::EndsWith(text) if text.len() > end.len() => end = text,
            LabelTest::Contains(text) => parts.push(text.as_str()),
            LabelTest::StartsWith(_) | LabelTest::EndsWith(_) | LabelTest::Present => {}
            LabelTest::Equals(_)
            | LabelTest::NotEquals(_)
            | LabelTest::In(_)
            | LabelTest::NotIn(_) => {}
        }
    }

    asked.iter().all(|(test, holds)| match (test, holds) {
        (LabelTest::StartsWith(text), true) => start.starts_with(text.as_str()),
        (LabelTest::EndsWith(text), true) => end.ends_with(text.as_str()),
        (LabelTest::StartsWith(text), false) => !start.starts_with(text.as_str()),
        (LabelTest::EndsWith(text), false) => !end.ends_with(text.as_str()),
        (LabelTest::Contains(text), false) => ![start, end]
            .iter()
            .chain(&parts)
            .any(|part| part.contains(text.as_str())),
        (LabelTest::Present, holds) => *holds,
        // a list that must not have it never does, and one that must would have been searched
        _ => true,
    })
}
