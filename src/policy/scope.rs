//! Scoping of selectors: builds the one clause that the selectors of a policy or a rule amount to
//! (semantics §3).

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::manifest::{RuleSide, ServiceAccounts};
use crate::name::NameForm;
use crate::name::reserved::{NAMESPACE, NAMESPACE_PREFIX, SERVICE_ACCOUNT, SERVICE_ACCOUNT_PREFIX};
use crate::policy::{SelectorField, SelectorTable};
use crate::selector::{self, Expr, LabelTest};
use crate::source::SpannedString;

/// The clause "in this namespace".
pub(super) fn in_namespace(namespace: &str) -> Expr {
    Expr::label(NAMESPACE, LabelTest::Equals(namespace.to_owned()))
}

/// The clause "in any namespace".
fn namespaced() -> Expr {
    Expr::label(NAMESPACE, LabelTest::Present)
}

/// A namespace selector as a clause over the labels that objects inherit. `all()` and `global()`
/// get the meaning that they have in a rule's `namespaceSelector`.
fn of_namespace(selector: Expr) -> Expr {
    selector
        .prefixed(NAMESPACE_PREFIX)
        .replacing_all(&namespaced())
        .replacing_global(&namespaced().not())
}

/// The clause for a Kubernetes namespace selector: objects in a namespace that it selects.
///
/// Kubernetes selects namespaces first, then the objects in them. Calico evaluates the namespace's
/// labels on each object, so a negative expression also selects objects without a namespace
/// (semantics §3.2). Even a positive expression selects such an object if the object has a label
/// with the prefix `pcns.` itself. So the clause always requires a namespace (semantics §9.30).
pub(super) fn of_kubernetes_namespaces(selector: Expr) -> Expr {
    let labels = selector.prefixed(NAMESPACE_PREFIX);
    if labels == Expr::All {
        return namespaced();
    }

    Expr::and(vec![namespaced(), labels])
}

/// Parses a selector in which `global()` has no special meaning. Returns `None` if it is wrong; the
/// compile is then refused.
pub(super) fn parse(
    text: &SpannedString,
    field: SelectorField,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Option<Expr> {
    let expr = parse_any(text, field, selectors, diagnostics)?;
    if expr.mentions_global() {
        let message = "`global()` has no meaning here";
        diagnostics.push(
            Diagnostic::at(Code::SelectorGlobal, text.span, message)
                .help("it may stand alone in a rule's `namespaceSelector`"),
        );
        return None;
    }
    Some(expr)
}

/// Parses a rule's `namespaceSelector`. `global()` is allowed only as the whole selector.
fn parse_namespace_selector(
    text: &SpannedString,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Option<Expr> {
    let expr = parse_any(
        text,
        SelectorField::NamespaceSelector,
        selectors,
        diagnostics,
    )?;
    if expr.mentions_global() && expr != Expr::Global {
        let message = "`global()` must stand alone";
        diagnostics.push(
            Diagnostic::at(Code::SelectorGlobal, text.span, message)
                .help("write two rules, one of them with `global()`"),
        );
        return None;
    }

    Some(expr)
}

fn parse_any(
    text: &SpannedString,
    field: SelectorField,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Option<Expr> {
    match selector::parse(&text.value) {
        Ok(expr) => {
            selectors.write(field, text.span, expr.clone());
            Some(expr)
        }
        Err(error) => {
            let place = text.inner(error.range.clone());
            let at_end = error.range.start >= text.value.len();
            let label = if at_end { "at the end" } else { "" };
            diagnostics.push(
                Diagnostic::new(Code::SelectorSyntax, error.message)
                    .label(place, label)
                    .maybe_help(error.help),
            );
            None
        }
    }
}

/// The clause for the endpoints that a namespaced policy applies to.
pub(super) fn namespaced_policy(
    selector: Option<Expr>,
    service_accounts: Option<Expr>,
    namespace: &str,
) -> Expr {
    let mut parts: Vec<Expr> = selector.into_iter().collect();
    parts.push(in_namespace(namespace));
    parts.extend(service_accounts.map(|expr| expr.prefixed(SERVICE_ACCOUNT_PREFIX)));
    Expr::and(parts)
}

/// The clause for the endpoints that a global policy applies to. If there is a namespace selector,
/// every `all()` means "in any namespace". If there is also a service account selector, every
/// remaining `all()` means "has a service account" (semantics §3.4).
pub(super) fn global_policy(
    selector: Option<Expr>,
    namespaces: Option<Expr>,
    service_accounts: Option<Expr>,
) -> Expr {
    let mut parts: Vec<Expr> = selector.into_iter().collect();
    if let Some(namespaces) = namespaces {
        // The order matters: namespaces replace `all()` first, so service accounts find only those
        // in their own selector.
        parts.push(namespaces.prefixed(NAMESPACE_PREFIX));
        parts = parts
            .into_iter()
            .map(|part| part.replacing_all(&namespaced()))
            .collect();
    }

    if let Some(service_accounts) = service_accounts {
        let has_account = Expr::label(SERVICE_ACCOUNT, LabelTest::Present);
        parts.push(service_accounts.prefixed(SERVICE_ACCOUNT_PREFIX));
        parts = parts
            .into_iter()
            .map(|part| part.replacing_all(&has_account))
            .collect();
    }

    Expr::and(parts)
}

/// The clauses of one side of a Calico rule: the selection and the exclusion. A clause is `None` if
/// the side has no such condition.
pub(super) struct PeerClause {
    pub(super) selected: Option<Expr>,
    pub(super) not_selected: Option<Expr>,
}

/// Builds the clauses of one side of a rule (semantics §3.2). `namespace` is the policy's
/// namespace, `None` for a global policy.
pub(super) fn peer(
    entity: &RuleSide,
    namespace: Option<&str>,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> PeerClause {
    let namespaces = entity
        .namespace_selector
        .as_ref()
        .and_then(|text| parse_namespace_selector(text, selectors, diagnostics));
    let own = namespace.filter(|_| entity.namespace_selector.is_none());
    let accounts = entity
        .service_accounts
        .as_ref()
        .and_then(|accounts| service_accounts(accounts, own, selectors, diagnostics));
    let labels = entity
        .selector
        .as_ref()
        .and_then(|text| parse(text, SelectorField::Selector, selectors, diagnostics));

    let is_alone =
        namespace.is_some() && namespaces.is_none() && accounts.is_none() && labels.is_none();
    let not_field = if is_alone {
        SelectorField::NotSelectorAlone
    } else {
        SelectorField::NotSelector
    };

    let not_selected = entity
        .not_selector
        .as_ref()
        .and_then(|text| parse(text, not_field, selectors, diagnostics));
    let mut asked: Vec<Expr> = accounts.into_iter().chain(labels).collect();
    // The namespace of the policy restricts only a side with conditions. A side without any matches
    // every address.
    let asks_who = !asked.is_empty() || not_selected.is_some() || namespaces.is_some();

    let scope = match (namespaces, namespace) {
        (Some(namespaces), _) => Some(of_namespace(namespaces)),
        (None, Some(namespace)) => Some(in_namespace(namespace)),
        (None, None) => None,
    };
    if let (true, Some(scope)) = (asks_who, scope) {
        asked.insert(0, scope);
    }

    if asked.is_empty() {
        return PeerClause {
            selected: None,
            not_selected,
        };
    }

    // One selection, as in Calico. It excludes by label, not by address. The two differ if network
    // sets overlap endpoints.
    asked.extend(not_selected.map(Expr::not));
    PeerClause {
        selected: Some(Expr::and(asked)),
        not_selected: None,
    }
}

/// The clause for `serviceAccounts`, or `None` if it restricts nothing (semantics §3.3).
/// `namespace` is the namespace of the named service accounts, `None` for any namespace.
fn service_accounts(
    accounts: &ServiceAccounts,
    namespace: Option<&str>,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> Option<Expr> {
    let valid = accounts.names.iter().filter(|name| {
        NameForm::DnsSubdomain.check_text(name, "service account name", diagnostics)
    });
    let names: BTreeSet<String> = valid
        .inspect(|name| selectors.name_account(namespace, name))
        .map(|name| name.value.clone())
        .collect();
    let labels = accounts.selector.as_ref().and_then(|text| {
        parse(
            text,
            SelectorField::ServiceAccountSelector,
            selectors,
            diagnostics,
        )
    });
    let labels = labels.map(|expr| expr.prefixed(SERVICE_ACCOUNT_PREFIX));
    let named = (!names.is_empty()).then(|| Expr::label(SERVICE_ACCOUNT, LabelTest::In(names)));

    let parts: Vec<Expr> = labels.into_iter().chain(named).collect();
    (!parts.is_empty()).then(|| Expr::and(parts))
}
