//! Reads the words of a rule in sequence.

use crate::net::{Family, Protocol};
use crate::ruleset::checked::model::RuleCondition;
use crate::ruleset::checked::words::ScriptWord;
use crate::ruleset::checked::{CheckLevel, ReadResult, ensure};
use crate::ruleset::{ParsedSets, TableId};

/// The table of a rule, and what the rule may reference.
#[derive(Clone, Copy)]
pub(super) struct RulePlace<'run> {
    pub(super) id: TableId,
    pub(super) sets: &'run ParsedSets,
    pub(super) level: CheckLevel<'run>,
}

/// The unread words of a rule, and the results so far.
pub(super) struct RuleReader<'run, 'line> {
    pub(super) words: &'run [ScriptWord<'line>],
    pub(super) context: RulePlace<'run>,
    pub(super) conditions: Vec<(bool, RuleCondition)>,
    pub(super) comment: Option<String>,
    /// Options of no extension that were read. Each may occur once.
    pub(super) known: Vec<&'static str>,
    pub(super) extensions: Vec<String>,
}

impl<'run, 'line> RuleReader<'run, 'line> {
    pub(super) fn next(&mut self) -> ReadResult<ScriptWord<'line>> {
        let (first, rest) = self.words.split_first().ok_or("a word is missing")?;
        self.words = rest;
        Ok(*first)
    }

    pub(super) fn next_bare(&mut self) -> ReadResult<&'line str> {
        let word = self.next()?;
        word.bare()
            .ok_or_else(|| format!("quotes around `{}`", word.text))
    }

    /// Reads free text. Bundles quote it; the tools print it without quotes if it needs none.
    pub(super) fn next_quoted(&mut self, most: usize) -> ReadResult<&'line str> {
        let word = self.next()?;
        ensure(self.is_text(word), || {
            format!("no quotes around `{}`", word.text)
        })?;
        ensure(word.text.len() <= most, || {
            format!("`{}` is too long", word.text)
        })?;
        Ok(word.text)
    }

    pub(super) fn is_text(&self, word: ScriptWord<'_>) -> bool {
        // A kernel listing omits quotes that are not necessary.
        word.is_quoted || matches!(self.context.level, CheckLevel::Kernel)
    }

    /// Returns the next word if it is not quoted.
    pub(super) fn peek(&self) -> Option<&'line str> {
        self.words.first().and_then(|word| word.bare())
    }

    /// Skips a bare word, and returns whether it was there.
    pub(super) fn skip(&mut self, wanted: &str) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.words = self.words.get(1..).unwrap_or_default();
        }
        is_there
    }

    pub(super) fn expect(&mut self, wanted: &str) -> ReadResult<()> {
        let word = self.next_bare()?;
        ensure(word == wanted, || {
            format!("`{word}` in the place of `{wanted}`")
        })
    }

    /// Returns the family of the rule's table.
    pub(super) fn family(&self) -> Family {
        self.context.id.family
    }

    /// Returns whether the user allows an extension.
    pub(super) fn is_allowed(&self, name: &str) -> bool {
        matches!(self.context.level, CheckLevel::Bundle(allowed) if allowed.has(name))
    }

    /// Returns whether the rule matches one of these protocols.
    pub(super) fn has_protocol(&self, wanted: &[Protocol]) -> bool {
        let is_wanted = |condition: &RuleCondition| matches!(condition, RuleCondition::Protocol(protocol) if wanted.contains(protocol));
        self.conditions
            .iter()
            .any(|(is_negated, condition)| !is_negated && is_wanted(condition))
    }
}
