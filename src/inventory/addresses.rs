//! Valid addresses of endpoints, nodes and backends.

use std::net::IpAddr;

use crate::diagnostic::Code;
use crate::inventory::check::MetadataCheck;

/// Checks an address of a pod or node. IPv4-mapped IPv6 addresses are refused, because they would
/// end up in sets of the wrong family.
pub(super) fn address(owner: &str, text: &str, check: &mut MetadataCheck<'_>) -> Option<IpAddr> {
    let address = text
        .parse()
        .ok()
        .filter(|address: &IpAddr| !is_nobodys(*address));

    if address.is_none() {
        check.refuse(
            Code::InvalidAddress,
            &format!(
                "`{}` is not an address that a {owner} can have",
                text.escape_debug()
            ),
        );
    }

    address
}

/// Whether an address cannot belong to an endpoint.
pub(super) fn is_nobodys(address: IpAddr) -> bool {
    let in_other_notation =
        matches!(address, IpAddr::V6(inner) if inner.to_ipv4_mapped().is_some());
    let broadcast = matches!(address, IpAddr::V4(inner) if inner.is_broadcast());
    in_other_notation
        || broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
}
