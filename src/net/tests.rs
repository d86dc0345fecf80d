use super::{Cidr, CidrError, PortRange, merge_prefixes, merge_ranges};

fn cidr(text: &str) -> Cidr {
    Cidr::parse_strict(text).unwrap()
}

#[test]
fn strict_prefixes_name_what_is_wrong() {
    let cases = [
        ("10.0.0.1", CidrError::NoPrefixLength),
        ("010.0.0.0/8", CidrError::Malformed),
        ("10.0.0.0/33", CidrError::Malformed),
        ("10.0.0.0/255.0.0.0", CidrError::Malformed),
        ("2001:db8::1", CidrError::NoPrefixLength),
        ("", CidrError::Malformed),
        ("10.0.0.1/24", CidrError::HostBits(cidr("10.0.0.0/24"))),
        ("2001:db8::1/64", CidrError::HostBits(cidr("2001:db8::/64"))),
    ];

    for (text, error) in cases {
        assert_eq!(Cidr::parse_strict(text), Err(error), "{text}");
    }
}

#[test]
fn containment_follows_the_bits() {
    let cases = [
        ("0.0.0.0/0", "10.0.0.0/8", true),
        ("10.0.0.0/8", "10.255.0.0/16", true),
        ("10.0.0.0/8", "11.0.0.0/16", false),
        ("10.0.0.0/16", "10.0.0.0/8", false),
        ("::/0", "10.0.0.0/8", false),
        ("2001:db8::/32", "2001:db8:1::/48", true),
        ("::/0", "2001:db8:1::/48", true),
    ];

    for (outer, inner, contains) in cases {
        assert_eq!(
            cidr(outer).contains(cidr(inner)),
            contains,
            "{outer} {inner}"
        );
    }
}

#[test]
fn halves_cover_the_whole() {
    assert_eq!(
        cidr("0.0.0.0/0").halves(),
        Some([cidr("0.0.0.0/1"), cidr("128.0.0.0/1")])
    );
    assert_eq!(
        cidr("::/0").halves(),
        Some([cidr("::/1"), cidr("8000::/1")])
    );
    assert_eq!(cidr("10.0.0.1/32").halves(), None);
}

#[test]
fn members_stand_in_numeric_order() {
    let mut members = ["10.0.0.10/32", "::/1", "10.0.0.9/32", "10.0.0.8/29"].map(cidr);
    members.sort_unstable();
    assert_eq!(
        members.map(|member| member.to_string()),
        ["10.0.0.8/29", "10.0.0.9", "10.0.0.10", "::/1"]
    );
}

#[test]
fn ranges_merge_when_they_touch() {
    let ranges = [
        (80, 80),
        (8000, 8100),
        (81, 90),
        (8050, 9000),
        (65535, 65535),
    ];
    let merged = merge_ranges(
        ranges
            .into_iter()
            .filter_map(|(first, last)| PortRange::new(first, last))
            .collect(),
    );

    assert_eq!(
        merged.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["80:90", "8000:9000", "65535"]
    );
    assert_eq!((PortRange::new(0, 5), PortRange::new(6, 5)), (None, None));
}

#[test]
fn prefixes_merge_to_the_fewest_that_hold_the_same() {
    for (given, fewest) in [
        ("10.0.1.0/24 10.0.0.0/24", "10.0.0.0/23"),
        (
            "10.0.0.0/24 10.0.1.0/24 10.0.2.0/23 10.0.3.7/32",
            "10.0.0.0/22",
        ),
        ("10.0.1.0/24 10.0.2.0/24", "10.0.1.0/24 10.0.2.0/24"),
        (
            "10.0.0.0/32 10.0.0.1/32 fd00::/64 fd00:0:0:1::/64",
            "10.0.0.0/31 fd00::/63",
        ),
        ("0.0.0.0/0 10.0.0.0/8", "0.0.0.0/1 128.0.0.0/1"),
        ("128.0.0.0/1 0.0.0.0/1", "0.0.0.0/1 128.0.0.0/1"),
        ("", ""),
    ] {
        let nets = given.split(' ').filter_map(Cidr::parse_lenient).collect();
        let merged = merge_prefixes(nets)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        assert_eq!(merged.join(" "), fewest, "{given}");
    }
}
