//! Reads `metadata` of policy objects, and the fields that every object has.

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::{ManifestKind, MappingFields, YamlNode};
use crate::manifest::{Metadata, stand_in};
use crate::name::reserved::BASELINE_NAME;
use crate::name::{LARGEST_ANNOTATIONS, NameForm};
use crate::source::{Span, Spanned, SpannedString};

/// Fields that an API server adds. They do not affect policy.
const SERVER_FIELDS: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];

/// Fields that do not affect policy, whoever wrote them. Two objects that differ only in these are
/// equal.
pub(super) const SILENT_FIELDS: [&str; 12] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The namespace of a namespaced object that does not name one, as in `kubectl`.
const DEFAULT_NAMESPACE: &str = "default";

/// Reads and checks `metadata`. If it does not identify the object, the result is a placeholder, so
/// that the rest of the object is checked too.
pub(super) fn read(
    tree: &YamlNode,
    kind: ManifestKind,
    diagnostics: &mut Diagnostics,
) -> Option<Metadata> {
    let mut object = MappingFields::from_node(tree, diagnostics)?;
    let metadata = object
        .require("metadata", diagnostics)
        .and_then(|node| MappingFields::from_node(node, diagnostics));
    Some(match metadata {
        Some(fields) => of_fields(fields, kind, diagnostics),
        // Continues with placeholders, so that mistakes in the spec are reported too.
        None => Metadata {
            name: nameless(kind, tree.span),
            namespace: default_namespace(kind, tree.span),
            labels: Vec::new(),
        },
    })
}

fn of_fields(
    mut fields: MappingFields<'_>,
    kind: ManifestKind,
    diagnostics: &mut Diagnostics,
) -> Metadata {
    let place = fields.span;
    let name = fields
        .require("name", diagnostics)
        .and_then(|node| node.text(diagnostics));
    if let Some(name) = &name {
        form(kind).check_text(name, "name", diagnostics);
    }

    let namespace = namespace(&mut fields, kind, diagnostics);
    let labels = fields
        .get("labels")
        .map(|node| labels(node, diagnostics))
        .unwrap_or_default();

    if let Some(node) = fields.get("annotations") {
        check_annotations(node, diagnostics);
    }

    if let Some(node) = fields.get("ownerReferences") {
        check_owners(node, diagnostics);
    }

    // Objects from `kubectl get` contain these fields.
    fields.ignore(&SERVER_FIELDS);
    fields.ignore(&["selfLink", "generateName"]);
    fields.finish(diagnostics);
    Metadata {
        name: name.unwrap_or_else(|| nameless(kind, place)),
        namespace,
        labels,
    }
}

/// A placeholder for the name of an object without one, which has been reported.
fn nameless(kind: ManifestKind, place: Span) -> SpannedString {
    let mut name = stand_in(place);
    if kind == ManifestKind::BaselineAdminNetworkPolicy {
        // Any other name would cause a second error about the same object.
        BASELINE_NAME.clone_into(&mut name.value);
    }
    name
}

fn default_namespace(kind: ManifestKind, place: Span) -> Option<Spanned<String>> {
    is_namespaced(kind).then(|| Spanned::new(DEFAULT_NAMESPACE.to_owned(), place))
}

/// The `spec` of an object. Reports fields other than those that every object has.
pub(super) fn spec<'node>(
    tree: &'node YamlNode,
    diagnostics: &mut Diagnostics,
) -> Option<MappingFields<'node>> {
    let mut object = MappingFields::from_node(tree, diagnostics)?;
    object.ignore(&["apiVersion", "kind", "metadata", "status"]);
    let spec = object.require("spec", diagnostics);
    object.finish(diagnostics);
    MappingFields::from_node(spec?, diagnostics)
}

/// The form of names of a kind, as validated by Calico v3 and Kubernetes.
fn form(kind: ManifestKind) -> NameForm {
    match kind {
        ManifestKind::NetworkPolicy | ManifestKind::StagedNetworkPolicy => NameForm::PolicyName,
        ManifestKind::GlobalNetworkPolicy | ManifestKind::StagedGlobalNetworkPolicy => {
            NameForm::GlobalPolicyName
        }
        ManifestKind::Tier => NameForm::DnsLabel,
        ManifestKind::NetworkSet
        | ManifestKind::GlobalNetworkSet
        | ManifestKind::HostEndpoint
        | ManifestKind::Profile
        | ManifestKind::WorkloadEndpoint => NameForm::DnsSubdomain,
        ManifestKind::KubernetesNetworkPolicy | ManifestKind::StagedKubernetesNetworkPolicy => {
            NameForm::DnsSubdomain
        }
        ManifestKind::ClusterNetworkPolicy
        | ManifestKind::AdminNetworkPolicy
        | ManifestKind::BaselineAdminNetworkPolicy => NameForm::DnsSubdomain,
    }
}

fn is_namespaced(kind: ManifestKind) -> bool {
    match kind {
        ManifestKind::NetworkPolicy
        | ManifestKind::NetworkSet
        | ManifestKind::KubernetesNetworkPolicy => true,
        ManifestKind::StagedNetworkPolicy
        | ManifestKind::StagedKubernetesNetworkPolicy
        | ManifestKind::WorkloadEndpoint => true,
        ManifestKind::GlobalNetworkPolicy
        | ManifestKind::GlobalNetworkSet
        | ManifestKind::HostEndpoint
        | ManifestKind::Tier => false,
        ManifestKind::StagedGlobalNetworkPolicy | ManifestKind::Profile => false,
        ManifestKind::ClusterNetworkPolicy
        | ManifestKind::AdminNetworkPolicy
        | ManifestKind::BaselineAdminNetworkPolicy => false,
    }
}

/// The namespace of a namespaced kind. A cluster-wide kind has none, and the field is unknown
/// there.
fn namespace(
    fields: &mut MappingFields<'_>,
    kind: ManifestKind,
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<String>> {
    if !is_namespaced(kind) {
        if let Some(node) = fields.get("namespace") {
            let message = "an object of this kind is in no namespace";
            diagnostics.push(
                Diagnostic::at(Code::UnknownField, node.span, message).help("remove `namespace`"),
            );
        }
        return None;
    }

    let stated = fields
        .get("namespace")
        .and_then(|node| node.text(diagnostics));
    let Some(namespace) = stated else {
        return default_namespace(kind, fields.span);
    };

    NameForm::DnsLabel.check_text(&namespace, "namespace", diagnostics);
    Some(Spanned::new(namespace.value, namespace.span))
}

/// Reads and checks labels.
pub(super) fn labels(
    node: &YamlNode,
    diagnostics: &mut Diagnostics,
) -> Vec<(SpannedString, SpannedString)> {
    string_map(node, diagnostics)
        .into_iter()
        .filter(|(key, value)| {
            let key_fits = NameForm::LabelKey.check_text(key, "label key", diagnostics);
            NameForm::LabelValue.check_text(value, "label value", diagnostics) && key_fits
        })
        .collect()
}

/// Checks annotations. They do not affect policy, but an API server rejects an object with wrong
/// ones (semantics §2.6).
pub(super) fn check_annotations(node: &YamlNode, diagnostics: &mut Diagnostics) {
    let annotations = string_map(node, diagnostics);
    let size: usize = annotations
        .iter()
        .map(|(key, value)| key.value.len() + value.value.len())
        .sum();
    if size > LARGEST_ANNOTATIONS {
        let message =
            format!("the annotations have {size} bytes, where {LARGEST_ANNOTATIONS} are allowed");
        diagnostics.push(Diagnostic::at(Code::TooLong, node.span, message));
    }

    for (key, _) in &annotations {
        NameForm::LabelKey.check(
            &key.value.to_lowercase(),
            key.span,
            "key of an annotation",
            diagnostics,
        );
    }
}

/// Checks owner references. They do not affect policy, but an API server rejects an object with
/// wrong ones. `uid` is not checked, because files may lack it.
fn check_owners(node: &YamlNode, diagnostics: &mut Diagnostics) {
    let controllers = node.list(diagnostics, |item, diagnostics| {
        let mut owner = MappingFields::from_node(item, diagnostics)?;
        let place = item.span;
        for (field, form, what) in OWNER_FIELDS {
            let text = owner
                .require(field, diagnostics)
                .and_then(|node| node.text(diagnostics));
            text.map(|text| form.check_text(&text, what, diagnostics));
        }
        owner.ignore(&["uid", "blockOwnerDeletion"]);
        let is_controller = owner
            .get("controller")
            .and_then(|node| node.boolean(diagnostics));
        owner.finish(diagnostics);
        is_controller
            .filter(|controls| controls.value)
            .map(|_| place)
    });

    if let [first, second, ..] = controllers.as_slice() {
        let message = "more than one owner is its `controller`";
        diagnostics.push(
            Diagnostic::new(Code::InvalidValue, message)
                .label(*second, "again")
                .label(*first, "first here"),
        );
    }
}

/// The fields of an owner reference that identify the owner.
const OWNER_FIELDS: [(&str, NameForm, &str); 3] = [
    ("apiVersion", NameForm::ApiVersion, "version of an owner"),
    ("kind", NameForm::Kind, "kind of an owner"),
    ("name", NameForm::OwnerName, "name of an owner"),
];

/// Reads a mapping from strings to strings.
pub(super) fn string_map(
    node: &YamlNode,
    diagnostics: &mut Diagnostics,
) -> Vec<(SpannedString, SpannedString)> {
    if MappingFields::from_node(node, diagnostics).is_none() {
        return Vec::new();
    }
    let entries = node.entries().unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), entry.value.text(diagnostics)?)))
        .collect()
}
