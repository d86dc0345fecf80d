//! Traffic that bypasses policy of host endpoints.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::net::{Cidr, Direction, Family, Protocol, Side};
use crate::options::{FailsafePort, FailsafePorts};
use crate::packet_space::{HeaderSetId, HeaderSpace, HostListStage, PartitionBuilder};
use crate::policy::{Icmp, IcmpMatch, PolicyListKind, ProtocolMatch};
use crate::semantics::node::NEIGHBOUR_MESSAGES;

/// Failsafe ports and neighbour messages.
#[derive(Debug)]
pub(in crate::diff) struct BypassTraffic<'options> {
    failsafes: &'options FailsafePorts,
    known: FxHashMap<(HostListStage, Direction, Family, Vec<bool>), HeaderSetId>,
}

impl<'options> BypassTraffic<'options> {
    pub(in crate::diff) fn from_failsafes(failsafes: &'options FailsafePorts) -> Self {
        Self {
            failsafes,
            known: FxHashMap::default(),
        }
    }

    /// Adds the conditions of this traffic to a partition. Source ports are only needed for
    /// untracked policy, which runs before replies are recognised by connection tracking.
    pub(in crate::diff) fn add_cuts(&self, has_untracked: bool, cuts: &mut PartitionBuilder) {
        NEIGHBOUR_MESSAGES.iter().for_each(|kind| {
            cuts.message(
                Protocol::ICMPV6,
                Icmp {
                    kind: *kind,
                    code: None,
                },
            )
        });

        for failsafe in self.all() {
            cuts.ports(failsafe.protocol, Side::Destination, failsafe.port);
            if has_untracked {
                cuts.ports(failsafe.protocol, Side::Source, failsafe.port);
            }
        }
    }

    /// Returns the prefixes of failsafe ports.
    pub(in crate::diff) fn prefixes(&self) -> Vec<Vec<Cidr>> {
        self.all()
            .filter_map(|failsafe| failsafe.net)
            .map(|net| vec![net])
            .collect()
    }

    /// Returns `true` if any failsafe port is limited to a prefix.
    pub(super) fn has_prefixes(&self) -> bool {
        self.all().any(|failsafe| failsafe.net.is_some())
    }

    /// Returns the traffic that bypasses a list in one direction, for an address at the other end.
    pub(super) fn passing(
        &mut self,
        way: HostListStage,
        direction: Direction,
        family: Family,
        far: Option<IpAddr>,
        traffic: &mut HeaderSpace,
    ) -> HeaderSetId {
        // failsafe ports are for traffic of the node itself, not for traffic that it forwards
        if way.list() == PolicyListKind::Forward {
            return HeaderSpace::NONE;
        }

        let is_here = |failsafe: &FailsafePort| {
            failsafe
                .net
                .is_none_or(|net| far.is_some_and(|far| net.holds(far)))
        };
        let here: Vec<bool> = self.all().map(is_here).collect();

        let key = (way, direction, family, here);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }

        let with_replies = way.list() == PolicyListKind::Untracked;
        let own = self
            .failsafes
            .in_direction(direction)
            .iter()
            .map(|failsafe| (failsafe, Side::Destination));
        let replies = self
            .failsafes
            .in_direction(direction.opposite())
            .iter()
            .filter(|_| with_replies)
            .map(|failsafe| (failsafe, Side::Source));
        let mut all = neighbours(family, traffic);

        for (failsafe, side) in own.chain(replies).filter(|(failsafe, _)| is_here(failsafe)) {
            let ports = failsafe_ports(failsafe, side, traffic);
            all = traffic.or(all, ports);
        }

        self.known.insert(key, all);
        all
    }

    fn all(&self) -> impl Iterator<Item = &'options FailsafePort> {
        let failsafes: &'options FailsafePorts = self.failsafes;
        Direction::BOTH
            .into_iter()
            .flat_map(|direction| failsafes.in_direction(direction))
    }
}

fn neighbours(family: Family, traffic: &mut HeaderSpace) -> HeaderSetId {
    let kinds = NEIGHBOUR_MESSAGES.iter().filter(|_| family == Family::V6);
    kinds.fold(HeaderSpace::NONE, |all, kind| {
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

/// Returns the headers with a failsafe port at a side.
fn failsafe_ports(failsafe: &FailsafePort, side: Side, traffic: &mut HeaderSpace) -> HeaderSetId {
    let own = traffic.of_rule(ProtocolMatch::Is(failsafe.protocol), IcmpMatch::Any);
    let ports = traffic.with_ports(side, &[failsafe.port]);
    traffic.and(own, ports)
}
