//! Sums packet and byte counters by their source.

use std::collections::BTreeMap;

use crate::net::Direction;
use crate::ruleset::{RuleCounters, RuleJump, RuleText, TableKind};
use crate::status::NodeInspection;
use crate::status::layout::{TableLayout, direction, direction_in};

/// Source positions of policy rules, such as `policies.yaml:12`, by policy (`NetworkPolicy
/// shop/web`), direction and rule number.
pub type PolicyPlaces = BTreeMap<(String, Direction, usize), String>;

/// The counters of all kernel rules with one source, over chains and families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCounter {
    /// The table. Untracked and pre-DNAT policy uses other tables than the rest, and a packet may
    /// meet the same policy again in a later table.
    pub table: TableKind,
    /// The source of the kernel rules.
    pub source: CounterSource,
    /// The sum of their counters.
    pub counters: RuleCounters,
    /// Position in the input of the source, if known.
    pub place: Option<String>,
}

/// What a kernel rule implements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CounterSource {
    /// A rule of a policy or profile.
    Rule {
        /// The tier. `None` for profiles.
        tier: Option<String>,
        /// Kind and name of the policy: `NetworkPolicy shop/web`.
        policy: String,
        /// The direction of the rule.
        direction: Direction,
        /// The rule's number in this direction, from 1.
        number: usize,
    },
    /// The end of a tier: no policy rule of the endpoint matched.
    TierEnd {
        /// The tier's name.
        tier: String,
        /// The direction.
        direction: Direction,
    },
    /// Packets whose source address does not belong to the interface on which they arrived.
    Spoofed {
        /// Whether they were dropped, or only logged.
        is_dropped: bool,
    },
    /// A verdict outside of policy: known connections, endpoints without policy, failsafe ports.
    Beside {
        /// The chain.
        chain: String,
        /// The rule's comment.
        about: String,
    },
}

/// Targets that are verdicts, and the chain that follows an egress policy which allows.
const VERDICTS: [&str; 3] = ["ACCEPT", "DROP", "pal-allowed"];

/// The chain for packets with a wrong source.
const SPOOFED: &str = "pal-spoofed";

/// Returns the counters of the scripts' tables, in packet order. Skips chains that are not in the
/// scripts, and rules that lead to another chain without a verdict.
pub(super) fn counters(look: &NodeInspection<'_>) -> Vec<RuleCounter> {
    let mut sums = CounterSums::default();
    for (id, text) in look.scripts {
        let (Some(desired), Some(observed)) =
            (look.desired.tables.get(id), look.observed.tables.get(id))
        else {
            continue;
        };
        let layout = TableLayout::read(text, desired);
        for (chain, about) in &layout.chains {
            let rules = observed.chains.get(chain).into_iter().flatten();
            let known = rules
                .filter_map(|rule| Some((source(rule, chain, about, &layout)?, rule.counters)));
            known.for_each(|(source, counters)| {
                sums.add(id.kind, source, counters.unwrap_or_default(), look.places)
            });
        }
    }

    sums.found
}

/// The sums so far.
#[derive(Default)]
struct CounterSums {
    found: Vec<RuleCounter>,
    /// Index of each source in `found`.
    known: BTreeMap<(TableKind, CounterSource), usize>,
}

impl CounterSums {
    fn add(
        &mut self,
        table: TableKind,
        source: CounterSource,
        more: RuleCounters,
        places: &PolicyPlaces,
    ) {
        let known = self.known.get(&(table, source.clone())).copied();
        match known.and_then(|at| self.found.get_mut(at)) {
            Some(counter) => add(&mut counter.counters, more),
            None => {
                self.known.insert((table, source.clone()), self.found.len());
                self.found.push(RuleCounter {
                    table,
                    place: place(&source, places),
                    source,
                    counters: more,
                });
            }
        }
    }
}

fn add(sum: &mut RuleCounters, more: RuleCounters) {
    sum.packets = sum.packets.saturating_add(more.packets);
    sum.bytes = sum.bytes.saturating_add(more.bytes);
}

fn place(source: &CounterSource, places: &PolicyPlaces) -> Option<String> {
    match source {
        CounterSource::Rule {
            policy,
            direction,
            number,
            ..
        } => places.get(&(policy.clone(), *direction, *number)).cloned(),
        CounterSource::TierEnd { .. }
        | CounterSource::Spoofed { .. }
        | CounterSource::Beside { .. } => None,
    }
}

fn source(
    rule: &RuleText,
    chain: &str,
    about: &str,
    layout: &TableLayout,
) -> Option<CounterSource> {
    // The comment names the policy rule that a kernel rule implements.
    let comment = rule.comment();
    if let Some((policy, direction, number)) = policy_rule(&comment) {
        let policy = own_policy(about, direction).unwrap_or(policy).to_owned();
        return Some(CounterSource::Rule {
            tier: layout.tier(chain).map(str::to_owned),
            policy,
            direction,
            number,
        });
    }

    let leads = rule
        .leads()
        .map(|(RuleJump::Jump(to) | RuleJump::Goto(to))| to);
    // LOG rules in this chain match the same packets, so they do not count.
    if chain == SPOOFED {
        let is_dropped = leads == Some("DROP");
        return (is_dropped || leads == Some("RETURN"))
            .then_some(CounterSource::Spoofed { is_dropped });
    }
    if !leads.is_some_and(|target| VERDICTS.contains(&target)) {
        return None;
    }

    match (
        comment.starts_with("end of tier "),
        layout.tier(chain),
        direction_in(about),
    ) {
        (true, Some(tier), Some(direction)) => Some(CounterSource::TierEnd {
            tier: tier.to_owned(),
            direction,
        }),
        _ => Some(CounterSource::Beside {
            chain: chain.to_owned(),
            about: comment,
        }),
    }
}

/// Parses policy, direction and number from `NetworkPolicy shop/web ingress rule 2`.
fn policy_rule(comment: &str) -> Option<(&str, Direction, usize)> {
    let (head, number) = comment.rsplit_once(" rule ")?;
    let (policy, word) = head.rsplit_once(' ')?;
    Some((policy, direction(word)?, number.parse().ok()?))
}

/// Returns the policy of a policy's own chain, from the comment line above the chain. A rule's
/// comment may be too short for the full name.
fn own_policy(about: &str, direction: Direction) -> Option<&str> {
    about
        .strip_prefix(&format!("{direction} of "))
        .filter(|policy| policy.split(' ').count() == 2)
}
