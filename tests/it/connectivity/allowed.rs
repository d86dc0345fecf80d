//! Who may reach whom in a case: the evaluator is asked once for every class of ports and of addresses outside that no policy
//! tells apart.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use palisade::analysis::evaluate::Evaluator;
use palisade::analysis::{Flow, PortPair};
use palisade::diagnostic::Diagnostics;
use palisade::inventory::Inventory;
use palisade::net::{Cidr, PortRange, Protocol, merge_ranges};
use palisade::policy::{self, Nets, PolicySet, Ports, Staging};
use palisade::resolve;
use palisade::text::Files;

use super::peers::{Cluster, Peer};
use super::{Connections, Range};

/// In the order in which they are printed.
const PROTOCOLS: [Protocol; 3] = [Protocol::SCTP, Protocol::TCP, Protocol::UDP];

/// Asks about everything; an error is what palisade says of the manifests.
pub(super) fn connections(cluster: &Cluster) -> Result<Connections, String> {
    let mut files = Files::default();
    files.add("case.json", cluster.manifest()).map_err(|_| "too long")?;
    let mut found = Diagnostics::default();
    let input = palisade::read(&files, Staging::Proposed, &mut found);
    let messages: Vec<&str> = found.sorted().iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    if found.has_errors() {
        return Err(format!("refused: {}", messages.join("; ")));
    }
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
    let asker = Asker { evaluator: Evaluator::of(&resolved), ports: port_classes(&input.policies, &input.inventory) };
    Ok(asker.connections(cluster, &address_classes(&input.policies)))
}

struct Asker<'resolved, 'input> {
    evaluator: Evaluator<'resolved, 'input>,
    ports: Vec<PortRange>,
}

impl Asker<'_, '_> {
    fn connections(&self, cluster: &Cluster, outside: &[Range]) -> Connections {
        let mut connections = Connections::default();
        for peer in &cluster.peers {
            for other in cluster.peers.iter().filter(|other| other.name != peer.name) {
                let what = self.between(peer.v6.into(), other.v6.into());
                connections.pods.extend(what.map(|what| (peer.name.clone(), other.name.clone(), what)));
            }
            outside.iter().for_each(|range| self.outside(peer, *range, &mut connections));
        }
        connections
    }

    /// Between a pod and a range outside, both ways.
    fn outside(&self, peer: &Peer, range: Range, connections: &mut Connections) {
        let there = IpAddr::from(Ipv4Addr::from_bits(range.0));
        for (receives, what) in [(true, self.between(there, peer.v4.into())), (false, self.between(peer.v4.into(), there))] {
            what.into_iter().for_each(|what| connections.add_outside((peer.name.clone(), receives, what), range));
        }
    }

    /// What may go from one address to another; none where nothing may.
    fn between(&self, source: IpAddr, destination: IpAddr) -> Option<String> {
        let allowed = |protocol: Protocol| {
            let by = |ports: &PortRange| Flow {
                source,
                destination,
                protocol,
                ports: Some(PortPair { source: 40_000, destination: ports.first() }),
                icmp: None,
            };
            merge_ranges(self.ports.iter().filter(|ports| self.evaluator.decide(&by(ports)).is_allowed()).copied().collect())
        };
        let allowed: Vec<(Protocol, Vec<PortRange>)> = PROTOCOLS.into_iter().map(|protocol| (protocol, allowed(protocol))).collect();
        let everything = PortRange::new(1, u16::MAX).into_iter().collect::<Vec<_>>();
        if allowed.iter().all(|(_, ports)| *ports == everything) {
            return Some("All Connections".to_owned());
        }
        let words: Vec<String> =
            allowed.iter().filter(|(_, ports)| !ports.is_empty()).map(|(protocol, ports)| words(*protocol, ports)).collect();
        (!words.is_empty()).then(|| words.join(","))
    }
}

/// `TCP 80,8080-8081`.
fn words(protocol: Protocol, ports: &[PortRange]) -> String {
    let ports: Vec<String> = ports.iter().map(|range| range.to_string().replace(':', "-")).collect();
    format!("{protocol} {}", ports.join(","))
}

/// Both sides of every rule.
fn sides(policies: &PolicySet) -> impl Iterator<Item = &policy::Peer> {
    let rules = policies.policies().flat_map(|(_, policy)| policy.ingress.iter().chain(&policy.egress).flatten());
    rules.flat_map(|rule| [&rule.source, &rule.destination])
}

/// Ranges that hold every port once, cut wherever a policy or the name of a port makes a difference.
fn port_classes(policies: &PolicySet, inventory: &Inventory) -> Vec<PortRange> {
    let mut firsts = BTreeSet::from([1]);
    let mut cut = |first: u16, last: u16| firsts.extend([u32::from(first), u32::from(last) + 1]);
    for peer in sides(policies) {
        let listed = match &peer.ports {
            Ports::Any => None,
            Ports::In(list) => Some(list),
        };
        listed.into_iter().chain([&peer.not_ports]).flat_map(|list| &list.numbers).for_each(|range| cut(range.first(), range.last()));
    }
    inventory.endpoints.iter().flat_map(|endpoint| &endpoint.ports).for_each(|port| cut(port.number, port.number));
    let ends = firsts.iter().skip(1).chain([&65_536]).map(|next| next - 1);
    let number = |port: u32| u16::try_from(port).ok();
    firsts.iter().zip(ends).filter_map(|(first, last)| PortRange::new(number(*first)?, number(last)?)).collect()
}

/// Ranges that hold every IPv4 address once, cut at the edges of the policies' prefixes.
fn address_classes(policies: &PolicySet) -> Vec<Range> {
    let mut firsts = BTreeSet::from([0]);
    for net in sides(policies).flat_map(|peer| nets(peer).chain(&peer.not_nets)) {
        let IpAddr::V4(first) = net.address() else { unreachable!("{net}: blocks must be IPv4, as IPv6 is for the pods") };
        let first = u64::from(first.to_bits());
        firsts.extend([first, first + (1 << (32 - net.prefix()))]);
    }
    let ends = firsts.iter().skip(1).chain([&(1 << 32)]).map(|next| next - 1);
    let number = |address: u64| u32::try_from(address).ok();
    firsts.iter().zip(ends).filter_map(|(first, last)| Some((number(*first)?, number(last)?))).collect()
}

fn nets(peer: &policy::Peer) -> std::slice::Iter<'_, Cidr> {
    match &peer.nets {
        Nets::Any => [].iter(),
        Nets::In(nets) => nets.iter(),
    }
}
