//! `default-service-account`: the account `default` identifies no workload, because every pod
//! without an explicit service account has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic};
use crate::inventory::Endpoint;
use crate::lint::{LintFindings, SelectorUse, uses_of};
use crate::name::reserved::{NAME, NAMESPACE_PREFIX, SERVICE_ACCOUNT, SERVICE_ACCOUNT_PREFIX};
use crate::policy::{Policy, SelectorId};
use crate::resolve::ResolvedPolicy;
use crate::selector::{Expr, LabelTest};

/// The service account of pods that do not name one.
const DEFAULT: &str = "default";

pub(super) fn lint(resolved: &ResolvedPolicy<'_>, findings: &mut LintFindings<'_>) {
    let mut nameless = nameless(resolved);
    let asked: Vec<AccountQuery> = resolved
        .policies
        .selectors
        .iter()
        .map(|(_, _, expr)| AccountQuery::from_expr(expr))
        .collect();
    let asked = |id: SelectorId| asked.get(id.index()).copied().unwrap_or_default();

    for (_, policy) in resolved.policies.policies() {
        for place in uses_of(policy).filter(|place| place.rule.is_some()) {
            let asked = asked(place.id);
            if asked.by_default_name {
                let message =
                    "this names the service account `default`, which every pod has that names none";
                let help = "give the pods that are meant a service account of their own";
                findings.push(
                    Diagnostic::at(Code::DefaultServiceAccount, place.place, message).help(help),
                );
            } else if asked.by_account && !asked.by_namespace {
                beside(policy, &place, &mut nameless)
                    .into_iter()
                    .for_each(|finding| findings.push(finding));
            }
        }
    }
}

/// Pods that run as `default`: the first of each namespace, and how many there are.
type DefaultAccountPods<'input> = BTreeMap<&'input Arc<str>, (&'input Endpoint, usize)>;

fn nameless<'input>(resolved: &ResolvedPolicy<'input>) -> DefaultAccountPods<'input> {
    let mut nameless = DefaultAccountPods::new();
    for endpoint in resolved
        .inventory
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.service_account.as_deref() == Some(DEFAULT))
    {
        nameless
            .entry(&endpoint.namespace)
            .or_insert((endpoint, 0))
            .1 += 1;
    }

    nameless
}

/// The finding for pods without their own service account in a namespace whose rules distinguish
/// service accounts. Reported once per namespace.
fn beside(
    policy: &Policy,
    place: &SelectorUse<'_>,
    nameless: &mut DefaultAccountPods<'_>,
) -> Option<Diagnostic> {
    let namespace: Arc<str> = policy.key.namespace.as_deref()?.into();
    let (example, count) = nameless.remove(&namespace)?;
    let pods = match count {
        1 => format!("`{example}` runs"),
        2 => format!("`{example}` and another pod run"),
        _ => format!("`{example}` and {} other pods run", count - 1),
    };
    let message =
        format!("rules of `{namespace}` tell service accounts apart, but {pods} as `default`");
    let help = "give every workload of the namespace a service account of its own";
    let finding = Diagnostic::new(Code::DefaultServiceAccount, message)
        .label(place.place, "this goes by service account");

    Some(
        finding
            .label(example.span, "this has none of its own")
            .help(help),
    )
}

/// Which labels of service accounts a selector tests.
#[derive(Debug, Clone, Copy, Default)]
struct AccountQuery {
    by_account: bool,
    by_namespace: bool,
    by_default_name: bool,
}

impl AccountQuery {
    fn from_expr(expr: &Expr) -> Self {
        let mut asked = Self::default();
        expr.for_each_leaf(&mut |leaf| {
            let Expr::Label { name, test } = leaf else {
                return;
            };
            let account = name.strip_prefix(SERVICE_ACCOUNT_PREFIX);
            let is_name = name == SERVICE_ACCOUNT || account == Some(NAME);
            asked.by_account |= is_name || account.is_some();
            asked.by_namespace |= name.starts_with(NAMESPACE_PREFIX);
            asked.by_default_name |= is_name && names_default(test);
        });

        asked
    }
}

fn names_default(test: &LabelTest) -> bool {
    match test {
        LabelTest::Equals(value) => value == DEFAULT,
        LabelTest::In(values) => values.contains(DEFAULT),
        LabelTest::Present
        | LabelTest::NotEquals(_)
        | LabelTest::NotIn(_)
        | LabelTest::Contains(_)
        | LabelTest::StartsWith(_)
        | LabelTest::EndsWith(_) => false,
    }
}
