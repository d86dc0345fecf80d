//! Sets of numbers as sorted lists without duplicates.

/// Numbers in both lists. Cost: the length of the shorter list, times the logarithm of the gaps in
/// the longer one.
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

/// Numbers in the left list only.
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

/// Numbers in any of the lists. The stable sort detects the ascending runs and merges them.
pub(super) fn union<List: AsRef<[u32]>>(lists: impl IntoIterator<Item = List>) -> Vec<u32> {
    let mut any: Vec<u32> = Vec::new();
    for list in lists {
        any.extend_from_slice(list.as_ref());
    }
    any.sort();
    any.dedup();
    any
}

/// The part of a list from the first number that is at least `least`. Galloping search: doubles a
/// window until it reaches far enough, then searches inside it.
fn from(list: &[u32], least: u32) -> &[u32] {
    let mut window = 1;
    while list.get(window - 1).is_some_and(|id| *id < least) {
        window *= 2;
    }
    let reached = list.get(..window).unwrap_or(list);
    let below = reached.partition_point(|id| *id < least);
    list.get(below..).unwrap_or_default()
}
