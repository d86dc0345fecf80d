//! Kernel names: a readable word and a hash of what the thing is, never of where it stands or who
//! is in it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::limits;
use crate::lower::program::{ChainName, LogPrefix, SetName};

/// What every name of ours begins with.
pub const PREFIX: &str = "pal-";

/// Letters of the hash part: 5 bits each, so that two names of one node meet by chance once in some
/// 10^15 pairs.
const HASH_LETTERS: usize = 10;

/// Digits of the hash: Crockford's base 32, which leaves out letters that look like others.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Gives names out and sees to it that no two things get the same one.
#[derive(Debug, Default)]
pub(super) struct KernelNames {
    /// The content behind each.
    pub(super) given: BTreeMap<String, String>,
}

/// What a name is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameSource<'text> {
    /// Short word for the sort of thing, as in `pal-<sort>-…`.
    pub(super) sort: &'text str,
    /// What it is, for readers; only a few letters are taken.
    pub(super) word: &'text str,
    /// All that makes it what it is.
    pub(super) content: &'text str,
}

impl KernelNames {
    /// The name of a chain.
    pub(super) fn chain(
        &mut self,
        identity: NameSource<'_>,
        diagnostics: &mut Diagnostics,
    ) -> ChainName {
        ChainName(self.name(identity, limits::CHAIN_NAME, diagnostics))
    }

    /// The name of a set.
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
        let room = longest.saturating_sub(PREFIX.len() + sort.len() + HASH_LETTERS + 2);
        let name = format!("{PREFIX}{sort}-{}-{}", slug(word, room), hash(content));

        let known = self
            .given
            .entry(name.clone())
            .or_insert_with(|| content.to_owned());
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

/// A chain with a fixed name.
pub(super) fn fixed_chain(word: &str) -> ChainName {
    ChainName(format!("{PREFIX}{word}"))
}

/// A set with a fixed name.
pub(super) fn fixed_set(word: &str) -> SetName {
    SetName(format!("{PREFIX}{word}"))
}

/// A log prefix: the word cut to what the kernel takes, cleaned, with a space at the end as the
/// kernel adds none.
pub(super) fn log_prefix(word: &str, number: Option<usize>) -> LogPrefix {
    let tail = number.map_or_else(|| " ".to_owned(), |number| format!(":{number} "));
    let room = limits::LOG_PREFIX.saturating_sub(PREFIX.len() + tail.len());
    LogPrefix(format!("{PREFIX}{}{tail}", slug(word, room)))
}

/// Up to `longest` letters and digits of a text, in lower case, everything else one `-`.
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
