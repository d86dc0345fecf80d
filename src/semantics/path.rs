//! The nodes that the first packet of a flow passes, and the verdict expected on each of them.
//!
//! In: an [`Evaluator`], the [`CompileOptions`] of the compile, and a flow. Out: its [`NodeHop`]s
//! in order: the sender's node, then the receiver's node. An address belongs to an endpoint, else
//! to a node (its own address, or that of one of its host endpoints), else to the node whose pod
//! range contains it, else to the outside. Absent: routes, NAT, and intermediate nodes, which the
//! input does not describe.
//!
//! The input does not say which interface a packet arrives on or leaves by, but host endpoints
//! apply to interfaces. Palisade therefore assumes an interface: that of the host endpoint that has
//! the packet's own address there, else that of the host endpoint that has an address of the node.
//! If there is none or more than one, Palisade assumes the interface at which the most is denied.
//! [`AssumedInterface`] reports the assumption wherever another interface would change the result.
//!
//! Cost: once, all addresses of nodes and host endpoints; then, for each flow, a few evaluations on
//! two nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::inventory::{EndpointId, NodeId};
use crate::net::{Cidr, Direction, Side, State};
use crate::options::CompileOptions;
use crate::packet::{Conversation, Flow, Hook, LOOPBACK, Packet, Party, ReversePath, Verdict};
use crate::resolve::HostsOnNode;
use crate::semantics::ForgedSource;
use crate::semantics::evaluate::{Evaluator, PolicySubject};
use crate::semantics::node::{ExpectedVerdict, NodeSemantics, VerdictCause};

/// Finds the nodes that flows pass.
#[derive(Debug)]
pub struct FlowRouter<'eval, 'resolved, 'input> {
    evaluator: &'eval Evaluator<'resolved, 'input>,
    options: &'eval CompileOptions,
    of_nodes: FxHashMap<IpAddr, NodeId>,
    ranges: Vec<(Cidr, NodeId)>,
    known: BTreeMap<NodeId, NodeContext<'eval, 'resolved, 'input>>,
}

/// One node that a flow passes.
#[derive(Debug, Clone)]
pub struct NodeHop<'input> {
    /// The node.
    pub node: NodeId,
    /// The packet as this node sees it.
    pub packet: Packet,
    /// The expected verdict on this node.
    pub expected: ExpectedVerdict<'input>,
    /// `true` if the node itself sends the packet to one of its endpoints. Such packets meet no
    /// policy (semantics §9.15).
    pub is_probe: bool,
    /// The endpoints of this node that send and receive the packet.
    pub endpoints: [Option<EndpointId>; 2],
    /// The assumed interface to the network; `None` if another interface would make no difference.
    pub assumed: Option<AssumedInterface>,
    /// What happens to a packet with this source that arrives on a wrong interface. `None` if the
    /// source is not a pod's address, or if the packet does not arrive over an interface.
    pub forged: Option<ForgedSource>,
}

/// An interface that the input does not determine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssumedInterface {
    /// The assumed interface; `None` for an interface that no host endpoint names.
    pub interface: Option<String>,
    /// Ingress if the packet arrives on the interface, egress if it leaves by it.
    pub direction: Direction,
    /// Why this interface is assumed.
    pub because: AssumptionReason,
    /// The interfaces that would change the result, each with `true` if it would let the packet
    /// pass.
    pub others: Vec<(Option<String>, bool)>,
}

/// Why an interface is assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssumptionReason {
    /// Its host endpoint has the packet's address on this node.
    HasPacketsAddress,
    /// Its host endpoint has an address of the node.
    HasNodesAddress,
    /// No other interface denies more.
    Strictest,
}

/// A node with its host endpoints.
#[derive(Debug)]
struct NodeContext<'eval, 'resolved, 'input> {
    node: NodeSemantics<'eval, 'resolved, 'input>,
    hosts: HostsOnNode,
}

/// The location of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressLocation {
    Endpoint(NodeId),
    Host(NodeId),
    Outside,
}

/// What a packet crosses between a node and one end of the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathSegment {
    Endpoint,
    Network,
    Loopback,
}

/// A [`Hook`] whose interfaces have no names yet.
#[derive(Debug, Clone, Copy)]
enum HookPath {
    Forward(PathSegment, PathSegment),
    Input(PathSegment),
    Output(PathSegment),
}

impl<'eval, 'resolved, 'input> FlowRouter<'eval, 'resolved, 'input> {
    /// Builds a router. Indexes the addresses of all nodes and host endpoints.
    pub fn new(
        evaluator: &'eval Evaluator<'resolved, 'input>,
        options: &'eval CompileOptions,
    ) -> Self {
        let resolved = evaluator.resolved();
        let inventory = resolved.inventory;
        let nodes = || inventory.nodes_with_ids();
        let own =
            nodes().flat_map(|(id, node)| node.addresses.iter().map(move |address| (*address, id)));
        let hosts = resolved
            .host_endpoints_with_ids()
            .filter_map(|(_, host)| Some((host, inventory.find_node(&host.node)?)));
        let of_hosts =
            hosts.flat_map(|(host, id)| host.addresses.iter().map(move |address| (*address, id)));
        // `collect` keeps the last value of a key, so a node's own addresses win
        let of_nodes = of_hosts.chain(own).collect();
        let ranges = nodes()
            .flat_map(|(id, node)| node.pod_ranges.iter().map(move |range| (*range, id)))
            .collect();

        Self {
            evaluator,
            options,
            of_nodes,
            ranges,
            known: BTreeMap::new(),
        }
    }

    /// Returns the options that determine the expected verdicts.
    pub fn options(&self) -> &'eval CompileOptions {
        self.options
    }

    /// Returns the nodes that a flow passes, in order. Empty if an end has no address or if no end
    /// is in the cluster.
    pub fn stops(&mut self, conversation: &Conversation) -> Vec<NodeHop<'input>> {
        let Some(flow) = conversation.flow() else {
            return Vec::new();
        };

        let [from, to] = Side::BOTH.map(|side| self.place(conversation.party(side)));
        let courses = match (from, to) {
            (AddressLocation::Endpoint(node), AddressLocation::Endpoint(other))
                if node == other =>
            {
                vec![(
                    node,
                    HookPath::Forward(PathSegment::Endpoint, PathSegment::Endpoint),
                )]
            }
            (AddressLocation::Endpoint(node), AddressLocation::Host(other)) if node == other => {
                vec![(node, HookPath::Input(PathSegment::Endpoint))]
            }
            (AddressLocation::Host(node), AddressLocation::Endpoint(other)) if node == other => {
                vec![(node, HookPath::Output(PathSegment::Endpoint))]
            }
            // the kernel sends packets to its own addresses over `lo`, and they pass both hooks
            (AddressLocation::Host(node), AddressLocation::Host(other)) if node == other => {
                vec![
                    (node, HookPath::Output(PathSegment::Loopback)),
                    (node, HookPath::Input(PathSegment::Loopback)),
                ]
            }
            (from, to) => sending(from).into_iter().chain(receiving(to)).collect(),
        };
        courses
            .into_iter()
            .map(|(node, course)| self.stop(node, course, &flow))
            .collect()
    }

    fn place(&self, party: Party) -> AddressLocation {
        if let Some(owner) = party.owner {
            return self
                .evaluator
                .resolved()
                .inventory
                .endpoint(owner)
                .node
                .map_or(AddressLocation::Outside, AddressLocation::Endpoint);
        }
        let Some(address) = party.address else {
            return AddressLocation::Outside;
        };

        match self.of_nodes.get(&address) {
            Some(node) => AddressLocation::Host(*node),
            None => {
                let around = self.ranges.iter().find(|(range, _)| range.holds(address));
                around.map_or(AddressLocation::Outside, |(_, node)| {
                    // an address in a pod range may be a pod's that the input does not list
                    AddressLocation::Endpoint(*node)
                })
            }
        }
    }

    fn stop(&mut self, id: NodeId, course: HookPath, flow: &Flow) -> NodeHop<'input> {
        let (evaluator, options) = (self.evaluator, self.options);
        let known = self.known.entry(id).or_insert_with(|| NodeContext {
            node: NodeSemantics::new(evaluator, id, options),
            hosts: evaluator.resolved().hosts_on(id),
        });
        let inventory = evaluator.resolved().inventory;
        let (assumed, packet, expected) =
            known.decide(course, flow, &inventory.node(id).addresses, evaluator);
        let here = |owner: &EndpointId| inventory.endpoint(*owner).node == Some(id);
        let endpoints = Side::BOTH.map(|side| evaluator.owner(flow.address(side)).filter(here));
        let [_, receiver] = endpoints;
        let is_probe = matches!(packet.hook, Hook::Output { .. })
            && expected.cause == VerdictCause::Nothing
            && receiver.is_some();
        let forged = known.node.forged(&packet);

        NodeHop {
            node: id,
            packet,
            expected,
            is_probe,
            endpoints,
            assumed,
            forged,
        }
    }
}

impl NodeHop<'_> {
    /// Returns `true` if the subject is an endpoint of this node that sends or receives the packet.
    pub(crate) fn is_at(&self, whose: PolicySubject) -> bool {
        self.endpoints
            .iter()
            .flatten()
            .any(|id| PolicySubject::Endpoint(*id) == whose)
    }
}

fn sending(from: AddressLocation) -> Option<(NodeId, HookPath)> {
    match from {
        AddressLocation::Endpoint(node) => Some((
            node,
            HookPath::Forward(PathSegment::Endpoint, PathSegment::Network),
        )),
        AddressLocation::Host(node) => Some((node, HookPath::Output(PathSegment::Network))),
        AddressLocation::Outside => None,
    }
}

fn receiving(to: AddressLocation) -> Option<(NodeId, HookPath)> {
    match to {
        AddressLocation::Endpoint(node) => Some((
            node,
            HookPath::Forward(PathSegment::Network, PathSegment::Endpoint),
        )),
        AddressLocation::Host(node) => Some((node, HookPath::Input(PathSegment::Network))),
        AddressLocation::Outside => None,
    }
}

impl HookPath {
    /// Returns the direction in which the packet crosses the interface to the network, or `None` if
    /// it does not cross it.
    fn on_network(self) -> Option<Direction> {
        match self {
            HookPath::Forward(PathSegment::Network, _) | HookPath::Input(PathSegment::Network) => {
                Some(Direction::Ingress)
            }
            HookPath::Forward(_, PathSegment::Network) | HookPath::Output(PathSegment::Network) => {
                Some(Direction::Egress)
            }
            HookPath::Forward(..) | HookPath::Input(_) | HookPath::Output(_) => None,
        }
    }

    /// Returns the flow's address that belongs to the node itself, or `None` for a forwarded
    /// packet.
    fn own_address(self, flow: &Flow) -> Option<IpAddr> {
        match self {
            HookPath::Forward(..) => None,
            HookPath::Input(_) => Some(flow.destination),
            HookPath::Output(_) => Some(flow.source),
        }
    }

    fn hook(self, name: impl Fn(PathSegment) -> String) -> Hook {
        match self {
            HookPath::Forward(arrives, leaves) => Hook::Forward {
                arrives: name(arrives),
                leaves: name(leaves),
            },
            HookPath::Input(arrives) => Hook::Input {
                arrives: name(arrives),
            },
            HookPath::Output(leaves) => Hook::Output {
                leaves: name(leaves),
            },
        }
    }
}

impl<'input> NodeContext<'_, '_, 'input> {
    /// Chooses the interface and returns the assumption, the packet and the expected verdict there.
    fn decide(
        &self,
        course: HookPath,
        flow: &Flow,
        own: &[IpAddr],
        evaluator: &Evaluator<'_, 'input>,
    ) -> (Option<AssumedInterface>, Packet, ExpectedVerdict<'input>) {
        let packet = |uplink: Option<&str>| Packet {
            flow: *flow,
            original: None,
            hook: course.hook(|link| self.interface(link, uplink)),
            state: State::New,
            reverse_path: ReversePath::Arriving,
        };
        let expect = |uplink: Option<&str>| self.node.expect(&packet(uplink));

        let Some(direction) = course
            .on_network()
            .filter(|_| !self.hosts.interfaces.is_empty())
        else {
            return (None, packet(None), expect(None));
        };

        let (likely, because) = self.likely(course.own_address(flow), own, evaluator);
        // the safe assumption: an interface that drops, if any likely one does
        let strictest = likely
            .iter()
            .find(|uplink| expect(**uplink).verdict == Verdict::Drop);
        let interface = strictest.or(likely.first()).copied().flatten();
        let expected = expect(interface);
        let all = self
            .uplinks()
            .map(|uplink| (uplink.map(str::to_owned), expect(uplink)));
        let fate = |expected: &ExpectedVerdict<'_>| {
            (expected.verdict == Verdict::Drop, expected.is_untracked)
        };
        let differing = all.filter(|(_, other)| fate(other) != fate(&expected));
        let others: Vec<(Option<String>, bool)> = differing
            .map(|(uplink, other)| (uplink, other.verdict != Verdict::Drop))
            .collect();
        // the packet's own address on a host endpoint leaves no doubt about the interface
        let is_open = !others.is_empty() && because != AssumptionReason::HasPacketsAddress;

        let assumed = is_open.then(|| AssumedInterface {
            interface: interface.map(str::to_owned),
            direction,
            because,
            others,
        });
        (assumed, packet(interface), expected)
    }

    /// Returns every interface that may lead to the network and that policy distinguishes, likelier
    /// ones first. `None` stands for interfaces that no host endpoint names; a host endpoint for
    /// all interfaces applies to them.
    fn uplinks(&self) -> impl Iterator<Item = Option<&str>> {
        let has_others = self.hosts.everywhere.is_some();
        let named = self.hosts.interfaces.keys().map(|name| Some(name.as_str()));
        let unnamed = |wanted| (has_others == wanted).then_some(None);
        unnamed(true).into_iter().chain(named).chain(unnamed(false))
    }

    /// Returns the interfaces that the packet likely passes; never empty.
    fn likely(
        &self,
        packets: Option<IpAddr>,
        own: &[IpAddr],
        evaluator: &Evaluator<'_, 'input>,
    ) -> (Vec<Option<&str>>, AssumptionReason) {
        let with = |wanted: &[IpAddr]| -> Vec<Option<&str>> {
            let has = |id| {
                evaluator
                    .resolved()
                    .host_endpoint(id)
                    .is_some_and(|host| wanted.iter().any(|own| host.addresses.contains(own)))
            };
            self.hosts
                .interfaces
                .iter()
                .filter(|(_, id)| has(**id))
                .map(|(name, _)| Some(name.as_str()))
                .collect()
        };

        let of_packet: Vec<Option<&str>> =
            packets.map(|address| with(&[address])).unwrap_or_default();
        match (of_packet.len(), with(own)) {
            (1, _) => (of_packet, AssumptionReason::HasPacketsAddress),
            (_, of_node) if of_node.len() == 1 => (of_node, AssumptionReason::HasNodesAddress),
            (_, _) => (self.uplinks().collect(), AssumptionReason::Strictest),
        }
    }

    /// Returns a name for an interface. An interface without a name gets one that no host endpoint
    /// uses.
    fn interface(&self, link: PathSegment, uplink: Option<&str>) -> String {
        let unnamed = |word: &str| {
            let mut name = word.to_owned();
            while self.hosts.interfaces.contains_key(&name) {
                name.push('-');
            }
            name
        };

        match (link, uplink) {
            (PathSegment::Loopback, _) => LOOPBACK.to_owned(),
            (PathSegment::Network, Some(name)) => name.to_owned(),
            (PathSegment::Network, None) => unnamed("network"),
            (PathSegment::Endpoint, _) => unnamed("pod"),
        }
    }
}
