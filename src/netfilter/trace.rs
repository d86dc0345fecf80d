//! Symbolic evaluation of scripts: all packets between all locations pass the chains at once.
//!
//! In: [`SymbolicTables`], [`AnswerColumns`](crate::netfilter::AnswerColumns), and a [`PairBlock`]
//! of pairs of locations. Out: the outcome for all traffic between them, in blocks of pairs that
//! the scripts treat alike. A rule with an address condition splits a block into pairs that meet it
//! and pairs that do not. Blocks at the same rule with the same state are merged again, because no
//! earlier rule affects what follows. So two pairs are in different blocks only if some rule treats
//! them differently.
//!
//! Cost: a rule with conditions on few addresses, or on all but few, costs the blocks that contain
//! one of them ([`BlockFront`]). Rules without address conditions are combined
//! ([`RuleCascade`](crate::packet_space::RuleCascade)), and a block passes all combined rules
//! between two others at once, for a logarithm of their number. The number of blocks grows with the
//! number of outcomes, not of pairs. One part can be quadratic in the number of rules: the state of
//! `n` blocks that each have their own set of `n` header classes, as far as these sets share no
//! parts.

use rustc_hash::FxHashMap;

use crate::net::State;
use crate::netfilter::SymbolicTables;
use crate::netfilter::front::BlockFront;
use crate::netfilter::graph::{ChainGraph, HookContext, RuleAction, SymbolicRule};
use crate::netfilter::residual::{ChainState, TableOutcome};
use crate::netfilter::sequence::{RuleEffect, RuleSequence};
use crate::packet::Hook;
use crate::packet_space::{HeaderSetId, HeaderSpace, PairBlock, merged};

/// The outcome of the tables before the filter table. Bundles have no ACCEPT there
/// (`ruleset::checked`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EarlyOutcome {
    pub(crate) dropped: HeaderSetId,
    /// As [`TableOutcome::unclear`].
    pub(crate) unclear: HeaderSetId,
    pub(crate) untracked: HeaderSetId,
}

/// Packets that a rule sends through another chain, and the state of the others in their block.
struct ChainCall {
    block: PairBlock,
    hit: HeaderSetId,
    others: ChainState,
}

/// The walk through one table at a hook in a state.
struct TableWalker<'walk> {
    graph: &'walk ChainGraph,
    at: &'walk HookContext<'walk>,
    traffic: &'walk mut HeaderSpace,
    /// The rule sequences of chains that have been walked through.
    sequences: FxHashMap<usize, RuleSequence>,
}

impl SymbolicTables<'_> {
    /// Returns the outcome of raw and mangle for all traffic.
    pub(crate) fn early(
        &self,
        at: &HookContext<'_>,
        block: PairBlock,
        traffic: &mut HeaderSpace,
    ) -> Vec<(PairBlock, EarlyOutcome)> {
        let chain = match at.hook {
            Hook::Forward { .. } | Hook::Input { .. } => "PREROUTING",
            Hook::Output { .. } => "OUTPUT",
        };
        let mangle = self.mangle.as_ref();
        let mut all = Vec::new();

        for (block, raw) in run(
            self.raw.as_ref(),
            chain,
            at,
            block,
            HeaderSpace::ALL,
            TableOutcome::NONE,
            traffic,
        ) {
            let untracked = if at.state == State::Untracked {
                HeaderSpace::ALL
            } else {
                raw.untracked
            };
            let tracked = traffic.less(HeaderSpace::ALL, untracked);
            let mut blocks = vec![(
                block,
                TableOutcome {
                    dropped: raw.dropped,
                    unclear: raw.unclear,
                    ..TableOutcome::NONE
                },
            )];
            for (state, here) in [(at.state, tracked), (State::Untracked, untracked)] {
                // mangle sees a packet in the state that raw has left it in
                let here = traffic.less(here, raw.dropped);
                let at = HookContext { state, ..*at };
                blocks = blocks
                    .into_iter()
                    .flat_map(|(block, out)| run(mangle, chain, &at, block, here, out, traffic))
                    .collect();
            }
            all.extend(blocks.into_iter().map(|(block, out)| {
                (
                    block,
                    EarlyOutcome {
                        dropped: out.dropped,
                        unclear: out.unclear,
                        untracked,
                    },
                )
            }));
        }

        merged(all)
    }

    /// Returns the outcome of the filter table for some traffic. `known` is the outcome so far.
    pub(crate) fn filter(
        &self,
        at: &HookContext<'_>,
        block: PairBlock,
        here: HeaderSetId,
        known: TableOutcome,
        traffic: &mut HeaderSpace,
    ) -> Vec<(PairBlock, TableOutcome)> {
        let chain = match at.hook {
            Hook::Forward { .. } => "FORWARD",
            Hook::Input { .. } => "INPUT",
            Hook::Output { .. } => "OUTPUT",
        };
        run(Some(&self.filter), chain, at, block, here, known, traffic)
    }
}

fn run(
    graph: Option<&ChainGraph>,
    chain: &str,
    at: &HookContext<'_>,
    block: PairBlock,
    here: HeaderSetId,
    known: TableOutcome,
    traffic: &mut HeaderSpace,
) -> Vec<(PairBlock, TableOutcome)> {
    let first = graph
        .and_then(|graph| Some((graph, *graph.built_in.get(chain)?)))
        .filter(|_| here != HeaderSpace::NONE);
    let Some((graph, first)) = first else {
        return vec![(block, known)];
    };

    let mut walker = TableWalker {
        graph,
        at,
        traffic,
        sequences: FxHashMap::default(),
    };
    let blocks = walker.walk(first, vec![(block, ChainState::new(here, known))]);

    merged(
        blocks
            .into_iter()
            .map(|(block, way)| (block, way.out))
            .collect(),
    )
}

impl TableWalker<'_> {
    /// Walks blocks through a chain. No two blocks may have a pair in common. [`ChainState::back`]
    /// of the result contains the packets that return from the chain.
    fn walk(
        &mut self,
        chain: usize,
        blocks: Vec<(PairBlock, ChainState)>,
    ) -> Vec<(PairBlock, ChainState)> {
        let graph = self.graph;
        let steps = graph.chains.get(chain).map_or(&[][..], Vec::as_slice);
        let mut sequence = self
            .sequences
            .remove(&chain)
            .unwrap_or_else(|| RuleSequence::new(steps, self.at, self.traffic));
        let mut front = BlockFront::new(blocks);
        let mut ended = Vec::new();
        for (position, step) in steps.iter().enumerate() {
            if matches!(
                sequence.effects.get(position),
                Some(RuleEffect::Nothing | RuleEffect::Alike)
            ) {
                continue;
            }
            let mut met = front.take_met(step, self.at.columns);
            for (_, (_, way)) in &mut met {
                // combined rules are applied as late as possible: only to blocks that a rule
                // inspects
                sequence.pass(position, way, self.traffic);
                way.next = position + 1;
            }
            for (slot, pieces) in self.pass(step, sequence.goto, met) {
                let (done, open): (Vec<_>, Vec<_>) =
                    pieces.into_iter().partition(|(_, way)| way.is_done());
                ended.extend(done);
                front.put(slot, open);
            }
            ended.extend(front.tidy(|way| sequence.pass(position + 1, way, self.traffic)));
        }

        for (block, mut way) in front.into_blocks() {
            sequence.pass(steps.len(), &mut way, self.traffic);
            // packets at the end of a chain return to the caller
            let back = self.traffic.or(way.back, way.here);
            ended.push((
                block,
                ChainState {
                    here: HeaderSpace::NONE,
                    back,
                    ..way
                },
            ));
        }
        let goto = sequence.goto;
        self.sequences.insert(chain, sequence);
        let ended = merged(
            ended
                .into_iter()
                .map(|(block, way)| (block, way.ended()))
                .collect(),
        );
        match goto {
            Some(goto) => self.go_on(goto, ended),
            None => ended,
        }
    }

    /// Sends packets on to the chain that rules go to. Keeps the order of blocks.
    fn go_on(
        &mut self,
        goto: usize,
        blocks: Vec<(PairBlock, ChainState)>,
    ) -> Vec<(PairBlock, ChainState)> {
        let (mut all, mut sent, mut senders) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (block, way)) in blocks.into_iter().enumerate() {
            match way.gone {
                HeaderSpace::NONE => all.push((number, (block, way))),
                hit => {
                    senders.push(number);
                    sent.push(ChainCall {
                        block,
                        hit,
                        others: ChainState {
                            gone: HeaderSpace::NONE,
                            ..way
                        },
                    });
                }
            }
        }

        for (number, block, way) in self.send(RuleAction::Goto(goto), sent) {
            let sender = senders
                .get(number)
                .expect("each block that is sent has a sender");
            all.push((*sender, (block, way)));
        }

        all.sort_by_key(|row| row.0);
        merged(all.into_iter().map(|row| row.1).collect())
    }

    /// Applies a rule to the blocks that reach it. Returns the outcome for each block.
    fn pass<Slot>(
        &mut self,
        step: &SymbolicRule,
        goto: Option<usize>,
        met: Vec<(Slot, (PairBlock, ChainState))>,
    ) -> Vec<(Slot, Vec<(PairBlock, ChainState)>)> {
        let (mut all, mut sent, mut senders) =
            (Vec::with_capacity(met.len()), Vec::new(), Vec::new());
        for (number, (slot, (block, way))) in met.into_iter().enumerate() {
            let pieces = step.apply(self.at, block, way.here, self.traffic);
            let missed = pieces.missed.into_iter().map(|block| (block, way));
            let hit = pieces.hit.into_iter().map(|(block, hit)| ChainCall {
                block,
                hit,
                others: self.others(step, hit, way),
            });
            if step.sends(goto) {
                sent.extend(hit);
                senders.resize(sent.len(), number);
                all.push((slot, missed.collect()));
            } else {
                let hit: Vec<ChainCall> = hit.collect();
                let hit = hit
                    .into_iter()
                    .map(|call| (call.block, self.act(step.act, call.hit, call.others)));
                all.push((slot, missed.chain(hit).collect::<Vec<_>>()));
            }
        }

        for (number, block, way) in self.send(step.act, sent) {
            let sender = senders.get(number).and_then(|sender| all.get_mut(*sender));
            let (_, next) = sender.expect("each block that is sent has a sender");
            next.push((block, way));
        }
        all
    }

    /// Returns the state of a block without the packets that a rule matches.
    fn others(&mut self, step: &SymbolicRule, hit: HeaderSetId, way: ChainState) -> ChainState {
        let mut others = ChainState {
            here: self.traffic.less(way.here, hit),
            ..way
        };
        if step.asks_origin() && is_known(self.at.state) {
            others.out.unclear = self.traffic.or(others.out.unclear, hit);
        }
        others
    }

    /// Sends blocks through another chain together. Returns the outcomes, each with the number of
    /// its block.
    fn send(
        &mut self,
        act: RuleAction,
        sent: Vec<ChainCall>,
    ) -> Vec<(usize, PairBlock, ChainState)> {
        let (RuleAction::Jump(chain) | RuleAction::Goto(chain)) = act else {
            return Vec::new();
        };
        if sent.is_empty() {
            return Vec::new();
        }

        let (mut blocks, mut others) = (
            Vec::with_capacity(sent.len()),
            Vec::with_capacity(sent.len()),
        );

        for (
            caller,
            ChainCall {
                block,
                hit,
                others: own,
            },
        ) in sent.into_iter().enumerate()
        {
            blocks.push((
                block,
                ChainState {
                    caller,
                    ..ChainState::new(hit, own.out)
                },
            ));
            others.push(own);
        }

        let mut all = Vec::new();
        for (block, inner) in self.walk(chain, blocks) {
            let others = others
                .get(inner.caller)
                .expect("a chain gives back what came to it");
            let mut way = ChainState {
                out: inner.out,
                ..*others
            };
            // after a goto, RETURN leaves the calling chain too
            let to = if matches!(act, RuleAction::Jump(_)) {
                &mut way.here
            } else {
                &mut way.back
            };
            *to = self.traffic.or(*to, inner.back);
            all.push((inner.caller, block, way));
        }

        all
    }

    /// Applies a rule's target to the packets that it matches. `way` is the state of the packets
    /// that it does not match.
    fn act(&mut self, act: RuleAction, hit: HeaderSetId, mut way: ChainState) -> ChainState {
        let traffic = &mut *self.traffic;
        match act {
            RuleAction::Accept => way.out.accepted = traffic.or(way.out.accepted, hit),
            RuleAction::Drop => way.out.dropped = traffic.or(way.out.dropped, hit),
            RuleAction::Return => way.back = traffic.or(way.back, hit),
            RuleAction::Log => way.here = traffic.or(way.here, hit),
            RuleAction::NoTrack => {
                way.out.untracked = traffic.or(way.out.untracked, hit);
                way.here = traffic.or(way.here, hit);
            }
            RuleAction::Jump(_) | RuleAction::Goto(_) => way.gone = traffic.or(way.gone, hit),
        }

        way
    }
}

impl SymbolicRule {
    /// Returns `true` if the rule sends packets through another chain immediately.
    fn sends(&self, goto: Option<usize>) -> bool {
        match self.act {
            RuleAction::Jump(_) => true,
            RuleAction::Goto(chain) => goto != Some(chain),
            RuleAction::Accept
            | RuleAction::Drop
            | RuleAction::Return
            | RuleAction::Log
            | RuleAction::NoTrack => false,
        }
    }
}

/// Returns `true` if packets in this state belong to a known connection. They may go in either
/// direction of it.
fn is_known(state: State) -> bool {
    match state {
        State::Established | State::Related => true,
        State::New | State::Invalid | State::Untracked => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::net::{PortRange, Protocol, Side};
    use crate::netfilter::AnswerColumns;
    use crate::packet::ReversePath;
    use crate::packet_space::{LocationSet, PartitionBuilder};

    /// Enough locations that the index finds blocks.
    const PLACES: usize = 150;
    const STEPS: usize = 240;
    const SERVICES: usize = 20;

    /// Random numbers by a linear congruential generator (Knuth's MMIX).
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

    /// Returns a set of mostly few locations, so that the index finds blocks; sometimes of many.
    fn column(dice: &mut Dice) -> LocationSet {
        let count = if dice.below(8) == 0 {
            PLACES / 2
        } else {
            1 + dice.below(3)
        };
        let places: Vec<usize> = (0..count).map(|_| dice.below(PLACES)).collect();
        LocationSet::these(PLACES, &places)
    }

    /// Returns a random rule. `alike` is the percentage of rules without address conditions.
    fn step(
        dice: &mut Dice,
        columns: usize,
        sets: &[HeaderSetId],
        most: Side,
        alike: usize,
    ) -> SymbolicRule {
        let other = if most == Side::Source {
            Side::Destination
        } else {
            Side::Source
        };
        let net = |dice: &mut Dice| {
            let side = if dice.below(6) == 0 { other } else { most };
            (dice.below(9) == 0, side, dice.below(columns))
        };

        let nets = (0..dice.below(12).clamp(1, 2)).map(|_| net(dice)).collect();
        let services = if dice.below(8) == 0 {
            vec![(dice.below(6) == 0, most, dice.below(SERVICES))]
        } else {
            Vec::new()
        };

        let act = [
            RuleAction::Accept,
            RuleAction::Drop,
            RuleAction::Return,
            RuleAction::Log,
            RuleAction::Accept,
            RuleAction::NoTrack,
            RuleAction::Goto(1),
            RuleAction::Goto(2),
            RuleAction::Jump(2),
        ];
        let (arrives, reverse_paths, leaves, connections) = Default::default();
        let is_alike = dice.below(100) < alike;

        SymbolicRule {
            traffic: sets
                .get(dice.below(sets.len()))
                .copied()
                .unwrap_or(HeaderSpace::ALL),
            nets: if is_alike { Vec::new() } else { nets },
            services: if is_alike { Vec::new() } else { services },
            arrives,
            reverse_paths,
            leaves,
            connections,
            act: act
                .get(dice.below(act.len()))
                .copied()
                .unwrap_or(RuleAction::Log),
        }
    }

    /// Returns the headers that a rule matches for one pair of locations.
    fn hit(
        step: &SymbolicRule,
        columns: &AnswerColumns,
        pair: [usize; 2],
        here: HeaderSetId,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        let at = |side: Side| pair[usize::from(side == Side::Destination)];
        if step
            .nets
            .iter()
            .any(|(negated, side, number)| columns.nets[*number].holds(at(*side)) == *negated)
        {
            return HeaderSpace::NONE;
        }
        let mut hit = traffic.and(here, step.traffic);

        for (negated, side, number) in &step.services {
            let (own, _) = columns.services[*number]
                .iter()
                .find(|(_, places)| places.holds(at(*side)))
                .expect("a group");
            let own = if *negated {
                traffic.less(HeaderSpace::ALL, *own)
            } else {
                *own
            };
            hit = traffic.and(hit, own);
        }

        hit
    }

    /// Walks one pair of locations through a chain, rule by rule.
    fn alone(
        graph: &ChainGraph,
        chain: usize,
        at: (&AnswerColumns, [usize; 2]),
        here: HeaderSetId,
        out: TableOutcome,
        traffic: &mut HeaderSpace,
    ) -> ChainState {
        let mut way = ChainState::new(here, out);
        for step in &graph.chains[chain] {
            let hit = hit(step, at.0, at.1, way.here, traffic);
            let rest = traffic.less(way.here, hit);
            let mut back = HeaderSpace::NONE;
            if let RuleAction::Jump(other) | RuleAction::Goto(other) = step.act {
                let inner = alone(graph, other, at, hit, way.out, traffic);
                (way.out, back) = (inner.out, inner.back);
            }
            match step.act {
                RuleAction::Accept => way.out.accepted = traffic.or(way.out.accepted, hit),
                RuleAction::Drop => way.out.dropped = traffic.or(way.out.dropped, hit),
                RuleAction::Return => way.back = traffic.or(way.back, hit),
                RuleAction::Goto(_) => way.back = traffic.or(way.back, back),
                RuleAction::NoTrack => way.out.untracked = traffic.or(way.out.untracked, hit),
                RuleAction::Jump(_) | RuleAction::Log => {}
            }
            way.here = match step.act {
                RuleAction::NoTrack | RuleAction::Log => way.here,
                RuleAction::Jump(_) => traffic.or(rest, back),
                RuleAction::Accept
                | RuleAction::Drop
                | RuleAction::Return
                | RuleAction::Goto(_) => rest,
            };
        }

        ChainState {
            back: traffic.or(way.back, way.here),
            here: HeaderSpace::NONE,
            ..way
        }
    }

    /// Returns the headers of a service set at each location: mostly none.
    fn service(
        dice: &mut Dice,
        sets: &[HeaderSetId],
    ) -> (Vec<(HeaderSetId, LocationSet)>, LocationSet) {
        let served: Vec<usize> = (0..1 + dice.below(3)).map(|_| dice.below(PLACES)).collect();
        let own = sets[dice.below(sets.len())];
        let rest = LocationSet::filter(PLACES, |place| !served.contains(&place));
        let served = LocationSet::these(PLACES, &served);
        (
            vec![(HeaderSpace::NONE, rest), (own, served.clone())],
            served,
        )
    }

    /// Returns three random chains, of which only the first leads to others.
    fn graph(dice: &mut Dice, sets: &[HeaderSetId], most: Side, alike: usize) -> ChainGraph {
        let mut chain = |count: usize| -> Vec<SymbolicRule> {
            (0..count)
                .map(|_| step(dice, STEPS, sets, most, alike))
                .collect()
        };
        let mut chains = vec![chain(STEPS), chain(6), chain(6)];
        chains[1..].iter_mut().for_each(|steps| {
            steps.retain(|step| !matches!(step.act, RuleAction::Jump(_) | RuleAction::Goto(_)))
        });
        ChainGraph {
            chains,
            built_in: BTreeMap::new(),
        }
    }

    /// Walks all pairs at once through random chains and compares with walks of single pairs.
    /// `alike` is the percentage of rules without address conditions.
    fn check(seed: u64, alike: usize) -> usize {
        let mut dice = Dice(seed);
        let mut cuts = PartitionBuilder::default();
        let ports: Vec<PortRange> = (1..90)
            .filter_map(|port| PortRange::new(port * 10, port * 10))
            .collect();
        ports
            .iter()
            .for_each(|port| cuts.ports(Protocol::TCP, Side::Destination, *port));
        let mut traffic = HeaderSpace::of(&cuts);
        let sets: Vec<HeaderSetId> = ports
            .iter()
            .map(|port| traffic.with_ports(Side::Destination, &[*port]))
            .collect();
        let nets: Vec<LocationSet> = (0..STEPS).map(|_| column(&mut dice)).collect();
        let (services, served) = (0..SERVICES).map(|_| service(&mut dice, &sets)).unzip();
        let columns = AnswerColumns {
            nets,
            services,
            served,
            origins: Vec::new(),
        };
        let most = Side::BOTH[dice.below(2)];
        let graph = graph(&mut dice, &sets, most, alike);
        let all = LocationSet::filter(PLACES, |_| true);
        let block = PairBlock {
            sources: all.clone(),
            destinations: all,
        };
        let hook = Hook::Input {
            arrives: "eth0".to_owned(),
        };
        let reverse_path = ReversePath::Arriving;
        let at = HookContext {
            columns: &columns,
            hook: &hook,
            state: State::New,
            reverse_path,
            origins: None,
        };
        let mut walker = TableWalker {
            graph: &graph,
            at: &at,
            traffic: &mut traffic,
            sequences: FxHashMap::default(),
        };

        let blocks = walker.walk(
            0,
            vec![(block, ChainState::new(HeaderSpace::ALL, TableOutcome::NONE))],
        );

        let pairs: usize = blocks.iter().map(|(block, _)| block.pairs()).sum();
        assert_eq!(pairs, PLACES * PLACES, "blocks share a pair, or lack one");
        let every = |(block, way): &(PairBlock, ChainState)| -> Vec<(usize, usize, ChainState)> {
            block
                .each()
                .step_by(19)
                .map(|(source, destination)| (source, destination, *way))
                .collect()
        };
        for (source, destination, way) in blocks.iter().flat_map(every) {
            let expected = alone(
                &graph,
                0,
                (&columns, [source, destination]),
                HeaderSpace::ALL,
                TableOutcome::NONE,
                &mut traffic,
            );
            assert_eq!(way, expected, "seed {seed}, from {source} to {destination}");
        }
        blocks.len()
    }

    #[test]
    fn many_blocks_fare_as_each_pair_does() {
        for seed in 0..4 {
            let blocks = check(seed, 3);
            assert!(blocks > 64, "{blocks} blocks need no index");
        }
    }

    #[test]
    fn rules_about_all_blocks_are_passed_over_and_caught_up_with() {
        for seed in 0..6 {
            for alike in [20, 50, 90] {
                check(seed, alike);
            }
        }
    }
}
