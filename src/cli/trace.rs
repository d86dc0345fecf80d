//! What the scripts of nodes do with a packet, checked against what the nodes owe to it.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::explain::Group;
use crate::inventory::NodeId;
use crate::net::Family;
use crate::netfilter::{Kernel, Run, Script, TableName};
use crate::options::Options;
use crate::packet::Verdict;
use crate::render::Templates;
use crate::report::eval::{Detail, Step, Trace, Traced};
use crate::resolve::Resolved;
use crate::ruleset::CheckedScripts;
use crate::semantics::path::Stop;

/// Compiles the nodes that a packet comes past, and sends it through their scripts.
pub(super) struct Tracer {
    pub(super) options: Options,
    pub(super) templates: Templates,
}

/// The kernels of nodes, or why there is none.
type Kernels = BTreeMap<NodeId, Result<Kernel, String>>;

impl Tracer {
    /// What becomes of the first case of every group; of [`Detail::Verdict`] no script is asked.
    pub(super) fn trace(
        &self,
        resolved: &Resolved<'_>,
        groups: &[Group<'_>],
        detail: Detail,
    ) -> Result<Vec<Traced>, Diagnostic> {
        let mut kernels = Kernels::new();
        groups
            .iter()
            .map(|group| self.group(resolved, group, detail, &mut kernels))
            .collect()
    }

    fn group(
        &self,
        resolved: &Resolved<'_>,
        group: &Group<'_>,
        detail: Detail,
        kernels: &mut Kernels,
    ) -> Result<Traced, Diagnostic> {
        let mut traced = Traced {
            traces: Vec::new(),
            notes: Vec::new(),
        };
        let is_open = group
            .cases
            .first()
            .is_some_and(|case| case.flow.flow().is_none());
        if is_open && !resolved.policies.host_endpoints.is_empty() {
            traced.notes.push(
                "an endpoint without an address is on no node yet: policy of host endpoints is \
                 not asked"
                    .to_owned(),
            );
        }
        if detail == Detail::Verdict {
            return Ok(traced);
        }
        if is_open {
            traced
                .notes
                .push("an endpoint without an address stands in no script yet".to_owned());
        } else if group.stops.is_empty() {
            traced
                .notes
                .push("neither end is an endpoint or a node, so no script is about it".to_owned());
        }
        for stop in group.stops.iter().map(|way| &way.stop) {
            let kernel = kernels
                .entry(stop.node)
                .or_insert_with(|| self.kernel(resolved, stop.node));
            match kernel {
                Err(note) if traced.notes.contains(note) => {}
                Err(note) => traced.notes.push(note.clone()),
                Ok(kernel) => traced.traces.push(on_node(
                    &resolved.inventory.node(stop.node).name,
                    stop,
                    kernel,
                )?),
            }
        }
        Ok(traced)
    }

    /// The kernel of a node with our scripts loaded.
    fn kernel(&self, resolved: &Resolved<'_>, node: NodeId) -> Result<Kernel, String> {
        let name = &resolved.inventory.node(node).name;
        let mut found = Diagnostics::default();
        let untraced = |why: &str| format!("the scripts of node {name} are not traced: {why}");
        let part = crate::compile(resolved, node, &self.options, &self.templates, &mut found)
            .map_err(|problem| untraced(&problem.message))?;
        let Some(part) = part else {
            return Err(untraced(
                found
                    .sorted()
                    .first()
                    .map_or("they do not compile", |problem| &problem.message),
            ));
        };
        let checked = CheckedScripts::read(part.scripts.files(), &self.options.extensions);
        let checked = checked.map_err(|refused| untraced(&refused.to_string()))?;
        Ok(Kernel::load(&checked))
    }
}

/// The way through one node's scripts, which must end as the node owes to the packet.
fn on_node(name: &str, stop: &Stop<'_>, kernel: &Kernel) -> Result<Trace, Diagnostic> {
    let run = kernel.run(&stop.packet);
    match run.verdict == stop.expected.verdict && run.is_untracked == stop.expected.is_untracked {
        true => Ok(trace(name, stop.packet.flow.family(), &run)),
        false => Err(disagreement(name, &run, stop.expected.verdict)),
    }
}

fn trace(node: &str, family: Family, run: &Run<'_>) -> Trace {
    let path = |table| format!("nodes/{node}/{}", Script::Table(table, family));
    let steps = run.passed.iter().map(|passed| Step {
        script: path(passed.table),
        chain: passed.chain.to_owned(),
        number: passed.number,
        line: passed.line,
        action: passed.target.to_string(),
        comment: passed.comment.to_owned(),
    });
    let script = path(
        run.passed
            .last()
            .map_or(TableName::Filter, |last| last.table),
    );
    Trace {
        script,
        verdict: run.verdict.to_string(),
        steps: steps.collect(),
        node: node.to_owned(),
    }
}

fn disagreement(node: &str, run: &Run<'_>, expected: Verdict) -> Diagnostic {
    let passed: Vec<String> = run.passed.iter().map(ToString::to_string).collect();
    let message = format!(
        "policy wants this {expected}, and on node {node} it is {}; the rules it passed: {}",
        run.verdict,
        passed.join("; ")
    );
    Diagnostic::new(Code::InternalError, message).help(
        "this is a mistake in Palisade: do not trust either, and please report it with the input",
    )
}
