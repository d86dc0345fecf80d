//! The hooks and interfaces at which the node sees a connection's packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::conntrack::{TrackedConnection, refused};
use crate::netfilter::NodeKernel;
use crate::observe::{KernelProblem, ask};
use crate::packet::{Flow, Hook};
use crate::runner::{Runner, ToolCall};

/// What is known about the node's interfaces.
#[derive(Debug, Default)]
pub(super) struct NodeInterfaces {
    /// The node's own addresses.
    pub(super) own: BTreeSet<IpAddr>,
    /// The interfaces that scripts name, and one that they do not.
    pub(super) any: Vec<String>,
    /// The interface that leads to an address, if there is only one.
    pub(super) towards: BTreeMap<IpAddr, String>,
}

impl NodeInterfaces {
    /// Reads what matters for these connections from the kernel. Reads routes only if scripts name
    /// interfaces.
    pub(super) fn ask(
        runner: &mut dyn Runner,
        kernel: &NodeKernel,
        known: &[TrackedConnection],
    ) -> Result<Self, KernelProblem> {
        let own = addresses(&ask(
            runner,
            &ToolCall::new("ip", &["-o", "address", "show"]),
        )?);
        let any = any(kernel);
        // A single name means that scripts name no interface, so routes do not matter.
        let towards = match any.as_slice() {
            [_] => BTreeMap::new(),
            _ => towards(runner, &others(known, &own))?,
        };
        Ok(Self { own, any, towards })
    }

    /// Returns the hooks that may see a flow's first packet. Empty if both ends are the node's own.
    pub(super) fn hooks(&self, flow: &Flow) -> Vec<Hook> {
        let (sources, destinations) = (
            self.leading_to(flow.source),
            self.leading_to(flow.destination),
        );

        match (
            self.own.contains(&flow.source),
            self.own.contains(&flow.destination),
        ) {
            (true, true) => Vec::new(),
            (true, false) => destinations
                .into_iter()
                .map(|leaves| Hook::Output { leaves })
                .collect(),
            (false, true) => sources
                .into_iter()
                .map(|arrives| Hook::Input { arrives })
                .collect(),
            (false, false) => {
                let pairs = sources
                    .iter()
                    .flat_map(|arrives| destinations.iter().map(move |leaves| (arrives, leaves)));
                pairs
                    .map(|(arrives, leaves)| Hook::Forward {
                        arrives: arrives.clone(),
                        leaves: leaves.clone(),
                    })
                    .collect()
            }
        }
    }

    fn leading_to(&self, address: IpAddr) -> Vec<String> {
        self.towards
            .get(&address)
            .map_or_else(|| self.any.clone(), |name| vec![name.clone()])
    }
}

/// Returns the interfaces that scripts name, and one other name, which represents all the rest.
pub(super) fn any(kernel: &NodeKernel) -> Vec<String> {
    let mut any: Vec<String> = kernel.interfaces().into_iter().map(str::to_owned).collect();
    any.extend(
        (0..)
            .map(|number| format!("other{number}"))
            .find(|name| kernel.interfaces().iter().all(|known| known != name)),
    );
    any
}

/// Returns the ends of connections that are not the node's own.
fn others(known: &[TrackedConnection], own: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let ends = known
        .iter()
        .map(TrackedConnection::flow)
        .flat_map(|flow| [flow.source, flow.destination]);
    ends.filter(|address| !own.contains(address)).collect()
}

/// Returns the interface on which the node sends to each address. Omits addresses without a route,
/// or with a choice of several.
fn towards(
    runner: &mut dyn Runner,
    others: &BTreeSet<IpAddr>,
) -> Result<BTreeMap<IpAddr, String>, KernelProblem> {
    let mut choices = BTreeSet::new();
    for family in ["-4", "-6"] {
        let routes = ask(
            runner,
            &ToolCall::new("ip", &["-o", family, "route", "show", "table", "all"]),
        )?;
        choices.extend(choices_of(&routes));
    }

    let questions = others
        .iter()
        .map(|address| format!("route get {address}\n"))
        .collect();
    let call = ToolCall::new("ip", &["-o", "-force", "-batch", "-"]).with_input(questions);

    let answers = runner.run(&call).map_err(KernelProblem::NoAnswer)?;
    // The status is nonzero if one address has no route. The other answers are still valid.
    if answers.status.is_none() {
        return Err(refused(&call, "it was killed by a signal"));
    }

    let only = answers
        .output
        .lines()
        .filter_map(route)
        .filter(|(_, hop)| !choices.contains(hop));
    Ok(only
        .map(|(address, hop)| (address, hop.interface))
        .collect())
}

/// The next hop of a packet.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RouteHop {
    /// The router. Empty if the receiver is on the link.
    pub(super) router: String,
    /// The interface.
    pub(super) interface: String,
}

/// Parses `10.0.0.9 via 10.0.0.1 dev eth0 src 10.0.0.2 uid 0`. Returns `None` for other types of
/// routes, which begin with another word.
pub(super) fn route(line: &str) -> Option<(IpAddr, RouteHop)> {
    Some((line.split_whitespace().next()?.parse().ok()?, hop(line)?))
}

/// Returns the hops of multipath routes: `default proto static \ nexthop via 10.0.0.1 dev eth0
/// weight 1 \ nexthop …`.
pub(super) fn choices_of(routes: &str) -> BTreeSet<RouteHop> {
    routes
        .lines()
        .flat_map(|line| line.split("nexthop ").skip(1))
        .filter_map(hop)
        .collect()
}

/// Parses `… via 10.0.0.1 dev eth0 …`.
fn hop(text: &str) -> Option<RouteHop> {
    let (before, behind) = text.split_once("dev ")?;
    let router = before
        .split_once("via ")
        .map_or("", |(_, router)| router.trim());
    Some(RouteHop {
        router: router.to_owned(),
        interface: behind.split_whitespace().next()?.to_owned(),
    })
}

/// Returns the node's own addresses from the output of `ip -o address show`: `2: eth0    inet
/// 10.0.0.1/24 brd …`.
pub(super) fn addresses(text: &str) -> BTreeSet<IpAddr> {
    let of_line = |line: &str| {
        let mut words = line
            .split_whitespace()
            .skip_while(|word| !matches!(*word, "inet" | "inet6"))
            .skip(1);
        words.next()?.split('/').next()?.parse().ok()
    };
    text.lines().filter_map(of_line).collect()
}
