//! Compares the scripts' verdicts with the expected verdicts, for all packets of one family.
//!
//! The scripts are evaluated for all pairs of locations at once, which gives blocks of pairs that
//! the scripts treat alike. Each block is split by the [kinds](LocationKind) of its ends. The pairs
//! of such a part have the same expected verdicts apart from the policies of this node's endpoints,
//! so one comparison covers all of them. Where those policies matter, each pair is looked up, and
//! each distinct pair of answers is compared once.
//!
//! Cost: the evaluation, plus one look-up for each pair where endpoint policy matters (new
//! connections to and from this node's endpoints).

use rustc_hash::FxHashMap;

use crate::net::State;
use crate::netfilter::{EarlyOutcome, HookContext, SymbolicTables, TableOutcome};
use crate::packet::{Hook, PreDnatDestination, ReversePath};
use crate::packet_space::{HeaderSetId, HeaderSpace, LocationSet, PairBlock, merged};
use crate::verify::address_class::{AddressClasses, KindPair, LocationKind};
use crate::verify::crossing::{Crossing, PolicyTraffic};
use crate::verify::expected::{EarlyExpected, ExpectedPortion, ExpectedVerdicts, VerdictSets};
use crate::verify::witness::{self, WitnessCollector};

/// The comparison of one family.
pub(super) struct FamilyComparison<'run, 'eval, 'resolved, 'input> {
    pub(super) symbolic: &'run SymbolicTables<'run>,
    pub(super) owed: &'run ExpectedVerdicts<'run, 'input>,
    pub(super) ground: &'run AddressClasses,
    pub(super) traffic: &'run mut HeaderSpace,
    pub(super) collector: &'run mut WitnessCollector<'eval, 'eval, 'resolved, 'input>,
    pub(super) pairs: usize,
}

/// The outcome before the filter table: by the scripts, and as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EarlyComparison {
    pub(super) found: EarlyOutcome,
    pub(super) owed: EarlyExpected,
}

/// Packets that reach the filter table with the same history.
pub(super) struct FilterCase<'case> {
    pub(super) hook: &'case Hook,
    pub(super) state: State,
    pub(super) reverse_path: ReversePath,
    pub(super) portions: Vec<ExpectedPortion>,
    /// The expected verdicts before the filter table.
    pub(super) owed: VerdictSets,
    /// Packets that are untracked either by the scripts or by policy, but not by both.
    pub(super) kept: HeaderSetId,
    /// The destinations before DNAT, by source; empty if the destination is not translated.
    pub(super) originals: &'case [(LocationSet, PreDnatDestination)],
    /// The expected verdicts computed so far, by the kinds of both ends and the policy between
    /// them.
    pub(super) known: FxHashMap<(usize, usize, PolicyTraffic), VerdictSets>,
}

impl FamilyComparison<'_, '_, '_, '_> {
    /// Compares all packets of a hook and a state whose destination is not translated.
    pub(super) fn hook(&mut self, hook: &Hook, state: State) {
        let Some(possible) = self.ground.possible(hook) else {
            return;
        };
        for (block, before) in self.before(hook, state, ReversePath::Arriving, possible) {
            self.tables(hook, state, ReversePath::Arriving, block, &before);
        }
    }

    /// Compares the packets of a hook and a state whose route back does not use the input
    /// interface.
    ///
    /// The kernel has no `rpfilter` in the filter table. If raw and mangle treat such a packet as
    /// one with the right route back, and the expected verdict there is the same, then
    /// [`Self::hook`] has already compared it. Only the other packets are compared here.
    pub(super) fn spoofed(&mut self, hook: &Hook, state: State) {
        let Some(possible) = self.ground.possible(hook) else {
            return;
        };

        let arriving = self.before(hook, state, ReversePath::Arriving, possible.clone());
        for reverse_path in [ReversePath::Elsewhere, ReversePath::Nowhere] {
            for (block, before) in self.before(hook, state, reverse_path, possible.clone()) {
                // only pairs with another outcome before the filter table can differ after it
                let others = arriving.iter().filter(|(_, other)| *other != before);
                let parts = others
                    .filter_map(|(other, _)| block.within(&other.sources, &other.destinations));
                parts.for_each(|part| self.tables(hook, state, reverse_path, part, &before));
            }
        }
    }

    /// Returns the outcome before the filter table, by block.
    pub(super) fn before(
        &mut self,
        hook: &Hook,
        state: State,
        reverse_path: ReversePath,
        block: PairBlock,
    ) -> Vec<(PairBlock, EarlyComparison)> {
        let at = HookContext {
            columns: &self.ground.columns,
            hook,
            state,
            reverse_path,
            origins: None,
        };

        let untracked = if state == State::Untracked {
            HeaderSpace::ALL
        } else {
            HeaderSpace::NONE
        };

        let found = match self.symbolic.has_early() {
            true => self.symbolic.early(&at, block, self.traffic),
            false => vec![(
                block,
                EarlyOutcome {
                    dropped: HeaderSpace::NONE,
                    unclear: HeaderSpace::NONE,
                    untracked,
                },
            )],
        };
        let ground = self.ground;
        let parts = found.into_iter().flat_map(|(block, found)| {
            ground
                .parts(&block)
                .into_iter()
                .map(move |part| (part, found))
        });
        let mut all = Vec::new();

        for (part, found) in parts {
            let Some(between) =
                self.between(hook, part.source, part.destination, PolicyTraffic::NONE)
            else {
                continue;
            };
            let mut owed = self.owed.early(&between, state, reverse_path, self.traffic);
            if state == State::Untracked {
                owed.untracked = HeaderSpace::ALL;
            }
            all.push((part.block, EarlyComparison { found, owed }));
        }

        merged(all)
    }

    /// Evaluates the filter table for the packets that reach it, and compares the outcome.
    fn tables(
        &mut self,
        hook: &Hook,
        state: State,
        reverse_path: ReversePath,
        block: PairBlock,
        before: &EarlyComparison,
    ) {
        let at = HookContext {
            columns: &self.ground.columns,
            hook,
            state,
            reverse_path,
            origins: None,
        };
        let on = self.traffic.less(HeaderSpace::ALL, before.found.dropped);
        let untracked = self.traffic.and(on, before.found.untracked);
        let tracked = self.traffic.less(on, untracked);
        let mut blocks = vec![(
            block,
            TableOutcome {
                dropped: before.found.dropped,
                unclear: before.found.unclear,
                ..TableOutcome::NONE
            },
        )];

        for (at, here) in [
            (
                HookContext {
                    state: State::Untracked,
                    ..at
                },
                untracked,
            ),
            (at, tracked),
        ] {
            let on = |(block, out)| self.symbolic.filter(&at, block, here, out, self.traffic);
            blocks = blocks.into_iter().flat_map(on).collect();
        }

        let mut case = FilterCase {
            hook,
            state,
            reverse_path,
            portions: before.owed.portions(state, self.traffic),
            owed: VerdictSets {
                dropped: before.owed.dropped,
                ..VerdictSets::NONE
            },
            kept: self.differs(before.owed.untracked, before.found.untracked),
            originals: &[],
            known: FxHashMap::default(),
        };

        blocks
            .into_iter()
            .for_each(|(block, found)| self.judge(&mut case, &block, found));
    }

    /// Compares the outcome for a block with the expected verdicts.
    pub(super) fn judge(
        &mut self,
        case: &mut FilterCase<'_>,
        block: &PairBlock,
        found: TableOutcome,
    ) {
        self.pairs += block.pairs();
        for part in self.ground.parts(block) {
            // all pairs of a part have the same answer unless endpoint policy matters, so one pair
            // is enough
            let Some((source, destination)) = part.block.each().next() else {
                continue;
            };
            let fates = self.fates(case, &part, self.ground.policy(source, destination));
            if fates.is_by_policy {
                self.judge_each(case, &part, found);
            } else {
                let differing = self.differing(case, fates, found);
                self.note(case, differing, &part.block);
            }
        }
    }

    /// As [`Self::judge`], pair by pair, for pairs whose verdict depends on endpoint policy.
    fn judge_each(&mut self, case: &mut FilterCase<'_>, part: &KindPair, found: TableOutcome) {
        // many pairs have the same policy; each answer is compared once
        let mut known: FxHashMap<PolicyTraffic, HeaderSetId> = FxHashMap::default();
        let count = self.ground.places.len();

        for (source, destination) in part.block.each() {
            let policy = self.ground.policy(source, destination);
            let differing = match known.get(&policy) {
                Some(differing) => *differing,
                None => {
                    let fates = self.fates(case, part, policy);
                    *known
                        .entry(policy)
                        .or_insert(self.differing(case, fates, found))
                }
            };
            if differing != HeaderSpace::NONE {
                let [sources, destinations] =
                    [source, destination].map(|number| LocationSet::these(count, &[number]));
                self.note(
                    case,
                    differing,
                    &PairBlock {
                        sources,
                        destinations,
                    },
                );
            }
        }
    }

    /// Returns the expected verdicts for packets between two kinds of locations.
    fn fates(
        &mut self,
        case: &mut FilterCase<'_>,
        part: &KindPair,
        policy: PolicyTraffic,
    ) -> VerdictSets {
        let key = (part.source, part.destination, policy);
        if let Some(known) = case.known.get(&key) {
            return *known;
        }

        let mut fates = case.owed;
        if let Some(between) = self.between(case.hook, part.source, part.destination, policy) {
            for portion in &case.portions {
                self.owed.late(&between, *portion, self.traffic, &mut fates);
            }
        }

        case.known.insert(key, fates);
        fates
    }

    fn between<'hook>(
        &self,
        hook: &'hook Hook,
        source: usize,
        destination: usize,
        policy: PolicyTraffic,
    ) -> Option<Crossing<'hook>> {
        let place = |kind: usize| {
            self.ground
                .kinds
                .get(kind)
                .map(|kind: &LocationKind| kind.place)
        };

        Some(Crossing {
            source: place(source)?,
            destination: place(destination)?,
            hook,
            policy,
        })
    }

    fn differing(
        &mut self,
        case: &FilterCase<'_>,
        owed: VerdictSets,
        found: TableOutcome,
    ) -> HeaderSetId {
        let accepted = self.differs(owed.accepted, found.accepted);
        let dropped = self.differs(owed.dropped, found.dropped);
        // tracking does not matter for packets that are dropped
        let kept = self.traffic.less(case.kept, found.dropped);
        let differing = self.traffic.or(accepted, dropped);
        // a match whose result is unknown must not count as proven
        let differing = self.traffic.or(differing, found.unclear);
        self.traffic.or(differing, kept)
    }

    fn differs(&mut self, left: HeaderSetId, right: HeaderSetId) -> HeaderSetId {
        // equal sets have equal ids, which is the common case
        if left == right {
            return HeaderSpace::NONE;
        }
        let (one, other) = (
            self.traffic.less(left, right),
            self.traffic.less(right, left),
        );
        self.traffic.or(one, other)
    }

    /// Records a block of pairs with a difference.
    fn note(&mut self, case: &FilterCase<'_>, differing: HeaderSetId, block: &PairBlock) {
        if differing == HeaderSpace::NONE {
            return;
        }

        self.collector.count(block.pairs());
        let class = self.traffic.most_expected(differing);

        for (source, destination) in block.each() {
            if !self.collector.wants_more() {
                return;
            }
            let original = case
                .originals
                .iter()
                .find(|(sources, _)| sources.holds(source))
                .map(|row| row.1);
            let places = self
                .ground
                .places
                .get(source)
                .zip(self.ground.places.get(destination));
            let between = places.map(|(from, to)| Crossing {
                source: *from,
                destination: *to,
                hook: case.hook,
                policy: PolicyTraffic::NONE,
            });
            let packet = between.zip(class.as_ref()).and_then(|(between, class)| {
                witness::packet(&between, original, case.state, case.reverse_path, class)
            });
            self.collector.add(packet);
        }
    }
}
