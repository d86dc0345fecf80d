//! Proofs about selectors that hold for all possible labels.

use std::collections::BTreeMap;

use crate::selector::{Expr, LabelTest};

/// Maximum number of steps in one proof. A selector that needs more stays unproven. Hand-written
/// selectors need a few dozen.
const BUDGET: usize = 4_000;

/// Whether it is proven that the selector matches no labels at all. Values may be any text. The
/// proof is exact for one label, and also for a whole selector, unless it exceeds the budget.
pub fn contradicts(expr: &Expr) -> bool {
    refutes(vec![(expr, true)])
}

/// Whether it is proven that `wide` matches everything that `narrow` matches.
pub fn implies(narrow: &Expr, wide: &Expr) -> bool {
    narrow == wide || *wide == Expr::All || refutes(vec![(narrow, true), (wide, false)])
}

/// A selector, and whether it must match or must not match.
type SelectorClaim<'expr> = (&'expr Expr, bool);

fn refutes(claims: Vec<SelectorClaim<'_>>) -> bool {
    let mut budget = BUDGET;
    NormalFormBranch {
        claims,
        ..NormalFormBranch::default()
    }
    .closes(&mut budget)
}

/// The assumptions on the path to one term of the disjunctive normal form.
#[derive(Clone, Default)]
struct NormalFormBranch<'expr> {
    /// Claims that are not decomposed yet.
    claims: Vec<SelectorClaim<'expr>>,
    /// Disjunctions of which one part must hold. Decomposed last.
    choices: Vec<(&'expr [Expr], bool)>,
    /// The tests of each label, each with its required result.
    labels: BTreeMap<&'expr str, Vec<(&'expr LabelTest, bool)>>,
}

impl<'expr> NormalFormBranch<'expr> {
    /// Whether it is proven within the budget that no labels satisfy the branch.
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
            // Copying the branch is the main cost of a step.
            *budget = budget.saturating_sub(cost);
            let mut branch = self.clone();
            branch.claims.push((part, holds));
            branch.closes(budget)
        })
    }

    /// Decomposes one claim. Returns `false` if it cannot hold.
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

/// Whether some value of a label, or its absence, gives every test its required result.
fn is_possible(asked: &[(&LabelTest, bool)]) -> bool {
    let fits = |value: Option<&str>| {
        asked
            .iter()
            .all(|(test, holds)| test.holds(value) == *holds)
    };
    if fits(None) {
        return true;
    }

    // One list of required values suffices: the value must be one of them.
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

/// Whether some text satisfies tests of which none lists values.
///
/// If any text does, then this one does: it starts with the longest required prefix, ends with the
/// longest required suffix, and contains every required part between them, each surrounded by a
/// letter that occurs in no test. Such a text equals no listed value, and its additional letters
/// make no test fail.
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
        // A list that must not contain the text never does. A list that must contain it would have
        // been searched.
        _ => true,
    })
}
