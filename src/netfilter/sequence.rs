//! The rules of a chain at one hook and in one state. Rules that treat all blocks alike are
//! combined.

use std::ops::Range;

use crate::netfilter::graph::{HookContext, RuleAction, SymbolicRule};
use crate::netfilter::residual::ChainState;
use crate::packet_space::{CascadeRule, HeaderSetId, HeaderSpace, RuleCascade};

/// The effect of a chain's rules at a hook on packets in one state.
pub(super) struct RuleSequence {
    pub(super) effects: Vec<RuleEffect>,
    /// The positions of the rules that apply to all blocks without inspection of each block, in
    /// order.
    positions: Vec<usize>,
    /// The effects of these rules.
    rules: RuleCascade<5>,
    /// The chain that rules go to. The packets of all these rules pass it together, after the other
    /// packets of this chain: the outcome for one packet does not depend on other packets.
    pub(super) goto: Option<usize>,
}

/// How a rule is applied to blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleEffect {
    /// The rule has no effect here.
    Nothing,
    /// The rule treats all blocks alike.
    Alike,
    /// The rule treats all blocks alike, except those that contain an address that it excludes.
    /// Those are inspected.
    AlikeButFew,
    /// The rule affects only blocks that contain an address of its conditions. Those are inspected.
    Each,
}

/// The indices of the cascade's sinks. The last sink is the chain that the rules go to.
const ACCEPTED: usize = 0;
const DROPPED: usize = 1;
const BACK: usize = 2;
const UNTRACKED: usize = 3;
const GONE: usize = 4;

impl RuleSequence {
    pub(super) fn new(
        steps: &[SymbolicRule],
        at: &HookContext<'_>,
        traffic: &mut HeaderSpace,
    ) -> Self {
        let goto = steps.iter().find_map(|step| {
            if let RuleAction::Goto(chain) = step.act {
                Some(chain)
            } else {
                None
            }
        });
        let mut sequence = Self {
            effects: Vec::new(),
            positions: Vec::new(),
            rules: RuleCascade::new(Vec::new()),
            goto,
        };
        let mut rules = Vec::new();

        for (position, step) in steps.iter().enumerate() {
            let carried = step.carried(at, HeaderSpace::ALL, traffic);
            let taken = step.taken(carried, goto);
            let effect = match taken {
                _ if carried == HeaderSpace::NONE => RuleEffect::Nothing,
                Some(rule) if rule == CascadeRule::NOTHING => RuleEffect::Nothing,
                Some(_) if step.asks_nothing() => RuleEffect::Alike,
                Some(_) if step.excludes_only() => RuleEffect::AlikeButFew,
                Some(_) | None => RuleEffect::Each,
            };
            sequence.effects.push(effect);
            if let (RuleEffect::Alike | RuleEffect::AlikeButFew, Some(rule)) = (effect, taken) {
                sequence.positions.push(position);
                rules.push(rule);
            }
        }

        Self {
            rules: RuleCascade::new(rules),
            ..sequence
        }
    }

    /// Applies the combined rules before a position.
    pub(super) fn pass(
        &mut self,
        position: usize,
        way: &mut ChainState,
        traffic: &mut HeaderSpace,
    ) {
        let number = |position: usize| self.positions.partition_point(|known| *known < position);
        let rules: Range<usize> = number(way.next)..number(position);
        way.next = position;
        if rules.is_empty() {
            return;
        }

        let ChainState {
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

impl SymbolicRule {
    /// Returns the effect of the rule on packets, without its address conditions, or `None` if the
    /// effect depends on more than the headers of packets.
    fn taken(&self, carried: HeaderSetId, goto: Option<usize>) -> Option<CascadeRule<5>> {
        if self.asks_origin() {
            return None;
        }

        match self.act {
            RuleAction::Accept => Some(CascadeRule::into_sink(ACCEPTED, carried)),
            RuleAction::Drop => Some(CascadeRule::into_sink(DROPPED, carried)),
            RuleAction::Return => Some(CascadeRule::into_sink(BACK, carried)),
            RuleAction::Log => Some(CascadeRule::NOTHING),
            RuleAction::NoTrack => Some(CascadeRule {
                off: HeaderSpace::NONE,
                ..CascadeRule::into_sink(UNTRACKED, carried)
            }),
            RuleAction::Goto(other) if goto == Some(other) => {
                Some(CascadeRule::into_sink(GONE, carried))
            }
            RuleAction::Jump(_) | RuleAction::Goto(_) => None,
        }
    }
}
