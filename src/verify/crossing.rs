//! Two locations, the endpoint policy between them, and the hook of their packets.

use std::net::IpAddr;

use crate::net::Family;
use crate::packet::Hook;
use crate::packet_space::{EndpointClassId, HeaderSetId, HeaderSpace};
use crate::semantics::source_validation::SourceClaim;

/// A source or destination as the node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LocationRole {
    pub(super) address: IpAddr,
    pub(super) class: EndpointClassId,
    /// `true` if an endpoint of this node has the address.
    pub(super) is_local: bool,
    /// `true` if the address is in the node's pod ranges, no endpoint has it, and the options drop
    /// that.
    pub(super) is_unknown: bool,
    /// The owner of the address, for source validation.
    pub(super) claim: SourceClaim,
}

/// A source, a destination, and the hook at which the node sees their packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing<'run> {
    pub(super) source: LocationRole,
    pub(super) destination: LocationRole,
    pub(super) hook: &'run Hook,
    pub(super) policy: PolicyTraffic,
}

/// The traffic that endpoints' policies allow between two locations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PolicyTraffic {
    /// Allowed by egress policy of the source; empty if the source is not an endpoint of this node.
    pub(super) leaves: HeaderSetId,
    /// Allowed by ingress policy of the destination; empty if the destination is not an endpoint of
    /// this node.
    pub(super) enters: HeaderSetId,
}

impl PolicyTraffic {
    /// The value where endpoint policy is not used.
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
