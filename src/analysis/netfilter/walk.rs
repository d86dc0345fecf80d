//! Scripts walked through with all packets between all places at once.
//!
//! In: a [`Symbolic`], [`Columns`], a [`Block`] of pairs of places. Out: what becomes of all traffic between them, in blocks of pairs with
//! which the scripts do the same. A rule that asks about an address splits a block in those that have what it asks and those that have
//! not; blocks that are at the same rule with the same fates so far become one again, since nothing before that rule matters to what
//! comes behind it. So pairs are in one block only if every rule they meet does the same with them.
//!
//! Cost: a rule that asks about few addresses costs the blocks that hold one of them ([`Front`]), any other rule the blocks that get to
//! it. There are as many blocks as outcomes, not as pairs.

use std::collections::BTreeMap;

use crate::analysis::netfilter::front::Front;
use crate::analysis::netfilter::table::Interface;
use crate::analysis::netfilter::{Columns, Symbolic, leads_back};
use crate::analysis::space::{Block, Members, Traffic, TrafficId, merged};
use crate::analysis::{Hook, ReversePath, Side, State};

/// Where packets are met, and what rules say of all places.
#[derive(Debug, Clone, Copy)]
pub(in crate::analysis) struct At<'at> {
    pub(in crate::analysis) columns: &'at Columns,
    pub(in crate::analysis) hook: &'at Hook,
    pub(in crate::analysis) state: State,
    pub(in crate::analysis) reverse_path: ReversePath,
    /// What their connections' original destinations satisfy; none where those are the destinations that they have.
    pub(in crate::analysis) origins: Option<&'at [TrafficId]>,
}

/// What becomes of packets before the filter table. No bundle accepts there (`script::checked`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::analysis) struct Early {
    pub(in crate::analysis) dropped: TrafficId,
    /// As [`Out::unclear`].
    pub(in crate::analysis) unclear: TrafficId,
    pub(in crate::analysis) untracked: TrafficId,
}

/// What becomes of packets in a table; the rest comes back from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::analysis) struct Out {
    pub(in crate::analysis) accepted: TrafficId,
    pub(in crate::analysis) dropped: TrafficId,
    pub(in crate::analysis) untracked: TrafficId,
    /// Packets of known connections of which a rule asks the original destination. Those of the reply
    /// direction have it for their source, so that the rule is not known to hit or to miss them.
    pub(in crate::analysis) unclear: TrafficId,
}

/// A table's chains by number.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) chains: Vec<Vec<Step>>,
    pub(super) built_in: BTreeMap<&'static str, usize>,
}

/// States, and whether they are excluded.
type States = (bool, Vec<State>);

/// A rule.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) traffic: TrafficId,
    /// Questions about addresses: whether the answer must be no, the side, and the number.
    pub(super) nets: Vec<(bool, Side, usize)>,
    pub(super) services: Vec<(bool, Side, usize)>,
    pub(super) arrives: Vec<(bool, Interface)>,
    /// Wanted routes back: whether there must be none, and whether any interface will do.
    pub(super) reverse_paths: Vec<(bool, bool)>,
    pub(super) leaves: Vec<(bool, String)>,
    /// Wanted states, and the number of what is asked of the original destination.
    pub(super) connections: Vec<(Option<States>, Option<usize>)>,
    pub(super) act: Act,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Accept,
    Drop,
    Return,
    Log,
    NoTrack,
    Jump(usize),
    Goto(usize),
}

/// Packets at a rule: those that are there, those that have left the chain by a return, and what the others met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    here: TrafficId,
    back: TrafficId,
    out: Out,
}

/// What a rule does to a block: pairs that it leaves alone, and those of which it takes some traffic.
#[derive(Debug, Default)]
struct Pieces {
    missed: Vec<Block>,
    hit: Vec<(Block, TrafficId)>,
}

impl Out {
    /// Nothing yet.
    pub(in crate::analysis) const NONE: Out =
        Out { accepted: Traffic::NONE, dropped: Traffic::NONE, untracked: Traffic::NONE, unclear: Traffic::NONE };
}

impl Symbolic<'_> {
    /// What becomes of all traffic before the filter table.
    pub(in crate::analysis) fn early(&self, at: &At<'_>, block: Block, traffic: &mut Traffic) -> Vec<(Block, Early)> {
        let chain = match at.hook {
            Hook::Forward { .. } | Hook::Input { .. } => "PREROUTING",
            Hook::Output { .. } => "OUTPUT",
        };
        let mut all = Vec::new();
        for (block, raw) in run(self.raw.as_ref(), chain, at, (block, Traffic::ALL, Out::NONE), traffic) {
            let untracked = if at.state == State::Untracked { Traffic::ALL } else { raw.untracked };
            let tracked = traffic.less(Traffic::ALL, untracked);
            let mut blocks = vec![(block, Out { dropped: raw.dropped, unclear: raw.unclear, ..Out::NONE })];
            for (state, here) in [(at.state, tracked), (State::Untracked, untracked)] {
                let here = traffic.less(here, raw.dropped);
                let at = At { state, ..*at };
                let on = |(block, out): (Block, Out)| run(self.mangle.as_ref(), chain, &at, (block, here, out), traffic);
                blocks = blocks.into_iter().flat_map(on).collect();
            }
            all.extend(blocks.into_iter().map(|(block, out)| (block, Early { dropped: out.dropped, unclear: out.unclear, untracked })));
        }
        merged(all)
    }

    /// What the filter table does with some traffic, beside what is known.
    pub(in crate::analysis) fn filter(
        &self,
        at: &At<'_>,
        (block, here, known): (Block, TrafficId, Out),
        traffic: &mut Traffic,
    ) -> Vec<(Block, Out)> {
        let chain = match at.hook {
            Hook::Forward { .. } => "FORWARD",
            Hook::Input { .. } => "INPUT",
            Hook::Output { .. } => "OUTPUT",
        };
        run(Some(&self.filter), chain, at, (block, here, known), traffic)
    }
}

fn run(
    graph: Option<&Graph>,
    chain: &str,
    at: &At<'_>,
    (block, here, known): (Block, TrafficId, Out),
    traffic: &mut Traffic,
) -> Vec<(Block, Out)> {
    let first = graph.and_then(|graph| Some((graph, *graph.built_in.get(chain)?))).filter(|_| here != Traffic::NONE);
    let Some((graph, first)) = first else { return vec![(block, known)] };
    let blocks = graph.walk(first, at, (block, here, known), traffic);
    merged(blocks.into_iter().map(|(block, way)| (block, way.out)).collect())
}

impl Graph {
    /// Goes through a chain with some traffic; what comes back from it is what `back` says then.
    fn walk(&self, chain: usize, at: &At<'_>, (block, here, out): (Block, TrafficId, Out), traffic: &mut Traffic) -> Vec<(Block, Way)> {
        let mut front = Front::of(vec![(block, Way { here, back: Traffic::NONE, out })]);
        let mut ended = Vec::new();
        for step in self.chains.get(chain).map_or(&[][..], Vec::as_slice) {
            for (slot, block) in front.take_met(step, at.columns) {
                let mut pieces = Vec::new();
                self.pass(step, at, block, (&mut *traffic, &mut pieces));

                let (done, open): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|(_, way)| way.here == Traffic::NONE);
                ended.extend(done);
                front.put(slot, open);
            }
            front.tidy();
        }

        for (block, way) in front.into_blocks() {
            let back = traffic.or(way.back, way.here);
            ended.push((block, Way { here: Traffic::NONE, back, ..way }));
        }
        merged(ended)
    }

    /// Goes through a rule.
    fn pass(&self, step: &Step, at: &At<'_>, (block, way): (Block, Way), (traffic, next): (&mut Traffic, &mut Vec<(Block, Way)>)) {
        let pieces = step.apply(at, block, way.here, traffic);
        next.extend(pieces.missed.into_iter().map(|block| (block, way)));
        for (block, hit) in pieces.hit {
            let mut missed = Way { here: traffic.less(way.here, hit), ..way };
            if step.asks_origin() && is_known(at.state) {
                missed.out.unclear = traffic.or(missed.out.unclear, hit);
            }
            self.act(step.act, at, (block, hit, missed), (&mut *traffic, &mut *next));
        }
    }

    /// Does to what a rule hits what it says. `way` is of what the rule leaves alone.
    fn act(
        &self,
        act: Act,
        at: &At<'_>,
        (block, hit, mut way): (Block, TrafficId, Way),
        (traffic, next): (&mut Traffic, &mut Vec<(Block, Way)>),
    ) {
        match act {
            Act::Accept => way.out.accepted = traffic.or(way.out.accepted, hit),
            Act::Drop => way.out.dropped = traffic.or(way.out.dropped, hit),
            Act::Return => way.back = traffic.or(way.back, hit),
            Act::Log => way.here = traffic.or(way.here, hit),
            Act::NoTrack => {
                way.out.untracked = traffic.or(way.out.untracked, hit);
                way.here = traffic.or(way.here, hit);
            }
            Act::Jump(other) => {
                let behind = self.walk(other, at, (block, hit, way.out), traffic);
                let on = |inner: Way, traffic: &mut Traffic| Way { here: traffic.or(way.here, inner.back), out: inner.out, ..way };
                return next.extend(behind.into_iter().map(|(block, inner)| (block, on(inner, traffic))));
            }
            Act::Goto(other) => {
                let behind = self.walk(other, at, (block, hit, way.out), traffic);
                let on = |inner: Way, traffic: &mut Traffic| Way { back: traffic.or(way.back, inner.back), out: inner.out, ..way };
                return next.extend(behind.into_iter().map(|(block, inner)| (block, on(inner, traffic))));
            }
        }
        next.push((block, way));
    }
}

impl Step {
    /// Splits a block by what the rule takes of it.
    fn apply(&self, at: &At<'_>, block: Block, here: TrafficId, traffic: &mut Traffic) -> Pieces {
        let carried = self.carried(at, here, traffic);
        let mut pieces = Pieces::default();
        let mut inside = Some(block.clone()).filter(|_| carried != Traffic::NONE);
        for (negated, side, number) in &self.nets {
            let Some((part, column)) = inside.zip(at.columns.nets.get(*number)) else {
                inside = None;
                break;
            };
            let (yes, no) = part.split(*side, column);
            let (yes, no) = if *negated { (no, yes) } else { (yes, no) };
            pieces.missed.extend(no);
            inside = yes;
        }
        let Some(inside) = inside else { return Pieces { missed: vec![block], hit: Vec::new() } };
        pieces.hit.push((inside, carried));
        for (negated, side, number) in &self.services {
            let groups = at.columns.services.get(*number).map_or(&[][..], Vec::as_slice);
            pieces.refine(*side, groups, *negated, traffic);
        }
        if at.state == State::New {
            self.connections.iter().filter_map(|(_, origin)| *origin).for_each(|number| pieces.ask_origin(at, number, traffic));
        }
        pieces
    }

    /// Whether it asks for the original destination of a connection.
    fn asks_origin(&self) -> bool {
        self.connections.iter().any(|(_, origin)| origin.is_some())
    }

    /// What of some traffic meets all conditions but those on addresses.
    fn carried(&self, at: &At<'_>, here: TrafficId, traffic: &mut Traffic) -> TrafficId {
        let arrives = |(negated, asked): &(bool, Interface)| at.hook.arrives().is_some_and(|name| asked.is(name)) != *negated;
        let leaves = |(negated, asked): &(bool, String)| (at.hook.leaves() == Some(asked)) != *negated;
        let leads_back = |(negated, is_loose): &(bool, bool)| leads_back(at.reverse_path, *is_loose) != *negated;
        let is_in = |states: &Option<States>| match states {
            Some((negated, states)) => states.contains(&at.state) != *negated,
            None => !matches!(at.state, State::Untracked | State::Invalid),
        };
        let matches = self.arrives.iter().all(arrives)
            && self.leaves.iter().all(leaves)
            && self.reverse_paths.iter().all(leads_back)
            && self.connections.iter().all(|(states, _)| is_in(states));
        if matches { traffic.and(here, self.traffic) } else { Traffic::NONE }
    }
}

/// Whether packets in this state belong to a known connection, and may go in either direction of it.
fn is_known(state: State) -> bool {
    match state {
        State::Established | State::Related => true,
        State::New | State::Invalid | State::Untracked => false,
    }
}

impl Pieces {
    /// Splits what is hit by the sets of traffic that places have; a place is in just one.
    fn refine(&mut self, side: Side, groups: &[(TrafficId, Members)], negated: bool, traffic: &mut Traffic) {
        let parts = |(block, hit): (Block, TrafficId)| {
            groups.iter().filter_map(move |(own, places)| Some((block.split(side, places).0?, hit, *own))).collect::<Vec<_>>()
        };
        for (part, hit, own) in std::mem::take(&mut self.hit).into_iter().flat_map(parts) {
            let hit = if negated { traffic.less(hit, own) } else { traffic.and(hit, own) };
            self.put(part, hit);
        }
    }

    fn put(&mut self, part: Block, hit: TrafficId) {
        match hit {
            Traffic::NONE => self.missed.push(part),
            hit => self.hit.push((part, hit)),
        }
    }

    fn ask_origin(&mut self, at: &At<'_>, number: usize, traffic: &mut Traffic) {
        let Some(origins) = at.origins else {
            return self.refine(Side::Destination, at.columns.origins.get(number).map_or(&[][..], Vec::as_slice), false, traffic);
        };
        let own = origins.get(number).copied().unwrap_or(Traffic::NONE);
        for (block, hit) in std::mem::take(&mut self.hit) {
            self.put(block, traffic.and(hit, own));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::space::Cuts;
    use crate::net::{PortRange, Protocol};

    /// So many that blocks are found by an index.
    const PLACES: usize = 150;
    const STEPS: usize = 240;

    /// Random numbers by a linear congruence (Knuth's MMIX).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap_or_default() % end
        }
    }

    /// Mostly of few places, so that the index finds them, now and then of many.
    fn column(dice: &mut Dice) -> Members {
        let count = if dice.below(8) == 0 { PLACES / 2 } else { 1 + dice.below(3) };
        let places: Vec<usize> = (0..count).map(|_| dice.below(PLACES)).collect();
        Members::these(PLACES, &places)
    }

    fn step(dice: &mut Dice, (columns, sets): (usize, &[TrafficId]), most: Side) -> Step {
        let other = if most == Side::Source { Side::Destination } else { Side::Source };
        let net = |dice: &mut Dice| {
            let side = if dice.below(6) == 0 { other } else { most };
            (dice.below(9) == 0, side, dice.below(columns))
        };
        let nets = (0..dice.below(12).clamp(1, 2)).map(|_| net(dice)).collect();
        let act = [Act::Accept, Act::Drop, Act::Return, Act::Log, Act::Accept];
        let (arrives, reverse_paths, leaves, services, connections) = Default::default();
        Step {
            traffic: sets.get(dice.below(sets.len())).copied().unwrap_or(Traffic::ALL),
            nets: if dice.below(30) == 0 { Vec::new() } else { nets },
            services,
            arrives,
            reverse_paths,
            leaves,
            connections,
            act: act.get(dice.below(act.len())).copied().unwrap_or(Act::Log),
        }
    }

    /// Goes through the steps with one pair of places.
    fn alone(steps: &[Step], columns: &Columns, pair: [usize; 2], traffic: &mut Traffic) -> Way {
        let [source, destination] = pair;
        let is_at = |side: Side, column: &Members| match side {
            Side::Source => column.holds(source),
            Side::Destination => column.holds(destination),
        };

        let mut way = Way { here: Traffic::ALL, back: Traffic::NONE, out: Out::NONE };
        for step in steps {
            let mut nets = step.nets.iter();
            let is_hit = nets.all(|(negated, side, number)| is_at(*side, &columns.nets[*number]) != *negated);
            let hit = if is_hit { traffic.and(way.here, step.traffic) } else { Traffic::NONE };
            let to = match step.act {
                Act::Accept => &mut way.out.accepted,
                Act::Drop => &mut way.out.dropped,
                Act::Return => &mut way.back,
                Act::Log | Act::NoTrack | Act::Jump(_) | Act::Goto(_) => continue,
            };
            *to = traffic.or(*to, hit);
            way.here = traffic.less(way.here, hit);
        }
        Way { back: traffic.or(way.back, way.here), here: Traffic::NONE, ..way }
    }

    #[test]
    fn many_blocks_fare_as_each_pair_does() {
        for seed in 0..4 {
            let mut dice = Dice(seed);
            let mut cuts = Cuts::default();
            let ports: Vec<PortRange> = (1..12).filter_map(|port| PortRange::new(port * 10, port * 10)).collect();
            ports.iter().for_each(|port| cuts.ports(Protocol::TCP, Side::Destination, *port));
            let mut traffic = Traffic::of(&cuts);
            let sets: Vec<TrafficId> = ports.iter().map(|port| traffic.with_ports(Side::Destination, &[*port])).collect();
            let nets: Vec<Members> = (0..STEPS).map(|_| column(&mut dice)).collect();
            let columns = Columns { nets, services: Vec::new(), origins: Vec::new() };
            let most = Side::BOTH[dice.below(2)];
            let steps = (0..STEPS).map(|_| step(&mut dice, (STEPS, &sets), most)).collect();
            let graph = Graph { chains: vec![steps], built_in: BTreeMap::new() };
            let all = Members::of(PLACES, |_| true);
            let block = Block { sources: all.clone(), destinations: all };
            let hook = Hook::Input { arrives: "eth0".to_owned() };
            let reverse_path = ReversePath::Arriving;
            let at = At { columns: &columns, hook: &hook, state: State::New, reverse_path, origins: None };

            let blocks = graph.walk(0, &at, (block, Traffic::ALL, Out::NONE), &mut traffic);

            assert!(blocks.len() > 64, "{} blocks need no index", blocks.len());
            let pairs: usize = blocks.iter().map(|(block, _)| block.pairs()).sum();
            assert_eq!(pairs, PLACES * PLACES, "blocks share a pair, or lack one");
            let every = |(block, way): &(Block, Way)| -> Vec<(usize, usize, Way)> {
                block.each().step_by(7).map(|(source, destination)| (source, destination, *way)).collect()
            };
            for (source, destination, way) in blocks.iter().flat_map(every) {
                let expected = alone(&graph.chains[0], &columns, [source, destination], &mut traffic);
                assert_eq!(way, expected, "seed {seed}, from {source} to {destination}");
            }
        }
    }
}
