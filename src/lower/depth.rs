//! Nesting depth of chains below the kernel's base chains.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::limits;
use crate::lower::program::{ChainName, Program, ProgramChain, ProgramTable, RuleTarget};

/// Reports tables that nf_tables would refuse to load because of their nesting. nf_tables counts
/// gotos like jumps. Only host endpoint policy over many tiers reaches the limit, because each of
/// its tiers nests one deeper.
pub(super) fn check(program: &Program, node: &str, diagnostics: &mut Diagnostics) {
    for table in [&program.v4, &program.v6].into_iter().chain(&program.early) {
        let depth = depth(table);
        if depth > limits::DEPTH {
            let table = format!("{} table of {}", table.kind.label(), table.family);
            let message = format!(
                "the chains of the {table} on node `{node}` nest {depth} deep, more than {}",
                limits::DEPTH
            );
            let help = "put the policies that apply to one host endpoint into fewer tiers";
            diagnostics.push(Diagnostic::new(Code::ChainsTooDeep, message).help(help));
        }
    }
}

/// The deepest nesting in a table. Generated chains have no cycles, so the recursion ends.
fn depth(table: &ProgramTable) -> usize {
    let chains: BTreeMap<&ChainName, &ProgramChain> = table
        .chains
        .iter()
        .map(|chain| (&chain.name, chain))
        .collect();
    let mut known = BTreeMap::new();

    table
        .hooks
        .iter()
        .map(|hook| below(&hook.chain, &chains, &mut known))
        .max()
        .unwrap_or_default()
}

/// Depth of a chain: one, plus the deepest chain that it leads to.
fn below<'table>(
    name: &'table ChainName,
    chains: &BTreeMap<&'table ChainName, &'table ProgramChain>,
    known: &mut BTreeMap<&'table ChainName, usize>,
) -> usize {
    // Chains are shared, so without the cache the cost could be exponential.
    if let Some(depth) = known.get(name) {
        return *depth;
    }

    let rules = chains.get(name).map_or(&[][..], |chain| &chain.rules);
    let next = rules.iter().filter_map(|rule| match &rule.target {
        RuleTarget::Jump(chain) | RuleTarget::Goto(chain) => Some(chain),
        RuleTarget::Accept
        | RuleTarget::Drop
        | RuleTarget::Return
        | RuleTarget::NoTrack
        | RuleTarget::Log(_) => None,
    });

    let deepest = next
        .map(|chain| below(chain, chains, known))
        .max()
        .unwrap_or_default();
    known.insert(name, deepest + 1);
    deepest + 1
}
