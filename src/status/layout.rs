//! Reads the purpose and the tier of each chain from a script. The comment line above a chain
//! describes it.

use std::collections::BTreeMap;

use crate::net::Direction;
use crate::ruleset::{ParsedTable, RuleJump};

/// Text in the comment of a tier's chain, before the tier's name.
const OF_TIER: &str = " of tier ";

/// The chains of one table.
#[derive(Debug, Default)]
pub(super) struct TableLayout {
    /// Chains in script order, with the comment lines above them.
    pub(super) chains: Vec<(String, String)>,
    /// Tier of each chain.
    tiers: BTreeMap<String, String>,
}

impl TableLayout {
    /// Reads the script of a table. `table` is the same script, parsed.
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
        // The comment of a policy's own chain has no tier. The chain that jumps to it has.
        layout.tiers.extend(jumped_to(&layout.tiers, table));

        layout
    }

    /// Returns the tier of a chain, or `None` for chains of profiles and chains outside of policy.
    pub(super) fn tier(&self, chain: &str) -> Option<&str> {
        self.tiers.get(chain).map(String::as_str)
    }
}

/// Returns the chains to which the tiers' chains jump, with their tiers. A policy belongs to one
/// tier.
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

/// Returns `default` for `ingress of tier default for endpoints with: …`.
fn tier_in(about: &str) -> Option<&str> {
    let (_, rest) = about.split_once(OF_TIER)?;
    rest.split([' ', ':']).next()
}

/// Returns the direction of a tier's chain from its comment.
pub(super) fn direction_in(about: &str) -> Option<Direction> {
    let (before, _) = about.split_once(OF_TIER)?;
    direction(before.rsplit(' ').next()?)
}

/// Parses a direction.
pub(super) fn direction(word: &str) -> Option<Direction> {
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .find(|direction| direction.to_string() == word)
}
