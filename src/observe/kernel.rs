//! Lists sets and tables of the kernel.

use crate::net::Family;
use crate::observe::{KernelProblem, ObservedKernel, ToolSettings, answer, ask, ask_all};
use crate::ruleset::{ParsedSet, ParsedSets, ParsedTable, TableKind, is_ours, lines};
use crate::runner::{Runner, RunnerFailure, ToolCall};

/// The tables to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableScope {
    /// Only the filter tables. That is much less output on a node whose other tables are large
    /// (kube-proxy's nat).
    Filter,
    /// All existing tables.
    All,
}

/// Message of `iptables-nft-save` for a table with rules that it cannot print, and the tables for
/// which that is an error, because they may contain Palisade chains. Other tables do not matter.
const UNREADABLE: &str = "' is incompatible";
const MUST_BE_READ: [TableKind; 3] = [TableKind::Raw, TableKind::Mangle, TableKind::Filter];

/// Reads Palisade's sets and tables. The tools run concurrently, because they only read.
///
/// # Errors
/// If a tool fails, or its answer is incomplete.
pub fn kernel(
    runner: &mut dyn Runner,
    tools: ToolSettings,
    scope: TableScope,
) -> Result<ObservedKernel, KernelProblem> {
    let calls = [
        tools.sets_save(),
        save(tools, Family::V4, scope),
        save(tools, Family::V6, scope),
    ];
    let mut answers = calls.iter().zip(ask_all(runner, &calls));
    let mut seen = match answers.next() {
        Some((call, sets_answer)) => sets(runner, call, sets_answer)?,
        None => ObservedKernel::default(),
    };

    for (family, (call, answer)) in Family::BOTH.into_iter().zip(answers) {
        read_tables(family, call, answer?, &mut seen)?;
    }

    Ok(seen)
}

/// Reads a family's tables into `seen`.
pub(super) fn tables(
    runner: &mut dyn Runner,
    tools: ToolSettings,
    family: Family,
    scope: TableScope,
    mut seen: ObservedKernel,
) -> Result<ObservedKernel, KernelProblem> {
    let call = save(tools, family, scope);
    let text = ask(runner, &call)?;
    read_tables(family, &call, text, &mut seen)?;
    Ok(seen)
}

fn save(tools: ToolSettings, family: Family, scope: TableScope) -> ToolCall {
    let only = match scope {
        TableScope::Filter => Some(TableKind::Filter),
        TableScope::All => None,
    };
    tools.save(family, only)
}

fn read_tables(
    family: Family,
    call: &ToolCall,
    text: String,
    seen: &mut ObservedKernel,
) -> Result<(), KernelProblem> {
    let text = whole(call, text)?;
    if let Some(line) = lines(&text)
        .map(|(_, line)| line)
        .find(|line| is_unreadable(line))
    {
        return Err(answer::refused(call, line));
    }

    let tables = ParsedTable::read(&text, family)
        .map_err(|error| answer::refused(call, &format!("its output is not whole: {error}")))?;
    seen.tables.extend(tables);
    Ok(())
}

/// Matches ``# Table `filter' is incompatible, use 'nft' tool.``
fn is_unreadable(line: &str) -> bool {
    let table = line
        .strip_prefix("# Table `")
        .and_then(|rest| rest.split_once(UNREADABLE));
    table.is_some_and(|(name, _)| MUST_BE_READ.iter().any(|kind| kind.label() == name))
}

/// Parses the answer for all sets. If the tool failed, lists the sets one by one, so that one
/// unlistable set does not hide the others. Every successful answer must be complete.
fn sets(
    runner: &mut dyn Runner,
    call: &ToolCall,
    answer: Result<String, KernelProblem>,
) -> Result<ObservedKernel, KernelProblem> {
    let problem = match answer {
        Ok(text) => {
            return read_sets(call, text).map(|sets| ObservedKernel {
                sets,
                ..ObservedKernel::default()
            });
        }
        Err(problem @ KernelProblem::Refused { .. }) => problem,
        Err(problem) => return Err(problem),
    };
    // If even the names cannot be listed, the first problem explains more.
    let names = ask(runner, &ToolCall::new("ipset", &["list", "-n"])).map_err(|_| problem)?;
    let mut seen = ObservedKernel::default();

    for name in names.lines().filter(|name| is_ours(name)) {
        let call = ToolCall::new("ipset", &["save", name]);
        match ask(runner, &call).and_then(|text| read_sets(&call, text)) {
            Ok(set) => seen.sets.extend(set),
            // A tool that hangs once would hang for every set.
            Err(KernelProblem::NoAnswer(
                failure @ (RunnerFailure::TimedOut(..) | RunnerFailure::Stuck(..)),
            )) => {
                return Err(KernelProblem::NoAnswer(failure));
            }
            Err(_) => drop(seen.unlisted.insert(name.to_owned())),
        }
    }

    Ok(seen)
}

fn read_sets(call: &ToolCall, text: String) -> Result<ParsedSets, KernelProblem> {
    let text = whole(call, text)?;
    ParsedSet::read(&text)
        .map_err(|error| answer::refused(call, &format!("its output is not whole: {error}")))
}

/// Checks that text ends with a newline. Text that does not was cut.
fn whole(call: &ToolCall, text: String) -> Result<String, KernelProblem> {
    match text.is_empty() || text.ends_with('\n') {
        true => Ok(text),
        false => Err(answer::refused(
            call,
            "its output ends in the middle of a line",
        )),
    }
}
