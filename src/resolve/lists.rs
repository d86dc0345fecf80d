//! Sets of numbers as sorted lists without duplicates.

/// What stands in both. Costs the shorter list, times the logarithm of the gaps in the longer one.
pub(super) fn intersection(left: &[u32], right: &[u32]) -> Vec<u32> {
    let (few, mut many) = if left.len() <= right.len() {
        (left, right)
    } else {
        (right, left)
    };

    let mut both = Vec::new();
    for id in few {
        many = from(many, *id);
        if many.first() == Some(id) {
            both.push(*id);
        }
    }

    both
}

/// What stands in the left one only.
pub(super) fn difference(left: &[u32], mut right: &[u32]) -> Vec<u32> {
    let mut kept = Vec::with_capacity(left.len());
    for id in left {
        right = from(right, *id);
        if right.first() != Some(id) {
            kept.push(*id);
        }
    }
    kept
}

/// What stands in any of them. The sort finds the ascending runs and merges them.
pub(super) fn union<List: AsRef<[u32]>>(lists: impl IntoIterator<Item = List>) -> Vec<u32> {
    let mut any: Vec<u32> = Vec::new();
    for list in lists {
        any.extend_from_slice(list.as_ref());
    }
    any.sort();
    any.dedup();
    any
}

/// The part of a list that is not below a number: a window is doubled until it reaches far enough,
/// then searched.
fn from(list: &[u32], least: u32) -> &[u32] {
    let mut window = 1;
    while list.get(window - 1).is_some_and(|id| *id < least) {
        window *= 2;
    }
    let reached = list.get(..window).unwrap_or(list);
    let below = reached.partition_point(|id| *id < least);
    list.get(below..).unwrap_or_default()
}
