//! Turns manifests into policy: fills in defaults, fixes orders, parses and scopes selectors, and
//! checks fields that must agree.
//!
//! In: a [`Manifest`]. Out: a [`PolicySet`], which is always valid: this is the last room that may
//! refuse a policy. Absent: addresses of endpoints; a selector stays a selector.
//!
//! Its meaning: semantics §2 to §5. `all()` and `global()` are replaced in the syntax tree.

mod addresses;
mod calico;
mod canonical;
mod cluster;
mod hosts;
mod kubernetes;
mod model;
mod order;
mod ports;
mod print;
mod profiles;
mod scope;
mod services;
mod staged;

pub use crate::manifest::{Action, DefaultAction, Icmp};
pub use model::{
    AddressCondition, HostEndpoint, HostPlace, HostStage, IcmpMatch, NamedAccount, NetworkSet,
    PeerSelection, Policy, PolicyKey, PolicyKind, PolicyListKind, PolicySet, PortCondition,
    PortList, Profile, ProtocolMatch, Rule, RuleFamilies, RulePeer, SelectorDomain, SelectorField,
    SelectorId, SelectorTable, SidePositions, Tier, WrittenSelector,
};
pub use staged::StagedPolicies;

use crate::diagnostic::Diagnostics;
use crate::manifest::Manifest;

/// Checks all policies and sorts them into the order of evaluation. Reports problems to
/// `diagnostics`; the result is valid only if `diagnostics` has no errors.
///
/// `staging` determines whether staged policies are enforced. Later rooms do not distinguish them
/// from other policies.
///
/// Cost: linear in the number of rules, and `n log n` in tiers and policies for their order.
pub fn check(
    manifest: Manifest,
    staging: StagedPolicies,
    diagnostics: &mut Diagnostics,
) -> PolicySet {
    let mut selectors = SelectorTable::default();
    let mut placed = Vec::new();
    for policy in &manifest.policies {
        placed.push(calico::policy(policy, &mut selectors, diagnostics));
    }

    for policy in &manifest.kubernetes_policies {
        placed.push(kubernetes::policy(policy, &mut selectors, diagnostics));
    }

    for policy in &manifest.cluster_policies {
        placed.push(cluster::policy(policy, &mut selectors, diagnostics));
    }

    let profiles = profiles::profiles(&manifest.profiles, &mut selectors, diagnostics);
    let sorted = staged::add(
        &manifest.staged,
        staging,
        placed,
        &mut selectors,
        diagnostics,
    );
    let tiers = order::tiers(&manifest.tiers, sorted, diagnostics);
    let network_sets = manifest
        .network_sets
        .into_iter()
        .map(|set| addresses::network_set(set, diagnostics))
        .collect();
    let host_endpoints = hosts::endpoints(&manifest.host_endpoints, diagnostics);

    PolicySet {
        tiers,
        profiles,
        selectors,
        network_sets,
        host_endpoints,
    }
}

#[cfg(test)]
mod tests;
