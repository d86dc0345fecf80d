//! Reads staged kinds: the spec of the proposed kind, and the proposed action.

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{ManifestKind, MappingFields, NodeScalar, NodeValue, YamlEntry, YamlNode};
use crate::manifest::{
    Metadata, StagedAction, StagedManifest, StagedPolicy, calico, kubernetes, metadata,
};

const STAGED_ACTION: &str = "stagedAction";

const ACTIONS: [(&str, StagedAction); 4] = [
    ("Set", StagedAction::Set),
    ("Delete", StagedAction::Delete),
    ("Learn", StagedAction::Learn),
    ("Ignore", StagedAction::Ignore),
];

/// Reads a policy of a staged kind. The spec is read regardless of the action, so that its mistakes
/// are found before it is enforced.
pub(super) fn policy(
    tree: &YamlNode,
    metadata: Metadata,
    kind: ManifestKind,
    diagnostics: &mut Diagnostics,
) -> Option<StagedManifest> {
    let mut spec = metadata::spec(tree, diagnostics)?;
    let stated = spec
        .get(STAGED_ACTION)
        .and_then(|node| node.choice(&ACTIONS, diagnostics));
    let action = stated.map_or(StagedAction::Set, |stated| stated.value);
    if action == StagedAction::Delete {
        refuse_contents(tree, kind, diagnostics);
    }
    let policy = read(spec, metadata, kind, diagnostics);
    Some(StagedManifest { action, policy })
}

fn read(
    mut spec: MappingFields<'_>,
    metadata: Metadata,
    kind: ManifestKind,
    diagnostics: &mut Diagnostics,
) -> StagedPolicy {
    if kind == ManifestKind::StagedKubernetesNetworkPolicy {
        spec.distinct("policyTypes", diagnostics);
        return StagedPolicy::Kubernetes(kubernetes::policy(spec, metadata, diagnostics));
    }
    StagedPolicy::Calico(Box::new(calico::policy(spec, metadata, kind, diagnostics)))
}

/// Refuses content in a proposal to delete, except the tier (semantics §2.5).
fn refuse_contents(tree: &YamlNode, kind: ManifestKind, diagnostics: &mut Diagnostics) {
    let entries = tree
        .get("spec")
        .and_then(YamlNode::entries)
        .unwrap_or_default();
    let may_stay = |name: &str| {
        name == STAGED_ACTION
            || name == "tier" && kind != ManifestKind::StagedKubernetesNetworkPolicy
    };

    for YamlEntry { key, .. } in entries
        .iter()
        .filter(|entry| !may_stay(&entry.key.value) && !is_empty(&entry.value))
    {
        let message = format!(
            "`{}` has no place in a policy that proposes to delete another",
            key.value
        );
        diagnostics.push(
            Diagnostic::at(Code::ConflictingFields, key.span, message)
                .help("keep `stagedAction` and `tier` only"),
        );
    }
}

/// Whether a value is what an API server writes for an absent field.
fn is_empty(node: &YamlNode) -> bool {
    match &node.value {
        NodeValue::Scalar(NodeScalar::Text(text)) => text.value.is_empty(),
        NodeValue::Map(entries) => entries.is_empty(),
        NodeValue::Scalar(NodeScalar::Bool(value)) => !value,
        NodeValue::Scalar(_) | NodeValue::List(_) => node.is_null(),
    }
}
