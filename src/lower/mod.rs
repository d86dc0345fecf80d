//! Addresses and rules to chains and sets: what one node's kernel is to hold.
//!
//! In: a [`Resolved`] and a node. Out: a [`Program`] of values. Control flow is chains, goto and return only; no packet is
//! marked. `ARCHITECTURE.md` draws a packet's way through them and says why it is this one. Absent: text, and how it gets
//! into a kernel.
//!
//! Total: whatever policy got this far can be lowered. Only the limits of the kernel can refuse it: a name that two things
//! would share, and a set too large.

mod classes;
mod entry;
pub mod limits;
mod matches;
mod names;
mod options;
mod profiles;
mod program;
mod sets;
mod tiers;

pub use names::PREFIX;
pub use options::{Encapsulated, EndpointToHost, HookPosition, Options, UnknownEndpoint, Words};
pub use program::{
    Chain, ChainName, Hook, LogPrefix, Match, Member, Members, Program, Rule, Sense, Service, Set, SetName, Side, Table, Target,
};

use crate::diagnostic::Diagnostics;
use crate::inventory::NodeId;
use crate::lower::names::Names;
use crate::lower::sets::Sets;
use crate::net::Family;
use crate::resolve::Resolved;

/// The program of one node.
///
/// Cost: the node's endpoints and the policies that apply to each, the rules of those policies, and the members of the sets
/// that those rules name; n log n in each.
pub fn to_chains(resolved: &Resolved<'_>, node: NodeId, options: &Options, found: &mut Diagnostics) -> Program {
    let mut lowering = Lowering { resolved, node, options, sets: Sets::new(resolved, node), names: Names::default() };
    let [v4, v6] = Family::BOTH.map(|family| entry::table(&mut lowering, family, found));
    Program { sets: lowering.sets.finish(found), v4, v6 }
}

/// What every step of lowering one node knows and adds to.
struct Lowering<'run, 'input> {
    resolved: &'run Resolved<'input>,
    node: NodeId,
    options: &'run Options,
    sets: Sets<'run>,
    names: Names,
}

#[cfg(test)]
mod tests;
