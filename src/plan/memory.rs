//! How the tools print the rules that Palisade wrote.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::net::Family;
use crate::observe::IptablesBackend;
use crate::ruleset::{RuleText, TableId};

/// What Palisade wrote last, and how the tools printed it. It is valid until reboot. Without it a
/// plan is still correct, but may write more than necessary.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrintCache {
    /// Version of this layout. A cache of another version is discarded.
    pub version: u32,
    /// The iptables build: `legacy` or `nft`.
    pub backend: String,
    /// The node's name.
    pub node: String,
    /// SHA-256 of the node's scripts, in hexadecimal.
    pub scripts: String,
    /// Chains, by table (`filter.v4`) and name.
    pub chains: BTreeMap<String, BTreeMap<String, PrintedDigest>>,
    /// Hooks, by table and built-in chain.
    pub hooks: BTreeMap<String, BTreeMap<String, PrintedDigest>>,
}

/// SHA-256 of rules as written and as read back, in hexadecimal. Exists only for rules that the
/// tools print differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrintedDigest {
    /// Digest of the rules as written.
    pub wrote: String,
    /// Digest of the rules as read back.
    pub read: String,
}

impl PrintCache {
    /// The version of this layout.
    pub const VERSION: u32 = 1;

    /// Returns whether the cache has this layout and describes this iptables build.
    pub(super) fn is_about(&self, backend: IptablesBackend) -> bool {
        self.version == Self::VERSION && self.backend == backend.label()
    }

    /// Returns whether the rules `read` are what the tools once printed for the rules `wrote`.
    pub(super) fn has_chain(
        &self,
        id: TableId,
        name: &str,
        wrote: &[&RuleText],
        read: &[&RuleText],
    ) -> bool {
        has(&self.chains, id, name, wrote, read)
    }

    /// Like [`has_chain`](Self::has_chain), for the hooks of a built-in chain.
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

/// Formats a table as `filter.v4`.
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
