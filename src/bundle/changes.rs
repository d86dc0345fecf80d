//! Counts the changes to a node's scripts.

use std::cmp::Ordering;
use std::fmt;

use crate::bundle::NodePart;

/// The changes to one node's scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptChange {
    /// The node's name.
    pub node: String,
    /// Sets added and removed.
    pub sets: LineCount,
    /// Members of sets added and removed.
    pub members: LineCount,
    /// Chains added and removed, in all tables.
    pub chains: LineCount,
    /// Rules added and removed, in all tables.
    pub rules: LineCount,
}

/// Added and removed lines of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineCount {
    /// Lines only in the new scripts.
    pub added: usize,
    /// Lines only in the old scripts.
    pub removed: usize,
}

impl ScriptChange {
    /// Compares a node's scripts. Returns `None` if their effective lines are equal. A node that
    /// exists in only one state has no scripts in the other.
    pub fn between(old: Option<&NodePart>, new: Option<&NodePart>) -> Option<Self> {
        let node = new.or(old)?.node.clone();
        let [before, after] = [old, new].map(lines);
        let count = |sort: fn(&str) -> bool| LineCount::between(&before, &after, sort);
        let change = Self {
            node,
            sets: count(|line| line.starts_with("create ")),
            members: count(|line| line.starts_with("add ")),
            chains: count(|line| line.starts_with(':')),
            rules: count(|line| line.starts_with('-')),
        };

        let counts = [change.sets, change.members, change.chains, change.rules];
        counts
            .iter()
            .any(|count| *count != LineCount::default())
            .then_some(change)
    }
}

/// Returns all effective lines with their script names, sorted.
fn lines(part: Option<&NodePart>) -> Vec<(&'static str, &str)> {
    let files = part.map(|part| part.scripts.files()).unwrap_or_default();
    let lines = files
        .into_iter()
        .flat_map(|(file, text)| text.lines().map(move |line| (file, line)));
    let mut lines: Vec<(&str, &str)> = lines
        .filter(|(_, line)| line.starts_with(['c', 'a', ':', '-']))
        .collect();
    lines.sort_unstable();
    lines
}

impl LineCount {
    fn between(old: &[(&str, &str)], new: &[(&str, &str)], sort: fn(&str) -> bool) -> Self {
        let mut count = Self::default();
        let [mut old, mut new] =
            [old, new].map(|lines| lines.iter().filter(|(_, line)| sort(line)).peekable());

        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(before), Some(after)) => before.cmp(after),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return count,
            };
            if order != Ordering::Greater {
                old.next();
                count.removed += usize::from(order == Ordering::Less);
            }
            if order != Ordering::Less {
                new.next();
                count.added += usize::from(order == Ordering::Greater);
            }
        }
    }
}

impl fmt::Display for ScriptChange {
    /// Formats `n1: rules +2 -1, members +3`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("rules", self.rules),
            ("chains", self.chains),
            ("sets", self.sets),
            ("members", self.members),
        ];
        let words = counts
            .iter()
            .filter(|(_, count)| *count != LineCount::default())
            .map(|(word, count)| {
                format!(
                    "{word}{}{}",
                    signed('+', count.added),
                    signed('-', count.removed)
                )
            });

        write!(
            out,
            "{}: {}",
            self.node,
            words.collect::<Vec<_>>().join(", ")
        )
    }
}

/// Formats a count with a space and a sign before it. Empty for 0.
fn signed(sign: char, count: usize) -> String {
    if count == 0 {
        String::new()
    } else {
        format!(" {sign}{count}")
    }
}
