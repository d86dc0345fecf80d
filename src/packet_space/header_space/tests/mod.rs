//! Sets of classes against a model that has a flag for each class, on random cuts.

mod model;

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::{DYNAMIC_PORTS, HeaderClass, HeaderSetId, HeaderSpace, PartitionBuilder};
use crate::net::{PortRange, Protocol, Side};
use crate::packet::{IcmpMessage, PortPair};
use crate::packet_space::cascade::{CascadeRule, RuleCascade};
use crate::policy::{Icmp, IcmpMatch, ProtocolMatch};

use model::{FlagModel, RandomChoices};

/// How far the example of a class is from what people expect.
fn strangeness(class: &HeaderClass) -> u8 {
    match class {
        HeaderClass::Ports { source: (_, 0), .. }
        | HeaderClass::Ports {
            destination: (_, 0),
            ..
        } => 5,
        HeaderClass::Message { .. } | HeaderClass::Protocols(_) => 4,
        HeaderClass::Ports {
            source,
            destination,
            ..
        } => {
            let is_known = [443, 80, 53, 5432]
                .iter()
                .any(|port| (destination.0..=destination.1).contains(port));
            u8::from(source.1 < 32_768) * 2 + u8::from(!is_known)
        }
    }
}

/// A set with the flags of its classes.
type FlaggedSet = (HeaderSetId, Vec<bool>);

/// A set that a constructor makes, and its flags.
fn constructed(
    model: &FlagModel,
    dice: &mut RandomChoices,
    traffic: &mut HeaderSpace,
) -> FlaggedSet {
    match dice.below(7) {
        0 | 1 => of_rule(model, dice, traffic),
        2..=5 => of_ports(model, dice, traffic),
        _ => {
            let side = dice.one_of(&Side::BOTH);
            let is_listed = |class: &HeaderClass| {
                let mut sides = Side::BOTH.iter();
                sides.all(|side| class.port(*side) != Some((0, 0)))
            };
            match dice.below(2) {
                0 => (
                    traffic.without_ports(),
                    model.flags(|class| class.port(side).is_none()),
                ),
                _ => (traffic.listed(), model.flags(is_listed)),
            }
        }
    }
}

/// A protocol, mostly one of those that have ports or control messages.
fn protocol(dice: &mut RandomChoices) -> Protocol {
    let protocols = [
        Protocol::TCP,
        Protocol::UDP,
        Protocol::SCTP,
        Protocol::UDPLITE,
        Protocol::ICMP,
        Protocol::ICMPV6,
    ];
    Protocol::from_number(dice.byte().max(1))
        .filter(|_| dice.below(4) == 0)
        .unwrap_or(dice.one_of(&protocols))
}

/// What a condition on protocol and control message lets through, and its flags.
fn of_rule(model: &FlagModel, dice: &mut RandomChoices, traffic: &mut HeaderSpace) -> FlaggedSet {
    let protocol = protocol(dice);
    let wanted = dice.one_of(&[
        ProtocolMatch::Any,
        ProtocolMatch::Is(protocol),
        ProtocolMatch::IsNot(protocol),
    ]);
    let is_of = |class: &HeaderClass| match wanted {
        ProtocolMatch::Any => true,
        ProtocolMatch::Is(protocol) => class.protocol() == Some(protocol),
        ProtocolMatch::IsNot(protocol) => class.protocol() != Some(protocol),
    };

    let number = dice.below(model.messages.len().max(1));
    let (kind, code) = match model.messages.iter().nth(number) {
        Some((_, kind, code)) => (*kind, *code),
        None => (9, None),
    };
    let icmp = Icmp { kind, code };
    let is_message = |class: &HeaderClass| match class {
        HeaderClass::Message { kind, code, .. } => {
            *kind == Some(icmp.kind) && (icmp.code.is_none() || *code == icmp.code)
        }
        HeaderClass::Ports { .. } | HeaderClass::Protocols(_) => false,
    };

    match dice.below(4) {
        0 | 1 => (traffic.of_rule(wanted, IcmpMatch::Any), model.flags(is_of)),
        2 => (
            traffic.of_rule(wanted, IcmpMatch::Is(icmp)),
            model.flags(|class| is_of(class) && is_message(class)),
        ),
        _ => (
            traffic.of_rule(wanted, IcmpMatch::IsNot(icmp)),
            model.flags(|class| is_of(class) && !is_message(class)),
        ),
    }
}

/// Packets with some ports at a side, and its flags.
fn of_ports(model: &FlagModel, dice: &mut RandomChoices, traffic: &mut HeaderSpace) -> FlaggedSet {
    let side = dice.one_of(&Side::BOTH);
    match dice.below(4) {
        0 | 1 => {
            let own = model.ports.values().flatten().copied();
            let known: Vec<PortRange> = own.chain([dice.range()]).collect();
            let ranges: Vec<PortRange> = (0..dice.below(4)).map(|_| dice.one_of(&known)).collect();
            let begins = |class: &HeaderClass| {
                class
                    .port(side)
                    .is_some_and(|port| ranges.iter().any(|range| range.holds(port.0)))
            };
            (traffic.with_ports(side, &ranges), model.flags(begins))
        }
        2 => {
            let protocol = protocol(dice);
            let port = if dice.below(2) == 0 { 0 } else { dice.port() };
            let begins = |class: &HeaderClass| {
                class
                    .port(side)
                    .is_some_and(|range| range.0 == port && (port > 0 || range.1 == 0))
            };
            let is_own = |class: &HeaderClass| class.protocol() == Some(protocol) && begins(class);
            (traffic.with_port(protocol, side, port), model.flags(is_own))
        }
        _ => {
            let (one, other) = (dice.port(), dice.port());
            let range = if dice.below(4) == 0 {
                DYNAMIC_PORTS
            } else {
                one.min(other)..=one.max(other)
            };
            let touches = |class: &HeaderClass| {
                class
                    .port(side)
                    .is_some_and(|port| port.0 <= *range.end() && port.1 >= *range.start())
            };
            (traffic.touching(side, range.clone()), model.flags(touches))
        }
    }
}

/// A set that is made of others, and its flags.
fn combined(
    sets: &[FlaggedSet],
    model: &FlagModel,
    dice: &mut RandomChoices,
    traffic: &mut HeaderSpace,
) -> Vec<FlaggedSet> {
    let [left, right] = [0, 1].map(|_| dice.one_of(sets));
    let with = |test: fn(bool, bool) -> bool| {
        left.1
            .iter()
            .zip(&right.1)
            .map(|(left, right)| test(*left, *right))
            .collect::<Vec<_>>()
    };

    match dice.below(5) {
        0 => vec![(
            traffic.and(left.0, right.0),
            with(|left, right| left && right),
        )],
        1 => vec![(
            traffic.or(left.0, right.0),
            with(|left, right| left || right),
        )],
        2 => vec![(
            traffic.less(left.0, right.0),
            with(|left, right| left && !right),
        )],
        3 => vec![redirected(&left, model, dice, traffic)],
        _ => cascaded(&left, &right, sets, dice, traffic),
    }
}

/// What would be in a set if it were for a port, and its flags.
fn redirected(
    set: &FlaggedSet,
    model: &FlagModel,
    dice: &mut RandomChoices,
    traffic: &mut HeaderSpace,
) -> FlaggedSet {
    let port = dice.port();
    let is_target = |class: &HeaderClass| {
        class
            .port(Side::Destination)
            .is_some_and(|(first, last)| (first..=last).contains(&port))
    };
    let flagged = || model.classes.iter().zip(&set.1);
    let targets: BTreeSet<(Protocol, (u16, u16))> = flagged()
        .filter(|(class, is_in)| **is_in && is_target(class))
        .filter_map(|(class, _)| Some((class.protocol()?, class.port(Side::Source)?)))
        .collect();

    let flags = flagged().map(|(class, is_in)| match class.port(Side::Source) {
        Some(source) => targets.contains(&(class.protocol().unwrap(), source)),
        None => *is_in,
    });
    (traffic.redirected(set.0, port), flags.collect())
}

/// What rules leave of a set, and a sink that they fill, which has another set already.
fn cascaded(
    left: &FlaggedSet,
    right: &FlaggedSet,
    sets: &[FlaggedSet],
    dice: &mut RandomChoices,
    traffic: &mut HeaderSpace,
) -> Vec<FlaggedSet> {
    let rules: Vec<[FlaggedSet; 2]> = (0..dice.below(6))
        .map(|_| [0, 1].map(|_| dice.one_of(sets)))
        .collect();
    let taken: Vec<CascadeRule<1>> = rules
        .iter()
        .map(|[off, to]| CascadeRule {
            off: off.0,
            to: [to.0],
        })
        .collect();

    let (mut here, mut sink) = (left.1.clone(), right.1.clone());
    for [off, to] in &rules {
        for ((here, sink), (off, to)) in here.iter_mut().zip(&mut sink).zip(off.1.iter().zip(&to.1))
        {
            *sink |= *here && *to;
            *here &= !off;
        }
    }

    let mut sinks = [right.0];
    let rest = traffic.cascade(&taken, left.0, &mut sinks);
    vec![(rest, here), (sinks[0], sink)]
}

fn check(seed: u64) {
    let mut dice = RandomChoices(seed);
    let model = FlagModel::random(&mut dice);
    let mut traffic = HeaderSpace::of(&model.cuts);
    assert_eq!(traffic.len(), model.classes.len(), "seed {seed}");

    let mut sets = vec![
        (HeaderSpace::NONE, model.flags(|_| false)),
        (HeaderSpace::ALL, model.flags(|_| true)),
    ];
    for number in 0..60 {
        let new = match number {
            0..20 => vec![constructed(&model, &mut dice, &mut traffic)],
            _ => combined(&sets, &model, &mut dice, &mut traffic),
        };
        sets.extend(new);
    }

    let mut ids: FxHashMap<&[bool], HeaderSetId> = FxHashMap::default();
    for (id, flags) in &sets {
        assert_eq!(
            ids.entry(flags).or_insert(*id),
            id,
            "seed {seed}: equal sets have two ids"
        );
        check_reads(*id, flags, &model, &mut traffic, seed);
        check_blocks(*id, flags, &model, &traffic, seed);
    }

    for _ in 0..40 {
        let [outer, inner] = [0, 1].map(|_| dice.one_of(&sets));
        let expected = outer
            .1
            .iter()
            .zip(&inner.1)
            .all(|(outer, inner)| *outer || !*inner);
        assert_eq!(traffic.includes(outer.0, inner.0), expected, "seed {seed}");
    }
    check_packets(&sets, &model, &mut dice, &traffic, seed);
}

/// What is read of a set one class at a time.
fn check_reads(
    id: HeaderSetId,
    flags: &[bool],
    model: &FlagModel,
    traffic: &mut HeaderSpace,
    seed: u64,
) {
    let expected: Vec<&HeaderClass> = model
        .classes
        .iter()
        .zip(flags)
        .filter(|row| *row.1)
        .map(|row| row.0)
        .collect();
    let found: Vec<HeaderClass> = traffic.classes(id).collect();
    assert_eq!(found.iter().collect::<Vec<_>>(), expected, "seed {seed}");
    let others: Vec<&HeaderClass> = expected
        .iter()
        .copied()
        .filter(|class| class.port(Side::Source).is_none())
        .collect();
    assert_eq!(
        traffic.other_classes(id).collect::<Vec<_>>(),
        others,
        "seed {seed}"
    );
    assert_eq!(
        traffic.first(id).as_ref(),
        expected.first().copied(),
        "seed {seed}"
    );
    let best = expected
        .iter()
        .copied()
        .min_by_key(|class| strangeness(class));
    assert_eq!(traffic.most_expected(id).as_ref(), best, "seed {seed}");
}

/// Blocks of ports: the same classes, in as few pieces as there are.
fn check_blocks(
    id: HeaderSetId,
    flags: &[bool],
    model: &FlagModel,
    traffic: &HeaderSpace,
    seed: u64,
) {
    let blocks: Vec<_> = traffic.port_blocks(id).collect();
    let within = |outer: (u16, u16), inner: (u16, u16)| outer.0 <= inner.0 && inner.1 <= outer.1;
    for (class, is_in) in model.classes.iter().zip(flags) {
        let HeaderClass::Ports {
            protocol,
            source,
            destination,
        } = class
        else {
            continue;
        };
        let own = blocks
            .iter()
            .filter(|block| block.protocol == *protocol && within(block.source, *source));
        let count = own
            .flat_map(|block| &block.destinations)
            .filter(|ports| within(**ports, *destination))
            .count();
        assert_eq!(count, usize::from(*is_in), "seed {seed}: {class:?}");
    }
    for block in &blocks {
        let apart = block
            .destinations
            .windows(2)
            .all(|pair| u32::from(pair[0].1) + 1 < u32::from(pair[1].0));
        assert!(
            apart && !block.destinations.is_empty(),
            "seed {seed}: {block:?}"
        );
    }
}

/// Random packets are in the sets that have their class.
fn check_packets(
    sets: &[FlaggedSet],
    model: &FlagModel,
    dice: &mut RandomChoices,
    traffic: &HeaderSpace,
    seed: u64,
) {
    for _ in 0..100 {
        let example = dice.one_of(&model.classes).example().unwrap();
        let ports = example.1.unwrap_or(PortPair {
            source: dice.port(),
            destination: dice.port(),
        });
        let sources = [ports.source, dice.port(), 0];
        let ports = PortPair {
            source: dice.one_of(&sources),
            ..ports
        };
        let message = example.2.unwrap_or(IcmpMessage {
            kind: dice.byte(),
            code: dice.byte(),
        });
        let class = model.class_of(example.0, ports, message).unwrap();
        for (id, flags) in sets {
            let found = traffic.holds(*id, example.0, Some(ports), Some(message));
            assert_eq!(found, flags[class], "seed {seed}: {example:?}");
        }
    }
}

#[test]
fn sets_are_those_of_a_model_with_a_flag_for_each_class() {
    (0..24).for_each(check);
}

/// Rules with ranges of both ports, as many as a policy has. Each class by itself would be 2.5
/// million bits for a set.
#[test]
fn ranges_of_both_ports_take_memory_by_their_number() {
    let range = |first: u16, length: u16| PortRange::new(first, first + length - 1).unwrap();
    let mut cuts = PartitionBuilder::default();
    let rules: Vec<[PortRange; 2]> = (0..800)
        .map(|rule| [range(rule + 1, 9_000), range(3 * rule + 1, 20_000)])
        .collect();
    for [source, destination] in &rules {
        cuts.ports(Protocol::TCP, Side::Source, *source);
        cuts.ports(Protocol::TCP, Side::Destination, *destination);
    }

    let mut traffic = HeaderSpace::of(&cuts);
    let taken = rules
        .iter()
        .enumerate()
        .map(|(number, [source, destination])| {
            let from = traffic.with_ports(Side::Source, &[*source]);
            let to = traffic.with_ports(Side::Destination, &[*destination]);
            CascadeRule::into_sink(number % 2, traffic.and(from, to))
        });
    let taken: Vec<CascadeRule<2>> = taken.collect();

    let mut sinks = [HeaderSpace::NONE; 2];
    let open =
        RuleCascade::new(taken).pass(0..rules.len(), HeaderSpace::ALL, &mut sinks, &mut traffic);

    let [allowed, denied] = sinks;
    assert_eq!(traffic.and(allowed, denied), HeaderSpace::NONE);
    let decided = traffic.or(allowed, denied);
    assert_eq!(traffic.less(HeaderSpace::ALL, decided), open);

    assert!(traffic.len() > 2_500_000);
    let parts = traffic.diagram.parts();
    assert!(parts < 200_000, "{parts} parts");

    let first = traffic
        .first(allowed)
        .and_then(|class| class.example())
        .unwrap();
    assert!(traffic.holds(allowed, first.0, first.1, first.2));
}
