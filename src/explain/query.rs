//! Questions about connections. A question stands for several cases: one for each pair of
//! endpoints, and one for each pair of prefixes that nothing in the input distinguishes.

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

/// A question: may the senders send this traffic to the receivers?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The senders.
    pub from: EndpointPattern,
    /// The receivers.
    pub to: EndpointPattern,
    /// The traffic.
    pub traffic: QueryTraffic,
    /// The source port; `None` means [`SOURCE_PORT`].
    pub source_port: Option<u16>,
}

/// The traffic of a question: `tcp/443`, `icmp`, `icmp/8/0`, `proto/47`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryTraffic {
    /// The protocol.
    pub protocol: Protocol,
    /// The destination port; `None` if the protocol has no ports.
    pub port: Option<u16>,
    /// The ICMP type and code; `None` where the question does not say.
    pub message: (Option<u8>, Option<u8>),
}

/// One pair of ends that a question stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryCase {
    /// The sender.
    pub from: QueryEnd,
    /// The receiver.
    pub to: QueryEnd,
    /// A flow between the ends. Policy treats every flow of the case alike.
    pub flow: Conversation,
}

/// An end of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueryEnd {
    /// An endpoint at one of its addresses; `None` if it has no address yet.
    Endpoint(EndpointId, Option<IpAddr>),
    /// Addresses without an endpoint that nothing in the input distinguishes.
    Addresses(Cidr),
}

/// The first of the dynamic ports (RFC 6335).
pub const SOURCE_PORT: u16 = 49_152;

/// The maximum number of cases of one question.
const MOST_CASES: usize = 200_000;

/// The ICMP types of echo requests (RFC 792, RFC 4443).
const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;

impl FromStr for QueryTraffic {
    type Err = String;

    /// Parses a [`TrafficPattern`] that stands for one packet: a single port if the protocol has
    /// ports.
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
    /// Returns the families in which this traffic exists.
    pub fn families(self) -> &'static [Family] {
        match self.protocol {
            Protocol::ICMP => &[Family::V4],
            Protocol::ICMPV6 => &[Family::V6],
            // the kernel skips extension headers, so no rule sees one as the protocol of a packet
            protocol if protocol.is_ipv6_extension_header() => &[Family::V4],
            _ => &Family::BOTH,
        }
    }

    /// Returns the ICMP message. Echo request and code 0 are the defaults.
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

    /// Returns `true` if a part of the ICMP message is a default.
    pub fn leaves_message_open(self) -> bool {
        self.icmp().is_some() && self.message.1.is_none()
    }
}

impl fmt::Display for QueryTraffic {
    /// Prints `TCP port 443`, `ICMP type 8 code 0` or `protocol 47`.
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
    /// Returns the ports of the flows.
    pub fn ports(&self) -> Option<PortPair> {
        let source = self.source_port.unwrap_or(SOURCE_PORT);
        self.traffic.port.map(|destination| PortPair {
            source,
            destination,
        })
    }

    /// Returns the cases of the question, in order; never empty. Neither policy nor nodes with
    /// these options distinguish the flows of a case.
    ///
    /// # Errors
    /// If an end is unknown, if no packet can go between the ends, or if there are too many cases.
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
            // checked before the pairs exist: their number is a product
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

        // a question about one pod and itself is still answered
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

/// Returns `true` if both ends are the same pod, whose traffic to itself never leaves it. A
/// workload stands for several pods, so it is not `itself`.
pub(crate) fn is_itself(ends: [Option<EndpointId>; 2], inventory: &Inventory) -> bool {
    match ends {
        [Some(from), Some(to)] => {
            from == to && !matches!(inventory.endpoint(from).kind, EndpointKind::Workload(_))
        }
        [Some(_) | None, _] => false,
    }
}

impl QueryEnd {
    /// Returns the party of this end. A prefix is represented by its first address.
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

/// Returns the ends of one family that a pattern's members stand for.
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
                    // endpoint addresses are cuts, so an endpoint is alone in its piece
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

/// Returns the endpoint at each of its addresses of a family, or without address if it has none in
/// any family.
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

/// Returns every prefix inside `within` that anything in the input distinguishes from the rest.
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
    // failsafe ports only apply where there are host endpoints
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

/// Returns the prefixes that a rule names.
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

/// Halves a prefix until no cut is strictly inside a part.
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

/// Returns the fewest prefixes that cover the same addresses. The prefixes must be disjoint.
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

/// Returns the prefix whose halves these are, or `None` if they are not halves of one prefix.
fn sibling(left: Cidr, right: Cidr) -> Option<Cidr> {
    let around = Cidr::around(left.address(), left.prefix().checked_sub(1)?)?;
    (around.halves() == Some([left, right])).then_some(around)
}
