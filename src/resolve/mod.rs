//! Selectors become endpoints, network sets and addresses.
//!
//! In: the [`PolicySet`] and the [`Inventory`]. Out: [`Resolved`], which knows who every selector selects and which policies
//! apply to whom. Absent: changing policy, chains, kernel names. Later rooms ask for members; they never look at a label.
//!
//! Cost, with `L` labels in all, `S` distinct selectors and `R` members of all of them together: `O(L)` for an index from label
//! to who has it, then for each selector about as many steps as its rarest part has members, so `O(L + S + R)` where selectors
//! have a rare part, and never policy × endpoint. Only a negation by itself, or an `||` of several, costs the whole cluster.

mod applied;
mod index;
mod lists;
mod model;
mod universe;

pub use model::{NetworkSetId, Place, Resolved, Selection};

use std::collections::BTreeSet;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::Inventory;
use crate::policy::PolicySet;

use index::Index;
use universe::Universe;

/// Evaluates every selector of the policies, once.
pub fn selectors<'input>(policies: &'input PolicySet, inventory: &'input Inventory, found: &mut Diagnostics) -> Resolved<'input> {
    note_unknown_namespaces(policies, inventory, found);
    let universe = Universe::of(policies, inventory);
    let index = Index::of(&universe);
    let selections = policies.selectors.iter().map(|(_, expr)| Selection::of(&index.evaluate(expr), inventory)).collect();
    Resolved::new(policies, inventory, selections)
}

/// The inventory has noted those of endpoints; these are only named by policies, which then apply to nobody, and network sets.
fn note_unknown_namespaces(policies: &PolicySet, inventory: &Inventory, found: &mut Diagnostics) {
    let mut noted = BTreeSet::new();
    let of_policies = policies.tiers.iter().flat_map(|tier| &tier.policies).map(|policy| (policy.key.namespace.as_deref(), policy.span));
    let of_sets = policies.network_sets.iter().map(|set| (set.namespace.as_deref(), set.span));
    for (namespace, span) in of_policies.chain(of_sets) {
        let Some(namespace) = namespace else { continue };
        if !inventory.namespaces.contains_key(namespace) && noted.insert(namespace) {
            let message = format!("the namespace `{namespace}` is not in the input, so it has no labels");
            found.push(Diagnostic::new(Code::UnknownNamespace, message).label(span, "this is in it"));
        }
    }
}

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
