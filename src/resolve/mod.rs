//! Resolves selectors to endpoints, network sets and addresses.
//!
//! In: the [`PolicySet`] and the [`Inventory`]. Out: [`ResolvedPolicy`], which contains the members
//! of every selector and the policies of every endpoint. Absent: changing policy, chains, kernel
//! names. Later rooms use members and never look at labels.
//!
//! Cost, with `L` labels in total, `S` distinct selectors, and `R` members of all of them together:
//! `O(L)` for an index from labels to objects, then for each selector about as many steps as its
//! rarest part has members. This is `O(L + S + R)` if selectors have a rare part, and never
//! policies × endpoints. Only a negation by itself, or an `||` of several negations, costs the
//! whole cluster.

mod applied;
mod hosts;
mod index;
mod lists;
mod model;
mod original;
mod ports;
mod sources;
mod universe;

pub use hosts::{HostsOnNode, ListedTier, RecheckedTier};
pub use model::{HostEndpointId, NetworkSetId, PolicyPosition, ResolvedPolicy, SelectedEndpoints};
pub use original::{OriginalDestination, UnaskableReason};
pub use ports::ResolvedPorts;

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::{Inventory, ProfileName, profile_name};
use crate::policy::{PolicySet, SelectorDomain};

use index::LabelValueIndex;
use universe::SelectorUniverse;

/// Evaluates every selector of the policies, each once, and reports references to objects that the
/// input lacks.
pub fn selectors<'input>(
    policies: &'input PolicySet,
    inventory: &'input Inventory,
    diagnostics: &mut Diagnostics,
) -> ResolvedPolicy<'input> {
    note_unknown_namespaces(policies, inventory, diagnostics);
    note_unknown_services(policies, inventory, diagnostics);
    note_unknown_accounts(policies, inventory, diagnostics);
    note_unknown_profiles(policies, inventory, diagnostics);

    let universe = SelectorUniverse::new(policies, inventory);
    let index = LabelValueIndex::new(&universe);
    let selections = policies
        .selectors
        .iter()
        .map(|(_, domain, expr)| match domain {
            SelectorDomain::Endpoints => {
                SelectedEndpoints::from_ids(&index.evaluate(expr), policies, inventory)
            }
            SelectorDomain::Nodes => SelectedEndpoints::of_nodes(expr, inventory),
        });
    let selections = selections.collect();

    let resolved = ResolvedPolicy::new(policies, inventory, selections);
    hosts::check(&resolved, diagnostics);
    resolved
}

/// Notes namespaces that the input lacks and that only policies name. These policies apply to no
/// pods, though they may select network sets. The inventory already notes the namespaces of
/// endpoints.
fn note_unknown_namespaces(
    policies: &PolicySet,
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    let mut noted = BTreeSet::new();
    let of_policies = policies
        .tiers
        .iter()
        .flat_map(|tier| &tier.policies)
        .map(|policy| (policy.key.namespace.as_deref(), policy.span));

    let of_sets = policies
        .network_sets
        .iter()
        .map(|set| (set.namespace.as_deref(), set.span));
    for (namespace, span) in of_policies.chain(of_sets) {
        let Some(namespace) = namespace else { continue };
        if !inventory.namespaces.contains_key(namespace) && noted.insert(namespace) {
            let message =
                format!("the namespace `{namespace}` is not in the input, so it has no labels");
            diagnostics.push(
                Diagnostic::new(Code::UnknownNamespace, message).label(span, "this is in it"),
            );
        }
    }
}

/// Notes services without backends in the input. Rules that name them match nothing.
fn note_unknown_services(
    policies: &PolicySet,
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    let of_policies = policies
        .policies()
        .flat_map(|(_, policy)| policy.ingress.iter().chain(&policy.egress).flatten());
    let of_profiles = policies
        .profiles
        .values()
        .flat_map(|profile| profile.ingress.iter().chain(&profile.egress));
    let mut noted = BTreeSet::new();

    for rule in of_policies.chain(of_profiles) {
        for service in [&rule.source, &rule.destination]
            .into_iter()
            .filter_map(|peer| peer.service.as_ref())
        {
            if !inventory.services.contains_key(service) && noted.insert(service) {
                let message = format!(
                    "the service `{service}` has no EndpointSlice or Endpoints in the input, so \
                     the rule matches nobody"
                );
                diagnostics.push(Diagnostic::at(Code::UnknownService, rule.span, message));
            }
        }
    }
}

/// Notes service accounts that the input lacks and that only rules name. The inventory already
/// notes those of endpoints.
fn note_unknown_accounts(
    policies: &PolicySet,
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    let mut noted = BTreeSet::new();

    for account in policies.selectors.accounts() {
        let (namespace, name) = (account.namespace.as_deref(), account.name.value.as_str());
        let is_known = match namespace {
            Some(namespace) => inventory
                .service_accounts
                .get(namespace)
                .is_some_and(|accounts| accounts.contains_key(name)),
            None => inventory
                .service_accounts
                .values()
                .any(|accounts| accounts.contains_key(name)),
        };
        if !is_known && noted.insert((namespace, name)) {
            let message = match namespace {
                Some(namespace) => format!(
                    "the service account `{namespace}/{name}` is not in the input, and nobody \
                     runs as it"
                ),
                None => format!(
                    "no service account `{name}` of any namespace is in the input, and nobody \
                     runs as one"
                ),
            };
            diagnostics.push(Diagnostic::at(
                Code::UnknownServiceAccount,
                account.name.span,
                message,
            ));
        }
    }
}

/// Notes profiles that the input lacks. Such a profile allows nothing, and later profiles are not
/// evaluated.
fn note_unknown_profiles(
    policies: &PolicySet,
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    let mut noted = BTreeSet::new();
    let of_endpoints = inventory
        .endpoints
        .iter()
        .map(|endpoint| (&endpoint.profiles, endpoint.span));
    let of_hosts = policies
        .host_endpoints
        .iter()
        .map(|host| (&host.profiles, host.span));

    for (name, span) in of_endpoints
        .chain(of_hosts)
        .flat_map(|(profiles, span)| profiles.names().map(move |name| (name, span)))
    {
        let ProfileName::Named(name) = profile_name(name) else {
            continue;
        };
        if !policies.profiles.contains_key(name) && noted.insert(name) {
            let message = format!("the profile `{name}` is not in the input, so it denies");
            diagnostics
                .push(Diagnostic::new(Code::UnknownProfile, message).label(span, "this has it"));
        }
    }
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
