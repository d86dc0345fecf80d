//! Expected verdicts for sets of packets: the rules of [`node`](crate::semantics::node) for all
//! traffic between two locations.
//!
//! In: resolved policy, options, a node. Out: [`ExpectedVerdicts`]. The result of endpoints'
//! policies is given; policy of host endpoints is evaluated by [`NodeHostEndpoints`]. Absent: the
//! scripts. `tests` compares it with `NodeSemantics::expect`.

use std::cell::RefCell;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::net::{Direction, Family, PortRange, Protocol, Side, State};
use crate::options::{CompileOptions, Encapsulated, EndpointToHost, FailsafePort};
use crate::packet::{Hook, LOOPBACK, ReversePath, Verdict};
use crate::packet_space::{EndpointClassId, HeaderSetId, HeaderSpace, PartitionBuilder};
use crate::policy::{Icmp, IcmpMatch, PolicyListKind, ProtocolMatch};
use crate::resolve::HostEndpointId;
use crate::semantics::node::{IPIP, NEIGHBOUR_MESSAGES, VXLAN_PORT};
use crate::semantics::source_validation;
use crate::verify::crossing::Crossing;
use crate::verify::host_endpoints::NodeHostEndpoints;

/// The expected verdicts of one node.
#[derive(Debug)]
pub(super) struct ExpectedVerdicts<'run, 'input> {
    pub(super) options: &'run CompileOptions,
    pub(super) hosts: &'run NodeHostEndpoints<'input>,
    neighbours: HeaderSetId,
    encapsulated: HeaderSetId,
    /// Cache of failsafe traffic, by the class at the far end, the direction, and whether replies
    /// count.
    failsafes: RefCell<FxHashMap<(EndpointClassId, Direction, bool), HeaderSetId>>,
}

/// The expected verdicts in raw and mangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EarlyExpected {
    pub(super) dropped: HeaderSetId,
    pub(super) untracked: HeaderSetId,
    /// Allowed by untracked or pre-DNAT policy.
    pub(super) let_through: HeaderSetId,
}

/// Packets that reach the filter table with the same history.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpectedPortion {
    pub(super) here: HeaderSetId,
    pub(super) state: State,
    pub(super) is_let_through: bool,
}

/// The expected verdicts. Packets in neither set are undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VerdictSets {
    pub(super) accepted: HeaderSetId,
    pub(super) dropped: HeaderSetId,
    /// `true` if endpoints' policies were used. If not, the verdicts are the same for all policies.
    pub(super) is_by_policy: bool,
}

/// Adds the conditions of the options and of neighbour messages to a partition. Failsafe ports are
/// only added if the node has host endpoints.
pub(super) fn add_cuts(options: &CompileOptions, has_hosts: bool, cuts: &mut PartitionBuilder) {
    NEIGHBOUR_MESSAGES.iter().for_each(|kind| {
        cuts.message(
            Protocol::ICMPV6,
            Icmp {
                kind: *kind,
                code: None,
            },
        )
    });
    PortRange::new(VXLAN_PORT, VXLAN_PORT)
        .into_iter()
        .for_each(|port| cuts.ports(Protocol::UDP, Side::Destination, port));
    Protocol::from_number(IPIP)
        .into_iter()
        .for_each(|ipip| cuts.protocol(ipip));

    for failsafe in Direction::BOTH
        .into_iter()
        .filter(|_| has_hosts)
        .flat_map(|direction| options.failsafes.in_direction(direction))
    {
        [Side::Source, Side::Destination]
            .into_iter()
            .for_each(|side| cuts.ports(failsafe.protocol, side, failsafe.port));
    }
}

/// Returns the headers of IPv6 neighbour messages.
fn neighbours(traffic: &mut HeaderSpace) -> HeaderSetId {
    NEIGHBOUR_MESSAGES
        .iter()
        .fold(HeaderSpace::NONE, |all, kind| {
            let own = traffic.of_rule(
                ProtocolMatch::Is(Protocol::ICMPV6),
                IcmpMatch::Is(Icmp {
                    kind: *kind,
                    code: None,
                }),
            );
            traffic.or(all, own)
        })
}

/// Returns the headers of encapsulated traffic.
fn encapsulated(traffic: &mut HeaderSpace) -> HeaderSetId {
    let vxlan = traffic.with_port(Protocol::UDP, Side::Destination, VXLAN_PORT);
    let ipip = Protocol::from_number(IPIP)
        .map(|ipip| traffic.of_rule(ProtocolMatch::Is(ipip), IcmpMatch::Any));
    traffic.or(vxlan, ipip.unwrap_or(HeaderSpace::NONE))
}

/// The packets that are still undecided, and the verdicts so far.
struct PendingPackets<'way> {
    traffic: &'way mut HeaderSpace,
    open: HeaderSetId,
    fates: &'way mut VerdictSets,
}

impl PendingPackets<'_> {
    fn decide(&mut self, set: HeaderSetId, verdict: Verdict) {
        let set = self.traffic.and(self.open, set);
        self.open = self.traffic.less(self.open, set);
        match verdict {
            Verdict::Accept => self.fates.accepted = self.traffic.or(self.fates.accepted, set),
            Verdict::Drop => self.fates.dropped = self.traffic.or(self.fates.dropped, set),
            Verdict::Undecided => {}
        }
    }

    fn decide_rest(&mut self, verdict: Verdict) {
        self.decide(HeaderSpace::ALL, verdict);
    }
}

impl VerdictSets {
    pub(super) const NONE: VerdictSets = VerdictSets {
        accepted: HeaderSpace::NONE,
        dropped: HeaderSpace::NONE,
        is_by_policy: false,
    };
}

impl EarlyExpected {
    const NONE: EarlyExpected = EarlyExpected {
        dropped: HeaderSpace::NONE,
        untracked: HeaderSpace::NONE,
        let_through: HeaderSpace::NONE,
    };

    /// Splits the packets that reach the filter table by their history. `state` is the conntrack
    /// state of packets that are not untracked.
    pub(super) fn portions(&self, state: State, traffic: &mut HeaderSpace) -> Vec<ExpectedPortion> {
        let on = traffic.less(HeaderSpace::ALL, self.dropped);
        let untracked = traffic.and(on, self.untracked);
        let tracked = traffic.less(on, untracked);
        let mut portions = Vec::new();

        for (state, here) in [(State::Untracked, untracked), (state, tracked)] {
            let through = traffic.and(here, self.let_through);
            portions.push(ExpectedPortion {
                here: through,
                state,
                is_let_through: true,
            });
            portions.push(ExpectedPortion {
                here: traffic.less(here, through),
                state,
                is_let_through: false,
            });
        }

        portions
            .into_iter()
            .filter(|portion| portion.here != HeaderSpace::NONE)
            .collect()
    }
}

impl<'run, 'input> ExpectedVerdicts<'run, 'input> {
    /// Builds the expected verdicts of a node with these host endpoints and options.
    pub(super) fn new(
        options: &'run CompileOptions,
        hosts: &'run NodeHostEndpoints<'input>,
        traffic: &mut HeaderSpace,
    ) -> Self {
        Self {
            options,
            hosts,
            neighbours: neighbours(traffic),
            encapsulated: encapsulated(traffic),
            failsafes: RefCell::default(),
        }
    }
}

impl ExpectedVerdicts<'_, '_> {
    /// Returns the expected verdicts in raw and mangle. `between` carries the destination before
    /// DNAT.
    pub(super) fn early(
        &self,
        between: &Crossing<'_>,
        state: State,
        reverse_path: ReversePath,
        traffic: &mut HeaderSpace,
    ) -> EarlyExpected {
        let mut early = EarlyExpected::NONE;
        let is_spoofed = |arrives| {
            source_validation::drops(self.options, between.source.claim, arrives, reverse_path)
        };
        if between.hook.arrives().is_some_and(is_spoofed) {
            return EarlyExpected {
                dropped: HeaderSpace::ALL,
                ..early
            };
        }

        let (interface, direction) = match between.hook {
            Hook::Forward { arrives, .. } | Hook::Input { arrives } => {
                (arrives, Direction::Ingress)
            }
            Hook::Output { leaves } => (leaves, Direction::Egress),
        };

        let Some(host) = self
            .hosts
            .matching_host_endpoint(interface, direction, between)
        else {
            return early;
        };

        if self.hosts.has(host, PolicyListKind::Untracked, direction) {
            let asked = self.unguarded(between, direction, true, traffic);
            let said = self.hosts.ask(
                (host, PolicyListKind::Untracked, direction),
                between,
                traffic,
            );
            early.dropped = traffic.and(said.denied, asked);
            early.untracked = traffic.and(said.allowed, asked);
            early.let_through = early.untracked;
        }

        if direction == Direction::Ingress
            && self.hosts.has(host, PolicyListKind::PreDnat, direction)
        {
            self.before_dnat(between, state, &mut early, host, traffic);
        }
        early
    }

    fn before_dnat(
        &self,
        between: &Crossing<'_>,
        state: State,
        early: &mut EarlyExpected,
        host: HostEndpointId,
        traffic: &mut HeaderSpace,
    ) {
        // what untracked policy allows has no further ingress policy of the host endpoint
        let decided = traffic.or(early.dropped, early.let_through);
        let rest = traffic.less(HeaderSpace::ALL, decided);

        match tracked(state) {
            Some(Verdict::Drop) => early.dropped = traffic.or(early.dropped, rest),
            Some(Verdict::Accept | Verdict::Undecided) => {}
            None => {
                let asked = self.unguarded(between, Direction::Ingress, false, traffic);
                let asked = traffic.and(asked, rest);
                let said = self.hosts.ask(
                    (host, PolicyListKind::PreDnat, Direction::Ingress),
                    between,
                    traffic,
                );
                let denied = traffic.and(said.denied, asked);
                let allowed = traffic.and(said.allowed, asked);
                early.dropped = traffic.or(early.dropped, denied);
                early.let_through = traffic.or(early.let_through, allowed);
            }
        }
    }

    /// Returns all headers except neighbour messages and failsafe ports.
    fn unguarded(
        &self,
        between: &Crossing<'_>,
        direction: Direction,
        with_replies: bool,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        let neighbours = self.neighbours(between);
        let failsafe = self.failsafe(between, direction, with_replies, traffic);
        let guarded = traffic.or(neighbours, failsafe);
        traffic.less(HeaderSpace::ALL, guarded)
    }

    fn neighbours(&self, between: &Crossing<'_>) -> HeaderSetId {
        match between.family() {
            Family::V4 => HeaderSpace::NONE,
            Family::V6 => self.neighbours,
        }
    }

    fn failsafe(
        &self,
        between: &Crossing<'_>,
        direction: Direction,
        with_replies: bool,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        let far = match direction {
            Direction::Ingress => between.source,
            Direction::Egress => between.destination,
        };
        // no failsafe prefix splits a class, so the result holds for all of its addresses
        let known = (far.class, direction, with_replies);
        if let Some(all) = self.failsafes.borrow().get(&known) {
            return *all;
        }

        let all = self.failsafe_ports(far.address, direction, with_replies, traffic);
        self.failsafes.borrow_mut().insert(known, all);
        all
    }

    fn failsafe_ports(
        &self,
        far: IpAddr,
        direction: Direction,
        with_replies: bool,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        let other = match direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
        };
        let mut all = HeaderSpace::NONE;
        let own = self
            .options
            .failsafes
            .in_direction(direction)
            .iter()
            .map(|failsafe| (failsafe, Side::Destination));
        let replies = self
            .options
            .failsafes
            .in_direction(other)
            .iter()
            .filter(|_| with_replies)
            .map(|failsafe| (failsafe, Side::Source));

        for (failsafe, side) in own
            .chain(replies)
            .filter(|(failsafe, _)| failsafe.net.is_none_or(|net| net.holds(far)))
        {
            let ports = failsafe_ports(failsafe, side, traffic);
            all = traffic.or(all, ports);
        }
        all
    }

    /// Adds the expected verdicts in the filter table for some packets.
    pub(super) fn late(
        &self,
        between: &Crossing<'_>,
        portion: ExpectedPortion,
        traffic: &mut HeaderSpace,
        fates: &mut VerdictSets,
    ) {
        let mut way = PendingPackets {
            traffic,
            open: portion.here,
            fates,
        };

        match between.hook {
            Hook::Forward { arrives, leaves } => {
                self.forwarded(arrives, leaves, between, portion, &mut way)
            }
            Hook::Input { arrives } => self.to_node(arrives, between, portion, &mut way),
            // the node's packets to its own endpoints meet no policy (semantics §9.15)
            Hook::Output { .. } if between.destination.is_local => {}
            Hook::Output { leaves } => {
                self.at_host(leaves, Direction::Egress, between, portion, &mut way)
            }
        }
    }

    fn forwarded(
        &self,
        arrives: &str,
        leaves: &str,
        between: &Crossing<'_>,
        portion: ExpectedPortion,
        way: &mut PendingPackets<'_>,
    ) {
        if between.source.is_unknown || between.destination.is_unknown {
            return way.decide_rest(Verdict::Drop);
        }

        if !portion.is_let_through {
            self.passing(arrives, Direction::Ingress, between, portion.state, way);
        }

        self.passing(leaves, Direction::Egress, between, portion.state, way);
        if !between.source.is_local && !between.destination.is_local {
            return;
        }
        if let Some(verdict) = tracked(portion.state) {
            return way.decide_rest(verdict);
        }

        if between.source.is_local {
            self.leaving(between, way);
        }

        if between.destination.is_local {
            way.fates.is_by_policy = true;
            // from here on the verdict depends on the pair, not only on the kinds of its ends
            way.decide(between.policy.enters, Verdict::Accept);
            way.decide_rest(Verdict::Drop);
        }

        way.decide_rest(Verdict::Accept);
    }

    fn passing(
        &self,
        interface: &str,
        direction: Direction,
        between: &Crossing<'_>,
        state: State,
        way: &mut PendingPackets<'_>,
    ) {
        let Some(host) = self
            .hosts
            .matching_host_endpoint(interface, direction, between)
        else {
            return;
        };
        if !self.hosts.has(host, PolicyListKind::Forward, direction) {
            return;
        }

        match tracked(state) {
            Some(Verdict::Drop) => way.decide_rest(Verdict::Drop),
            Some(Verdict::Accept | Verdict::Undecided) => {}
            None => {
                let said = self.hosts.ask(
                    (host, PolicyListKind::Forward, direction),
                    between,
                    way.traffic,
                );
                way.decide(said.denied, Verdict::Drop);
            }
        }
    }

    /// Drops what an endpoint may not send.
    fn leaving(&self, between: &Crossing<'_>, way: &mut PendingPackets<'_>) {
        if self.options.encapsulated == Encapsulated::Drop {
            way.decide(self.encapsulated, Verdict::Drop);
        }
        way.fates.is_by_policy = true;
        let denied = way.traffic.less(HeaderSpace::ALL, between.policy.leaves);
        way.decide(denied, Verdict::Drop);
    }

    fn to_node(
        &self,
        arrives: &str,
        between: &Crossing<'_>,
        portion: ExpectedPortion,
        way: &mut PendingPackets<'_>,
    ) {
        if !between.source.is_local {
            if arrives != LOOPBACK && between.source.is_unknown {
                return way.decide_rest(Verdict::Drop);
            }
            return self.at_host(arrives, Direction::Ingress, between, portion, way);
        }

        way.decide(self.neighbours(between), Verdict::Accept);
        match (tracked(portion.state), self.options.endpoint_to_host) {
            (Some(Verdict::Accept), _) => way.decide_rest(Verdict::Accept),
            (_, EndpointToHost::Drop)
            | (Some(Verdict::Drop | Verdict::Undecided), EndpointToHost::Accept) => {
                way.decide_rest(Verdict::Drop);
            }
            (None, EndpointToHost::Accept) => {
                self.leaving(between, way);
                way.decide_rest(Verdict::Accept);
            }
        }
    }

    fn at_host(
        &self,
        interface: &str,
        direction: Direction,
        between: &Crossing<'_>,
        portion: ExpectedPortion,
        way: &mut PendingPackets<'_>,
    ) {
        let Some(host) = self
            .hosts
            .matching_host_endpoint(interface, direction, between)
        else {
            return;
        };
        if let Some(verdict) = tracked(portion.state) {
            return way.decide_rest(verdict);
        }

        way.decide(self.neighbours(between), Verdict::Accept);
        let failsafe = self.failsafe(between, direction, false, way.traffic);
        way.decide(failsafe, Verdict::Accept);
        if portion.is_let_through {
            return way.decide_rest(Verdict::Accept);
        }

        let said = self.hosts.ask(
            (host, PolicyListKind::Normal, direction),
            between,
            way.traffic,
        );
        way.decide(said.denied, Verdict::Drop);

        way.decide_rest(Verdict::Accept);
    }
}

/// Returns the verdict that the conntrack state alone decides (semantics §9.14).
pub(super) fn tracked(state: State) -> Option<Verdict> {
    match state {
        State::Established | State::Related => Some(Verdict::Accept),
        State::Invalid => Some(Verdict::Drop),
        State::New | State::Untracked => None,
    }
}

/// Returns the headers with a failsafe port at a side.
fn failsafe_ports(failsafe: &FailsafePort, side: Side, traffic: &mut HeaderSpace) -> HeaderSetId {
    let own = traffic.of_rule(ProtocolMatch::Is(failsafe.protocol), IcmpMatch::Any);
    let ports = traffic.with_ports(side, &[failsafe.port]);
    traffic.and(own, ports)
}
