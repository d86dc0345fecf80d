//! Formats assertion results as text, as JSON, and as JUnit XML for continuous integration.

mod json;
mod junit;
mod text;

pub use json::json;
pub use junit::junit;
pub use text::text;

use crate::assertions::{Assertion, AssertionReport, AssertionVerdict, ExpectedOutcome};
use crate::explain::query::{Query, QueryCase, QueryEnd, QueryTraffic, SOURCE_PORT};
use crate::explain::{ExplainedGroup, PolicyTrace};
use crate::net::{Cidr, Direction};
use crate::packet::endpoint_pattern::EndpointPattern;
use crate::packet_space::RuleId;
use crate::report::eval::{QueryReport, pairs, stranger};
use crate::resolve::ResolvedPolicy;
use crate::source::{SourceFiles, Span};

/// Assertions and their results.
#[derive(Debug, Clone, Copy)]
pub struct TestedAssertions<'tested, 'input> {
    /// The assertions.
    pub assertions: &'tested [Assertion],
    /// The verdicts, one for each assertion.
    pub proof: &'tested AssertionReport<'input>,
    /// The policy that the assertions refer to.
    pub resolved: &'tested ResolvedPolicy<'input>,
    /// The files of assertions and policies.
    pub files: &'tested SourceFiles,
}

impl<'tested, 'input> TestedAssertions<'tested, 'input> {
    /// Returns the number of failed assertions.
    pub fn failed(&self) -> usize {
        self.found()
            .filter(|(assertion, verdict)| !verdict.is_passed(assertion))
            .count()
    }

    fn found(
        &self,
    ) -> impl Iterator<Item = (&'tested Assertion, &'tested AssertionVerdict<'input>)> {
        self.assertions.iter().zip(&self.proof.verdicts)
    }

    fn file(&self, span: Span) -> &'tested str {
        &self.files.get(span.file).name
    }

    fn line(&self, span: Span) -> usize {
        self.files.position(span).line
    }

    /// Formats a rule: `ingress rule 2 of NetworkPolicy shop/web`.
    fn rule(rule: &RuleId<'_>) -> String {
        format!(
            "{} rule {} of {}",
            rule.direction, rule.rule.number, rule.key
        )
    }

    /// Returns what is wrong, in one line, or `None` if the assertion holds.
    fn message(&self, assertion: &Assertion, verdict: &AssertionVerdict<'input>) -> Option<String> {
        match verdict {
            AssertionVerdict::Holds => None,
            AssertionVerdict::Empty(reasons) => Some(reasons.join("; ")),
            AssertionVerdict::Fails(group) => {
                let (wanted, found) = match assertion.expected {
                    ExpectedOutcome::Allowed => ("allowed", "denied"),
                    ExpectedOutcome::Denied => ("denied", "allowed"),
                };
                Some(format!(
                    "should be {wanted}, and is {found}: {}",
                    self.packet(group)
                ))
            }
        }
    }

    /// Formats a packet: `shop/web (10.0.0.1) to shop/db (10.0.0.2), TCP port 5432`.
    fn packet(&self, group: &ExplainedGroup<'_>) -> String {
        let ends = pairs(group)
            .iter()
            .map(|pair| pair.text(self.resolved.inventory))
            .collect::<Vec<_>>()
            .join(" and ");
        let what = group.cases.first().map(what).unwrap_or_default();
        format!("{ends}, {what}")
    }

    /// Returns what decides at each end.
    fn reasons(&self, group: &ExplainedGroup<'input>) -> Vec<(Direction, String)> {
        let Some(question) = group.cases.first().and_then(|case| self.question(case)) else {
            return Vec::new();
        };

        let groups = std::slice::from_ref(group);
        let answer = QueryReport {
            question: &question,
            groups,
            traced: &[],
            resolved: self.resolved,
            files: self.files,
        };
        let reason = |direction, way: &Option<PolicyTrace<'input>>| {
            (
                direction,
                way.as_ref()
                    .map_or_else(|| stranger(direction), |way| answer.reason(way)),
            )
        };

        vec![
            reason(Direction::Egress, &group.egress),
            reason(Direction::Ingress, &group.ingress),
        ]
    }

    /// Returns the question for the packet of a case.
    fn question(&self, case: &QueryCase) -> Option<Query> {
        let subject = |end: QueryEnd| match end {
            QueryEnd::Endpoint(_, Some(address)) => {
                Some(EndpointPattern::Addresses(Cidr::host(address)))
            }
            QueryEnd::Endpoint(id, None) => {
                self.resolved.inventory.endpoint(id).notation().parse().ok()
            }
            QueryEnd::Addresses(cidr) => Some(EndpointPattern::Addresses(cidr)),
        };
        let ports = case.flow.ports;
        let message = (
            case.flow.icmp.map(|message| message.kind),
            case.flow.icmp.map(|message| message.code),
        );
        let traffic = QueryTraffic {
            protocol: case.flow.protocol,
            port: ports.map(|ports| ports.destination),
            message,
        };

        Some(Query {
            from: subject(case.from)?,
            to: subject(case.to)?,
            traffic,
            source_port: ports.map(|ports| ports.source),
        })
    }
}

/// Formats traffic: `TCP port 443`, `TCP port 443 from port 53`, `ICMP type 8 code 0`, `protocol
/// 47`.
fn what(case: &QueryCase) -> String {
    let flow = &case.flow;
    let name = flow.protocol.to_string();
    let name = if name.parse::<u8>().is_ok() {
        format!("protocol {name}")
    } else {
        name
    };

    match (flow.ports, flow.icmp) {
        (Some(ports), _) if ports.source == SOURCE_PORT => {
            format!("{name} port {}", ports.destination)
        }
        (Some(ports), _) => format!(
            "{name} port {} from port {}",
            ports.destination, ports.source
        ),
        (None, Some(message)) => format!("{name} type {} code {}", message.kind, message.code),
        (None, None) => name,
    }
}
