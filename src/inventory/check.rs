//! Checks that are common to all kinds of objects.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::TextSize;
use crate::inventory::manifests;
use crate::name::{LARGEST_ANNOTATIONS, NameForm};
use crate::source::Span;

/// The object that is being checked, for messages.
pub(super) struct MetadataCheck<'found> {
    kind: &'static str,
    name: String,
    span: Span,
    /// Whether its metadata, except the name, is valid.
    is_sound: bool,
    found: &'found mut Diagnostics,
}

impl<'found> MetadataCheck<'found> {
    /// Starts with the checks that an API server does for every object: labels, annotations and
    /// owners. Their text is printed, and some of it names endpoints, so every reader must run
    /// these checks.
    pub(super) fn new(
        kind: &'static str,
        metadata: &manifests::ObjectMetadata,
        span: Span,
        found: &'found mut Diagnostics,
    ) -> Self {
        let name = metadata.name.clone().unwrap_or_default();
        let namespace = metadata
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty() && !name.is_empty());
        let name = namespace
            .map(|namespace| format!("{namespace}/{name}"))
            .unwrap_or(name);

        let mut check = Self {
            kind,
            name,
            span,
            is_sound: true,
            found,
        };
        check.is_sound = check.metadata(metadata);

        check
    }

    pub(super) fn refuse(&mut self, code: Code, message: &str) {
        let problem = self.problem(code, message);
        self.found.push(problem);
    }

    fn problem(&self, code: Code, message: &str) -> Diagnostic {
        let subject = if self.name.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{} `{}`", self.kind, self.name)
        };
        Diagnostic::at(code, self.span, format!("{message} (in the {subject})"))
    }

    /// Checks whether a text has a form. `what` names the thing in the message, as in `label key`.
    pub(super) fn form(&mut self, form: NameForm, text: &str, code: Code, what: &str) -> bool {
        let fits = form.fits(text);
        if !fits {
            let problem = self.problem(
                code,
                &format!("`{}` is no valid {what}", text.escape_debug()),
            );
            self.found
                .push(problem.help(format!("a {what} is {}", form.description())));
        }
        fits
    }

    /// Checks and returns the object's own name.
    pub(super) fn own_name<'metadata>(
        &mut self,
        metadata: &'metadata manifests::ObjectMetadata,
        form: NameForm,
    ) -> Option<&'metadata str> {
        let name = metadata.name.as_deref().filter(|name| !name.is_empty());
        if name.is_none() {
            self.refuse(Code::MissingField, "`metadata.name` is missing");
        }
        self.name(self.kind, name?, form)?;
        name
    }

    /// Checks whether a name has the required form.
    pub(super) fn name(&mut self, kind: &str, name: &str, form: NameForm) -> Option<()> {
        self.form(form, name, Code::InvalidName, &format!("{kind} name"))
            .then_some(())
    }

    /// Returns the object's own labels if its metadata is valid.
    pub(super) fn own_labels(
        &self,
        labels: BTreeMap<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        self.is_sound.then_some(labels)
    }

    /// Returns the labels of the pods that the object creates, and checks their metadata.
    pub(super) fn template_labels(
        &mut self,
        metadata: manifests::ObjectMetadata,
    ) -> Option<BTreeMap<String, String>> {
        self.metadata(&metadata).then_some(metadata.labels)
    }

    fn metadata(&mut self, metadata: &manifests::ObjectMetadata) -> bool {
        let mut all_allowed = true;
        for (key, value) in &metadata.labels {
            // No early return, so that every mistake in the metadata is reported.
            all_allowed &= self.label(key, value);
        }

        all_allowed &= self.annotations(&metadata.annotations);
        let owners = metadata.owners.as_deref().unwrap_or_default();
        for owner in owners {
            all_allowed &= self.owner(owner);
        }

        let controllers = owners
            .iter()
            .filter(|owner| owner.controller == Some(true))
            .count();
        if controllers > 1 {
            self.refuse(
                Code::InvalidValue,
                "more than one owner is its `controller`",
            );
        }

        all_allowed && controllers <= 1 && self.deletion(metadata.deletion.as_deref())
    }

    /// Returns whether the deletion time is absent or valid (RFC 3339, as the API server writes
    /// it), and reports an invalid one. An object with a deletion time gives up addresses, so no
    /// other text may count as one.
    fn deletion(&mut self, timestamp: Option<&str>) -> bool {
        let is_time = timestamp.is_none_or(is_timestamp);
        if !is_time {
            self.refuse(
                Code::InvalidValue,
                "`metadata.deletionTimestamp` is no time, as `2026-01-31T12:00:00Z`",
            );
        }
        is_time
    }

    fn label(&mut self, key: &str, value: &str) -> bool {
        let key_allowed = self.form(NameForm::LabelKey, key, Code::InvalidLabel, "label key");
        self.form(
            NameForm::LabelValue,
            value,
            Code::InvalidLabel,
            "label value",
        ) && key_allowed
    }

    /// Checks annotations. Keys have the form of label keys, in any letter case. Values may be
    /// anything.
    fn annotations(&mut self, annotations: &BTreeMap<String, TextSize>) -> bool {
        let mut all_allowed = true;
        for key in annotations.keys() {
            // API servers validate annotation keys in lower case.
            let key = key.to_ascii_lowercase();
            all_allowed &= self.form(
                NameForm::LabelKey,
                &key,
                Code::InvalidLabel,
                "key of an annotation",
            );
        }

        let size: usize = annotations
            .iter()
            .map(|(key, value)| key.len() + value.0)
            .sum();
        if size > LARGEST_ANNOTATIONS {
            let message = format!(
                "the annotations have {size} bytes, where {LARGEST_ANNOTATIONS} are allowed"
            );
            self.refuse(Code::TooLong, &message);
        }

        all_allowed && size <= LARGEST_ANNOTATIONS
    }

    /// Checks an owner reference. API servers require these fields to be non-empty, and the kind
    /// and name of an existing owner have these forms, so any other text is refused. An absent
    /// field is accepted: such a reference comes from a file that no server wrote, and names no
    /// owner. `uid` is irrelevant here.
    fn owner(&mut self, owner: &manifests::OwnerReference) -> bool {
        let fields = [
            (
                NameForm::ApiVersion,
                &owner.api_version,
                "version of an owner",
            ),
            (NameForm::Kind, &owner.kind, "kind of an owner"),
            (NameForm::OwnerName, &owner.name, "name of an owner"),
        ];
        let mut all_allowed = true;

        for (form, text, what) in fields {
            let Some(text) = text else { continue };
            all_allowed &= self.form(form, text, Code::InvalidName, what);
        }

        all_allowed
    }
}

/// Whether a text has the form of an RFC 3339 time: `2026-01-31T12:00:00Z`, optionally with a
/// fraction of a second, or with an offset in place of `Z`. Values out of range are accepted.
fn is_timestamp(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";

    let bytes = text.as_bytes();
    let fits = |(form, byte): (&u8, &u8)| {
        if *form == b'0' {
            byte.is_ascii_digit()
        } else {
            form == byte
        }
    };
    let Some((time, zone)) = bytes.split_at_checked(FORM.len()) else {
        return false;
    };
    let is_of_zone = |byte: &u8| byte.is_ascii_digit() || b".:+-Z".contains(byte);
    FORM.iter().zip(time).all(fits) && !zone.is_empty() && zone.iter().all(is_of_zone)
}
