use super::trace::Tracer;
use crate::diagnostic::{Code, Diagnostics};
use crate::explain::query::Question;
use crate::options::Options;
use crate::packet::Verdict;
use crate::policy::Staging;
use crate::render::Templates;
use crate::report::eval::Detail;
use crate::semantics::evaluate::Evaluator;
use crate::semantics::path::Router;
use crate::source::Files;
use crate::{explain, resolve};

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
    let mut files = Files::default();
    files.add("a.yaml", CLUSTER.to_owned()).unwrap();
    let mut found = Diagnostics::default();
    let input = crate::read(&files, Staging::Proposed, &mut found);
    assert!(!found.has_errors(), "{:?}", found.sorted());
    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut found);
    let evaluator = Evaluator::of(&resolved);
    let [from, to] = ["192.0.2.1", "one/server"].map(|text| text.parse().unwrap());
    let question = Question {
        from,
        to,
        traffic: "tcp/80".parse().unwrap(),
        source_port: None,
    };
    let tracer = Tracer {
        options: Options::default(),
        templates: Templates::new(&[]).unwrap(),
    };
    let cases = question.cases(&evaluator, &tracer.options).unwrap();
    let mut groups = explain::answer_on_nodes(
        &evaluator,
        &mut Router::of(&evaluator, &tracer.options),
        &cases,
    );
    assert!(tracer.trace(&resolved, &groups, Detail::Way).is_ok());
    groups[0].stops[0].stop.expected.verdict = Verdict::Drop;
    let refused = tracer.trace(&resolved, &groups, Detail::Way).unwrap_err();
    assert_eq!(refused.code, Code::InternalError);
    assert!(refused.help.unwrap().contains("report it"));
}
