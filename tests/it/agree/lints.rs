//! Lints that say of rules and selectors what no packet can show otherwise are held to it, on
//! random clusters.

use std::collections::BTreeSet;
use std::ops::AddAssign;

use palisade::Input;
use palisade::diagnostic::{Code, Diagnostics};
use palisade::lint::{self, LintLevels};
use palisade::net::Direction;
use palisade::policy::{
    PeerSelection, Policy, Rule, SelectorField, SelectorId, StagedPolicies, Tier,
};
use palisade::resolve::{self, ResolvedPolicy};
use palisade::selector::{self, Expr};
use palisade::semantics::evaluate::{Evaluator, ListTrace};
use palisade::source::Span;

use super::packet::Packet;
use super::random::{self, Aim, Dice, PORTS};
use super::world::{
    self, Action, ClusterRule, Entity, KubernetesRule, Labels, Port, Protocol, Selector, World,
};
use super::{manifests, read, seeds};

const WORLDS: u64 = 30;
const PACKETS: usize = 300;

/// Packets that match a shadowed rule alone, and that are asked about on other ports too.
const NEAR: usize = 12;

/// How many findings were held against packets and labels.
#[derive(Debug, Default)]
struct Told {
    shadowed: usize,
    /// Shadowed rules that some packet would have matched, had they stood alone.
    shadowed_but_live: usize,
    empty: usize,
    contradictions: usize,
}

/// A rule of which a lint says that no packet comes to it.
struct Claim {
    code: Code,
    tier: Tier,
    policy: Policy,
    direction: Direction,
    number: usize,
}

#[test]
fn what_lints_say_is_so() {
    let mut told = Told::default();
    for seed in seeds(WORLDS) {
        let mut dice = Dice(seed);
        let mut world = random::world(&mut dice);
        provoke(&mut dice, &mut world);
        match judge(&mut dice, &world) {
            Ok(here) => told += here,
            Err(problem) => panic!(
                "PALISADE_SEED={seed}\n{problem}\n{}",
                manifests::yaml(&world)
            ),
        }
    }

    assert!(
        told.shadowed >= 300 && told.shadowed_but_live >= 150,
        "hardly any: {told:?}"
    );
    assert!(
        told.empty >= 200 && told.contradictions >= 80,
        "hardly any: {told:?}"
    );
}

/// Holds what lints find in a world against packets; gives how much that was, or the first finding
/// that is wrong.
fn judge(dice: &mut Dice, world: &World) -> Result<Told, String> {
    let mut input = read(manifests::yaml(world), StagedPolicies::Proposed)?;
    let aim = Aim::at(world);
    let packets: Vec<Packet> = (0..PACKETS).map(|_| aim.packet(dice, world)).collect();
    let (claims, contradictions) = findings(dice, world, &input)?;
    refuse_change(&mut input, &claims, &packets)?;

    let mut told = Told {
        contradictions,
        ..Told::default()
    };

    for claim in &claims {
        told += judge_claim(&mut input, claim, &packets)?;
    }

    Ok(told)
}

/// What lints say of rules; and how many selectors they say contradict themselves, which is looked
/// into at once.
fn findings(dice: &mut Dice, world: &World, input: &Input) -> Result<(Vec<Claim>, usize), String> {
    let resolved = resolve::selectors(
        &input.policies,
        &input.inventory,
        &mut Diagnostics::default(),
    );

    let mut diagnostics = Diagnostics::default();
    lint::all(&resolved, &LintLevels::default(), &mut diagnostics);
    let places = |code: Code| -> Vec<Span> {
        let of_code = diagnostics
            .sorted()
            .into_iter()
            .filter(move |finding| finding.code == code);
        of_code
            .filter_map(|finding| finding.labels.first())
            .map(|label| label.span)
            .collect()
    };
    let mut claims = Vec::new();

    for code in [Code::ShadowedRule, Code::EmptyPeer] {
        for place in places(code) {
            claims.push(
                claim(&resolved, code, place)
                    .ok_or_else(|| format!("{code}: no rule is at {place:?}"))?,
            );
        }
    }

    let contradictions = places(Code::SelectorContradiction);
    contradictions
        .iter()
        .try_for_each(|place| contradicts(dice, world, &resolved, *place))?;
    Ok((claims, contradictions.len()))
}

/// The rule that a finding is about.
fn claim(resolved: &ResolvedPolicy<'_>, code: Code, place: Span) -> Option<Claim> {
    let is_at = |rule: &&Rule| match code == Code::ShadowedRule {
        true => rule.span == place,
        false => [rule.places.source, rule.places.destination].contains(&place),
    };

    resolved.policies.policies().find_map(|(tier, policy)| {
        Direction::BOTH.into_iter().find_map(|direction| {
            let number = policy.rules(direction)?.iter().find(is_at)?.number;
            Some(Claim {
                code,
                tier: tier.clone(),
                policy: policy.clone(),
                direction,
                number,
            })
        })
    })
}

/// A selector that can never match matches nobody here, and no labels that come to mind.
fn contradicts(
    dice: &mut Dice,
    world: &World,
    resolved: &ResolvedPolicy<'_>,
    place: Span,
) -> Result<(), String> {
    let written = resolved
        .policies
        .selectors
        .written()
        .iter()
        .filter(|written| written.span == place);
    let written: Vec<_> = written
        .filter(|written| selector::contradicts(&written.expr))
        .collect();

    let mut labels: Vec<Labels> = (0..50).map(|_| random::labels(dice)).collect();
    labels.extend(
        world
            .pods
            .iter()
            .map(|pod| &pod.labels)
            .chain(world.namespaces.values())
            .chain(world.accounts.values())
            .cloned(),
    );

    if let Some(wrong) = written
        .iter()
        .find(|written| labels.iter().any(|labels| written.expr.matches(labels)))
    {
        return Err(format!("`{}` matches after all", wrong.expr));
    }
    let is_negative = |field| {
        matches!(
            field,
            SelectorField::NotSelector | SelectorField::NotSelectorAlone
        )
    };
    let whole = written
        .iter()
        .filter(|written| !is_negative(written.field))
        .filter_map(|written| written.part_of);

    let ids: BTreeSet<SelectorId> = whole.chain(contradictory_at(resolved, place)).collect();
    match ids.iter().find(|id| !resolved.members(**id).is_empty()) {
        Some(id) => Err(format!(
            "`{}` selects somebody",
            resolved.policies.selectors.describe(*id)
        )),
        None if ids.is_empty() && written.is_empty() => {
            Err(format!("nothing contradicts itself at {place:?}"))
        }
        None => Ok(()),
    }
}

/// What is asked at a place, by a policy or by a side of a rule, and can never hold together.
fn contradictory_at<'resolved>(
    resolved: &'resolved ResolvedPolicy<'_>,
    place: Span,
) -> impl Iterator<Item = SelectorId> + 'resolved {
    resolved.policies.policies().flat_map(move |(_, policy)| {
        let rules = Direction::BOTH
            .into_iter()
            .flat_map(|direction| policy.rules(direction).unwrap_or_default());
        let sides = rules.flat_map(|rule| {
            [
                (rule.places.source, rule.source.selected),
                (rule.places.destination, rule.destination.selected),
            ]
        });
        let of_rules = sides
            .filter(move |side| side.0 == place)
            .filter_map(|(_, selected)| match selected {
                PeerSelection::By(id) => Some(id),
                PeerSelection::Anyone => None,
            });
        let all = (policy.selector == place)
            .then_some(policy.applies_to)
            .into_iter()
            .chain(of_rules);
        all.filter(|id| selector::contradicts(resolved.policies.selectors.get(*id)))
    })
}

/// Without the rules that are shadowed, every verdict stays.
fn refuse_change(input: &mut Input, claims: &[Claim], packets: &[Packet]) -> Result<(), String> {
    let before = verdicts(input, packets);
    let tiers = input.policies.tiers.clone();
    for claim in claims
        .iter()
        .filter(|claim| claim.code == Code::ShadowedRule)
    {
        let policies = input
            .policies
            .tiers
            .iter_mut()
            .flat_map(|tier| &mut tier.policies);
        for policy in policies.filter(|policy| policy.key == claim.policy.key) {
            let rules = if claim.direction == Direction::Ingress {
                &mut policy.ingress
            } else {
                &mut policy.egress
            };
            rules
                .iter_mut()
                .for_each(|rules| rules.retain(|rule| rule.number != claim.number));
        }
    }

    let after = verdicts(input, packets);
    input.policies.tiers = tiers;
    match packets
        .iter()
        .zip(before.iter().zip(&after))
        .find(|(_, (before, after))| before != after)
    {
        Some((packet, (before, after))) => Err(format!(
            "{packet:?}\nwithout shadowed rules {before:?} becomes {after:?}"
        )),
        None => Ok(()),
    }
}

fn verdicts(input: &Input, packets: &[Packet]) -> Vec<[Option<bool>; 2]> {
    let resolved = resolve::selectors(
        &input.policies,
        &input.inventory,
        &mut Diagnostics::default(),
    );
    let evaluator = Evaluator::new(&resolved);

    let decisions = packets
        .iter()
        .map(|packet| evaluator.decide(&packet.flow()));
    decisions
        .map(|decision| {
            [decision.egress, decision.ingress]
                .map(|passage| passage.as_ref().map(ListTrace::is_allowed))
        })
        .collect()
}

/// Asks with every packet for the one rule, in its policy and alone, as if the policy were the only
/// one and everybody had it.
fn judge_claim(input: &mut Input, claim: &Claim, packets: &[Packet]) -> Result<Told, String> {
    let Claim {
        code,
        policy,
        direction,
        number,
        ..
    } = claim;
    let all = policy.rules(*direction).unwrap_or_default().to_vec();
    let own: Vec<Rule> = all
        .iter()
        .filter(|rule| rule.number == *number)
        .cloned()
        .collect();
    let alone: Vec<&Packet> = matching(input, claim, own, packets)
        .into_iter()
        .map(|(packet, _)| packet)
        .collect();
    let near: Vec<Packet> = alone
        .iter()
        .take(NEAR)
        .flat_map(|packet| on_other_ports(packet))
        .collect();

    let comes = [packets, &near].into_iter().any(|packets| {
        matching(input, claim, all.clone(), packets)
            .iter()
            .any(|hit| hit.1 == *number)
    });
    if comes || *code == Code::EmptyPeer && !alone.is_empty() {
        return Err(format!(
            "{code}: a packet comes to {direction} rule {number} of {}",
            policy.key
        ));
    }

    let is_shadow = *code == Code::ShadowedRule;
    let (shadowed, empty) = (usize::from(is_shadow), usize::from(!is_shadow));
    Ok(Told {
        shadowed,
        shadowed_but_live: shadowed.min(alone.len()),
        empty,
        ..Told::default()
    })
}

/// The same packet on all ports that policies have in mind.
fn on_other_ports(packet: &Packet) -> impl Iterator<Item = Packet> {
    let ports = packet.ports.into_iter().flat_map(|(source, destination)| {
        PORTS
            .into_iter()
            .flat_map(move |port| [(port, destination), (source, port)])
    });
    ports.map(|ports| Packet {
        ports: Some(ports),
        ..packet.clone()
    })
}

/// Packets, and the numbers of the rules that they come to and match, of these rules alone.
fn matching<'packets>(
    input: &mut Input,
    claim: &Claim,
    rules: Vec<Rule>,
    packets: &'packets [Packet],
) -> Vec<(&'packets Packet, usize)> {
    let applies_to = input.policies.selectors.intern(Expr::All);
    let (ingress, egress) = match claim.direction {
        Direction::Ingress => (Some(rules), None),
        Direction::Egress => (None, Some(rules)),
    };
    let policy = Policy {
        applies_to,
        ingress,
        egress,
        ..claim.policy.clone()
    };

    input.policies.tiers = vec![Tier {
        policies: vec![policy],
        ..claim.tier.clone()
    }];

    let resolved = resolve::selectors(
        &input.policies,
        &input.inventory,
        &mut Diagnostics::default(),
    );
    let evaluator = Evaluator::new(&resolved);
    let numbers = |packet: &Packet| {
        let decision = evaluator.decide(&packet.flow());
        let tiers = [decision.egress, decision.ingress]
            .into_iter()
            .flatten()
            .flat_map(|passage| passage.tiers);
        tiers
            .flat_map(|tier| tier.policies)
            .flat_map(|policy| policy.rules)
            .map(|rule| rule.number)
    };

    packets
        .iter()
        .flat_map(|packet| numbers(packet).map(move |number| (packet, number)))
        .collect()
}

/// Puts rules beside others that are all but like them, so that some are shadowed and some just
/// not.
fn provoke(dice: &mut Dice, world: &mut World) {
    for policy in &mut world.policies {
        match policy {
            world::Policy::Calico(policy) => {
                [&mut policy.ingress, &mut policy.egress]
                    .into_iter()
                    .for_each(|rules| follow(dice, rules, change_rule));
            }
            world::Policy::Kubernetes(policy) => {
                [&mut policy.ingress, &mut policy.egress]
                    .into_iter()
                    .for_each(|rules| follow(dice, rules, change_kubernetes_rule));
            }
            world::Policy::Cluster(policy) => {
                [&mut policy.ingress, &mut policy.egress]
                    .into_iter()
                    .for_each(|rules| follow(dice, rules, change_cluster_rule));
            }
        }
    }
}

fn follow<Item: Clone>(dice: &mut Dice, rules: &mut Vec<Item>, change: fn(&mut Dice, &mut Item)) {
    let count = if rules.is_empty() { 0 } else { dice.below(4) };
    for _ in 0..count {
        let mut rule = dice.pick(rules);
        change(dice, &mut rule);
        let place = if dice.chance(70) { rules.len() } else { 0 };
        rules.insert(place, rule);
    }
}

fn change_rule(dice: &mut Dice, rule: &mut world::Rule) {
    rule.http = false;
    rule.action = dice.pick(&[Action::Allow, Action::Deny]);
    if rule.protocol.is_none() && dice.chance(30) {
        (rule.protocol, rule.not_protocol) = (
            Some(Protocol {
                number: 6,
                named: true,
            }),
            None,
        );
    }

    let has_ports = rule
        .protocol
        .is_some_and(|protocol| [6, 17, 132].contains(&protocol.number));
    if has_ports && rule.destination.service.is_none() && dice.chance(25) {
        let port = dice.pick(&PORTS);
        rule.destination.not_ports = vec![Port::Numbers(port, port)];
    }

    for entity in [&mut rule.source, &mut rule.destination] {
        if entity.service.is_none() && dice.chance(60) {
            change_entity(dice, entity);
        }
    }
}

fn change_kubernetes_rule(dice: &mut Dice, rule: &mut KubernetesRule) {
    rule.peers.truncate(dice.below(3));
    rule.ports.truncate(dice.below(3));
}

fn change_cluster_rule(dice: &mut Dice, rule: &mut ClusterRule) {
    rule.action = dice.pick(&[Action::Allow, Action::Deny]);
    rule.peers.truncate(1 + dice.below(2));
    rule.ports.truncate(dice.below(3));
}

/// One part of a side asks for more, for less, or for nothing.
fn change_entity(dice: &mut Dice, entity: &mut Entity) {
    match dice.below(10) {
        0 => entity.selector = None,
        1 | 2 => {
            let parts = entity
                .selector
                .take()
                .into_iter()
                .chain([random::peer_selector(dice)]);
            entity.selector = Some(Selector::And(parts.collect()));
        }
        3 => entity.not_selector = None,
        4 => entity.not_selector = Some(random::peer_selector(dice)),
        5 => entity.nets.truncate(dice.below(3)),
        6 => entity.not_nets.truncate(dice.below(3)),
        7 => entity.ports.truncate(dice.below(3)),
        8 => entity.not_ports.truncate(dice.below(3)),
        _ => entity.namespaces = None,
    }
}

impl AddAssign for Told {
    fn add_assign(&mut self, other: Self) {
        self.shadowed += other.shadowed;
        self.shadowed_but_live += other.shadowed_but_live;
        self.empty += other.empty;
        self.contradictions += other.contradictions;
    }
}
