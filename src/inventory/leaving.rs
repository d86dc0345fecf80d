//! Addresses of pods that are being deleted.
//!
//! A pod object contains its address until it is deleted, but the network may assign the address to
//! another pod earlier. So a pod that is being deleted gives up each address that another endpoint
//! has too. If all pods with an address are being deleted, none of them keeps it, because its owner
//! is unknown. An address without an owner is blocked if the node's pod range is known.

use std::{collections::BTreeMap, net::IpAddr};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::pods::{InputEndpoint, PodLocation, UnaddressedReason};

/// Removes shared addresses from pods that are being deleted, with a note for each.
pub(super) fn give_up_shared(given: &mut [InputEndpoint], diagnostics: &mut Diagnostics) {
    let leaving = given.iter().filter(|(_, pod)| pod.value.is_leaving);
    let mut holders: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
    // Only addresses of leaving pods are tracked, so a cluster without such pods costs nothing.
    holders.extend(leaving.flat_map(|given| {
        addresses(given)
            .iter()
            .map(|address| (*address, Vec::new()))
    }));
    if holders.is_empty() {
        return;
    }
    for (index, endpoint) in given.iter().enumerate() {
        for address in addresses(endpoint) {
            holders
                .entry(*address)
                .and_modify(|holders| holders.push(index));
        }
    }

    for (address, holders) in holders.into_iter().filter(|(_, holders)| holders.len() > 1) {
        let is_leaving = |index: &usize| {
            given
                .get(*index)
                .is_some_and(|(_, pod)| pod.value.is_leaving)
        };
        let (leaving, staying): (Vec<usize>, Vec<usize>) =
            holders.into_iter().partition(is_leaving);
        for index in &leaving {
            let heir = staying
                .first()
                .or_else(|| leaving.iter().find(|other| *other != index));
            if let Some((from, to)) = given
                .get(*index)
                .zip(heir.and_then(|heir| given.get(*heir)))
            {
                diagnostics.push(note(from, to, address));
            }
            if let Some((_, pod)) = given.get_mut(*index) {
                remove_address(&mut pod.value.place, address);
            }
        }
    }
}

/// The addresses of an endpoint.
fn addresses((_, pod): &InputEndpoint) -> &[IpAddr] {
    match &pod.value.place {
        PodLocation::Addressed { addresses, .. } => addresses,
        PodLocation::Open(_) | PodLocation::Nowhere(_) | PodLocation::Template => &[],
    }
}

/// Removes an address. A pod without other addresses becomes unaddressed.
fn remove_address(place: &mut PodLocation, address: IpAddr) {
    let PodLocation::Addressed { addresses, .. } = place else {
        return;
    };

    *addresses = addresses
        .iter()
        .copied()
        .filter(|own| *own != address)
        .collect();

    if addresses.is_empty() {
        *place = PodLocation::Open(UnaddressedReason::Leaving);
    }
}

fn note(
    (from, leaving): &InputEndpoint,
    (to, heir): &InputEndpoint,
    address: IpAddr,
) -> Diagnostic {
    let kind = heir.value.kind.label();
    let message = match heir.value.is_leaving {
        false => format!(
            "the pod `{from}` is being deleted, and gives its address `{address}` up to the \
             {kind} `{to}`"
        ),
        true => format!(
            "the pods `{from}` and `{to}` are both being deleted and have the address \
             `{address}`, which neither keeps"
        ),
    };
    Diagnostic::at(Code::AddressGivenUp, leaving.span, message)
        .label(heir.span, format!("the other {kind}"))
}
