//! Diagnostics: one [`Diagnostic`] type, a table of stable codes, a collector and two printers.
//!
//! In: problems, built next to the check that finds them. Out: the collected list, in file order,
//! printed once, for people ([`print::human`]) or machines ([`print::json`]). Absent: control flow.
//! A room pushes diagnostics; the caller checks [`Diagnostics::has_errors`].

mod code;
pub mod print;

pub use code::Code;

use crate::source::Span;

/// Severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The input is refused. Exit status 2.
    Error,
    /// Probably a mistake. The compile continues.
    Warning,
    /// Valid but questionable. `palisade check` exits with status 1.
    Lint,
    /// Information.
    Note,
}

impl Severity {
    /// The severity as printed before the code.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Lint => "lint",
            Severity::Note => "note",
        }
    }
}

/// One problem, with everything that a person needs to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code of this kind of problem.
    pub code: Code,
    /// What is wrong: lower case, no full stop, back-ticks around the user's text.
    pub message: String,
    /// Source locations. The first is the primary one.
    pub labels: Vec<Label>,
    /// How to fix it.
    pub help: Option<String>,
}

/// A source location with a remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The location.
    pub span: Span,
    /// The remark under the caret; may be empty.
    pub message: String,
}

/// The diagnostics of one run, in the order in which they were found.
///
/// A file that is not a manifest can hold millions of mistakes. Beyond [`MOST`], diagnostics are
/// only counted, and reading stops.
#[derive(Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    errors: usize,
    lints: usize,
}

/// Maximum number of errors that are stored, and separately of all other diagnostics.
pub const MOST: usize = 1_000;

impl Diagnostic {
    /// Creates a diagnostic without a location.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            labels: Vec::new(),
            help: None,
        }
    }

    /// Creates a diagnostic at a location.
    pub fn at(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, message).label(span, "")
    }

    /// Adds a location with a remark.
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

    /// Adds advice if there is any.
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
    /// Adds a diagnostic.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        // Errors and other diagnostics have separate limits, so that a flood of warnings cannot
        // hide the errors.
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

    /// Removes the stored diagnostics with a code at a location, because a more specific one
    /// replaces them.
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

    /// Whether any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Number of errors so far, stored or only counted.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// Number of lint findings so far, stored or only counted.
    pub fn lint_count(&self) -> usize {
        self.lints
    }

    /// Changes the code of all stored diagnostics that have the code `from`.
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

    /// All stored diagnostics. Those without a location come first, the rest are ordered by file
    /// and position. Equal diagnostics appear once.
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

/// Returns the known name that is most similar to `written`, or `None` if no name is similar
/// enough. At most a third of the letters may differ (optimal string alignment: insert, delete,
/// change, or swap two neighbours). Letter case is ignored.
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

/// Edit distance of two words. Dynamic programming over three rows.
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
