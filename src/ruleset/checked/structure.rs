//! The structure that every bundle has: the hooks in built-in chains, and the rules of the fixed
//! chains that lead packets to policy.
//!
//! `verify` proves that the other rules implement the policy.

use crate::net::{Family, Side};
use crate::ruleset::checked::{
    CheckedRule, CheckedTable, CheckedTarget, KernelContents, RuleCondition, ScriptError,
};
use crate::ruleset::{KernelChain, PREFIX, TableId, TableKind};

/// A rule that a chain must have: for all packets, or for packets with one side in the node's
/// endpoints.
struct RequiredRule {
    chain: &'static str,
    side: Option<Side>,
    targets: &'static [RequiredTarget],
}

/// The target of a required rule.
enum RequiredTarget {
    Goto(&'static str),
    Verdict(CheckedTarget),
}

/// The required rules of a filter table. Chain names are without prefix.
const NEEDED: [RequiredRule; 8] = [
    RequiredRule {
        chain: "FORWARD",
        side: FROM,
        targets: &[RequiredTarget::Goto("from-endpoint")],
    },
    RequiredRule {
        chain: "FORWARD",
        side: TO,
        targets: &[RequiredTarget::Goto("to-endpoint")],
    },
    RequiredRule {
        chain: "INPUT",
        side: FROM,
        targets: &[
            RequiredTarget::Goto("from-endpoint"),
            RequiredTarget::Verdict(CheckedTarget::Drop),
        ],
    },
    RequiredRule {
        chain: "OUTPUT",
        side: TO,
        targets: &[RequiredTarget::Verdict(CheckedTarget::Return)],
    },
    RequiredRule {
        chain: "from-endpoint",
        side: None,
        targets: &[RequiredTarget::Goto("allowed")],
    },
    RequiredRule {
        chain: "allowed",
        side: TO,
        targets: &[RequiredTarget::Goto("to-endpoint")],
    },
    RequiredRule {
        chain: "allowed",
        side: None,
        targets: &[RequiredTarget::Verdict(CheckedTarget::Accept)],
    },
    RequiredRule {
        chain: "to-endpoint",
        side: None,
        targets: &[RequiredTarget::Verdict(CheckedTarget::Accept)],
    },
];

const FROM: Option<Side> = Some(Side::Source);
const TO: Option<Side> = Some(Side::Destination);

/// Checks the structure of a node's scripts.
///
/// # Errors
/// A missing hook or rule.
pub(super) fn check(holdings: &KernelContents) -> Result<(), ScriptError> {
    for (id, table) in &holdings.tables {
        let checked = match id.kind {
            TableKind::Filter => check_filter(*id, table),
            TableKind::Raw | TableKind::Mangle | TableKind::Security => check_early(table),
        };
        checked.map_err(|problem| ScriptError::whole(&id.file(), &problem))?;
    }
    Ok(())
}

fn check_filter(id: TableId, table: &CheckedTable) -> Result<(), String> {
    for (chain, rules) in &table.built_in {
        if rules.is_empty() {
            return Err(missing_hook(chain));
        }
    }

    let local = match id.family {
        Family::V4 => "pal-local4",
        Family::V6 => "pal-local6",
    };
    NEEDED
        .iter()
        .try_for_each(|needed| needed.check(table, local))
}

/// Checks that a table before the filter table has at least one hook, and that each hook leads to a
/// chain with rules.
fn check_early(table: &CheckedTable) -> Result<(), String> {
    let mut hooks = table
        .built_in
        .iter()
        .filter(|(_, rules)| !rules.is_empty())
        .peekable();
    if hooks.peek().is_none() {
        return Err("no chain of the kernel leads into it".to_owned());
    }

    for (chain, _) in hooks {
        let rules = table.chains.get(&format!("{PREFIX}{chain}"));
        if rules.is_none_or(Vec::is_empty) {
            return Err(format!("`pal-{chain}` has no rule"));
        }
    }

    Ok(())
}

fn missing_hook(chain: KernelChain) -> String {
    format!("the jump from {chain} to `pal-{chain}` is missing")
}

impl RequiredRule {
    fn check(&self, table: &CheckedTable, local: &str) -> Result<(), String> {
        let name = format!("{PREFIX}{}", self.chain);
        let rules = table.chains.get(&name).map_or(&[][..], Vec::as_slice);
        // No packet reaches the rules after one that takes every packet.
        let end = rules
            .iter()
            .position(takes_everything)
            .unwrap_or(rules.len());

        let met = rules.iter().take(end + 1);
        match met.into_iter().any(|rule| self.is(rule, local)) {
            true => Ok(()),
            false => Err(format!(
                "`{name}` does not lead {} on",
                self.description(local)
            )),
        }
    }

    fn is(&self, rule: &CheckedRule, local: &str) -> bool {
        let is_asked = match (self.side, rule.conditions.as_slice()) {
            (None, []) => true,
            (Some(side), [(false, RuleCondition::Set(set, sides))]) => {
                set == local && *sides == [side]
            }
            _ => false,
        };
        is_asked && !rule.is_extension() && self.targets.iter().any(|lead| lead.is(&rule.target))
    }

    fn description(&self, local: &str) -> String {
        match self.side {
            None => "all packets".to_owned(),
            Some(Side::Source) => format!("packets from `{local}`"),
            Some(Side::Destination) => format!("packets to `{local}`"),
        }
    }
}

impl RequiredTarget {
    fn is(&self, target: &CheckedTarget) -> bool {
        match (self, target) {
            (RequiredTarget::Goto(chain), CheckedTarget::Goto(to)) => {
                to.strip_prefix(PREFIX) == Some(chain)
            }
            (RequiredTarget::Verdict(wanted), target) => wanted == target,
            (RequiredTarget::Goto(_), _) => false,
        }
    }
}

fn takes_everything(rule: &CheckedRule) -> bool {
    let is_final = match rule.target {
        CheckedTarget::Accept
        | CheckedTarget::Drop
        | CheckedTarget::Return
        | CheckedTarget::Goto(_) => true,
        CheckedTarget::Jump(_) | CheckedTarget::Log | CheckedTarget::NoTrack => false,
    };
    is_final && rule.conditions.is_empty() && !rule.is_extension()
}
