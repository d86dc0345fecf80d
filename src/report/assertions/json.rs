//! Assertion results as JSON.

use serde::Serialize;

use crate::assertions::{Assertion, AssertionVerdict, ExpectedOutcome};
use crate::explain::ExplainedGroup;
use crate::explain::query::QueryEnd;
use crate::net::Direction;
use crate::output::{JsonWriter, OutputSink};
use crate::packet_space::RuleId;
use crate::report::assertions::TestedAssertions;
use crate::report::eval::IcmpView;

/// Writes the results as one JSON object on one line.
///
/// `{"assertions": [{"description": TEXT | null, "title", "file", "line", "expected": "allowed" |
/// "denied", "passed": BOOLEAN, "verdict": "holds" | "empty" | "fails", "message"?,
/// "counterExample"?: {"from": PARTY, "to": PARTY, "family", "protocol", "port"?, "sourcePort"?,
/// "icmp"?: {"type", "code"}, "egress", "ingress"}}], "passed": NUMBER, "failed": NUMBER,
/// "coverage"?: {"rules": NUMBER, "touched": NUMBER, "percent": NUMBER, "untouched": [{"policy",
/// "direction", "rule", "file", "line"}]}}`. PARTY is `{"endpoint"?, "address"?}`. `egress` and
/// `ingress` contain what decides in that direction.
pub fn json(tested: &TestedAssertions<'_, '_>, out: &mut OutputSink<'_>) {
    let coverage = tested.proof.coverage.as_ref();
    let view = AssertionJson {
        assertions: tested
            .found()
            .map(|(assertion, verdict)| assertion_view(tested, assertion, verdict))
            .collect(),
        passed: tested.assertions.len() - tested.failed(),
        failed: tested.failed(),
        coverage: coverage.map(|coverage| CoverageView {
            rules: coverage.rules.len(),
            touched: coverage.touched(),
            percent: coverage.percent(),
            untouched: coverage
                .untouched()
                .map(|rule| rule_view(tested, rule))
                .collect(),
        }),
    };

    JsonWriter::on(out).line(&view);
}

#[derive(Serialize)]
struct AssertionJson<'tested> {
    assertions: Vec<AssertionView<'tested>>,
    passed: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<CoverageView<'tested>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AssertionView<'tested> {
    description: Option<&'tested str>,
    title: String,
    file: &'tested str,
    line: usize,
    expected: &'static str,
    passed: bool,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter_example: Option<CounterExampleView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CounterExampleView {
    from: AssertionPartyView,
    to: AssertionPartyView,
    family: String,
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<IcmpView>,
    egress: Option<String>,
    ingress: Option<String>,
}

#[derive(Serialize)]
struct AssertionPartyView {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

#[derive(Serialize)]
struct CoverageView<'tested> {
    rules: usize,
    touched: usize,
    percent: usize,
    untouched: Vec<AssertionRuleView<'tested>>,
}

#[derive(Serialize)]
struct AssertionRuleView<'tested> {
    policy: String,
    direction: String,
    rule: usize,
    file: &'tested str,
    line: usize,
}

fn assertion_view<'tested, 'input>(
    tested: &TestedAssertions<'tested, 'input>,
    assertion: &'tested Assertion,
    verdict: &AssertionVerdict<'input>,
) -> AssertionView<'tested> {
    let (word, counter_example) = match verdict {
        AssertionVerdict::Holds => ("holds", None),
        AssertionVerdict::Empty(_) => ("empty", None),
        AssertionVerdict::Fails(group) => ("fails", counter_example(tested, group)),
    };

    AssertionView {
        description: assertion.description.as_deref(),
        title: assertion.title(),
        file: tested.file(assertion.span),
        line: tested.line(assertion.span),
        expected: match assertion.expected {
            ExpectedOutcome::Allowed => "allowed",
            ExpectedOutcome::Denied => "denied",
        },
        passed: verdict.is_passed(assertion),
        verdict: word,
        message: tested.message(assertion, verdict),
        counter_example,
    }
}

fn counter_example<'input>(
    tested: &TestedAssertions<'_, 'input>,
    group: &ExplainedGroup<'input>,
) -> Option<CounterExampleView> {
    let case = group.cases.first()?;
    let party = |end: QueryEnd| match end {
        QueryEnd::Endpoint(id, address) => AssertionPartyView {
            endpoint: Some(tested.resolved.inventory.endpoint(id).notation()),
            address: address.map(|address| address.to_string()),
        },
        QueryEnd::Addresses(cidr) => AssertionPartyView {
            endpoint: None,
            address: Some(cidr.address().to_string()),
        },
    };
    let reasons = tested.reasons(group);
    let reason = |wanted: Direction| {
        reasons
            .iter()
            .find(|(direction, _)| *direction == wanted)
            .map(|(_, reason)| reason.clone())
    };

    Some(CounterExampleView {
        from: party(case.from),
        to: party(case.to),
        family: case.flow.family.to_string(),
        protocol: case.flow.protocol.to_string(),
        port: case.flow.ports.map(|ports| ports.destination),
        source_port: case.flow.ports.map(|ports| ports.source),
        icmp: case.flow.icmp.map(IcmpView::new),
        egress: reason(Direction::Egress),
        ingress: reason(Direction::Ingress),
    })
}

fn rule_view<'tested>(
    tested: &TestedAssertions<'tested, '_>,
    of: &RuleId<'_>,
) -> AssertionRuleView<'tested> {
    AssertionRuleView {
        policy: of.key.to_string(),
        direction: of.direction.to_string(),
        rule: of.rule.number,
        file: tested.file(of.rule.span),
        line: tested.line(of.rule.span),
    }
}
