//! Who looks into which set, and what it does to packets when a member comes.

use std::collections::{BTreeMap, BTreeSet};

use crate::net::Family;
use crate::ruleset::{ParsedTable, RuleJump, RuleText, SetMatch, TableId, TableKind};

/// Which rules look into sets, by the sets' names in the kernel.
#[derive(Debug, Default)]
pub(super) struct SetReferences<'tables> {
    by_set: BTreeMap<&'tables str, BTreeMap<Family, ReferenceUse>>,
    others: BTreeSet<&'tables str>,
}

/// How the rules of a family look into a set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReferenceUse {
    sources: bool,
    destinations: bool,
    opening: bool,
    closing: bool,
    unclear: bool,
}

/// Which side of a packet a set is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookupSide {
    Source,
    Destination,
}

/// What becomes of packets that a set comes to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberEffect {
    /// Nothing.
    None,
    /// They are accepted.
    Opens,
    /// They are dropped.
    Closes,
    /// Something else, or not the same in all rules.
    Unclear,
}

/// Behind it everything that egress policy does not drop goes the same way on (`lower/entry.rs`),
/// so that leading there is as good as accepting.
const ALLOWED: &str = "pal-allowed";

impl<'tables> SetReferences<'tables> {
    /// Of all rules of tables.
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

    /// The families whose rules look into a set.
    pub(super) fn families(&self, set: &str) -> BTreeSet<Family> {
        self.by_set
            .get(set)
            .into_iter()
            .flat_map(|views| views.keys().copied())
            .collect()
    }

    /// How rules of a family look into a set; none where none does.
    pub(super) fn view(&self, set: &str, family: Family) -> Option<ReferenceUse> {
        self.by_set.get(set)?.get(&family).copied()
    }

    /// Whether rules of ours look into a set.
    pub(super) fn has(&self, set: &str) -> bool {
        self.by_set.contains_key(set)
    }

    /// The sets that rules of ours look into.
    pub(super) fn sets(&self) -> impl Iterator<Item = &'tables str> {
        self.by_set.keys().copied()
    }

    /// Whether rules that are not ours look into a set.
    pub(super) fn is_of_others(&self, set: &str) -> bool {
        self.others.contains(set)
    }
}

impl ReferenceUse {
    fn add(&mut self, effect: MemberEffect, look: SetMatch<'_>) {
        match look.sides.split(',').next() {
            Some("src") => self.sources = true,
            Some("dst") => self.destinations = true,
            Some(_) | None => (self.sources, self.destinations) = (true, true),
        }

        match effect {
            MemberEffect::None => {}
            MemberEffect::Opens => self.opening = true,
            MemberEffect::Closes => self.closing = true,
            MemberEffect::Unclear => self.unclear = true,
        }
    }

    /// The one side that is asked about; none where both are.
    pub(super) fn side(self) -> Option<LookupSide> {
        match (self.sources, self.destinations) {
            (true, false) => Some(LookupSide::Source),
            (false, true) => Some(LookupSide::Destination),
            (true, true) | (false, false) => None,
        }
    }

    /// What a new member does.
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
    /// That of the contrary.
    pub(super) fn reverse(self) -> Self {
        match self {
            MemberEffect::Opens => MemberEffect::Closes,
            MemberEffect::Closes => MemberEffect::Opens,
            MemberEffect::None | MemberEffect::Unclear => self,
        }
    }
}

/// What a rule does with packets that come into a set. Accepting is final in the filter table
/// alone.
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
