//! Digest of an object's content. Objects with the same content have equal digests, regardless of
//! order and spelling.

use sha2::{Digest, Sha256};

use crate::document::{NodeScalar, NodeValue, YamlEntry, YamlNode};

impl YamlNode {
    /// SHA-256 of an object's content. Ignores spans, the order of keys, the style of scalars, and
    /// the fields of `metadata` in `silent`.
    pub fn digest(&self, silent: &[&str]) -> [u8; 32] {
        let mut text = String::new();
        match &self.value {
            NodeValue::Map(entries) => write_object(entries, silent, &mut text),
            NodeValue::List(_) | NodeValue::Scalar(_) => write(self, &mut text),
        }

        Sha256::digest(text.as_bytes()).into()
    }
}

/// Writes the fields of an object. Omits the fields of its `metadata` that `silent` lists.
fn write_object(entries: &[YamlEntry], silent: &[&str], out: &mut String) {
    let says = |entry: &&YamlEntry| !silent.contains(&entry.key.value.as_str());
    for YamlEntry { key, value } in sorted(entries.iter()) {
        out.push_str(&format!("{}:{}", key.value.len(), key.value));
        match &value.value {
            NodeValue::Map(inner) if key.value == "metadata" => {
                write_map(sorted(inner.iter().filter(says)), out)
            }
            NodeValue::Map(_) | NodeValue::List(_) | NodeValue::Scalar(_) => write(value, out),
        }
    }
}

/// Writes every value with its type and length, so that different contents never produce the same
/// text.
fn write(node: &YamlNode, out: &mut String) {
    match &node.value {
        NodeValue::Scalar(scalar) => write_scalar(scalar, out),
        NodeValue::List(items) => {
            out.push_str(&format!("l{}:", items.len()));
            items.iter().for_each(|item| write(item, out));
        }
        NodeValue::Map(entries) => write_map(sorted(entries.iter()), out),
    }
}

fn sorted<'entry>(entries: impl Iterator<Item = &'entry YamlEntry>) -> Vec<&'entry YamlEntry> {
    let mut sorted: Vec<&YamlEntry> = entries.collect();
    // The order of keys has no meaning in YAML and JSON.
    sorted.sort_by(|left, right| left.key.value.cmp(&right.key.value));
    sorted
}

fn write_map(sorted: Vec<&YamlEntry>, out: &mut String) {
    out.push_str(&format!("m{}:", sorted.len()));
    for YamlEntry { key, value } in sorted {
        out.push_str(&format!("{}:{}", key.value.len(), key.value));
        write(value, out);
    }
}

fn write_scalar(scalar: &NodeScalar, out: &mut String) {
    let (letter, text) = match scalar {
        NodeScalar::Null => ('n', ""),
        NodeScalar::Bool(true) => ('b', "true"),
        NodeScalar::Bool(false) => ('b', "false"),
        // The text, not the value: parsing a float would lose digits.
        NodeScalar::Number(number) => ('i', number.as_str()),
        NodeScalar::Text(text) => ('t', text.value.as_str()),
        NodeScalar::Ambiguous(word) => ('a', word.as_str()),
    };
    out.push_str(&format!("{letter}{}:{text}", text.len()));
}
