//! Turns key-value pairs into a mapping: refuses duplicate keys and resolves merge keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::document::fields::wrong_type;
use crate::document::{NodeValue, YamlEntry, YamlNode};
use crate::source::{Span, SpannedString};

/// The unchecked pairs of one mapping, in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct MappingPairs {
    entries: Vec<YamlEntry>,
    merges: Vec<MergeKey>,
}

/// A `<<` key.
#[derive(Debug)]
struct MergeKey {
    key: Span,
    value: YamlNode,
    /// Number of entries before it.
    before: usize,
}

impl MappingPairs {
    pub(super) fn push(&mut self, key: SpannedString, value: YamlNode) {
        self.entries.push(YamlEntry { key, value });
    }

    pub(super) fn merge(&mut self, key: Span, value: YamlNode) {
        self.merges.push(MergeKey {
            key,
            value,
            before: self.entries.len(),
        });
    }

    /// The end offset of the last value.
    pub(super) fn end(&self) -> Option<u32> {
        let entry = self
            .entries
            .last()
            .map(|entry| entry.key.span.end.max(entry.value.span.end));
        let merge = self
            .merges
            .last()
            .map(|merge| merge.key.end.max(merge.value.span.end));
        entry.max(merge)
    }

    /// The entries of the mapping, every key once.
    pub(super) fn finish(self, diagnostics: &mut Diagnostics) -> Vec<YamlEntry> {
        let Self { entries, merges } = self;
        if let [first, second, ..] = merges.as_slice() {
            diagnostics.push(
                duplicate("<<", first.key, second.key).help("one `<<` takes a list of mappings"),
            );
        }
        let explicit = first_places(&entries, &merges);
        let mut entries = unique(entries, diagnostics);
        merge_into(&mut entries, &explicit, merges, diagnostics);
        entries
    }
}

/// Removes repeated keys and reports them.
fn unique(entries: Vec<YamlEntry>, diagnostics: &mut Diagnostics) -> Vec<YamlEntry> {
    let repeated = repeated(entries.iter().map(|entry| &entry.key), diagnostics);
    if repeated.is_empty() {
        return entries;
    }
    entries
        .into_iter()
        .enumerate()
        .filter(|(index, _)| !repeated.contains(index))
        .map(|(_, entry)| entry)
        .collect()
}

/// Reports repeated keys, and returns the indices of all occurrences but the first.
pub(super) fn repeated<'key>(
    keys: impl Iterator<Item = &'key SpannedString>,
    diagnostics: &mut Diagnostics,
) -> BTreeSet<usize> {
    let mut order: Vec<(&str, usize, Span)> = keys
        .enumerate()
        .map(|(index, key)| (key.value.as_str(), index, key.span))
        .collect();
    order.sort_unstable_by_key(|(key, index, _)| (*key, *index));

    let mut repeated = BTreeSet::new();
    for pair in order.windows(2) {
        let [(key, _, first), (same, index, second)] = pair else {
            continue;
        };
        if key == same {
            diagnostics.push(duplicate(key, *first, *second));
            repeated.insert(*index);
        }
    }

    repeated
}

fn duplicate(key: &str, first: Span, second: Span) -> Diagnostic {
    Diagnostic::new(Code::DuplicateField, format!("`{key}` is here twice"))
        .label(second, "again")
        .label(first, "first here")
}

/// The first occurrence of each key in the mapping itself. Empty if there is no merge key.
fn first_places(entries: &[YamlEntry], merges: &[MergeKey]) -> BTreeMap<String, (usize, Span)> {
    let mut places = BTreeMap::new();
    if merges.is_empty() {
        return places;
    }
    for (index, entry) in entries.iter().enumerate() {
        places
            .entry(entry.key.value.clone())
            .or_insert((index, entry.key.span));
    }
    places
}

/// Adds the entries that `<<` merges. The mapping's own keys win, then those of earlier merged
/// mappings.
///
/// In go-yaml v2, and so in `kubectl`, the merged value wins if the own key comes before `<<`.
/// Other readers disagree, so that case is refused.
fn merge_into(
    entries: &mut Vec<YamlEntry>,
    explicit: &BTreeMap<String, (usize, Span)>,
    merges: Vec<MergeKey>,
    diagnostics: &mut Diagnostics,
) {
    let mut merged = BTreeSet::new();
    for MergeKey {
        key: merge_key,
        value,
        before,
    } in merges
    {
        for YamlEntry { key, value } in sources(value, diagnostics).into_iter().flatten() {
            if let Some((_, own)) = explicit
                .get(&key.value)
                .filter(|(index, _)| *index < before)
            {
                diagnostics.push(before_merge(&key.value, *own, merge_key));
            // The first merged mapping with a key wins.
            } else if !explicit.contains_key(&key.value) && merged.insert(key.value.clone()) {
                entries.push(YamlEntry { key, value });
            }
        }
    }
}

fn before_merge(key: &str, own: Span, merge: Span) -> Diagnostic {
    Diagnostic::new(
        Code::DuplicateField,
        format!("`{key}` is here and in the mapping that `<<` merges"),
    )
    .label(own, "")
    .label(merge, "merged here")
    .help(
        "YAML readers disagree about which one counts: put `<<` first, so that the mapping's own \
         keys win",
    )
}

/// The mappings that a `<<` key merges.
fn sources(value: YamlNode, diagnostics: &mut Diagnostics) -> Vec<Vec<YamlEntry>> {
    match value.value {
        NodeValue::Map(entries) => vec![entries],
        NodeValue::List(items) => items
            .into_iter()
            .filter_map(|item| source(item, diagnostics))
            .collect(),
        NodeValue::Scalar(_) => {
            diagnostics.push(wrong_type(&value, "a mapping or a list of mappings"));
            Vec::new()
        }
    }
}

fn source(item: YamlNode, diagnostics: &mut Diagnostics) -> Option<Vec<YamlEntry>> {
    match item.value {
        NodeValue::Map(entries) => Some(entries),
        NodeValue::List(_) | NodeValue::Scalar(_) => {
            diagnostics.push(wrong_type(&item, "a mapping"));
            None
        }
    }
}
