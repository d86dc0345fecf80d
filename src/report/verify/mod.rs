//! Formats the result of a verification: the proof, or packets that show a difference.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::net::State;
use crate::netfilter::{MisplacedRule, ScriptFile};
use crate::output::{JsonWriter, OutputSink, TerminalWriter};
use crate::packet::{Hook, Packet, ReversePath, Verdict};
use crate::ruleset::ScriptError;
use crate::semantics::evaluate::{ListTrace, TierEnd};
use crate::semantics::node::{ExpectedVerdict, VerdictCause};
use crate::source::SourceFiles;
use crate::verify::{TracedRule, Verification, VerifyDifference, Witness};

/// The result for one node's scripts.
#[derive(Debug)]
pub struct NodeReport<'input> {
    /// The node.
    pub node: String,
    /// The result of the comparison; `None` if there was nothing to compare.
    pub verification: Option<Verification<'input>>,
    /// Problems with the node's files.
    pub problems: Vec<String>,
    /// The matches and targets of templates, with the number of rules that have each. It is only
    /// proven that such rules accept nothing.
    pub extensions: Vec<(String, usize)>,
}

impl NodeReport<'_> {
    /// Returns `true` if the scripts implement the policy and there are no problems.
    pub fn is_proven(&self) -> bool {
        self.problems.is_empty()
            && self
                .verification
                .as_ref()
                .is_some_and(Verification::is_proven)
    }

    /// Writes the result as text: `n1: proven: 34 classes of addresses, …`, or the differences.
    pub fn text(&self, files: &SourceFiles, out: &mut OutputSink<'_>) {
        let mut out = TerminalWriter::on(out);
        self.lines(files).iter().for_each(|line| out.line(line));
    }

    /// Returns the lines of the text.
    pub fn lines(&self, files: &SourceFiles) -> Vec<String> {
        let proof = self
            .verification
            .as_ref()
            .map(|found| found.proof)
            .unwrap_or_default();
        if self.is_proven() {
            return vec![format!(
                "{}: proven: {} classes of addresses, {} of traffic, {} pairs in all hooks and \
                 states{}",
                self.node,
                proof.places,
                proof.traffic,
                proof.pairs,
                self.words_of_extensions()
            )];
        }

        let differing = self
            .verification
            .as_ref()
            .map_or(0, |found| found.differing);
        let mut lines = vec![match differing {
            0 => format!("{}: differs", self.node),
            _ => format!(
                "{}: differs in {differing} of {} pairs",
                self.node, proof.pairs
            ),
        }];
        lines.extend(self.problems.iter().map(|problem| format!("  {problem}")));
        if self
            .verification
            .as_ref()
            .is_some_and(Verification::is_proven)
        {
            // the problems are about the files of the bundle, not about verdicts
            let proven = "what the scripts say now is proven all the same";
            lines.push(format!(
                "  {proven}: they decide every packet as the policies do"
            ));
        }
        let differences = self
            .verification
            .iter()
            .flat_map(|found| &found.differences);
        differences.for_each(|difference| lines.extend(difference_lines(difference, files)));
        lines
    }

    /// Returns the part of the text about extensions, or an empty string.
    fn words_of_extensions(&self) -> String {
        if self.extensions.is_empty() {
            return String::new();
        }

        let of = |(name, rules): &(String, usize)| match rules {
            1 => format!("{name} in 1 rule"),
            rules => format!("{name} in {rules} rules"),
        };
        let list: Vec<String> = self.extensions.iter().map(of).collect();

        format!(
            "; without rules of extensions, which may drop more: {}",
            list.join(", ")
        )
    }

    /// Writes the result as one JSON object on one line: `{"node", "proven", "places", "traffic",
    /// "pairs", "differing", "problems": […], "differences": [{"packet", "owed": {"verdict",
    /// "because"}, "found": {"verdict", "rules": [{"script", "chain", "line", "action",
    /// "comment"}]}} or {"problem"}]}`.
    pub fn json(&self, files: &SourceFiles, out: &mut OutputSink<'_>) {
        let proof = self
            .verification
            .as_ref()
            .map(|found| found.proof)
            .unwrap_or_default();
        let differences = self
            .verification
            .iter()
            .flat_map(|found| &found.differences);

        let view = json!({
            "node": self.node,
            "proven": self.is_proven(),
            "places": proof.places,
            "traffic": proof.traffic,
            "pairs": proof.pairs,
            "differing": self.verification.as_ref().map_or(0, |found| found.differing),
            "problems": self.problems,
            "extensions": self.extensions.iter().cloned().collect::<BTreeMap<String, usize>>(),
            "differences": differences.map(|difference| difference_json(difference, files)).collect::<Vec<Value>>(),
        });
        JsonWriter::on(out).line(&view);
    }
}

/// Problems with a bundle, apart from its nodes' scripts.
#[derive(Debug)]
pub struct BundleProblems {
    /// The problems, as text.
    pub problems: Vec<String>,
}

impl BundleProblems {
    /// Writes the problems as text.
    pub fn text(&self, out: &mut OutputSink<'_>) {
        let mut out = TerminalWriter::on(out);
        out.line("the bundle: differs");
        self.problems
            .iter()
            .for_each(|problem| out.line(format_args!("  {problem}")));
    }

    /// Writes the problems as one JSON object on one line: `{"node": null, "proven": false,
    /// "problems": […]}`.
    pub fn json(&self, out: &mut OutputSink<'_>) {
        JsonWriter::on(out)
            .line(&json!({ "node": null, "proven": false, "problems": self.problems }));
    }
}

fn difference_json(difference: &VerifyDifference<'_>, files: &SourceFiles) -> Value {
    match difference {
        VerifyDifference::NotLoadable(refused) => json!({ "problem": not_loadable(refused) }),
        VerifyDifference::Misplaced(misplaced) => json!({ "problem": misplaced_words(misplaced) }),
        VerifyDifference::Packet(witness) => {
            let family = witness.packet.flow.family();
            let rule = |rule: &TracedRule| {
                let script = ScriptFile::Table(rule.table, family).to_string();
                let action = rule.target.to_string();
                json!({ "script": script, "chain": rule.chain, "line": rule.line, "action": action, "comment": rule.comment })
            };
            json!({
                "packet": packet_words(&witness.packet),
                "owed": { "verdict": fate(witness.owed.verdict, witness.owed.is_untracked), "because": because(&witness.owed, files) },
                "found": {
                    "verdict": fate(witness.verdict, witness.is_untracked),
                    "rules": witness.passed.iter().map(rule).collect::<Vec<Value>>(),
                },
            })
        }
    }
}

fn difference_lines(difference: &VerifyDifference<'_>, files: &SourceFiles) -> Vec<String> {
    match difference {
        VerifyDifference::NotLoadable(refused) => vec![format!("  {}", not_loadable(refused))],
        VerifyDifference::Misplaced(misplaced) => vec![format!("  {}", misplaced_words(misplaced))],
        VerifyDifference::Packet(witness) => witness_lines(witness, files),
    }
}

fn not_loadable(refused: &ScriptError) -> String {
    format!("the scripts do not load: {refused}")
}

fn misplaced_words(misplaced: &MisplacedRule) -> String {
    let MisplacedRule {
        table,
        family,
        chain,
        line,
    } = misplaced;
    let script = ScriptFile::Table(*table, *family);

    format!(
        "{script}, line {line}: the rule stands at the other end of {chain} than `hookPosition` \
         says"
    )
}

fn witness_lines(witness: &Witness<'_>, files: &SourceFiles) -> Vec<String> {
    let owed = fate(witness.owed.verdict, witness.owed.is_untracked);
    let mut lines = vec![
        format!("  {}", packet_words(&witness.packet)),
        format!("    should be {owed}: {}", because(&witness.owed, files)),
        format!(
            "    the scripts: {}",
            fate(witness.verdict, witness.is_untracked)
        ),
    ];
    let family = witness.packet.flow.family();

    for TracedRule {
        table,
        chain,
        line,
        comment,
        target,
    } in &witness.passed
    {
        let script = ScriptFile::Table(*table, family);
        lines.push(format!(
            "      {script}, line {line}, {chain}: {target} ({comment})"
        ));
    }

    lines
}

/// Formats a packet: `TCP 10.0.0.1 port 49152 to 10.0.0.2 port 80, first of a connection, forwarded
/// from eth0 to cali0`.
fn packet_words(packet: &Packet) -> String {
    let flow = &packet.flow;
    let port = |port: Option<u16>| port.map_or_else(String::new, |port| format!(" port {port}"));
    let message = flow.icmp.map_or_else(String::new, |message| {
        format!(" type {} code {}", message.kind, message.code)
    });
    let ports = (
        flow.ports.map(|ports| ports.source),
        flow.ports.map(|ports| ports.destination),
    );
    let original = packet.original.map_or_else(String::new, |sent| {
        format!(" (sent to {}{})", sent.address, port(sent.port))
    });
    let state = match packet.state {
        State::New => "first of its connection",
        State::Established => "of a known connection",
        State::Related => "related to a known connection",
        State::Invalid => "of no connection",
        State::Untracked => "not tracked",
    };
    let place = match &packet.hook {
        Hook::Forward { arrives, leaves } => format!("forwarded from {arrives} to {leaves}"),
        Hook::Input { arrives } => format!("to the node by {arrives}"),
        Hook::Output { leaves } => format!("of the node by {leaves}"),
    };
    let (source, destination) = (
        format!("{}{}", flow.source, port(ports.0)),
        format!("{}{}", flow.destination, port(ports.1)),
    );
    let reverse_path = match packet.reverse_path {
        ReversePath::Arriving => "",
        ReversePath::Elsewhere => ", though the route back leads elsewhere",
        ReversePath::Nowhere => ", without a route back",
    };

    format!(
        "{}{message} from {source} to {destination}{original}, {state}, {place}{reverse_path}",
        flow.protocol
    )
}

fn fate(verdict: Verdict, is_untracked: bool) -> String {
    let kept = if is_untracked {
        ", kept from connection tracking"
    } else {
        ""
    };
    format!("{verdict}{kept}")
}

fn because(owed: &ExpectedVerdict<'_>, files: &SourceFiles) -> String {
    match owed.cause {
        VerdictCause::Policy => owed
            .passages
            .last()
            .map_or_else(|| "policy".to_owned(), |passage| decider(passage, files)),
        VerdictCause::KnownConnection => "known connections go on".to_owned(),
        VerdictCause::NoConnection => "it belongs to no connection".to_owned(),
        VerdictCause::Neighbour => "neighbours must find each other".to_owned(),
        VerdictCause::Failsafe => "it is for a failsafe port".to_owned(),
        VerdictCause::SpoofedSource => "its source is a pod's, which is elsewhere".to_owned(),
        VerdictCause::UnknownEndpoint => {
            "no endpoint has that address of the node's pod range".to_owned()
        }
        VerdictCause::Encapsulated => "endpoints may not send what is encapsulated".to_owned(),
        VerdictCause::EndpointToHost => "endpoints may not send to their node".to_owned(),
        VerdictCause::Nothing => "no policy is about it".to_owned(),
    }
}

/// Returns the rule that decides, with its location, or what decides if no rule does.
fn decider(passage: &ListTrace<'_>, files: &SourceFiles) -> String {
    let direction = passage.direction;
    let Some(last) = passage.tiers.last() else {
        return format!("no {direction} policy applies");
    };

    let rule = last
        .policies
        .last()
        .and_then(|passed| Some((passed.policy, *passed.rules.last()?)));
    match (last.end, rule) {
        (TierEnd::Allowed | TierEnd::Denied, Some((policy, rule))) => {
            let place = format!(
                "{}:{}",
                files.get(rule.span.file).name,
                files.position(rule.span).line
            );
            format!(
                "{direction} rule {} of {} ({place})",
                rule.number, policy.key
            )
        }
        (TierEnd::DeniedByDefault, _) => {
            let policies: Vec<String> = last
                .policies
                .iter()
                .map(|passed| passed.policy.key.to_string())
                .collect();
            format!(
                "no {direction} rule of {} matches, and tier {} denies the rest",
                policies.join(", "),
                last.tier.name
            )
        }
        (TierEnd::Allowed | TierEnd::Denied | TierEnd::Passed | TierEnd::PassedByDefault, _) => {
            format!("every tier of {direction} policy passes on, and profiles decide")
        }
    }
}
