//! Difference between the members that a set has and those that it should have.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::net::{Cidr, Family};
use crate::plan::set_references::{LookupSide, MemberEffect, SetReferences};
use crate::ruleset::{ParsedMember, ParsedSet};

/// Members to add and members to remove. Both lists are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MemberDelta {
    pub(super) missing: Vec<ParsedMember>,
    pub(super) extra: Vec<ParsedMember>,
}

/// One added or removed member of a set that rules reference.
#[derive(Debug, Clone, Copy)]
struct MemberEdit {
    /// Addresses of the member. `None` for a port.
    net: Option<Cidr>,
    effect: MemberEffect,
    side: Option<LookupSide>,
}

impl MemberDelta {
    /// Compares two sorted lists. Cost: linear.
    pub(super) fn between(wanted: &[ParsedMember], found: &[ParsedMember]) -> Self {
        let mut delta = Self::default();
        let (mut wanted, mut found) = (wanted.iter().peekable(), found.iter().peekable());

        loop {
            match (wanted.peek(), found.peek()) {
                (None, None) => return delta,
                (Some(left), Some(right)) if left == right => {
                    wanted.next();
                    found.next();
                }
                (Some(left), right) if right.is_none_or(|right| left < right) => {
                    delta.missing.extend(wanted.next())
                }
                (Some(_) | None, _) => delta.extra.extend(found.next()),
            }
        }
    }

    /// Returns the number of changed members.
    pub(super) fn len(&self) -> usize {
        self.missing.len() + self.extra.len()
    }

    /// Returns whether the removals take the last prefix of some length while the set keeps wider
    /// prefixes. For each address, the kernel tries the prefix lengths in the set, longest first.
    /// It moves that list up when a length disappears, also while a packet is being matched: such a
    /// packet skips the next length, and may miss a member that stays.
    ///
    /// Cost: linear.
    pub(super) fn ends_a_length(&self, found: &[ParsedMember]) -> bool {
        let (there, gone) = (lengths(found), lengths(&self.extra));
        let widest = there.keys().next();
        gone.iter()
            .any(|(length, count)| Some(length) != widest && there.get(length) == Some(count))
    }

    /// Writes the lines that change a set, removals first. This order frees room for the additions.
    /// It also lets a prefix come back as its own `nomatch` exception, which is the same element to
    /// the kernel.
    pub(super) fn write(&self, slot: &str, out: &mut String) {
        for run in runs(&self.extra) {
            // `del` takes the prefix without `nomatch`.
            match run {
                [ParsedMember::Net(net, true)] => {
                    line("del", slot, &[ParsedMember::Net(*net, false)], out)
                }
                run => line("del", slot, run, out),
            }
        }
        add(&self.missing, slot, out);
    }
}

/// Counts the prefixes of each length.
fn lengths(members: &[ParsedMember]) -> BTreeMap<u8, usize> {
    let mut lengths = BTreeMap::new();
    for member in members {
        if let ParsedMember::Net(net, _) = member {
            *lengths.entry(net.prefix()).or_default() += 1;
        }
    }
    lengths
}

/// Writes the lines that fill a set.
pub(super) fn add(members: &[ParsedMember], slot: &str, out: &mut String) {
    runs(members).for_each(|run| line("add", slot, run, out));
}

/// Splits members into lines. Consecutive ports share one line.
fn runs(members: &[ParsedMember]) -> impl Iterator<Item = &[ParsedMember]> {
    let follows = |left: &ParsedMember, right: &ParsedMember| matches!((left, right), (ParsedMember::Port(left), ParsedMember::Port(right)) if left + 1 == *right);
    members.chunk_by(follows)
}

fn line(verb: &str, slot: &str, run: &[ParsedMember], out: &mut String) {
    let _ = match run {
        [first, .., last] => writeln!(out, "{verb} {slot} {first}-{last}"),
        [only] => writeln!(out, "{verb} {slot} {only}"),
        [] => Ok(()),
    };
}

/// Returns whether a set has room for this many members.
pub(super) fn is_roomy(set: &ParsedSet, members: usize) -> bool {
    set.maxelem == 0 || usize::try_from(set.maxelem).is_ok_and(|most| members <= most)
}

/// Returns whether the sets that a family's rules reference may be changed line by line, so that at
/// every instant traffic which old and new policy both allow passes, and traffic which both deny is
/// dropped. Each line must be the only one that affects a packet, or else all the lines that affect
/// it must open, or all must close. A line affects a packet if one of its addresses lies in the
/// member, on a side that rules match.
///
/// Cost: a sort of the changed members.
pub(super) fn is_hitless(
    changes: &[(&str, &MemberDelta)],
    family: Family,
    looks: &SetReferences<'_>,
) -> bool {
    let mut operations: Vec<MemberEdit> = changes
        .iter()
        .flat_map(|(slot, delta)| operations(slot, delta, family, looks))
        .collect();
    // A single line is atomic. Several are safe if all open or all close.
    if operations.len() <= 1 || is_monotone(&operations) {
        return true;
    }

    let side = operations.first().and_then(|first| first.side);
    // Lines about ports, or on different sides, may all concern the same packet.
    if side.is_none()
        || operations
            .iter()
            .any(|operation| operation.side != side || operation.net.is_none())
    {
        return false;
    }
    // Prefixes nest or are disjoint, so after the sort a prefix directly precedes all that it
    // contains.
    operations.sort_unstable_by_key(|operation| operation.net);

    let holds = |outer: &MemberEdit, inner: &MemberEdit| {
        outer
            .net
            .zip(inner.net)
            .is_some_and(|(outer, inner)| outer.contains(inner))
    };

    let mut rest = operations.as_slice();
    while let Some(outer) = rest.first() {
        let end = rest
            .iter()
            .position(|inner| !holds(outer, inner))
            .unwrap_or(rest.len());
        let (group, behind) = rest.split_at(end.max(1));
        // The members of a group overlap, so one packet may see several of its lines.
        if group.len() > 1 && !is_monotone(group) {
            return false;
        }
        rest = behind;
    }

    true
}

fn is_monotone(operations: &[MemberEdit]) -> bool {
    [MemberEffect::Opens, MemberEffect::Closes]
        .iter()
        .any(|effect| {
            operations
                .iter()
                .all(|operation| operation.effect == *effect)
        })
}

/// Returns the edits of a delta as one family sees them. Empty if they have no effect there.
fn operations<'delta>(
    slot: &str,
    delta: &'delta MemberDelta,
    family: Family,
    looks: &SetReferences<'_>,
) -> impl Iterator<Item = MemberEdit> + use<'delta> {
    let view = looks
        .view(slot, family)
        .filter(|view| view.effect() != MemberEffect::None);

    view.into_iter().flat_map(move |view| {
        let operation = move |member: &ParsedMember, effect: MemberEffect| {
            // Adding an exception (`nomatch`) has the effect of removing a member.
            let is_exception = matches!(member, ParsedMember::Net(_, true));
            MemberEdit {
                net: member.net(),
                effect: if is_exception {
                    effect.reverse()
                } else {
                    effect
                },
                side: view.side(),
            }
        };
        let missing = delta
            .missing
            .iter()
            .map(move |member| operation(member, view.effect()));
        missing.chain(
            delta
                .extra
                .iter()
                .map(move |member| operation(member, view.effect().reverse())),
        )
    })
}
