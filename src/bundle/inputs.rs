//! The digest of the input, which a change of file names or of the order of objects does not change.

use sha2::{Digest, Sha256};

use crate::bundle::index::hex;
use crate::document::Kind;

/// Collects the texts of objects.
#[derive(Debug, Default)]
pub struct InputDigest {
    objects: Vec<[u8; 32]>,
}

impl InputDigest {
    /// Takes one object in: its kind, which an item of a typed list does not say itself, and its text.
    pub fn add(&mut self, kind: Kind, source: &str) {
        let kind = match kind {
            Kind::Manifest(kind) => format!("{kind:?}\n"),
            Kind::Inventory(kind) => format!("{kind:?}\n"),
        };
        let object = Sha256::new().chain_update(kind).chain_update(source);
        self.objects.push(object.finalize().into());
    }

    /// SHA-256 over the objects' digests, sorted, each once; in hexadecimal.
    pub fn finish(mut self) -> String {
        self.objects.sort_unstable();
        self.objects.dedup();
        hex(&Sha256::digest(self.objects.concat()))
    }
}
