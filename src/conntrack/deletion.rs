//! Builds the netlink request that deletes one entry. The request names the reply tuple and the
//! zone, and the identifier, which the kernel derives from the first packet and the entry's memory
//! address. So it cannot delete a new entry with the same tuple, which policy may judge
//! differently.

use std::net::IpAddr;

use crate::conntrack::{ConnectionTuple, TrackedConnection};
use crate::net::Protocol;
use crate::runner::NetfilterRequest;

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;

/// `NLA_F_NESTED`: the attribute contains attributes.
const NESTED: u16 = 1 << 15;

/// Attributes of an entry, of its tuple, and of the two parts of the tuple: `CTA_…`.
const REPLIES: u16 = 2;
const IDENTIFIER: u16 = 12;
const ZONE: u16 = 18;
const ADDRESSES: u16 = 1;
const PROTOCOL: u16 = 2;
const NUMBER: u16 = 1;
const PORTS: [u16; 2] = [2, 3];

/// Address family, and the attributes of both addresses.
const V4: (u8, [u16; 2]) = (2, [1, 2]);
const V6: (u8, [u16; 2]) = (10, [3, 4]);

/// Attributes of an ICMP message: identifier, type and code.
const ICMP: [u16; 3] = [4, 5, 6];
const ICMPV6: [u16; 3] = [7, 8, 9];

/// Returns the request that deletes this entry and no other. A request without a tuple would delete
/// all entries.
pub(super) fn request(connection: &TrackedConnection) -> NetfilterRequest {
    let TrackedConnection {
        protocol,
        replies,
        zone,
        identifier,
        ..
    } = connection;
    let (family, kinds) = if replies.source.is_ipv4() { V4 } else { V6 };
    let mut body = vec![family, 0, 0, 0];

    let replies = [
        part(ADDRESSES | NESTED, &addresses(replies, kinds)),
        part(PROTOCOL | NESTED, &above(*protocol, replies)),
    ];
    body.extend(part(REPLIES | NESTED, &replies.concat()));

    // A kernel without zones rejects the attribute.
    if *zone != 0 {
        body.extend(part(ZONE, &zone.to_be_bytes()));
    }

    body.extend(part(IDENTIFIER, &identifier.to_be_bytes()));
    NetfilterRequest { kind: DELETE, body }
}

fn addresses(ends: &ConnectionTuple, [source, destination]: [u16; 2]) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    [
        part(source, &octets(ends.source)),
        part(destination, &octets(ends.destination)),
    ]
    .concat()
}

/// Returns the protocol part of a tuple: the protocol, and its ports, keys or message.
fn above(protocol: Protocol, ends: &ConnectionTuple) -> Vec<u8> {
    let mut parts = part(NUMBER, &[protocol.number()]);
    if let Some(pair) = ends.ports.or(ends.keys) {
        let [source, destination] = PORTS;
        parts.extend(part(source, &pair.source.to_be_bytes()));
        parts.extend(part(destination, &pair.destination.to_be_bytes()));
    }

    if let Some((message, number)) = ends.message {
        let [identifier, kind, code] = if protocol == Protocol::ICMPV6 {
            ICMPV6
        } else {
            ICMP
        };
        parts.extend(part(identifier, &number.to_be_bytes()));
        parts.extend(part(kind, &[message.kind]));
        parts.extend(part(code, &[message.code]));
    }

    parts
}

/// Encodes an attribute: length, type and value, padded to four bytes.
fn part(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX); // no value here has more than some dozen bytes
    let mut part = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    part.extend(value);
    part.resize(part.len().next_multiple_of(4), 0);
    part
}
