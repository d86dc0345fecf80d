//! The chains of a table, including the kernel's built-in chains.

use std::collections::BTreeMap;

use crate::netfilter::TableName;
use crate::ruleset::CheckedTable;
pub(super) use crate::ruleset::{
    CheckedRule as Rule, ConntrackMatch, InterfaceMatch, RuleCondition,
};

/// A table of one family.
#[derive(Debug)]
pub(super) struct LoadedTable {
    pub(super) name: TableName,
    pub(super) chains: BTreeMap<String, Vec<Rule>>,
}

impl LoadedTable {
    /// Loads the table of a script. Leaves out rules with extensions that can only drop or observe.
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

    /// Returns the name and the rules of a chain.
    pub(super) fn chain(&self, name: &str) -> Option<(&str, &[Rule])> {
        let chain = self.chains.get_key_value(name);
        chain.map(|(name, rules)| (name.as_str(), rules.as_slice()))
    }
}
