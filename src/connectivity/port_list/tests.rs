use crate::connectivity::port_list::{
    describe, is_everything, ports_text, protocol_text, types_text,
};
use crate::net::{PortRange, Protocol, Side};
use crate::packet_space::{HeaderSetId, HeaderSpace, PartitionBuilder};
use crate::policy::{Icmp, IcmpMatch, ProtocolMatch};

/// Describes a set of headers: `TCP 80,443 from 1000; ICMP 8/0`.
fn text(id: HeaderSetId, traffic: &HeaderSpace) -> String {
    let words = describe(id, traffic).into_iter().map(|allowed| {
        let ports = allowed
            .ports
            .map(|ports| format!(" {}", ports_text(&ports)))
            .unwrap_or_default();
        let from = allowed
            .source_ports
            .map(|ports| format!(" from {}", ports_text(&ports)))
            .unwrap_or_default();
        let types = allowed
            .types
            .map(|types| format!(" {}", types_text(&types)))
            .unwrap_or_default();
        format!("{}{ports}{from}{types}", protocol_text(allowed.protocol))
    });

    words.collect::<Vec<_>>().join("; ")
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange::new(first, last).unwrap()
}

#[test]
fn every_protocol_is_listed_and_port_0_is_not() {
    let traffic = HeaderSpace::of(&PartitionBuilder::default());
    let words = text(HeaderSpace::ALL, &traffic);
    assert!(
        words.starts_with("TCP 1-65535; UDP 1-65535; SCTP 1-65535; ICMP; ICMPv6; 2; 3; 4; 5; 7; "),
        "{words}"
    );
    assert!(
        words.contains("; 136; ") && words.ends_with("; 254; 255"),
        "{words}"
    );
    assert_eq!(words.split("; ").count(), 255);

    assert_eq!(text(HeaderSpace::NONE, &traffic), "");
}

#[test]
fn ports_are_merged_and_told_by_source() {
    let mut cuts = PartitionBuilder::default();
    cuts.ports(Protocol::TCP, Side::Destination, range(80, 80));
    cuts.ports(Protocol::TCP, Side::Destination, range(81, 90));
    cuts.ports(Protocol::TCP, Side::Source, range(1000, 1000));

    let mut traffic = HeaderSpace::of(&cuts);
    let ports = traffic.with_ports(Side::Destination, &[range(80, 80), range(81, 90)]);
    let tcp = traffic.of_rule(ProtocolMatch::Is(Protocol::TCP), IcmpMatch::Any);
    let ports = traffic.and(ports, tcp);
    assert_eq!(text(ports, &traffic), "TCP 80-90");

    let from = traffic.with_port(Protocol::TCP, Side::Source, 1000);
    let both = traffic.or(ports, from);
    assert_eq!(
        text(both, &traffic),
        "TCP 1-65535 from 1000; TCP 80-90 from 1-999,1001-65535"
    );

    let named = traffic.with_ports(Side::Destination, &[range(1, u16::MAX)]);
    assert_eq!(text(traffic.and(named, tcp), &traffic), "TCP 1-65535");
    let nothing = traffic.with_port(Protocol::TCP, Side::Destination, 0);
    assert_eq!(text(nothing, &traffic), "");
    assert!(
        is_everything(traffic.less(HeaderSpace::ALL, nothing), &traffic)
            && !is_everything(both, &traffic)
    );
}

#[test]
fn types_of_messages() {
    let mut cuts = PartitionBuilder::default();
    let echo = Icmp {
        kind: 8,
        code: None,
    };
    let network = Icmp {
        kind: 3,
        code: Some(0),
    };

    cuts.message(Protocol::ICMP, echo);
    cuts.message(Protocol::ICMP, network);
    let mut traffic = HeaderSpace::of(&cuts);
    let icmp = ProtocolMatch::Is(Protocol::ICMP);
    let of = |icmp_match, traffic: &mut HeaderSpace| traffic.of_rule(icmp, icmp_match);
    let (echoes, networks) = (
        of(IcmpMatch::Is(echo), &mut traffic),
        of(IcmpMatch::Is(network), &mut traffic),
    );

    let both = traffic.or(echoes, networks);
    assert_eq!(text(both, &traffic), "ICMP 3/0,8");
    let rest = of(IcmpMatch::Any, &mut traffic);
    let rest = traffic.less(rest, both);
    assert_eq!(text(rest, &traffic), "ICMP 0-2,3/1-255,4-7,9-255");
    assert_eq!(text(of(IcmpMatch::Any, &mut traffic), &traffic), "ICMP");
}
