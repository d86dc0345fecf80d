//! The chains around the policy chains. They receive packets from the kernel's chains, select those
//! that policy decides, and handle the rest.

use crate::diagnostic::Diagnostics;
use crate::lower::names::{fixed_chain, fixed_set, log_prefix};
use crate::lower::policy_chains::{DestinationKind, DirectionContext, TierChains, addresses};
use crate::lower::program::{
    ChainHook, ChainName, NetMember, ProgramChain, ProgramRule, ProgramTable, RuleMatch,
    RuleTarget, Sense, SetMembers, SetName, Side, TableKind,
};
use crate::lower::rules::{NEIGHBOUR_MESSAGES, rule, tracked};
use crate::lower::sets::{SetReach, family_suffix};
use crate::lower::{NodeLowering, hosts, tiers};
use crate::net::{Cidr, Direction, Family, PortRange, Protocol};
use crate::options::{Encapsulated, EndpointToHost, HookPosition, UnknownEndpoint};
use crate::policy::Icmp;

/// UDP port of VXLAN (RFC 7348).
const VXLAN_PORT: u16 = 4789;

/// Protocol number of IP in IP (RFC 2003).
const IPIP: u8 = 4;

/// The chains that exist on every node, with their fixed names.
struct FixedChains {
    forward: ChainName,
    input: ChainName,
    output: ChainName,
    from: ChainName,
    allowed: ChainName,
    to: ChainName,
    unknown: ChainName,
    local: SetName,
    known: SetName,
}

/// Palisade's filter table of one family.
pub(super) fn table(
    lowering: &mut NodeLowering<'_, '_>,
    family: Family,
    diagnostics: &mut Diagnostics,
) -> ProgramTable {
    let fixed = FixedChains {
        forward: fixed_chain("FORWARD"),
        input: fixed_chain("INPUT"),
        output: fixed_chain("OUTPUT"),
        from: fixed_chain("from-endpoint"),
        allowed: fixed_chain("allowed"),
        to: fixed_chain("to-endpoint"),
        unknown: fixed_chain("unknown"),
        local: local_set(lowering, family),
        known: fixed_set(&format!("known{}", family_suffix(family))),
    };
    let onward = RuleTarget::Goto(fixed.allowed.clone());
    let way = |direction, allowed| DirectionContext {
        direction,
        family,
        allowed,
        passed: &RuleTarget::Return,
        asked: DestinationKind::OfPacket,
        near: SetReach::Node,
    };
    let egress = tiers::chains(lowering, &way(Direction::Egress, &onward), diagnostics);
    let ingress = tiers::chains(
        lowering,
        &way(Direction::Ingress, &RuleTarget::Accept),
        diagnostics,
    );
    let ranges = pod_ranges(lowering, family);

    let guarded = !ranges.is_empty();
    if guarded {
        add_known_set(lowering, &fixed, &ranges, family);
    }

    let host = hosts::filter(lowering, family, diagnostics);
    let forward = forward(&fixed, &ranges, host.forward);
    let mut input = input(&fixed, &ranges, lowering.options.endpoint_to_host, family);
    let mut output = output(&fixed);
    input.rules.extend(host.input);
    output.rules.extend(host.output);

    let mut chains = vec![forward, input, output];
    chains.extend(host.chains);
    chains.push(from_endpoint(
        &fixed,
        &egress,
        lowering.options.encapsulated,
    ));
    chains.extend(egress.chains);
    chains.extend([allowed(&fixed), to_endpoint(&fixed, &ingress)]);
    chains.extend(ingress.chains);
    chains.extend(guarded.then(|| unknown(&fixed)));

    ProgramTable {
        kind: TableKind::Filter,
        family,
        chains,
        hooks: hooks(fixed, lowering.options.hook_position),
    }
}

/// The set of all addresses of the node's endpoints.
fn local_set(lowering: &mut NodeLowering<'_, '_>, family: Family) -> SetName {
    let members = addresses(
        lowering,
        lowering.resolved.endpoints_on(lowering.node),
        family,
    );
    let name = fixed_set(&format!("local{}", family_suffix(family)));
    lowering
        .sets
        .add(name, || "all endpoints of this node".to_owned(), || members)
}

/// Adds the set of the addresses in the node's pod ranges that belong to a known endpoint. The
/// endpoint may run on another node: an address manager that ignores the nodes' ranges (such as
/// Calico's own) lends addresses to other nodes.
fn add_known_set(
    lowering: &mut NodeLowering<'_, '_>,
    fixed: &FixedChains,
    ranges: &[Cidr],
    family: Family,
) {
    let resolved = lowering.resolved;
    let members = || {
        let known = ranges
            .iter()
            .flat_map(|range| resolved.endpoint_addresses_in(*range));
        let mut members: Vec<NetMember> = known
            .map(|address| NetMember::from_prefix(Cidr::host(*address)))
            .collect();
        members.sort_unstable();
        members.dedup();
        SetMembers::Addresses(family, members)
    };

    lowering.sets.add(
        fixed.known.clone(),
        || "endpoints of any node in the pod ranges of this node".to_owned(),
        members,
    );
}

/// The node's pod ranges of a family in which traffic of unknown endpoints must be dropped. Empty
/// if the option accepts such traffic.
fn pod_ranges(lowering: &NodeLowering<'_, '_>, family: Family) -> Vec<Cidr> {
    let ranges = &lowering.resolved.inventory.node(lowering.node).pod_ranges;
    match lowering.options.unknown_endpoint {
        UnknownEndpoint::Accept => Vec::new(),
        UnknownEndpoint::Drop => ranges
            .iter()
            .copied()
            .filter(|range| range.family() == family)
            .collect(),
    }
}

/// Chain for forwarded packets: first the host endpoints' rules, then packets from an endpoint,
/// then packets to an endpoint. All other packets return to the kernel's chain.
fn forward(fixed: &FixedChains, ranges: &[Cidr], host: Vec<ProgramRule>) -> ProgramChain {
    let mut rules = Vec::new();
    for (side, word) in [(Side::Source, "from"), (Side::Destination, "to")] {
        let about = format!("{word} an address in a pod range of this node that no endpoint has");
        let unknown = |range: &Cidr| {
            rule(
                unknown_matches(fixed, side, *range),
                RuleTarget::Goto(fixed.unknown.clone()),
                &about,
            )
        };
        rules.extend(ranges.iter().map(unknown));
    }

    // Gotos to the chains of pods never come back, so forward policy of host endpoints must be
    // evaluated before them. The sender comes first: `allowed` handles packets between two local
    // endpoints.
    rules.extend(host);
    rules.push(rule(
        vec![local(fixed, Side::Source)],
        RuleTarget::Goto(fixed.from.clone()),
        "from an endpoint of this node",
    ));
    rules.push(rule(
        vec![local(fixed, Side::Destination)],
        RuleTarget::Goto(fixed.to.clone()),
        "to an endpoint of this node",
    ));

    ProgramChain {
        name: fixed.forward.clone(),
        about: "forwarded packets".to_owned(),
        rules,
    }
}

fn local(fixed: &FixedChains, side: Side) -> RuleMatch {
    RuleMatch::Member(Sense::Is, side, fixed.local.clone())
}

fn unknown_matches(fixed: &FixedChains, side: Side, range: Cidr) -> Vec<RuleMatch> {
    vec![
        RuleMatch::Address(Sense::Is, side, range),
        RuleMatch::Member(Sense::IsNot, side, fixed.known.clone()),
    ]
}

/// Chain for packets to the node itself. It applies the egress policy of the sending endpoint. The
/// node's packets to itself may have an address of the pod range (a bridge's address), but they
/// arrive on the loopback interface.
fn input(
    fixed: &FixedChains,
    ranges: &[Cidr],
    to_host: EndpointToHost,
    family: Family,
) -> ProgramChain {
    let mut rules = Vec::new();
    // IPv6 pods resolve the node's address with ICMPv6, which egress policy must not block.
    if family == Family::V6 {
        rules.extend(NEIGHBOUR_MESSAGES.map(|(kind, about)| neighbour(fixed, kind, about)));
    }

    let from_local = || local(fixed, Side::Source);
    match to_host {
        EndpointToHost::Accept => {
            rules.push(rule(
                vec![from_local()],
                RuleTarget::Goto(fixed.from.clone()),
                "from an endpoint of this node to the node",
            ));
        }
        EndpointToHost::Drop => {
            // Probes of the node must get their answers, so replies come before the drop.
            rules.push(rule(
                vec![from_local(), RuleMatch::Reply],
                RuleTarget::Accept,
                "replies of an endpoint to the node",
            ));
            rules.push(rule(
                vec![from_local()],
                RuleTarget::Drop,
                "from an endpoint of this node to the node",
            ));
        }
    }

    let about = "from an address in a pod range of this node that no endpoint has";
    for range in ranges {
        // A bridge has an address of the pod range, and the node's packets to itself may use it.
        let matches = std::iter::once(RuleMatch::NotLoopback)
            .chain(unknown_matches(fixed, Side::Source, *range))
            .collect();
        rules.push(rule(
            matches,
            RuleTarget::Goto(fixed.unknown.clone()),
            about,
        ));
    }

    ProgramChain {
        name: fixed.input.clone(),
        about: "packets to the node".to_owned(),
        rules,
    }
}

fn neighbour(fixed: &FixedChains, kind: u8, about: &str) -> ProgramRule {
    let icmp = RuleMatch::Icmp(Sense::Is, Icmp { kind, code: None });
    rule(
        vec![
            RuleMatch::Protocol(Sense::Is, Protocol::ICMPV6),
            icmp,
            local(fixed, Side::Source),
        ],
        RuleTarget::Accept,
        about,
    )
}

/// Chain for packets from the node itself. Packets to the node's own endpoints (probes) are not
/// subject to policy, and the other packets do not concern pods.
fn output(fixed: &FixedChains) -> ProgramChain {
    let about = "from the node to its endpoints: not policed";
    let rules = vec![rule(
        vec![local(fixed, Side::Destination)],
        RuleTarget::Return,
        about,
    )];

    ProgramChain {
        name: fixed.output.clone(),
        about: "packets of the node".to_owned(),
        rules,
    }
}

/// Chain for packets from an endpoint of this node: egress policy, tier by tier. Never returns.
fn from_endpoint(
    fixed: &FixedChains,
    egress: &TierChains,
    encapsulated: Encapsulated,
) -> ProgramChain {
    // Encapsulated packets are dropped before policy, because policy sees only the outer header.
    let mut rules = Vec::from(tracked());
    if encapsulated == Encapsulated::Drop {
        rules.extend(drop_encapsulated());
    }

    rules.extend(jumps(egress));
    rules.push(rule(
        Vec::new(),
        RuleTarget::Goto(fixed.allowed.clone()),
        "no egress policy decided: allowed",
    ));

    ProgramChain {
        name: fixed.from.clone(),
        about: "from an endpoint of this node: egress policy".to_owned(),
        rules,
    }
}

fn drop_encapsulated() -> [ProgramRule; 2] {
    let port = PortRange::new(VXLAN_PORT, VXLAN_PORT).into_iter().collect();
    let vxlan = vec![
        RuleMatch::Protocol(Sense::Is, Protocol::UDP),
        RuleMatch::Ports(Sense::Is, Side::Destination, port),
    ];
    let ipip = Protocol::from_number(IPIP).map(|protocol| RuleMatch::Protocol(Sense::Is, protocol));

    [
        rule(vxlan, RuleTarget::Drop, "VXLAN of an endpoint"),
        rule(
            ipip.into_iter().collect(),
            RuleTarget::Drop,
            "IPIP of an endpoint",
        ),
    ]
}

fn jumps(tiers: &TierChains) -> impl Iterator<Item = ProgramRule> {
    tiers
        .entries
        .iter()
        .map(|(chain, about)| rule(Vec::new(), RuleTarget::Jump(chain.clone()), about))
}

/// Chain for packets that egress policy allows. Packets to an endpoint of this node continue with
/// its ingress policy. Never returns.
fn allowed(fixed: &FixedChains) -> ProgramChain {
    let rules = vec![
        rule(
            vec![local(fixed, Side::Destination)],
            RuleTarget::Goto(fixed.to.clone()),
            "to an endpoint of this node",
        ),
        rule(Vec::new(), RuleTarget::Accept, "to anyone else"),
    ];

    ProgramChain {
        name: fixed.allowed.clone(),
        about: "allowed by egress policy".to_owned(),
        rules,
    }
}

/// Chain for packets to an endpoint of this node: ingress policy, tier by tier. Never returns.
fn to_endpoint(fixed: &FixedChains, ingress: &TierChains) -> ProgramChain {
    let mut rules = Vec::from(tracked());
    rules.extend(jumps(ingress));
    rules.push(rule(
        Vec::new(),
        RuleTarget::Accept,
        "no ingress policy decided: allowed",
    ));

    ProgramChain {
        name: fixed.to.clone(),
        about: "to an endpoint of this node: ingress policy".to_owned(),
        rules,
    }
}

/// Chain for addresses that an endpoint may get later. They stay blocked until the endpoint is
/// known.
fn unknown(fixed: &FixedChains) -> ProgramChain {
    let log = RuleTarget::Log(log_prefix("unknown", None));
    let rules = vec![
        rule(vec![RuleMatch::Rarely], log, "unknown endpoint"),
        rule(Vec::new(), RuleTarget::Drop, "unknown endpoint"),
    ];
    ProgramChain {
        name: fixed.unknown.clone(),
        about: "of an address in a pod range of this node that no endpoint has".to_owned(),
        rules,
    }
}

fn hooks(fixed: FixedChains, position: HookPosition) -> Vec<ChainHook> {
    let ours = [
        ("FORWARD", fixed.forward),
        ("INPUT", fixed.input),
        ("OUTPUT", fixed.output),
    ];
    ours.into_iter()
        .map(|(kernel_chain, chain)| ChainHook {
            kernel_chain,
            chain,
            position,
        })
        .collect()
}
