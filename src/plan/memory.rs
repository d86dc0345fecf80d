//! How the tools printed what we wrote.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was written last, and how it was read back. It is kept as long as the kernel runs; without it a plan is as right, and may write
/// more than it must.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// Version of this layout; another one is forgotten.
    pub version: u32,
    /// The build of iptables: `legacy` or `nft`.
    pub backend: String,
    /// The node.
    pub node: String,
    /// SHA-256 of the node's scripts, in hexadecimal.
    pub scripts: String,
    /// Chains, by table (`filter.v4`) and name.
    pub chains: BTreeMap<String, BTreeMap<String, Printed>>,
    /// Hooks, by table and the kernel's chain.
    pub hooks: BTreeMap<String, BTreeMap<String, Printed>>,
}

/// SHA-256 of rules as they were written, and as they were read back, in hexadecimal; for rules whose words were not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printed {
    /// As they were written.
    pub wrote: String,
    /// As they were read back.
    pub read: String,
}
