//! Listing.

use crate::net::Family;
use crate::observe::{Observed, Problem, Tools, answer, ask};
use crate::runner::{Call, Failure, Runner};
use crate::script::{Set, Sets, Table, TableKind, is_ours};

/// Which tables are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The filter tables. On a node whose other tables are large (kube-proxy's nat), that is much less to print.
    Filter,
    /// All that there are.
    All,
}

/// What `iptables-nft-save` says of a table that somebody made rules in which it cannot print.
const UNREADABLE_TABLE: &str = "is incompatible";

/// Lists our sets and tables.
///
/// # Errors
/// When a tool refuses, or its answer is not whole.
pub fn kernel(runner: &mut dyn Runner, tools: Tools, scope: Scope) -> Result<Observed, Problem> {
    let seen = sets(runner, tools)?;
    Family::BOTH.into_iter().try_fold(seen, |seen, family| tables(runner, tools, (family, scope), seen))
}

/// Lists a family's tables.
pub(super) fn tables(
    runner: &mut dyn Runner,
    tools: Tools,
    (family, scope): (Family, Scope),
    mut seen: Observed,
) -> Result<Observed, Problem> {
    let only = match scope {
        Scope::Filter => Some(TableKind::Filter),
        Scope::All => None,
    };
    let call = tools.save(family, only);
    let text = whole(&call, ask(runner, &call)?)?;
    if let Some(line) = text.lines().find(|line| line.starts_with('#') && line.contains(UNREADABLE_TABLE)) {
        return Err(answer::refused(&call, line));
    }
    let tables = Table::read(&text, family).map_err(|error| answer::refused(&call, &format!("its output is not whole: {error}")))?;
    seen.tables.extend(tables);
    Ok(seen)
}

/// Lists our sets: all at once, or one by one where that fails.
fn sets(runner: &mut dyn Runner, tools: Tools) -> Result<Observed, Problem> {
    let call = tools.sets_save();
    let problem = match ask(runner, &call).and_then(|text| read_sets(&call, text)) {
        Ok(sets) => return Ok(Observed { sets, ..Observed::default() }),
        Err(problem @ Problem::Refused { .. }) => problem,
        Err(problem) => return Err(problem),
    };
    // where not even the names can be had, the first problem says more
    let names = ask(runner, &Call::of("ipset", &["list", "-n"])).map_err(|_| problem)?;
    let mut seen = Observed::default();
    for name in names.lines().filter(|name| is_ours(name)) {
        let call = Call::of("ipset", &["save", name]);
        match ask(runner, &call).and_then(|text| read_sets(&call, text)) {
            Ok(set) => seen.sets.extend(set),
            Err(Problem::NoAnswer(failure @ Failure::TimedOut(..))) => return Err(Problem::NoAnswer(failure)),
            Err(_) => drop(seen.unlisted.insert(name.to_owned())),
        }
    }
    Ok(seen)
}

fn read_sets(call: &Call, text: String) -> Result<Sets, Problem> {
    let text = whole(call, text)?;
    Set::read(&text).map_err(|error| answer::refused(call, &format!("its output is not whole: {error}")))
}

/// Text that does not end with its line was cut.
fn whole(call: &Call, text: String) -> Result<String, Problem> {
    match text.is_empty() || text.ends_with('\n') {
        true => Ok(text),
        false => Err(answer::refused(call, "its output ends in the middle of a line")),
    }
}
