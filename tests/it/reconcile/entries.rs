//! Which entries `--cut-denied` ends: kinds and numbers of them, and the interfaces that they are
//! judged by.

use std::collections::BTreeSet;
use std::fs;

use super::uncut::{TO_SERVICE, only_8080, words};
use crate::apply::world::{BEFORE, World, bundle};

/// Ends of all entries: the first source, destination and port of each, and the protocol.
fn entries(world: &World) -> BTreeSet<String> {
    let listed = ["ipv4", "ipv6"]
        .map(|family| world.tool("conntrack", &["-L", "-o", "extended", "-f", family], ""));
    let of_line = |line: &str| {
        let value = |key: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(key))
                .unwrap_or_default()
        };
        format!(
            "{} {} {} {}",
            line.split_whitespace().nth(2).unwrap(),
            value("src="),
            value("dst="),
            value("dport=")
        )
    };

    listed
        .iter()
        .flat_map(|text| text.lines())
        .map(of_line)
        .collect()
}

/// Adds entries, a line of options each.
fn add(world: &World, lines: &[String]) {
    let lines: String = lines
        .iter()
        .map(|line| format!("-I -t 600 {line}\n"))
        .collect();
    world.tool("conntrack", &["--load-file", "-"], &lines);
}

/// Applies a bundle, and says what became of connections.
fn cut(world: &World, bundle: &str) -> serde_json::Value {
    let (status, said) = world.palisade(&["--format", "json", "apply", bundle, "--cut-denied"]);
    assert_eq!(status, 0, "{said}");
    serde_json::from_str::<serde_json::Value>(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}"))["connections"]
        .clone()
}

/// Entries of a stranger to a pod, which policy denies, whatever the protocol.
const KINDS: [&str; 11] = [
    "-p tcp --state ESTABLISHED -s 192.0.2.9 -d 10.0.0.1 --sport 5 --dport 80",
    "-p udp -s 192.0.2.9 -d 10.0.0.1 --sport 5 --dport 80 -w 3",
    "-p udplite -s 192.0.2.9 -d 10.0.0.1 --sport 5 --dport 80",
    "-p sctp --state ESTABLISHED -s 192.0.2.9 -d 10.0.0.1 --sport 5 --dport 80 --orig-vtag 1 \
     --reply-vtag 2",
    "-p dccp --state REQUEST -s 192.0.2.9 -d 10.0.0.1 --sport 5 --dport 80 --role client",
    "-p gre -s 192.0.2.9 -d 10.0.0.1 --srckey 5 --dstkey 65534",
    "-p 89 -s 192.0.2.9 -d 10.0.0.1",
    "-p icmp -s 192.0.2.9 -d 10.0.0.1 --icmp-type 8 --icmp-code 0 --icmp-id 77",
    "-p icmpv6 -s 2001:db8::9 -d fd00::1 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 77",
    "-p tcp --state ESTABLISHED -s 2001:db8::9 -d fd00::1 --sport 5 --dport 80",
    "-p gre -s 2001:db8::9 -d fd00::1 --srckey 5 --dstkey 6",
];

pub(super) fn entries_of_all_kinds_are_counted_as_they_end(world: &World) {
    cut(world, &bundle(BEFORE));
    add(world, &KINDS.map(str::to_owned));
    assert_eq!(entries(world).len(), KINDS.len());
    assert_eq!(
        cut(world, &bundle(BEFORE)),
        serde_json::json!({"known": 11, "ended": 11, "notUnderstood": 0})
    );
    assert_eq!(entries(world), BTreeSet::new());
}

/// Of each shape, and of those that are allowed.
const MANY: u32 = 2000;

pub(super) fn thousands_of_entries_end(world: &World) {
    let one_client = |number| {
        format!(
            "-p udp -s 192.0.2.9 -d 10.0.0.1 --sport {} --dport 53",
            1000 + number
        )
    };
    let many_clients = |number| {
        format!(
            "-p udp -s 192.0.{}.{} -d 10.0.0.1 --sport 5 --dport 53",
            number / 250,
            number % 250
        )
    };
    let many_services = |number| {
        format!(
            "-p udp -s 192.0.2.9 -d 10.0.0.1 --sport 5 --dport {}",
            1000 + number
        )
    };
    let many_names = |number| {
        format!("-p icmp -s 192.0.2.9 -d 10.0.0.1 --icmp-type 8 --icmp-code 0 --icmp-id {number}")
    };
    let allowed = |number| {
        format!(
            "-p udp -s 192.0.2.9 -d 10.0.9.9 --sport {} --dport 53",
            1000 + number
        )
    };
    let shapes: [&dyn Fn(u32) -> String; 5] = [
        &one_client,
        &many_clients,
        &many_services,
        &many_names,
        &allowed,
    ];

    let lines: Vec<String> = (0..MANY)
        .flat_map(|number| shapes.map(|shape| shape(number)))
        .collect();
    add(world, &lines);

    let said = cut(world, &bundle(BEFORE));
    let known = said["known"].as_u64().unwrap();
    assert_eq!(
        (known, &said["ended"]),
        (u64::from(MANY) * 5, &(MANY * 4).into())
    );

    assert_eq!(
        entries(world),
        BTreeSet::from(["udp 192.0.2.9 10.0.9.9 53".to_owned()])
    );
}

/// What is listed is deleted, and not what begins behind the listing with the same first packet,
/// and is translated to what is allowed.
pub(super) fn an_entry_that_begins_again_stays(world: &World) {
    let to = |port: u16| format!("{TO_SERVICE} --reply-port-src {port} --reply-port-dst 5");
    let again = format!(
        "test -e /run/again || {{ touch /run/again; \"$real\" -F; \"$real\" {}; }}",
        to(8080)
    );
    let script = format!("\"$real\" \"$@\"\ncase $* in *ipv6) {again};; esac >/dev/null 2>&1");
    let replaced = world.replace("conntrack", &script);

    only_8080();
    world.tool("conntrack", &words(&to(8081)), "");
    let said = cut(world, "/run/one.bundle");
    drop(replaced);
    assert!(fs::exists("/run/again").unwrap());
    assert_eq!(
        said,
        serde_json::json!({"known": 1, "ended": 0, "notUnderstood": 0})
    );

    assert_eq!(entries(world).len(), 1);
}

/// Two networks, an address that both lead to, and one that none does. The host endpoint is of
/// `eth0`, and allows failsafe ports only.
const NETWORK: &str = "for at in 0 1; do ip link add eth$at type veth peer name peer$at; ip link \
                       set eth$at up; ip link set peer$at up; done
    ip address add 192.0.2.1/24 dev eth0; ip address add 198.51.100.1/24 dev eth1
    ip address add 2001:db8::1/64 dev eth0 nodad; ip address add 2001:db8:1::1/64 dev eth1 nodad
    ip route add 203.0.113.0/24 nexthop via 192.0.2.8 nexthop via 198.51.100.8
    ip route add 2001:db8:2::/64 nexthop via 2001:db8::8 nexthop via 2001:db8:1::8";

/// Who sends to whom, to which port, and whether that is denied over the interface that its packets
/// take.
const OVER: [(&str, &str, u16, bool); 11] = [
    ("192.0.2.9", "192.0.2.1", 80, true),
    ("192.0.2.9", "192.0.2.1", 22, false),
    ("192.0.2.9", "198.51.100.1", 80, true),
    ("198.51.100.9", "192.0.2.1", 80, false),
    ("192.0.2.1", "192.0.2.9", 80, true),
    ("192.0.2.1", "198.51.100.9", 80, false),
    ("203.0.113.9", "192.0.2.1", 80, false),
    ("10.77.0.9", "192.0.2.1", 80, false),
    ("2001:db8::9", "2001:db8::1", 80, true),
    ("2001:db8:1::9", "2001:db8::1", 80, false),
    ("2001:db8:2::9", "2001:db8::1", 80, false),
];

pub(super) fn entries_are_judged_over_the_interface_of_their_route(world: &World) {
    world.tool("sh", &["-e", "-c", NETWORK], "");
    add(
        world,
        &OVER.map(|(from, to, port, _)| {
            format!("-p tcp --state ESTABLISHED -s {from} -d {to} --sport 5 --dport {port}")
        }),
    );
    assert_eq!(cut(world, &bundle("host-without-policy"))["ended"], 4);

    let stay = OVER
        .iter()
        .filter(|row| !row.3)
        .map(|(from, to, port, _)| format!("tcp {from} {to} {port}"));
    assert_eq!(entries(world), stay.collect());
}
