use super::{FailsafeList, FailsafePorts, InterfacePattern};

#[test]
fn failsafe_ports_are_written_as_in_calico() {
    let cases = [
        ("22", "tcp:22"),
        ("udp:68, 22", "tcp:22 udp:68"),
        (
            "tcp:10.0.0.0/8:22,UDP:192.0.2.1:53",
            "tcp:10.0.0.0/8:22 udp:192.0.2.1:53",
        ),
        ("tcp:[2001:db8::/32]:22", "tcp:[2001:db8::/32]:22"),
        ("none", ""),
    ];

    for (text, expected) in cases {
        let list: FailsafeList = text.parse().unwrap();
        assert_eq!(
            list.0
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            expected,
            "{text}"
        );
    }

    for text in [
        "",
        "0",
        "65536",
        "sctp:22",
        "22,none",
        "tcp:10.0.0.1/8:22",
        "tcp:2001:db8::/32:22",
        "tcp:22:",
        "tcp:[10.0.0.0/8:22",
        "+22",
    ] {
        assert!(text.parse::<FailsafeList>().is_err(), "{text}");
    }

    assert_eq!(
        FailsafePorts::default().inbound.0.len() + FailsafePorts::default().outbound.0.len(),
        18
    );
}

#[test]
fn interfaces_are_names_or_beginnings() {
    for (text, named, unnamed) in [
        ("eth0", "eth0", "eth01"),
        ("cali+", "cali12ab", "tap0"),
        ("cali+", "cali", "cal"),
        ("a-b_c.d+", "a-b_c.d", "a-b_c"),
    ] {
        let pattern: InterfacePattern = text.parse().unwrap();
        assert!(
            pattern.matches(named) && !pattern.matches(unnamed),
            "{text}"
        );
        assert_eq!(pattern.to_string(), text);
    }

    for text in [
        "",
        "+",
        "cali++",
        "ca+li",
        "-i",
        "eth0 ",
        "eth0\n",
        "a/b",
        "..",
        "*",
        "sixteen-letters-",
        "a\u{e9}",
    ] {
        assert!(text.parse::<InterfacePattern>().is_err(), "{text:?}");
    }
}
