//! The whole space, decided at once, says of every packet what the evaluator says of it alone.

use palisade::diagnostic::Diagnostics;
use palisade::inventory::EndpointId;
use palisade::packet_space::{ClusterSpace, HeaderSpace, PartitionBuilder};
use palisade::policy::StagedPolicies;
use palisade::resolve;
use palisade::semantics::evaluate::Evaluator;

use super::packet::Packet;
use super::random::{self, Aim, Dice};
use super::world::World;
use super::{PACKETS, SEEDS, STRIDE, WORLDS, manifests, read};

#[test]
fn the_space_says_of_every_packet_what_the_evaluator_says() {
    let mut allowed = 0;
    let mut denied = 0;
    for seed in SEEDS.iter().flat_map(|seed| {
        (0..WORLDS).map(move |index| seed.wrapping_add(index.wrapping_mul(STRIDE)))
    }) {
        let mut dice = Dice(seed);
        let world = random::world(&mut dice);
        let aim = Aim::at(&world);
        let packets: Vec<Packet> = (0..PACKETS)
            .map(|_| aim.packet(&mut dice, &world))
            .collect();
        for is_allowed in compare(&world, &packets)
            .unwrap_or_else(|problem| panic!("seed {seed}: {problem}\n{}", manifests::yaml(&world)))
        {
            if is_allowed {
                allowed += 1
            } else {
                denied += 1
            }
        }
    }

    assert!(
        allowed > 1_000 && denied > 1_000,
        "{allowed} allowed, {denied} denied"
    );
}

fn compare(world: &World, packets: &[Packet]) -> Result<Vec<bool>, String> {
    let input = read(manifests::yaml(world), StagedPolicies::Proposed)?;
    let resolved = resolve::selectors(
        &input.policies,
        &input.inventory,
        &mut Diagnostics::default(),
    );

    let mut cuts = PartitionBuilder::default();
    cuts.of_policy(&resolved);
    let mut traffic = HeaderSpace::of(&cuts);
    let space = ClusterSpace::new(&resolved, &mut traffic);
    let evaluator = Evaluator::new(&resolved);
    let owner = |address| -> Option<EndpointId> {
        let mut endpoints = input.inventory.endpoints_with_ids();
        endpoints
            .find(|(_, endpoint)| endpoint.addresses.contains(&address))
            .map(|(id, _)| id)
    };
    let mut verdicts = Vec::new();

    for packet in packets {
        let flow = packet.flow();
        let class = |address| {
            space
                .places
                .at(address, owner(address))
                .ok_or_else(|| format!("{address} is nowhere"))
        };
        let set =
            space
                .relation
                .allowed(class(flow.source)?, class(flow.destination)?, &mut traffic);
        let found = traffic.holds(set, flow.protocol, flow.ports, flow.icmp);
        let expected = evaluator.decide(&flow).is_allowed();
        if found != expected {
            return Err(format!(
                "{packet:?}\nthe evaluator says {expected}, the space {found}"
            ));
        }
        verdicts.push(found);
    }

    Ok(verdicts)
}
