//! Representative interface names: one for each class of names that rules and policy do not
//! distinguish.
//!
//! In: the names and name prefixes in rules and policy. Out: [`InterfaceQuestions::all`], one name
//! for each class. Every class has a representative: if no readable name is free, [`UNASKED`] is a
//! letter that no script and no input can contain.

use std::collections::BTreeSet;

use crate::limits;
use crate::netfilter::NodeKernel;
use crate::options::CompileOptions;
use crate::packet::LOOPBACK;
use crate::verify::host_endpoints::NodeHostEndpoints;

/// The readable letters that are tried first.
const LETTERS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// A letter that only the kernel accepts in an interface name. It represents byte 0xff, so it
/// counts as one byte of a name.
///
/// The kernel accepts every byte but `/`, `:` and white space (`dev_valid_name` in net/core/dev.c).
/// Scripts, host endpoints and options contain ASCII names only.
const UNASKED: char = '\u{ff}';

/// The interface names and name prefixes that rules, host endpoints and options match.
#[derive(Debug, Default)]
pub(super) struct InterfaceQuestions<'run> {
    /// Full names.
    names: BTreeSet<&'run str>,
    /// Name prefixes.
    stems: BTreeSet<&'run str>,
}

impl<'run> InterfaceQuestions<'run> {
    /// Collects the names and prefixes of rules, host endpoints and options, and the loopback
    /// interface.
    pub(super) fn new(
        kernel: &'run NodeKernel,
        hosts: &'run NodeHostEndpoints<'_>,
        options: &'run CompileOptions,
    ) -> Self {
        let mut asked = Self {
            names: kernel.interfaces(),
            stems: kernel.interface_stems(),
        };
        asked.names.extend(hosts.interfaces());
        asked.names.insert(LOOPBACK);

        for pattern in &options.pod_interfaces {
            let known = if pattern.is_open() {
                &mut asked.stems
            } else {
                &mut asked.names
            };
            known.insert(pattern.stem());
        }

        asked
    }

    /// Returns one name for each class of interfaces: every full name, one name for each prefix
    /// that matches no longer prefix, and one name that matches nothing.
    pub(super) fn all(&self) -> Vec<String> {
        let names = self.names.iter().map(|name| (*name).to_owned());
        let under = self.stems.iter().filter_map(|stem| self.under(stem));
        names.chain(under).chain([self.other()]).collect()
    }

    /// Returns a name that matches this prefix, no full name and no longer prefix. Returns `None`
    /// if the prefix has the maximum length of a name and is itself a full name.
    fn under(&self, stem: &str) -> Option<String> {
        let longer = LETTERS.chars().map(|letter| format!("{stem}{letter}"));
        let mut readable = std::iter::once(stem.to_owned()).chain(longer);
        let is_free = |name: &String| name.len() <= limits::INTERFACE && self.is_free(name, stem);
        let has_room = stem.len() < limits::INTERFACE;
        readable
            .find(is_free)
            .or_else(|| has_room.then(|| format!("{stem}{UNASKED}")))
    }

    /// Returns a name that matches nothing.
    fn other(&self) -> String {
        let letters = LETTERS.chars().map(|letter| format!("{letter}ther"));
        let mut readable = std::iter::once("other0".to_owned()).chain(letters);
        readable
            .find(|name| self.is_free(name, ""))
            .unwrap_or_else(|| UNASKED.to_string())
    }

    /// Returns `true` if a name matches no full name and no prefix longer than `stem`.
    fn is_free(&self, name: &str, stem: &str) -> bool {
        let mut longer = self.stems.iter().filter(|other| other.len() > stem.len());
        !self.names.contains(name) && !longer.any(|other| name.starts_with(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the full name and the prefixes that a name matches. No rule distinguishes names with
    /// the same answers.
    fn answers(asked: &InterfaceQuestions<'_>, name: &str) -> (Option<String>, Vec<String>) {
        let stems = asked.stems.iter().filter(|stem| name.starts_with(**stem));
        (
            asked.names.get(name).map(|name| (*name).to_owned()),
            stems.map(|stem| (*stem).to_owned()).collect(),
        )
    }

    /// Asserts that each of some names has the same answers as one of the representatives.
    fn check(asked: &InterfaceQuestions<'_>, names: impl IntoIterator<Item = String>) {
        let all = asked.all();
        let known: BTreeSet<_> = all.iter().map(|name| answers(asked, name)).collect();
        assert!(
            all.iter()
                .all(|name| name.chars().count() <= limits::INTERFACE),
            "{all:?}"
        );

        for name in names {
            let of_name = answers(asked, &name);
            assert!(
                known.contains(&of_name),
                "`{name}` is left out: {of_name:?}"
            );
        }
    }

    /// Returns the letters that scripts may use in interface names.
    fn script_letters() -> impl Iterator<Item = char> {
        LETTERS.chars().chain("_.-".chars())
    }

    /// Runs the check where all names that continue `stem` with one of these letters have prefixes
    /// of their own. `is_whole` says if `stem` is a full name too.
    fn check_behind(stem: &str, is_whole: bool, letters: &str) {
        let longer: Vec<String> = script_letters()
            .map(|letter| format!("{stem}{letter}"))
            .collect();
        let taken = longer
            .iter()
            .filter(|name| name.ends_with(|last| letters.contains(last)));
        let stems = taken
            .map(String::as_str)
            .chain(Some(stem).filter(|stem| !stem.is_empty()));
        let names = Some(stem).filter(|stem| is_whole && !stem.is_empty());
        let asked = InterfaceQuestions {
            names: names.into_iter().chain([LOOPBACK]).collect(),
            stems: stems.collect(),
        };

        let kernels =
            ["-", "_1", ".", "é", "\u{1}", "\u{ff}", "%"].map(|end| format!("{stem}{end}"));
        let fits = |name: &String| name.chars().count() <= limits::INTERFACE;
        check(
            &asked,
            kernels.into_iter().chain(longer.clone()).filter(fits),
        );
    }

    #[test]
    fn names_behind_all_beginnings_are_compared() {
        for stem in [
            "",
            "br",
            "eth0.",
            "b",
            "veth_12345678",
            "abcdefghijklm",
            "abcdefghijklmn",
        ] {
            check_behind(stem, true, LETTERS);
            check_behind(stem, true, "_.-");
            check_behind(stem, false, LETTERS);
        }
    }

    #[test]
    fn names_that_begin_like_no_other_are_compared() {
        let stems: Vec<String> = script_letters().map(String::from).collect();
        let asked = InterfaceQuestions {
            names: BTreeSet::from([LOOPBACK]),
            stems: stems.iter().map(String::as_str).collect(),
        };
        check(&asked, ["é0", "other0", "%", "\u{1}x"].map(str::to_owned));

        let whole = [
            ["other0"].map(str::to_owned).to_vec(),
            LETTERS
                .chars()
                .map(|letter| format!("{letter}ther"))
                .collect(),
        ]
        .concat();
        let asked = InterfaceQuestions {
            names: whole.iter().map(String::as_str).collect(),
            stems: BTreeSet::new(),
        };
        check(&asked, ["eth0", "br-lan"].map(str::to_owned));
    }
}
