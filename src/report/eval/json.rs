//! Answers as JSON.

use serde::Serialize;

use crate::explain::{
    ExplainedGroup, NearMiss, NodeTrace, PolicyRulesTrace, PolicyTrace, RuleTrace, TierTrace,
};
use crate::output::{JsonWriter, OutputSink};
use crate::packet::{Hook, IcmpMessage};
use crate::report::eval::hops::{forged_words, list_word};
use crate::report::eval::pairs::{PartyGroup, PartyPair, pairs};
use crate::report::eval::text::notes;
use crate::report::eval::{DetailLevel, QueryReport, ScriptTrace, TraceStep, TracedScripts};
use crate::semantics::evaluate::{ListOutcome, PolicySubject, TierEnd};
use crate::source::Span;

/// Writes the answer as one JSON object on one line.
///
/// `{"verdict": "allowed" | "denied" | "denied for some", "from", "to", "protocol", "port"?,
/// "sourcePort"?, "icmp"?: {"type", "code"}, "notes": […], "groups": [{"verdict", "pairs":
/// [{"from": PARTY, "to": PARTY, "families": ["IPv4"]}], "egress": WAY | null, "ingress": WAY |
/// null, "nodes": [NODE], "scripts"?: [{"node", "script", "verdict", "rules": [{"script", "chain",
/// "number", "line", "action", "comment"}]}], "notes"?: […]}]}`.
///
/// PARTY is `{"endpoint"?, "addresses": […]}`. NODE is `{"node", "hook": "forward" | "input" |
/// "output", "verdict", "because"?, "hostEndpoints": [{"hostEndpoint", "list": "normal" | "forward"
/// | "untracked" | "pre-DNAT", "direction", and as WAY}], "beside": […]}`. WAY is `{"verdict",
/// "reason"}`; the verdict of a host endpoint can also be "goes on". Unless only verdicts are
/// requested, WAY also has `"tiers": [{"tier", "end", "policies": [{"policy", "file", "line",
/// "rules": [RULE]}]}], "profiles": [{"profile", "rules": [RULE]}], "nearMisses": [{"policy",
/// "rule", "file", "line", "wouldMatchIf"}]`. RULE is `{"number", "file", "line", "action",
/// "matches", "misses": […]}`.
pub fn json(answer: &QueryReport<'_, '_>, detail: DetailLevel, out: &mut OutputSink<'_>) {
    let question = answer.question;
    let ports = question.ports();
    let view = EvalView {
        verdict: answer.verdict().label(),
        from: question.from.to_string(),
        to: question.to.to_string(),
        protocol: question.traffic.protocol.to_string(),
        port: ports.map(|ports| ports.destination),
        source_port: ports.map(|ports| ports.source),
        icmp: question.traffic.icmp().map(IcmpView::new),
        notes: notes(answer),
        groups: answer
            .groups
            .iter()
            .enumerate()
            .map(|(index, group)| group_view(answer, group, answer.traced.get(index), detail))
            .collect(),
    };

    JsonWriter::on(out).line(&view);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EvalView {
    verdict: &'static str,
    from: String,
    to: String,
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<IcmpView>,
    notes: Vec<String>,
    groups: Vec<GroupView>,
}

/// An ICMP message.
#[derive(Serialize)]
pub(in crate::report) struct IcmpView {
    #[serde(rename = "type")]
    kind: u8,
    code: u8,
}

impl IcmpView {
    pub(in crate::report) fn new(message: IcmpMessage) -> Self {
        Self {
            kind: message.kind,
            code: message.code,
        }
    }
}

#[derive(Serialize)]
struct GroupView {
    verdict: &'static str,
    pairs: Vec<PairView>,
    egress: Option<TraceView>,
    ingress: Option<TraceView>,
    nodes: Vec<NodeView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scripts: Option<Vec<ScriptView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeView {
    node: String,
    hook: &'static str,
    verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    host_endpoints: Vec<EvalHostView>,
    beside: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EvalHostView {
    host_endpoint: String,
    list: &'static str,
    direction: String,
    #[serde(flatten)]
    way: TraceView,
}

#[derive(Serialize)]
struct PairView {
    from: EvalPartyView,
    to: EvalPartyView,
    families: Vec<String>,
}

#[derive(Serialize)]
struct EvalPartyView {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    addresses: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceView {
    verdict: &'static str,
    reason: String,
    #[serde(flatten)]
    told: Option<OutcomeView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutcomeView {
    tiers: Vec<TierView>,
    profiles: Vec<ProfileView>,
    near_misses: Vec<NearMissView>,
}

#[derive(Serialize)]
struct TierView {
    tier: String,
    end: &'static str,
    policies: Vec<EvalPolicyView>,
}

#[derive(Serialize)]
struct EvalPolicyView {
    policy: String,
    #[serde(flatten)]
    place: PositionView,
    rules: Vec<EvalRuleView>,
}

#[derive(Serialize)]
struct PositionView {
    file: String,
    line: usize,
}

#[derive(Serialize)]
struct ProfileView {
    profile: String,
    rules: Vec<EvalRuleView>,
}

#[derive(Serialize)]
struct EvalRuleView {
    number: usize,
    #[serde(flatten)]
    place: PositionView,
    action: String,
    matches: bool,
    misses: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NearMissView {
    policy: String,
    rule: usize,
    #[serde(flatten)]
    place: PositionView,
    would_match_if: String,
}

#[derive(Serialize)]
struct ScriptView {
    node: String,
    script: String,
    verdict: String,
    rules: Vec<StepView>,
}

#[derive(Serialize)]
struct StepView {
    script: String,
    chain: String,
    number: usize,
    line: usize,
    action: String,
    comment: String,
}

fn verdict(is_allowed: bool) -> &'static str {
    if is_allowed { "allowed" } else { "denied" }
}

fn said(outcome: ListOutcome) -> &'static str {
    match outcome {
        ListOutcome::Allowed => "allowed",
        ListOutcome::Denied => "denied",
        ListOutcome::Undecided => "goes on",
    }
}

fn group_view(
    answer: &QueryReport<'_, '_>,
    group: &ExplainedGroup<'_>,
    traced: Option<&TracedScripts>,
    detail: DetailLevel,
) -> GroupView {
    let way = |way: &Option<PolicyTrace<'_>>| way.as_ref().map(|way| way_view(answer, way, detail));

    GroupView {
        verdict: verdict(group.is_allowed),
        pairs: pairs(group)
            .iter()
            .map(|pair| pair_view(answer, pair))
            .collect(),
        egress: way(&group.egress),
        ingress: way(&group.ingress),
        nodes: group
            .stops
            .iter()
            .map(|stop| node_view(answer, stop, detail))
            .collect(),
        scripts: traced
            .filter(|_| detail != DetailLevel::Verdict)
            .map(script_views),
        notes: traced.map(|traced| traced.notes.clone()),
    }
}

fn node_view(answer: &QueryReport<'_, '_>, way: &NodeTrace<'_>, detail: DetailLevel) -> NodeView {
    let NodeTrace { stop, hosts } = way;
    let host = |way: &PolicyTrace<'_>| EvalHostView {
        host_endpoint: host_name(answer, way.whose),
        list: list_word(way.list).unwrap_or("normal"),
        direction: way.direction.to_string(),
        way: way_view(answer, way, detail),
    };

    NodeView {
        node: answer.node(stop.node).to_owned(),
        hook: match stop.packet.hook {
            Hook::Forward { .. } => "forward",
            Hook::Input { .. } => "input",
            Hook::Output { .. } => "output",
        },
        verdict: stop.expected.verdict.to_string(),
        because: answer.doing(stop),
        host_endpoints: hosts.iter().map(host).collect(),
        beside: answer
            .beside(way)
            .into_iter()
            .chain(forged_words(stop, detail).map(str::to_owned))
            .collect(),
    }
}

fn host_name(answer: &QueryReport<'_, '_>, whose: PolicySubject) -> String {
    match whose {
        PolicySubject::HostEndpoint(id) => answer
            .resolved
            .host_endpoint(id)
            .map(|host| host.name.clone())
            .unwrap_or_default(),
        PolicySubject::Endpoint(_) => String::new(),
    }
}

fn pair_view(answer: &QueryReport<'_, '_>, pair: &PartyPair) -> PairView {
    let party = |party: &PartyGroup| EvalPartyView {
        endpoint: party
            .endpoint
            .map(|id| answer.resolved.inventory.endpoint(id).notation()),
        addresses: party.addresses.iter().map(ToString::to_string).collect(),
    };

    PairView {
        from: party(&pair.from),
        to: party(&pair.to),
        families: pair.families.iter().map(ToString::to_string).collect(),
    }
}

fn way_view(answer: &QueryReport<'_, '_>, way: &PolicyTrace<'_>, detail: DetailLevel) -> TraceView {
    let told = (detail != DetailLevel::Verdict).then(|| OutcomeView {
        tiers: tier_views(answer, way),
        profiles: way
            .profiles
            .iter()
            .map(|own| ProfileView {
                profile: own.name.to_owned(),
                rules: rule_views(answer, &own.rules),
            })
            .collect(),
        near_misses: near_miss_views(answer, way),
    });

    TraceView {
        verdict: said(way.outcome),
        reason: answer.reason(way),
        told,
    }
}

fn tier_views(answer: &QueryReport<'_, '_>, way: &PolicyTrace<'_>) -> Vec<TierView> {
    let policy = |passed: &PolicyRulesTrace<'_>| EvalPolicyView {
        policy: passed.policy.key.to_string(),
        place: place(answer, passed.policy.span),
        rules: rule_views(answer, &passed.rules),
    };

    let tier = |tier: &TierTrace<'_>| TierView {
        tier: tier.tier.name.clone(),
        end: match tier.end {
            TierEnd::Allowed => "allowed",
            TierEnd::Denied => "denied",
            TierEnd::Passed => "passed",
            TierEnd::DeniedByDefault => "denied by default",
            TierEnd::PassedByDefault => "passed by default",
        },
        policies: tier.policies.iter().map(policy).collect(),
    };
    way.tiers.iter().map(tier).collect()
}

fn rule_views(answer: &QueryReport<'_, '_>, rules: &[RuleTrace<'_>]) -> Vec<EvalRuleView> {
    let view = |asked: &RuleTrace<'_>| EvalRuleView {
        number: asked.rule.number,
        place: place(answer, asked.rule.span),
        action: asked.rule.action.to_string(),
        matches: asked.is_match(),
        misses: asked
            .misses
            .iter()
            .map(|part| answer.miss(*part, asked.rule))
            .collect(),
    };
    rules.iter().map(view).collect()
}

fn near_miss_views(answer: &QueryReport<'_, '_>, way: &PolicyTrace<'_>) -> Vec<NearMissView> {
    let view = |near: &NearMiss<'_>| NearMissView {
        policy: near.key.to_string(),
        rule: near.rule.number,
        place: place(answer, near.rule.span),
        would_match_if: answer.wish(near),
    };
    way.near.iter().map(view).collect()
}

fn script_views(traced: &TracedScripts) -> Vec<ScriptView> {
    let view = |trace: &ScriptTrace| ScriptView {
        node: trace.node.clone(),
        script: trace.script.clone(),
        verdict: trace.verdict.clone(),
        rules: trace.steps.iter().map(step_view).collect(),
    };
    traced.traces.iter().map(view).collect()
}

fn step_view(step: &TraceStep) -> StepView {
    let TraceStep {
        script,
        chain,
        number,
        line,
        action,
        comment,
    } = step.clone();

    StepView {
        script,
        chain,
        number,
        line,
        action,
        comment,
    }
}

fn place(answer: &QueryReport<'_, '_>, span: Span) -> PositionView {
    PositionView {
        file: answer.files.get(span.file).name.clone(),
        line: answer.files.position(span).line,
    }
}
