//! The digest of the input, after parsing and checking.
//!
//! It does not depend on files, the order of objects and keys, comments, quotes, or fields that
//! Palisade does not read (the heartbeats of a Node, `resourceVersion`, `managedFields`). Every
//! field that Palisade reads changes it.
//!
//! [`PolicySet::canonical_lines`] and [`Inventory::canonical_lines`] serialise the input as lines
//! of JSON. The digest is the SHA-256 of the sorted, distinct SHA-256 digests of these lines.

use sha2::{Digest, Sha256};

use crate::bundle::index::hex;
use crate::inventory::Inventory;
use crate::policy::PolicySet;

/// Returns the digest of policy and inventory, in hexadecimal.
///
/// Cost: linear in both, plus a sort of one digest per object.
pub fn input_digest(policies: &PolicySet, inventory: &Inventory) -> String {
    let lines = policies
        .canonical_lines()
        .chain(inventory.canonical_lines());
    let mut digests: Vec<[u8; 32]> = lines.map(|line| Sha256::digest(line).into()).collect();
    digests.sort_unstable();
    digests.dedup();
    hex(&Sha256::digest(digests.concat()))
}
