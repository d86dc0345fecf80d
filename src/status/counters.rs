//! Packets and bytes by what they were counted for.

use std::collections::BTreeMap;

use crate::net::Direction;
use crate::ruleset::{RuleCounters, RuleJump, RuleText, TableKind};
use crate::status::NodeInspection;
use crate::status::layout::{TableLayout, direction, direction_in};

/// Where policy rules stand: `policies.yaml:12`, by policy (`NetworkPolicy shop/web`), direction
/// and number.
pub type PolicyPlaces = BTreeMap<(String, Direction, usize), String>;

/// What all rules of one source counted, over chains and families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCounter {
    /// The table; policy before connection tracking or translation is asked in others than the
    /// rest, and may be asked again there.
    pub table: TableKind,
    /// What the rules stand for.
    pub source: CounterSource,
    /// What they counted.
    pub counters: RuleCounters,
    /// Where the source stands, as far as somebody knows.
    pub place: Option<String>,
}

/// What a rule of ours stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CounterSource {
    /// A rule of a policy or profile.
    Rule {
        /// The tier; profiles have none.
        tier: Option<String>,
        /// Kind and name: `NetworkPolicy shop/web`.
        policy: String,
        /// The direction.
        direction: Direction,
        /// Its number there, from 1.
        number: usize,
    },
    /// The end of a tier, where no rule of the policies of an endpoint matched.
    TierEnd {
        /// The tier.
        tier: String,
        /// The direction.
        direction: Direction,
    },
    /// Packets whose source is not where they come from.
    Spoofed {
        /// Whether they were dropped, or only logged.
        is_dropped: bool,
    },
    /// A verdict around policy: known connections, endpoints without policy, failsafe ports.
    Beside {
        /// The chain.
        chain: String,
        /// What the rule is for.
        about: String,
    },
}

/// Targets that are verdicts, and the chain behind egress policy that allows.
const VERDICTS: [&str; 3] = ["ACCEPT", "DROP", "pal-allowed"];

/// The chain of packets whose source is not where they come from.
const SPOOFED: &str = "pal-spoofed";

/// Counters of the tables that the scripts have, in the order in which packets meet the rules.
/// Chains that the scripts do not have are left out, as is what leads to another chain without a
/// verdict.
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

/// Sums in the making.
#[derive(Default)]
struct CounterSums {
    found: Vec<RuleCounter>,
    /// Where each stands among them.
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

/// Policy, direction and number of `NetworkPolicy shop/web ingress rule 2`.
fn policy_rule(comment: &str) -> Option<(&str, Direction, usize)> {
    let (head, number) = comment.rsplit_once(" rule ")?;
    let (policy, word) = head.rsplit_once(' ')?;
    Some((policy, direction(word)?, number.parse().ok()?))
}

/// The policy whose own chain this is, from the line above it, which has room for names that a
/// rule's comment has not.
fn own_policy(about: &str, direction: Direction) -> Option<&str> {
    about
        .strip_prefix(&format!("{direction} of "))
        .filter(|policy| policy.split(' ').count() == 2)
}
