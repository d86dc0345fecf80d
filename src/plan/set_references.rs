//! Records which rules reference which sets, and what a new member does to packets.

use std::collections::{BTreeMap, BTreeSet};

use crate::net::Family;
use crate::ruleset::{ParsedTable, RuleJump, RuleText, SetMatch, TableId, TableKind};

/// Rules that reference sets, by the sets' kernel names.
#[derive(Debug, Default)]
pub(super) struct SetReferences<'tables> {
    by_set: BTreeMap<&'tables str, BTreeMap<Family, ReferenceUse>>,
    others: BTreeSet<&'tables str>,
}

/// How the rules of one family use a set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReferenceUse {
    sources: bool,
    destinations: bool,
    opening: bool,
    closing: bool,
    unclear: bool,
}

/// The side of a packet that a set match looks up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookupSide {
    Source,
    Destination,
}

/// The effect of a new member on packets that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberEffect {
    /// No effect.
    None,
    /// The packets are accepted.
    Opens,
    /// The packets are dropped.
    Closes,
    /// Another effect, or not the same effect in all rules.
    Unclear,
}

/// After this chain, every packet that egress policy does not drop takes the same path
/// (`lower/entry.rs`). So a goto to it counts as accepting.
const ALLOWED: &str = "pal-allowed";

impl<'tables> SetReferences<'tables> {
    /// Collects the references of all rules in these tables.
    pub(super) fn collect(tables: &'tables BTreeMap<TableId, ParsedTable>) -> Self {
        let mut looks = Self::default();
        for (id, table) in tables {
            let rules = table
                .chains
                .values()
                .flatten()
                .chain(table.hooks.iter().map(|hook| &hook.rule));
            rules.for_each(|rule| looks.add_rule(*id, rule));
            looks
                .others
                .extend(table.sets_of_others.iter().map(String::as_str));
        }

        looks
    }

    fn add_rule(&mut self, id: TableId, rule: &'tables RuleText) {
        for look in rule.looks() {
            let view = self
                .by_set
                .entry(look.set)
                .or_default()
                .entry(id.family)
                .or_default();
            view.add(effect(id.kind, rule, look), look);
        }
    }

    /// Returns the families whose rules reference a set.
    pub(super) fn families(&self, set: &str) -> BTreeSet<Family> {
        self.by_set
            .get(set)
            .into_iter()
            .flat_map(|views| views.keys().copied())
            .collect()
    }

    /// Returns how the rules of a family use a set, or `None` if no rule references it.
    pub(super) fn view(&self, set: &str, family: Family) -> Option<ReferenceUse> {
        self.by_set.get(set)?.get(&family).copied()
    }

    /// Returns whether a Palisade rule references a set.
    pub(super) fn has(&self, set: &str) -> bool {
        self.by_set.contains_key(set)
    }

    /// Returns the sets that Palisade rules reference.
    pub(super) fn sets(&self) -> impl Iterator<Item = &'tables str> {
        self.by_set.keys().copied()
    }

    /// Returns whether a foreign rule references a set.
    pub(super) fn is_of_others(&self, set: &str) -> bool {
        self.others.contains(set)
    }
}

impl ReferenceUse {
    fn add(&mut self, effect: MemberEffect, look: SetMatch<'_>) {
        // The first dimension of `src,dst` is the one that holds the address.
        match look.sides.split(',').next() {
            Some("src") => self.sources = true,
            Some("dst") => self.destinations = true,
            // An unknown side counts as both.
            Some(_) | None => (self.sources, self.destinations) = (true, true),
        }

        match effect {
            MemberEffect::None => {}
            MemberEffect::Opens => self.opening = true,
            MemberEffect::Closes => self.closing = true,
            MemberEffect::Unclear => self.unclear = true,
        }
    }

    /// Returns the only side that rules look up, or `None` if they look up both.
    pub(super) fn side(self) -> Option<LookupSide> {
        match (self.sources, self.destinations) {
            (true, false) => Some(LookupSide::Source),
            (false, true) => Some(LookupSide::Destination),
            (true, true) | (false, false) => None,
        }
    }

    /// Returns the effect of a new member.
    pub(super) fn effect(self) -> MemberEffect {
        match (self.opening, self.closing, self.unclear) {
            (false, false, false) => MemberEffect::None,
            (true, false, false) => MemberEffect::Opens,
            (false, true, false) => MemberEffect::Closes,
            _ => MemberEffect::Unclear,
        }
    }
}

impl MemberEffect {
    /// Returns the opposite effect.
    pub(super) fn reverse(self) -> Self {
        match self {
            MemberEffect::Opens => MemberEffect::Closes,
            MemberEffect::Closes => MemberEffect::Opens,
            MemberEffect::None | MemberEffect::Unclear => self,
        }
    }
}

/// Returns what a rule does with packets that newly match a set. ACCEPT is final only in the filter
/// table: elsewhere a later table may still drop the packet.
fn effect(table: TableKind, rule: &RuleText, look: SetMatch<'_>) -> MemberEffect {
    let effect = match (rule.leads(), table) {
        (Some(RuleJump::Jump("ACCEPT") | RuleJump::Goto(ALLOWED)), TableKind::Filter) => {
            MemberEffect::Opens
        }
        (Some(RuleJump::Jump("DROP")), _) => MemberEffect::Closes,
        (Some(RuleJump::Jump("LOG")), _) => MemberEffect::None,
        (Some(RuleJump::Jump(_) | RuleJump::Goto(_)) | None, _) => MemberEffect::Unclear,
    };

    if look.is_negated {
        effect.reverse()
    } else {
        effect
    }
}
