use crate::explain::query::{self, QueryTraffic};
use crate::net::Cidr;

#[test]
fn traffic_is_written_in_many_ways() {
    for (text, expected) in [
        ("tcp/443", "TCP port 443"),
        ("TCP/443", "TCP port 443"),
        ("Udp/53", "UDP port 53"),
        ("sctp/36412", "SCTP port 36412"),
        ("tcp/22-22", "TCP port 22"),
        ("tcp/22-23", "`tcp/22-23` is several ports; write one"),
        ("any", "`any` is no one packet; write `tcp/443`"),
        (
            "22",
            "of which protocol? write `tcp/22`, or `proto/22` for the protocol of that number",
        ),
        ("icmp", "ICMP type 8 code 0"),
        ("icmp/3", "ICMP type 3 code 0"),
        ("ICMP/3/1", "ICMP type 3 code 1"),
        ("icmpv6", "ICMPv6 type 128 code 0"),
        ("icmpv6/1/4", "ICMPv6 type 1 code 4"),
        ("proto/47", "protocol 47"),
        ("udplite", "UDPLite"),
        ("tcp", "which port? write `tcp/443`"),
        ("proto/6", "which port? write `tcp/443`"),
        (
            "tcp/0",
            "`0` is no port from 1 to 65535 and no range of ports as in `8000-8100`",
        ),
        (
            "tcp/65536",
            "`65536` is no port from 1 to 65535 and no range of ports as in `8000-8100`",
        ),
        (
            "tcp/http",
            "`http` is no port from 1 to 65535 and no range of ports as in `8000-8100`",
        ),
        ("icmp/256", "`256` is no ICMP type or code from 0 to 255"),
        ("icmp/3/", "`` is no ICMP type or code from 0 to 255"),
    ] {
        let found = text
            .parse::<QueryTraffic>()
            .map_or_else(|problem| problem, |traffic| traffic.to_string());
        assert_eq!(found, expected, "{text}");
    }

    for text in [
        "",
        "0",
        "256",
        "proto/",
        "smtp/25",
        "47/1",
        "tcp/443/1",
        "proto/tcp/443/2",
    ] {
        assert!(text.parse::<QueryTraffic>().is_err(), "{text}");
    }
}

#[test]
fn prefixes_are_joined_to_the_fewest() {
    let joined_of = |texts: &[&str]| {
        let prefixes = texts
            .iter()
            .map(|text| Cidr::parse_lenient(text).unwrap())
            .collect();
        query::joined(prefixes)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(joined_of(&["10.0.0.0/9", "10.128.0.0/9"]), "10.0.0.0/8");
    assert_eq!(
        joined_of(&["10.0.0.3", "10.0.0.2", "10.0.0.0/31", "10.0.0.4"]),
        "10.0.0.0/30 10.0.0.4"
    );
    assert_eq!(
        joined_of(&["10.128.0.0/9", "11.0.0.0/9"]),
        "10.128.0.0/9 11.0.0.0/9"
    );

    assert_eq!(joined_of(&["::/1", "8000::/1"]), "::/0");
}
