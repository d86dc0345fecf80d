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
        Self { kind, name: metadata.name.clone().unwrap_or_default(), span, found }
    }

    pub(super) fn refuse(&mut self, code: Code, message: &str) {
        let subject = if self.name.is_empty() { self.kind.to_owned() } else { format!("{} `{}`", self.kind, self.name) };
        self.found.push(Diagnostic::at(code, self.span, format!("{message} (in the {subject})")));
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
        let fits = form.fits(name);
        if !fits {
            let message = format!("`{}` is no name of a {kind}, which is {}", name.escape_debug(), form.description());
            self.refuse(Code::InvalidName, &message);
        }
        fits.then_some(())
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
        let (key_allowed, value_allowed) = (Form::LabelKey.fits(key), Form::LabelValue.fits(value));
        if !key_allowed {
            self.refuse(
                Code::InvalidLabel,
                &format!("`{}` is no label key, which is {}", key.escape_debug(), Form::LabelKey.description()),
            );
        }
        if !value_allowed {
            self.refuse(
                Code::InvalidLabel,
                &format!("`{}` is no label value, which is {}", value.escape_debug(), Form::LabelValue.description()),
            );
        }
        key_allowed && value_allowed
    }
}
