//! Matches and targets of a user's templates, which the user allows by name.
//!
//! Their options are not understood. So a rule with one is taken only where it can do no more than
//! drop or observe, whatever its options say: its target is DROP, or one of the few targets below,
//! and none of its options is one of iptables itself, which could add another target or command.

use crate::script::checked::rule::{Reader, Target};
use crate::script::checked::{Read, ensure};
use crate::script::{TableId, TableKind};

/// Long options of iptables itself (iptables 1.8.9, `original_opts` in iptables/iptables.c and
/// iptables/xtables.c, and of iptables-restore). `getopt_long` takes any beginning of one for it.
const GENERAL_OPTIONS: [&str; 35] = [
    "append",
    "check",
    "counters",
    "delete",
    "delete-chain",
    "destination",
    "dst",
    "exact",
    "flush",
    "fragments",
    "goto",
    "help",
    "in-interface",
    "insert",
    "ipv4",
    "ipv6",
    "jump",
    "line-numbers",
    "list",
    "list-rules",
    "match",
    "modprobe",
    "new-chain",
    "numeric",
    "out-interface",
    "policy",
    "protocol",
    "rename-chain",
    "replace",
    "set-counters",
    "source",
    "src",
    "table",
    "verbose",
    "wait",
];

/// Reads the options of a match.
pub(super) fn read_match(reader: &mut Reader<'_, '_>, name: &str) -> Read<()> {
    reader.extensions.push(name.to_owned());
    options(reader)
}

/// Reads the options of a target.
pub(super) fn read_target(reader: &mut Reader<'_, '_>, name: &str, id: TableId) -> Read<Target> {
    reader.extensions.push(name.to_owned());
    options(reader)?;
    match name {
        "REJECT" => {
            ensure(id.kind == TableKind::Filter, || "REJECT out of the filter table".to_owned())?;
            Ok(Target::Drop)
        }
        _ => Ok(Target::Log),
    }
}

/// Options with their values, up to the next word that begins with one `-`.
fn options(reader: &mut Reader<'_, '_>) -> Read<()> {
    loop {
        let is_negated = reader.peek() == Some("!");
        let option = reader.words.get(usize::from(is_negated)).and_then(|word| word.bare());
        let Some(name) = option.and_then(|option| option.strip_prefix("--")) else { return Ok(()) };
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_own = !name.is_empty() && name.bytes().all(is_known);
        let is_general = GENERAL_OPTIONS.iter().any(|general| general.starts_with(name));
        ensure(is_own && !is_general, || format!("bad option `--{name}` of an extension"))?;

        let _ = reader.skip("!");
        let _ = reader.skip(&format!("--{name}"));
        let is_value = |word: &super::words::Word<'_>| word.is_quoted || !word.text.starts_with('-') && word.text != "!";
        let values = reader.words.iter().take_while(|word| is_value(word)).count();
        reader.words = reader.words.get(values..).unwrap_or_default();
    }
}
