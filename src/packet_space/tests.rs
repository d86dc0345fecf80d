use std::net::IpAddr;

use crate::net::{Cidr, Family, PortRange, Protocol, Side};
use crate::packet_space::address_atoms::{AddressAtoms, PrefixLists};
use crate::packet_space::{
    AddressRange, HeaderClass, HeaderSetId, HeaderSpace, LocationSet, PairBlock, PartitionBuilder,
    merged,
};
use crate::policy::{Icmp, IcmpMatch, ProtocolMatch};

fn prefix(text: &str) -> Cidr {
    Cidr::parse_strict(text).unwrap()
}

#[test]
fn ranges_are_cut_at_the_edges_of_prefixes_and_know_the_lists_that_hold_them() {
    let mut lists = PrefixLists::default();
    let wide = lists.add([prefix("10.0.0.0/8"), prefix("0.0.0.0/0")]);
    let narrow = lists.add([
        prefix("10.1.0.0/16"),
        prefix("10.1.0.0/16"),
        prefix("::/0"),
        prefix("255.255.255.255/32"),
    ]);
    let addresses = AddressAtoms::from_lists(lists);
    let shown: Vec<String> = addresses
        .ranges()
        .iter()
        .map(|(range, known)| {
            let held = [wide, narrow].map(|list| {
                if addresses.holds(*known, list) {
                    "in"
                } else {
                    "out"
                }
            });
            format!(
                "{}-{} {} {}",
                range.first_address(),
                range.last_address(),
                held[0],
                held[1]
            )
        })
        .collect();

    let expected = [
        "0.0.0.0-9.255.255.255 in out",
        "10.0.0.0-10.0.255.255 in out",
        "10.1.0.0-10.1.255.255 in in",
        "10.2.0.0-10.255.255.255 in out",
        "11.0.0.0-255.255.255.254 in out",
        "255.255.255.255-255.255.255.255 in in",
        "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff out in",
    ];
    assert_eq!(shown, expected);

    let around = |text: &str| {
        addresses
            .lists(addresses.around(text.parse().unwrap()))
            .to_vec()
    };
    assert_eq!(around("10.1.2.3"), [wide, narrow]);

    assert_eq!(around("::1"), [narrow]);
}

#[test]
fn a_range_without_addresses_is_the_ranges_between_them() {
    let range = AddressRange::from_prefix(prefix("10.0.0.0/29"));
    let gone: Vec<IpAddr> = [
        "9.0.0.1", "10.0.0.0", "10.0.0.3", "10.0.0.4", "10.0.0.7", "10.0.0.8",
    ]
    .map(|text| text.parse().unwrap())
    .to_vec();

    let left: Vec<String> = range
        .without(&gone)
        .map(|range| format!("{}-{}", range.first_address(), range.last_address()))
        .collect();
    assert_eq!(left, ["10.0.0.1-10.0.0.2", "10.0.0.5-10.0.0.6"]);
    assert_eq!(range.without(&[]).collect::<Vec<_>>(), [range]);
}

#[test]
fn prefixes_of_a_range_are_the_fewest() {
    let range = |first: &str, last: &str| AddressRange {
        last: AddressRange::at(last.parse().unwrap()).first,
        ..AddressRange::at(first.parse().unwrap())
    };
    let texts = |range: AddressRange| {
        range
            .prefixes()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };

    let cases = [
        (("0.0.0.0", "255.255.255.255"), "0.0.0.0/0"),
        (("0.0.0.0", "0.0.0.0"), "0.0.0.0"),
        (
            ("0.0.0.1", "255.255.255.255"),
            "0.0.0.1 0.0.0.2/31 0.0.0.4/30 0.0.0.8/29 0.0.0.16/28 0.0.0.32/27 0.0.0.64/26 \
             0.0.0.128/25 0.0.1.0/24 0.0.2.0/23 0.0.4.0/22 0.0.8.0/21 0.0.16.0/20 0.0.32.0/19 \
             0.0.64.0/18 0.0.128.0/17 0.1.0.0/16 0.2.0.0/15 0.4.0.0/14 0.8.0.0/13 0.16.0.0/12 \
             0.32.0.0/11 0.64.0.0/10 0.128.0.0/9 1.0.0.0/8 2.0.0.0/7 4.0.0.0/6 8.0.0.0/5 \
             16.0.0.0/4 32.0.0.0/3 64.0.0.0/2 128.0.0.0/1",
        ),
        (("10.0.0.0", "10.0.0.255"), "10.0.0.0/24"),
        (
            ("10.0.0.1", "10.0.0.6"),
            "10.0.0.1 10.0.0.2/31 10.0.0.4/31 10.0.0.6",
        ),
        (("10.0.0.255", "10.0.1.0"), "10.0.0.255 10.0.1.0"),
        (("255.255.255.254", "255.255.255.255"), "255.255.255.254/31"),
        (("255.255.255.255", "255.255.255.255"), "255.255.255.255"),
        (("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0"),
        (
            ("8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            "8000::/1",
        ),
        (("::", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/1"),
        (("::1", "::4"), "::1 ::2/127 ::4"),
    ];
    for ((first, last), expected) in cases {
        assert_eq!(texts(range(first, last)), expected, "{first}-{last}");
    }

    assert_eq!(range("::1", "::1").family, Family::V6);
}

/// Returns the set that contains only one class.
fn only(class: &HeaderClass, traffic: &mut HeaderSpace) -> HeaderSetId {
    let protocol = ProtocolMatch::Is(class.protocol().unwrap());
    let mut all = traffic.of_rule(protocol, IcmpMatch::Any);
    for side in Side::BOTH {
        if let Some((first, last)) = class.port(side) {
            let own = traffic.touching(side, first..=last);
            all = traffic.and(all, own);
        }
    }

    let HeaderClass::Message { kind, code, .. } = class else {
        return all;
    };
    if let Some(kind) = *kind {
        let own = traffic.of_rule(protocol, IcmpMatch::Is(Icmp { kind, code: *code }));
        all = traffic.and(all, own);
    }

    let others = traffic.classes(all).filter(|other| other != class);
    for other in others.collect::<Vec<HeaderClass>>() {
        let HeaderClass::Message {
            kind: Some(kind),
            code,
            ..
        } = other
        else {
            panic!("{other:?}")
        };
        let other = traffic.of_rule(protocol, IcmpMatch::Is(Icmp { kind, code }));
        all = traffic.less(all, other);
    }
    all
}

#[test]
fn every_class_is_found_again_by_its_example_and_by_nothing_else() {
    let mut cuts = PartitionBuilder::default();
    cuts.ports(
        Protocol::TCP,
        Side::Destination,
        PortRange::new(80, 90).unwrap(),
    );
    cuts.ports(
        Protocol::TCP,
        Side::Destination,
        PortRange::new(65_535, 65_535).unwrap(),
    );
    cuts.ports(Protocol::UDP, Side::Source, PortRange::new(1, 53).unwrap());
    cuts.message(
        Protocol::ICMP,
        Icmp {
            kind: 8,
            code: Some(0),
        },
    );
    cuts.message(
        Protocol::ICMP,
        Icmp {
            kind: 0,
            code: None,
        },
    );
    cuts.protocol(Protocol::from_number(47).unwrap());

    let mut traffic = HeaderSpace::of(&cuts);
    let classes: Vec<HeaderClass> = traffic.classes(HeaderSpace::ALL).collect();
    let sets: Vec<HeaderSetId> = classes
        .iter()
        .map(|class| only(class, &mut traffic))
        .collect();
    for class in &classes {
        let (protocol, ports, message) = class.example().unwrap();
        for (other, set) in classes.iter().zip(&sets) {
            assert_eq!(
                traffic.holds(*set, protocol, ports, message),
                other == class,
                "{class:?}"
            );
        }
    }
}

#[test]
fn sets_that_are_equal_are_one() {
    let mut cuts = PartitionBuilder::default();
    cuts.ports_of(
        ProtocolMatch::IsNot(Protocol::UDP),
        Side::Destination,
        PortRange::new(80, 80).unwrap(),
    );

    let mut traffic = HeaderSpace::of(&cuts);
    let tcp = traffic.of_rule(ProtocolMatch::Is(Protocol::TCP), IcmpMatch::Any);
    let rest = traffic.of_rule(ProtocolMatch::IsNot(Protocol::TCP), IcmpMatch::Any);
    assert_eq!(traffic.less(HeaderSpace::ALL, tcp), rest);
    assert_eq!(traffic.or(tcp, rest), HeaderSpace::ALL);
    assert_eq!(traffic.and(tcp, rest), HeaderSpace::NONE);

    let web = traffic.with_ports(Side::Destination, &[PortRange::new(80, 80).unwrap()]);
    let web_by_tcp = traffic.with_port(Protocol::TCP, Side::Destination, 80);
    assert_eq!(traffic.and(web, tcp), web_by_tcp);
    assert_eq!(
        traffic.classes(web).count(),
        2,
        "TCP and SCTP: UDP is not cut, and so not one with port 80"
    );
}

/// All pairs of 70 locations, split at both ends. Four adjacent blocks of which two have the same
/// value become three.
#[test]
fn blocks_of_which_the_same_is_known_become_one_and_no_pair_is_lost() {
    let any = LocationSet::filter(70, |_| true);
    let (even, third) = (
        LocationSet::filter(70, |number| number % 2 == 0),
        LocationSet::filter(70, |number| number % 3 == 0),
    );
    let all = PairBlock {
        sources: any.clone(),
        destinations: any.clone(),
    };
    let halves = |block: &PairBlock, side, by: &LocationSet| {
        let (within, without) = block.split(side, by);
        [within.unwrap(), without.unwrap()]
    };
    let quarters: Vec<PairBlock> = halves(&all, Side::Source, &even)
        .iter()
        .flat_map(|half| halves(half, Side::Destination, &third))
        .collect();

    assert_eq!(
        quarters.iter().map(PairBlock::pairs).collect::<Vec<_>>(),
        [35 * 24, 35 * 46, 35 * 24, 35 * 46]
    );

    let known = |known: [u8; 4]| merged(quarters.iter().cloned().zip(known).collect());
    let pairs = |blocks: Vec<(PairBlock, u8)>| -> Vec<(usize, u8)> {
        blocks
            .iter()
            .map(|(block, known)| (block.pairs(), *known))
            .collect()
    };

    assert_eq!(known([1, 1, 1, 1]), [(all, 1)]);
    assert_eq!(pairs(known([1, 2, 1, 2])), [(70 * 24, 1), (70 * 46, 2)]);
    assert_eq!(pairs(known([1, 1, 2, 2])), [(35 * 70, 1), (35 * 70, 2)]);
    assert_eq!(
        pairs(known([1, 1, 1, 2])),
        [(35 * 70, 1), (35 * 24, 1), (35 * 46, 2)]
    );
    assert_eq!(
        even.iter()
            .filter(|number| third.holds(*number))
            .collect::<Vec<_>>(),
        (0..70).step_by(6).collect::<Vec<_>>()
    );

    assert!(any.split(&even).1.unwrap().split(&even).0.is_none());
}

#[test]
fn packets_that_are_shown_have_ports_that_people_know() {
    let mut cuts = PartitionBuilder::default();
    cuts.ports(
        Protocol::TCP,
        Side::Destination,
        PortRange::new(100, 999).unwrap(),
    );
    cuts.ports(Protocol::TCP, Side::Source, PortRange::new(20, 20).unwrap());

    let mut traffic = HeaderSpace::of(&cuts);
    let mut rest = traffic.of_rule(ProtocolMatch::Is(Protocol::TCP), IcmpMatch::Any);
    let mut shown: Vec<(u16, u16)> = Vec::new();
    while let Some(class) = traffic.most_expected(rest) {
        let own = only(&class, &mut traffic);
        let ports = class.example().unwrap().1.unwrap();
        rest = traffic.less(rest, own);
        shown.push((ports.source, ports.destination));
    }

    assert_eq!(shown[..3], [(49_152, 80), (49_152, 443), (49_152, 5432)]);
    assert_eq!(shown[3], (19, 80));
    assert!(shown.is_sorted_by_key(|(source, destination)| *source == 0 || *destination == 0));
    assert_eq!(shown.len(), 16);
}

/// Whatever rules name, one class remains for the rest, and it has an example packet.
#[test]
fn every_class_has_a_packet() {
    let protocols: Vec<Protocol> = (0..=u8::MAX).filter_map(Protocol::from_number).collect();
    let messages =
        || (0..=u8::MAX).flat_map(|kind| [None, Some(kind)].map(|code| Icmp { kind, code }));
    for left_out in [None, Some(1), Some(17), Some(99), Some(255)] {
        let mut cuts = PartitionBuilder::default();
        let named = protocols
            .iter()
            .filter(|protocol| Some(protocol.number()) != left_out);
        named.for_each(|protocol| cuts.protocol(*protocol));
        for protocol in [Protocol::ICMP, Protocol::ICMPV6] {
            messages()
                .filter(|icmp| Some(icmp.kind) != left_out)
                .for_each(|icmp| cuts.message(protocol, icmp));
        }

        let mut traffic = HeaderSpace::of(&cuts);
        let shown: Vec<_> = traffic
            .classes(HeaderSpace::ALL)
            .map(|class| class.example())
            .collect();
        assert!(shown.iter().all(Option::is_some), "{left_out:?}");
        let named = protocols
            .iter()
            .filter(|protocol| Some(protocol.number()) != left_out);
        let rest = named.fold(HeaderSpace::ALL, |rest, protocol| {
            let own = traffic.of_rule(ProtocolMatch::Is(*protocol), IcmpMatch::Any);
            traffic.less(rest, own)
        });
        assert_ne!(rest, HeaderSpace::NONE, "{left_out:?}");
    }
}
