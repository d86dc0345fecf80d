//! What the scripts of nodes do with a packet, checked against what the nodes owe to it.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::explain::ExplainedGroup;
use crate::inventory::NodeId;
use crate::net::Family;
use crate::netfilter::{NodeKernel, PacketTrace, ScriptFile, TableName};
use crate::options::CompileOptions;
use crate::packet::Verdict;
use crate::render::TemplateSet;
use crate::report::eval::{DetailLevel, ScriptTrace, TraceStep, TracedScripts};
use crate::resolve::ResolvedPolicy;
use crate::ruleset::CheckedScripts;
use crate::semantics::path::NodeHop;

/// Compiles the nodes that a packet comes past, and sends it through their scripts.
pub(super) struct ScriptTracer {
    pub(super) options: CompileOptions,
    pub(super) templates: TemplateSet,
}

/// The kernels of nodes, or why there is none.
type NodeKernels = BTreeMap<NodeId, Result<NodeKernel, String>>;

impl ScriptTracer {
    /// What becomes of the first case of every group; of [`DetailLevel::Verdict`] no script is
    /// asked.
    pub(super) fn trace(
        &self,
        resolved: &ResolvedPolicy<'_>,
        groups: &[ExplainedGroup<'_>],
        detail: DetailLevel,
    ) -> Result<Vec<TracedScripts>, Diagnostic> {
        let mut kernels = NodeKernels::new();
        groups
            .iter()
            .map(|group| self.group(resolved, group, detail, &mut kernels))
            .collect()
    }

    fn group(
        &self,
        resolved: &ResolvedPolicy<'_>,
        group: &ExplainedGroup<'_>,
        detail: DetailLevel,
        kernels: &mut NodeKernels,
    ) -> Result<TracedScripts, Diagnostic> {
        let mut traced = TracedScripts {
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

        if detail == DetailLevel::Verdict {
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
    fn kernel(&self, resolved: &ResolvedPolicy<'_>, node: NodeId) -> Result<NodeKernel, String> {
        let name = &resolved.inventory.node(node).name;
        let mut diagnostics = Diagnostics::default();
        let untraced = |why: &str| format!("the scripts of node {name} are not traced: {why}");

        let part = crate::compile(
            resolved,
            node,
            &self.options,
            &self.templates,
            &mut diagnostics,
        )
        .map_err(|problem| untraced(&problem.message))?;
        let Some(part) = part else {
            return Err(untraced(
                diagnostics
                    .sorted()
                    .first()
                    .map_or("they do not compile", |problem| &problem.message),
            ));
        };

        let checked = CheckedScripts::read(part.scripts.files(), &self.options.extensions);
        let checked = checked.map_err(|refused| untraced(&refused.to_string()))?;
        Ok(NodeKernel::load(&checked))
    }
}

/// The way through one node's scripts, which must end as the node owes to the packet.
fn on_node(name: &str, stop: &NodeHop<'_>, kernel: &NodeKernel) -> Result<ScriptTrace, Diagnostic> {
    let run = kernel.run(&stop.packet);
    match run.verdict == stop.expected.verdict && run.is_untracked == stop.expected.is_untracked {
        true => Ok(trace(name, stop.packet.flow.family(), &run)),
        false => Err(disagreement(name, &run, stop.expected.verdict)),
    }
}

fn trace(node: &str, family: Family, run: &PacketTrace<'_>) -> ScriptTrace {
    let path = |table| format!("nodes/{node}/{}", ScriptFile::Table(table, family));
    let steps = run.passed.iter().map(|passed| TraceStep {
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

    ScriptTrace {
        script,
        verdict: run.verdict.to_string(),
        steps: steps.collect(),
        node: node.to_owned(),
    }
}

fn disagreement(node: &str, run: &PacketTrace<'_>, expected: Verdict) -> Diagnostic {
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
