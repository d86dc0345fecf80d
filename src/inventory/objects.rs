//! A table of the objects of one kind, each stored once.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::Arc,
};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{Span, Spanned};

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct ObjectTable<T> {
    pub(super) kind: &'static str,
    pub(super) known: BTreeMap<ObjectKey, Spanned<T>>,
}

/// Namespace and name. The namespace is empty for cluster-wide objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectKey {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl<T: PartialEq> ObjectTable<T> {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            known: BTreeMap::new(),
        }
    }

    /// Adds an object that was read without errors. An equal object may be added again; another
    /// object with the same name is an error.
    pub(super) fn add(
        &mut self,
        read: Option<(ObjectKey, T)>,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) {
        let Some((key, value)) = read else { return };

        match self.known.entry(key) {
            Entry::Vacant(free) => {
                free.insert(Spanned::new(value, span));
            }
            Entry::Occupied(first) if first.get().value == value => {}
            Entry::Occupied(first) => {
                let message = format!(
                    "the {} `{}` is given twice, with different contents",
                    self.kind,
                    first.key()
                );
                diagnostics.push(
                    Diagnostic::at(Code::DuplicateObject, span, message)
                        .label(first.get().span, "first given here"),
                );
            }
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => out.write_str(&self.name),
            false => write!(out, "{}/{}", self.namespace, self.name),
        }
    }
}
