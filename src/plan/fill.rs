//! The script that brings sets to their members.

use std::fmt;

use crate::observe::Observed;
use crate::plan::delta::{Delta, add};
use crate::plan::differences::counted;
use crate::plan::targets::{Target, Targets, Way, can_be_filled};
use crate::script::Set;

/// Lines for `ipset restore`, and how many sets they are about.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) text: String,
    /// Sets that are filled while no rule looks into them.
    pub(super) filled: usize,
    /// Sets that are changed while rules look into them.
    pub(super) changed: usize,
    /// Sets that are swapped with a copy.
    pub(super) swapped: usize,
}

impl Script {
    /// What nobody sees comes first; then, should a line be refused, nothing has happened yet.
    pub(super) fn of(targets: &Targets<'_>, observed: &Observed) -> Self {
        let mut script = Self::default();
        for target in targets.0.values() {
            script.hidden(target, observed);
        }
        for Target { slot, way, .. } in targets.0.values() {
            match way {
                Way::Stands | Way::Fresh => {}
                Way::InPlace(delta) => {
                    delta.write(slot, &mut script.text);
                    script.changed += 1;
                }
                Way::Swap(copy) => {
                    script.text.push_str(&format!("swap {slot} {copy}\n"));
                    script.swapped += 1;
                }
            }
        }
        script
    }

    fn hidden(&mut self, target: &Target<'_>, observed: &Observed) {
        match &target.way {
            Way::Stands | Way::InPlace(_) => {}
            Way::Fresh => {
                self.fill(target.set, &target.slot, observed);
                self.filled += 1;
            }
            Way::Swap(copy) => self.fill(target.set, copy, observed),
        }
    }

    fn fill(&mut self, set: &Set, slot: &str, observed: &Observed) {
        let found = observed.sets.get(slot);
        if let Some(found) = found.filter(|found| can_be_filled(found, set)) {
            let delta = Delta::between(&set.members, &found.members);
            if delta.len() <= set.members.len() {
                return delta.write(slot, &mut self.text);
            }
            self.text.push_str(&format!("flush {slot}\n"));
        } else {
            found.into_iter().for_each(|_| self.text.push_str(&format!("destroy {slot}\n")));
            self.text.push_str(&set.create_line(slot));
        }
        add(&set.members, slot, &mut self.text);
    }
}

/// `fill 2 sets beside, change 1 set in place`.
impl fmt::Display for Script {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts =
            [("fill", self.filled, "that no rule looks into"), ("change", self.changed, "in place"), ("swap", self.swapped, "with a copy")];
        let parts = parts.iter().filter(|(_, count, _)| *count > 0);
        let words: Vec<String> = parts.map(|(verb, count, how)| format!("{verb} {} {how}", counted(*count, "set"))).collect();
        out.write_str(&words.join(", "))
    }
}
