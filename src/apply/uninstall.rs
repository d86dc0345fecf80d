//! Removes all Palisade objects from the kernel.

use crate::apply::goal::ConvergenceGoal;
use crate::apply::journal::RunStart;
use crate::apply::state_store::{self, tools};
use crate::apply::{ApplyError, ApplyOutcome, ApplyTarget, clear_other, round};
use crate::net::Family;
use crate::observe::{
    KernelProblem, ObservedKernel, TableScope, ToolSettings, ask, kernel, refuse_other,
};
use crate::plan::DesiredKernel;
use crate::ruleset::{is_ours, lines};

/// Removes all Palisade objects from the kernel, in both iptables builds, and then Palisade's
/// files.
///
/// # Errors
/// If some object is left. The files are removed also then, unless Palisade rules are left, so that
/// no boot brings the policy back.
pub fn uninstall(node: &mut ApplyTarget<'_>) -> Result<ApplyOutcome, ApplyError> {
    let _lock = node.lock()?;
    let tools = tools(node)?;
    let mut outcome = ApplyOutcome::new("", tools.backend);
    clear_other(node, &mut outcome)?;
    outcome.add(round::converge_with(
        node,
        ConvergenceGoal::nothing(&DesiredKernel::default()),
        tools,
        &mut RunStart::default(),
    )?);

    let left = see_both(node, tools)?;
    if left
        .iter()
        .flat_map(|seen| seen.tables.values())
        .all(|table| table.chains.values().all(Vec::is_empty))
    {
        state_store::forget_all(node.runner).map_err(ApplyError::NotForgotten)?;
    }

    let names: Vec<String> = left.iter().flat_map(names).collect();
    match names.is_empty() {
        true => Ok(outcome),
        false => Err(ApplyError::Left {
            names,
            held_by: held_by(node, tools),
        }),
    }
}

/// Returns what both builds hold. Sets belong to neither build, so only the first result contains
/// them.
fn see_both(
    node: &mut ApplyTarget<'_>,
    tools: ToolSettings,
) -> Result<Vec<ObservedKernel>, ApplyError> {
    let mut seen = vec![kernel(node.runner, tools, TableScope::All).map_err(ApplyError::Kernel)?];
    match refuse_other(node.runner, tools) {
        Ok(()) => {}
        Err(KernelProblem::OtherBackend(backend)) => {
            let other = kernel(
                node.runner,
                ToolSettings { backend, ..tools },
                TableScope::All,
            )
            .map_err(ApplyError::Kernel)?;
            seen.push(ObservedKernel {
                tables: other.tables,
                ..ObservedKernel::default()
            });
        }
        Err(problem) => return Err(ApplyError::Kernel(problem)),
    }

    Ok(seen)
}

/// Formats names as `chain pal-FORWARD`, `set pal-local4`.
fn names(seen: &ObservedKernel) -> Vec<String> {
    let chains = seen
        .tables
        .values()
        .flat_map(|table| table.chains.keys())
        .map(|chain| format!("chain {chain}"));

    let sets = seen
        .sets
        .keys()
        .chain(&seen.unlisted)
        .map(|set| format!("set {set}"));
    chains.chain(sets).collect()
}

/// Options whose value is a chain or a set.
const LEADS: [&str; 6] = [
    "-j",
    "-g",
    "--match-set",
    "--add-set",
    "--del-set",
    "--map-set",
];

/// Returns the commands that would delete the foreign rules that reference Palisade objects, as far
/// as they can be listed.
fn held_by(node: &mut ApplyTarget<'_>, tools: ToolSettings) -> Vec<String> {
    let mut commands = Vec::new();
    for backend in [tools.backend, tools.backend.other()] {
        for family in Family::BOTH {
            let call = ToolSettings { backend, ..tools }.save(family, None);
            // A build that is not installed cannot be listed, so it contributes no commands.
            let text = ask(node.runner, &call).unwrap_or_default();
            commands.extend(rules_of_others(&text).map(|(table, rule)| {
                let program = call.program.trim_end_matches("-save");
                format!("`{program} -t {table} -D {rule}`")
            }));
        }
    }

    commands
}

/// Returns the foreign rules of a listing that reference Palisade objects, with their tables.
fn rules_of_others(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut table = "";
    lines(text).filter_map(move |(_, line)| {
        table = line.strip_prefix('*').unwrap_or(table);
        let (_, rule) = line.split_once("-A ")?;
        let words: Vec<&str> = rule.split(' ').collect();
        let leads = words
            .windows(2)
            .any(|pair| matches!(pair, [word, name] if LEADS.contains(word) && is_ours(name)));
        (leads && !is_ours(words.first()?)).then_some((table, rule))
    })
}

#[cfg(test)]
mod tests {
    use super::rules_of_others;

    #[test]
    fn rules_of_others_that_lead_to_ours_are_found() {
        let text = "*filter\n:mine - [0:0]\n[0:0] -A mine -j pal-FORWARD\n[3:9] -A pal-FORWARD -j \
                    pal-unknown\n[0:0] -A INPUT -m comment --comment \"pal-x -A y\" -j \
                    ACCEPT\nCOMMIT\n*nat\n[0:0] -A POSTROUTING -m set --match-set pal-local4 src \
                    -j MASQUERADE\nCOMMIT\n";
        let found: Vec<(&str, &str)> = rules_of_others(text).collect();
        let masquerade = "POSTROUTING -m set --match-set pal-local4 src -j MASQUERADE";
        assert_eq!(
            found,
            [("filter", "mine -j pal-FORWARD"), ("nat", masquerade)]
        );
    }
}
