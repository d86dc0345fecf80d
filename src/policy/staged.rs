//! Staged policies: checked like the ones they propose, and put into force only when asked to
//! (reference §2.5, §4.5).

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::manifest::{Staged, StagedAction, StagedPolicy};
use crate::policy::order::{Placed, Sorted};
use crate::policy::{PolicyKey, Selectors, calico, kubernetes};
use crate::source::Span;

/// What becomes of staged policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Staging {
    /// Nothing, as in a cluster.
    #[default]
    Proposed,
    /// They are compiled as if they were in force.
    InForce,
}

/// Adds staged policies to the enforced ones. Each is checked, whatever it proposes.
pub(super) fn add(
    staged: &[Staged],
    staging: Staging,
    enforced: Vec<Placed>,
    selectors: &mut Selectors,
    found: &mut Diagnostics,
) -> Sorted {
    let mut sorted = Sorted {
        in_force: enforced,
        left_out: Vec::new(),
    };
    let mut unused = Selectors::default();
    let mut gone: BTreeMap<PolicyKey, Span> = BTreeMap::new();
    let mut set = Vec::new();
    for Staged { action, policy } in staged {
        match (staging, action) {
            (Staging::InForce, StagedAction::Set | StagedAction::Learn) => {
                set.push(check(policy, selectors, found))
            }
            (Staging::InForce, StagedAction::Delete) => {
                let deleted = check(policy, &mut unused, found);
                gone.insert(deleted.policy.key.clone(), deleted.policy.span);
                sorted.left_out.push(deleted);
            }
            (Staging::InForce, StagedAction::Ignore) | (Staging::Proposed, _) => {
                sorted.left_out.push(check(policy, &mut unused, found))
            }
        }
    }
    note_absent(&gone, &sorted.in_force, found);
    gone.extend(
        set.iter()
            .map(|placed| (placed.policy.key.clone(), placed.policy.span)),
    );
    let (replaced, kept): (Vec<Placed>, Vec<Placed>) = sorted
        .in_force
        .into_iter()
        .partition(|placed| gone.contains_key(&placed.policy.key));
    sorted.left_out.extend(replaced);
    sorted.in_force = kept;
    sorted.in_force.extend(set);
    note_proposed(staged, staging, found);
    sorted
}

fn check(policy: &StagedPolicy, selectors: &mut Selectors, found: &mut Diagnostics) -> Placed {
    match policy {
        StagedPolicy::Calico(policy) => calico::policy(policy, selectors, found),
        StagedPolicy::Kubernetes(policy) => kubernetes::policy(policy, selectors, found),
    }
}

/// A proposal to delete what is not there may have the wrong name.
fn note_absent(gone: &BTreeMap<PolicyKey, Span>, enforced: &[Placed], found: &mut Diagnostics) {
    for (key, span) in gone
        .iter()
        .filter(|(key, _)| !enforced.iter().any(|placed| placed.policy.key == **key))
    {
        found.push(Diagnostic::at(
            Code::NothingToDelete,
            *span,
            format!("there is no `{key}` in the input that this could delete"),
        ));
    }
}

/// Says how many staged policies are not in force.
fn note_proposed(staged: &[Staged], staging: Staging, found: &mut Diagnostics) {
    let message = match (staging, staged.len()) {
        (Staging::InForce, _) | (Staging::Proposed, 0) => return,
        (Staging::Proposed, 1) => "1 staged policy is not in force".to_owned(),
        (Staging::Proposed, many) => format!("{many} staged policies are not in force"),
    };
    found.push(
        Diagnostic::new(Code::StagedPolicies, message).help("`--staged` compiles as if they were"),
    );
}
