//! What the chains of a script are, from the line above each, and the tier that each belongs to.

use std::collections::BTreeMap;

use crate::net::Direction;
use crate::ruleset::{ParsedTable, RuleJump};

/// What stands in the line above a tier's chain, before its name.
const OF_TIER: &str = " of tier ";

/// The chains of one table.
#[derive(Debug, Default)]
pub(super) struct TableLayout {
    /// In the order of the script: names, and the lines above them.
    pub(super) chains: Vec<(String, String)>,
    /// Tiers, by chain.
    tiers: BTreeMap<String, String>,
}

impl TableLayout {
    /// Reads a script of which the table is known.
    pub(super) fn read(text: &str, table: &ParsedTable) -> Self {
        let mut layout = Self::default();
        let mut above = "";
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                above = comment;
            }
            let chain = line
                .strip_prefix("-A ")
                .and_then(|rest| rest.split(' ').next())
                .filter(|chain| table.chains.contains_key(*chain));
            if let Some(chain) = chain
                && layout.chains.last().is_none_or(|(last, _)| last != chain)
            {
                layout.chains.push((chain.to_owned(), above.to_owned()));
            }
        }

        let named = layout
            .chains
            .iter()
            .filter_map(|(chain, about)| Some((chain.clone(), tier_in(about)?.to_owned())));
        layout.tiers = named.collect();
        layout.tiers.extend(jumped_to(&layout.tiers, table));

        layout
    }

    /// The tier that a chain belongs to; none for those of profiles, and those around policy.
    pub(super) fn tier(&self, chain: &str) -> Option<&str> {
        self.tiers.get(chain).map(String::as_str)
    }
}

/// The chains that those of tiers jump into: a policy has one tier.
fn jumped_to(tiers: &BTreeMap<String, String>, table: &ParsedTable) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (chain, tier) in tiers {
        for rule in table.chains.get(chain).into_iter().flatten() {
            if let Some(RuleJump::Jump(to)) = rule.leads()
                && table.chains.contains_key(to)
                && !tiers.contains_key(to)
            {
                found.push((to.to_owned(), tier.clone()));
            }
        }
    }

    found
}

/// `default` of `ingress of tier default for endpoints with: …`.
fn tier_in(about: &str) -> Option<&str> {
    let (_, rest) = about.split_once(OF_TIER)?;
    rest.split([' ', ':']).next()
}

/// The direction that a tier's chain is for.
pub(super) fn direction_in(about: &str) -> Option<Direction> {
    let (before, _) = about.split_once(OF_TIER)?;
    direction(before.rsplit(' ').next()?)
}

/// A direction by its word.
pub(super) fn direction(word: &str) -> Option<Direction> {
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .find(|direction| direction.to_string() == word)
}
