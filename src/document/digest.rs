//! What an object says, as one number: equal for objects that say the same, in whatever order and spelling.

use sha2::{Digest, Sha256};

use crate::document::{Entry, Node, Scalar, Value};

impl Node {
    /// SHA-256 of the content, without places, the order of keys, and the style of scalars.
    pub fn digest(&self) -> [u8; 32] {
        let mut text = String::new();
        write(self, &mut text);
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
        Value::Map(entries) => {
            let mut sorted: Vec<&Entry> = entries.iter().collect();
            sorted.sort_by(|left, right| left.key.value.cmp(&right.key.value));
            out.push_str(&format!("m{}:", sorted.len()));
            for Entry { key, value } in sorted {
                out.push_str(&format!("{}:{}", key.value.len(), key.value));
                write(value, out);
            }
        }
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
