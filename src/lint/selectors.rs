//! Selectors as written: contradictions, and fields that are easily misunderstood.

use crate::diagnostic::{Code, Diagnostic};
use crate::lint::{ExplainedSelectors, LintFindings, uses};
use crate::name::reserved::{
    METADATA_NAME, NAME, NAMESPACE, NAMESPACE_PREFIX, ORCHESTRATOR, SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_PREFIX,
};
use crate::policy::{SelectorField, WrittenSelector};
use crate::resolve::ResolvedPolicy;
use crate::selector::{self, Expr, LabelTest};

/// Runs the lints and returns the selectors whose findings explain why they select nothing.
pub(super) fn lint(
    resolved: &ResolvedPolicy<'_>,
    findings: &mut LintFindings<'_>,
) -> ExplainedSelectors {
    let mut explained = ExplainedSelectors::new();
    for written in resolved.policies.selectors.written() {
        let contradiction = contradiction(written);
        let reserved = misplaced(written);
        if contradiction.is_some() || reserved.is_some() {
            explained.extend(written.part_of);
        }
        let finding = contradiction.or(reserved).or_else(|| alone(written));
        finding
            .into_iter()
            .for_each(|finding| findings.push(finding));
    }

    together(resolved, &mut explained, findings);
    explained
}

/// `selector-contradiction`, within one field.
fn contradiction(written: &WrittenSelector) -> Option<Diagnostic> {
    is_contradictory(written).then(|| {
        Diagnostic::at(
            Code::SelectorContradiction,
            written.span,
            "this selector can never match anything",
        )
        .help("its parts exclude each other: `&&` wants all of them, `||` one of them")
    })
}

/// Whether a field alone can match nothing. In some fields, `all()` requires a namespace or a
/// service account (semantics §3.2, §3.4), so that `!all()` matches objects without one and is not
/// a contradiction.
fn is_contradictory(written: &WrittenSelector) -> bool {
    match written.field {
        SelectorField::Selector
        | SelectorField::NamespaceSelector
        | SelectorField::ServiceAccountSelector => {
            let unknown = Expr::label("", LabelTest::Present);
            selector::contradicts(&written.expr.clone().replacing_all(&unknown))
        }
        SelectorField::NotSelector
        | SelectorField::NotSelectorAlone
        | SelectorField::PodSelector
        | SelectorField::KubernetesNamespaceSelector => selector::contradicts(&written.expr),
    }
}

/// `selector-contradiction` between several fields, or between a field and the policy's namespace.
fn together(
    resolved: &ResolvedPolicy<'_>,
    explained: &mut ExplainedSelectors,
    findings: &mut LintFindings<'_>,
) {
    let selectors = &resolved.policies.selectors;
    let contradictory = selectors
        .iter()
        .filter(|(id, _, expr)| !explained.contains(id) && selector::contradicts(expr));

    let contradictory: ExplainedSelectors = contradictory.map(|(id, _, _)| id).collect();
    for place in uses(resolved).filter(|place| contradictory.contains(&place.id)) {
        let message = format!(
            "what is asked here can never hold together: `{}`",
            selectors.describe(place.id)
        );
        let help = "a selector is joined with those beside it, and in a namespaced policy with \
                    the policy's namespace";
        findings.push(Diagnostic::at(Code::SelectorContradiction, place.place, message).help(help));
    }

    explained.extend(contradictory);
}

/// `reserved-label`
fn misplaced(written: &WrittenSelector) -> Option<Diagnostic> {
    let mut advice = written
        .expr
        .label_names()
        .into_iter()
        .filter_map(|name| Some((name, right_place(written.field, name)?)));

    advice.next().map(|(name, help)| {
        let (field, nobody) = match written.field {
            SelectorField::Selector => ("`selector`", "no endpoint has it"),
            SelectorField::NotSelector | SelectorField::NotSelectorAlone => {
                ("`notSelector`", "no endpoint has it")
            }
            SelectorField::NamespaceSelector => ("`namespaceSelector`", "no namespace has it"),
            SelectorField::ServiceAccountSelector => (
                "a selector of service accounts",
                "no service account has it",
            ),
            SelectorField::PodSelector => ("`podSelector`", "in Kubernetes no pod has it"),
            SelectorField::KubernetesNamespaceSelector => {
                ("`namespaceSelector`", "in Kubernetes no namespace has it")
            }
        };
        let message = format!("the label `{name}` means nothing in {field}: {nobody}");
        Diagnostic::at(Code::ReservedLabel, written.span, message).help(help)
    })
}

/// The replacement for a label that no object has in this field, or `None` if the label is valid
/// there.
fn right_place(field: SelectorField, name: &str) -> Option<String> {
    let inherited = name
        .strip_prefix(NAMESPACE_PREFIX)
        .or_else(|| name.strip_prefix(SERVICE_ACCOUNT_PREFIX));

    match (field, name) {
        (
            SelectorField::Selector | SelectorField::NotSelector | SelectorField::NotSelectorAlone,
            NAME,
        ) => Some(format!(
            "`{NAME}` belongs in `namespaceSelector`, or in the selector of service accounts; in \
             `{}` write `{NAMESPACE}` or `{SERVICE_ACCOUNT}`",
            if field == SelectorField::Selector {
                "selector"
            } else {
                "notSelector"
            },
        )),
        (
            SelectorField::Selector | SelectorField::NotSelector | SelectorField::NotSelectorAlone,
            METADATA_NAME,
        ) => Some(format!(
            "it is a label of namespaces: write it in `namespaceSelector`, or write \
                 `{NAMESPACE}` here"
        )),
        (
            SelectorField::Selector | SelectorField::NotSelector | SelectorField::NotSelectorAlone,
            _,
        ) => None,
        (SelectorField::NamespaceSelector | SelectorField::ServiceAccountSelector, _)
            if inherited.is_some() =>
        {
            let own = if name.starts_with(NAMESPACE_PREFIX) {
                "`namespaceSelector`"
            } else {
                "the selector of service accounts"
            };
            Some(format!(
                "write `{}` in {own}, without the prefix",
                inherited.unwrap_or_default()
            ))
        }
        (SelectorField::NamespaceSelector, NAMESPACE) => {
            Some(format!("the name of a namespace is `{NAME}` here"))
        }
        (SelectorField::NamespaceSelector, SERVICE_ACCOUNT) => {
            Some("write the name in `serviceAccounts` or `serviceAccountSelector`".to_owned())
        }
        (SelectorField::ServiceAccountSelector, SERVICE_ACCOUNT) => {
            Some(format!("the name of a service account is `{NAME}` here"))
        }
        (SelectorField::ServiceAccountSelector, NAMESPACE | METADATA_NAME) => Some(format!(
            "write `{NAME}` in `namespaceSelector`: that is where the namespace is asked for"
        )),
        (
            SelectorField::NamespaceSelector | SelectorField::ServiceAccountSelector,
            ORCHESTRATOR,
        ) => Some(format!(
            "only endpoints have `{ORCHESTRATOR}`: write it in `selector`"
        )),
        (SelectorField::NamespaceSelector | SelectorField::ServiceAccountSelector, _) => None,
        (SelectorField::PodSelector | SelectorField::KubernetesNamespaceSelector, _) => {
            right_place_in_kubernetes(field, name)
        }
    }
}

/// Like [`right_place`], for Kubernetes selectors. Calico's labels are foreign to these, although
/// Calico would match some of them.
fn right_place_in_kubernetes(field: SelectorField, name: &str) -> Option<String> {
    match name {
        METADATA_NAME if field == SelectorField::KubernetesNamespaceSelector => None,
        NAME | NAMESPACE | METADATA_NAME => Some(format!(
            "the name of a namespace is `{METADATA_NAME}` in `namespaceSelector`"
        )),
        ORCHESTRATOR => Some("leave it out: it is pods that are selected".to_owned()),
        _ if name == SERVICE_ACCOUNT || name.starts_with(SERVICE_ACCOUNT_PREFIX) => {
            let help = "Kubernetes does not select by service account: write a `NetworkPolicy` of \
                        `projectcalico.org/v3`";
            Some(help.to_owned())
        }
        _ => name
            .strip_prefix(NAMESPACE_PREFIX)
            .map(|own| format!("write `{own}` in `namespaceSelector`, without the prefix")),
    }
}

/// `not-selector-alone`
fn alone(written: &WrittenSelector) -> Option<Diagnostic> {
    (written.field == SelectorField::NotSelectorAlone).then(|| {
        let message =
            "`notSelector` alone selects in the policy's own namespace, and nobody outside of it";
        let help = "say who is meant beside it: `selector: all()` for this namespace, \
                    `namespaceSelector: all()` for every pod, or write a rule with the opposite \
                    action for those who are not meant";
        Diagnostic::at(Code::NotSelectorAlone, written.span, message).help(help)
    })
}
