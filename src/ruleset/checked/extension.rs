//! Matches and targets of a user's templates, which the user allows by name.
//!
//! Palisade does not interpret the values of their options. So a rule with an extension is accepted
//! only if it can do no more than drop or observe, whatever the values are: its target must be DROP
//! or one of the few targets below, and every word must be an option of the extension, written in
//! full, or one of its values. The tools remove quotes before they look for options, so a quoted
//! word is checked like a bare one.

use crate::options::{ExtensionOption, KnownExtension};
use crate::ruleset::checked::model::CheckedTarget;
use crate::ruleset::checked::reader::RuleReader;
use crate::ruleset::checked::words::ScriptWord;
use crate::ruleset::checked::{ReadResult, ensure};
use crate::ruleset::{PREFIX, TableId, TableKind};

/// An option whose value names a table that all rules in the kernel share, also foreign ones
/// (`htable_find_get` in net/netfilter/xt_hashlimit.c).
const SHARED_NAME: &str = "hashlimit-name";

/// Reads the options of a match.
pub(super) fn read_match(reader: &mut RuleReader<'_, '_>, name: &str) -> ReadResult<()> {
    options(reader, name)
}

/// Reads the options of a target.
pub(super) fn read_target(
    reader: &mut RuleReader<'_, '_>,
    name: &str,
    id: TableId,
) -> ReadResult<CheckedTarget> {
    options(reader, name)?;
    // The kernel permits REJECT only in the filter table, and TRACE only in raw.
    let is_here = match name {
        "REJECT" => id.kind == TableKind::Filter,
        "TRACE" => id.kind == TableKind::Raw,
        _ => true,
    };
    ensure(is_here, || {
        format!("{name} in the {} table", id.kind.label())
    })?;

    Ok(if name == "REJECT" {
        CheckedTarget::Drop
    } else {
        CheckedTarget::Log
    })
}

/// Reads the options of one extension with their values. Each option may occur once.
fn options(reader: &mut RuleReader<'_, '_>, name: &str) -> ReadResult<()> {
    let known = KnownExtension::find(name);
    let known = known.ok_or_else(|| format!("unknown extension `{name}`"))?;
    let family = reader.family();
    let is_of_family = known.family.is_none_or(|only| only == family);
    ensure(is_of_family, || format!("`{name}` is of the other family"))?;
    let has_protocol = known
        .protocol
        .is_none_or(|protocol| reader.has_protocol(&[protocol]));
    ensure(has_protocol, || format!("`{name}` without its protocol"))?;
    ensure(!reader.extensions.iter().any(|own| own == name), || {
        format!("`{name}` twice")
    })?;
    reader.extensions.push(name.to_owned());

    let mut given = Vec::new();
    loop {
        let is_negated = reader.peek() == Some("!");
        let word = reader
            .words
            .get(usize::from(is_negated))
            .and_then(|word| word.bare());
        let Some(word) = word.and_then(|word| word.strip_prefix("--")) else {
            return Ok(());
        };
        let bad = || format!("bad option `--{word}` of `{name}`");
        let option = known
            .options
            .iter()
            .find(|option| option.name == word)
            .ok_or_else(bad)?;
        ensure(!is_negated || option.is_negatable, bad)?;
        ensure(!given.contains(&word), || format!("`--{word}` twice"))?;
        given.push(word);

        let read = usize::from(is_negated) + 1;
        reader.words = reader.words.get(read..).unwrap_or_default();
        values(reader, option)?;
    }
}

/// Reads the values of an option.
fn values(reader: &mut RuleReader<'_, '_>, option: &ExtensionOption) -> ReadResult<()> {
    let bad = || format!("bad value of `--{}`", option.name);
    let (values, rest) = reader
        .words
        .split_at_checked(option.values)
        .ok_or_else(bad)?;
    // A value that looks like an option could change how the tool reads the rest.
    let is_value = |word: &ScriptWord<'_>| !word.text.starts_with(['-', '!']);
    ensure(values.iter().all(is_value), bad)?;
    if option.name == SHARED_NAME {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_own = |word: &ScriptWord<'_>| {
            let own = word.text.strip_prefix(PREFIX);
            own.is_some_and(|own| !own.is_empty() && own.bytes().all(is_letter))
        };
        ensure(values.iter().all(is_own), || {
            format!("`--{SHARED_NAME}` with a name that does not begin with `{PREFIX}`")
        })?;
    }

    reader.words = rest;
    Ok(())
}
