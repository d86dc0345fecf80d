//! What-if changes of labels in an inventory.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::inventory::labels::LabelList;
use crate::inventory::{Inventory, StringTable};
use crate::name::NameForm;
use crate::name::reserved::{
    METADATA_NAME, NAME, NAMESPACE, NAMESPACE_PREFIX, ORCHESTRATOR, SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_PREFIX,
};

/// A label that is set or removed: `sa:ns/name:key=value`, `pod:ns/name:key=value`,
/// `ns:name:key=value`, or with `key-` to remove the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEdit {
    /// The object whose label changes.
    pub target: LabelTarget,
    /// The label.
    pub key: String,
    /// The new value, or `None` to remove the label.
    pub value: Option<String>,
}

/// An object with labels of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelTarget {
    /// A namespace.
    Namespace(String),
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An endpoint, or all pods of an owner. See
    /// [`Endpoint::is_called`](crate::inventory::Endpoint::is_called).
    Endpoint {
        /// Its namespace.
        namespace: String,
        /// Its kind, or `None` for a pod or workload endpoint.
        kind: Option<String>,
        /// Its name.
        name: String,
    },
}

/// The accepted notations, for messages.
const FORMS: &str = "expected `sa:namespace/name:key=value`, `pod:namespace/name:key=value` or \
                     `ns:name:key=value`, or `key-` in place of `key=value`";
/// Labels that are derived from the object's identity.
const GIVEN: [&str; 5] = [
    NAMESPACE,
    ORCHESTRATOR,
    SERVICE_ACCOUNT,
    NAME,
    METADATA_NAME,
];

impl FromStr for LabelEdit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once(':')
            .and_then(|(sort, rest)| Some((sort, rest.split_once(':')?)));
        let (sort, (name, label)) = parts.ok_or(FORMS)?;
        let target = target(sort, name).ok_or(FORMS)?;
        let (key, value) = match (label.split_once('='), label.strip_suffix('-')) {
            (Some((key, value)), _) => (key, Some(value)),
            (None, Some(key)) => (key, None),
            (None, None) => return Err(FORMS.to_owned()),
        };

        if !NameForm::LabelKey.fits(key) {
            return Err(format!(
                "`{key}` is no label key, which is {}",
                NameForm::LabelKey.description()
            ));
        }
        if let Some(value) = value.filter(|value| !NameForm::LabelValue.fits(value)) {
            return Err(format!(
                "`{value}` is no label value, which is {}",
                NameForm::LabelValue.description()
            ));
        }

        if GIVEN.contains(&key)
            || key.starts_with(NAMESPACE_PREFIX)
            || key.starts_with(SERVICE_ACCOUNT_PREFIX)
        {
            return Err(format!(
                "`{key}` follows from what the object is, and cannot be set"
            ));
        }
        Ok(Self {
            target,
            key: key.to_owned(),
            value: value.map(str::to_owned),
        })
    }
}

fn target(sort: &str, name: &str) -> Option<LabelTarget> {
    let parts: Vec<String> = name.split('/').map(str::to_owned).collect();
    if parts.iter().any(String::is_empty) {
        return None;
    }

    match (sort, parts.as_slice()) {
        ("ns", [name]) => Some(LabelTarget::Namespace(name.clone())),
        ("sa", [namespace, name]) => Some(LabelTarget::ServiceAccount {
            namespace: namespace.clone(),
            name: name.clone(),
        }),
        ("pod", [namespace, name]) => Some(LabelTarget::Endpoint {
            namespace: namespace.clone(),
            kind: None,
            name: name.clone(),
        }),
        ("pod", [namespace, kind, name]) => Some(LabelTarget::Endpoint {
            namespace: namespace.clone(),
            kind: Some(kind.clone()),
            name: name.clone(),
        }),
        _ => None,
    }
}

impl Inventory {
    /// Changes a label. Labels that others inherit change too. Results that were resolved before do
    /// not change.
    ///
    /// # Errors
    /// Returns an error if no object has the name, or if the label to remove does not exist.
    pub fn edit(&mut self, edit: &LabelEdit) -> Result<(), Diagnostic> {
        let Self {
            namespaces,
            service_accounts,
            endpoints,
            strings,
            ..
        } = self;
        let (prefix, lists): (&str, Vec<&mut LabelList>) = match &edit.target {
            LabelTarget::Namespace(name) => {
                let found = namespaces.get_mut(&**name).map(|parent| &mut parent.labels);
                (NAMESPACE_PREFIX, found.into_iter().collect())
            }
            LabelTarget::ServiceAccount { namespace, name } => {
                let found = service_accounts
                    .get_mut(&**namespace)
                    .and_then(|accounts| accounts.get_mut(&**name));
                (
                    SERVICE_ACCOUNT_PREFIX,
                    found.map(|parent| &mut parent.labels).into_iter().collect(),
                )
            }
            LabelTarget::Endpoint {
                namespace,
                kind,
                name,
            } => {
                let found = endpoints
                    .iter_mut()
                    .filter(|endpoint| endpoint.is_called(namespace, kind.as_deref(), name));
                ("", found.map(|endpoint| &mut endpoint.labels).collect())
            }
        };

        if lists.is_empty() {
            return Err(self.unknown_target(&edit.target));
        }

        let key = format!("{prefix}{}", edit.key);
        let mut known = Vec::new();
        let mut is_changed = edit.value.is_some();

        for list in lists {
            let mut labels = texts(list, strings);
            known.extend(
                labels
                    .keys()
                    .map(|key| key.strip_prefix(prefix).unwrap_or(key).to_owned()),
            );
            match &edit.value {
                Some(value) => drop(labels.insert(key.clone(), value.clone())),
                None => is_changed |= labels.remove(&key).is_some(),
            }
            *list = strings.intern_labels(&labels);
        }

        if !is_changed {
            let meant = nearest(&edit.key, known.iter().map(String::as_str))
                .map(|meant| format!("did you mean `{meant}`?"));
            let message = format!("{} has no label `{}` to remove", edit.target, edit.key);
            return Err(Diagnostic::new(Code::UnknownEndpoint, message).maybe_help(meant));
        }

        self.inherit();
        Ok(())
    }

    fn unknown_target(&self, target: &LabelTarget) -> Diagnostic {
        let known: Vec<String> = match target {
            LabelTarget::Namespace(_) => self
                .namespaces
                .keys()
                .map(|name| LabelTarget::Namespace(name.to_string()).notation())
                .collect(),
            LabelTarget::ServiceAccount { .. } => {
                let accounts = self.service_accounts.iter();
                let named = accounts.flat_map(|(namespace, accounts)| {
                    accounts
                        .keys()
                        .map(move |name| (namespace.to_string(), name.to_string()))
                });
                named
                    .map(|(namespace, name)| {
                        LabelTarget::ServiceAccount { namespace, name }.notation()
                    })
                    .collect()
            }
            LabelTarget::Endpoint { .. } => self
                .endpoints
                .iter()
                .map(|endpoint| format!("pod:{}", endpoint.notation()))
                .collect(),
        };
        let meant = nearest(&target.notation(), known.iter().map(String::as_str))
            .map(|meant| format!("did you mean `{meant}`?"));

        Diagnostic::new(
            Code::UnknownEndpoint,
            format!("there is no {target} in the input"),
        )
        .maybe_help(meant)
    }
}

fn texts(labels: &LabelList, strings: &StringTable) -> BTreeMap<String, String> {
    let text = |symbol| strings.get(symbol).to_owned();
    labels
        .iter()
        .map(|(key, value)| (text(*key), text(*value)))
        .collect()
}

impl LabelTarget {
    /// The edit in the notation that users write.
    pub fn notation(&self) -> String {
        match self {
            LabelTarget::Namespace(name) => format!("ns:{name}"),
            LabelTarget::ServiceAccount { namespace, name } => format!("sa:{namespace}/{name}"),
            LabelTarget::Endpoint {
                namespace,
                kind: None,
                name,
            } => format!("pod:{namespace}/{name}"),
            LabelTarget::Endpoint {
                namespace,
                kind: Some(kind),
                name,
            } => format!("pod:{namespace}/{kind}/{name}"),
        }
    }
}

impl fmt::Display for LabelTarget {
    /// A description of the edit.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabelTarget::Namespace(name) => write!(out, "namespace `{name}`"),
            LabelTarget::ServiceAccount { namespace, name } => {
                write!(out, "service account `{namespace}/{name}`")
            }
            LabelTarget::Endpoint {
                namespace,
                kind: None,
                name,
            } => write!(out, "pod `{namespace}/{name}`"),
            LabelTarget::Endpoint {
                namespace,
                kind: Some(kind),
                name,
            } => write!(out, "{kind} `{namespace}/{name}`"),
        }
    }
}
