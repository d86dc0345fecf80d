//! Rules that the chains of pods and of host endpoints have in common.

use crate::lower::program::{ProgramRule, RuleMatch, RuleTarget};

/// ICMPv6 messages between a host and its neighbours that IPv6 requires: multicast listener query,
/// report and done (RFC 2710), router solicitation, neighbour solicitation and advertisement (RFC
/// 4861), listener report v2 (RFC 3810).
pub(super) const NEIGHBOUR_MESSAGES: [(u8, &str); 7] = [
    (130, "multicast listener query"),
    (131, "multicast listener report"),
    (132, "multicast listener done"),
    (133, "router solicitation"),
    (135, "neighbour solicitation"),
    (136, "neighbour advertisement"),
    (143, "multicast listener report, version 2"),
];

pub(super) fn rule(matches: Vec<RuleMatch>, target: RuleTarget, about: &str) -> ProgramRule {
    ProgramRule {
        matches,
        target,
        about: about.to_owned(),
    }
}

/// The first rules of every chain that relies on connection tracking.
pub(super) fn tracked() -> [ProgramRule; 2] {
    [
        rule(
            vec![RuleMatch::Reply],
            RuleTarget::Accept,
            "known connections",
        ),
        rule(
            vec![RuleMatch::Invalid],
            RuleTarget::Drop,
            "packets that no connection explains",
        ),
    ]
}
