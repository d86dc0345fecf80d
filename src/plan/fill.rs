//! The scripts that bring sets to their members.

use crate::observe::ObservedKernel;
use crate::plan::delta::{MemberDelta, add};
use crate::plan::differences::counted;
use crate::plan::targets::{FillStrategy, SetTarget, SetTargets, can_be_filled};
use crate::ruleset::ParsedSet;

/// Bytes from which on it is worth another process to fill sets by two at once.
const WORTH_TWO: usize = 1 << 20;

/// Lines for `ipset restore`, and how many sets they are about.
#[derive(Debug, Default)]
pub(super) struct FillScript {
    /// What nobody sees, by set.
    hidden: Vec<String>,
    /// How many of these only rules of others see.
    lent: usize,
    /// What packets see.
    visible: String,
    /// Sets that are changed while rules look into them.
    changed: usize,
    /// Sets that are swapped with a copy.
    swapped: usize,
    /// Sets of source validation that gain members.
    gates: usize,
    /// Sets that are changed where no way is right.
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

    /// What is done and the texts that do it, which are run at once; in order. What nobody sees
    /// comes first: should a line be refused, nothing has happened yet.
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

/// The lines that take out of gates what they are to lose, and how many gates these are.
pub(super) fn shrink(targets: &SetTargets<'_>) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for SetTarget { slot, way, .. } in targets.sets.values() {
        match way {
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

/// The lines that fill a set in which nobody looks.
fn fill(set: &ParsedSet, slot: &str, observed: &ObservedKernel) -> String {
    let mut text = String::new();
    let found = observed.sets.get(slot);
    if let Some(found) = found.filter(|found| can_be_filled(found, set)) {
        let delta = MemberDelta::between(&set.members, &found.members);
        if delta.len() <= set.members.len() {
            delta.write(slot, &mut text);
            return text;
        }
        text.push_str(&format!("flush {slot}\n"));
    } else {
        found
            .into_iter()
            .for_each(|_| text.push_str(&format!("destroy {slot}\n")));
        text.push_str(&set.create_line(slot));
    }

    add(&set.members, slot, &mut text);
    text
}

/// One text or, where that is long, two of about the same length. A set is whole in one of them.
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

/// `change 2 sets in place, swap 1 set with a copy`.
fn about(parts: &[(&str, usize, &str)]) -> String {
    let parts = parts.iter().filter(|(_, count, _)| *count > 0);
    let words: Vec<String> = parts
        .map(|(verb, count, how)| format!("{verb} {} {how}", counted(*count, "set")))
        .collect();
    words.join(", ")
}
