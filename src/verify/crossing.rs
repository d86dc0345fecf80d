//! Two places, what endpoints' policies say between them, and where their packets are met.

use std::net::IpAddr;

use crate::net::Family;
use crate::packet::Hook;
use crate::packet_space::{EndpointClassId, HeaderSetId, HeaderSpace};
use crate::semantics::source_validation::SourceClaim;

/// Where packets come from or go to, as the node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LocationRole {
    pub(super) address: IpAddr,
    pub(super) class: EndpointClassId,
    /// Whether an endpoint of this node has it.
    pub(super) is_local: bool,
    /// Whether it is in the node's pod ranges and no endpoint's, and that matters.
    pub(super) is_unknown: bool,
    /// Whose it is, where packets come from it.
    pub(super) claim: SourceClaim,
}

/// Two places, and where their packets are met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing<'run> {
    pub(super) source: LocationRole,
    pub(super) destination: LocationRole,
    pub(super) hook: &'run Hook,
    pub(super) policy: PolicyTraffic,
}

/// What endpoints' policies allow between two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PolicyTraffic {
    /// Of the source, where it is an endpoint of this node.
    pub(super) leaves: HeaderSetId,
    /// Of the destination, where it is an endpoint of this node.
    pub(super) enters: HeaderSetId,
}

impl PolicyTraffic {
    /// Where nobody asks.
    pub(super) const NONE: PolicyTraffic = PolicyTraffic {
        leaves: HeaderSpace::NONE,
        enters: HeaderSpace::NONE,
    };
}

impl Crossing<'_> {
    pub(super) fn family(&self) -> Family {
        if self.source.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}
