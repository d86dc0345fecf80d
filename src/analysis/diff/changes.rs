//! The pairs of those who are in both states for whom something else may pass, in groups that say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::analysis::diff::causes::{Deciders, Ends, Turn, Turned};
use crate::analysis::diff::joint::{Class, Joint};
use crate::analysis::diff::{Both, Known, PeerId, Reason, State};
use crate::analysis::space::{self, Traffic, TrafficId, ViewId};
use crate::analysis::{Message, PortPair, Side};
use crate::inventory::Endpoint;
use crate::net::{Direction, Family, Protocol};

/// What may pass otherwise between some.
#[derive(Debug)]
pub struct Change<'input> {
    /// All that might pass.
    pub before: TrafficId,
    /// All that may pass.
    pub after: TrafficId,
    /// What may pass now and might not, in parts of one cause each.
    pub gained: Vec<Portion<'input>>,
    /// What might pass and may not now, in parts of one cause each.
    pub lost: Vec<Portion<'input>>,
    /// Between whom.
    pub blocks: Vec<Block>,
}

/// Traffic that one cause lets through or stops.
#[derive(Debug)]
pub struct Portion<'input> {
    /// The traffic.
    pub traffic: TrafficId,
    /// Why: one reason for each direction in which the verdict turned.
    pub reasons: Vec<Reason<'input>>,
    /// One packet of it.
    pub witness: Witness<'input>,
}

/// Each of some with each of others. What a single endpoint says to itself is not meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// Senders, in order.
    pub from: Vec<PeerId>,
    /// Receivers, in order.
    pub to: Vec<PeerId>,
    /// The families in which it is so.
    pub families: Vec<Family>,
}

/// A packet that shows a change. Its ends are those of the state that allows it.
#[derive(Debug, Clone)]
pub struct Witness<'input> {
    /// The family.
    pub family: Family,
    /// The sender.
    pub from: End<'input>,
    /// The receiver.
    pub to: End<'input>,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports, of a protocol that has them.
    pub ports: Option<PortPair>,
    /// The message, of ICMP and ICMPv6.
    pub message: Option<Message>,
}

/// An end of a witness.
#[derive(Debug, Clone, Copy)]
pub struct End<'input> {
    /// The endpoint; none outside.
    pub endpoint: Option<&'input Endpoint>,
    /// The address; none where nobody knows it yet.
    pub address: Option<IpAddr>,
}

/// What makes changes one: before, after, and the parts with their turns.
type Key = (TrafficId, TrafficId, Vec<(State, TrafficId, Vec<Turn>)>);
/// Positions of two classes.
type Pair = (usize, usize);

/// One side of a block.
struct Sides {
    endpoints: Vec<PeerId>,
    outside: Vec<PeerId>,
}

/// Blocks in the making. Those between endpoints are of one family or both; addresses outside say their family themselves.
#[derive(Default)]
struct Blocks {
    between: BTreeMap<(Vec<PeerId>, Vec<PeerId>), BTreeSet<Family>>,
    /// By the receivers.
    from_outside: BTreeMap<Vec<PeerId>, (BTreeSet<PeerId>, BTreeSet<Family>)>,
    /// By the senders.
    to_outside: BTreeMap<Vec<PeerId>, (BTreeSet<PeerId>, BTreeSet<Family>)>,
}

impl Blocks {
    fn add(&mut self, from: Sides, to: Sides, family: Family) {
        if !from.outside.is_empty() && !to.endpoints.is_empty() {
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
            self.between.entry((from.endpoints, to.endpoints)).or_default().insert(family);
        }
    }

    fn finish(self) -> Vec<Block> {
        let listed = |peers: BTreeSet<PeerId>| peers.into_iter().collect();
        let families = |families: BTreeSet<Family>| families.into_iter().collect();
        let between = self.between.into_iter().map(|((from, to), known)| Block { from, to, families: families(known) });
        let entering = self.from_outside.into_iter().map(|(to, (from, known))| Block { from: listed(from), to, families: families(known) });
        let leaving = self.to_outside.into_iter().map(|(from, (to, known))| Block { from, to: listed(to), families: families(known) });
        between.chain(entering).chain(leaving).collect()
    }
}

/// Finds the pairs, and what changes for them.
struct Finder<'work, 'input> {
    both: Both<Known<'work, 'input>>,
    joint: &'work Joint<'input>,
    traffic: &'work mut Traffic,
    deciders: Deciders<'input>,
    /// What counts: port 0 is reserved, and nobody listens there.
    counted: TrafficId,
}

/// All changes, those that gain something first.
pub(super) fn all<'input>(both: Both<Known<'_, 'input>>, joint: &Joint<'input>, traffic: &mut Traffic) -> Vec<Change<'input>> {
    let is_zero = |class: &space::Class| [Side::Source, Side::Destination].into_iter().any(|side| class.port(side) == Some((0, 0)));
    let counted = traffic.select(|class| !is_zero(class));
    let mut finder = Finder { both, joint, traffic, deciders: Deciders::default(), counted };
    let mut groups: IndexMap<Key, Vec<Pair>, FxBuildHasher> = IndexMap::default();
    for pair in finder.touched() {
        if let Some(key) = finder.key(pair) {
            groups.entry(key).or_default().push(pair);
        }
    }
    let mut changes: Vec<Change<'input>> = groups.into_iter().filter_map(|(key, pairs)| finder.change(&key, &pairs)).collect();
    let order = |change: &Change<'_>| (change.gained.is_empty(), change.blocks.first().cloned());
    changes.sort_by_cached_key(order);
    changes
}

impl<'input> Finder<'_, 'input> {
    /// The pairs of classes for whom a view of either says something else than before, in order.
    fn touched(&mut self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for direction in Direction::BOTH {
            let mut known: FxHashMap<(ViewId, ViewId), Vec<usize>> = FxHashMap::default();
            for (near, class) in self.joint.classes.iter().enumerate() {
                let views = Both {
                    old: self.both.old.space.relation.view(class.classes.old, direction),
                    new: self.both.new.space.relation.view(class.classes.new, direction),
                };
                let differing = known.entry((views.old, views.new)).or_insert_with(|| self.differing(views));
                let same_family = |far: &&usize| self.joint.classes.get(**far).is_some_and(|other| other.family == class.family);
                pairs.extend(differing.iter().filter(same_family).map(|far| match direction {
                    Direction::Egress => (near, *far),
                    Direction::Ingress => (*far, near),
                }));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// The classes with which a view says something else than before, in order.
    fn differing(&self, views: Both<ViewId>) -> Vec<usize> {
        let [old, new] = [self.both.old, self.both.new].map(|known| &known.space.relation);
        let differs = |class: &Class| old.seen(views.old, class.classes.old) != new.seen(views.new, class.classes.new);
        if old.seen_by_default(views.old) != new.seen_by_default(views.new) {
            return self.joint.classes.iter().enumerate().filter(|(_, class)| differs(class)).map(|(index, _)| index).collect();
        }
        let before = old.exceptions(views.old).iter().flat_map(|(class, _)| self.joint.within(State::Old, *class));
        let after = new.exceptions(views.new).iter().flat_map(|(class, _)| self.joint.within(State::New, *class));
        let mut named: Vec<usize> = before.chain(after).copied().collect();
        named.sort_unstable();
        named.dedup();
        named.retain(|index| self.joint.classes.get(*index).is_some_and(differs));
        named
    }

    /// What changes for a pair; none where that is nothing.
    fn key(&mut self, (from, to): Pair) -> Option<Key> {
        let (source, destination) = (self.joint.classes.get(from)?, self.joint.classes.get(to)?);
        let [old, new] = [self.both.old, self.both.new].map(|known| &known.space.relation);
        let before = old.allowed(source.classes.old, destination.classes.old, self.traffic);
        let after = new.allowed(source.classes.new, destination.classes.new, self.traffic);
        let [before, after] = [before, after].map(|all| self.traffic.and(all, self.counted));
        if before == after || self.is_to_itself(source, destination) {
            return None;
        }
        let mut parts: Vec<(State, TrafficId, Vec<Turn>)> = Vec::new();
        for (state, traffic) in [(State::New, self.traffic.less(after, before)), (State::Old, self.traffic.less(before, after))] {
            parts.extend(self.parts((source, destination), traffic).into_iter().map(|(traffic, turns)| (state, traffic, turns)));
        }
        Some((before, after, parts))
    }

    fn is_to_itself(&self, source: &Class, destination: &Class) -> bool {
        let [peer] = source.peers.as_slice() else { return false };
        source.peers == destination.peers && self.joint.peers.get(peer.index()).is_some_and(super::Peer::is_single)
    }

    /// Traffic that was gained, or lost, by the directions in which the verdict turned, and by what turned it.
    fn parts(&mut self, (source, destination): (&Class, &Class), traffic: TrafficId) -> Vec<(TrafficId, Vec<Turn>)> {
        let mut parts = vec![(traffic, Vec::new())];
        if traffic == Traffic::NONE {
            parts.clear();
        }
        for direction in [Direction::Egress, Direction::Ingress] {
            let (near, far) = match direction {
                Direction::Egress => (source.classes, destination.classes),
                Direction::Ingress => (destination.classes, source.classes),
            };
            if parts.is_empty() {
                break;
            }
            let turned = self.deciders.turned(self.both, Ends { near, far }, direction, self.traffic);
            parts = self.cut(parts, &turned);
        }
        parts
    }

    /// Cuts parts further by what turned in one more direction.
    fn cut(&mut self, parts: Vec<(TrafficId, Vec<Turn>)>, turned: &[Turned]) -> Vec<(TrafficId, Vec<Turn>)> {
        let mut cut: BTreeMap<Vec<Turn>, TrafficId> = BTreeMap::new();
        let mut add = |turns: Vec<Turn>, part: TrafficId, traffic: &mut Traffic| {
            let known = cut.entry(turns).or_insert(Traffic::NONE);
            *known = traffic.or(*known, part);
        };
        for (mut rest, turns) in parts {
            for one in turned {
                let common = self.traffic.and(rest, one.traffic);
                rest = self.traffic.less(rest, common);
                add(turns.iter().copied().chain([one.turn]).collect(), common, self.traffic);
            }
            add(turns, rest, self.traffic);
        }
        cut.into_iter().filter(|(_, part)| *part != Traffic::NONE).map(|(turns, part)| (part, turns)).collect()
    }

    /// A group in full.
    fn change(&self, (before, after, parts): &Key, pairs: &[Pair]) -> Option<Change<'input>> {
        let (from, to) = *pairs.first()?;
        let ends = (self.joint.classes.get(from)?, self.joint.classes.get(to)?);
        let mut change = Change { before: *before, after: *after, gained: Vec::new(), lost: Vec::new(), blocks: self.blocks(pairs) };
        for (state, traffic, turns) in parts {
            let reasons = turns.iter().map(|turn| self.deciders.reason(*turn)).collect();
            let portion = Portion { traffic: *traffic, reasons, witness: self.witness(ends, *traffic, *state)? };
            match state {
                State::New => change.gained.push(portion),
                State::Old => change.lost.push(portion),
            }
        }
        change.gained.sort_by(|left, right| left.reasons.cmp(&right.reasons));
        change.lost.sort_by(|left, right| left.reasons.cmp(&right.reasons));
        Some(change)
    }

    fn witness(&self, (source, destination): (&Class, &Class), traffic: TrafficId, state: State) -> Option<Witness<'input>> {
        let family = source.family;
        let foreign = match family {
            Family::V4 => Protocol::ICMPV6,
            Family::V6 => Protocol::ICMP,
        };
        let mut examples = self.traffic.classes(traffic).filter_map(space::Class::example);
        let usual = self.traffic.classes(traffic).filter_map(space::Class::example).find(|(protocol, ..)| *protocol != foreign);
        let (protocol, ports, message) = usual.or_else(|| examples.next())?;
        let end = |class: &Class| {
            let spot = class.example.of(state);
            let inventory = self.both.of(state).resolved.inventory;
            End { endpoint: spot.endpoint.map(|id| inventory.endpoint(id)), address: spot.address }
        };
        Some(Witness { family, from: end(source), to: end(destination), protocol, ports, message })
    }

    /// Pairs of classes as few blocks of peers.
    fn blocks(&self, pairs: &[Pair]) -> Vec<Block> {
        let mut receivers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        pairs.iter().for_each(|(from, to)| receivers.entry(*from).or_default().push(*to));
        let mut senders: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        receivers.into_iter().for_each(|(from, to)| senders.entry(to).or_default().push(from));
        let mut blocks = Blocks::default();
        for (to, from) in senders {
            let family = from.first().and_then(|index| self.joint.classes.get(*index)).map(|class| class.family);
            if let Some(family) = family {
                blocks.add(self.sides(&from), self.sides(&to), family);
            }
        }
        blocks.finish()
    }

    /// The peers of some classes: endpoints, and addresses outside.
    fn sides(&self, classes: &[usize]) -> Sides {
        let is_outside = |id: &PeerId| self.joint.peers.get(id.index()).is_some_and(super::Peer::is_outside);
        let (outside, endpoints) = self.peers(classes).into_iter().partition(is_outside);
        Sides { endpoints, outside }
    }

    fn peers(&self, classes: &[usize]) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> =
            classes.iter().filter_map(|index| self.joint.classes.get(*index)).flat_map(|class| class.peers.iter().copied()).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }
}
