//! Chains made ready for walks: rules whose conditions on what a packet carries are sets of
//! traffic, and whose questions about addresses are numbers of [`AnswerColumns`].

use std::collections::BTreeMap;

use crate::net::{Side, State};
use crate::netfilter::leads_back;
use crate::netfilter::model::InterfaceMatch;
use crate::packet::{Hook, ReversePath};
use crate::packet_space::{HeaderSetId, HeaderSpace, LocationSet, PairBlock};

/// What rules say of all places, by question.
#[derive(Debug)]
pub(crate) struct AnswerColumns {
    pub(super) nets: Vec<LocationSet>,
    pub(super) services: Vec<Vec<(HeaderSetId, LocationSet)>>,
    /// The places at which there is any traffic of these.
    pub(super) served: Vec<LocationSet>,
    /// What connections have, that were made to a place and to the port that the packet is for.
    pub(super) origins: Vec<Vec<(HeaderSetId, LocationSet)>>,
}

/// Where packets are met, and what rules say of all places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HookContext<'at> {
    pub(crate) columns: &'at AnswerColumns,
    pub(crate) hook: &'at Hook,
    pub(crate) state: State,
    pub(crate) reverse_path: ReversePath,
    /// What their connections' original destinations satisfy; none where those are the destinations
    /// that they have.
    pub(crate) origins: Option<&'at [HeaderSetId]>,
}

/// A table's chains by number.
#[derive(Debug)]
pub(super) struct ChainGraph {
    pub(super) chains: Vec<Vec<SymbolicRule>>,
    pub(super) built_in: BTreeMap<&'static str, usize>,
}

/// States, and whether they are excluded.
type StateMatch = (bool, Vec<State>);

/// A rule.
#[derive(Debug)]
pub(super) struct SymbolicRule {
    pub(super) traffic: HeaderSetId,
    /// Questions about addresses: whether the answer must be no, the side, and the number.
    pub(super) nets: Vec<(bool, Side, usize)>,
    pub(super) services: Vec<(bool, Side, usize)>,
    pub(super) arrives: Vec<(bool, InterfaceMatch)>,
    /// Wanted routes back: whether there must be none, and whether any interface will do.
    pub(super) reverse_paths: Vec<(bool, bool)>,
    pub(super) leaves: Vec<(bool, String)>,
    /// Wanted states, and the number of what is asked of the original destination.
    pub(super) connections: Vec<(Option<StateMatch>, Option<usize>)>,
    pub(super) act: RuleAction,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum RuleAction {
    Accept,
    Drop,
    Return,
    Log,
    NoTrack,
    Jump(usize),
    Goto(usize),
}

/// What a rule does to a block: pairs that it leaves alone, and those of which it takes some
/// traffic.
#[derive(Debug, Default)]
pub(super) struct BlockSplit {
    pub(super) missed: Vec<PairBlock>,
    pub(super) hit: Vec<(PairBlock, HeaderSetId)>,
}

impl SymbolicRule {
    /// Splits a block by what the rule takes of it.
    pub(super) fn apply(
        &self,
        at: &HookContext<'_>,
        block: PairBlock,
        here: HeaderSetId,
        traffic: &mut HeaderSpace,
    ) -> BlockSplit {
        let carried = self.carried(at, here, traffic);
        let mut pieces = BlockSplit::default();
        let mut inside = Some(block.clone()).filter(|_| carried != HeaderSpace::NONE);

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
            return BlockSplit {
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

    /// Whether it asks about no address.
    pub(super) fn asks_nothing(&self) -> bool {
        self.nets.is_empty() && self.services.is_empty()
    }

    /// Whether all that it asks of addresses is that one is not among some.
    pub(super) fn excludes_only(&self) -> bool {
        matches!(self.nets.as_slice(), [(true, _, _)]) && self.services.is_empty()
    }

    /// Whether it asks for the original destination of a connection.
    pub(super) fn asks_origin(&self) -> bool {
        self.connections.iter().any(|(_, origin)| origin.is_some())
    }

    /// What of some traffic meets all conditions but those on addresses.
    pub(super) fn carried(
        &self,
        at: &HookContext<'_>,
        here: HeaderSetId,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        let arrives = |(negated, asked): &(bool, InterfaceMatch)| {
            at.hook.arrives().is_some_and(|name| asked.is(name)) != *negated
        };
        let leaves =
            |(negated, asked): &(bool, String)| (at.hook.leaves() == Some(asked)) != *negated;
        let leads_back =
            |(negated, is_loose): &(bool, bool)| leads_back(at.reverse_path, *is_loose) != *negated;
        let is_in = |states: &Option<StateMatch>| match states {
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
            HeaderSpace::NONE
        }
    }
}

impl BlockSplit {
    /// Splits what is hit by the sets of traffic that places have; a place is in just one.
    fn refine(
        &mut self,
        side: Side,
        groups: &[(HeaderSetId, LocationSet)],
        negated: bool,
        traffic: &mut HeaderSpace,
    ) {
        let parts = |(block, hit): (PairBlock, HeaderSetId)| {
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

    fn put(&mut self, part: PairBlock, hit: HeaderSetId) {
        match hit {
            HeaderSpace::NONE => self.missed.push(part),
            hit => self.hit.push((part, hit)),
        }
    }

    fn ask_origin(&mut self, at: &HookContext<'_>, number: usize, traffic: &mut HeaderSpace) {
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

        let own = origins.get(number).copied().unwrap_or(HeaderSpace::NONE);
        for (block, hit) in std::mem::take(&mut self.hit) {
            self.put(block, traffic.and(hit, own));
        }
    }
}
