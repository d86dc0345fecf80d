//! Changes of the allowed traffic between peers that are in both states.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::diff::causes::{DeciderTable, TurnIds, TurnedTraffic};
use crate::diff::cells::{CellId, DiffCellTable};
use crate::diff::matched_peers::{JointClass, MatchedPeers, PeerPlacement};
use crate::diff::pairs::{PairGroup, PairGroups, PairWalk};
use crate::diff::{ChangeReason, DecidedState, DiffState, OldNew, PeerId};
use crate::inventory::Endpoint;
use crate::net::{Direction, Family, Protocol, Side};
use crate::packet::{IcmpMessage, PortPair};
use crate::packet_space::{DYNAMIC_PORTS, HeaderSetId, HeaderSpace, HostListStage};
use crate::policy::{HostEndpoint, IcmpMatch, ProtocolMatch};

/// A change of the allowed traffic between some peers.
#[derive(Debug)]
pub struct ConnectionChange<'input> {
    /// The traffic that was allowed.
    pub before: HeaderSetId,
    /// The traffic that is allowed now.
    pub after: HeaderSetId,
    /// The traffic that is allowed now but was not, in parts with one cause each.
    pub gained: Vec<CausedTraffic<'input>>,
    /// The traffic that was allowed but is not now, in parts with one cause each.
    pub lost: Vec<CausedTraffic<'input>>,
    /// The list of host endpoints that changed; `None` for policy of pods. If set, the host
    /// endpoints are the local ends of the blocks.
    pub host: Option<HostEndpointEnd>,
    /// The pairs of peers.
    pub blocks: Vec<PeerBlock>,
}

/// A list of host endpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostEndpointEnd {
    /// The list, and what it is evaluated for.
    pub way: HostListStage,
    /// The direction. In ingress, the host endpoint is the destination.
    pub direction: Direction,
    /// The addresses of the node, or of endpoints behind it, to which the change is limited; empty
    /// if there is no limit.
    pub near: Vec<PeerId>,
}

/// Traffic whose verdict changed for one cause.
#[derive(Debug)]
pub struct CausedTraffic<'input> {
    /// The traffic.
    pub traffic: HeaderSetId,
    /// The reasons, one for each direction in which the verdict changed.
    pub reasons: Vec<ChangeReason<'input>>,
    /// An example packet.
    pub witness: ChangeWitness<'input>,
}

/// All pairs of one of these senders and one of these receivers, except the pair of a single
/// endpoint with itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerBlock {
    /// The senders, in order.
    pub from: Vec<PeerId>,
    /// The receivers, in order.
    pub to: Vec<PeerId>,
    /// The families in which the change applies.
    pub families: Vec<Family>,
}

/// A packet that shows a change. Its ends are those of the state that allows it.
#[derive(Debug, Clone)]
pub struct ChangeWitness<'input> {
    /// The family.
    pub family: Family,
    /// The sender.
    pub from: WitnessEnd<'input>,
    /// The receiver.
    pub to: WitnessEnd<'input>,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports; `None` if the protocol has no ports.
    pub ports: Option<PortPair>,
    /// The ICMP or ICMPv6 message; `None` for other protocols.
    pub message: Option<IcmpMessage>,
}

/// An end of a witness.
#[derive(Debug, Clone, Copy)]
pub struct WitnessEnd<'input> {
    /// The endpoint; `None` for an address outside.
    pub endpoint: Option<&'input Endpoint>,
    /// The host endpoint at this end, if any.
    pub host: Option<&'input HostEndpoint>,
    /// The address; `None` if it is not known yet.
    pub address: Option<IpAddr>,
}

/// The properties by which pairs are grouped into changes: traffic before, traffic after, and the
/// parts with their causes.
pub(super) type ChangeKey = (HeaderSetId, HeaderSetId, Vec<TurnedPart>);
/// A part of a change: the state that allows it, the traffic, and the causes.
pub(super) type TurnedPart = (DiffState, HeaderSetId, Vec<TurnIds>);

/// One side of a block.
pub(super) struct BlockSides {
    pub(super) endpoints: Vec<PeerId>,
    pub(super) outside: Vec<PeerId>,
}

/// Collects blocks. Blocks between endpoints are of one or both families. Addresses outside
/// determine the family themselves.
#[derive(Default)]
pub(super) struct BlockBuilder {
    between: BTreeMap<(Vec<PeerId>, Vec<PeerId>), BTreeSet<Family>>,
    /// Blocks from outside, by receivers.
    from_outside: BTreeMap<Vec<PeerId>, (BTreeSet<PeerId>, BTreeSet<Family>)>,
    /// Blocks to outside, by senders.
    to_outside: BTreeMap<Vec<PeerId>, (BTreeSet<PeerId>, BTreeSet<Family>)>,
}

impl BlockBuilder {
    pub(super) fn add(&mut self, from: BlockSides, to: BlockSides, family: Family) {
        if !from.outside.is_empty() && !to.endpoints.is_empty() {
            // addresses outside with the same receivers become one block
            let known = self.from_outside.entry(to.endpoints.clone()).or_default();
            known.0.extend(from.outside);
            known.1.insert(family);
        }

        if !from.endpoints.is_empty() && !to.outside.is_empty() {
            let known = self.to_outside.entry(from.endpoints.clone()).or_default();
            known.0.extend(to.outside);
            known.1.insert(family);
        }

        if !from.endpoints.is_empty() && !to.endpoints.is_empty() {
            self.between
                .entry((from.endpoints, to.endpoints))
                .or_default()
                .insert(family);
        }
    }

    pub(super) fn finish(self) -> Vec<PeerBlock> {
        let listed = |peers: BTreeSet<PeerId>| peers.into_iter().collect();
        let families = |families: BTreeSet<Family>| families.into_iter().collect();
        let between = self
            .between
            .into_iter()
            .map(|((from, to), known)| PeerBlock {
                from,
                to,
                families: families(known),
            });

        let entering = self
            .from_outside
            .into_iter()
            .map(|(to, (from, known))| PeerBlock {
                from: listed(from),
                to,
                families: families(known),
            });

        let leaving = self
            .to_outside
            .into_iter()
            .map(|(from, (to, known))| PeerBlock {
                from,
                to: listed(to),
                families: families(known),
            });
        between.chain(entering).chain(leaving).collect()
    }
}

/// Builds changes from groups of pairs.
pub(super) struct ChangeBuilder<'work, 'input> {
    pub(super) both: OldNew<DecidedState<'work, 'input>>,
    pub(super) joint: &'work MatchedPeers<'input>,
    pub(super) deciders: &'work DeciderTable<'input>,
}

/// Returns all changes between endpoints, and between endpoints and outside.
pub(super) fn all<'input>(
    cells: &mut DiffCellTable<'_, 'input>,
    traffic: &mut HeaderSpace,
) -> Vec<ConnectionChange<'input>> {
    let counted = traffic.listed();
    let find =
        |cells: &DiffCellTable<'_, 'input>,
         (leaving, entering): (CellId, CellId),
         traffic: &mut HeaderSpace| { key(cells, leaving, entering, counted, traffic) };
    let groups = PairWalk::new(cells, traffic, find).groups();
    let teller = ChangeBuilder {
        both: cells.both,
        joint: cells.joint,
        deciders: &cells.deciders,
    };

    let change = |(key, group): (&ChangeKey, &PairGroup)| {
        teller.change_of_group(key, group, &groups, traffic)
    };
    groups.all.iter().filter_map(change).collect()
}

/// Returns the change between a sender and a receiver, or `None` if nothing changes.
fn key(
    cells: &DiffCellTable<'_, '_>,
    leaving: CellId,
    entering: CellId,
    counted: HeaderSetId,
    traffic: &mut HeaderSpace,
) -> Option<ChangeKey> {
    let (leaving, entering) = (cells.get(leaving)?, cells.get(entering)?);
    let before = traffic.and(leaving.seen.old, entering.seen.old);
    let after = traffic.and(leaving.seen.new, entering.seen.new);
    let [before, after] = [before, after].map(|all| traffic.and(all, counted));
    let parts = parts(before, after, &[&leaving.turned, &entering.turned], traffic);
    (before != after).then_some((before, after, parts))
}

/// Splits the gained and the lost traffic by the directions in which the verdict changed, and by
/// the cause there.
pub(super) fn parts(
    before: HeaderSetId,
    after: HeaderSetId,
    turned: &[&[TurnedTraffic]],
    traffic: &mut HeaderSpace,
) -> Vec<TurnedPart> {
    let mut parts = Vec::new();
    for (state, all) in [
        (DiffState::New, traffic.less(after, before)),
        (DiffState::Old, traffic.less(before, after)),
    ] {
        let mut own = if all == HeaderSpace::NONE {
            Vec::new()
        } else {
            vec![(all, Vec::new())]
        };
        for turned in turned {
            own = split_by_turn(own, turned, traffic);
        }
        parts.extend(
            own.into_iter()
                .map(|(traffic, turns)| (state, traffic, turns)),
        );
    }

    parts
}

/// Splits parts by the causes in one more direction.
fn split_by_turn(
    parts: Vec<(HeaderSetId, Vec<TurnIds>)>,
    turned: &[TurnedTraffic],
    traffic: &mut HeaderSpace,
) -> Vec<(HeaderSetId, Vec<TurnIds>)> {
    let mut cut: BTreeMap<Vec<TurnIds>, HeaderSetId> = BTreeMap::new();
    let mut add = |turns: Vec<TurnIds>, part: HeaderSetId, traffic: &mut HeaderSpace| {
        let known = cut.entry(turns).or_insert(HeaderSpace::NONE);
        *known = traffic.or(*known, part);
    };

    for (mut rest, turns) in parts {
        for one in turned {
            let common = traffic.and(rest, one.traffic);
            rest = traffic.less(rest, common);
            add(
                turns.iter().copied().chain([one.turn]).collect(),
                common,
                traffic,
            );
        }
        add(turns, rest, traffic);
    }

    cut.into_iter()
        .filter(|(_, part)| *part != HeaderSpace::NONE)
        .map(|(turns, part)| (part, turns))
        .collect()
}

impl<'input> ChangeBuilder<'_, 'input> {
    fn change_of_group(
        &self,
        key: &ChangeKey,
        group: &PairGroup,
        groups: &PairGroups<ChangeKey>,
        traffic: &mut HeaderSpace,
    ) -> Option<ConnectionChange<'input>> {
        let (from, to) = group.first;
        let (source, destination) = (self.joint.classes.get(from)?, self.joint.classes.get(to)?);
        let end = |class: &JointClass, state| self.end(class.example, state);
        let ends = |state| (source.family, end(source, state), end(destination, state));
        self.change(key, ends, self.blocks(group, groups), traffic)
    }

    /// Builds a change. `ends` returns the ends of its witness in a state.
    pub(super) fn change(
        &self,
        (before, after, parts): &ChangeKey,
        ends: impl Fn(DiffState) -> (Family, WitnessEnd<'input>, WitnessEnd<'input>),
        blocks: Vec<PeerBlock>,
        traffic: &mut HeaderSpace,
    ) -> Option<ConnectionChange<'input>> {
        let mut change = ConnectionChange {
            before: *before,
            after: *after,
            gained: Vec::new(),
            lost: Vec::new(),
            host: None,
            blocks,
        };

        for (state, part, turns) in parts {
            let reasons = turns
                .iter()
                .map(|turn| self.deciders.reason(*turn))
                .collect();
            let portion = CausedTraffic {
                traffic: *part,
                reasons,
                witness: witness(ends(*state), *part, traffic)?,
            };
            match state {
                DiffState::New => change.gained.push(portion),
                DiffState::Old => change.lost.push(portion),
            }
        }

        change
            .gained
            .sort_by(|left, right| left.reasons.cmp(&right.reasons));
        change
            .lost
            .sort_by(|left, right| left.reasons.cmp(&right.reasons));

        Some(change)
    }

    /// Returns a location as the end of a witness.
    pub(super) fn end(&self, spot: OldNew<PeerPlacement>, state: DiffState) -> WitnessEnd<'input> {
        let (spot, inventory) = (spot.get(state), self.both.get(state).resolved.inventory);
        WitnessEnd {
            endpoint: spot.endpoint.map(|id| inventory.endpoint(id)),
            host: None,
            address: spot.address,
        }
    }

    /// Returns the pairs of a group as few blocks of peers.
    fn blocks(&self, group: &PairGroup, groups: &PairGroups<ChangeKey>) -> Vec<PeerBlock> {
        let mut blocks = BlockBuilder::default();
        for (list, from) in &group.senders {
            let family = from
                .first()
                .and_then(|index| self.joint.classes.get(*index))
                .map(|class| class.family);
            if let Some(family) = family {
                blocks.add(
                    self.sides(from),
                    self.sides(groups.receivers(*list)),
                    family,
                );
            }
        }

        blocks.finish()
    }

    /// Returns the peers of some classes, as endpoints and addresses outside.
    pub(super) fn sides(&self, classes: &[usize]) -> BlockSides {
        let is_outside = |id: &PeerId| {
            self.joint
                .peers
                .get(id.index())
                .is_some_and(super::MatchedPeer::is_outside)
        };
        let (outside, endpoints) = self.peers(classes).into_iter().partition(is_outside);
        BlockSides { endpoints, outside }
    }

    pub(super) fn peers(&self, classes: &[usize]) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> = classes
            .iter()
            .filter_map(|index| self.joint.classes.get(*index))
            .flat_map(|class| class.peers.iter().copied())
            .collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }
}

/// Returns an example packet of some traffic, if possible of a protocol that exists in the family.
fn witness<'input>(
    (family, from, to): (Family, WitnessEnd<'input>, WitnessEnd<'input>),
    part: HeaderSetId,
    traffic: &mut HeaderSpace,
) -> Option<ChangeWitness<'input>> {
    let foreign = match family {
        Family::V4 => Protocol::ICMPV6,
        Family::V6 => Protocol::ICMP,
    };
    let foreign = traffic.of_rule(ProtocolMatch::Is(foreign), IcmpMatch::Any);
    let own = traffic.less(part, foreign);

    // policy may have split source ports below those that clients use; prefer a usual one
    let from_usual = traffic.touching(Side::Source, DYNAMIC_PORTS);
    let without_ports = traffic.without_ports();
    let usual = traffic.or(from_usual, without_ports);
    let usual = traffic.and(own, usual);
    let class = traffic
        .first(usual)
        .or_else(|| traffic.first(own))
        .or_else(|| traffic.first(part))?;
    let (protocol, ports, message) = class.example()?;

    Some(ChangeWitness {
        family,
        from,
        to,
        protocol,
        ports,
        message,
    })
}
