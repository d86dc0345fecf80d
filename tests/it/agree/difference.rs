//! What `palisade::diff` says of two worlds is what the evaluator says of each: no packet whose
//! verdict turns is left out, and every witness turns.

use std::net::IpAddr;

use palisade::diagnostic::Diagnostics;
use palisade::diff::{self, CausedTraffic, ConnectionDiff, MatchedIdentity, PeerBlock, PeerId};
use palisade::inventory::{Endpoint, EndpointKind};
use palisade::options::CompileOptions;
use palisade::packet::Flow;
use palisade::policy::StagedPolicies;
use palisade::semantics::evaluate::Evaluator;
use palisade::{Input, resolve};

use super::packet::Packet;
use super::random::{self, Aim, Dice};
use super::world::World;
use super::{PACKETS, SEEDS, STRIDE, manifests, parts_less, read};

/// Pairs of worlds of a seed.
const PAIRS: u64 = 30;
/// Parts that the one world lacks.
const CUTS: usize = 4;

#[test]
fn a_packet_is_gained_or_lost_where_the_evaluators_differ() {
    let (mut turned, mut shown) = (0, 0);
    for seed in SEEDS
        .iter()
        .flat_map(|seed| (0..PAIRS).map(move |index| seed.wrapping_add(index.wrapping_mul(STRIDE))))
    {
        let mut dice = Dice(seed);
        let old = random::world(&mut dice);
        let mut new = old.clone();
        for _ in 0..CUTS {
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
        let packets: Vec<Packet> = (0..PACKETS).map(|_| aim.packet(&mut dice, &old)).collect();
        let counts = compare(&old, &new, &packets)
            .unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{}", manifests::yaml(&old)));
        turned += counts.0;
        shown += counts.1;
    }

    assert!(
        turned > 100 && shown > 100,
        "{turned} packets turned, {shown} witnesses"
    );
}

#[test]
fn a_world_written_in_another_order_is_equal() {
    for seed in SEEDS
        .iter()
        .flat_map(|seed| (0..PAIRS).map(move |index| seed.wrapping_add(index.wrapping_mul(STRIDE))))
    {
        let yaml = manifests::yaml(&random::world(&mut Dice(seed)));
        let mut documents: Vec<&str> = yaml
            .split("---\n")
            .filter(|document| !document.is_empty())
            .collect();
        documents.reverse();
        let [old, new] = [yaml.clone(), documents.join("---\n")]
            .map(|yaml| read(yaml, StagedPolicies::Proposed).expect("valid"));
        let states = [&old, &new].map(|input| {
            resolve::selectors(
                &input.policies,
                &input.inventory,
                &mut Diagnostics::default(),
            )
        });
        let [before, after] = &states;
        let difference = diff::between(before, after, &CompileOptions::default());
        assert!(difference.is_empty(), "seed {seed}: {difference:?}\n{yaml}");
    }
}

/// How many packets turned, and how many witnesses there are.
fn compare(old: &World, new: &World, packets: &[Packet]) -> Result<(usize, usize), String> {
    let old = read(manifests::yaml(old), StagedPolicies::Proposed)?;
    let new = read(manifests::yaml(new), StagedPolicies::Proposed)?;
    let before = resolve::selectors(&old.policies, &old.inventory, &mut Diagnostics::default());
    let after = resolve::selectors(&new.policies, &new.inventory, &mut Diagnostics::default());
    let difference = diff::between(&before, &after, &CompileOptions::default());
    let (then, now) = (Evaluator::new(&before), Evaluator::new(&after));
    let verdicts = |flow: &Flow| {
        (
            then.decide(flow).is_allowed(),
            now.decide(flow).is_allowed(),
        )
    };
    let mut turned = 0;

    for packet in packets {
        let flow = packet.flow();
        let ends =
            [flow.source, flow.destination].map(|address| peer(&difference, [&old, &new], address));
        let [Some(from), Some(to)] = ends else {
            continue;
        };
        let is_zero = flow
            .ports
            .is_some_and(|ports| ports.source == 0 || ports.destination == 0);
        if is_zero || from == to {
            continue;
        }
        let (was, is) = verdicts(&flow);
        if was == is {
            continue;
        }
        turned += 1;
        let is_between = |block: &PeerBlock| {
            block.from.contains(&from)
                && block.to.contains(&to)
                && block.families.contains(&flow.family())
        };
        let at_endpoints = difference
            .changes
            .iter()
            .filter(|change| change.host.is_none());
        let changes = at_endpoints.filter(|change| change.blocks.iter().any(is_between));
        let mut portions =
            changes.flat_map(|change| if is { &change.gained } else { &change.lost });
        if !portions.any(|portion| holds(&difference, portion, &flow)) {
            return Err(format!(
                "{packet:?}\nthe evaluators say {was} and {is}, and the difference \
                 nothing\n{difference:?}"
            ));
        }
    }

    Ok((turned, witnesses(&difference, verdicts)?))
}

fn holds(difference: &ConnectionDiff<'_>, portion: &CausedTraffic<'_>, flow: &Flow) -> bool {
    difference
        .traffic
        .holds(portion.traffic, flow.protocol, flow.ports, flow.icmp)
}

/// Counts the witnesses with addresses, all of which must turn as they say, and all reasons with
/// them.
fn witnesses(
    difference: &ConnectionDiff<'_>,
    verdicts: impl Fn(&Flow) -> (bool, bool),
) -> Result<usize, String> {
    let mut shown = 0;
    for change in difference
        .changes
        .iter()
        .filter(|change| change.host.is_none())
    {
        for (portion, expected) in change
            .gained
            .iter()
            .map(|portion| (portion, (false, true)))
            .chain(change.lost.iter().map(|portion| (portion, (true, false))))
        {
            let witness = &portion.witness;
            let is_right = |reason: &diff::ChangeReason<'_>| {
                (reason.old.is_allowed(), reason.new.is_allowed()) == expected
            };
            if portion.reasons.is_empty() || !portion.reasons.iter().all(is_right) {
                return Err(format!("wrong reasons: {portion:?}"));
            }
            let (Some(source), Some(destination)) = (witness.from.address, witness.to.address)
            else {
                continue;
            };
            let flow = Flow {
                source,
                destination,
                protocol: witness.protocol,
                ports: witness.ports,
                icmp: witness.message,
            };
            if verdicts(&flow) != expected {
                return Err(format!(
                    "{flow:?} should turn as {expected:?}, and is {:?}",
                    verdicts(&flow)
                ));
            }
            shown += 1;
        }
    }

    Ok(shown)
}

/// Who has an address in both states; none where somebody has it in one only.
pub(super) fn peer(
    difference: &ConnectionDiff<'_>,
    inputs: [&Input; 2],
    address: IpAddr,
) -> Option<PeerId> {
    let [old, new] = inputs.map(|input| {
        let owner = input
            .inventory
            .endpoints
            .iter()
            .find(|endpoint| endpoint.addresses.contains(&address));
        owner.map(named)
    });

    if old != new {
        return None;
    }

    let is_it = |identity: &MatchedIdentity<'_>| match (identity, &old) {
        (
            MatchedIdentity::Endpoints {
                namespace,
                kind,
                name,
            },
            Some(named),
        ) => {
            *named
                == (
                    (*namespace).to_owned(),
                    (*kind).to_owned(),
                    (*name).to_owned(),
                )
        }
        (MatchedIdentity::Outside(ranges), None) => ranges.iter().any(|range| {
            range.first_address().is_ipv4() == address.is_ipv4()
                && (range.first_address()..=range.last_address()).contains(&address)
        }),
        (MatchedIdentity::Host { .. }, _)
        | (MatchedIdentity::Endpoints { .. }, None)
        | (MatchedIdentity::Outside(_), Some(_)) => false,
    };

    difference
        .peers
        .iter()
        .position(|peer| is_it(&peer.identity))
        .map(PeerId::at)
}

fn named(endpoint: &Endpoint) -> (String, String, String) {
    let kind = match endpoint.kind {
        EndpointKind::Pod => "Pod",
        EndpointKind::WorkloadEndpoint => "WorkloadEndpoint",
        EndpointKind::Workload(kind) => kind,
    };
    let owner = endpoint
        .owner
        .as_ref()
        .filter(|owner| &*owner.kind != "Node");
    let (kind, name) = owner.map_or((kind, &endpoint.name), |owner| (&*owner.kind, &owner.name));

    (
        endpoint.namespace.to_string(),
        kind.to_owned(),
        name.to_string(),
    )
}
