//! A table's chains with the kernel's among them, each as the kernel holds it.

use std::collections::BTreeMap;

use crate::netfilter::TableName;
use crate::ruleset::CheckedTable;
pub(super) use crate::ruleset::{
    CheckedRule as Rule, ConntrackMatch, InterfaceMatch, RuleCondition,
};

/// A table of a family.
#[derive(Debug)]
pub(super) struct LoadedTable {
    pub(super) name: TableName,
    pub(super) chains: BTreeMap<String, Vec<Rule>>,
}

impl LoadedTable {
    /// The table of a script, without rules that can only drop or observe by an extension.
    pub(super) fn from_checked(name: TableName, checked: &CheckedTable) -> Self {
        let built_in = checked.built_in.keys().copied();
        let names = built_in.chain(checked.chains.keys().map(String::as_str));
        let chain = |chain: &str| {
            let rules = checked.chain(chain).unwrap_or_default().into_iter();
            (
                chain.to_owned(),
                rules.filter(|rule| !rule.is_extension()).cloned().collect(),
            )
        };

        Self {
            name,
            chains: names.map(chain).collect(),
        }
    }

    /// A chain's name and rules.
    pub(super) fn chain(&self, name: &str) -> Option<(&str, &[Rule])> {
        let chain = self.chains.get_key_value(name);
        chain.map(|(name, rules)| (name.as_str(), rules.as_slice()))
    }
}
