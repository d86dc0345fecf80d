//! What the scripts of nodes do with a packet, checked against what policy says of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::Flow;
use crate::analysis::explain::{Group, Way};
use crate::analysis::netfilter::{Hook, Kernel, Packet, Run, State, Texts, Verdict};
use crate::answers::{Detail, Step, Trace, Traced};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::NodeId;
use crate::lower::{Encapsulated, EndpointToHost, Options, UnknownEndpoint};
use crate::net::{Family, Protocol};
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
            return Ok(groups.iter().map(|group| self.notes(resolved, group)).collect());
        }
        let mut kernels = Kernels::new();
        groups.iter().map(|group| self.group(resolved, group, &mut kernels)).collect()
    }

    fn group(&self, resolved: &Resolved<'_>, group: &Group<'_>, kernels: &mut Kernels) -> Result<Traced, Diagnostic> {
        let mut traced = Traced::default();
        let Some(case) = group.cases.first() else { return Ok(traced) };
        let Some(flow) = case.flow.flow() else {
            traced.notes.push("an endpoint without an address stands in no script yet".to_owned());
            return Ok(traced);
        };
        let [source, destination] = nodes(resolved, group);
        if source.is_none() && destination.is_none() {
            traced.notes.push("neither end is an endpoint, so no script is about it".to_owned());
        }
        // the sender's node first
        for node in source.into_iter().chain(destination.filter(|node| source != Some(*node))) {
            let allows = |way: &Option<Way<'_>>, at: Option<NodeId>| at != Some(node) || way.as_ref().is_none_or(|way| way.is_allowed);
            let expected = allows(&group.egress, source) && allows(&group.ingress, destination);
            let kernel = kernels.entry(node).or_insert_with(|| self.kernel(resolved, node));
            match kernel {
                Err(note) => traced.notes.push(note.clone()),
                Ok(kernel) => self.on_node((resolved, node), kernel, (&flow, expected), &mut traced)?,
            }
        }
        Ok(traced)
    }

    /// What nodes do by themselves to the first case of a group.
    fn notes(&self, resolved: &Resolved<'_>, group: &Group<'_>) -> Traced {
        let Some(flow) = group.cases.first().and_then(|case| case.flow.flow()) else { return Traced::default() };
        let nodes: BTreeSet<NodeId> = nodes(resolved, group).into_iter().flatten().collect();
        let with_hosts = nodes.iter().filter(|node| resolved.hosts_on(**node).all().next().is_some());
        let beside = with_hosts.map(|node| beside_hosts(&resolved.inventory.node(*node).name));
        let notes = nodes.iter().filter_map(|node| self.beyond_policy((resolved, *node), &flow)).chain(beside).collect();
        Traced { traces: Vec::new(), notes }
    }

    fn on_node(
        &self,
        (resolved, node): (&Resolved<'_>, NodeId),
        kernel: &Kernel,
        (flow, expected): (&Flow, bool),
        traced: &mut Traced,
    ) -> Result<(), Diagnostic> {
        let hook = hook((resolved, node), flow);
        let run = kernel.run(&Packet { flow: *flow, hook, state: State::New, is_loopback: false });
        let name = resolved.inventory.node(node).name.to_string();
        match self.beyond_policy((resolved, node), flow) {
            Some(why) => traced.notes.push(why),
            None if (run.verdict == Verdict::Accept) == expected && run.verdict != Verdict::Undecided => {}
            None => return Err(disagreement(&name, &run, expected)),
        }
        traced.traces.push(trace(name, flow.family(), &run));
        Ok(())
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
        let texts = Texts { sets: &scripts.sets, v4: &scripts.filter_v4, v6: &scripts.filter_v6 };
        Kernel::load(&texts).map_err(|refused| untraced(&refused.to_string()))
    }

    /// What a node does by itself, before or instead of policy.
    fn beyond_policy(&self, (resolved, node): (&Resolved<'_>, NodeId), flow: &Flow) -> Option<String> {
        let why = self.own_will((resolved, node), flow)?;
        Some(format!("whatever policy says, node {} {why}", resolved.inventory.node(node).name))
    }

    fn own_will(&self, (resolved, node): (&Resolved<'_>, NodeId), flow: &Flow) -> Option<String> {
        let unknown = [flow.source, flow.destination].into_iter().find(|address| {
            let is_in_range = resolved.inventory.node(node).pod_ranges.iter().any(|range| range.holds(*address));
            is_in_range && !resolved.inventory.endpoints.iter().any(|endpoint| endpoint.addresses.contains(address))
        });
        let is_encapsulated =
            flow.protocol.number() == 4 || flow.protocol == Protocol::UDP && flow.ports.is_some_and(|ports| ports.destination == 4789);
        match hook((resolved, node), flow) {
            Hook::Output => return Some("does not police what it sends to its own endpoints (probes)".to_owned()),
            Hook::Input if self.options.endpoint_to_host == EndpointToHost::Drop => {
                return Some("drops what its endpoints send to it (`--endpoint-to-host drop`)".to_owned());
            }
            Hook::Input if flow.protocol == Protocol::ICMPV6 => return Some("takes neighbour discovery".to_owned()),
            Hook::Input | Hook::Forward => {}
        }
        match unknown {
            Some(address) if self.options.unknown_endpoint == UnknownEndpoint::Drop => {
                Some(format!("drops packets with the address {address}, which is in its pod range and no endpoint has"))
            }
            Some(_) | None if is_encapsulated && self.options.encapsulated == Encapsulated::Drop => {
                Some("drops encapsulated packets of endpoints (`--encapsulated drop`)".to_owned())
            }
            Some(_) | None => None,
        }
    }
}

/// The nodes of the sender and of the receiver.
fn nodes(resolved: &Resolved<'_>, group: &Group<'_>) -> [Option<NodeId>; 2] {
    let Some(case) = group.cases.first() else { return [None, None] };
    [case.flow.source, case.flow.destination].map(|party| party.owner.and_then(|id| resolved.inventory.endpoint(id).node))
}

/// Where a node sees a packet.
fn hook((resolved, node): (&Resolved<'_>, NodeId), flow: &Flow) -> Hook {
    let own = &resolved.inventory.node(node).addresses;
    match (own.contains(&flow.source), own.contains(&flow.destination)) {
        (true, _) => Hook::Output,
        (false, true) => Hook::Input,
        (false, false) => Hook::Forward,
    }
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
