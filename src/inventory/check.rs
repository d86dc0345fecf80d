//! Checks that every kind of object shares.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::manifests;
use crate::name::Form;
use crate::text::Span;

/// The object that is being checked, for messages.
pub(super) struct Check<'found> {
    kind: &'static str,
    name: String,
    span: Span,
    found: &'found mut Diagnostics,
}

impl<'found> Check<'found> {
    pub(super) fn of(kind: &'static str, metadata: &manifests::Metadata, span: Span, found: &'found mut Diagnostics) -> Self {
        let name = metadata.name.clone().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty() && !name.is_empty());
        let name = namespace.map(|namespace| format!("{namespace}/{name}")).unwrap_or(name);
        Self { kind, name, span, found }
    }

    pub(super) fn refuse(&mut self, code: Code, message: &str) {
        let problem = self.problem(code, message);
        self.found.push(problem);
    }

    fn problem(&self, code: Code, message: &str) -> Diagnostic {
        let subject = if self.name.is_empty() { self.kind.to_owned() } else { format!("{} `{}`", self.kind, self.name) };
        Diagnostic::at(code, self.span, format!("{message} (in the {subject})"))
    }

    /// Whether a text has a form; `what` names the thing, as in `label key`.
    pub(super) fn form(&mut self, form: Form, text: &str, code: Code, what: &str) -> bool {
        let fits = form.fits(text);
        if !fits {
            let problem = self.problem(code, &format!("`{}` is no valid {what}", text.escape_debug()));
            self.found.push(problem.help(format!("a {what} is {}", form.description())));
        }
        fits
    }

    /// The object's own name.
    pub(super) fn own_name<'metadata>(&mut self, metadata: &'metadata manifests::Metadata, form: Form) -> Option<&'metadata str> {
        let name = metadata.name.as_deref().filter(|name| !name.is_empty());
        if name.is_none() {
            self.refuse(Code::MissingField, "`metadata.name` is missing");
        }
        self.name(self.kind, name?, form)?;
        name
    }

    /// Whether a name has the shape that it must have.
    pub(super) fn name(&mut self, kind: &str, name: &str, form: Form) -> Option<()> {
        self.form(form, name, Code::InvalidName, &format!("{kind} name")).then_some(())
    }

    /// Labels, every one of them checked.
    pub(super) fn labels(&mut self, labels: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
        let mut all_allowed = true;
        for (key, value) in &labels {
            all_allowed &= self.label(key, value);
        }
        all_allowed.then_some(labels)
    }

    fn label(&mut self, key: &str, value: &str) -> bool {
        let key_allowed = self.form(Form::LabelKey, key, Code::InvalidLabel, "label key");
        self.form(Form::LabelValue, value, Code::InvalidLabel, "label value") && key_allowed
    }
}
