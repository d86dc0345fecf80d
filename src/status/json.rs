//! Formats a status as JSON.

use serde_json::{Value, json};

use crate::output::{JsonWriter, OutputSink};
use crate::plan::{HookProblem, KernelDifference};
use crate::status::{CounterSource, EnforcementStatus, RuleCounter};

impl EnforcementStatus {
    /// Prints one line: `{"node", "scripts": DIGEST, "backend", "inSync", "differences": [{"what",
    /// "text", …}], "sets", "members", "chains", "rules", "counters": [{"table", "packets",
    /// "bytes", …}]}`.
    ///
    /// The fields of a difference depend on `what`: `set`; `table` and `chain`; for a `rule` also
    /// `number`, `expected` and `actual` (null if there is none); for `members` the first few of
    /// `missing` and `extra`, and their counts (`missingCount`, `extraCount`). A counter has `tier`
    /// (null for profiles), `kind`, `policy`, `direction`, `rule` and `place` (null if unknown); or
    /// `tier`, `direction` and `"end": true`; or `spoofed` (`dropped` or `logged`), for packets
    /// with a wrong source; or `chain` and `about`.
    pub fn json(&self, out: &mut OutputSink<'_>) {
        let view = json!({
            "node": self.node,
            "scripts": self.digest,
            "backend": self.backend.label(),
            "inSync": self.is_in_sync(),
            "differences": self.differences.iter().map(difference).collect::<Vec<Value>>(),
            "sets": self.sizes.sets,
            "members": self.sizes.members,
            "chains": self.sizes.chains(),
            "rules": self.sizes.rules(),
            "counters": self.counters.iter().map(counter).collect::<Vec<Value>>(),
        });
        JsonWriter::on(out).line(&view);
    }
}

fn difference(difference: &KernelDifference) -> Value {
    let mut view = match difference {
        KernelDifference::NoSet(set) => json!({ "what": "no-set", "set": set }),
        KernelDifference::SetKind(set) => json!({ "what": "set-kind", "set": set }),
        KernelDifference::SetUnlisted(set) => json!({ "what": "set-unlisted", "set": set }),
        KernelDifference::SetSplit(set) => json!({ "what": "set-split", "set": set }),
        KernelDifference::Members {
            set,
            missing,
            extra,
        } => json!({
            "what": "members", "set": set,
            "missing": missing.0, "missingCount": missing.1, "extra": extra.0, "extraCount": extra.1,
        }),
        KernelDifference::ExtraSet(set) => json!({ "what": "extra-set", "set": set }),
        KernelDifference::NoChain(table, chain) => {
            json!({ "what": "no-chain", "table": table.file(), "chain": chain })
        }
        KernelDifference::ExtraChain(table, chain) => {
            json!({ "what": "extra-chain", "table": table.file(), "chain": chain })
        }
        KernelDifference::Rule {
            table,
            chain,
            number,
            wanted,
            found,
        } => json!({
            "what": "rule", "table": table.file(), "chain": chain, "number": number, "expected": wanted, "actual": found,
        }),
        KernelDifference::Hook {
            table,
            chain,
            problem,
        } => {
            json!({ "what": "jump", "table": table.file(), "chain": chain, "problem": jump(*problem) })
        }
    };

    if let Some(fields) = view.as_object_mut() {
        fields.insert("text".to_owned(), difference.to_string().into());
    }

    view
}

fn jump(problem: HookProblem) -> &'static str {
    match problem {
        HookProblem::Missing => "missing",
        HookProblem::Moved(_) => "moved",
        HookProblem::Changed => "changed",
        HookProblem::Repeated(_) => "repeated",
        HookProblem::Extra => "extra",
    }
}

fn counter(counter: &RuleCounter) -> Value {
    let (table, place) = (counter.table.label(), &counter.place);
    let (packets, bytes) = (counter.counters.packets, counter.counters.bytes);

    match &counter.source {
        CounterSource::Rule {
            tier,
            policy,
            direction,
            number,
        } => {
            let (kind, policy) = policy.split_once(' ').unwrap_or(("", policy));
            json!({
                "table": table, "tier": tier, "kind": kind, "policy": policy, "direction": direction.to_string(), "rule": number,
                "place": place, "packets": packets, "bytes": bytes,
            })
        }
        CounterSource::TierEnd { tier, direction } => json!({
            "table": table, "tier": tier, "direction": direction.to_string(), "end": true, "packets": packets, "bytes": bytes,
        }),
        CounterSource::Spoofed { is_dropped } => {
            let fate = if *is_dropped { "dropped" } else { "logged" };
            json!({ "table": table, "spoofed": fate, "packets": packets, "bytes": bytes })
        }
        CounterSource::Beside { chain, about } => {
            json!({ "table": table, "chain": chain, "about": about, "packets": packets, "bytes": bytes })
        }
    }
}
