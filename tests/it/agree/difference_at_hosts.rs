//! What `palisade::diff` says of host endpoints: no packet that a node drops in one state only, or
//! tracks in one only, for the sake of a host endpoint is left out, and every witness turns in the
//! list that is named.

use palisade::diagnostic::Diagnostics;
use palisade::diff::{
    self, ChangeWitness, ConnectionChange, ConnectionDiff, DiffState, HostEndpointEnd,
    MatchedIdentity, PeerId, WitnessEnd,
};
use palisade::net::{Direction, Family};
use palisade::options::CompileOptions;
use palisade::packet;
use palisade::packet::{Flow, Hook};
use palisade::packet_space::HostListStage;
use palisade::policy::StagedPolicies;
use palisade::resolve::{self, HostEndpointId, ResolvedPolicy};
use palisade::semantics::evaluate::{Evaluator, ListOutcome};
use palisade::semantics::node::NodeSemantics;

use super::difference::peer;
use super::packet::{Packet, State as Known};
use super::random::{self, Aim, Dice};
use super::world::World;
use super::{PACKETS, SEEDS, STRIDE, manifests, node_names, options, parts_less, read};

/// Pairs of worlds of a seed.
const PAIRS: u64 = 100;

#[test]
fn a_node_owes_something_else_where_a_host_endpoint_differs() {
    let (mut turned, mut shown) = (0, 0);
    for seed in SEEDS
        .iter()
        .flat_map(|seed| (0..PAIRS).map(move |index| seed.wrapping_add(index.wrapping_mul(STRIDE))))
    {
        let mut dice = Dice(seed);
        let old = random::world(&mut dice);
        let mut new = old.clone();
        for _ in 0..1 + dice.below(3) {
            let less = parts_less(&new);
            new = if less.is_empty() {
                new
            } else {
                dice.pick(&less)
            };
        }
        let (old, new) = if dice.chance(50) {
            (old, new)
        } else {
            (new, old)
        };
        let aim = Aim::at(&old);
        let packets: Vec<Packet> = (0..2 * PACKETS)
            .map(|_| aim.packet(&mut dice, &old))
            .collect();
        match compare(&old, &new, &packets) {
            Ok(counts) => (turned, shown) = (turned + counts.0, shown + counts.1),
            Err(problem) if problem.contains("palisade refuses") => {}
            Err(problem) => panic!("seed {seed}: {problem}\n{}", manifests::yaml(&old)),
        }
    }

    assert!(
        turned > 100 && shown > 50,
        "{turned} packets turned, {shown} witnesses"
    );
}

/// How many packets turned, and how many witnesses there are.
fn compare(old: &World, new: &World, packets: &[Packet]) -> Result<(usize, usize), String> {
    let (options, names) = (options(old), node_names(old));
    let [old, new] = [
        read(manifests::yaml(old), StagedPolicies::Proposed)?,
        read(manifests::yaml(new), StagedPolicies::Proposed)?,
    ];
    let before = resolve::selectors(&old.policies, &old.inventory, &mut Diagnostics::default());
    let after = resolve::selectors(&new.policies, &new.inventory, &mut Diagnostics::default());
    let difference = diff::between(&before, &after, &options);
    let states = [Evaluator::new(&before), Evaluator::new(&after)];
    let mut turned = 0;

    for packet in packets
        .iter()
        .filter(|packet| packet.original.is_none() && packet.state == Known::New)
    {
        let name = names.get(packet.node).copied().ok_or("the node is gone")?;
        let ends = [packet.source, packet.destination]
            .map(|address| peer(&difference, [&old, &new], address));
        let [Some(from), Some(to)] = ends else {
            continue;
        };
        if !turns(&states, name, &options, &packet.seen())
            || is_of_an_endpoint(&difference, packet, from, to)
        {
            continue;
        }
        turned += 1;
        if !difference
            .changes
            .iter()
            .any(|change| tells(&difference, change, name, &packet.flow(), from, to))
        {
            return Err(format!(
                "{packet:?}\nthe node owes it something else, and the difference says \
                 nothing\n{difference:?}"
            ));
        }
    }

    Ok((turned, witnesses(&difference, &states)?))
}

/// Whether a packet fares otherwise, and no policy of an endpoint is the cause.
fn turns(
    states: &[Evaluator<'_, '_>; 2],
    node: &str,
    options: &CompileOptions,
    packet: &packet::Packet,
) -> bool {
    let fate = |evaluator: &Evaluator<'_, '_>| {
        let node = evaluator.resolved().inventory.find_node(node)?;
        let owed = NodeSemantics::new(evaluator, node, options).expect(packet);
        Some((
            owed.verdict == packet::Verdict::Drop,
            owed.is_untracked && owed.verdict != packet::Verdict::Drop,
        ))
    };

    let at_endpoints = |evaluator: &Evaluator<'_, '_>| {
        let decision = evaluator.decide(&packet.flow);
        [decision.egress, decision.ingress]
            .map(|passage| passage.is_none_or(|passage| passage.is_allowed()))
    };
    let is_zero = packet
        .flow
        .ports
        .is_some_and(|ports| ports.source == 0 || ports.destination == 0);
    let [old, new] = states;

    !is_zero && fate(old) != fate(new) && at_endpoints(old) == at_endpoints(new)
}

/// Whether the address at the node is an endpoint's, which no packet from or to the node itself
/// has.
fn is_of_an_endpoint(
    difference: &ConnectionDiff<'_>,
    packet: &Packet,
    from: PeerId,
    to: PeerId,
) -> bool {
    let near = match packet.seen().hook {
        Hook::Forward { .. } => return false,
        Hook::Input { .. } => to,
        Hook::Output { .. } => from,
    };
    difference.peer(near).is_none_or(|peer| !peer.is_outside())
}

/// Whether a change is of a host endpoint of the node, and has a packet.
fn tells(
    difference: &ConnectionDiff<'_>,
    change: &ConnectionChange<'_>,
    node: &str,
    flow: &Flow,
    from: PeerId,
    to: PeerId,
) -> bool {
    let Some(at) = &change.host else { return false };
    let is_of_node = |id: &PeerId| {
        difference.peer(*id).is_some_and(
            |peer| matches!(&peer.identity, MatchedIdentity::Host { node: own, .. } if *own == node),
        )
    };
    let near = match at.direction {
        Direction::Ingress => to,
        Direction::Egress => from,
    };
    let is_here = at.near.is_empty() || at.near.contains(&near);
    let is_between = change
        .blocks
        .iter()
        .filter(|block| block.families.contains(&flow.family()))
        .any(|block| match at.direction {
            Direction::Ingress => block.from.contains(&from) && block.to.iter().any(is_of_node),
            Direction::Egress => block.to.contains(&to) && block.from.iter().any(is_of_node),
        });
    let mut portions = change.gained.iter().chain(&change.lost);

    is_here
        && is_between
        && portions.any(|portion| {
            difference
                .traffic
                .holds(portion.traffic, flow.protocol, flow.ports, flow.icmp)
        })
}

/// Counts the witnesses at host endpoints that are at the same place in both states, all of which
/// must turn.
fn witnesses(
    difference: &ConnectionDiff<'_>,
    states: &[Evaluator<'_, '_>; 2],
) -> Result<usize, String> {
    let mut shown = 0;
    for change in &difference.changes {
        let Some(at) = &change.host else { continue };
        let gained = change
            .gained
            .iter()
            .map(|portion| (DiffState::New, portion));
        for (state, portion) in
            gained.chain(change.lost.iter().map(|portion| (DiffState::Old, portion)))
        {
            let Some(passes) = verdicts(states, at, &portion.witness) else {
                continue;
            };
            if passes != [state == DiffState::Old, state == DiffState::New]
                || portion.reasons.is_empty()
            {
                return Err(format!("passes {passes:?}: {at:?} {portion:?}"));
            }
            shown += 1;
        }
    }

    Ok(shown)
}

/// Whether a witness passes then and now; none where that is another host endpoint's, or an end has
/// no address. Where the address of the host endpoint may be any, one that nobody speaks of is.
fn verdicts(
    states: &[Evaluator<'_, '_>; 2],
    at: &HostEndpointEnd,
    witness: &ChangeWitness<'_>,
) -> Option<[bool; 2]> {
    let any = |family| {
        if family == Family::V4 {
            "203.0.113.77"
        } else {
            "2001:db8:77::1"
        }
        .parse()
        .ok()
    };

    let address = |end: &WitnessEnd<'_>| {
        end.address
            .or_else(|| end.host.and_then(|_| any(witness.family)))
    };
    let (source, destination) = (address(&witness.from)?, address(&witness.to)?);
    let flow = Flow {
        source,
        destination,
        protocol: witness.protocol,
        ports: witness.ports,
        icmp: witness.message,
    };
    let host = witness.from.host.or(witness.to.host)?;
    let [old, new] = states;
    let met = |resolved: &ResolvedPolicy<'_>| -> Option<HostEndpointId> {
        let same = |own: &palisade::policy::HostEndpoint| {
            (&own.node, &own.name, &own.place) == (&host.node, &host.name, &host.place)
        };
        let id = resolved
            .host_endpoints_with_ids()
            .find(|(_, own)| same(own))?
            .0;
        let hosts = resolved.hosts_on(resolved.inventory.find_node(&host.node)?);
        hosts.all().any(|known| known == id).then_some(id)
    };
    let ids = [met(old.resolved())?, met(new.resolved())?];

    let passes = |evaluator: &Evaluator<'_, '_>, id| {
        let outcome = evaluator
            .of_host(id, at.way.list(), at.direction, &flow)
            .outcome();
        match at.way {
            HostListStage::Passed(_) => outcome != ListOutcome::Denied,
            HostListStage::LetThrough(_) => outcome == ListOutcome::Allowed,
        }
    };
    Some([passes(old, ids[0]), passes(new, ids[1])])
}
