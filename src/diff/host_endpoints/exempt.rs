//! What passes host endpoints without being asked about.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::net::{Cidr, Direction, Family, Protocol, Side};
use crate::options::{Failsafe, Failsafes};
use crate::packet_space::{Class, Cuts, ListWay, Traffic, TrafficId};
use crate::policy::{Icmp, IcmpMatch, List, ProtocolMatch};
use crate::semantics::node::NEIGHBOUR_MESSAGES;

/// Failsafe ports and the messages of neighbours.
#[derive(Debug)]
pub(in crate::diff) struct Exempt<'options> {
    failsafes: &'options Failsafes,
    known: FxHashMap<(ListWay, Direction, Family, Vec<bool>), TrafficId>,
}

impl<'options> Exempt<'options> {
    pub(in crate::diff) fn of(failsafes: &'options Failsafes) -> Self {
        Self {
            failsafes,
            known: FxHashMap::default(),
        }
    }

    /// Adds what is told apart; the sender's ports only where policy is asked before replies are
    /// known.
    pub(in crate::diff) fn cut(&self, has_untracked: bool, cuts: &mut Cuts) {
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

    /// The prefixes of those at the other end that have failsafe ports of their own.
    pub(in crate::diff) fn prefixes(&self) -> Vec<Vec<Cidr>> {
        self.all()
            .filter_map(|failsafe| failsafe.net)
            .map(|net| vec![net])
            .collect()
    }

    /// Whether it matters who is at the other end.
    pub(super) fn has_prefixes(&self) -> bool {
        self.all().any(|failsafe| failsafe.net.is_some())
    }

    /// What passes a list in a direction, with somebody at the other end.
    pub(super) fn passing(
        &mut self,
        (way, direction): (ListWay, Direction),
        (family, far): (Family, Option<IpAddr>),
        traffic: &mut Traffic,
    ) -> TrafficId {
        if way.list() == List::Forward {
            return Traffic::NONE;
        }
        let is_here = |failsafe: &Failsafe| {
            failsafe
                .net
                .is_none_or(|net| far.is_some_and(|far| net.holds(far)))
        };
        let here: Vec<bool> = self.all().map(is_here).collect();
        let key = (way, direction, family, here);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let with_replies = way.list() == List::Untracked;
        let own = self
            .failsafes
            .of(direction)
            .iter()
            .map(|failsafe| (failsafe, Side::Destination));
        let replies = self
            .failsafes
            .of(direction.opposite())
            .iter()
            .filter(|_| with_replies)
            .map(|failsafe| (failsafe, Side::Source));
        let mut all = neighbours(family, traffic);
        for (failsafe, side) in own.chain(replies).filter(|(failsafe, _)| is_here(failsafe)) {
            let ports = traffic.select(|class| is_of(failsafe, side, class));
            all = traffic.or(all, ports);
        }
        self.known.insert(key, all);
        all
    }

    fn all(&self) -> impl Iterator<Item = &'options Failsafe> {
        let failsafes: &'options Failsafes = self.failsafes;
        Direction::BOTH
            .into_iter()
            .flat_map(|direction| failsafes.of(direction))
    }
}

fn neighbours(family: Family, traffic: &mut Traffic) -> TrafficId {
    let kinds = NEIGHBOUR_MESSAGES.iter().filter(|_| family == Family::V6);
    kinds.fold(Traffic::NONE, |all, kind| {
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

fn is_of(failsafe: &Failsafe, side: Side, class: &Class) -> bool {
    class.protocol() == Some(failsafe.protocol)
        && class
            .port(side)
            .is_some_and(|(first, _)| failsafe.port.holds(first))
}
