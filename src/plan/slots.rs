//! Slots: the kernel names under which a set may exist.
//!
//! Two sets that rules reference cannot change in one atomic step. If several changes must be
//! atomic, the plan fills copies under other names, and commits rules that reference those copies.
//! Each set name has ten such names, its slots. One of them is live.

/// Characters that distinguish the slots. Set names contain only letters, digits and `-`. If
/// several plans were killed, a set that both families reference may be live in eight slots, one
/// per table. One more slot is needed for the next fill, and one is spare.
const MARKS: [char; 9] = ['~', '+', '=', '_', '.', '@', '%', '^', ':'];

/// Returns all slots of a set, its own name first. A slot is as long as the name, or at most one
/// character longer.
pub fn slots(name: &str) -> impl Iterator<Item = String> + '_ {
    std::iter::once(name.to_owned()).chain(MARKS.into_iter().map(move |mark| marked(name, mark)))
}

/// Returns whether a kernel name is a slot other than the set's own name.
pub(super) fn is_copy(slot: &str) -> bool {
    slot.contains(MARKS)
}

/// Returns the name of the set to which a slot belongs.
pub fn base(slot: &str) -> String {
    match slot.strip_suffix(MARKS) {
        Some(name) => name.to_owned(),
        // Set names contain no mark, so a mark within the name replaces a `-`.
        None => slot.replace(MARKS, "-"),
    }
}

/// Returns one slot: `pal-s4-web-…` becomes `pal-s4~web-…`, and `pal-local4` becomes `pal-local4~`.
/// Names of the first form may already have the maximum length, so the mark replaces a `-`.
fn marked(name: &str, mark: char) -> String {
    let own = crate::ruleset::PREFIX.len();
    let gap = name.get(own..).and_then(|rest| rest.find('-'));
    match gap.and_then(|at| Some((name.get(..own + at)?, name.get(own + at + 1..)?))) {
        Some((sort, rest)) => format!("{sort}{mark}{rest}"),
        None => format!("{name}{mark}"),
    }
}
