//! The names under which a set may stand in the kernel.
//!
//! A set that rules look into cannot be changed at once together with another one. So where a
//! change must be one, a copy is filled under another name, and the rules that are committed look
//! into that. A set's name has ten such places, its slots; one of them is live.

/// What tells the slots apart. Names of sets have letters, digits and `-` only. A set that both
/// families look into may be live in eight slots, one a table, when several plans were killed;
/// there is one more to fill then, and one to spare.
const MARKS: [char; 9] = ['~', '+', '=', '_', '.', '@', '%', '^', ':'];

/// All names under which a set may stand, its own first; all as long as its own, or at most one
/// letter longer.
pub fn slots(name: &str) -> impl Iterator<Item = String> + '_ {
    std::iter::once(name.to_owned()).chain(MARKS.into_iter().map(move |mark| marked(name, mark)))
}

/// Whether a name is not the set's own.
pub(super) fn is_copy(slot: &str) -> bool {
    slot.contains(MARKS)
}

/// The name of the set that stands under a name.
pub fn base(slot: &str) -> String {
    match slot.strip_suffix(MARKS) {
        Some(name) => name.to_owned(),
        None => slot.replace(MARKS, "-"),
    }
}

/// `pal-s4-web-…` becomes `pal-s4~web-…`, and `pal-local4` becomes `pal-local4~`: names of the
/// first form may be as long as names can be.
fn marked(name: &str, mark: char) -> String {
    let own = crate::ruleset::PREFIX.len();
    let gap = name.get(own..).and_then(|rest| rest.find('-'));
    match gap.and_then(|at| Some((name.get(..own + at)?, name.get(own + at + 1..)?))) {
        Some((sort, rest)) => format!("{sort}{mark}{rest}"),
        None => format!("{name}{mark}"),
    }
}
