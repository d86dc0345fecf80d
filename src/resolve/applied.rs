//! The policies that apply to each endpoint, stored once for all endpoints with the same policies.

use rustc_hash::FxHashMap;

use crate::inventory::EndpointId;
use crate::policy::SelectorId;

/// A partition of the endpoints: the same selectors select all endpoints of a class.
#[derive(Debug)]
pub(super) struct PolicyClasses {
    /// The class of each endpoint.
    classes: Vec<u32>,
    /// The selectors of each class, in order.
    selectors: Vec<Vec<SelectorId>>,
}

/// How a class was created: a selector moved these endpoints out of another class. Class 0, from
/// which all others originate, has no entry.
struct ClassSplit {
    from: u32,
    by: SelectorId,
}

impl PolicyClasses {
    /// Starts with one class and splits it by each selector in turn. Cost: the members of all
    /// selectors.
    pub(super) fn new<'members>(
        members: impl Iterator<Item = (SelectorId, &'members [EndpointId])>,
        endpoints: usize,
    ) -> Self {
        let mut classes = vec![0; endpoints];
        let mut splits = Vec::new();
        for (selector, members) in members {
            split(&mut classes, &mut splits, selector, members);
        }

        let mut live = classes.clone();
        live.sort_unstable();
        live.dedup();
        classes
            .iter_mut()
            .for_each(|class| *class = number(live.binary_search(class).unwrap_or(usize::MAX)));

        Self {
            classes,
            selectors: live
                .into_iter()
                .map(|class| history(class, &splits))
                .collect(),
        }
    }

    pub(super) fn to(&self, endpoint: EndpointId) -> &[SelectorId] {
        let class = self.classes.get(endpoint.index());
        class
            .and_then(|class| self.selectors.get(*class as usize))
            .map_or(&[], Vec::as_slice)
    }
}

/// Moves the members of every class into a new class.
fn split(
    classes: &mut [u32],
    splits: &mut Vec<ClassSplit>,
    selector: SelectorId,
    members: &[EndpointId],
) {
    let mut new: FxHashMap<u32, u32> = FxHashMap::default();
    for id in members {
        let Some(class) = classes.get_mut(id.index()) else {
            continue;
        };
        *class = *new.entry(*class).or_insert_with(|| {
            // Class ids count from 1 in the order of `splits`; class 0 is the initial class.
            splits.push(ClassSplit {
                from: *class,
                by: selector,
            });
            number(splits.len())
        });
    }
}

/// The selectors that led to a class, first one first.
fn history(class: u32, splits: &[ClassSplit]) -> Vec<SelectorId> {
    let split = |class: u32| splits.get((class as usize).checked_sub(1)?);
    let mut selectors: Vec<SelectorId> =
        std::iter::successors(split(class), |last| split(last.from))
            .map(|split| split.by)
            .collect();
    selectors.reverse();
    selectors
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
