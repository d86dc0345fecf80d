//! Chains prepared for symbolic evaluation: header conditions are sets of headers, and address
//! conditions are numbers of [`AnswerColumns`].

use std::collections::BTreeMap;

use crate::net::{Side, State};
use crate::netfilter::leads_back;
use crate::netfilter::model::InterfaceMatch;
use crate::packet::{Hook, ReversePath};
use crate::packet_space::{HeaderSetId, HeaderSpace, LocationSet, PairBlock};

/// The answers to all address conditions, for all locations. The index is the number of the
/// condition.
#[derive(Debug)]
pub(crate) struct AnswerColumns {
    pub(super) nets: Vec<LocationSet>,
    pub(super) services: Vec<Vec<(HeaderSetId, LocationSet)>>,
    /// The locations for which a service set has any member.
    pub(super) served: Vec<LocationSet>,
    /// For each match on the original destination, the headers that satisfy it, by location. A
    /// connection counts as made to the location and to the port that the packet has now.
    pub(super) origins: Vec<Vec<(HeaderSetId, LocationSet)>>,
}

/// The hook, state and route back of packets, with the answers for all locations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HookContext<'at> {
    pub(crate) columns: &'at AnswerColumns,
    pub(crate) hook: &'at Hook,
    pub(crate) state: State,
    pub(crate) reverse_path: ReversePath,
    /// For each match on the original destination, the headers that satisfy it; `None` if the
    /// destination is not translated.
    pub(crate) origins: Option<&'at [HeaderSetId]>,
}

/// The chains of a table, by number.
#[derive(Debug)]
pub(super) struct ChainGraph {
    pub(super) chains: Vec<Vec<SymbolicRule>>,
    pub(super) built_in: BTreeMap<&'static str, usize>,
}

/// `true` if the match is negated, and the states.
type StateMatch = (bool, Vec<State>);

/// A rule whose conditions are sets of headers and numbers of address conditions.
#[derive(Debug)]
pub(super) struct SymbolicRule {
    pub(super) traffic: HeaderSetId,
    /// Address conditions: `true` if negated, the side, and the number.
    pub(super) nets: Vec<(bool, Side, usize)>,
    pub(super) services: Vec<(bool, Side, usize)>,
    pub(super) arrives: Vec<(bool, InterfaceMatch)>,
    /// `rpfilter` matches: `true` if negated, and `true` if `--loose`.
    pub(super) reverse_paths: Vec<(bool, bool)>,
    pub(super) leaves: Vec<(bool, String)>,
    /// `conntrack` matches: the states, and the number of the match on the original destination.
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

/// The effect of a rule on a block: the pairs that it does not match, and the pairs of which it
/// matches some headers.
#[derive(Debug, Default)]
pub(super) struct BlockSplit {
    pub(super) missed: Vec<PairBlock>,
    pub(super) hit: Vec<(PairBlock, HeaderSetId)>,
}

impl SymbolicRule {
    /// Splits a block by what the rule matches. `here` is the headers that have reached the rule.
    pub(super) fn apply(
        &self,
        at: &HookContext<'_>,
        block: PairBlock,
        here: HeaderSetId,
        traffic: &mut HeaderSpace,
    ) -> BlockSplit {
        let carried = self.carried(at, here, traffic);
        let mut pieces = BlockSplit::default();
        // prefixes first: they split blocks without touching sets of headers
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

        // packets of known connections may be replies, whose original destination is their source;
        // `TableOutcome::unclear` has them
        if at.state == State::New {
            self.connections
                .iter()
                .filter_map(|(_, origin)| *origin)
                .for_each(|number| pieces.ask_origin(at, number, traffic));
        }

        pieces
    }

    /// Returns `true` if the rule has no address condition.
    pub(super) fn asks_nothing(&self) -> bool {
        self.nets.is_empty() && self.services.is_empty()
    }

    /// Returns `true` if the only address condition of the rule is one negated match on prefixes.
    pub(super) fn excludes_only(&self) -> bool {
        matches!(self.nets.as_slice(), [(true, _, _)]) && self.services.is_empty()
    }

    /// Returns `true` if the rule matches the original destination of a connection.
    pub(super) fn asks_origin(&self) -> bool {
        self.connections.iter().any(|(_, origin)| origin.is_some())
    }

    /// Returns the headers that meet all conditions but those on addresses.
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
            // as `conntrack_mt`: without a state, the match fails for packets that have no
            // connection
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
    /// Splits the matched pairs by the headers that a service set has at a location. `groups` must
    /// be disjoint and cover all locations.
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
