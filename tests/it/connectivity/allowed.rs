//! Who may reach whom in a case, as `palisade connectivity` answers.

use std::net::IpAddr;

use palisade::connectivity::peers::{ConnectivityPeer, PeerGrouping, PeerIdentity};
use palisade::connectivity::port_list::{self, AllowedTraffic};
use palisade::connectivity::{self, ConnectivityQuery};
use palisade::diagnostic::Diagnostics;
use palisade::net::{Family, PortRange, Protocol};
use palisade::policy::StagedPolicies;
use palisade::resolve;
use palisade::source::SourceFiles;

use super::peers::Cluster;
use super::{Connections, Range};

/// In the order in which they are printed.
const PROTOCOLS: [Protocol; 3] = [Protocol::SCTP, Protocol::TCP, Protocol::UDP];

/// Asks about everything; an error is what palisade says of the manifests.
pub(super) fn connections(cluster: &Cluster) -> Result<Connections, String> {
    let mut files = SourceFiles::default();
    files
        .add("case.json", cluster.manifest())
        .map_err(|_| "too long")?;

    let mut diagnostics = Diagnostics::default();
    let input = palisade::read(&files, StagedPolicies::Proposed, &mut diagnostics);
    let messages: Vec<&str> = diagnostics
        .sorted()
        .iter()
        .map(|diagnostic| diagnostic.message.as_str())
        .collect();

    if diagnostics.has_errors() {
        return Err(format!("refused: {}", messages.join("; ")));
    }

    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let asked = ConnectivityQuery {
        by: PeerGrouping::Workload,
        from: Vec::new(),
        to: Vec::new(),
        what: Vec::new(),
    };
    let answer = connectivity::list(&resolved, &asked).map_err(|diagnostic| diagnostic.message)?;
    let mut connections = Connections::default();

    for pair in &answer.pairs {
        let from = answer.senders.get(pair.from as usize).ok_or("no sender")?;
        let to = answer
            .receivers
            .get(pair.to as usize)
            .ok_or("no receiver")?;
        let Some(what) = what(&port_list::describe(pair.traffic, &answer.traffic)) else {
            continue;
        };
        add(from, to, what, &mut connections);
    }

    Ok(connections)
}

fn add(
    from: &ConnectivityPeer,
    to: &ConnectivityPeer,
    what: String,
    connections: &mut Connections,
) {
    match (name(from), name(to)) {
        (Some(from), Some(to)) if from == to => {}
        (Some(from), Some(to)) => drop(connections.pods.insert((from, to, what))),
        (Some(from), None) => ranges(to)
            .for_each(|range| connections.add_outside((from.clone(), false, what.clone()), range)),
        (None, Some(to)) => ranges(from)
            .for_each(|range| connections.add_outside((to.clone(), true, what.clone()), range)),
        (None, None) => unreachable!("outside to outside is left out"),
    }
}

/// `namespace/owner[Kind]`.
fn name(peer: &ConnectivityPeer) -> Option<String> {
    match &peer.identity {
        PeerIdentity::Endpoints {
            namespace,
            kind,
            name,
            ..
        } => Some(format!("{namespace}/{name}[{kind}]")),
        PeerIdentity::Outside(_) => None,
    }
}

/// The IPv4 addresses outside; the other tool knows no others.
fn ranges(peer: &ConnectivityPeer) -> impl Iterator<Item = Range> {
    let ranges = match &peer.identity {
        PeerIdentity::Outside(ranges) => ranges.as_slice(),
        PeerIdentity::Endpoints { .. } => &[],
    };
    let bits = |address| match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(_) => unreachable!("IPv4"),
    };
    let of_v4 = ranges.iter().filter(|range| range.family == Family::V4);
    of_v4.map(move |range| (bits(range.first_address()), bits(range.last_address())))
}

/// What the other tool says of TCP, UDP and SCTP; none where nothing of them is allowed.
fn what(allowed: &[AllowedTraffic]) -> Option<String> {
    let every: Vec<PortRange> = PortRange::new(1, u16::MAX).into_iter().collect();
    let of = |protocol: Protocol| {
        allowed
            .iter()
            .find(|one| one.protocol == protocol)
            .and_then(|one| one.ports.as_ref())
    };

    if PROTOCOLS
        .iter()
        .all(|protocol| of(*protocol) == Some(&every))
    {
        return Some("All Connections".to_owned());
    }
    let words = PROTOCOLS.iter().filter_map(|protocol| {
        Some(format!(
            "{protocol} {}",
            port_list::ports_text(of(*protocol)?)
        ))
    });

    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(","))
}
