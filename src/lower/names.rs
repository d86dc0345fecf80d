//! Kernel names: a readable word and a hash of the content. Names never depend on position or on
//! set members, so they stay the same when pods start or stop.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::limits;
use crate::lower::program::{ChainName, LogPrefix, SetName};

/// Prefix of every name that Palisade creates.
pub const PREFIX: &str = "pal-";

/// Letters of the hash, 5 bits each. Two names of one node collide by chance once in about 10^15
/// pairs.
const HASH_LETTERS: usize = 10;

/// Digits of the hash: Crockford's base 32, which omits letters that look like others.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Allocates names and detects if two different things would get the same name.
#[derive(Debug, Default)]
pub(super) struct KernelNames {
    /// The content of each allocated name.
    pub(super) given: BTreeMap<String, String>,
}

/// The parts of a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameSource<'text> {
    /// Short word for the kind of object, as in `pal-<sort>-…`.
    pub(super) sort: &'text str,
    /// Readable description. Only the first few letters are used.
    pub(super) word: &'text str,
    /// The complete content. It determines the hash.
    pub(super) content: &'text str,
}

impl KernelNames {
    /// Allocates the name of a chain.
    pub(super) fn chain(
        &mut self,
        identity: NameSource<'_>,
        diagnostics: &mut Diagnostics,
    ) -> ChainName {
        ChainName(self.name(identity, limits::CHAIN_NAME, diagnostics))
    }

    /// Allocates the name of a set.
    pub(super) fn set(
        &mut self,
        identity: NameSource<'_>,
        diagnostics: &mut Diagnostics,
    ) -> SetName {
        SetName(self.name(identity, limits::SET_NAME, diagnostics))
    }

    fn name(
        &mut self,
        identity: NameSource<'_>,
        longest: usize,
        diagnostics: &mut Diagnostics,
    ) -> String {
        let NameSource {
            sort,
            word,
            content,
        } = identity;
        // The hash and both dashes always fit; only the readable word is truncated.
        let room = longest.saturating_sub(PREFIX.len() + sort.len() + HASH_LETTERS + 2);
        let name = format!("{PREFIX}{sort}-{}-{}", slug(word, room), hash(content));

        let known = self
            .given
            .entry(name.clone())
            .or_insert_with(|| content.to_owned());
        // Two contents with one hash would silently share a chain or set, which would change
        // policy. So a collision refuses the compile.
        if known != content {
            let message = format!(
                "two different things would both be called `{name}` in the kernel: `{known}` and \
                 `{content}`"
            );
            diagnostics.push(
                Diagnostic::new(Code::NameCollision, message)
                    .help("rename one of the policies or change one of the selectors"),
            );
        }

        name
    }
}

/// Name of a chain that exists once per table.
pub(super) fn fixed_chain(word: &str) -> ChainName {
    ChainName(format!("{PREFIX}{word}"))
}

/// Name of a set that exists once per node.
pub(super) fn fixed_set(word: &str) -> SetName {
    SetName(format!("{PREFIX}{word}"))
}

/// A log prefix: the word, truncated to the kernel's limit and sanitized. It ends with a space,
/// because the kernel adds none.
pub(super) fn log_prefix(word: &str, number: Option<usize>) -> LogPrefix {
    let tail = number.map_or_else(|| " ".to_owned(), |number| format!(":{number} "));
    let room = limits::LOG_PREFIX.saturating_sub(PREFIX.len() + tail.len());
    LogPrefix(format!("{PREFIX}{}{tail}", slug(word, room)))
}

/// Up to `longest` letters and digits of a text, in lower case. Every run of other characters
/// becomes one `-`.
fn slug(text: &str, longest: usize) -> String {
    let mut slug = String::with_capacity(longest);
    for letter in text.chars() {
        if slug.len() == longest {
            break;
        }
        match letter.is_ascii_alphanumeric() {
            true => slug.push(letter.to_ascii_lowercase()),
            false if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            false => {}
        }
    }

    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() {
        "x".to_owned()
    } else {
        slug
    }
}

/// The first letters of the SHA-256 of a text.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let bits = digest
        .iter()
        .take(8)
        .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));

    let letter = |index: usize| {
        let digit = bits >> (59 - 5 * index) & 31;
        char::from(
            ALPHABET
                .get(usize::try_from(digit).unwrap_or_default())
                .copied()
                .unwrap_or(b'0'),
        )
    };
    (0..HASH_LETTERS).map(letter).collect()
}
