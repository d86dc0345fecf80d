//! What the scripts of nodes do with a packet, checked against what policy says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::analysis::explain::{Group, Way};
use crate::analysis::netfilter::{Kernel, Run, TableTexts, Texts};
use crate::analysis::question::Case;
use crate::analysis::{Flow, Hook, Packet, State, Verdict};
use crate::answers::eval::{Detail, Step, Trace, Traced};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::NodeId;
use crate::net::{Family, Protocol};
use crate::options::{Encapsulated, EndpointToHost, Options, UnknownEndpoint};
use crate::render::Templates;
use crate::resolve::Resolved;

/// Compiles the nodes that a packet comes past, and sends it through their scripts.
pub(super) struct Tracer {
    pub(super) options: Options,
    pub(super) templates: Templates,
}

/// The kernels of nodes, or why there is none.
type Kernels = BTreeMap<NodeId, Result<Kernel, String>>;

impl Tracer {
    /// What becomes of the first case of every group; of [`Detail::Verdict`] only what nodes do by themselves.
    pub(super) fn trace(&self, resolved: &Resolved<'_>, groups: &[Group<'_>], detail: Detail) -> Result<Vec<Traced>, Diagnostic> {
        if detail == Detail::Verdict {
            return Ok(groups.iter().map(|group| Traced { traces: Vec::new(), notes: self.notes(resolved, group) }).collect());
        }
        let mut kernels = Kernels::new();
        groups.iter().map(|group| self.group(resolved, group, &mut kernels)).collect()
    }

    fn group(&self, resolved: &Resolved<'_>, group: &Group<'_>, kernels: &mut Kernels) -> Result<Traced, Diagnostic> {
        let mut traced = Traced { traces: Vec::new(), notes: self.notes(resolved, group) };
        let Some(case) = group.cases.first() else { return Ok(traced) };
        let Some(flow) = case.flow.flow() else {
            traced.notes.push("an endpoint without an address stands in no script yet".to_owned());
            return Ok(traced);
        };
        let [source, destination] = nodes(resolved, case);
        if source.is_none() && destination.is_none() {
            traced.notes.push("neither end is an endpoint, so no script is about it".to_owned());
        }
        // the sender's node first
        for node in source.into_iter().chain(destination.filter(|node| source != Some(*node))) {
            let allows = |way: &Option<Way<'_>>, at: Option<NodeId>| at != Some(node) || way.as_ref().is_none_or(|way| way.is_allowed);
            let expected = allows(&group.egress, source) && allows(&group.ingress, destination);
            let kernel = kernels.entry(node).or_insert_with(|| self.kernel(resolved, node));
            match kernel {
                Err(note) if traced.notes.contains(note) => {}
                Err(note) => traced.notes.push(note.clone()),
                Ok(kernel) => traced.traces.push(self.on_node((resolved, node), kernel, (case, &flow), expected)?),
            }
        }
        Ok(traced)
    }

    /// What nodes do by themselves to the cases of a group.
    fn notes(&self, resolved: &Resolved<'_>, group: &Group<'_>) -> Vec<String> {
        let mut notes = BTreeSet::new();
        let mut all_nodes = BTreeSet::new();
        for case in &group.cases {
            let nodes = nodes(resolved, case).into_iter().flatten();
            let Some(flow) = case.flow.flow() else { continue };
            notes.extend(host_endpoints(resolved, &flow));
            for node in nodes {
                all_nodes.insert(node);
                notes.extend(self.beyond_policy((resolved, node), (case, &flow)));
            }
        }
        let with_hosts = all_nodes.into_iter().filter(|node| resolved.hosts_on(*node).all().next().is_some());
        notes.extend(with_hosts.map(|node| beside_hosts(&resolved.inventory.node(node).name)));
        notes.into_iter().collect()
    }

    /// The way through one node's scripts, which must end as policy says.
    fn on_node(
        &self,
        (resolved, node): (&Resolved<'_>, NodeId),
        kernel: &Kernel,
        (case, flow): (&Case, &Flow),
        expected: bool,
    ) -> Result<Trace, Diagnostic> {
        let hook = hook((resolved, node), flow);
        let run = kernel.run(&Packet { flow: *flow, original: None, hook, state: State::New });
        let name = resolved.inventory.node(node).name.to_string();
        let found = match run.verdict {
            Verdict::Accept => Some(true),
            Verdict::Drop => Some(false),
            Verdict::Undecided => None,
        };
        match found == Some(expected) || self.beyond_policy((resolved, node), (case, flow)).is_some() {
            true => Ok(trace(name, flow.family(), &run)),
            false => Err(disagreement(&name, &run, expected)),
        }
    }

    /// The kernel of a node with our scripts loaded.
    fn kernel(&self, resolved: &Resolved<'_>, node: NodeId) -> Result<Kernel, String> {
        let name = &resolved.inventory.node(node).name;
        if resolved.hosts_on(node).all().next().is_some() {
            return Err(beside_hosts(name));
        }
        let mut found = Diagnostics::default();
        let untraced = |why: &str| format!("the scripts of node {name} are not traced: {why}");
        let part =
            crate::compile(resolved, node, &self.options, &self.templates, &mut found).map_err(|problem| untraced(&problem.message))?;
        let Some(part) = part else {
            return Err(untraced(found.sorted().first().map_or("they do not compile", |problem| &problem.message)));
        };
        let scripts = &part.scripts;
        let filter = |filter| TableTexts { raw: None, mangle: None, filter };
        let texts = Texts { sets: &scripts.sets, v4: filter(&scripts.filter_v4), v6: filter(&scripts.filter_v6) };
        Kernel::load(&texts).map_err(|refused| untraced(&refused.to_string()))
    }

    /// What a node does by itself, before or instead of policy.
    fn beyond_policy(&self, (resolved, node): (&Resolved<'_>, NodeId), (case, flow): (&Case, &Flow)) -> Option<String> {
        let why = self.own_will((resolved, node), (case, flow))?;
        Some(format!("whatever policy says, node {} {why}", resolved.inventory.node(node).name))
    }

    fn own_will(&self, (resolved, node): (&Resolved<'_>, NodeId), (case, flow): (&Case, &Flow)) -> Option<String> {
        let ranges = &resolved.inventory.node(node).pod_ranges;
        let strangers = [case.flow.source, case.flow.destination].into_iter().filter(|party| party.owner.is_none());
        let unknown = strangers.filter_map(|party| party.address).find_map(|address| ranges.iter().find(|range| range.holds(address)));
        let is_encapsulated =
            flow.protocol.number() == 4 || flow.protocol == Protocol::UDP && flow.ports.is_some_and(|ports| ports.destination == 4789);
        match hook((resolved, node), flow) {
            Hook::Output { .. } => return Some("does not police what it sends to its own endpoints (probes)".to_owned()),
            Hook::Input { .. } if self.options.endpoint_to_host == EndpointToHost::Drop => {
                return Some("drops what its endpoints send to it (`--endpoint-to-host drop`)".to_owned());
            }
            Hook::Input { .. } if flow.protocol == Protocol::ICMPV6 => return Some("takes neighbour discovery".to_owned()),
            Hook::Input { .. } | Hook::Forward { .. } => {}
        }
        match unknown {
            Some(range) if self.options.unknown_endpoint == UnknownEndpoint::Drop => {
                Some(format!("drops packets of addresses in its pod range {range} that no endpoint has"))
            }
            Some(_) | None if is_encapsulated && self.options.encapsulated == Encapsulated::Drop => {
                Some("drops encapsulated packets of endpoints (`--encapsulated drop`)".to_owned())
            }
            Some(_) | None => None,
        }
    }
}

/// The nodes of the sender and of the receiver.
fn nodes(resolved: &Resolved<'_>, case: &Case) -> [Option<NodeId>; 2] {
    [case.flow.source, case.flow.destination].map(|party| party.owner.and_then(|id| resolved.inventory.endpoint(id).node))
}

/// Where a node sees a packet.
fn hook((resolved, node): (&Resolved<'_>, NodeId), flow: &Flow) -> Hook {
    let own = &resolved.inventory.node(node).addresses;
    // without host endpoints no rule asks which ones, but for the loopback interface
    let (arrives, leaves) = ("eth0".to_owned(), "eth1".to_owned());
    match (own.contains(&flow.source), own.contains(&flow.destination)) {
        (true, _) => Hook::Output { leaves },
        (false, true) => Hook::Input { arrives },
        (false, false) => Hook::Forward { arrives, leaves },
    }
}

/// Which ends are host endpoints', as far as addresses tell.
fn host_endpoints<'told>(resolved: &'told Resolved<'_>, flow: &Flow) -> impl Iterator<Item = String> + 'told {
    let of_node = |name: &str, address: IpAddr| {
        let node = resolved.inventory.find_node(name);
        node.is_some_and(|node| resolved.inventory.node(node).addresses.contains(&address))
    };
    [flow.source, flow.destination].into_iter().filter_map(move |address| {
        let mut hosts = resolved.policies.host_endpoints.iter();
        let host = hosts.find(|host| host.addresses.contains(&address) || of_node(&host.node, address))?;
        Some(format!("{address} is an address of node {}, which has {host}; its policy is not told", host.node))
    })
}

fn beside_hosts(node: &str) -> String {
    format!("node {node} has host endpoints; what their policy does to the packet is not told")
}

fn trace(node: String, family: Family, run: &Run<'_>) -> Trace {
    let file = match family {
        Family::V4 => "filter.v4.rules",
        Family::V6 => "filter.v6.rules",
    };
    let steps = run.passed.iter().map(|passed| Step {
        chain: passed.chain.to_owned(),
        number: passed.number,
        line: passed.line,
        action: passed.target.to_string(),
        comment: passed.comment.to_owned(),
    });
    Trace { script: format!("nodes/{node}/{file}"), verdict: word(run.verdict).to_owned(), steps: steps.collect(), node }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accepted",
        Verdict::Drop => "dropped",
        Verdict::Undecided => "left to other rules",
    }
}

fn disagreement(node: &str, run: &Run<'_>, expected: bool) -> Diagnostic {
    let expected = if expected { "allows" } else { "denies" };
    let passed: Vec<String> = run.passed.iter().map(ToString::to_string).collect();
    let message =
        format!("policy {expected} this, and on node {node} it is {}; the rules it passed: {}", word(run.verdict), passed.join("; "));
    Diagnostic::new(Code::InternalError, message)
        .help("this is a mistake in Palisade: do not trust either, and please report it with the input")
}
