//! What Palisade tells people: one [`Diagnostic`] type, a table of stable codes, a collector, two
//! printers.
//!
//! In: problems, built next to the check that finds them. Out: the collected list, in file order,
//! printed once, for people ([`print::human`]) or machines ([`print::json`]). Absent: deciding
//! anything; a room pushes, the caller asks [`Diagnostics::has_errors`].

mod code;
pub mod print;

pub use code::Code;

use crate::source::Span;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The input is refused: exit status 2.
    Error,
    /// Probably not what was meant; the compile goes on.
    Warning,
    /// Valid, and questionable: exit status 1 of `palisade check`.
    Lint,
    /// Something to know.
    Note,
}

impl Severity {
    /// The word before the code.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Lint => "lint",
            Severity::Note => "note",
        }
    }
}

/// One problem, with everything a person needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable name of the kind of problem.
    pub code: Code,
    /// What is wrong: lower case, no full stop, back-ticks round the user's text.
    pub message: String,
    /// Places; the first is the main one.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

/// A place and what is to be said there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The remark under the caret; may be empty.
    pub message: String,
}

/// The diagnostics of one run, in the order they were found. A file of another sort can hold
/// millions of mistakes, and nobody reads that many: beyond [`MOST`] they are only counted, and
/// reading ends.
#[derive(Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    errors: usize,
    lints: usize,
}

/// Errors, and as many of the rest, that are kept to be shown.
pub const MOST: usize = 1_000;

impl Diagnostic {
    /// A diagnostic without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            labels: Vec::new(),
            help: None,
        }
    }

    /// A diagnostic at a place.
    pub fn at(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, message).label(span, "")
    }

    /// Adds a place with a remark.
    #[must_use]
    pub fn label(mut self, span: Span, message: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            message: message.into(),
        });
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds advice where there is some.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// The severity of the code.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

impl Diagnostics {
    /// Takes a diagnostic in.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let others = self.found.len() - self.errors.min(MOST);
        let room = match diagnostic.severity() {
            Severity::Error => {
                self.errors += 1;
                self.errors <= MOST
            }
            Severity::Lint => {
                self.lints += 1;
                others < MOST
            }
            Severity::Warning | Severity::Note => others < MOST,
        };

        if room {
            self.found.push(diagnostic);
        }
    }

    /// Takes back what is kept under a code at a place, for something that says it better.
    pub fn withdraw(&mut self, code: Code, place: Span) {
        let is_it = |diagnostic: &Diagnostic| {
            diagnostic.code == code
                && diagnostic
                    .labels
                    .first()
                    .is_some_and(|label| label.span == place)
        };
        self.found.retain(|diagnostic| !is_it(diagnostic));
    }

    /// Whether anything found refuses the input.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors were found so far, shown or not.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// How many findings of lints there are, shown or not.
    pub fn lint_count(&self) -> usize {
        self.lints
    }

    /// Tells what is kept under one code under another.
    pub fn recode(&mut self, from: Code, to: Code) {
        let (changed, kept) = std::mem::take(&mut self.found)
            .into_iter()
            .partition(|diagnostic| diagnostic.code == from);
        self.found = kept;

        let changed: Vec<Diagnostic> = changed;
        changed.into_iter().for_each(|diagnostic| {
            self.push(Diagnostic {
                code: to,
                ..diagnostic
            })
        });
    }

    /// All diagnostics that are kept: those without a place first, then by file and place; equal
    /// ones once.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.found.iter().collect();
        sorted.sort_by_key(|diagnostic| {
            let place = diagnostic.labels.first().map(|label| label.span);
            (
                place,
                diagnostic.severity(),
                diagnostic.code,
                &diagnostic.message,
            )
        });
        sorted.dedup();

        sorted
    }
}

/// The known name nearest to what was written, when it is near enough to be what was meant: at most
/// a third of the letters differ (optimal string alignment: insert, drop, change, or swap two
/// neighbours), letter case aside.
pub fn nearest<'name>(
    written: &str,
    known: impl IntoIterator<Item = &'name str>,
) -> Option<&'name str> {
    let written = written.to_lowercase();
    let limit = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (edit_distance(&written, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Edits between two words, by three rows of the usual table.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;

    for (row, letter) in left.chars().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let at =
                |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (at(&above, column + 1) + 1)
                .min(at(&line, column) + 1)
                .min(at(&above, column) + usize::from(letter != *other));
            let swapped =
                column > 0 && previous == Some(*other) && right.get(column - 1) == Some(&letter);
            if swapped {
                cost = cost.min(at(&before, column - 1) + 1);
            }
            line.push(cost);
        }
        previous = Some(letter);
        before = std::mem::replace(&mut above, line);
    }

    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
