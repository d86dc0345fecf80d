//! A question about a connection, and the cases that it stands for: one for each pair of endpoints
//! and for each pair of prefixes that nothing in the input tells apart.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::diagnostic::{Code, Diagnostic};
use crate::inventory::{EndpointId, EndpointKind, Inventory};
use crate::net::{Cidr, Direction, Family, Protocol, Side};
use crate::options::CompileOptions;
use crate::packet::endpoint_pattern::{EndpointPattern, PatternMembers};
use crate::packet::{Conversation, IcmpMessage, Party, PortPair};
use crate::packet_space::TrafficPattern;
use crate::packet_space::traffic_pattern::PatternKind;
use crate::policy::{AddressCondition, Rule};
use crate::resolve::ResolvedPolicy;
use crate::semantics::evaluate::Evaluator;
use crate::semantics::rule_match::side_of;

/// May someone send this to someone else?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The senders.
    pub from: EndpointPattern,
    /// The receivers.
    pub to: EndpointPattern,
    /// What is sent.
    pub traffic: QueryTraffic,
    /// The port it is sent from; none leaves the choice to us.
    pub source_port: Option<u16>,
}

/// What is sent: `tcp/443`, `icmp`, `icmp/8/0`, `proto/47`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryTraffic {
    /// The protocol.
    pub protocol: Protocol,
    /// The port it is sent to, of a protocol that has ports.
    pub port: Option<u16>,
    /// The type and the code of a control message, as far as they are given.
    pub message: (Option<u8>, Option<u8>),
}

/// One pair that a question stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryCase {
    /// The sender.
    pub from: QueryEnd,
    /// The receiver.
    pub to: QueryEnd,
    /// A flow between them; what policy says of it holds for every flow of the case.
    pub flow: Conversation,
}

/// An end of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueryEnd {
    /// An endpoint, at one of its addresses where it has any.
    Endpoint(EndpointId, Option<IpAddr>),
    /// Addresses of no endpoint that nothing in the input tells apart.
    Addresses(Cidr),
}

/// The first of the ports that nobody assigns (RFC 6335).
pub const SOURCE_PORT: u16 = 49_152;

/// Cases that one question may stand for.
const MOST_CASES: usize = 200_000;

/// Types of echo requests (RFC 792, RFC 4443).
const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;

impl FromStr for QueryTraffic {
    type Err = String;

    /// [`TrafficPattern`] that is one packet: one port, where the protocol has ports.
    fn from_str(text: &str) -> Result<Self, String> {
        let what: TrafficPattern = text.parse()?;
        let (protocol, port, message) = match what.kind() {
            PatternKind::Any => return Err("`any` is no one packet; write `tcp/443`".to_owned()),
            PatternKind::Protocol(protocol) if protocol.has_ports() => {
                return Err(format!("which port? write `{}/443`", protocol.keyword()));
            }
            PatternKind::Ports(_, range) if range.first() != range.last() => {
                return Err(format!("`{text}` is several ports; write one"));
            }
            PatternKind::Protocol(protocol) => (protocol, None, (None, None)),
            PatternKind::Ports(protocol, range) => (protocol, Some(range.first()), (None, None)),
            PatternKind::Messages(protocol, icmp) => (protocol, None, (Some(icmp.kind), icmp.code)),
        };

        Ok(Self {
            protocol,
            port,
            message,
        })
    }
}

impl QueryTraffic {
    /// The families it can be of.
    pub fn families(self) -> &'static [Family] {
        match self.protocol {
            Protocol::ICMP => &[Family::V4],
            Protocol::ICMPV6 => &[Family::V6],
            // no rule sees an extension header as the protocol of a packet
            protocol if protocol.is_ipv6_extension_header() => &[Family::V4],
            _ => &Family::BOTH,
        }
    }

    /// The control message: what is not given is an echo request, or code 0.
    pub fn icmp(self) -> Option<IcmpMessage> {
        let echo = match self.protocol {
            Protocol::ICMP => ECHO_V4,
            Protocol::ICMPV6 => ECHO_V6,
            _ => return None,
        };
        let (kind, code) = self.message;
        Some(IcmpMessage {
            kind: kind.unwrap_or(echo),
            code: code.unwrap_or(0),
        })
    }

    /// Whether a part of the control message is our choice.
    pub fn leaves_message_open(self) -> bool {
        self.icmp().is_some() && self.message.1.is_none()
    }
}

impl fmt::Display for QueryTraffic {
    /// `TCP port 443`, `ICMP type 8 code 0`, `protocol 47`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.protocol.to_string();
        match name.parse::<u8>() {
            Ok(number) => write!(out, "protocol {number}")?,
            Err(_) => out.write_str(&name)?,
        }
        match (self.port, self.icmp()) {
            (Some(port), _) => write!(out, " port {port}"),
            (None, Some(IcmpMessage { kind, code })) => write!(out, " type {kind} code {code}"),
            (None, None) => Ok(()),
        }
    }
}

impl Query {
    /// The ports of the flows.
    pub fn ports(&self) -> Option<PortPair> {
        let source = self.source_port.unwrap_or(SOURCE_PORT);
        self.traffic.port.map(|destination| PortPair {
            source,
            destination,
        })
    }

    /// The cases it stands for, in order; one at least. Neither policy nor what nodes do by these
    /// options tells the flows of a case apart.
    ///
    /// # Errors
    /// When an end is unknown, when no packet can go between the ends, or when the cases are too
    /// many.
    pub fn cases(
        &self,
        evaluator: &Evaluator<'_, '_>,
        options: &CompileOptions,
    ) -> Result<Vec<QueryCase>, Diagnostic> {
        let resolved = evaluator.matcher.resolved;
        let [from, to] = [&self.from, &self.to].map(|subject| subject.resolve(resolved.inventory));
        let (from, to) = (from?, to?);
        let mut cases = Vec::new();

        for family in self.traffic.families() {
            let [from, to] = [&from, &to].map(|members| ends(members, *family, evaluator, options));
            if cases.len() + from.len().saturating_mul(to.len()) > MOST_CASES {
                let message = format!(
                    "that is {} pairs to decide about, and {MOST_CASES} are the most",
                    from.len().saturating_mul(to.len())
                );
                return Err(Diagnostic::new(Code::NoAnswer, message)
                    .help("ask about a smaller CIDR, or about fewer endpoints"));
            }
            let pairs = from
                .iter()
                .flat_map(|from| to.iter().map(move |to| (*from, *to)));
            cases.extend(pairs.map(|(from, to)| self.case(from, to, *family)));
        }

        if cases.len() > 1 {
            cases.retain(|case| !is_with_itself(case, resolved.inventory));
        }

        if cases.is_empty() {
            Err(self.no_packet())
        } else {
            Ok(cases)
        }
    }

    fn case(&self, from: QueryEnd, to: QueryEnd, family: Family) -> QueryCase {
        let QueryTraffic { protocol, .. } = self.traffic;
        let flow = Conversation {
            source: from.party(),
            destination: to.party(),
            family,
            protocol,
            ports: self.ports(),
            icmp: self.traffic.icmp(),
        };
        QueryCase { from, to, flow }
    }

    fn no_packet(&self) -> Diagnostic {
        let family = match self.traffic.families() {
            [only] => {
                format!(
                    "`{}` and `{}` do not both have an address of {only}, which {} takes",
                    self.from, self.to, self.traffic.protocol
                )
            }
            _ => format!(
                "`{}` and `{}` do not both have an address of one family",
                self.from, self.to
            ),
        };
        Diagnostic::new(Code::NoAnswer, family)
    }
}

fn is_with_itself(case: &QueryCase, inventory: &Inventory) -> bool {
    is_itself(
        [case.flow.source.owner, case.flow.destination.owner],
        inventory,
    )
}

/// Whether both ends are one pod. What it says to itself never leaves it. A workload stands for
/// several pods.
pub(crate) fn is_itself(ends: [Option<EndpointId>; 2], inventory: &Inventory) -> bool {
    match ends {
        [Some(from), Some(to)] => {
            from == to && !matches!(inventory.endpoint(from).kind, EndpointKind::Workload(_))
        }
        [Some(_) | None, _] => false,
    }
}

impl QueryEnd {
    /// Who stands here; of several addresses the first.
    pub fn party(self) -> Party {
        match self {
            QueryEnd::Endpoint(id, address) => Party {
                owner: Some(id),
                address,
            },
            QueryEnd::Addresses(cidr) => Party {
                owner: None,
                address: Some(cidr.address()),
            },
        }
    }
}

/// The ends of a family that members stand for.
fn ends(
    members: &PatternMembers,
    family: Family,
    evaluator: &Evaluator<'_, '_>,
    options: &CompileOptions,
) -> Vec<QueryEnd> {
    match members {
        PatternMembers::Endpoints(ids) => ids
            .iter()
            .flat_map(|id| places(*id, family, evaluator.matcher.resolved.inventory))
            .collect(),
        PatternMembers::Addresses(cidr) if cidr.family() != family => Vec::new(),
        PatternMembers::Addresses(cidr) => {
            let mut pieces = Vec::new();
            split(
                *cidr,
                &cuts(*cidr, evaluator.matcher.resolved, options),
                &mut pieces,
            );
            let owner = |piece: Cidr| {
                evaluator
                    .matcher
                    .party(piece.address())
                    .owner
                    .filter(|_| piece == Cidr::host(piece.address()))
            };
            let end = |piece: Cidr| {
                owner(piece).map_or(QueryEnd::Addresses(piece), |id| {
                    QueryEnd::Endpoint(id, Some(piece.address()))
                })
            };
            pieces.into_iter().map(end).collect()
        }
    }
}

/// The addresses of a family that an endpoint has; itself where it has none of any.
fn places(id: EndpointId, family: Family, inventory: &Inventory) -> Vec<QueryEnd> {
    let addresses = &inventory.endpoint(id).addresses;
    if addresses.is_empty() {
        return vec![QueryEnd::Endpoint(id, None)];
    }
    let of_family = addresses
        .iter()
        .filter(|address| Cidr::host(**address).family() == family);
    of_family
        .map(|address| QueryEnd::Endpoint(id, Some(*address)))
        .collect()
}

/// Every prefix inside of another one that anything in the input tells from the rest of it.
fn cuts(within: Cidr, resolved: &ResolvedPolicy<'_>, options: &CompileOptions) -> Vec<Cidr> {
    let policies = resolved.policies;
    let of_policies = policies.policies().flat_map(|(_, policy)| {
        Direction::BOTH
            .into_iter()
            .filter_map(|direction| policy.rules(direction))
    });
    let of_profiles = policies
        .profiles
        .values()
        .flat_map(|profile| Direction::BOTH.map(|direction| profile.rules(direction)));
    let nets = of_policies.chain(of_profiles).flatten().flat_map(nets);
    let sets = policies
        .network_sets
        .iter()
        .flat_map(|set| set.nets.iter().copied());
    let hosts = policies
        .host_endpoints
        .iter()
        .flat_map(|host| &host.addresses);
    let failsafes = Direction::BOTH
        .into_iter()
        .flat_map(|direction| options.failsafes.in_direction(direction));
    let failsafes = failsafes
        .filter(|_| !policies.host_endpoints.is_empty())
        .filter_map(|failsafe| failsafe.net);
    let inventory = resolved.inventory;
    let endpoints = inventory
        .endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.addresses);
    let nodes = inventory.nodes.iter().flat_map(|node| &node.addresses);
    let services = inventory
        .services
        .values()
        .flat_map(|service| &service.addresses);
    let ranges = inventory
        .nodes
        .iter()
        .flat_map(|node| node.pod_ranges.iter().copied());
    let addresses = hosts
        .chain(endpoints)
        .chain(nodes)
        .chain(services)
        .copied()
        .map(Cidr::host);

    let mut cuts: Vec<Cidr> = nets
        .chain(sets)
        .chain(ranges)
        .chain(failsafes)
        .chain(addresses)
        .filter(|cut| within.contains(*cut) && *cut != within)
        .collect();
    cuts.sort_unstable();
    cuts.dedup();

    cuts
}

/// The prefixes that a rule names.
fn nets(rule: &Rule) -> impl Iterator<Item = Cidr> {
    Side::BOTH.into_iter().flat_map(|side| {
        let peer = side_of(rule, side);
        let wanted = match &peer.nets {
            AddressCondition::Any => &[][..],
            AddressCondition::In(nets) => nets,
        };
        wanted.iter().chain(&peer.not_nets).copied()
    })
}

/// Halves a prefix until no cut is strictly inside of a part.
fn split(whole: Cidr, cuts: &[Cidr], pieces: &mut Vec<Cidr>) {
    match whole.halves() {
        Some(halves) if !cuts.is_empty() => {
            for half in halves {
                let inside: Vec<Cidr> = cuts
                    .iter()
                    .copied()
                    .filter(|cut| half.contains(*cut) && *cut != half)
                    .collect();
                split(half, &inside, pieces);
            }
        }
        Some(_) | None => pieces.push(whole),
    }
}

/// The fewest prefixes that hold the same addresses.
pub fn joined(mut prefixes: Vec<Cidr>) -> Vec<Cidr> {
    prefixes.sort_unstable();
    let mut joined: Vec<Cidr> = Vec::new();
    for prefix in prefixes {
        let mut last = prefix;
        while let Some(around) = joined.last().and_then(|left| sibling(*left, last)) {
            joined.pop();
            last = around;
        }
        joined.push(last);
    }

    joined
}

/// The prefix of which these are the halves.
fn sibling(left: Cidr, right: Cidr) -> Option<Cidr> {
    let around = Cidr::around(left.address(), left.prefix().checked_sub(1)?)?;
    (around.halves() == Some([left, right])).then_some(around)
}
