//! Scripts walked through with all packets between all places at once.
//!
//! In: a [`Symbolic`], [`Columns`], a [`Block`] of pairs of places. Out: what becomes of all
//! traffic between them, in blocks of pairs with which the scripts do the same. A rule that asks
//! about an address splits a block in those that have what it asks and those that have not; blocks
//! that are at the same rule with the same fates so far become one again, since nothing before that
//! rule matters to what comes behind it. So pairs are in one block only if every rule they meet
//! does the same with them.
//!
//! Cost: a rule that asks about few addresses, or about all but few, costs the blocks that hold one
//! of them ([`Front`]). Rules that ask about no address are joined ([`Cascade`]), and a block goes
//! through all that stand between two others at once, for a logarithm of their number. There are as
//! many blocks as outcomes, not as pairs. What grows with the square of the rules is what is known
//! of `n` blocks, each with a set of its own of `n` classes of traffic: a bit for each of both.

use std::collections::BTreeMap;
use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::net::{Side, State};
use crate::netfilter::front::Front;
use crate::netfilter::model::Interface;
use crate::netfilter::{Columns, Symbolic, leads_back};
use crate::packet::{Hook, ReversePath};
use crate::packet_space::{Block, Cascade, Members, Taken, Traffic, TrafficId, merged};

/// Where packets are met, and what rules say of all places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'at> {
    pub(crate) columns: &'at Columns,
    pub(crate) hook: &'at Hook,
    pub(crate) state: State,
    pub(crate) reverse_path: ReversePath,
    /// What their connections' original destinations satisfy; none where those are the destinations
    /// that they have.
    pub(crate) origins: Option<&'at [TrafficId]>,
}

/// Outcome for packets before the filter table. Bundles have no ACCEPT there (`script::checked`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Early {
    pub(crate) dropped: TrafficId,
    /// As [`Out::unclear`].
    pub(crate) unclear: TrafficId,
    pub(crate) untracked: TrafficId,
}

/// What becomes of packets in a table; the rest comes back from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Out {
    pub(crate) accepted: TrafficId,
    pub(crate) dropped: TrafficId,
    pub(crate) untracked: TrafficId,
    /// Packets of known connections of which a rule asks the original destination. Those of the
    /// reply direction have it for their source, so that the rule is not known to hit or to miss
    /// them.
    pub(crate) unclear: TrafficId,
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

/// Packets at a rule: those that are there, those that have left the chain by a return, and what
/// the others met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    /// The rule that they are at. Those after it that ask about no address may have been passed
    /// over till now.
    next: usize,
    here: TrafficId,
    back: TrafficId,
    /// What goes on to [`Sequence::goto`].
    gone: TrafficId,
    out: Out,
    /// Which of those they are that came to the chain together; only of one are joined.
    caller: usize,
}

/// Packets that a rule sends through another chain, and what is known of the others of their block.
struct Sent {
    block: Block,
    hit: TrafficId,
    others: Way,
}

/// What the rules of a chain do at a hook to packets in a state.
struct Sequence {
    effects: Vec<Effect>,
    /// Positions of the rules that apply to all blocks without a look at each block, in order.
    positions: Vec<usize>,
    /// What these do.
    rules: Cascade<5>,
    /// The chain that rules go to. The packets of all these rules go through it together, after the
    /// other packets of this chain: the outcome for one packet does not depend on other packets.
    goto: Option<usize>,
}

/// How a rule is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It does nothing here.
    Nothing,
    /// It is about all blocks alike.
    Alike,
    /// It is about all blocks alike that do not hold an address that it excludes. The others are
    /// looked at.
    AlikeButFew,
    /// Blocks that hold an address that it asks about are looked at. It is not about the others.
    Each,
}

/// The sinks of what rules take, of which the last is the chain that they go to.
const ACCEPTED: usize = 0;
const DROPPED: usize = 1;
const BACK: usize = 2;
const UNTRACKED: usize = 3;
const GONE: usize = 4;

/// A table that is walked through at a hook in a state.
struct Walker<'walk> {
    graph: &'walk Graph,
    at: &'walk At<'walk>,
    traffic: &'walk mut Traffic,
    /// By chain, once it was walked through.
    sequences: FxHashMap<usize, Sequence>,
}

/// What a rule does to a block: pairs that it leaves alone, and those of which it takes some
/// traffic.
#[derive(Debug, Default)]
struct Pieces {
    missed: Vec<Block>,
    hit: Vec<(Block, TrafficId)>,
}

impl Out {
    /// Nothing yet.
    pub(crate) const NONE: Out = Out {
        accepted: Traffic::NONE,
        dropped: Traffic::NONE,
        untracked: Traffic::NONE,
        unclear: Traffic::NONE,
    };
}

impl Symbolic<'_> {
    /// What becomes of all traffic before the filter table.
    pub(crate) fn early(
        &self,
        at: &At<'_>,
        block: Block,
        traffic: &mut Traffic,
    ) -> Vec<(Block, Early)> {
        let chain = match at.hook {
            Hook::Forward { .. } | Hook::Input { .. } => "PREROUTING",
            Hook::Output { .. } => "OUTPUT",
        };
        let mut all = Vec::new();
        for (block, raw) in run(
            self.raw.as_ref(),
            chain,
            at,
            (block, Traffic::ALL, Out::NONE),
            traffic,
        ) {
            let untracked = if at.state == State::Untracked {
                Traffic::ALL
            } else {
                raw.untracked
            };
            let tracked = traffic.less(Traffic::ALL, untracked);
            let mut blocks = vec![(
                block,
                Out {
                    dropped: raw.dropped,
                    unclear: raw.unclear,
                    ..Out::NONE
                },
            )];
            for (state, here) in [(at.state, tracked), (State::Untracked, untracked)] {
                let here = traffic.less(here, raw.dropped);
                let at = At { state, ..*at };
                let on = |(block, out): (Block, Out)| {
                    run(
                        self.mangle.as_ref(),
                        chain,
                        &at,
                        (block, here, out),
                        traffic,
                    )
                };
                blocks = blocks.into_iter().flat_map(on).collect();
            }
            all.extend(blocks.into_iter().map(|(block, out)| {
                (
                    block,
                    Early {
                        dropped: out.dropped,
                        unclear: out.unclear,
                        untracked,
                    },
                )
            }));
        }
        merged(all)
    }

    /// What the filter table does with some traffic, beside what is known.
    pub(crate) fn filter(
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
    let first = graph
        .and_then(|graph| Some((graph, *graph.built_in.get(chain)?)))
        .filter(|_| here != Traffic::NONE);
    let Some((graph, first)) = first else {
        return vec![(block, known)];
    };
    let mut walker = Walker {
        graph,
        at,
        traffic,
        sequences: FxHashMap::default(),
    };
    let blocks = walker.walk(first, vec![(block, Way::new(here, known))]);
    merged(
        blocks
            .into_iter()
            .map(|(block, way)| (block, way.out))
            .collect(),
    )
}

impl Way {
    /// At the first rule of a chain.
    fn new(here: TrafficId, out: Out) -> Self {
        Self {
            next: 0,
            here,
            back: Traffic::NONE,
            gone: Traffic::NONE,
            out,
            caller: 0,
        }
    }

    /// Whether there are no packets at the rule.
    pub(super) fn is_done(&self) -> bool {
        self.here == Traffic::NONE
    }

    /// At no rule.
    fn ended(self) -> Self {
        Self { next: 0, ..self }
    }
}

impl Sequence {
    fn of(steps: &[Step], at: &At<'_>, traffic: &mut Traffic) -> Self {
        let goto = steps.iter().find_map(|step| {
            if let Act::Goto(chain) = step.act {
                Some(chain)
            } else {
                None
            }
        });
        let mut sequence = Self {
            effects: Vec::new(),
            positions: Vec::new(),
            rules: Cascade::of(Vec::new()),
            goto,
        };
        let mut rules = Vec::new();
        for (position, step) in steps.iter().enumerate() {
            let carried = step.carried(at, Traffic::ALL, traffic);
            let taken = step.taken(carried, goto);
            let effect = match taken {
                _ if carried == Traffic::NONE => Effect::Nothing,
                Some(rule) if rule == Taken::NOTHING => Effect::Nothing,
                Some(_) if step.asks_nothing() => Effect::Alike,
                Some(_) if step.excludes_only() => Effect::AlikeButFew,
                Some(_) | None => Effect::Each,
            };
            sequence.effects.push(effect);
            if let (Effect::Alike | Effect::AlikeButFew, Some(rule)) = (effect, taken) {
                sequence.positions.push(position);
                rules.push(rule);
            }
        }
        Self {
            rules: Cascade::of(rules),
            ..sequence
        }
    }

    /// Goes through the rules before a position that are about all blocks alike.
    fn pass(&mut self, position: usize, way: &mut Way, traffic: &mut Traffic) {
        let number = |position: usize| self.positions.partition_point(|known| *known < position);
        let rules: Range<usize> = number(way.next)..number(position);
        way.next = position;
        if rules.is_empty() {
            return;
        }
        let Way {
            back, gone, out, ..
        } = *way;
        let mut sinks = [out.accepted, out.dropped, back, out.untracked, gone];
        way.here = self.rules.pass(rules, way.here, &mut sinks, traffic);
        [
            way.out.accepted,
            way.out.dropped,
            way.back,
            way.out.untracked,
            way.gone,
        ] = sinks;
    }
}

impl Walker<'_> {
    /// Goes through a chain with some traffic between pairs that no two blocks have both; what
    /// comes back from it is what `back` says then.
    fn walk(&mut self, chain: usize, blocks: Vec<(Block, Way)>) -> Vec<(Block, Way)> {
        let graph = self.graph;
        let steps = graph.chains.get(chain).map_or(&[][..], Vec::as_slice);
        let mut sequence = self
            .sequences
            .remove(&chain)
            .unwrap_or_else(|| Sequence::of(steps, self.at, self.traffic));
        let mut front = Front::of(blocks);
        let mut ended = Vec::new();
        for (position, step) in steps.iter().enumerate() {
            if matches!(
                sequence.effects.get(position),
                Some(Effect::Nothing | Effect::Alike)
            ) {
                continue;
            }
            let mut met = front.take_met(step, self.at.columns);
            for (_, (_, way)) in &mut met {
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
            let back = self.traffic.or(way.back, way.here);
            ended.push((
                block,
                Way {
                    here: Traffic::NONE,
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

    /// Goes on to the chain that rules go to, with what they send there. The order of blocks stays
    /// as it is.
    fn go_on(&mut self, goto: usize, blocks: Vec<(Block, Way)>) -> Vec<(Block, Way)> {
        let (mut all, mut sent, mut senders) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (block, way)) in blocks.into_iter().enumerate() {
            match way.gone {
                Traffic::NONE => all.push((number, (block, way))),
                hit => {
                    senders.push(number);
                    sent.push(Sent {
                        block,
                        hit,
                        others: Way {
                            gone: Traffic::NONE,
                            ..way
                        },
                    });
                }
            }
        }
        for (number, block, way) in self.send(Act::Goto(goto), sent) {
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
        step: &Step,
        goto: Option<usize>,
        met: Vec<(Slot, (Block, Way))>,
    ) -> Vec<(Slot, Vec<(Block, Way)>)> {
        let (mut all, mut sent, mut senders) =
            (Vec::with_capacity(met.len()), Vec::new(), Vec::new());
        for (number, (slot, (block, way))) in met.into_iter().enumerate() {
            let pieces = step.apply(self.at, block, way.here, self.traffic);
            let missed = pieces.missed.into_iter().map(|block| (block, way));
            let hit = pieces.hit.into_iter().map(|(block, hit)| Sent {
                block,
                hit,
                others: self.others(step, hit, way),
            });
            if step.sends(goto) {
                sent.extend(hit);
                senders.resize(sent.len(), number);
                all.push((slot, missed.collect()));
            } else {
                let hit: Vec<Sent> = hit.collect();
                let hit = hit
                    .into_iter()
                    .map(|Sent { block, hit, others }| (block, self.act(step.act, hit, others)));
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

    /// What is known of a block but for what a rule hits there.
    fn others(&mut self, step: &Step, hit: TrafficId, way: Way) -> Way {
        let mut others = Way {
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
    fn send(&mut self, act: Act, sent: Vec<Sent>) -> Vec<(usize, Block, Way)> {
        let (Act::Jump(chain) | Act::Goto(chain)) = act else {
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
            Sent {
                block,
                hit,
                others: own,
            },
        ) in sent.into_iter().enumerate()
        {
            blocks.push((
                block,
                Way {
                    caller,
                    ..Way::new(hit, own.out)
                },
            ));
            others.push(own);
        }
        let mut all = Vec::new();
        for (block, inner) in self.walk(chain, blocks) {
            let others = others
                .get(inner.caller)
                .expect("a chain gives back what came to it");
            let mut way = Way {
                out: inner.out,
                ..*others
            };
            let to = if matches!(act, Act::Jump(_)) {
                &mut way.here
            } else {
                &mut way.back
            };
            *to = self.traffic.or(*to, inner.back);
            all.push((inner.caller, block, way));
        }
        all
    }

    /// Does to what a rule hits what it says. `way` is of what the rule leaves alone.
    fn act(&mut self, act: Act, hit: TrafficId, mut way: Way) -> Way {
        let traffic = &mut *self.traffic;
        match act {
            Act::Accept => way.out.accepted = traffic.or(way.out.accepted, hit),
            Act::Drop => way.out.dropped = traffic.or(way.out.dropped, hit),
            Act::Return => way.back = traffic.or(way.back, hit),
            Act::Log => way.here = traffic.or(way.here, hit),
            Act::NoTrack => {
                way.out.untracked = traffic.or(way.out.untracked, hit);
                way.here = traffic.or(way.here, hit);
            }
            Act::Jump(_) | Act::Goto(_) => way.gone = traffic.or(way.gone, hit),
        }
        way
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
        let Some(inside) = inside else {
            return Pieces {
                missed: vec![block],
                hit: Vec::new(),
            };
        };
        pieces.hit.push((inside, carried));
        for (negated, side, number) in &self.services {
            let groups = at
                .columns
                .services
                .get(*number)
                .map_or(&[][..], Vec::as_slice);
            pieces.refine(*side, groups, *negated, traffic);
        }
        if at.state == State::New {
            self.connections
                .iter()
                .filter_map(|(_, origin)| *origin)
                .for_each(|number| pieces.ask_origin(at, number, traffic));
        }
        pieces
    }

    /// Returns the effect of the rule on packets, without its conditions on addresses, or `None` if
    /// the effect depends on more than the headers of packets.
    fn taken(&self, carried: TrafficId, goto: Option<usize>) -> Option<Taken<5>> {
        if self.asks_origin() {
            return None;
        }
        match self.act {
            Act::Accept => Some(Taken::into_sink(ACCEPTED, carried)),
            Act::Drop => Some(Taken::into_sink(DROPPED, carried)),
            Act::Return => Some(Taken::into_sink(BACK, carried)),
            Act::Log => Some(Taken::NOTHING),
            Act::NoTrack => Some(Taken {
                off: Traffic::NONE,
                ..Taken::into_sink(UNTRACKED, carried)
            }),
            Act::Goto(other) if goto == Some(other) => Some(Taken::into_sink(GONE, carried)),
            Act::Jump(_) | Act::Goto(_) => None,
        }
    }

    /// Whether it sends packets through another chain at once.
    fn sends(&self, goto: Option<usize>) -> bool {
        match self.act {
            Act::Jump(_) => true,
            Act::Goto(chain) => goto != Some(chain),
            Act::Accept | Act::Drop | Act::Return | Act::Log | Act::NoTrack => false,
        }
    }

    /// Whether it asks about no address.
    fn asks_nothing(&self) -> bool {
        self.nets.is_empty() && self.services.is_empty()
    }

    /// Whether all that it asks of addresses is that one is not among some.
    pub(super) fn excludes_only(&self) -> bool {
        matches!(self.nets.as_slice(), [(true, _, _)]) && self.services.is_empty()
    }

    /// Whether it asks for the original destination of a connection.
    fn asks_origin(&self) -> bool {
        self.connections.iter().any(|(_, origin)| origin.is_some())
    }

    /// What of some traffic meets all conditions but those on addresses.
    fn carried(&self, at: &At<'_>, here: TrafficId, traffic: &mut Traffic) -> TrafficId {
        let arrives = |(negated, asked): &(bool, Interface)| {
            at.hook.arrives().is_some_and(|name| asked.is(name)) != *negated
        };
        let leaves =
            |(negated, asked): &(bool, String)| (at.hook.leaves() == Some(asked)) != *negated;
        let leads_back =
            |(negated, is_loose): &(bool, bool)| leads_back(at.reverse_path, *is_loose) != *negated;
        let is_in = |states: &Option<States>| match states {
            Some((negated, states)) => states.contains(&at.state) != *negated,
            None => !matches!(at.state, State::Untracked | State::Invalid),
        };
        let matches = self.arrives.iter().all(arrives)
            && self.leaves.iter().all(leaves)
            && self.reverse_paths.iter().all(leads_back)
            && self.connections.iter().all(|(states, _)| is_in(states));
        if matches {
            traffic.and(here, self.traffic)
        } else {
            Traffic::NONE
        }
    }
}

/// Whether packets in this state belong to a known connection, and may go in either direction of
/// it.
fn is_known(state: State) -> bool {
    match state {
        State::Established | State::Related => true,
        State::New | State::Invalid | State::Untracked => false,
    }
}

impl Pieces {
    /// Splits what is hit by the sets of traffic that places have; a place is in just one.
    fn refine(
        &mut self,
        side: Side,
        groups: &[(TrafficId, Members)],
        negated: bool,
        traffic: &mut Traffic,
    ) {
        let parts = |(block, hit): (Block, TrafficId)| {
            groups
                .iter()
                .filter_map(move |(own, places)| Some((block.split(side, places).0?, hit, *own)))
                .collect::<Vec<_>>()
        };
        for (part, hit, own) in std::mem::take(&mut self.hit).into_iter().flat_map(parts) {
            let hit = if negated {
                traffic.less(hit, own)
            } else {
                traffic.and(hit, own)
            };
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
            return self.refine(
                Side::Destination,
                at.columns
                    .origins
                    .get(number)
                    .map_or(&[][..], Vec::as_slice),
                false,
                traffic,
            );
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
    use crate::net::{PortRange, Protocol};
    use crate::packet_space::Cuts;

    /// So many that blocks are found by an index.
    const PLACES: usize = 150;
    const STEPS: usize = 240;
    const SERVICES: usize = 20;

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

    /// Mostly of few places, so that the index finds them, now and then of many.
    fn column(dice: &mut Dice) -> Members {
        let count = if dice.below(8) == 0 {
            PLACES / 2
        } else {
            1 + dice.below(3)
        };
        let places: Vec<usize> = (0..count).map(|_| dice.below(PLACES)).collect();
        Members::these(PLACES, &places)
    }

    /// `alike` of hundred ask about no address.
    fn step(
        dice: &mut Dice,
        (columns, sets): (usize, &[TrafficId]),
        (most, alike): (Side, usize),
    ) -> Step {
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
            Act::Accept,
            Act::Drop,
            Act::Return,
            Act::Log,
            Act::Accept,
            Act::NoTrack,
            Act::Goto(1),
            Act::Goto(2),
            Act::Jump(2),
        ];
        let (arrives, reverse_paths, leaves, connections) = Default::default();
        let is_alike = dice.below(100) < alike;
        Step {
            traffic: sets
                .get(dice.below(sets.len()))
                .copied()
                .unwrap_or(Traffic::ALL),
            nets: if is_alike { Vec::new() } else { nets },
            services: if is_alike { Vec::new() } else { services },
            arrives,
            reverse_paths,
            leaves,
            connections,
            act: act.get(dice.below(act.len())).copied().unwrap_or(Act::Log),
        }
    }

    /// What a step hits with one pair of places.
    fn hit(
        step: &Step,
        (columns, pair): (&Columns, [usize; 2]),
        here: TrafficId,
        traffic: &mut Traffic,
    ) -> TrafficId {
        let at = |side: Side| pair[usize::from(side == Side::Destination)];
        if step
            .nets
            .iter()
            .any(|(negated, side, number)| columns.nets[*number].holds(at(*side)) == *negated)
        {
            return Traffic::NONE;
        }
        let mut hit = traffic.and(here, step.traffic);
        for (negated, side, number) in &step.services {
            let (own, _) = columns.services[*number]
                .iter()
                .find(|(_, places)| places.holds(at(*side)))
                .expect("a group");
            let own = if *negated {
                traffic.less(Traffic::ALL, *own)
            } else {
                *own
            };
            hit = traffic.and(hit, own);
        }
        hit
    }

    /// Goes through a chain, step by step, with one pair of places.
    fn alone(
        graph: &Graph,
        chain: usize,
        at: (&Columns, [usize; 2]),
        (here, out): (TrafficId, Out),
        traffic: &mut Traffic,
    ) -> Way {
        let mut way = Way::new(here, out);
        for step in &graph.chains[chain] {
            let hit = hit(step, at, way.here, traffic);
            let rest = traffic.less(way.here, hit);
            let mut back = Traffic::NONE;
            if let Act::Jump(other) | Act::Goto(other) = step.act {
                let inner = alone(graph, other, at, (hit, way.out), traffic);
                (way.out, back) = (inner.out, inner.back);
            }
            match step.act {
                Act::Accept => way.out.accepted = traffic.or(way.out.accepted, hit),
                Act::Drop => way.out.dropped = traffic.or(way.out.dropped, hit),
                Act::Return => way.back = traffic.or(way.back, hit),
                Act::Goto(_) => way.back = traffic.or(way.back, back),
                Act::NoTrack => way.out.untracked = traffic.or(way.out.untracked, hit),
                Act::Jump(_) | Act::Log => {}
            }
            way.here = match step.act {
                Act::NoTrack | Act::Log => way.here,
                Act::Jump(_) => traffic.or(rest, back),
                Act::Accept | Act::Drop | Act::Return | Act::Goto(_) => rest,
            };
        }
        Way {
            back: traffic.or(way.back, way.here),
            here: Traffic::NONE,
            ..way
        }
    }

    /// What each place has of the services of a set: mostly nothing.
    fn service(dice: &mut Dice, sets: &[TrafficId]) -> (Vec<(TrafficId, Members)>, Members) {
        let served: Vec<usize> = (0..1 + dice.below(3)).map(|_| dice.below(PLACES)).collect();
        let own = sets[dice.below(sets.len())];
        let rest = Members::of(PLACES, |place| !served.contains(&place));
        let served = Members::these(PLACES, &served);
        (vec![(Traffic::NONE, rest), (own, served.clone())], served)
    }

    /// Walks through random chains with all pairs, and with some one by one; `alike` of hundred
    /// rules ask about no address.
    fn check(seed: u64, alike: usize) -> usize {
        let mut dice = Dice(seed);
        let mut cuts = Cuts::default();
        let ports: Vec<PortRange> = (1..90)
            .filter_map(|port| PortRange::new(port * 10, port * 10))
            .collect();
        ports
            .iter()
            .for_each(|port| cuts.ports(Protocol::TCP, Side::Destination, *port));
        let mut traffic = Traffic::of(&cuts);
        let sets: Vec<TrafficId> = ports
            .iter()
            .map(|port| traffic.with_ports(Side::Destination, &[*port]))
            .collect();
        let nets: Vec<Members> = (0..STEPS).map(|_| column(&mut dice)).collect();
        let (services, served) = (0..SERVICES).map(|_| service(&mut dice, &sets)).unzip();
        let columns = Columns {
            nets,
            services,
            served,
            origins: Vec::new(),
        };
        let most = Side::BOTH[dice.below(2)];
        let mut chain = |count: usize| -> Vec<Step> {
            (0..count)
                .map(|_| step(&mut dice, (STEPS, &sets), (most, alike)))
                .collect()
        };
        let mut chains = vec![chain(STEPS), chain(6), chain(6)];
        chains[1..].iter_mut().for_each(|steps| {
            steps.retain(|step| !matches!(step.act, Act::Jump(_) | Act::Goto(_)))
        });
        let graph = Graph {
            chains,
            built_in: BTreeMap::new(),
        };
        let all = Members::of(PLACES, |_| true);
        let block = Block {
            sources: all.clone(),
            destinations: all,
        };
        let hook = Hook::Input {
            arrives: "eth0".to_owned(),
        };
        let reverse_path = ReversePath::Arriving;
        let at = At {
            columns: &columns,
            hook: &hook,
            state: State::New,
            reverse_path,
            origins: None,
        };
        let mut walker = Walker {
            graph: &graph,
            at: &at,
            traffic: &mut traffic,
            sequences: FxHashMap::default(),
        };

        let blocks = walker.walk(0, vec![(block, Way::new(Traffic::ALL, Out::NONE))]);

        let pairs: usize = blocks.iter().map(|(block, _)| block.pairs()).sum();
        assert_eq!(pairs, PLACES * PLACES, "blocks share a pair, or lack one");
        let every = |(block, way): &(Block, Way)| -> Vec<(usize, usize, Way)> {
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
                (Traffic::ALL, Out::NONE),
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
