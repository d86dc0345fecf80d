//! Order of tiers, and order of policies in a tier (semantics §2.4, §4.1).

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics, nearest};
use crate::manifest;
use crate::policy::{DefaultAction, Policy, Tier};
use crate::source::Spanned;

/// The tier of a policy that does not name one.
pub(super) const DEFAULT_TIER: &str = "default";

/// Order of a tier without an order. It equals that of tier `default`, so the name decides between
/// the two.
const UNSTATED_ORDER: f64 = 1_000_000.0;

/// The tiers of `ClusterNetworkPolicy`.
pub(super) const KUBE_ADMIN_TIER: &str = "kube-admin";
pub(super) const KUBE_BASELINE_TIER: &str = "kube-baseline";

/// The tiers of `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy`, by their names in Calico
/// until 2025.
pub(super) const ADMIN_TIER: &str = "adminnetworkpolicy";
pub(super) const BASELINE_TIER: &str = "baselineadminnetworkpolicy";

/// Tiers with fixed values.
const BUILT_IN: [(&str, f64, DefaultAction); 5] = [
    (DEFAULT_TIER, 1_000_000.0, DefaultAction::Deny),
    (KUBE_ADMIN_TIER, 1_000.0, DefaultAction::Pass),
    (KUBE_BASELINE_TIER, 10_000_000.0, DefaultAction::Pass),
    (ADMIN_TIER, 1_000.0, DefaultAction::Pass),
    (BASELINE_TIER, 10_000_000.0, DefaultAction::Pass),
];

/// A policy and the name of its tier.
pub(super) struct TieredPolicy {
    pub(super) tier: Spanned<String>,
    pub(super) policy: Policy,
}

/// Policies, split by whether they are enforced.
pub(super) struct SortedPolicies {
    pub(super) in_force: Vec<TieredPolicy>,
    pub(super) left_out: Vec<TieredPolicy>,
}

/// Sorts policies into tiers, everything in order of evaluation. Tiers without policies are
/// omitted. Policies that are not enforced must name an existing tier too.
pub(super) fn tiers(
    written: &[manifest::Tier],
    policies: SortedPolicies,
    diagnostics: &mut Diagnostics,
) -> Vec<Tier> {
    let mut tiers = known_tiers(written, diagnostics);
    // Policies that are not enforced are checked too, so that enforcing them later cannot fail.
    for TieredPolicy { tier: name, .. } in policies
        .left_out
        .iter()
        .filter(|placed| !tiers.contains_key(&placed.tier.value))
    {
        diagnostics.push(unknown_tier(name, tiers.keys()));
    }
    for TieredPolicy { tier: name, policy } in policies.in_force {
        match tiers.get_mut(&name.value) {
            Some(tier) => tier.policies.push(policy),
            None => diagnostics.push(unknown_tier(&name, tiers.keys())),
        }
    }

    let mut tiers: Vec<Tier> = tiers
        .into_values()
        .filter(|tier| !tier.policies.is_empty())
        .collect();
    // Ties are common: tiers without an order share one.
    tiers.sort_by(|left, right| {
        left.order
            .total_cmp(&right.order)
            .then_with(|| left.name.cmp(&right.name))
    });
    tiers
        .iter_mut()
        .for_each(|tier| sort_policies(&mut tier.policies));

    tiers
}

/// The built-in tiers and those in the input, by name.
fn known_tiers(
    written: &[manifest::Tier],
    diagnostics: &mut Diagnostics,
) -> BTreeMap<String, Tier> {
    let built_in = BUILT_IN
        .iter()
        .map(|(name, order, default_action)| tier(name, *order, *default_action));
    let mut tiers: BTreeMap<String, Tier> =
        built_in.map(|tier| (tier.name.clone(), tier)).collect();

    for written in written {
        let name = &written.metadata.name.value;
        if let Some(fixed) = BUILT_IN.iter().find(|row| row.0 == name) {
            check_fixed(written, fixed.0, fixed.1, fixed.2, diagnostics);
            continue;
        }
        let order = written.order.map_or(UNSTATED_ORDER, |order| order.value);
        let default_action = written
            .default_action
            .map_or(DefaultAction::Deny, |action| action.value);
        tiers.insert(name.clone(), tier(name, order, default_action));
    }

    tiers
}

fn tier(name: &str, order: f64, default_action: DefaultAction) -> Tier {
    // adding 0.0 turns -0.0 into 0.0, because `total_cmp` would sort -0.0 first
    Tier {
        name: name.to_owned(),
        order: order + 0.0,
        default_action,
        policies: Vec::new(),
    }
}

/// Checks a built-in tier in the input. It must have the built-in values. Missing fields get the
/// same defaults as in other tiers, and tier `default` has exactly these.
fn check_fixed(
    written: &manifest::Tier,
    name: &str,
    order: f64,
    default_action: DefaultAction,
    diagnostics: &mut Diagnostics,
) {
    let unstated_differs = [
        (
            "order",
            written.order.is_none() && order.total_cmp(&UNSTATED_ORDER).is_ne(),
        ),
        (
            "defaultAction",
            written.default_action.is_none() && default_action != DefaultAction::Deny,
        ),
    ];

    for (field, _) in unstated_differs.iter().filter(|(_, differs)| *differs) {
        let message = format!("tier `{name}` must state its fixed `{field}`");
        let help = format!(
            "write `order: {order}` and `defaultAction: {default_action:?}`, or leave the tier \
             out: it is there anyway"
        );
        diagnostics
            .push(Diagnostic::at(Code::FixedTier, written.metadata.name.span, message).help(help));
    }

    if let Some(stated) = written
        .order
        .filter(|stated| stated.value.total_cmp(&order).is_ne())
    {
        let message = format!("tier `{name}` has the fixed order {order}");
        diagnostics.push(
            Diagnostic::at(Code::FixedTier, stated.span, message)
                .help("remove `order`, or use a tier of your own"),
        );
    }

    if let Some(stated) = written
        .default_action
        .filter(|stated| stated.value != default_action)
    {
        let message = format!("tier `{name}` has the fixed default action `{default_action:?}`");
        diagnostics.push(
            Diagnostic::at(Code::FixedTier, stated.span, message)
                .help("remove `defaultAction`, or use a tier of your own"),
        );
    }
}

fn unknown_tier<'name>(
    name: &Spanned<String>,
    known: impl Iterator<Item = &'name String>,
) -> Diagnostic {
    let help = match nearest(&name.value, known.map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("add a Tier object named `{}` to the input", name.value),
    };
    Diagnostic::at(
        Code::UnknownTier,
        name.span,
        format!("there is no tier `{}`", name.value),
    )
    .help(help)
}

/// Sorts policies by order, lowest first, `None` last. Ties are broken by the text
/// `name/namespace/kind`, compared byte by byte, with the kind names of Calico.
fn sort_policies(policies: &mut [Policy]) {
    policies.sort_by_cached_key(|policy| {
        let key = &policy.key;
        let tie = format!(
            "{}/{}/{}",
            key.name,
            key.namespace.as_deref().unwrap_or_default(),
            key.kind.calico_name()
        );
        (PolicyOrder(policy.order), tie)
    });
}

/// A policy's order as a comparable value.
#[derive(PartialEq)]
struct PolicyOrder(Option<f64>);

impl Eq for PolicyOrder {}

impl PartialOrd for PolicyOrder {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PolicyOrder {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let rank = |order: &Self| order.0.map_or(f64::INFINITY, |order| order + 0.0);
        rank(self).total_cmp(&rank(other))
    }
}
