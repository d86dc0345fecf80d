//! Manifest to policy: defaults filled in, orders fixed, selectors parsed and scoped, fields that
//! must agree checked.
//!
//! In: a [`Manifest`]. Out: a [`PolicySet`], which cannot be wrong: this is the last room that may
//! refuse a policy. Absent: addresses of endpoints; a selector stays a selector.
//!
//! Meaning: semantics §2 to §5; `all()` and `global()` are replaced in the syntax tree.

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

/// Checks all policy and puts it into the order of evaluation. Whatever is wrong goes to `found`;
/// use the result only when that has no errors.
///
/// Cost: linear in the number of rules, and n log n in tiers and policies for their order.
///
/// `staging` decides whether staged policies count; behind this room nobody knows of them.
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
