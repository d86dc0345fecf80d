//! What rules distinguish in what packets carry.

use std::collections::{BTreeMap, BTreeSet};

use crate::net::{PortRange, Protocol, Side};
use crate::packet_space::header_space::{WITH_PORTS, holds};
use crate::policy::{Icmp, ProtocolMatch};

/// What rules distinguish.
#[derive(Debug, Default, Clone)]
pub struct PartitionBuilder {
    /// For each protocol with ports and each side, the first ports of the classes.
    ports: BTreeMap<(Protocol, Side), BTreeSet<u16>>,
    /// Types and codes of each protocol of control messages.
    messages: BTreeMap<Protocol, BTreeMap<u8, BTreeSet<u8>>>,
    protocols: BTreeSet<Protocol>,
}

impl PartitionBuilder {
    /// Ports of a protocol at a side are told from those around them.
    pub fn ports(&mut self, protocol: Protocol, side: Side, range: PortRange) {
        let firsts = self.ports.entry((protocol, side)).or_default();
        firsts.insert(range.first());
        firsts.extend(range.last().checked_add(1));
    }

    /// Ports are told from those around them in every protocol that a condition leaves open.
    pub fn ports_of(&mut self, protocol: ProtocolMatch, side: Side, range: PortRange) {
        for open in WITH_PORTS {
            if holds(protocol, open) {
                self.ports(open, side, range);
            }
        }
    }

    /// A protocol is told from the others.
    pub fn protocol(&mut self, protocol: Protocol) {
        self.protocols.insert(protocol);
    }

    /// The first port of every class at the receiver, whatever the protocol.
    pub fn receivers_ports(&self) -> BTreeSet<u16> {
        let firsts = self
            .ports
            .iter()
            .filter(|((_, side), _)| *side == Side::Destination)
            .flat_map(|(_, firsts)| firsts);
        firsts.copied().chain([1]).collect()
    }

    /// A control message is told from the others.
    pub fn message(&mut self, protocol: Protocol, icmp: Icmp) {
        self.messages
            .entry(protocol)
            .or_default()
            .entry(icmp.kind)
            .or_default()
            .extend(icmp.code);
    }

    /// Whether ports of a protocol are told apart.
    pub(super) fn has_ports(&self, protocol: Protocol) -> bool {
        Side::BOTH
            .iter()
            .any(|side| self.ports.contains_key(&(protocol, *side)))
    }

    /// The first port of each class of a protocol at a side, in order.
    ///
    /// Port 0 is in no range of a rule, so it is a class of its own. Where no rule asks for the
    /// sender's port, it is one with the others.
    pub(super) fn first_ports(&self, protocol: Protocol, side: Side) -> Vec<u16> {
        let firsts = match (self.ports.get(&(protocol, side)), side) {
            (None, Side::Source) => return vec![0],
            (None, Side::Destination) => &BTreeSet::new(),
            (Some(firsts), _) => firsts,
        };
        let firsts: BTreeSet<u16> = firsts.iter().copied().chain([0, 1]).collect();
        firsts.into_iter().collect()
    }

    /// The types of a protocol of control messages that are told apart, each with its codes.
    pub(super) fn named_messages(
        &self,
        protocol: Protocol,
    ) -> impl Iterator<Item = (u8, &BTreeSet<u8>)> + Clone {
        self.messages
            .get(&protocol)
            .into_iter()
            .flatten()
            .map(|(kind, codes)| (*kind, codes))
    }

    /// Whether a protocol is told from the others.
    pub(super) fn is_named(&self, protocol: Protocol) -> bool {
        self.protocols.contains(&protocol)
    }
}
