//! The digest of the input: of what was read and checked, and not of how it was written.
//!
//! Files, the order of objects and keys, comments, quotes, and every field that palisade does not
//! read (the heartbeats of a Node, `resourceVersion`, `managedFields`) change nothing. Any field
//! that it reads does.
//!
//! The serialisation is that of [`PolicySet::canonical_lines`] and [`Inventory::canonical_lines`]:
//! lines of JSON, of each the SHA-256, these sorted and each once, and of all of them together the
//! SHA-256.

use sha2::{Digest, Sha256};

use crate::bundle::index::hex;
use crate::inventory::Inventory;
use crate::policy::PolicySet;

/// The digest of policy and inventory, in hexadecimal.
///
/// Cost: linear in both, and a sort of as many digests as there are objects.
pub fn input_digest(policies: &PolicySet, inventory: &Inventory) -> String {
    let lines = policies
        .canonical_lines()
        .chain(inventory.canonical_lines());
    let mut digests: Vec<[u8; 32]> = lines.map(|line| Sha256::digest(line).into()).collect();
    digests.sort_unstable();
    digests.dedup();
    hex(&Sha256::digest(digests.concat()))
}
