//! The rules of a chain at one hook and in one state, of which those that are about all blocks alike
//! are joined.

use std::ops::Range;

use crate::netfilter::graph::{Act, At, Step};
use crate::netfilter::residual::Way;
use crate::packet_space::{Cascade, Taken, Traffic, TrafficId};

/// What the rules of a chain do at a hook to packets in a state.
pub(super) struct Sequence {
    pub(super) effects: Vec<Effect>,
    /// Positions of the rules that apply to all blocks without a look at each block, in order.
    positions: Vec<usize>,
    /// What these do.
    rules: Cascade<5>,
    /// The chain that rules go to. The packets of all these rules go through it together, after the
    /// other packets of this chain: the outcome for one packet does not depend on other packets.
    pub(super) goto: Option<usize>,
}

/// How a rule is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
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

impl Sequence {
    pub(super) fn of(steps: &[Step], at: &At<'_>, traffic: &mut Traffic) -> Self {
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
    pub(super) fn pass(&mut self, position: usize, way: &mut Way, traffic: &mut Traffic) {
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

impl Step {
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
}
