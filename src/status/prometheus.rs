//! Formats a status as metrics.

use crate::metrics::MetricFamilies;
use crate::net::Family;
use crate::ruleset::RuleCounters;
use crate::status::{CounterSource, EnforcementStatus, RuleCounter};

/// Metric families of one kind of source: names and help texts for packets and bytes.
type MetricNames = [(&'static str, &'static str); 2];

const RULES: MetricNames = [
    (
        "palisade_rule_packets_total",
        "Packets that a policy rule took; those of known connections are not asked about.",
    ),
    (
        "palisade_rule_bytes_total",
        "Bytes of the packets that a policy rule took.",
    ),
];
const TIER_ENDS: MetricNames = [
    (
        "palisade_tier_end_packets_total",
        "Packets that no rule of a tier took, and that its end decided.",
    ),
    (
        "palisade_tier_end_bytes_total",
        "Bytes of the packets that the end of a tier decided.",
    ),
];
const SPOOFED: MetricNames = [
    (
        "palisade_spoofed_packets_total",
        "Packets with a source that is not where they come from, by what was done about them.",
    ),
    (
        "palisade_spoofed_bytes_total",
        "Bytes of the packets with such a source.",
    ),
];
const BESIDE: MetricNames = [
    (
        "palisade_beside_packets_total",
        "Packets that a verdict around policy took, such as known connections.",
    ),
    (
        "palisade_beside_bytes_total",
        "Bytes of the packets that a verdict around policy took.",
    ),
];

impl EnforcementStatus {
    /// Adds the status to the metrics.
    pub fn measure(&self, metrics: &mut MetricFamilies) {
        metrics
            .gauge(
                "palisade_in_sync",
                "Whether the kernel holds exactly what the scripts say.",
            )
            .add(&[], self.is_in_sync());
        metrics
            .gauge(
                "palisade_differences",
                "How many things differ from the scripts.",
            )
            .add(&[], self.differences.len());

        let labels = [
            ("node", self.node.as_str()),
            ("digest", self.digest.as_str()),
            ("backend", self.backend.label()),
        ];

        metrics
            .gauge(
                "palisade_bundle_info",
                "The scripts that the kernel is compared with.",
            )
            .add(&labels, true);
        metrics
            .gauge("palisade_sets", "Sets of ours in the kernel.")
            .add(&[], self.sizes.sets);
        metrics
            .gauge("palisade_set_members", "Members of all sets of ours.")
            .add(&[], self.sizes.members);

        for (id, (chains, rules)) in &self.sizes.tables {
            let labels = [("table", id.kind.label()), ("family", family(id.family))];
            metrics
                .gauge("palisade_chains", "Chains of ours in the kernel.")
                .add(&labels, *chains);
            metrics
                .gauge("palisade_rules", "Rules in chains of ours.")
                .add(&labels, *rules);
        }

        self.counters
            .iter()
            .for_each(|counter| count(counter, metrics));
    }
}

fn count(counter: &RuleCounter, metrics: &mut MetricFamilies) {
    let table = ("table", counter.table.label());
    let counters = counter.counters;

    match &counter.source {
        CounterSource::Rule {
            tier,
            policy,
            direction,
            number,
        } => {
            let (kind, policy) = policy.split_once(' ').unwrap_or(("", policy));
            let (direction, number) = (direction.to_string(), number.to_string());
            let tier = ("tier", tier.as_deref().unwrap_or_default());
            let labels = [
                table,
                tier,
                ("kind", kind),
                ("policy", policy),
                ("direction", &direction),
                ("rule", &number),
            ];
            add(RULES, &labels, counters, metrics);
        }
        CounterSource::TierEnd { tier, direction } => {
            add(
                TIER_ENDS,
                &[table, ("tier", tier), ("direction", &direction.to_string())],
                counters,
                metrics,
            );
        }
        CounterSource::Spoofed { is_dropped } => {
            let action = if *is_dropped { "dropped" } else { "logged" };
            add(SPOOFED, &[table, ("action", action)], counters, metrics);
        }
        CounterSource::Beside { chain, about } => add(
            BESIDE,
            &[table, ("chain", chain), ("about", about)],
            counters,
            metrics,
        ),
    }
}

fn add(
    [packets, bytes]: MetricNames,
    labels: &[(&'static str, &str)],
    counters: RuleCounters,
    metrics: &mut MetricFamilies,
) {
    metrics
        .counter(packets.0, packets.1)
        .add(labels, counters.packets);
    metrics
        .counter(bytes.0, bytes.1)
        .add(labels, counters.bytes);
}

/// Returns the label `4` or `6`.
fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "4",
        Family::V6 => "6",
    }
}
