//! Entries of the kernel's conntrack table, as `conntrack` prints them.

use std::net::IpAddr;

use crate::net::{Family, Protocol};
use crate::packet::{Flow, IcmpMessage, PortPair, PreDnatDestination};

/// A known connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackedConnection {
    /// The protocol.
    pub protocol: Protocol,
    /// Tuple of the first packet, before any NAT.
    pub sent: ConnectionTuple,
    /// Tuple of the replies, before NAT is reversed.
    pub replies: ConnectionTuple,
    /// The conntrack zone. 0 if there is none.
    pub zone: u16,
    /// The kernel's identifier of the entry, derived from the first packet and the entry's memory
    /// address.
    pub identifier: u32,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionTuple {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The ports, for a protocol with ports.
    pub ports: Option<PortPair>,
    /// The message and its identifier, for ICMP and ICMPv6.
    pub message: Option<(IcmpMessage, u16)>,
    /// The keys, for GRE. Policy cannot match them.
    pub keys: Option<PortPair>,
}

impl TrackedConnection {
    /// Parses a listing. Returns the entries, and the number of lines that could not be parsed.
    pub fn read_all(text: &str) -> (Vec<Self>, usize) {
        let read: Vec<Option<Self>> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(Self::read)
            .collect();
        let unread = read.iter().filter(|entry| entry.is_none()).count();
        (read.into_iter().flatten().collect(), unread)
    }

    /// Parses `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=…
    /// dport=… [ASSURED] mark=0 use=1 id=7`. Returns `None` for any other form.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let family = match words.next()? {
            "ipv4" => Family::V4,
            "ipv6" => Family::V6,
            _ => return None,
        };
        let protocol = Protocol::from_number(words.nth(2)?.parse().ok()?)?;
        let pairs: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let second = pairs
            .iter()
            .enumerate()
            .filter(|(_, pair)| pair.0 == "src")
            .nth(1)?
            .0;
        let (sent, replies) = (
            ConnectionTuple::read(pairs.get(..second)?, protocol)?,
            ConnectionTuple::read(pairs.get(second..)?, protocol)?,
        );
        let zone = match pairs.iter().find(|pair| pair.0.starts_with("zone")) {
            Some(pair) if pair.0 == "zone" => pair.1.parse().ok()?,
            Some(_) => return None, // a zone for each direction
            None => 0,
        };
        // ICMP has an `id` of its own, before `use`.
        let behind = pairs.iter().skip_while(|pair| pair.0 != "use");
        let identifier = behind
            .into_iter()
            .find(|pair| pair.0 == "id")?
            .1
            .parse()
            .ok()?;
        let addresses = [
            sent.source,
            sent.destination,
            replies.source,
            replies.destination,
        ];

        let is_of_family = addresses
            .iter()
            .all(|address| address.is_ipv4() == (family == Family::V4));
        is_of_family.then_some(Self {
            protocol,
            sent,
            replies,
            zone,
            identifier,
        })
    }

    /// Returns the first packet as the filter table sees it: after destination NAT, before source
    /// NAT.
    pub fn flow(&self) -> Flow {
        let ports = self.sent.ports.zip(self.replies.ports);
        let ports = ports.map(|(sent, replies)| PortPair {
            source: sent.source,
            destination: replies.source,
        });
        let icmp = self.sent.message.map(|(message, _)| message);

        Flow {
            source: self.sent.source,
            destination: self.replies.source,
            protocol: self.protocol,
            ports,
            icmp,
        }
    }

    /// Returns the destination before NAT, or `None` if it was not translated.
    pub fn original(&self) -> Option<PreDnatDestination> {
        let flow = self.flow();
        let original = PreDnatDestination {
            address: self.sent.destination,
            port: self.sent.ports.map(|ports| ports.destination),
        };
        let is_same = original.address == flow.destination
            && original.port == flow.ports.map(|ports| ports.destination);
        (!is_same).then_some(original)
    }
}

impl ConnectionTuple {
    fn read(pairs: &[(&str, &str)], protocol: Protocol) -> Option<Self> {
        let value = |key: &str| pairs.iter().find(|pair| pair.0 == key).map(|pair| pair.1);
        let ports = match (value("sport"), value("dport")) {
            (Some(source), Some(destination)) => Some(PortPair {
                source: source.parse().ok()?,
                destination: destination.parse().ok()?,
            }),
            (None, None) => None,
            _ => return None,
        };

        let message = match (value("type"), value("code"), value("id")) {
            (Some(kind), Some(code), Some(id)) => Some((
                IcmpMessage {
                    kind: kind.parse().ok()?,
                    code: code.parse().ok()?,
                },
                id.parse().ok()?,
            )),
            _ => None,
        };
        let key = |name| u16::from_str_radix(value(name)?.strip_prefix("0x")?, 16).ok();
        let keys = key("srckey")
            .zip(key("dstkey"))
            .map(|(source, destination)| PortPair {
                source,
                destination,
            });
        let is_whole = match protocol {
            Protocol::TCP | Protocol::UDP | Protocol::SCTP | Protocol::UDPLITE => ports.is_some(),
            Protocol::ICMP | Protocol::ICMPV6 => message.is_some(),
            _ => true,
        };

        let ends = Self {
            source: value("src")?.parse().ok()?,
            destination: value("dst")?.parse().ok()?,
            ports,
            message,
            keys,
        };
        is_whole.then_some(ends)
    }
}
