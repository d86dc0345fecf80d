//! Which policies apply to whom, kept once for all endpoints that agree.

use rustc_hash::FxHashMap;

use crate::inventory::EndpointId;
use crate::policy::SelectorId;

/// Endpoints in classes: all of one class are selected by the same selectors.
#[derive(Debug)]
pub(super) struct PolicyClasses {
    /// The class of every endpoint.
    classes: Vec<u32>,
    /// The selectors of every class, in order.
    selectors: Vec<Vec<SelectorId>>,
}

/// How a class came to be: a selector took these endpoints out of another class. Class 0, of which
/// they all come, has no row.
struct ClassSplit {
    from: u32,
    by: SelectorId,
}

impl PolicyClasses {
    /// Starts with one class and splits it by one selector after the other. Costs the members of
    /// all of them together.
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

/// Moves the members of every class into a new class of their own.
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
            splits.push(ClassSplit {
                from: *class,
                by: selector,
            });
            number(splits.len())
        });
    }
}

/// The selectors that made a class, first one first.
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
