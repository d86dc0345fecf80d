//! Two places, what endpoints' policies say between them, and where their packets are met.

use std::net::IpAddr;

use crate::net::Family;
use crate::packet::Hook;
use crate::packet_space::{ClassId, Traffic, TrafficId};
use crate::semantics::source_validation::Claim;

/// Where packets come from or go to, as the node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    pub(super) class: ClassId,
    /// Whether an endpoint of this node has it.
    pub(super) is_local: bool,
    /// Whether it is in the node's pod ranges and no endpoint's, and that matters.
    pub(super) is_unknown: bool,
    /// Whose it is, where packets come from it.
    pub(super) claim: Claim,
}

/// Two places, and where their packets are met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between<'run> {
    pub(super) source: Place,
    pub(super) destination: Place,
    pub(super) hook: &'run Hook,
    pub(super) policy: Policy,
}

/// What endpoints' policies allow between two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Policy {
    /// Of the source, where it is an endpoint of this node.
    pub(super) leaves: TrafficId,
    /// Of the destination, where it is an endpoint of this node.
    pub(super) enters: TrafficId,
}

impl Policy {
    /// Where nobody asks.
    pub(super) const NONE: Policy = Policy {
        leaves: Traffic::NONE,
        enters: Traffic::NONE,
    };
}

impl Between<'_> {
    pub(super) fn family(&self) -> Family {
        if self.source.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}
