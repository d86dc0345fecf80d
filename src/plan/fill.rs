//! Scripts that give sets their members.

use crate::observe::ObservedKernel;
use crate::plan::delta::{MemberDelta, add};
use crate::plan::differences::counted;
use crate::plan::targets::{FillStrategy, SetTarget, SetTargets, can_be_filled};
use crate::ruleset::ParsedSet;

/// Size in bytes from which a second `ipset` process pays for itself.
const WORTH_TWO: usize = 1 << 20;

/// Lines for `ipset restore`, and the number of sets that they change.
#[derive(Debug, Default)]
pub(super) struct FillScript {
    /// Lines for slots that no Palisade rule references, one text per set.
    hidden: Vec<String>,
    /// How many of these slots foreign rules reference.
    lent: usize,
    /// Lines that packets can observe.
    visible: String,
    /// Sets changed in place, while rules reference them.
    changed: usize,
    /// Sets swapped with a copy.
    swapped: usize,
    /// Source-validation sets that gain members.
    gates: usize,
    /// Sets changed in place although no safe strategy exists.
    exposed: usize,
}

impl FillScript {
    pub(super) fn new(targets: &SetTargets<'_>, observed: &ObservedKernel) -> Self {
        let mut script = Self::default();
        for target in targets.sets.values() {
            script.hide(target, observed);
        }

        for SetTarget { slot, way, .. } in targets.sets.values() {
            match way {
                FillStrategy::Stands | FillStrategy::Fresh | FillStrategy::Lent => {}
                FillStrategy::InPlace(delta) => {
                    delta.write(slot, &mut script.visible);
                    script.changed += 1;
                }
                FillStrategy::Gate { delta, .. } => {
                    add(&delta.missing, slot, &mut script.visible);
                    script.gates += usize::from(!delta.missing.is_empty());
                }
                FillStrategy::Exposed(delta) => {
                    delta.write(slot, &mut script.visible);
                    script.exposed += 1;
                }
                FillStrategy::Swap(copy) => {
                    script.visible.push_str(&format!("swap {slot} {copy}\n"));
                    script.swapped += 1;
                }
            }
        }

        script
    }

    /// Returns descriptions, each with the texts that `ipset` processes restore concurrently, in
    /// order. The invisible lines come first: if the kernel refuses one of them, no packet has seen
    /// a change.
    pub(super) fn parts(self) -> Vec<(String, Vec<String>)> {
        let own = self.hidden.len() - self.lent;
        let hidden = about(&[
            ("fill", own, "that no rule looks into"),
            ("fill", self.lent, "that only rules of others look into"),
        ]);
        let exposed = "in place, half of which packets may see, since all its names are taken";
        let gates = "of source validation what is to come";
        let visible = [
            ("add to", self.gates, gates),
            ("change", self.changed, "in place"),
            ("swap", self.swapped, "with a copy"),
            ("change", self.exposed, exposed),
        ];
        let visible = about(&visible);

        let parts = [
            (hidden, shared_out(self.hidden)),
            (visible, vec![self.visible]),
        ];
        parts
            .into_iter()
            .filter(|(about, _)| !about.is_empty())
            .collect()
    }

    fn hide(&mut self, target: &SetTarget<'_>, observed: &ObservedKernel) {
        match &target.way {
            FillStrategy::Stands
            | FillStrategy::InPlace(_)
            | FillStrategy::Exposed(_)
            | FillStrategy::Gate { copy: None, .. } => {}
            FillStrategy::Fresh => self.hidden.push(fill(target.set, &target.slot, observed)),
            FillStrategy::Lent => {
                self.hidden.push(fill(target.set, &target.slot, observed));
                self.lent += 1;
            }
            FillStrategy::Swap(copy)
            | FillStrategy::Gate {
                copy: Some(copy), ..
            } => {
                self.hidden.push(fill(target.set, copy, observed));
            }
        }
    }
}

/// Returns the lines that remove the extra members of gates, and the number of these gates.
pub(super) fn shrink(targets: &SetTargets<'_>) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for SetTarget { slot, way, .. } in targets.sets.values() {
        match way {
            // `fill` has filled the copy with the desired members, so one atomic swap removes all
            // the extra ones.
            FillStrategy::Gate {
                copy: Some(copy), ..
            } => text.push_str(&format!("swap {slot} {copy}\n")),
            FillStrategy::Gate { delta, copy: None } if !delta.extra.is_empty() => {
                let delta = MemberDelta {
                    missing: Vec::new(),
                    extra: delta.extra.clone(),
                };
                delta.write(slot, &mut text);
            }
            FillStrategy::Gate { .. }
            | FillStrategy::Stands
            | FillStrategy::Fresh
            | FillStrategy::Lent
            | FillStrategy::InPlace(_)
            | FillStrategy::Swap(_)
            | FillStrategy::Exposed(_) => continue,
        }
        count += 1;
    }

    (text, count)
}

/// Returns the lines that fill a set in a slot that no rule references.
fn fill(set: &ParsedSet, slot: &str, observed: &ObservedKernel) -> String {
    let mut text = String::new();
    let found = observed.sets.get(slot);
    if let Some(found) = found.filter(|found| can_be_filled(found, set)) {
        let delta = MemberDelta::between(&set.members, &found.members);
        if delta.len() <= set.members.len() {
            delta.write(slot, &mut text);
            return text;
        }
        // A flush and a refill are shorter than a delta that is longer than the set.
        text.push_str(&format!("flush {slot}\n"));
    } else {
        // A set of another type or size cannot be refilled. It is unreferenced, so it can be
        // destroyed.
        found
            .into_iter()
            .for_each(|_| text.push_str(&format!("destroy {slot}\n")));
        text.push_str(&set.create_line(slot));
    }

    add(&set.members, slot, &mut text);
    text
}

/// Returns one text, or two of about equal length if the total is long. A set is never split.
fn shared_out(texts: Vec<String>) -> Vec<String> {
    if texts.iter().map(String::len).sum::<usize>() < WORTH_TWO {
        return vec![texts.concat()];
    }

    let mut halves = [String::new(), String::new()];
    for text in texts {
        halves
            .iter_mut()
            .min_by_key(|half| half.len())
            .into_iter()
            .for_each(|half| half.push_str(&text));
    }

    halves.into_iter().filter(|half| !half.is_empty()).collect()
}

/// Formats `change 2 sets in place, swap 1 set with a copy`.
fn about(parts: &[(&str, usize, &str)]) -> String {
    let parts = parts.iter().filter(|(_, count, _)| *count > 0);
    let words: Vec<String> = parts
        .map(|(verb, count, how)| format!("{verb} {} {how}", counted(*count, "set")))
        .collect();
    words.join(", ")
}
