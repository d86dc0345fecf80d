//! Checks addresses as written and turns them into prefixes (semantics §2.2, §2.6).

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::manifest;
use crate::name::reserved;
use crate::net::{Cidr, CidrError};
use crate::policy::NetworkSet;
use crate::source::{Spanned, SpannedString};

/// Checks the prefixes of a rule: each needs a length and has no host bits.
pub(super) fn prefixes(
    written: &[SpannedString],
    diagnostics: &mut Diagnostics,
) -> Vec<Spanned<Cidr>> {
    written
        .iter()
        .filter_map(|text| prefix(text, diagnostics))
        .collect()
}

/// Checks one prefix of a rule.
pub(super) fn prefix(text: &SpannedString, diagnostics: &mut Diagnostics) -> Option<Spanned<Cidr>> {
    match Cidr::parse_strict(&text.value) {
        Ok(cidr) => Some(Spanned::new(cidr, text.span)),
        Err(error) => {
            diagnostics.push(bad_prefix(text, error));
            None
        }
    }
}

fn bad_prefix(text: &SpannedString, error: CidrError) -> Diagnostic {
    let written = text.value.escape_debug();
    let (message, help) = match error {
        CidrError::Malformed => (
            format!("`{written}` is no CIDR"),
            "write `10.0.0.0/8` or `2001:db8::/32`".to_owned(),
        ),
        CidrError::NoPrefixLength => {
            let length = if text.value.contains(':') { 128 } else { 32 };
            (
                format!("`{written}` has no prefix length"),
                format!("write `{written}/{length}` for one address"),
            )
        }
        CidrError::HostBits(meant) => {
            let meant = format!("{}/{}", meant.address(), meant.prefix());
            (
                format!("`{written}` has bits set behind its prefix length"),
                format!("did you mean `{meant}`?"),
            )
        }
    };

    Diagnostic::at(Code::InvalidCidr, text.span, message).help(help)
}

/// Checks a network set. Its members may be single addresses and may have host bits, which are
/// dropped.
pub(super) fn network_set(set: manifest::NetworkSet, diagnostics: &mut Diagnostics) -> NetworkSet {
    let mut nets = Vec::with_capacity(set.nets.len());
    for text in &set.nets {
        match Cidr::parse_lenient(&text.value) {
            Some(cidr) => nets.push(cidr),
            None => diagnostics.push(bad_prefix(text, CidrError::Malformed)),
        }
    }

    nets.sort_unstable();
    nets.dedup();
    refuse_claims(&set, diagnostics);
    let metadata = set.metadata;
    NetworkSet {
        namespace: metadata.namespace.map(|namespace| namespace.value),
        span: metadata.name.span,
        name: metadata.name.value,
        labels: metadata
            .labels
            .into_iter()
            .map(|(key, value)| (key.value, value.value))
            .collect(),
        nets,
    }
}

/// Refuses labels that would place a network set in a foreign namespace, or make it look like a
/// pod.
///
/// Anyone who may write to a namespace may write a network set there. The set's own labels win over
/// those that it inherits from its namespace (semantics §3.1), and Kubernetes policies recognise
/// pods by the orchestrator label. So a set in one namespace could match the policies of another
/// one.
fn refuse_claims(set: &manifest::NetworkSet, diagnostics: &mut Diagnostics) {
    let is_namespaced = set.metadata.namespace.is_some();
    let of_namespace =
        |key: &str| key == reserved::ORCHESTRATOR || key.starts_with(reserved::NAMESPACE_PREFIX);
    let is_claim = |key: &str| key == reserved::NAMESPACE || is_namespaced && of_namespace(key);

    for (key, _) in set
        .metadata
        .labels
        .iter()
        .filter(|(key, _)| is_claim(&key.value))
    {
        let message = format!(
            "the label `{}` is not for a network set to claim",
            key.value
        );
        let help = match key.value == reserved::ORCHESTRATOR {
            true => "only endpoints have an orchestrator",
            false => "a NetworkSet has the labels of its own namespace",
        };
        diagnostics.push(Diagnostic::at(Code::InvalidLabel, key.span, message).help(help));
    }
}
