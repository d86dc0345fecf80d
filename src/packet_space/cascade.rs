//! Rules that are asked one after another, gone through many at a time.
//!
//! A rule that is about all places alike takes some traffic off its way. What several such rules in
//! a row take is again of that form, so that a row of any length is applied at once:
//! [`RuleCascade`] joins rules by twos, fours and so on, when first asked.
//!
//! Cost: each joint is made once, of two others. To go through any range of `n` rules takes at most
//! `2 log n` joints, of which each costs the parts of sets that differ; only the outcome becomes a
//! set with a number.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::packet_space::header_space::{HeaderSetId, HeaderSpace};

/// What a rule, or several in a row, do to traffic that gets to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CascadeRule<const SINKS: usize> {
    /// What goes no further.
    pub(crate) off: HeaderSetId,
    /// What gets to each sink. It need not be off the way.
    pub(crate) to: [HeaderSetId; SINKS],
}

/// What rules have left of some traffic so far, and what is in the sinks.
#[derive(Debug, Clone, Copy)]
struct CascadeProgress<const SINKS: usize> {
    left: HeaderSetId,
    sinks: [HeaderSetId; SINKS],
}

/// Rules in a row.
#[derive(Debug)]
pub(crate) struct RuleCascade<const SINKS: usize> {
    rules: Vec<CascadeRule<SINKS>>,
    /// By level and number: two to the power of the level many rules, from as many times the
    /// number.
    joints: FxHashMap<(u32, usize), CascadeRule<SINKS>>,
}

impl<const SINKS: usize> CascadeRule<SINKS> {
    /// A rule that does nothing.
    pub(crate) const NOTHING: Self = Self {
        off: HeaderSpace::NONE,
        to: [HeaderSpace::NONE; SINKS],
    };

    /// A rule that takes traffic off its way into a sink.
    pub(crate) fn into_sink(sink: usize, taken: HeaderSetId) -> Self {
        let mut rule = Self {
            off: taken,
            ..Self::NOTHING
        };
        rule.to.get_mut(sink).into_iter().for_each(|to| *to = taken);
        rule
    }

    /// What this and then another one do.
    fn then(self, next: Self, traffic: &mut HeaderSpace) -> Self {
        let mut all = self;
        for (to, later) in all.to.iter_mut().zip(next.to) {
            let later = traffic.less(later, self.off);
            *to = traffic.or(*to, later);
        }
        all.off = traffic.or(self.off, next.off);
        all
    }

    /// Applies it to some traffic. Returns what is left of it.
    fn apply(
        &self,
        here: HeaderSetId,
        sinks: &mut [HeaderSetId; SINKS],
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        for (sink, to) in sinks.iter_mut().zip(self.to) {
            let taken = traffic.and(here, to);
            *sink = traffic.or(*sink, taken);
        }
        traffic.less(here, self.off)
    }
}

impl<const SINKS: usize> RuleCascade<SINKS> {
    /// These rules, in order.
    pub(crate) fn new(rules: Vec<CascadeRule<SINKS>>) -> Self {
        Self {
            rules,
            joints: FxHashMap::default(),
        }
    }

    /// Takes some traffic through the rules of a range, and adds to the sinks what gets there.
    /// Returns what is left.
    pub(crate) fn pass(
        &mut self,
        range: Range<usize>,
        here: HeaderSetId,
        sinks: &mut [HeaderSetId; SINKS],
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        if here == HeaderSpace::NONE || range.is_empty() {
            return here;
        }
        let rows = self.rows(range, traffic);
        match rows.as_slice() {
            [one] => one.apply(here, sinks, traffic),
            rows => traffic.cascade(rows, here, sinks),
        }
    }

    /// The fewest joints that together are a range, in order.
    fn rows(&mut self, range: Range<usize>, traffic: &mut HeaderSpace) -> Vec<CascadeRule<SINKS>> {
        let mut rows = Vec::new();
        let (mut next, end) = (range.start, range.end.min(self.rules.len()));
        while next < end {
            let level = next.trailing_zeros().min((end - next).ilog2());
            rows.push(self.joint(level, next >> level, traffic));
            next += 1 << level;
        }
        rows
    }

    fn joint(
        &mut self,
        level: u32,
        number: usize,
        traffic: &mut HeaderSpace,
    ) -> CascadeRule<SINKS> {
        let Some(below) = level.checked_sub(1) else {
            return self
                .rules
                .get(number)
                .copied()
                .unwrap_or(CascadeRule::NOTHING);
        };
        if let Some(known) = self.joints.get(&(level, number)) {
            return *known;
        }

        let first = self.joint(below, 2 * number, traffic);
        let second = self.joint(below, 2 * number + 1, traffic);
        let joint = first.then(second, traffic);
        self.joints.insert((level, number), joint);
        joint
    }
}

impl HeaderSpace {
    /// Takes some traffic through rules in a row, and adds to the sinks what gets there. Returns
    /// what is left.
    ///
    /// What is known between two rules does not become a set with a number: there would be one for
    /// each rule.
    pub(super) fn cascade<const SINKS: usize>(
        &mut self,
        rules: &[CascadeRule<SINKS>],
        here: HeaderSetId,
        sinks: &mut [HeaderSetId; SINKS],
    ) -> HeaderSetId {
        let start = CascadeProgress {
            left: here,
            sinks: *sinks,
        };
        let mut stack = rules.to_vec();
        let end = self.cascade_part(&mut stack, 0, start);
        *sinks = end.sinks;
        end.left
    }

    /// The same with the rules of a stack from a position, which it keeps.
    fn cascade_part<const SINKS: usize>(
        &mut self,
        stack: &mut Vec<CascadeRule<SINKS>>,
        first: usize,
        start: CascadeProgress<SINKS>,
    ) -> CascadeProgress<SINKS> {
        let rules = stack.get(first..).unwrap_or_default();
        if start.left == HeaderSpace::NONE || rules.is_empty() {
            return start;
        }

        let sets = rules
            .iter()
            .flat_map(|rule| rule.to.iter().chain([&rule.off]));
        let bit = sets
            .chain(&start.sinks)
            .chain([&start.left])
            .map(|set| self.diagram.bit(*set))
            .max()
            .unwrap_or_default();
        if bit == 0 {
            return self.cascade_leaves(rules, start);
        }

        let low = self.cascade_half(stack, first, bit, false, start);
        let high = self.cascade_half(stack, first, bit, true, start);
        let mut sinks = low.sinks;
        for (sink, high) in sinks.iter_mut().zip(high.sinks) {
            *sink = self.diagram.branch(bit, [*sink, high]);
        }

        CascadeProgress {
            left: self.diagram.branch(bit, [low.left, high.left]),
            sinks,
        }
    }

    /// The same, for what has a value of a bit: of the traffic, and of what is in the sinks.
    fn cascade_half<const SINKS: usize>(
        &mut self,
        stack: &mut Vec<CascadeRule<SINKS>>,
        first: usize,
        bit: u32,
        is_high: bool,
        start: CascadeProgress<SINKS>,
    ) -> CascadeProgress<SINKS> {
        let half = |set: HeaderSetId| {
            let [low, high] = self.diagram.halves(set, bit);
            if is_high { high } else { low }
        };

        let next = stack.len();
        for number in first..next {
            let part = stack.get(number).map(|rule| CascadeRule {
                off: half(rule.off),
                to: rule.to.map(half),
            });
            stack.extend(part.filter(|part| *part != CascadeRule::NOTHING));
        }

        let start = CascadeProgress {
            left: half(start.left),
            sinks: start.sinks.map(half),
        };
        let end = self.cascade_part(stack, next, start);
        stack.truncate(next);
        end
    }

    /// The same, for sets that are leaves.
    fn cascade_leaves<const SINKS: usize>(
        &mut self,
        rules: &[CascadeRule<SINKS>],
        start: CascadeProgress<SINKS>,
    ) -> CascadeProgress<SINKS> {
        let mut left = *self.diagram.words(start.left);
        let mut filled = [None; SINKS];
        for rule in rules {
            let sinks = filled.iter_mut().zip(rule.to).zip(start.sinks);
            for ((sink, to), known) in sinks.filter(|((_, to), _)| *to != HeaderSpace::NONE) {
                let sink = sink.get_or_insert_with(|| *self.diagram.words(known));
                let rows = sink.iter_mut().zip(&left).zip(self.diagram.words(to));
                rows.for_each(|((sink, left), to)| *sink |= left & to);
            }
            left.iter_mut()
                .zip(self.diagram.words(rule.off))
                .for_each(|(left, off)| *left &= !off);
        }

        let mut sinks = start.sinks;
        for (sink, filled) in sinks.iter_mut().zip(filled) {
            *sink = filled.map_or(*sink, |words| self.diagram.leaf(words));
        }
        CascadeProgress {
            left: self.diagram.leaf(left),
            sinks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{PortRange, Protocol, Side};
    use crate::packet_space::PartitionBuilder;

    /// Random numbers by a linear congruence (Knuth's MMIX).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap_or_default() % end
        }
    }

    /// Some ports, now and then everything.
    fn set(dice: &mut Dice, ports: &[PortRange], traffic: &mut HeaderSpace) -> HeaderSetId {
        let chosen: Vec<PortRange> = ports
            .iter()
            .filter(|_| dice.below(9) == 0)
            .copied()
            .collect();
        match dice.below(20) {
            0 => HeaderSpace::ALL,
            _ => traffic.with_ports(Side::Destination, &chosen),
        }
    }

    fn rule(dice: &mut Dice, ports: &[PortRange], traffic: &mut HeaderSpace) -> CascadeRule<3> {
        let rule = CascadeRule::into_sink(dice.below(3), set(dice, ports, traffic));
        match dice.below(5) {
            0 => CascadeRule {
                off: HeaderSpace::NONE,
                ..rule
            },
            _ => rule,
        }
    }

    fn check(seed: u64) {
        let mut dice = Dice(seed);
        let mut cuts = PartitionBuilder::default();
        let ports: Vec<PortRange> = (1..70)
            .filter_map(|port| PortRange::new(port * 10, port * 10))
            .collect();
        ports
            .iter()
            .for_each(|port| cuts.ports(Protocol::TCP, Side::Destination, *port));
        let mut traffic = HeaderSpace::of(&cuts);
        let count = 1 + dice.below(60);
        let rules: Vec<CascadeRule<3>> = (0..count)
            .map(|_| rule(&mut dice, &ports, &mut traffic))
            .collect();
        let mut cascade = RuleCascade::new(rules.clone());
        for _ in 0..40 {
            let start = dice.below(count + 1);
            let end = start + dice.below(count + 1 - start);
            let here = set(&mut dice, &ports, &mut traffic);
            let sinks: [HeaderSetId; 3] =
                std::array::from_fn(|_| set(&mut dice, &ports, &mut traffic));

            let mut found = sinks;
            let left = cascade.pass(start..end, here, &mut found, &mut traffic);

            let (mut expected, mut expected_left) = (sinks, here);
            for rule in &rules[start..end] {
                expected_left = rule.apply(expected_left, &mut expected, &mut traffic);
            }
            assert_eq!(
                (left, found),
                (expected_left, expected),
                "seed {seed}, rules {start}..{end} of {count}"
            );
        }
    }

    #[test]
    fn any_range_at_once_is_its_rules_one_by_one() {
        (0..30).for_each(check);
    }
}
