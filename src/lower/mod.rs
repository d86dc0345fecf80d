//! Lowers addresses and rules to chains and sets: the desired kernel content of one node.
//!
//! In: a [`ResolvedPolicy`] and a node. Out: a [`Program`] of values. Control flow uses only
//! chains, goto and return; no packet is marked. `docs/design/chains.md` draws a packet's path
//! through the chains and gives the reasons. Absent: text, and how it gets into a kernel.
//!
//! Total: any policy that reaches this room can be lowered. Only kernel limits can refuse it: two
//! things that would share a name, a set that is too large, and chains that nest too deep.

mod classes;
mod depth;
mod entry;
mod hosts;
mod matches;
mod names;
mod policy_chains;
mod profiles;
mod program;
mod rules;
mod sets;
mod tiers;
mod validation;

pub use names::PREFIX;
pub use program::{
    ChainHook, ChainName, LogPrefix, NetMember, Program, ProgramChain, ProgramRule, ProgramSet,
    ProgramTable, RuleMatch, RuleTarget, Sense, ServiceMember, SetMembers, SetName, Side,
    Strictness, TableKind,
};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::inventory::NodeId;
use crate::limits;
use crate::lower::names::KernelNames;
use crate::lower::sets::SetBuilder;
use crate::net::Family;
use crate::options::CompileOptions;
use crate::resolve::ResolvedPolicy;

/// Builds the program of one node. Reports name collisions, sets that are too large and chains that
/// nest too deep to `diagnostics`.
///
/// Cost: `n log n` in the node's endpoints and the policies that apply to each, in the rules of
/// those policies, and in the members of the sets that those rules use.
pub fn to_chains(
    resolved: &ResolvedPolicy<'_>,
    node: NodeId,
    options: &CompileOptions,
    diagnostics: &mut Diagnostics,
) -> Program {
    let mut lowering = NodeLowering {
        resolved,
        node,
        options,
        sets: SetBuilder::new(resolved, node),
        names: KernelNames::default(),
    };
    let [v4, v6] = Family::BOTH.map(|family| entry::table(&mut lowering, family, diagnostics));
    let early = hosts::early_tables(&mut lowering, diagnostics);
    let early = validation::before(&mut lowering, early);

    let program = Program {
        sets: lowering.sets.finish(),
        v4,
        v6,
        early,
    };
    report_large_sets(&program, diagnostics);
    depth::check(&program, &resolved.inventory.node(node).name, diagnostics);

    program
}

/// Reports sets over the limit, each with the first rule that uses it.
fn report_large_sets(program: &Program, diagnostics: &mut Diagnostics) {
    for set in program
        .sets
        .iter()
        .filter(|set| set.members.len() > limits::SET_ELEMENTS)
    {
        let user = program
            .rules_naming(&set.name)
            .next()
            .map_or("", |rule| rule.about.as_str());
        let size = set.members.len();
        let message = format!(
            "`{user}` needs a set of {size} members, more than {}: {}",
            limits::SET_ELEMENTS,
            set.about
        );
        diagnostics.push(
            Diagnostic::new(Code::SetTooLarge, message)
                .help("select fewer endpoints, or name larger prefixes"),
        );
    }

    let all: usize = program.sets.iter().map(|set| set.members.len()).sum();
    if all > limits::ALL_ELEMENTS {
        let most = limits::ALL_ELEMENTS;
        let message =
            format!("the sets of a node would have {all} members together, more than {most}");
        let help = "use fewer selectors over the whole cluster, or fewer ranges of ports";
        diagnostics.push(Diagnostic::new(Code::SetTooLarge, message).help(help));
    }
}

/// State shared by all steps of lowering one node.
struct NodeLowering<'run, 'input> {
    resolved: &'run ResolvedPolicy<'input>,
    node: NodeId,
    options: &'run CompileOptions,
    sets: SetBuilder<'run>,
    names: KernelNames,
}

#[cfg(test)]
mod tests;
