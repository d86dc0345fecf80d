//! Checks `http` of a rule, which a mesh enforces and iptables cannot (semantics §2.2, §8). Only
//! the location of the field is kept.

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{MappingFields, YamlNode};
use crate::manifest::text_fields::absent_if_empty;

/// Maximum number of methods, and of paths, in one rule.
const LONGEST_LIST: usize = 20;
/// Maximum number of characters in a path.
const LONGEST_PATH: usize = 1_024;

/// Checks the field.
pub(super) fn check(node: &YamlNode, diagnostics: &mut Diagnostics) {
    let Some(mut fields) = MappingFields::from_node(node, diagnostics) else {
        return;
    };
    fields.distinct("methods", diagnostics);
    fields.list_up_to("methods", LONGEST_LIST, diagnostics, YamlNode::text);
    fields.list_up_to("paths", LONGEST_LIST, diagnostics, |node, diagnostics| {
        path(node, diagnostics).then_some(())
    });
    fields.finish(diagnostics);
}

/// Checks a path: exactly one of `exact` and `prefix`, an absolute path without query, fragment or
/// blank.
fn path(node: &YamlNode, diagnostics: &mut Diagnostics) -> bool {
    let Some(mut fields) = MappingFields::from_node(node, diagnostics) else {
        return false;
    };

    let errors = diagnostics.error_count();
    let [exact, prefix] =
        ["exact", "prefix"].map(|name| absent_if_empty(fields.text(name, diagnostics)));
    let are_texts = diagnostics.error_count() == errors;
    fields.finish(diagnostics);

    let path = match (exact, prefix) {
        (Some(path), None) | (None, Some(path)) => path,
        (None, None) if !are_texts => return false,
        (Some(_), Some(_)) | (None, None) => {
            diagnostics.push(Diagnostic::at(
                Code::ConflictingFields,
                node.span,
                "write exactly one of `exact` and `prefix`",
            ));
            return false;
        }
    };

    let length = path.value.chars().count();
    if length > LONGEST_PATH {
        let message =
            format!("this path has {length} characters, where {LONGEST_PATH} are allowed");
        diagnostics.push(Diagnostic::at(Code::TooLong, path.span, message));
    }

    let fits = path.value.starts_with('/') && !path.value.contains(['?', '#', ' ']);
    if !fits {
        let message = format!("`{}` is no path of a rule", path.value.escape_debug());
        let help = "a path begins with `/`, and has none of `?`, `#` and blank";
        diagnostics.push(Diagnostic::at(Code::InvalidValue, path.span, message).help(help));
    }

    fits
}
