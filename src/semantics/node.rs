//! The verdict that a node must give to a packet, from policy, options and the packet's hook,
//! without chains.
//!
//! In: an [`Evaluator`] of resolved policy, a node, the [`CompileOptions`] of the compile, and a
//! [`Packet`]. Out: an [`ExpectedVerdict`] with the policy lists that led to it. Absent: `lower`
//! and every other model of chains. The result is therefore an independent reference for what
//! `netfilter` computes from scripts.
//!
//! A packet passes the stages of its hook (semantics §7.4). The first stage that decides ends the
//! evaluation:
//!
//! - arriving: source validation, then untracked policy, then pre-DNAT policy, of the host endpoint
//!   of the input interface
//! - forwarded: unknown addresses in the node's pod ranges, forward policy of the host endpoints of
//!   the input and the output interface, egress policy of the sending endpoint, ingress policy of
//!   the receiving endpoint
//! - input: egress policy of the sending endpoint, unknown addresses, normal policy of the host
//!   endpoint
//! - output: untracked policy, then normal policy, of the host endpoint of the output interface,
//!   unless an endpoint of this node receives the packet
//!
//! If untracked or pre-DNAT policy allows a packet, no further ingress policy of the host endpoint
//! is evaluated. Policy of pods is still evaluated.

use crate::inventory::{EndpointId, NodeId};
use crate::net::{Direction, Family, Protocol, Side, State};
use crate::options::{
    CompileOptions, Encapsulated, EndpointToHost, FailsafePort, SourceValidation, UnknownEndpoint,
};
use crate::packet::{Flow, Hook, LOOPBACK, Packet, ReversePath, Verdict};
use crate::policy::PolicyListKind;
use crate::resolve::{HostEndpointId, HostsOnNode, ResolvedPolicy};
use crate::semantics::ForgedSource;
use crate::semantics::evaluate::{Evaluator, ListOutcome, ListTrace};
use crate::semantics::source_validation::{self, SourceClaim, SourceValidator};

/// One node, with everything that its expected verdicts depend on.
#[derive(Debug)]
pub struct NodeSemantics<'eval, 'resolved, 'input> {
    evaluator: &'eval Evaluator<'resolved, 'input>,
    node: NodeId,
    options: &'eval CompileOptions,
    hosts: HostsOnNode,
    validation: SourceValidator,
}

/// The expected verdict for a packet, and its cause.
#[derive(Debug, Clone)]
pub struct ExpectedVerdict<'input> {
    /// The verdict.
    pub verdict: Verdict,
    /// `true` if policy makes the packet untracked.
    pub is_untracked: bool,
    /// What decides the verdict.
    pub cause: VerdictCause,
    /// The evaluated policy lists, in order. If the cause is policy, the last one decides.
    pub passages: Vec<ListTrace<'input>>,
}

/// What decides the verdict for a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VerdictCause {
    /// Policy, or profiles after it.
    Policy,
    /// The packet belongs to a known connection (semantics §9.14).
    KnownConnection,
    /// The packet belongs to no connection: its state is INVALID (semantics §9.14).
    NoConnection,
    /// The packet is an IPv6 neighbour discovery or multicast listener message (semantics §9.16).
    Neighbour,
    /// The packet is for a failsafe port of a host endpoint.
    Failsafe,
    /// The source is a pod's address, and no packet of that pod arrives on this interface
    /// (semantics §9.27).
    SpoofedSource,
    /// An address in the node's pod ranges belongs to no endpoint (semantics §9.17).
    UnknownEndpoint,
    /// An endpoint sends encapsulated traffic (semantics §9.16).
    Encapsulated,
    /// An endpoint sends to its node, and the options drop that (semantics §9.15).
    EndpointToHost,
    /// No policy and no option decides; the packet is left to other rules.
    Nothing,
}

/// ICMPv6 types of neighbour discovery and multicast listener discovery (RFC 2710, RFC 3810, RFC
/// 4861).
pub(crate) const NEIGHBOUR_MESSAGES: [u8; 7] = [130, 131, 132, 133, 135, 136, 143];
/// The UDP port of VXLAN (RFC 7348).
pub(crate) const VXLAN_PORT: u16 = 4789;
/// The protocol number of IP in IP (RFC 2003).
pub(crate) const IPIP: u8 = 4;

/// A verdict and its cause.
type VerdictReason = (Verdict, VerdictCause);

/// The evaluation of one packet on one node.
struct NodeWalk<'way, 'eval, 'resolved, 'input> {
    node: &'way NodeSemantics<'eval, 'resolved, 'input>,
    packet: &'way Packet,
    state: State,
    /// `true` once untracked or pre-DNAT policy has allowed the packet.
    is_let_through: bool,
    passages: Vec<ListTrace<'input>>,
}

impl<'eval, 'resolved, 'input> NodeSemantics<'eval, 'resolved, 'input> {
    /// Builds the semantics of a node of the evaluator's cluster.
    pub fn new(
        evaluator: &'eval Evaluator<'resolved, 'input>,
        node: NodeId,
        options: &'eval CompileOptions,
    ) -> Self {
        let validation = SourceValidator::new(evaluator.resolved(), node);
        Self {
            evaluator,
            node,
            options,
            hosts: evaluator.resolved().hosts_on(node),
            validation,
        }
    }

    /// Returns the expected verdict for a packet.
    pub fn expect(&self, packet: &Packet) -> ExpectedVerdict<'input> {
        let mut journey = NodeWalk {
            node: self,
            packet,
            state: packet.state,
            is_let_through: false,
            passages: Vec::new(),
        };
        let fate = match &packet.hook {
            Hook::Forward { arrives, leaves } => journey
                .arriving(arrives)
                .or_else(|| journey.forwarded(arrives, leaves)),
            Hook::Input { arrives } => journey
                .arriving(arrives)
                // local delivery is decided after PREROUTING, so the early stages are the same as
                // for FORWARD
                .or_else(|| journey.received(arrives)),
            Hook::Output { leaves } => journey
                .untracked(leaves, Direction::Egress)
                .or_else(|| journey.emitted(leaves)),
        };
        let (verdict, cause) = fate.unwrap_or((Verdict::Undecided, VerdictCause::Nothing));

        ExpectedVerdict {
            verdict,
            is_untracked: journey.state == State::Untracked,
            cause,
            passages: journey.passages,
        }
    }

    /// Returns what the node does to a packet with this source that arrives on another interface
    /// than the one that the route back uses. Returns `None` if the source is not a pod's address,
    /// or if the packet does not arrive over an interface.
    pub(crate) fn forged(&self, packet: &Packet) -> Option<ForgedSource> {
        let arrives = packet.hook.arrives().filter(|name| *name != LOOPBACK)?;
        let claim = self.claim(&packet.flow);
        let is_dropped = |path| source_validation::drops(self.options, claim, arrives, path);
        if claim == SourceClaim::Nobody {
            return None;
        }

        Some(match self.options.source_validation {
            SourceValidation::Off => ForgedSource::Passed,
            SourceValidation::Log => ForgedSource::Logged,
            SourceValidation::Strict | SourceValidation::Loose => {
                let is_strict = is_dropped(ReversePath::Elsewhere);
                if is_strict {
                    ForgedSource::Dropped
                } else {
                    ForgedSource::DroppedWithoutRoute
                }
            }
        })
    }

    /// Returns whether the source address of a flow belongs to a pod, and on which node.
    fn claim(&self, flow: &Flow) -> SourceClaim {
        let owner = self.evaluator.owner(flow.source);
        // an endpoint's address outside of all pod ranges is a claim too
        let is_here = owner.map(|_| self.local(flow, Side::Source).is_some());
        self.validation.claim(flow.source, is_here)
    }

    fn resolved(&self) -> &'resolved ResolvedPolicy<'input> {
        self.evaluator.resolved()
    }

    /// Returns the host endpoint that a flow meets at an interface: the interface's own, else the
    /// one that has the node's address, else the one for all interfaces. The last one governs
    /// interfaces of pods too (semantics §9.36).
    fn matching_host_endpoint(
        &self,
        interface: &str,
        direction: Direction,
        flow: &Flow,
    ) -> Option<HostEndpointId> {
        let near = match direction {
            Direction::Ingress => Side::Destination,
            Direction::Egress => Side::Source,
        };
        // on the way in the packet's destination can be the node's own address, on the way out its
        // source
        let named = self.hosts.interfaces.get(interface).copied();
        let has = |id: &HostEndpointId| {
            let host = self.resolved().host_endpoint(*id);
            host.is_some_and(|host| host.addresses.contains(&flow.address(near)))
        };

        let by_address = || self.hosts.addresses.iter().copied().find(has);
        named.or_else(by_address).or(self.hosts.everywhere)
    }

    /// Returns the endpoint of this node at one side of a flow.
    fn local(&self, flow: &Flow, side: Side) -> Option<EndpointId> {
        let owner = self.evaluator.owner(flow.address(side));
        owner.filter(|id| self.resolved().inventory.endpoint(*id).node == Some(self.node))
    }

    /// Returns `true` if the options drop unknown endpoints, the address is in the node's pod
    /// ranges, and no endpoint of any node has it.
    fn is_unknown(&self, flow: &Flow, side: Side) -> bool {
        let address = flow.address(side);
        let in_range = || {
            self.resolved()
                .inventory
                .node(self.node)
                .pod_ranges
                .iter()
                .any(|range| range.holds(address))
        };

        self.options.unknown_endpoint == UnknownEndpoint::Drop
            && in_range()
            && self.evaluator.owner(address).is_none()
    }

    /// Returns `true` if a flow is for a failsafe port. With `with_replies`, also if its source
    /// port is a failsafe port of the other direction: before connection tracking, replies are
    /// recognised by their port only.
    fn is_failsafe(&self, flow: &Flow, direction: Direction, with_replies: bool) -> bool {
        let (far, other) = match direction {
            Direction::Ingress => (Side::Source, Direction::Egress),
            Direction::Egress => (Side::Destination, Direction::Ingress),
        };
        let is = |failsafe: &FailsafePort, side: Side| {
            failsafe.protocol == flow.protocol
                && failsafe.net.is_none_or(|net| net.holds(flow.address(far)))
                && flow
                    .port(side)
                    .is_some_and(|port| failsafe.port.holds(port))
        };

        let failsafes = &self.options.failsafes;
        failsafes
            .in_direction(direction)
            .iter()
            .any(|failsafe| is(failsafe, Side::Destination))
            || with_replies
                && failsafes
                    .in_direction(other)
                    .iter()
                    .any(|failsafe| is(failsafe, Side::Source))
    }
}

impl<'input> NodeWalk<'_, '_, '_, 'input> {
    /// Returns the flow as the filter table sees it, after DNAT.
    fn flow(&self) -> Flow {
        self.packet.filtered(self.state)
    }

    /// Evaluates the stages before routing: source validation, untracked and pre-DNAT policy.
    fn arriving(&mut self, arrives: &str) -> Option<VerdictReason> {
        let claim = self.node.claim(&self.packet.flow);
        if source_validation::drops(self.node.options, claim, arrives, self.packet.reverse_path) {
            return Some((Verdict::Drop, VerdictCause::SpoofedSource));
        }
        self.untracked(arrives, Direction::Ingress)
            .or_else(|| self.before_dnat(arrives))
    }

    /// Evaluates untracked policy. Every packet meets it, whatever its connection.
    fn untracked(&mut self, interface: &str, direction: Direction) -> Option<VerdictReason> {
        let flow = self.packet.sent();
        let host = self
            .node
            .matching_host_endpoint(interface, direction, &flow)?;
        if !self.has(host, PolicyListKind::Untracked, direction)
            || is_neighbour(&flow)
            || self.node.is_failsafe(&flow, direction, true)
        {
            return None;
        }
        // a known connection does not bypass this list: raw runs before connection tracking
        match self.ask(host, PolicyListKind::Untracked, direction, &flow) {
            ListOutcome::Denied => return Some((Verdict::Drop, VerdictCause::Policy)),
            ListOutcome::Allowed => (self.state, self.is_let_through) = (State::Untracked, true),
            ListOutcome::Undecided => {}
        }

        None
    }

    fn before_dnat(&mut self, arrives: &str) -> Option<VerdictReason> {
        let flow = self.packet.sent();
        let host = self
            .node
            .matching_host_endpoint(arrives, Direction::Ingress, &flow)?;
        // once untracked policy has allowed a packet, the host endpoint has no further ingress
        // policy
        if self.is_let_through || !self.has(host, PolicyListKind::PreDnat, Direction::Ingress) {
            return None;
        }

        match self.tracked() {
            Some((Verdict::Drop, cause)) => return Some((Verdict::Drop, cause)),
            Some(_) => return None,
            None if is_neighbour(&flow)
                || self.node.is_failsafe(&flow, Direction::Ingress, false) =>
            {
                return None;
            }
            None => {}
        }

        match self.ask(host, PolicyListKind::PreDnat, Direction::Ingress, &flow) {
            ListOutcome::Denied => return Some((Verdict::Drop, VerdictCause::Policy)),
            ListOutcome::Allowed => self.is_let_through = true,
            ListOutcome::Undecided => {}
        }

        None
    }

    fn forwarded(&mut self, arrives: &str, leaves: &str) -> Option<VerdictReason> {
        let flow = self.flow();
        if [Side::Source, Side::Destination]
            .iter()
            .any(|side| self.node.is_unknown(&flow, *side))
        {
            return Some((Verdict::Drop, VerdictCause::UnknownEndpoint));
        }

        let at_hosts = self
            .passing(arrives, Direction::Ingress)
            .or_else(|| self.passing(leaves, Direction::Egress));
        at_hosts.or_else(|| self.between_endpoints(&flow))
    }

    /// Evaluates forward policy in one direction. It can only deny: a packet that it allows
    /// continues with the next stage.
    fn passing(&mut self, interface: &str, direction: Direction) -> Option<VerdictReason> {
        let flow = self.flow();
        let host = self
            .node
            .matching_host_endpoint(interface, direction, &flow)?;
        // raw and mangle policy of the input interface replaces ingress policy only
        let is_let_through = self.is_let_through && direction == Direction::Ingress;
        if is_let_through || !self.has(host, PolicyListKind::Forward, direction) {
            return None;
        }

        match self.tracked() {
            Some((Verdict::Drop, cause)) => Some((Verdict::Drop, cause)),
            Some(_) => None,
            None => {
                let outcome = self.ask(host, PolicyListKind::Forward, direction, &flow);
                (outcome == ListOutcome::Denied).then_some((Verdict::Drop, VerdictCause::Policy))
            }
        }
    }

    /// Evaluates the policies of this node's endpoints at both ends. Returns `None` if neither end
    /// is on this node.
    fn between_endpoints(&mut self, flow: &Flow) -> Option<VerdictReason> {
        let sender = self.node.local(flow, Side::Source);
        let receiver = self.node.local(flow, Side::Destination);
        if sender.is_none() && receiver.is_none() {
            return None;
        }

        let decided = self.tracked();
        decided
            .or_else(|| sender.and_then(|sender| self.leaving(sender, flow)))
            .or_else(|| {
                let ingress = receiver.map(|receiver| {
                    self.node
                        .evaluator
                        .of_endpoint(receiver, Direction::Ingress, flow)
                });
                let denied = ingress
                    .as_ref()
                    .is_some_and(|passage| !passage.is_allowed());
                self.passages.extend(ingress);
                Some((
                    if denied {
                        Verdict::Drop
                    } else {
                        Verdict::Accept
                    },
                    VerdictCause::Policy,
                ))
            })
    }

    /// Returns a drop if the sending endpoint may not send the packet, or `None` if it may.
    fn leaving(&mut self, sender: EndpointId, flow: &Flow) -> Option<VerdictReason> {
        if self.node.options.encapsulated == Encapsulated::Drop && is_encapsulated(flow) {
            return Some((Verdict::Drop, VerdictCause::Encapsulated));
        }
        let egress = self
            .node
            .evaluator
            .of_endpoint(sender, Direction::Egress, flow);
        let denied = !egress.is_allowed();
        self.passages.push(egress);
        denied.then_some((Verdict::Drop, VerdictCause::Policy))
    }

    fn received(&mut self, arrives: &str) -> Option<VerdictReason> {
        let flow = self.flow();
        // packets of endpoints to their node meet endpoint policy, not that of host endpoints
        if let Some(sender) = self.node.local(&flow, Side::Source) {
            return Some(self.received_from_endpoint(sender, &flow));
        }
        if arrives != LOOPBACK && self.node.is_unknown(&flow, Side::Source) {
            return Some((Verdict::Drop, VerdictCause::UnknownEndpoint));
        }
        self.at_host(arrives, Direction::Ingress)
    }

    fn received_from_endpoint(&mut self, sender: EndpointId, flow: &Flow) -> VerdictReason {
        if is_neighbour(flow) {
            return (Verdict::Accept, VerdictCause::Neighbour);
        }

        match (self.tracked(), self.node.options.endpoint_to_host) {
            (Some((Verdict::Accept, cause)), _) => (Verdict::Accept, cause),
            // known connections have passed above: replies to what the node itself opened must not
            // break
            (_, EndpointToHost::Drop) => (Verdict::Drop, VerdictCause::EndpointToHost),
            (Some(fate), EndpointToHost::Accept) => fate,
            (None, EndpointToHost::Accept) => self
                .leaving(sender, flow)
                .unwrap_or((Verdict::Accept, VerdictCause::Policy)),
        }
    }

    /// Evaluates an output packet. The node's packets to its own endpoints meet no policy
    /// (semantics §9.15).
    fn emitted(&mut self, leaves: &str) -> Option<VerdictReason> {
        match self.node.local(&self.flow(), Side::Destination) {
            Some(_) => None,
            None => self.at_host(leaves, Direction::Egress),
        }
    }

    /// Evaluates normal policy of the host endpoint that the packet meets. Returns `None` if there
    /// is no host endpoint.
    fn at_host(&mut self, interface: &str, direction: Direction) -> Option<VerdictReason> {
        let flow = self.flow();
        let host = self
            .node
            .matching_host_endpoint(interface, direction, &flow)?;
        let tracked = self.tracked();
        if tracked.is_some() {
            return tracked;
        }
        if is_neighbour(&flow) {
            return Some((Verdict::Accept, VerdictCause::Neighbour));
        }
        if self.node.is_failsafe(&flow, direction, false) {
            return Some((Verdict::Accept, VerdictCause::Failsafe));
        }
        if self.is_let_through {
            return Some((Verdict::Accept, VerdictCause::Policy));
        }

        let denied =
            self.ask(host, PolicyListKind::Normal, direction, &flow) == ListOutcome::Denied;
        Some((
            if denied {
                Verdict::Drop
            } else {
                Verdict::Accept
            },
            VerdictCause::Policy,
        ))
    }

    /// Returns the verdict that the conntrack state alone decides (semantics §9.14).
    fn tracked(&self) -> Option<VerdictReason> {
        match self.state {
            State::Established | State::Related => {
                Some((Verdict::Accept, VerdictCause::KnownConnection))
            }
            State::Invalid => Some((Verdict::Drop, VerdictCause::NoConnection)),
            State::New | State::Untracked => None,
        }
    }

    /// Returns `true` if a host endpoint has policy on a list.
    fn has(&self, host: HostEndpointId, list: PolicyListKind, direction: Direction) -> bool {
        !self
            .node
            .resolved()
            .listed(host, list, direction)
            .is_empty()
    }

    fn ask(
        &mut self,
        host: HostEndpointId,
        list: PolicyListKind,
        direction: Direction,
        flow: &Flow,
    ) -> ListOutcome {
        let passage = self.node.evaluator.of_host(host, list, direction, flow);
        let outcome = passage.outcome();
        self.passages.push(passage);
        outcome
    }
}

fn is_neighbour(flow: &Flow) -> bool {
    flow.family() == Family::V6
        && flow.protocol == Protocol::ICMPV6
        && flow
            .icmp
            .is_some_and(|message| NEIGHBOUR_MESSAGES.contains(&message.kind))
}

fn is_encapsulated(flow: &Flow) -> bool {
    let vxlan = flow.protocol == Protocol::UDP && flow.port(Side::Destination) == Some(VXLAN_PORT);
    vxlan || Protocol::from_number(IPIP) == Some(flow.protocol)
}
