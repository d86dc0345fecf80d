//! `http` of a rule, which a mesh enforces and iptables cannot (reference §2.2, §8): checked, and then only its place counts.

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{Fields, Node};
use crate::text::Text;

/// Methods, and paths, that one rule may list.
const LONGEST_LIST: usize = 20;
/// Characters of a path.
const LONGEST_PATH: usize = 1_024;

/// Checks the field.
pub(super) fn check(node: &Node, found: &mut Diagnostics) {
    let Some(mut fields) = Fields::of(node, found) else { return };
    for name in ["methods", "paths"] {
        let length = fields.get(name).and_then(Node::items).map_or(0, <[Node]>::len);
        if length > LONGEST_LIST {
            let message = format!("`{name}` lists {length}, where {LONGEST_LIST} are allowed");
            found.push(Diagnostic::at(Code::InvalidValue, node.span, message));
        }
    }
    let methods = fields.list("methods", found, Node::text);
    check_distinct(&methods, found);
    fields.list("paths", found, |node, found| path(node, found).then_some(()));
    fields.finish(found);
}

fn check_distinct(methods: &[Text], found: &mut Diagnostics) {
    let mut seen = BTreeSet::new();
    for method in methods {
        if !seen.insert(&method.value) {
            found.push(Diagnostic::at(Code::InvalidValue, method.span, "this method is listed twice"));
        }
    }
}

/// Exactly one of `exact` and `prefix`, an absolute path without query, fragment or blank.
fn path(node: &Node, found: &mut Diagnostics) -> bool {
    let Some(mut fields) = Fields::of(node, found) else { return false };
    let (exact, prefix) = (fields.text("exact", found), fields.text("prefix", found));
    fields.finish(found);
    let path = match (exact, prefix) {
        (Some(path), None) | (None, Some(path)) => path,
        (Some(_), Some(_)) | (None, None) => {
            found.push(Diagnostic::at(Code::ConflictingFields, node.span, "write exactly one of `exact` and `prefix`"));
            return false;
        }
    };
    let fits = path.value.starts_with('/') && path.value.len() <= LONGEST_PATH && !path.value.contains(['?', '#', ' ']);
    if !fits {
        let message = format!("`{}` is no path of a rule", path.value.escape_debug());
        let help = format!("a path begins with `/`, has none of `?`, `#` and blank, and at most {LONGEST_PATH} characters");
        found.push(Diagnostic::at(Code::InvalidValue, path.span, message).help(help));
    }
    fits
}
