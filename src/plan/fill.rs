//! The scripts that bring sets to their members.

use crate::observe::Observed;
use crate::plan::delta::{Delta, add};
use crate::plan::differences::counted;
use crate::plan::targets::{Target, Targets, Way, can_be_filled};
use crate::ruleset::Set;

/// Bytes from which on it is worth another process to fill sets by two at once.
const WORTH_TWO: usize = 1 << 20;

/// Lines for `ipset restore`, and how many sets they are about.
#[derive(Debug, Default)]
pub(super) struct Script {
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

impl Script {
    pub(super) fn of(targets: &Targets<'_>, observed: &Observed) -> Self {
        let mut script = Self::default();
        for target in targets.sets.values() {
            script.hide(target, observed);
        }
        for Target { slot, way, .. } in targets.sets.values() {
            match way {
                Way::Stands | Way::Fresh | Way::Lent => {}
                Way::InPlace(delta) => {
                    delta.write(slot, &mut script.visible);
                    script.changed += 1;
                }
                Way::Gate { delta, .. } => {
                    add(&delta.missing, slot, &mut script.visible);
                    script.gates += usize::from(!delta.missing.is_empty());
                }
                Way::Exposed(delta) => {
                    delta.write(slot, &mut script.visible);
                    script.exposed += 1;
                }
                Way::Swap(copy) => {
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

    fn hide(&mut self, target: &Target<'_>, observed: &Observed) {
        match &target.way {
            Way::Stands | Way::InPlace(_) | Way::Exposed(_) | Way::Gate { copy: None, .. } => {}
            Way::Fresh => self.hidden.push(fill(target.set, &target.slot, observed)),
            Way::Lent => {
                self.hidden.push(fill(target.set, &target.slot, observed));
                self.lent += 1;
            }
            Way::Swap(copy)
            | Way::Gate {
                copy: Some(copy), ..
            } => {
                self.hidden.push(fill(target.set, copy, observed));
            }
        }
    }
}

/// The lines that take out of gates what they are to lose, and how many gates these are.
pub(super) fn shrink(targets: &Targets<'_>) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for Target { slot, way, .. } in targets.sets.values() {
        match way {
            Way::Gate {
                copy: Some(copy), ..
            } => text.push_str(&format!("swap {slot} {copy}\n")),
            Way::Gate { delta, copy: None } if !delta.extra.is_empty() => {
                let delta = Delta {
                    missing: Vec::new(),
                    extra: delta.extra.clone(),
                };
                delta.write(slot, &mut text);
            }
            Way::Gate { .. }
            | Way::Stands
            | Way::Fresh
            | Way::Lent
            | Way::InPlace(_)
            | Way::Swap(_)
            | Way::Exposed(_) => continue,
        }
        count += 1;
    }
    (text, count)
}

/// The lines that fill a set in which nobody looks.
fn fill(set: &Set, slot: &str, observed: &Observed) -> String {
    let mut text = String::new();
    let found = observed.sets.get(slot);
    if let Some(found) = found.filter(|found| can_be_filled(found, set)) {
        let delta = Delta::between(&set.members, &found.members);
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
