//! Answers are what the evaluator says, in random worlds: verdicts of addresses and of whole
//! families, matching rules, and that `explain` begins as `eval` does.
#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::fs;

use palisade::diagnostic::Diagnostics;
use palisade::explain::query::{Query, QueryEnd, QueryTraffic};
use palisade::explain::{self, ExplainedGroup, PolicyTrace};
use palisade::net::Cidr;
use palisade::options::CompileOptions;
use palisade::output::BufferedOutput;
use palisade::packet::endpoint_pattern::EndpointPattern;
use palisade::packet::{Flow, PortPair};
use palisade::policy::StagedPolicies;
use palisade::report::eval::{self, DetailLevel, QueryReport, QueryVerdict};
use palisade::resolve;
use palisade::semantics::evaluate::{EvaluatedPolicy, Evaluator};
use palisade::source::SourceFiles;

use super::random::{self, Aim, Dice};
use super::{SEEDS, STRIDE, manifests, read};
use crate::palisade::run;

const WORLDS: u64 = 20;
const PACKETS: usize = 30;
/// Addresses that are looked up in the answer about a prefix.
const SAMPLES: u32 = 40;

#[test]
fn answers_are_the_evaluators() {
    for seed in SEEDS.iter().flat_map(|seed| {
        (0..WORLDS).map(move |index| seed.wrapping_add(index.wrapping_mul(STRIDE)))
    }) {
        let mut dice = Dice(seed);
        let world = random::world(&mut dice);
        let aim = Aim::at(&world);
        let input =
            read(manifests::yaml(&world), StagedPolicies::Proposed).expect("palisade takes this");
        let resolved = resolve::selectors(
            &input.policies,
            &input.inventory,
            &mut Diagnostics::default(),
        );
        let evaluator = Evaluator::new(&resolved);
        for _ in 0..PACKETS {
            let flow = aim.packet(&mut dice, &world).flow();
            let question = question(&flow, Cidr::host(flow.source));
            let Ok(cases) = question.cases(&evaluator, &CompileOptions::default()) else {
                continue;
            };
            let groups = explain::answer(&evaluator, &cases);
            let answer = QueryReport {
                question: &question,
                groups: &groups,
                traced: &[],
                resolved: &resolved,
                files: &SourceFiles::default(),
            };
            let expected = evaluator.decide(&flow);
            assert_eq!(
                answer.verdict() == QueryVerdict::Allowed,
                expected.is_allowed(),
                "seed {seed}, {flow:?}"
            );
            let [brief, long, full] = [DetailLevel::Verdict, DetailLevel::Way, DetailLevel::Rules]
                .map(|detail| BufferedOutput::capture(|out| eval::text(&answer, detail, out)));
            let [brief, long, full] = [&brief, &long, &full].map(BufferedOutput::as_str);
            let first = eval::verdict_line(&answer);
            assert!(
                [&brief, &long, &full]
                    .iter()
                    .all(|text| text.lines().next() == Some(&*first)),
                "seed {seed}, {flow:?}:\n{long}"
            );
            let group = groups.first().expect("a group");
            let passed = [&expected.egress, &expected.ingress]
                .into_iter()
                .flatten()
                .flat_map(|passage| &passage.tiers);
            let passed = passed
                .flat_map(|tier| &tier.policies)
                .flat_map(numbers)
                .collect::<Vec<_>>();
            assert_eq!(passed, matching(group), "seed {seed}, {flow:?}");
        }
        whole_prefixes(&evaluator, &aim.packet(&mut dice, &world).flow());
    }
}

/// The commands themselves: `explain` begins as `eval` does, and finds scripts and policy agreed.
#[test]
fn explain_begins_as_eval_does() {
    for seed in (0..25).map(|index: u64| index.wrapping_mul(STRIDE)) {
        let mut dice = Dice(seed);
        let world = random::world(&mut dice);
        let aim = Aim::at(&world);
        let place = tempfile::tempdir().expect("a directory");
        fs::write(place.path().join("world.yaml"), manifests::yaml(&world)).expect("written");
        for _ in 0..4 {
            let flow = aim.packet(&mut dice, &world).flow();
            let told = ["eval", "explain"].map(|command| run(place.path(), &words(command, &flow)));
            let [eval, explain] = &told;
            let is_asked = eval.status != 2 || eval.stderr.contains("[no-answer]");
            assert!(
                is_asked && eval.status == explain.status,
                "seed {seed}, {flow:?}: {told:?}"
            );
            assert_eq!(
                eval.stdout.lines().next(),
                explain.stdout.lines().next(),
                "seed {seed}, {flow:?}"
            );
        }
    }
}

fn words(command: &str, flow: &Flow) -> Vec<String> {
    let keyword = flow.protocol.keyword();
    let what = match (flow.ports, flow.icmp) {
        (Some(ports), _) if flow.protocol.has_ports() => format!("{keyword}/{}", ports.destination),
        (_, Some(message)) => format!("{keyword}/{}/{}", message.kind, message.code),
        (_, None) => format!("proto/{}", flow.protocol.number()),
    };

    let mut words = vec![command.to_owned(), "world.yaml".to_owned(), "-q".to_owned()];
    words.extend(
        [
            "--from",
            &flow.source.to_string(),
            "--to",
            &flow.destination.to_string(),
            "--port",
            &what,
        ]
        .map(str::to_owned),
    );

    let ports = flow.ports.filter(|_| flow.protocol.has_ports());
    words.extend(
        ports
            .into_iter()
            .flat_map(|ports| ["--source-port".to_owned(), ports.source.to_string()]),
    );

    words
}

/// Every address of a prefix fares as the piece does that it is in.
fn whole_prefixes(evaluator: &Evaluator<'_, '_>, flow: &Flow) {
    let Some(around) = Cidr::around(flow.source, if flow.source.is_ipv4() { 8 } else { 32 }) else {
        return;
    };

    let question = question(flow, around);
    let Ok(cases) = question.cases(evaluator, &CompileOptions::default()) else {
        return;
    };

    let groups = explain::answer(evaluator, &cases);
    let mut dice = Dice(7);
    for _ in 0..SAMPLES {
        let flow = Flow {
            source: random_in(around, &mut dice),
            ..*flow
        };
        let holds =
            |group: &&ExplainedGroup<'_>| group.cases.iter().any(|case| is_in(case.from, &flow));
        // a pod's packets to itself are no case
        let Some(group) = groups.iter().find(holds) else {
            continue;
        };
        assert_eq!(
            group.is_allowed,
            evaluator.decide(&flow).is_allowed(),
            "{flow:?}"
        );
    }
}

fn is_in(end: QueryEnd, flow: &Flow) -> bool {
    match end {
        QueryEnd::Endpoint(_, address) => address == Some(flow.source),
        QueryEnd::Addresses(cidr) => cidr.holds(flow.source),
    }
}

fn random_in(cidr: Cidr, dice: &mut Dice) -> std::net::IpAddr {
    let mut piece = cidr;
    while let Some([low, high]) = piece.halves() {
        piece = if dice.pick(&[true, false]) { low } else { high };
    }
    piece.address()
}

fn question(flow: &Flow, from: Cidr) -> Query {
    let message = (
        flow.icmp.map(|message| message.kind),
        flow.icmp.map(|message| message.code),
    );
    let traffic = QueryTraffic {
        protocol: flow.protocol,
        port: flow.ports.map(|ports| ports.destination),
        message,
    };
    let source_port = flow.ports.map(|PortPair { source, .. }| source);

    Query {
        from: EndpointPattern::Addresses(from),
        to: EndpointPattern::Addresses(Cidr::host(flow.destination)),
        traffic,
        source_port,
    }
}

fn numbers<'passed>(passed: &'passed EvaluatedPolicy<'_>) -> impl Iterator<Item = usize> + 'passed {
    passed.rules.iter().map(|rule| rule.number)
}

/// The numbers of the rules of policies that match, as an explanation tells them.
fn matching(group: &ExplainedGroup<'_>) -> Vec<usize> {
    let tiers = group
        .egress
        .iter()
        .chain(&group.ingress)
        .flat_map(|way: &PolicyTrace<'_>| &way.tiers);

    let rules = tiers
        .flat_map(|tier| &tier.policies)
        .flat_map(|policy| &policy.rules);
    rules
        .filter(|asked| asked.misses.is_empty())
        .map(|asked| asked.rule.number)
        .collect()
}
