//! What a node owes a packet: policy, options and the place where the packet is met, without a
//! chain.
//!
//! In: an [`Evaluator`] of resolved policy, a node, the [`CompileOptions`] of the compile, and a
//! [`Packet`]. Out: what ought to become of it ([`ExpectedVerdict`]), with the passages through
//! policy that say so. Absent: `lower` and any other idea of chains, so that the answer can judge
//! what `netfilter` finds scripts to do.
//!
//! A packet goes through the stages of its hook (semantics §7.4); the first that decides ends it:
//!
//! - arrives: source validation, then untracked policy, then pre-DNAT policy, of the host endpoint
//!   that it arrives at
//! - forwarded: unknown addresses of the node's pod ranges, forward policy of the host endpoint
//!   that it arrives at and of the one that it leaves by, egress policy of the endpoint that sends
//!   it, ingress policy of the endpoint that gets it
//! - to the node: egress policy of the endpoint that sends it, unknown addresses, normal policy of
//!   the host endpoint
//! - of the node: untracked policy, then normal policy, of the host endpoint that it leaves by,
//!   unless an endpoint gets it
//!
//! What untracked or pre-DNAT policy allows meets no further ingress policy of the host endpoint;
//! pods' policy is still asked.

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

/// One node, and what it owes to packets.
#[derive(Debug)]
pub struct NodeSemantics<'eval, 'resolved, 'input> {
    evaluator: &'eval Evaluator<'resolved, 'input>,
    node: NodeId,
    options: &'eval CompileOptions,
    hosts: HostsOnNode,
    validation: SourceValidator,
}

/// What ought to become of a packet, and why.
#[derive(Debug, Clone)]
pub struct ExpectedVerdict<'input> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Whether it is kept from connection tracking.
    pub is_untracked: bool,
    /// What decides.
    pub cause: VerdictCause,
    /// The lists of policy that were asked and had something to say, in order; the last one decides
    /// where policy does.
    pub passages: Vec<ListTrace<'input>>,
}

/// What decides about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VerdictCause {
    /// Policy or, behind it, profiles.
    Policy,
    /// Its conversation is known (semantics §9.14).
    KnownConnection,
    /// It belongs to no conversation (semantics §9.14).
    NoConnection,
    /// It is a message between neighbours in IPv6 (semantics §9.16).
    Neighbour,
    /// It is for a failsafe port of a host endpoint.
    Failsafe,
    /// Its source is a pod's address, and no packet of that pod arrives there (semantics §9.27).
    SpoofedSource,
    /// An address in the node's pod ranges is no endpoint's (semantics §9.17).
    UnknownEndpoint,
    /// An endpoint sends what is encapsulated (semantics §9.16).
    Encapsulated,
    /// It is from an endpoint to its node, which is closed (semantics §9.15).
    EndpointToHost,
    /// Nothing that palisade knows of says anything.
    Nothing,
}

/// Types of ICMPv6 by which neighbours find each other, and who listens to which group (RFC 2710,
/// RFC 3810, RFC 4861).
pub(crate) const NEIGHBOUR_MESSAGES: [u8; 7] = [130, 131, 132, 133, 135, 136, 143];
/// UDP port of VXLAN (RFC 7348).
pub(crate) const VXLAN_PORT: u16 = 4789;
/// Protocol of IP in IP (RFC 2003).
pub(crate) const IPIP: u8 = 4;

/// A verdict, and what it comes from.
type VerdictReason = (Verdict, VerdictCause);

/// A packet on its way, and what has been said of it.
struct NodeWalk<'way, 'eval, 'resolved, 'input> {
    node: &'way NodeSemantics<'eval, 'resolved, 'input>,
    packet: &'way Packet,
    state: State,
    /// Whether untracked or pre-DNAT policy has allowed it.
    is_let_through: bool,
    passages: Vec<ListTrace<'input>>,
}

impl<'eval, 'resolved, 'input> NodeSemantics<'eval, 'resolved, 'input> {
    /// A node of the cluster that the evaluator knows.
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

    /// What ought to become of a packet.
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

    /// What would become of a packet with this source that came by another interface than the one
    /// to which the route back leads; `None` if the source is no pod's, or the packet does not
    /// arrive.
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

    /// Whose the source of a flow is.
    fn claim(&self, flow: &Flow) -> SourceClaim {
        let owner = self.evaluator.owner(flow.source);
        let is_here = owner.map(|_| self.local(flow, Side::Source).is_some());
        self.validation.claim(flow.source, is_here)
    }

    fn resolved(&self) -> &'resolved ResolvedPolicy<'input> {
        self.evaluator.resolved()
    }

    /// Returns the host endpoint that a flow meets at an interface: the interface's own, else the
    /// one that has the node's address, else that of every interface. The last one governs
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
        let named = self.hosts.interfaces.get(interface).copied();
        let has = |id: &HostEndpointId| {
            let host = self.resolved().host_endpoint(*id);
            host.is_some_and(|host| host.addresses.contains(&flow.address(near)))
        };

        let by_address = || self.hosts.addresses.iter().copied().find(has);
        named.or_else(by_address).or(self.hosts.everywhere)
    }

    /// The endpoint of this node at an end of a flow.
    fn local(&self, flow: &Flow, side: Side) -> Option<EndpointId> {
        let owner = self.evaluator.owner(flow.address(side));
        owner.filter(|id| self.resolved().inventory.endpoint(*id).node == Some(self.node))
    }

    /// Whether the address at an end is in the node's pod ranges, and no endpoint's of any node,
    /// and that matters.
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

    /// Whether a flow is for a failsafe port. Where nothing is tracked yet, replies of one are
    /// known by their port.
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
    /// The flow as it is behind the translation of destinations.
    fn flow(&self) -> Flow {
        self.packet.filtered(self.state)
    }

    /// What an arriving packet meets before it is known where it goes.
    fn arriving(&mut self, arrives: &str) -> Option<VerdictReason> {
        let claim = self.node.claim(&self.packet.flow);
        if source_validation::drops(self.node.options, claim, arrives, self.packet.reverse_path) {
            return Some((Verdict::Drop, VerdictCause::SpoofedSource));
        }
        self.untracked(arrives, Direction::Ingress)
            .or_else(|| self.before_dnat(arrives))
    }

    /// Untracked policy, which every packet meets, known connection or not.
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

    /// Forward policy in a direction: it denies, or the packet goes on.
    fn passing(&mut self, interface: &str, direction: Direction) -> Option<VerdictReason> {
        let flow = self.flow();
        let host = self
            .node
            .matching_host_endpoint(interface, direction, &flow)?;
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

    /// Policy of the endpoints of this node at both ends.
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

    /// What keeps a packet of an endpoint from leaving it.
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
            (_, EndpointToHost::Drop) => (Verdict::Drop, VerdictCause::EndpointToHost),
            (Some(fate), EndpointToHost::Accept) => fate,
            (None, EndpointToHost::Accept) => self
                .leaving(sender, flow)
                .unwrap_or((Verdict::Accept, VerdictCause::Policy)),
        }
    }

    /// The node's packets to its endpoints are not policed (semantics §9.15).
    fn emitted(&mut self, leaves: &str) -> Option<VerdictReason> {
        match self.node.local(&self.flow(), Side::Destination) {
            Some(_) => None,
            None => self.at_host(leaves, Direction::Egress),
        }
    }

    /// Normal policy of the host endpoint that the packet meets.
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

    /// What connection tracking says by itself (semantics §9.14).
    fn tracked(&self) -> Option<VerdictReason> {
        match self.state {
            State::Established | State::Related => {
                Some((Verdict::Accept, VerdictCause::KnownConnection))
            }
            State::Invalid => Some((Verdict::Drop, VerdictCause::NoConnection)),
            State::New | State::Untracked => None,
        }
    }

    /// Whether a host endpoint has policy on a list.
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
