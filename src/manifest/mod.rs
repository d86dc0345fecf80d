//! Policy objects as written: every supported field with its span, and no interpretation.
//!
//! In: [`ManifestObject`]s of policy kinds. Out: a [`Manifest`]. Unknown fields, wrong types and
//! invalid keywords are errors here. Fields that exist in the language but are not supported yet
//! are refused by name. Absent: defaults, the meaning of selectors, and consistency between fields
//! (that is `policy`).
//!
//! Cost: linear in the text.

mod calico;
mod cluster;
mod endpoint;
mod host;
mod http;
mod kubernetes;
mod metadata;
mod model;
mod staged;
mod text_fields;

pub use model::{
    Action, ClusterPeer, ClusterPods, ClusterPolicy, ClusterPort, ClusterRank, ClusterRule,
    DefaultAction, EndpointPort, HostEndpoint, HostPort, Icmp, KubernetesPeer, KubernetesPolicy,
    KubernetesPort, KubernetesRule, KubernetesSelector, LabelOperator, LabelRequirement, Manifest,
    Metadata, NetworkSet, Policy, Profile, Rule, RuleSide, ServiceAccounts, ServiceRef,
    StagedAction, StagedManifest, StagedPolicy, Tier, WorkloadEndpoint, WrittenPort,
    WrittenProtocol,
};

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{ManifestKind, ManifestObject, NodeScalar, NodeValue, ObjectKind, YamlNode};
use crate::source::{Span, SpannedString};

/// Collects policy objects. An object that occurs twice with the same content counts once.
#[derive(Debug, Default)]
pub struct ManifestReader {
    manifest: Manifest,
    seen: BTreeMap<ObjectIdentity, (Span, [u8; 32])>,
}

/// The identity of an object: kind, namespace and name.
type ObjectIdentity = (ManifestKind, Option<String>, String);

impl ManifestReader {
    /// Reads one object of a policy kind. Objects of other kinds are ignored.
    pub fn ingest(&mut self, object: &ManifestObject<'_>, diagnostics: &mut Diagnostics) {
        let ObjectKind::Manifest(kind) = object.kind else {
            return;
        };
        let Some(tree) = object.tree(diagnostics) else {
            return;
        };
        let Some(metadata) = metadata::read(&tree, kind, diagnostics) else {
            return;
        };

        if object.internal {
            diagnostics.push(internal_api(&metadata));
        }

        let sight = self.sight(kind, &metadata, &tree, diagnostics);
        if sight == NameUse::Same {
            return;
        }

        let manifest = &mut self.manifest;
        match kind {
            ManifestKind::NetworkPolicy | ManifestKind::GlobalNetworkPolicy => {
                let spec = metadata::spec(&tree, diagnostics);
                manifest
                    .policies
                    .extend(spec.map(|spec| calico::policy(spec, metadata, kind, diagnostics)))
            }
            ManifestKind::StagedNetworkPolicy
            | ManifestKind::StagedGlobalNetworkPolicy
            | ManifestKind::StagedKubernetesNetworkPolicy => manifest
                .staged
                .extend(staged::policy(&tree, metadata, kind, diagnostics)),
            ManifestKind::Profile => {
                manifest
                    .profiles
                    .extend(calico::profile(&tree, metadata, diagnostics))
            }
            ManifestKind::WorkloadEndpoint => {
                let endpoint = endpoint::workload(&tree, metadata, diagnostics);
                // A second endpoint of the same name would share addresses with the first one and
                // cause another error.
                manifest
                    .workload_endpoints
                    .extend(endpoint.filter(|_| sight == NameUse::First));
            }
            ManifestKind::Tier => manifest
                .tiers
                .extend(calico::tier(&tree, metadata, diagnostics)),
            ManifestKind::NetworkSet | ManifestKind::GlobalNetworkSet => manifest
                .network_sets
                .extend(calico::network_set(&tree, metadata, diagnostics)),
            ManifestKind::HostEndpoint => {
                manifest
                    .host_endpoints
                    .extend(host::endpoint(&tree, metadata, diagnostics))
            }
            ManifestKind::KubernetesNetworkPolicy => {
                let spec = metadata::spec(&tree, diagnostics);
                manifest
                    .kubernetes_policies
                    .extend(spec.map(|spec| kubernetes::policy(spec, metadata, diagnostics)))
            }
            ManifestKind::ClusterNetworkPolicy => manifest
                .cluster_policies
                .extend(cluster::policy(&tree, metadata, diagnostics)),
            ManifestKind::AdminNetworkPolicy => {
                manifest
                    .cluster_policies
                    .extend(cluster::admin(&tree, metadata, diagnostics))
            }
            ManifestKind::BaselineAdminNetworkPolicy => manifest
                .cluster_policies
                .extend(cluster::baseline(&tree, metadata, diagnostics)),
        }
    }

    /// Returns everything that was read.
    pub fn finish(self) -> Manifest {
        self.manifest
    }

    /// Checks whether an object of this name was read before. Reports it if the two differ.
    fn sight(
        &mut self,
        kind: ManifestKind,
        metadata: &Metadata,
        tree: &YamlNode,
        diagnostics: &mut Diagnostics,
    ) -> NameUse {
        if !is_named(tree) {
            return NameUse::First;
        }

        let (digest, tier) = (tree.digest(&metadata::SILENT_FIELDS), tier_of(tree));
        let is_calico_policy = matches!(
            kind,
            ManifestKind::NetworkPolicy
                | ManifestKind::GlobalNetworkPolicy
                | ManifestKind::StagedNetworkPolicy
                | ManifestKind::StagedGlobalNetworkPolicy
        );
        let name = if is_calico_policy {
            metadata.short_name(tier)
        } else {
            metadata.name.value.as_str()
        };

        let identity = (
            kind,
            metadata
                .namespace
                .as_ref()
                .map(|namespace| namespace.value.clone()),
            name.to_owned(),
        );
        let here = metadata.name.span;

        let Some((first, known)) = self.seen.get(&identity) else {
            self.seen.insert(identity, (here, digest));
            return NameUse::First;
        };
        if *known == digest {
            return NameUse::Same;
        }

        let message = format!("`{}` is defined twice, differently", metadata.name.value);
        diagnostics.push(
            Diagnostic::new(Code::DuplicateObject, message)
                .label(here, "again here")
                .label(*first, "first here")
                .help("remove one of the two, or give it another name"),
        );

        NameUse::Different
    }
}

/// Earlier objects with an object's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NameUse {
    First,
    /// An object with the same content.
    Same,
    /// An object with other content, which has been reported. The new object is read all the same,
    /// to report its own mistakes.
    Different,
}

/// A placeholder for a text that is missing or not a string, which has been reported. It is a valid
/// name, so that it causes no further errors and the other fields are checked. The compile is
/// refused.
fn stand_in(place: Span) -> SpannedString {
    SpannedString::new("x".to_owned(), place, "")
}

fn is_named(tree: &YamlNode) -> bool {
    tree.get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .is_some_and(|name| matches!(name.value, NodeValue::Scalar(NodeScalar::Text(_))))
}

/// The tier that an object names, if any.
fn tier_of(tree: &YamlNode) -> Option<&str> {
    match &tree.get("spec")?.get("tier")?.value {
        NodeValue::Scalar(NodeScalar::Text(text)) => Some(text.value.as_str()),
        NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => None,
    }
}

/// The note on an object of Calico's internal API group.
fn internal_api(metadata: &Metadata) -> Diagnostic {
    Diagnostic::at(
        Code::InternalApi,
        metadata.name.span,
        "`crd.projectcalico.org/v1` is internal to Calico and bypasses its validation",
    )
    .help("write `apiVersion: projectcalico.org/v3`")
}
