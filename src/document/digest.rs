//! What an object says, as one number: equal for objects that say the same, in whatever order and
//! spelling.

use sha2::{Digest, Sha256};

use crate::document::{Entry, Node, Scalar, Value};

impl Node {
    /// SHA-256 of an object's content, without places, the order of keys, the style of scalars, and
    /// fields of its `metadata` that say nothing.
    pub fn digest(&self, silent: &[&str]) -> [u8; 32] {
        let mut text = String::new();
        let says = |entry: &&Entry| !silent.contains(&entry.key.value.as_str());
        match &self.value {
            Value::Map(entries) => {
                for Entry { key, value } in sorted(entries.iter()) {
                    text.push_str(&format!("{}:{}", key.value.len(), key.value));
                    match &value.value {
                        Value::Map(inner) if key.value == "metadata" => {
                            write_map(sorted(inner.iter().filter(says)), &mut text)
                        }
                        Value::Map(_) | Value::List(_) | Value::Scalar(_) => {
                            write(value, &mut text)
                        }
                    }
                }
            }
            Value::List(_) | Value::Scalar(_) => write(self, &mut text),
        }
        Sha256::digest(text.as_bytes()).into()
    }
}

/// Writes every value with its type and length, so that two contents never give one text.
fn write(node: &Node, out: &mut String) {
    match &node.value {
        Value::Scalar(scalar) => write_scalar(scalar, out),
        Value::List(items) => {
            out.push_str(&format!("l{}:", items.len()));
            items.iter().for_each(|item| write(item, out));
        }
        Value::Map(entries) => write_map(sorted(entries.iter()), out),
    }
}

fn sorted<'entry>(entries: impl Iterator<Item = &'entry Entry>) -> Vec<&'entry Entry> {
    let mut sorted: Vec<&Entry> = entries.collect();
    sorted.sort_by(|left, right| left.key.value.cmp(&right.key.value));
    sorted
}

fn write_map(sorted: Vec<&Entry>, out: &mut String) {
    out.push_str(&format!("m{}:", sorted.len()));
    for Entry { key, value } in sorted {
        out.push_str(&format!("{}:{}", key.value.len(), key.value));
        write(value, out);
    }
}

fn write_scalar(scalar: &Scalar, out: &mut String) {
    let (letter, text) = match scalar {
        Scalar::Null => ('n', ""),
        Scalar::Bool(true) => ('b', "true"),
        Scalar::Bool(false) => ('b', "false"),
        Scalar::Number(number) => ('i', number.as_str()),
        Scalar::Text(text) => ('t', text.value.as_str()),
        Scalar::Ambiguous(word) => ('a', word.as_str()),
    };
    out.push_str(&format!("{letter}{}:{text}", text.len()));
}
