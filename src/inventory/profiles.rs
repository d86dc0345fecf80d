//! The profiles of endpoints: by what an endpoint inherits labels, and what decides behind the
//! tiers.

use std::sync::Arc;

use crate::source::SpannedString;

/// The profiles of an endpoint, first asked first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProfileList {
    /// Its namespace's and its service account's, as every pod has them. The first allows
    /// everything.
    OfPod,
    /// Those that it names.
    Listed(Box<[Arc<str>]>),
}

/// What the name of a profile stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileName<'name> {
    /// `kns.<namespace>`: has the namespace's labels, and allows everything.
    Namespace(&'name str),
    /// `ksa.<namespace>.<service account>`: has the service account's labels, and no rule.
    ServiceAccount(&'name str, &'name str),
    /// The one that is built in, and allows everything.
    AllowAll,
    /// A Profile object's.
    Named(&'name str),
}

const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

/// Takes the name of a profile apart. The name of a namespace has no dot.
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
    /// Those of an endpoint that lists them.
    pub fn named(names: &[SpannedString]) -> Self {
        ProfileList::Listed(
            names
                .iter()
                .map(|name| Arc::from(name.value.as_str()))
                .collect(),
        )
    }

    /// The names that are listed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let listed = match self {
            ProfileList::OfPod => &[][..],
            ProfileList::Listed(names) => names,
        };
        listed.iter().map(|name| &**name)
    }
}
