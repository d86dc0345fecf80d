//! Diagnostics as text for people and as JSON for machines.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::output::{JsonText, is_steering, visible};
use crate::source::{LineColumn, SourceFiles, Span};

/// Maximum number of bytes shown on either side of a label's start.
const LONGEST_EXCERPT: usize = 500;

/// Formats one diagnostic in the layout of rustc: message, file, line, caret, help. `colour`
/// enables ANSI styles.
///
/// Every part passes through [`visible`] before the renderer lays it out, because afterwards the
/// renderer's own line ends and styles could not be distinguished from those in the input.
pub fn human(diagnostic: &Diagnostic, files: &SourceFiles, colour: bool) -> String {
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Lint => Level::WARNING.with_name("lint"),
        Severity::Note => Level::NOTE,
    };
    let title = level
        .primary_title(visible(&diagnostic.message))
        .id(diagnostic.code.name());
    let excerpts: Vec<(SourceExcerpt<'_>, AnnotationKind, Cow<'_, str>)> =
        (diagnostic.labels.iter().enumerate())
            .map(|(index, label)| {
                let kind = if index == 0 {
                    AnnotationKind::Primary
                } else {
                    AnnotationKind::Context
                };
                (excerpt(files, label), kind, visible(&label.message))
            })
            .collect();
    let mut group = Group::with_title(title);

    for (excerpt, kind, message) in &excerpts {
        let label = (!message.is_empty()).then_some(&**message);
        let annotation = kind.span(excerpt.start..excerpt.end).label(label);
        let snippet = Snippet::source(&*excerpt.text)
            .line_start(excerpt.line)
            .path(&*excerpt.path)
            .annotation(annotation);
        group = group.element(snippet);
    }

    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(visible(help)));
    }

    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };

    renderer.render(&[group])
}

/// The line on which a label starts, made visible. Offsets count from its start.
struct SourceExcerpt<'file> {
    path: Cow<'file, str>,
    text: Cow<'file, str>,
    line: usize,
    start: usize,
    end: usize,
}

/// Extracts the line of a label, or the part near the label if the line is very long. Printing then
/// costs the length of the line, not of the file.
fn excerpt<'file>(files: &'file SourceFiles, label: &Label) -> SourceExcerpt<'file> {
    let file = files.get(label.span.file);
    let text = file.text.as_str();
    let boundary = |at: usize| text.floor_char_boundary(at.min(text.len()));
    let start = boundary(label.span.range().start);
    let floor = boundary(start.saturating_sub(LONGEST_EXCERPT));
    let ceiling = boundary(start + LONGEST_EXCERPT);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let line_start = part(floor, start)
        .rfind('\n')
        .map_or(floor, |newline| floor + newline + 1);
    let line_end = part(start, ceiling)
        .find(['\r', '\n'])
        .map_or(ceiling, |newline| start + newline);
    let end = boundary(label.span.range().end).clamp(start, line_end);
    let line = file.line(line_start);
    let shown = |to: usize| shown_source(part(line_start, to));
    let (text, start, end) = (shown(line_end), shown(start).len(), shown(end).len());

    SourceExcerpt {
        path: visible(&file.name),
        text,
        line,
        start,
        end,
    }
}

/// A source line in which visible characters replace control characters, one for one, so that
/// columns stay the same. The renderer turns tabs into spaces.
fn shown_source(text: &str) -> Cow<'_, str> {
    let steers = |letter: char| letter != '\t' && is_steering(letter);

    match text.contains(steers) {
        true => text
            .chars()
            .map(|letter| {
                if steers(letter) {
                    picture(letter)
                } else {
                    letter
                }
            })
            .collect(),
        false => Cow::Borrowed(text),
    }
}

/// The Unicode control picture of a control character, or the replacement character if there is
/// none.
fn picture(letter: char) -> char {
    const OF_NUL: u32 = 0x2400;
    const OF_DELETE: char = '\u{2421}';
    match letter {
        '\0'..=' ' => {
            char::from_u32(OF_NUL + u32::from(letter)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        '\u{7f}' => OF_DELETE,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Formats one diagnostic as a JSON object on one line: `{"code", "severity", "message", "help",
/// "labels": [{"file", "line", "column", "end_line", "end_column", "message"}]}`.
pub fn json(diagnostic: &Diagnostic, files: &SourceFiles) -> JsonText {
    let view = ReportLayout {
        code: diagnostic.code.name(),
        severity: diagnostic.severity().name(),
        message: &diagnostic.message,
        help: diagnostic.help.as_deref(),
        labels: diagnostic
            .labels
            .iter()
            .map(|label| label_view(files, label))
            .collect(),
    };
    JsonText::serialize(&view)
}

#[derive(Serialize)]
struct ReportLayout<'diagnostic> {
    code: &'static str,
    severity: &'static str,
    message: &'diagnostic str,
    help: Option<&'diagnostic str>,
    labels: Vec<LabelView<'diagnostic>>,
}

#[derive(Serialize)]
struct LabelView<'diagnostic> {
    file: &'diagnostic str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    message: &'diagnostic str,
}

fn label_view<'diagnostic>(
    files: &'diagnostic SourceFiles,
    label: &'diagnostic Label,
) -> LabelView<'diagnostic> {
    let LineColumn { line, column } = files.position(label.span);
    let end = files.position(Span {
        start: label.span.end,
        ..label.span
    });

    LabelView {
        file: &files.get(label.span.file).name,
        line,
        column,
        end_line: end.line,
        end_column: end.column,
        message: &label.message,
    }
}
