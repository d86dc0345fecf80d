//! How the tools printed what we wrote.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::net::Family;
use crate::observe::IptablesBackend;
use crate::ruleset::{RuleText, TableId};

/// What was written last, and how it was read back. It is kept as long as the kernel runs; without
/// it a plan is as right, and may write more than it must.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrintCache {
    /// Version of this layout; another one is forgotten.
    pub version: u32,
    /// The build of iptables: `legacy` or `nft`.
    pub backend: String,
    /// The node.
    pub node: String,
    /// SHA-256 of the node's scripts, in hexadecimal.
    pub scripts: String,
    /// Chains, by table (`filter.v4`) and name.
    pub chains: BTreeMap<String, BTreeMap<String, PrintedDigest>>,
    /// Hooks, by table and the kernel's chain.
    pub hooks: BTreeMap<String, BTreeMap<String, PrintedDigest>>,
}

/// SHA-256 of rules as they were written, and as they were read back, in hexadecimal; for rules
/// whose words were not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrintedDigest {
    /// As they were written.
    pub wrote: String,
    /// As they were read back.
    pub read: String,
}

impl PrintCache {
    /// The version of this layout.
    pub const VERSION: u32 = 1;

    /// Whether it is of this layout, and about what this build prints.
    pub(super) fn is_about(&self, backend: IptablesBackend) -> bool {
        self.version == Self::VERSION && self.backend == backend.label()
    }

    /// Whether these rules were once read back, as they stand, for those that are wanted.
    pub(super) fn has_chain(
        &self,
        id: TableId,
        name: &str,
        wrote: &[&RuleText],
        read: &[&RuleText],
    ) -> bool {
        has(&self.chains, id, name, wrote, read)
    }

    /// The same of jumps from one of the kernel's chains.
    pub(super) fn has_hooks(
        &self,
        id: TableId,
        name: &str,
        wrote: &[&RuleText],
        read: &[&RuleText],
    ) -> bool {
        has(&self.hooks, id, name, wrote, read)
    }
}

pub(super) type PrintedChains = BTreeMap<String, BTreeMap<String, PrintedDigest>>;

pub(super) fn has(
    kept: &PrintedChains,
    id: TableId,
    name: &str,
    wrote: &[&RuleText],
    read: &[&RuleText],
) -> bool {
    let printed = kept.get(&key(id)).and_then(|table| table.get(name));
    printed.is_some_and(|printed| printed.wrote == digest(wrote) && printed.read == digest(read))
}

pub(super) fn put(
    kept: &mut PrintedChains,
    id: TableId,
    name: &str,
    wrote: &[&RuleText],
    read: &[&RuleText],
) {
    let printed = PrintedDigest {
        wrote: digest(wrote),
        read: digest(read),
    };
    kept.entry(key(id))
        .or_default()
        .insert(name.to_owned(), printed);
}

/// `filter.v4`.
fn key(id: TableId) -> String {
    let family = match id.family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    format!("{}.{family}", id.kind.label())
}

fn digest(rules: &[&RuleText]) -> String {
    let mut digest = Sha256::new();
    for rule in rules {
        digest.update(rule.text().as_bytes());
        digest.update(b"\n");
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
