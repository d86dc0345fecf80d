//! Differences for code scanning: SARIF 2.1.0, with a result for each location of a cause.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::diff::{CausedTraffic, ConnectionChange, DiffState};
use crate::output::{JsonWriter, OutputSink, visible};
use crate::report::diff::DiffReport;
use crate::source::Span;

/// The SARIF rules: id, description, level.
const RULES: [(&str, &str, &str); 3] = [
    (
        "connection-gained",
        "A connection is allowed that was not allowed before",
        "warning",
    ),
    (
        "connection-lost",
        "A connection is no longer allowed",
        "note",
    ),
    (
        "connection-changed",
        "A connection is allowed for other traffic than before, more in part and less in part",
        "warning",
    ),
];
/// The maximum number of names in a message, and of lines in a result.
const MOST: usize = 5;

/// The properties by which results are grouped: rule and location.
type ResultKey = (usize, Option<(DiffState, Span)>);

/// Writes one run with a result for each rule or policy that causes a difference. The location is
/// in the new state if a rule or policy there allows what is gained or denies what is lost, else in
/// the old state.
pub fn sarif(comparison: &DiffReport<'_, '_>, out: &mut OutputSink<'_>) {
    let mut results: BTreeMap<ResultKey, Vec<String>> = BTreeMap::new();
    for change in &comparison.difference.changes {
        let gained = change
            .gained
            .iter()
            .map(|portion| (DiffState::New, portion));
        for (state, portion) in
            gained.chain(change.lost.iter().map(|portion| (DiffState::Old, portion)))
        {
            let rule = rule(change, state);
            let message = message(comparison, change, state, portion);
            for place in places(portion) {
                results
                    .entry((rule, place))
                    .or_default()
                    .push(message.clone());
            }
        }
    }

    let results: Vec<Value> = results
        .into_iter()
        .map(|(key, lines)| result(comparison, key, &lines))
        .collect();
    let rules =
        RULES.map(|(id, text, level)| json!({"id": id, "shortDescription": {"text": text}, "defaultConfiguration": {"level": level}}));
    let driver = json!({"name": "palisade", "version": env!("CARGO_PKG_VERSION"), "rules": rules});
    let run =
        json!({"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results});

    let log = json!({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]});
    JsonWriter::on(out).pretty(&log);
}

/// Returns the index in [`RULES`].
fn rule(change: &ConnectionChange<'_>, state: DiffState) -> usize {
    match (change.gained.is_empty() || change.lost.is_empty(), state) {
        (false, _) => 2,
        (true, DiffState::New) => 0,
        (true, DiffState::Old) => 1,
    }
}

/// Returns the locations of the causes. Returns one `None` if no policy is a cause.
fn places(portion: &CausedTraffic<'_>) -> Vec<Option<(DiffState, Span)>> {
    let mut places = Vec::new();
    for reason in &portion.reasons {
        let now = reason
            .new
            .places()
            .into_iter()
            .map(|(.., span)| (DiffState::New, span));
        let then = reason
            .old
            .places()
            .into_iter()
            .map(|(.., span)| (DiffState::Old, span));
        let now: Vec<_> = now.collect();
        // code scanning annotates the new files if possible
        places.extend(if now.is_empty() { then.collect() } else { now });
    }

    places.sort_unstable();
    places.dedup();
    if places.is_empty() {
        vec![None]
    } else {
        places.into_iter().map(Some).collect()
    }
}

fn message(
    comparison: &DiffReport<'_, '_>,
    change: &ConnectionChange<'_>,
    state: DiffState,
    portion: &CausedTraffic<'_>,
) -> String {
    let word = match state {
        DiffState::New => "gained",
        DiffState::Old => "lost",
    };
    let pairs = comparison.pairs(change, MOST).join("; ");
    let reasons: Vec<String> = portion
        .reasons
        .iter()
        .flat_map(|reason| comparison.reasons(reason))
        .collect();
    let traffic = comparison.traffic(portion.traffic);

    format!(
        "{word} {traffic}: {pairs}. {}. Witness: {}",
        reasons.join("; "),
        comparison.witness(&portion.witness)
    )
}

fn result(comparison: &DiffReport<'_, '_>, (rule, place): ResultKey, lines: &[String]) -> Value {
    let (id, _, level) = RULES.get(rule).copied().unwrap_or_default();
    let more = lines.len().saturating_sub(MOST);
    let mut text = lines
        .iter()
        .take(MOST)
        .map(|line| plain(line))
        .collect::<Vec<_>>()
        .join("\n");

    if more > 0 {
        text.push_str(&format!("\nand {more} more"));
    }

    let locations: Vec<Value> = place
        .into_iter()
        .map(|(state, span)| location(comparison, state, span))
        .collect();
    json!({"ruleId": id, "ruleIndex": rule, "level": level, "message": {"text": text}, "locations": locations})
}

fn location(comparison: &DiffReport<'_, '_>, state: DiffState, span: Span) -> Value {
    let files = comparison.files.get(state);
    let start = files.position(span);
    let name = &files.get(span.file).name;
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(name)},
        "region": {"startLine": start.line, "startColumn": start.column},
    }})
}

/// Escapes the text of a message for SARIF (section 3.11.6), where brackets would make a link.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        out.extend(matches!(letter, '[' | ']' | '\\').then_some('\\'));
        out.push(letter);
    }
    out
}

/// Returns a file's name as a URI reference. For a file of a Git revision, this is its path in the
/// repository.
fn uri(name: &str) -> String {
    let path = match name
        .strip_prefix("git:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((_, path)) => path,
        None => name.strip_prefix("./").unwrap_or(name),
    };

    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }

    uri
}
