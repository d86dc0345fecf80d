//! Endpoint patterns: how questions and assertions name the endpoints that they are about.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::inventory::{Endpoint, EndpointId, Inventory};
use crate::net::{Cidr, CidrError};

/// A sender or receiver in a question: `ns/pod`, `ns/Kind/name`, `ns/sa:name`, an address or a
/// CIDR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointPattern {
    /// A pod or workload endpoint; with a kind, any endpoint of that kind or all pods of an owner.
    Endpoint {
        /// The namespace.
        namespace: String,
        /// The kind as in manifests; `None` means a pod or workload endpoint.
        kind: Option<String>,
        /// The name.
        name: String,
    },
    /// All endpoints that run as a service account.
    Account {
        /// The namespace of the service account.
        namespace: String,
        /// The name of the service account.
        name: String,
    },
    /// All addresses of a prefix, including addresses of endpoints.
    Addresses(Cidr),
}

/// The endpoints or addresses that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternMembers {
    /// Endpoints in inventory order; never empty.
    Endpoints(Vec<EndpointId>),
    /// All addresses of a prefix.
    Addresses(Cidr),
}

/// The forms of a pattern, for error messages.
const FORMS: &str =
    "expected `namespace/pod`, `namespace/Kind/name`, `namespace/sa:name`, an address or a CIDR";

impl FromStr for EndpointPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(addresses) = addresses(text) {
            return addresses.map(Self::Addresses);
        }

        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(FORMS.to_owned());
        }

        let owned = |part: &str| part.to_owned();
        match parts.as_slice() {
            [namespace, name] => Ok(match name.strip_prefix("sa:") {
                Some("") => return Err(FORMS.to_owned()),
                Some(name) => Self::Account {
                    namespace: owned(namespace),
                    name: owned(name),
                },
                None => Self::Endpoint {
                    namespace: owned(namespace),
                    kind: None,
                    name: owned(name),
                },
            }),
            [namespace, kind, name] => Ok(Self::Endpoint {
                namespace: owned(namespace),
                kind: Some(owned(kind)),
                name: owned(name),
            }),
            _ => Err(FORMS.to_owned()),
        }
    }
}

/// Parses a text that can only be an address or a CIDR; returns `None` for every other text.
fn addresses(text: &str) -> Option<Result<Cidr, String>> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Ok(Cidr::host(address)));
    }
    match Cidr::parse_strict(text) {
        Ok(cidr) => Some(Ok(cidr)),
        Err(CidrError::HostBits(meant)) => Some(Err(format!(
            "bits are set behind the prefix; did you mean `{meant}`?"
        ))),
        Err(CidrError::NoPrefixLength | CidrError::Malformed) => None,
    }
}

impl EndpointPattern {
    /// Returns the endpoints or addresses that the pattern matches.
    ///
    /// # Errors
    /// If no endpoint matches. The diagnostic suggests similar names.
    pub fn resolve(&self, inventory: &Inventory) -> Result<PatternMembers, Diagnostic> {
        if let Self::Addresses(cidr) = self {
            return Ok(PatternMembers::Addresses(*cidr));
        }

        let meant = inventory
            .endpoints_with_ids()
            .filter(|(_, endpoint)| self.means(endpoint));

        let meant: Vec<EndpointId> = meant.map(|(id, _)| id).collect();
        if meant.is_empty() {
            Err(self.unknown(inventory))
        } else {
            Ok(PatternMembers::Endpoints(meant))
        }
    }

    /// Returns `true` if the pattern matches an endpoint.
    pub(crate) fn means(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Endpoint {
                namespace,
                kind,
                name,
            } => endpoint.is_called(namespace, kind.as_deref(), name),
            Self::Account { namespace, name } => {
                *endpoint.namespace == **namespace
                    && endpoint.service_account.as_deref() == Some(name)
            }
            Self::Addresses(_) => false,
        }
    }

    fn unknown(&self, inventory: &Inventory) -> Diagnostic {
        if let Self::Account { namespace, name } = self
            && inventory
                .service_accounts
                .get(&**namespace)
                .is_some_and(|accounts| accounts.contains_key(&**name))
        {
            return Diagnostic::new(
                Code::UnknownEndpoint,
                format!("no endpoint runs as the service account `{namespace}/{name}`"),
            );
        }

        let text = self.to_string();
        let short = match self {
            Self::Endpoint {
                namespace,
                kind: Some(kind),
                name,
            } if kind.eq_ignore_ascii_case("pod") => format!("{namespace}/{name}"),
            Self::Endpoint { .. } | Self::Account { .. } | Self::Addresses(_) => text.clone(),
        };
        let known: Vec<String> = inventory.endpoints.iter().flat_map(notations).collect();
        let of_that_name = known.iter().find(|known| self.is_named_as(known));
        let near = of_that_name
            .map(String::as_str)
            .or_else(|| nearest(&short, known.iter().map(String::as_str)));
        let help = near.map(|near| format!("did you mean `{near}`?"));

        Diagnostic::new(
            Code::UnknownEndpoint,
            format!("there is no endpoint `{text}` in the input"),
        )
        .maybe_help(help)
    }

    /// Returns `true` if a notation has this namespace and name, whatever its kind.
    fn is_named_as(&self, known: &str) -> bool {
        let Self::Endpoint {
            namespace, name, ..
        } = self
        else {
            return false;
        };
        let (first, last) = (known.split('/').next(), known.rsplit('/').next());
        first == Some(namespace) && last == Some(name)
    }
}

/// Returns every notation that matches an endpoint.
fn notations(endpoint: &Endpoint) -> impl Iterator<Item = String> {
    let owners = endpoint
        .owners()
        .map(|owner| format!("{}/{}/{}", endpoint.namespace, owner.kind, owner.name));
    let account = endpoint
        .service_account
        .as_ref()
        .map(|account| format!("{}/sa:{account}", endpoint.namespace));
    std::iter::once(endpoint.notation())
        .chain(owners)
        .chain(account)
}

impl fmt::Display for EndpointPattern {
    /// Prints the pattern as the user writes it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint {
                namespace,
                kind: Some(kind),
                name,
            } => write!(out, "{namespace}/{kind}/{name}"),
            Self::Endpoint {
                namespace,
                kind: None,
                name,
            } => write!(out, "{namespace}/{name}"),
            Self::Account { namespace, name } => write!(out, "{namespace}/sa:{name}"),
            Self::Addresses(cidr) => cidr.fmt(out),
        }
    }
}
