//! Syntactic forms of names.
//!
//! In: text from manifests. Out: whether the text has the form, and a description of the form. A
//! text that passes contains no white space, quote or control character, so a script can contain it
//! safely. Absent: which object has which name.

pub mod reserved;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{Span, SpannedString};

/// Maximum total size in bytes of an object's annotations.
pub const LARGEST_ANNOTATIONS: usize = 256 * 1_024;

/// A form of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameForm {
    /// RFC 1123 label: namespaces, tiers.
    DnsLabel,
    /// RFC 1123 subdomain: most objects.
    DnsSubdomain,
    /// Name of a namespaced Calico policy: one word, two words separated by a dot, or
    /// `knp.default.` followed by a subdomain.
    PolicyName,
    /// Name of a global Calico policy: one word, or two words separated by a dot.
    GlobalPolicyName,
    /// Key of a Kubernetes label: an optional subdomain and `/`, then a name of up to 63
    /// characters.
    LabelKey,
    /// Value of a Kubernetes label.
    LabelValue,
    /// RFC 6335 service name: the name of a port.
    PortName,
    /// `apiVersion` of an owner reference: an optional group and `/`, then a version.
    ApiVersion,
    /// `kind` of an owner reference: in lower case, an RFC 1035 label. API servers require this of
    /// custom resources, and all built-in kinds satisfy it.
    Kind,
    /// `name` of an owner reference. Most objects that own others have subdomain names; names of
    /// roles may also contain upper case, `_` and `:`.
    OwnerName,
}

impl NameForm {
    /// A description of the form for messages.
    pub fn description(self) -> &'static str {
        match self {
            NameForm::DnsLabel => {
                "up to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit"
            }
            NameForm::DnsSubdomain => {
                "up to 253 of a-z, 0-9, `-` and `.`, every part beginning and ending with a letter \
                 or digit"
            }
            NameForm::PolicyName | NameForm::GlobalPolicyName => {
                "up to 253 of a-z, 0-9 and `-`, beginning and ending with a letter or digit, or \
                 two such words with a `.` between them"
            }
            NameForm::LabelKey => {
                "up to 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, after an optional subdomain and `/`"
            }
            NameForm::LabelValue => {
                "up to 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, beginning and ending with a letter \
                 or digit, or nothing"
            }
            NameForm::ApiVersion => {
                "a version such as `v1`, or `GROUP/VERSION` with a subdomain as the group"
            }
            NameForm::Kind => {
                "up to 63 of A-Z, a-z, 0-9 and `-`, beginning with a letter and ending with a \
                 letter or digit"
            }
            NameForm::OwnerName => {
                "up to 253 of A-Z, a-z, 0-9, `-`, `_`, `.` and `:`, beginning and ending with a \
                 letter or digit"
            }
            NameForm::PortName => {
                "up to 15 of a-z, 0-9 and `-`, with a letter, no `--`, no `-` at the ends"
            }
        }
    }

    /// Whether a text has the form.
    pub fn fits(self, text: &str) -> bool {
        match self {
            NameForm::DnsLabel => is_dns_label(text),
            NameForm::DnsSubdomain => is_subdomain(text),
            NameForm::PolicyName => is_policy_name(text),
            NameForm::GlobalPolicyName => is_global_policy_name(text),
            NameForm::LabelKey => is_label_key(text),
            NameForm::LabelValue => text.is_empty() || is_label_word(text),
            NameForm::PortName => is_port_name(text),
            NameForm::ApiVersion => is_api_version(text),
            NameForm::Kind => is_kind(text),
            NameForm::OwnerName => {
                text.len() <= 253 && is_bounded(text, u8::is_ascii_alphanumeric, b"-_.:")
            }
        }
    }

    /// Returns whether a text has the form, and reports an error at `span` if it does not. `what`
    /// names the thing in the message, as in `namespace`.
    pub fn check(self, text: &str, span: Span, what: &str, diagnostics: &mut Diagnostics) -> bool {
        let fits = self.fits(text);
        if !fits {
            let code = if matches!(self, NameForm::LabelKey | NameForm::LabelValue) {
                Code::InvalidLabel
            } else {
                Code::InvalidName
            };
            let message = format!("`{}` is no valid {what}", text.escape_debug());
            diagnostics.push(
                Diagnostic::at(code, span, message)
                    .help(format!("a {what} is {}", self.description())),
            );
        }

        fits
    }

    /// [`NameForm::check`] for a text that carries its span.
    pub fn check_text(
        self,
        text: &SpannedString,
        what: &str,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        self.check(&text.value, text.span, what, diagnostics)
    }
}

fn is_dns_label(text: &str) -> bool {
    text.len() <= 63
        && is_bounded(
            text,
            |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(),
            b"-",
        )
}

fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        is_bounded(
            part,
            |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(),
            b"-",
        )
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Calico v3 validator: a global policy name, or `knp.default.` / `ossg.default.` followed by a
/// subdomain.
fn is_policy_name(text: &str) -> bool {
    // Calico stores Kubernetes policies (`knp.`) and OpenStack security groups (`ossg.`) under
    // these names.
    let is_generated = ["knp.default.", "ossg.default."]
        .iter()
        .any(|prefix| text.starts_with(prefix));
    is_global_policy_name(text) || is_generated && is_subdomain(text)
}

/// One or two words of a subdomain, which may be longer than DNS takes.
fn is_global_policy_name(text: &str) -> bool {
    is_subdomain(text) && text.split('.').count() <= 2
}

fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label_word(name),
        None => is_label_word(text),
    }
}

fn is_label_word(text: &str) -> bool {
    text.len() <= 63 && is_bounded(text, |byte| byte.is_ascii_alphanumeric(), b"-_.")
}

fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        // A name without a letter could not be distinguished from a port number.
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.contains("--")
        && is_dns_label(text)
}

fn is_api_version(text: &str) -> bool {
    let is_version = |text: &str| {
        is_dns_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
    };
    match text.split_once('/') {
        Some((group, version)) => is_subdomain(group) && is_version(version),
        None => is_version(text),
    }
}

fn is_kind(text: &str) -> bool {
    let is_letter = |first: char| first.is_ascii_alphabetic();
    text.len() <= 63
        && text.starts_with(is_letter)
        && is_bounded(text, u8::is_ascii_alphanumeric, b"-")
}

/// Not empty, made of `outer` and `inner` characters, with an `outer` one at each end.
fn is_bounded(text: &str, outer: impl Fn(&u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(&outer)
        && bytes.last().is_some_and(&outer)
        && bytes.iter().all(|byte| outer(byte) || inner.contains(byte))
}

#[cfg(test)]
mod tests;
