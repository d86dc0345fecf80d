//! Staged policies. They are checked like the policies that they propose, and enforced only on
//! request (semantics §2.5, §4.5).

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::manifest::{StagedAction, StagedManifest, StagedPolicy};
use crate::policy::order::{SortedPolicies, TieredPolicy};
use crate::policy::{PolicyKey, SelectorTable, calico, kubernetes};
use crate::source::Span;

/// How to treat staged policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StagedPolicies {
    /// Check them and do not enforce them, as a cluster does.
    #[default]
    Proposed,
    /// Compile them as if they were enforced.
    InForce,
}

/// Adds staged policies to the enforced ones. Every staged policy is checked, whatever its action.
pub(super) fn add(
    staged: &[StagedManifest],
    staging: StagedPolicies,
    enforced: Vec<TieredPolicy>,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> SortedPolicies {
    let mut sorted = SortedPolicies {
        in_force: enforced,
        left_out: Vec::new(),
    };
    let mut unused = SelectorTable::default();
    let mut gone: BTreeMap<PolicyKey, Span> = BTreeMap::new();
    let mut set = Vec::new();

    for StagedManifest { action, policy } in staged {
        match (staging, action) {
            (StagedPolicies::InForce, StagedAction::Set | StagedAction::Learn) => {
                set.push(check(policy, selectors, diagnostics))
            }
            (StagedPolicies::InForce, StagedAction::Delete) => {
                let deleted = check(policy, &mut unused, diagnostics);
                gone.insert(deleted.policy.key.clone(), deleted.policy.span);
                sorted.left_out.push(deleted);
            }
            (StagedPolicies::InForce, StagedAction::Ignore) | (StagedPolicies::Proposed, _) => {
                sorted
                    .left_out
                    .push(check(policy, &mut unused, diagnostics))
            }
        }
    }

    note_absent(&gone, &sorted.in_force, diagnostics);
    gone.extend(
        set.iter()
            .map(|placed| (placed.policy.key.clone(), placed.policy.span)),
    );

    // Replaced policies stay on the list of excluded ones, because their tiers are still checked.
    let (replaced, kept): (Vec<TieredPolicy>, Vec<TieredPolicy>) = sorted
        .in_force
        .into_iter()
        .partition(|placed| gone.contains_key(&placed.policy.key));
    sorted.left_out.extend(replaced);
    sorted.in_force = kept;
    sorted.in_force.extend(set);
    note_proposed(staged, staging, diagnostics);

    sorted
}

fn check(
    policy: &StagedPolicy,
    selectors: &mut SelectorTable,
    diagnostics: &mut Diagnostics,
) -> TieredPolicy {
    match policy {
        StagedPolicy::Calico(policy) => calico::policy(policy, selectors, diagnostics),
        StagedPolicy::Kubernetes(policy) => kubernetes::policy(policy, selectors, diagnostics),
    }
}

/// Notes a proposal to delete a policy that does not exist. The name may be wrong.
fn note_absent(
    gone: &BTreeMap<PolicyKey, Span>,
    enforced: &[TieredPolicy],
    diagnostics: &mut Diagnostics,
) {
    for (key, span) in gone
        .iter()
        .filter(|(key, _)| !enforced.iter().any(|placed| placed.policy.key == **key))
    {
        diagnostics.push(Diagnostic::at(
            Code::NothingToDelete,
            *span,
            format!("there is no `{key}` in the input that this could delete"),
        ));
    }
}

/// Notes how many staged policies are not enforced.
fn note_proposed(
    staged: &[StagedManifest],
    staging: StagedPolicies,
    diagnostics: &mut Diagnostics,
) {
    let message = match (staging, staged.len()) {
        (StagedPolicies::InForce, _) | (StagedPolicies::Proposed, 0) => return,
        (StagedPolicies::Proposed, 1) => "1 staged policy is not in force".to_owned(),
        (StagedPolicies::Proposed, many) => format!("{many} staged policies are not in force"),
    };
    diagnostics.push(
        Diagnostic::new(Code::StagedPolicies, message).help("`--staged` compiles as if they were"),
    );
}
