//! Handlebars templates: the layout of the scripts.

use handlebars::{Handlebars, RenderError, RenderErrorReason, no_escape};
use serde::Serialize;

use crate::diagnostic::{Code, Diagnostic};
use crate::lower::{PREFIX, TableKind};
use crate::net::Family;

/// A built-in template: its file name and text.
#[derive(Debug, Clone, Copy)]
pub struct TemplateSource {
    /// Name of the file in the user's template directory that replaces it.
    pub file: &'static str,
    /// The text.
    pub text: &'static str,
}

/// The built-in templates.
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

/// Fields that the template of the sets may use.
#[derive(Serialize)]
struct SetsView {
    prefix: &'static str,
    sets: &'static str,
}

/// Fields that the templates of the tables may use.
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

/// Placeholders for the lines that typed code writes. Template text cannot contain them by chance,
/// and no text from manifests gets here.
const MARKS: [&str; 3] = ["\u{1}1\u{1}\n", "\u{1}2\u{1}\n", "\u{1}3\u{1}\n"];

impl TemplateSet {
    /// Parses the templates. `replaced` holds file names and texts that replace built-in templates.
    ///
    /// # Errors
    /// Returns an error if a template does not parse, or if a file name is not one of
    /// [`TEMPLATES`].
    pub fn new(replaced: &[(String, String)]) -> Result<Self, Diagnostic> {
        let mut registry = Handlebars::new();
        // Strict mode reports unknown variables instead of rendering them as empty text.
        registry.set_strict_mode(true);
        // The default escapes HTML, which would corrupt scripts.
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
            // The renderer recurses without a limit, so a partial that includes itself would
            // overflow the stack.
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

    /// Renders every template once with empty slots, so that a wrong template is found before any
    /// output.
    fn check(&self) -> Result<(), Diagnostic> {
        self.sets("")?;
        let nothing = || [String::new(), String::new(), String::new()];
        self.table(TableKind::Raw, Family::V4, &nothing())?;
        self.table(TableKind::Filter, Family::V4, &nothing())
            .map(drop)
    }

    /// Renders the script of the sets.
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

    /// Renders the script of a table from its declarations, rules and hooks.
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

    /// Renders a template and replaces each placeholder with its part. Each placeholder must occur
    /// exactly once. `lines` must occur in the given order: if chains were declared after their
    /// rules, the table would load empty; the same holds for a table without its end.
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
        // A placeholder ends with a newline, and so does its line in the template. Keep one of
        // them.
        text = text.replace("\u{1}\n\n", "\u{1}\n");

        let found: Vec<&str> = text
            .split_inclusive('\n')
            .filter(|line| lines.contains(line))
            .collect();
        // Each placeholder contains the mark character twice.
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

/// The diagnostic for a template that does not render.
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
