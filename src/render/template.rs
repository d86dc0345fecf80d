//! Handlebars templates: the layout of the scripts.

use handlebars::{Handlebars, RenderError, RenderErrorReason, no_escape};
use serde::Serialize;

use crate::diagnostic::{Code, Diagnostic};
use crate::lower::{PREFIX, TableKind};
use crate::net::Family;

/// A template's file name and its text in this binary.
#[derive(Debug, Clone, Copy)]
pub struct TemplateSource {
    /// Name of the file that replaces it, in the directory that the user gives.
    pub file: &'static str,
    /// The text.
    pub text: &'static str,
}

/// The templates in this binary.
pub const TEMPLATES: [TemplateSource; 3] = [
    TemplateSource {
        file: SETS,
        text: include_str!("../../templates/sets.ipset.hbs"),
    },
    TemplateSource {
        file: FILTER,
        text: include_str!("../../templates/filter.rules.hbs"),
    },
    TemplateSource {
        file: EARLY,
        text: include_str!("../../templates/early.rules.hbs"),
    },
];

const SETS: &str = "sets.ipset.hbs";
const FILTER: &str = "filter.rules.hbs";
const EARLY: &str = "early.rules.hbs";

/// Parsed templates.
#[derive(Debug)]
pub struct TemplateSet {
    registry: Handlebars<'static>,
}

/// What the sets' template may use.
#[derive(Serialize)]
struct SetsView {
    prefix: &'static str,
    sets: &'static str,
}

/// What the tables' templates may use.
#[derive(Serialize)]
struct TableView {
    prefix: &'static str,
    family: String,
    table: &'static str,
    command: &'static str,
    file: String,
    declarations: &'static str,
    rules: &'static str,
    hooks: &'static str,
}

/// Marks of the places where typed code's lines go; no template text can hold them by chance, and
/// no manifest text gets here.
const MARKS: [&str; 3] = ["\u{1}1\u{1}\n", "\u{1}2\u{1}\n", "\u{1}3\u{1}\n"];

impl TemplateSet {
    /// Parses templates; `replaced` holds file names and texts that stand in for those of this
    /// binary.
    ///
    /// # Errors
    /// When a template does not parse, or its name is not one of [`TEMPLATES`].
    pub fn new(replaced: &[(String, String)]) -> Result<Self, Diagnostic> {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(no_escape);
        if let Some((name, _)) = replaced
            .iter()
            .find(|(name, _)| TEMPLATES.iter().all(|template| template.file != name))
        {
            let known = TEMPLATES
                .map(|template| format!("`{}`", template.file))
                .join(" and ");
            return Err(Diagnostic::new(
                Code::InvalidTemplate,
                format!("there is no template `{name}`"),
            )
            .help(format!("templates are {known}")));
        }

        for template in TEMPLATES {
            let own = replaced
                .iter()
                .find(|(name, _)| name == template.file)
                .map(|(_, text)| text.as_str());
            let text = own.unwrap_or(template.text);
            if includes(text) {
                return Err(invalid(
                    template.file,
                    "partials and decorators are not read: one that includes itself has no end",
                ));
            }
            let registered = registry.register_template_string(template.file, text);
            registered.map_err(|error| invalid(template.file, &error.to_string()))?;
        }

        let templates = Self { registry };
        templates.check()?;
        Ok(templates)
    }

    /// Renders every template once with nothing in it, so that a wrong one is found before any
    /// output.
    fn check(&self) -> Result<(), Diagnostic> {
        self.sets("")?;
        let nothing = || [String::new(), String::new(), String::new()];
        self.table(TableKind::Raw, Family::V4, &nothing())?;
        self.table(TableKind::Filter, Family::V4, &nothing())
            .map(drop)
    }

    /// The script of the sets.
    pub(super) fn sets(&self, sets: &str) -> Result<String, Diagnostic> {
        let [first, ..] = MARKS;
        self.render(
            SETS,
            &SetsView {
                prefix: PREFIX,
                sets: first,
            },
            &[first],
            &[sets],
        )
    }

    /// The script of a table from its declarations, rules and hooks.
    pub(super) fn table(
        &self,
        kind: TableKind,
        family: Family,
        [declarations, rules, hooks]: &[String; 3],
    ) -> Result<String, Diagnostic> {
        let [first, second, third] = MARKS;
        let (command, ending) = match family {
            Family::V4 => ("iptables-restore", "v4.rules"),
            Family::V6 => ("ip6tables-restore", "v6.rules"),
        };
        let (family, table) = (family.to_string(), kind.label());
        let file = format!("{table}.{ending}");
        let view = TableView {
            prefix: PREFIX,
            family,
            table,
            command,
            file,
            declarations: first,
            rules: second,
            hooks: third,
        };

        let (template, head) = match kind {
            TableKind::Filter => (FILTER, "*filter\n"),
            TableKind::Raw => (EARLY, "*raw\n"),
            TableKind::Mangle => (EARLY, "*mangle\n"),
        };

        self.render(
            template,
            &view,
            &[head, first, second, third, "COMMIT\n"],
            &[declarations, rules, hooks],
        )
    }

    /// Renders a template and puts the parts in the places of their marks, each of which must be
    /// there once. `lines` are to stand in it in this order: a table whose chains are declared
    /// behind their rules would be loaded empty, and so would one without its end.
    fn render(
        &self,
        file: &str,
        view: &impl Serialize,
        lines: &[&str],
        parts: &[&str],
    ) -> Result<String, Diagnostic> {
        let mut text = self
            .registry
            .render(file, view)
            .map_err(|error| not_rendered(file, &error))?;
        text = text.replace("\u{1}\n\n", "\u{1}\n");

        let found: Vec<&str> = text
            .split_inclusive('\n')
            .filter(|line| lines.contains(line))
            .collect();
        if found != lines || text.matches('\u{1}').count() != 2 * parts.len() {
            let message = "every part of the script must stand in it once, on a line of its own, \
                           in the order of the built-in template";
            return Err(invalid(file, message));
        }

        for (mark, part) in MARKS.iter().zip(parts) {
            text = text.replacen(mark, part, 1);
        }

        Ok(text)
    }
}

/// Whether a template has partials (`{{>`, `{{#>`) or decorators (`{{*`, `{{#*`).
fn includes(text: &str) -> bool {
    let tags = text
        .split("{{")
        .skip(1)
        .map(|tag| tag.trim_start_matches(['{', '~', '#', ' ', '\t', '\r', '\n']));
    tags.into_iter().any(|tag| tag.starts_with(['>', '*']))
}

/// Why a template does not render.
fn not_rendered(file: &str, error: &RenderError) -> Diagnostic {
    let line = error
        .line_no
        .map(|line| format!(" (line {line})"))
        .unwrap_or_default();
    if let RenderErrorReason::MissingVariable(Some(name)) = error.reason() {
        return invalid(file, &format!("there is no variable `{name}`{line}"));
    }
    invalid(file, &format!("{}{line}", error.reason()))
}

fn invalid(file: &str, what: &str) -> Diagnostic {
    Diagnostic::new(
        Code::InvalidTemplate,
        format!("template `{file}` cannot be used: {what}"),
    )
    .help("see templates/README.md for what a template must hold")
}
