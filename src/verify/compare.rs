//! What scripts do and what is owed, compared for all packets of a family.
//!
//! The scripts are walked through with all pairs of places at once, and give blocks of pairs with
//! which they do the same. A block is split by the [kinds](LocationKind) of its ends; the pairs of
//! such a part are owed the same, but for what the policies of this node's endpoints say, so that
//! one comparison is for all of them. Where those policies are asked, each pair is looked up, and
//! compared once for each pair of answers.
//!
//! Cost: the walk, and where policy is asked (new connections to and from this node's endpoints) a
//! look-up for each pair.

use rustc_hash::FxHashMap;

use crate::net::State;
use crate::netfilter::{EarlyOutcome, HookContext, SymbolicTables, TableOutcome};
use crate::packet::{Hook, PreDnatDestination, ReversePath};
use crate::packet_space::{HeaderSetId, HeaderSpace, LocationSet, PairBlock, merged};
use crate::verify::address_class::{AddressClasses, KindPair, LocationKind};
use crate::verify::crossing::{Crossing, PolicyTraffic};
use crate::verify::expected::{EarlyExpected, ExpectedPortion, ExpectedVerdicts, VerdictSets};
use crate::verify::witness::{self, WitnessCollector};

/// A family's comparison.
pub(super) struct FamilyComparison<'run, 'eval, 'resolved, 'input> {
    pub(super) symbolic: &'run SymbolicTables<'run>,
    pub(super) owed: &'run ExpectedVerdicts<'run, 'input>,
    pub(super) ground: &'run AddressClasses,
    pub(super) traffic: &'run mut HeaderSpace,
    pub(super) collector: &'run mut WitnessCollector<'eval, 'eval, 'resolved, 'input>,
    pub(super) pairs: usize,
}

/// Packets before the filter table, on both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EarlyComparison {
    pub(super) found: EarlyOutcome,
    pub(super) owed: EarlyExpected,
}

/// Packets that get to the filter table with the same behind them.
pub(super) struct FilterCase<'case> {
    pub(super) hook: &'case Hook,
    pub(super) state: State,
    pub(super) reverse_path: ReversePath,
    pub(super) portions: Vec<ExpectedPortion>,
    /// What is owed before.
    pub(super) owed: VerdictSets,
    /// Packets that are kept from connection tracking on one way only.
    pub(super) kept: HeaderSetId,
    /// Where they were sent to, by their source; nothing, where that is where they go.
    pub(super) originals: &'case [(LocationSet, PreDnatDestination)],
    /// What was asked: kinds of source and destination, and what policy says between them.
    pub(super) known: FxHashMap<(usize, usize, PolicyTraffic), VerdictSets>,
}

impl FamilyComparison<'_, '_, '_, '_> {
    /// All packets of a hook in a state whose destination is not translated.
    pub(super) fn hook(&mut self, hook: &Hook, state: State) {
        let Some(possible) = self.ground.possible(hook) else {
            return;
        };
        for (block, before) in self.before(hook, state, ReversePath::Arriving, possible) {
            self.tables(hook, state, ReversePath::Arriving, block, &before);
        }
    }

    /// The packets of a hook in a state whose route back does not lead where they arrive.
    ///
    /// The kernel has no `rpfilter` in the filter table. So where the tables before that do the
    /// same with a packet as with one whose route back is right, and the same is owed to it there,
    /// all is as [`Self::hook`] compares it. The others are compared here.
    pub(super) fn spoofed(&mut self, hook: &Hook, state: State) {
        let Some(possible) = self.ground.possible(hook) else {
            return;
        };

        let arriving = self.before(hook, state, ReversePath::Arriving, possible.clone());
        for reverse_path in [ReversePath::Elsewhere, ReversePath::Nowhere] {
            for (block, before) in self.before(hook, state, reverse_path, possible.clone()) {
                let others = arriving.iter().filter(|(_, other)| *other != before);
                let parts = others
                    .filter_map(|(other, _)| block.within(&other.sources, &other.destinations));
                parts.for_each(|part| self.tables(hook, state, reverse_path, part, &before));
            }
        }
    }

    /// What becomes of packets before the filter table.
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

    /// Packets through the filter table, behind the others.
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

    /// Compares what was found for a block with what is owed.
    pub(super) fn judge(
        &mut self,
        case: &mut FilterCase<'_>,
        block: &PairBlock,
        found: TableOutcome,
    ) {
        self.pairs += block.pairs();
        for part in self.ground.parts(block) {
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

    /// The same, pair by pair, for those that policy decides about.
    fn judge_each(&mut self, case: &mut FilterCase<'_>, part: &KindPair, found: TableOutcome) {
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

    /// What is owed to packets between two kinds of places.
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
        // of what is dropped nobody needs to know more
        let kept = self.traffic.less(case.kept, found.dropped);
        let differing = self.traffic.or(accepted, dropped);
        let differing = self.traffic.or(differing, found.unclear);
        self.traffic.or(differing, kept)
    }

    fn differs(&mut self, left: HeaderSetId, right: HeaderSetId) -> HeaderSetId {
        if left == right {
            return HeaderSpace::NONE;
        }
        let (one, other) = (
            self.traffic.less(left, right),
            self.traffic.less(right, left),
        );
        self.traffic.or(one, other)
    }

    /// Takes note of a block of pairs with which something differs.
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
