//! Inputs without endpoints, or without policies.
//!
//! A lost inventory looks like a cluster without pods, and a comparison without endpoints finds no
//! difference. That is not a success unless the user allows it.

use crate::Input;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};

/// Refuses an input without endpoints; `what` would be about them.
pub(super) fn refuse(input: &Input, what: &str, diagnostics: &mut Diagnostics) {
    let has_endpoints =
        !input.inventory.endpoints.is_empty() || !input.policies.host_endpoints.is_empty();
    if has_endpoints || diagnostics.has_errors() {
        return;
    }
    let message = format!("the input has no endpoint, so {what} would say nothing");
    let help = "add the cluster's pods, or the workloads that make them; where it has none, say \
                `--allow-no-endpoints`";
    diagnostics.push(Diagnostic::new(Code::MissingEndpoints, message).help(help));
}

/// Notes that there is no policy in an input that something is said about.
pub(super) fn note_unpoliced(input: &Input, diagnostics: &mut Diagnostics) {
    if input.policies.policies().next().is_none() && !diagnostics.has_errors() {
        let message =
            "there is no policy in the input: all is allowed that profiles and nodes do not deny";
        diagnostics.push(Diagnostic::new(Code::Unpoliced, message));
    }
}
