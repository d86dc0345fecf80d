use std::collections::BTreeSet;

use super::format::FORMATS;
use super::program;
use super::trace::ScriptTracer;
use crate::diagnostic::{Code, Diagnostics};
use crate::explain;
use crate::explain::query::Query;
use crate::options::CompileOptions;
use crate::packet::Verdict;
use crate::policy::StagedPolicies;
use crate::render::TemplateSet;
use crate::report::eval::DetailLevel;
use crate::resolve;
use crate::semantics::evaluate::Evaluator;
use crate::semantics::path::FlowRouter;
use crate::source::SourceFiles;

const CLUSTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: one, labels: {app: server}}
spec: {nodeName: b}
status: {podIP: 10.0.0.2}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: a, namespace: one}
spec: {selector: app == 'server', ingress: [{action: Allow, source: {nets: [192.0.2.0/24]}}]}
";

#[test]
fn where_scripts_and_policy_disagree_there_is_no_answer() {
    let mut files = SourceFiles::default();
    files.add("a.yaml", CLUSTER.to_owned()).unwrap();
    let mut diagnostics = Diagnostics::default();
    let input = crate::read(&files, StagedPolicies::Proposed, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{:?}", diagnostics.sorted());

    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let evaluator = Evaluator::new(&resolved);
    let [from, to] = ["192.0.2.1", "one/server"].map(|text| text.parse().unwrap());
    let question = Query {
        from,
        to,
        traffic: "tcp/80".parse().unwrap(),
        source_port: None,
    };
    let tracer = ScriptTracer {
        options: CompileOptions::default(),
        templates: TemplateSet::new(&[]).unwrap(),
    };
    let cases = question.cases(&evaluator, &tracer.options).unwrap();

    let mut groups = explain::answer_on_nodes(
        &evaluator,
        &mut FlowRouter::new(&evaluator, &tracer.options),
        &cases,
    );
    assert!(tracer.trace(&resolved, &groups, DetailLevel::Way).is_ok());
    groups[0].stops[0].stop.expected.verdict = Verdict::Drop;

    let refused = tracer
        .trace(&resolved, &groups, DetailLevel::Way)
        .unwrap_err();
    assert_eq!(refused.code, Code::InternalError);
    assert!(refused.help.unwrap().contains("report it"));
}

#[test]
fn every_command_has_its_row_of_formats_and_no_code_has_its_name() {
    let program = program();
    let commands: Vec<&str> = program
        .get_subcommands()
        .map(|command| command.get_name())
        .collect();
    let rows: Vec<&str> = FORMATS.iter().map(|row| row.command).collect();
    assert_eq!(rows, commands);
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert!(commands.iter().all(|command| !codes.contains(command)));
}

#[test]
fn arguments_are_sound() {
    program().debug_assert();
}
