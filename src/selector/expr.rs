//! The syntax tree of a selector: construction, evaluation, rewriting.

use std::collections::{BTreeMap, BTreeSet};

/// A selector. [`parse`](crate::selector::parse) and the constructors below guarantee two
/// invariants: the operand of a negation is never a negation, and a group has at least two parts.
/// Code that builds trees directly should keep them too.
///
/// The first invariant is the only difference from Calico's canonical form: `!(!has(a))` is
/// `has(a)` here, while Calico prints `!!has(a)` and parses that as `has(a)`. The verdicts are the
/// same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// `all()`: matches everything.
    All,
    /// `global()`: matches everything too. The field that contains it may replace it by something
    /// else.
    Global,
    /// A test of one label.
    Label {
        /// The label's name.
        name: String,
        /// The test.
        test: LabelTest,
    },
    /// `!operand`
    Not(Box<Expr>),
    /// `a && b && …`
    And(Vec<Expr>),
    /// `a || b || …`
    Or(Vec<Expr>),
}

/// A test of one label. Values are compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabelTest {
    /// `has(name)`: the label exists, whatever its value.
    Present,
    /// `name == "value"`
    Equals(String),
    /// `name != "value"`: also when the label is missing.
    NotEquals(String),
    /// `name in {"one", "two"}`
    In(BTreeSet<String>),
    /// `name not in {"one", "two"}`: also when the label is missing.
    NotIn(BTreeSet<String>),
    /// `name contains "part"`
    Contains(String),
    /// `name starts with "start"`
    StartsWith(String),
    /// `name ends with "end"`
    EndsWith(String),
}

/// Labels of an object, which selectors are evaluated on.
pub trait Labels {
    /// The value of a label, or `None` if the object does not have it.
    fn get(&self, name: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

impl LabelTest {
    /// Whether the test passes for a value, or for a missing label.
    pub fn holds(&self, value: Option<&str>) -> bool {
        match self {
            LabelTest::Present => value.is_some(),
            LabelTest::Equals(wanted) => value == Some(wanted),
            LabelTest::NotEquals(unwanted) => value != Some(unwanted),
            LabelTest::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            LabelTest::NotIn(unwanted) => !value.is_some_and(|value| unwanted.contains(value)),
            LabelTest::Contains(part) => value.is_some_and(|value| value.contains(part)),
            LabelTest::StartsWith(start) => value.is_some_and(|value| value.starts_with(start)),
            LabelTest::EndsWith(end) => value.is_some_and(|value| value.ends_with(end)),
        }
    }
}

impl Expr {
    /// A test of one label. The name is not checked.
    pub fn label(name: impl Into<String>, test: LabelTest) -> Expr {
        Expr::Label {
            name: name.into(),
            test,
        }
    }

    /// The conjunction of the parts. One part is returned as it is, no parts give [`Expr::All`].
    /// Groups among the parts stay groups.
    pub fn and(parts: Vec<Expr>) -> Expr {
        group(parts, Expr::And, || Expr::All)
    }

    /// The disjunction of the parts. One part is returned as it is, no parts match nothing
    /// (`!all()`). Groups among the parts stay groups.
    pub fn or(parts: Vec<Expr>) -> Expr {
        group(parts, Expr::Or, || Expr::All.not())
    }

    /// The negation. The negation of a negation is its operand.
    #[expect(
        clippy::should_implement_trait,
        reason = "a builder beside `and` and `or`, to be called without importing a trait"
    )]
    pub fn not(self) -> Expr {
        match self {
            Expr::Not(operand) => *operand,
            Expr::All | Expr::Global | Expr::Label { .. } | Expr::And(_) | Expr::Or(_) => {
                Expr::Not(Box::new(self))
            }
        }
    }

    /// Whether the selector selects an object with these labels.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        match self {
            Expr::All | Expr::Global => true,
            Expr::Label { name, test } => test.holds(labels.get(name)),
            Expr::Not(operand) => !operand.matches(labels),
            Expr::And(parts) => parts.iter().all(|part| part.matches(labels)),
            Expr::Or(parts) => parts.iter().any(|part| part.matches(labels)),
        }
    }

    /// The same selector with a prefix before every label name.
    pub fn prefixed(mut self, prefix: &str) -> Expr {
        self.change_leaves(&|leaf| {
            if let Expr::Label { name, .. } = leaf {
                name.insert_str(0, prefix);
            }
        });
        self
    }

    /// Replaces every `all()` in the selector.
    pub fn replacing_all(self, with: &Expr) -> Expr {
        self.replacing(&Expr::All, with)
    }

    /// Replaces every `global()` in the selector.
    pub fn replacing_global(self, with: &Expr) -> Expr {
        self.replacing(&Expr::Global, with)
    }

    fn replacing(mut self, old: &Expr, new: &Expr) -> Expr {
        self.change_leaves(&|leaf| {
            if leaf == old {
                leaf.clone_from(new);
            }
        });
        self
    }

    /// Whether the selector contains `global()`.
    pub fn mentions_global(&self) -> bool {
        let mut found = false;
        self.for_each_leaf(&mut |leaf| found |= *leaf == Expr::Global);
        found
    }

    /// The names of all labels that it tests.
    pub fn label_names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.for_each_leaf(&mut |leaf| {
            if let Expr::Label { name, .. } = leaf {
                names.insert(name.as_str());
            }
        });
        names
    }

    /// Nesting depth of groups, which is the nesting of parentheses in the canonical form.
    pub(super) fn group_depth(&self) -> usize {
        match self {
            Expr::All | Expr::Global | Expr::Label { .. } => 0,
            Expr::Not(operand) => operand.group_depth(),
            Expr::And(parts) | Expr::Or(parts) => {
                1 + parts
                    .iter()
                    .map(Expr::group_depth)
                    .max()
                    .unwrap_or_default()
            }
        }
    }

    /// Applies a change to every leaf, and removes double negations that result.
    fn change_leaves(&mut self, change: &impl Fn(&mut Expr)) {
        match self {
            Expr::All | Expr::Global | Expr::Label { .. } => change(self),
            Expr::And(parts) | Expr::Or(parts) => {
                parts.iter_mut().for_each(|part| part.change_leaves(change))
            }
            Expr::Not(operand) => {
                operand.change_leaves(change);
                let operand = std::mem::replace(operand.as_mut(), Expr::All);
                *self = operand.not();
            }
        }
    }

    /// Visits the leaves, from left to right.
    pub fn for_each_leaf<'expr>(&'expr self, visit: &mut impl FnMut(&'expr Expr)) {
        match self {
            Expr::All | Expr::Global | Expr::Label { .. } => visit(self),
            Expr::Not(operand) => operand.for_each_leaf(visit),
            Expr::And(parts) | Expr::Or(parts) => {
                parts.iter().for_each(|part| part.for_each_leaf(visit))
            }
        }
    }
}

/// Joins several parts. One part is returned as it is; `none` makes the result for no parts.
fn group(mut parts: Vec<Expr>, join: impl Fn(Vec<Expr>) -> Expr, none: impl Fn() -> Expr) -> Expr {
    if parts.len() > 1 {
        join(parts)
    } else {
        parts.pop().unwrap_or_else(none)
    }
}
