//! Profiles of endpoints. They determine which labels an endpoint inherits, and decide after the
//! tiers.

use std::sync::Arc;

use crate::source::SpannedString;

/// The profiles of an endpoint, in order of evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProfileList {
    /// The profiles that every pod has: its namespace's and its service account's. The first allows
    /// everything.
    OfPod,
    /// The profiles that the endpoint lists.
    Listed(Box<[Arc<str>]>),
}

/// The meaning of a profile name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileName<'name> {
    /// `kns.<namespace>`: has the labels of the namespace, and allows everything.
    Namespace(&'name str),
    /// `ksa.<namespace>.<service account>`: has the labels of the service account, and no rules.
    ServiceAccount(&'name str, &'name str),
    /// The built-in profile that allows everything.
    AllowAll,
    /// A Profile object.
    Named(&'name str),
}

const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

/// Parses the name of a profile. The name of a namespace contains no dot.
pub fn profile_name(name: &str) -> ProfileName<'_> {
    let account = name
        .strip_prefix("ksa.")
        .and_then(|rest| rest.split_once('.'));
    match (name.strip_prefix("kns."), account) {
        (Some(namespace), _) => ProfileName::Namespace(namespace),
        (None, Some((namespace, account))) => ProfileName::ServiceAccount(namespace, account),
        (None, None) if name == DEFAULT_ALLOW => ProfileName::AllowAll,
        (None, None) => ProfileName::Named(name),
    }
}

impl ProfileList {
    /// The profiles of an endpoint that lists them.
    pub fn named(names: &[SpannedString]) -> Self {
        ProfileList::Listed(
            names
                .iter()
                .map(|name| Arc::from(name.value.as_str()))
                .collect(),
        )
    }

    /// The listed names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let listed = match self {
            ProfileList::OfPod => &[][..],
            ProfileList::Listed(names) => names,
        };
        listed.iter().map(|name| &**name)
    }
}
