//! From the members that a set has to those that it is to have.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::net::{Cidr, Family};
use crate::plan::set_references::{LookupSide, MemberEffect, SetReferences};
use crate::ruleset::{ParsedMember, ParsedSet};

/// What is to come and to go; both sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MemberDelta {
    pub(super) missing: Vec<ParsedMember>,
    pub(super) extra: Vec<ParsedMember>,
}

/// A line that changes a set which rules look into.
#[derive(Debug, Clone, Copy)]
struct MemberEdit {
    /// The addresses that it is about; none where it is about ports.
    net: Option<Cidr>,
    effect: MemberEffect,
    side: Option<LookupSide>,
}

impl MemberDelta {
    /// Both lists are sorted; linear.
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

    /// How many members change.
    pub(super) fn len(&self) -> usize {
        self.missing.len() + self.extra.len()
    }

    /// Whether the removals take the last prefix of a length, while the set has wider ones. The
    /// kernel looks for an address length by length, longest first, in a list that it then moves up
    /// under packets in the middle of it: such a packet misses the next length, and with it a
    /// member that stays.
    ///
    /// Cost: linear.
    pub(super) fn ends_a_length(&self, found: &[ParsedMember]) -> bool {
        let (there, gone) = (lengths(found), lengths(&self.extra));
        let widest = there.keys().next();
        gone.iter()
            .any(|(length, count)| Some(length) != widest && there.get(length) == Some(count))
    }

    /// The lines that change a set, removals first: there is room for the rest then, and one prefix
    /// may come back as its own exception, which is the same member to the kernel.
    pub(super) fn write(&self, slot: &str, out: &mut String) {
        for run in runs(&self.extra) {
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

/// How many prefixes there are of each length.
fn lengths(members: &[ParsedMember]) -> BTreeMap<u8, usize> {
    let mut lengths = BTreeMap::new();
    for member in members {
        if let ParsedMember::Net(net, _) = member {
            *lengths.entry(net.prefix()).or_default() += 1;
        }
    }
    lengths
}

/// The lines that fill a set.
pub(super) fn add(members: &[ParsedMember], slot: &str, out: &mut String) {
    runs(members).for_each(|run| line("add", slot, run, out));
}

/// Members by lines: ports that follow each other are one.
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

/// Whether a set can have so many members.
pub(super) fn is_roomy(set: &ParsedSet, members: usize) -> bool {
    set.maxelem == 0 || usize::try_from(set.maxelem).is_ok_and(|most| members <= most)
}

/// Whether sets that a family's rules look into may be changed line by line, so that at every
/// instant what was and will be allowed passes, and what was and will be denied does not. Each line
/// must be the only one that a packet sees; or else all that it sees open, or all close. A packet
/// sees a line when one of its addresses lies in the member, on a side that rules ask about.
///
/// Cost: a sort of the members that change.
pub(super) fn is_hitless(
    changes: &[(&str, &MemberDelta)],
    family: Family,
    looks: &SetReferences<'_>,
) -> bool {
    let mut operations: Vec<MemberEdit> = changes
        .iter()
        .flat_map(|(slot, delta)| operations(slot, delta, family, looks))
        .collect();
    if operations.len() <= 1 || is_monotone(&operations) {
        return true;
    }

    let side = operations.first().and_then(|first| first.side);
    if side.is_none()
        || operations
            .iter()
            .any(|operation| operation.side != side || operation.net.is_none())
    {
        return false;
    }
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

/// The lines of a delta, as a family sees them; none where they change nothing there.
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
