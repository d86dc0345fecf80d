//! Source validation: handles packets that claim a pod's address but arrive where no such packet
//! can come from.
//!
//! The rules check the route first, because it is right for nearly all packets, and a set lookup
//! costs more (`benches/validation`). So a packet with a valid source evaluates one rule.
//!
//! Palisade's rules identify an endpoint by its address. A pod that sends with another pod's
//! address would therefore get that pod's policy. The kernel knows where each address is: if the
//! route back to a packet's source does not use the interface on which it arrived, the source is
//! forged. `rpfilter` checks this (net/ipv4/netfilter/ipt_rpfilter.c,
//! net/ipv6/netfilter/ip6t_rpfilter.c). It matches nothing that arrives on the loopback interface,
//! and treats an address of the node itself as one without a route. It exists only in the raw and
//! mangle tables, below PREROUTING.
//!
//! The rules do not depend on the pods. When pods or nodes come and go, only set members change.

use crate::lower::NodeLowering;
use crate::lower::names::{fixed_chain, fixed_set, log_prefix};
use crate::lower::program::{
    ChainHook, NetMember, ProgramChain, ProgramRule, ProgramTable, RuleMatch, RuleTarget, Sense,
    SetMembers, SetName, Side, Strictness, TableKind,
};
use crate::lower::rules::rule;
use crate::lower::sets::family_suffix;
use crate::net::Family;
use crate::options::SourceValidation;

/// Adds source validation to the tables before the filter table. The input contains the tables of
/// host endpoints. Source validation comes first in the raw table, which is created if it does not
/// exist.
pub(super) fn before(
    lowering: &mut NodeLowering<'_, '_>,
    early: Vec<ProgramTable>,
) -> Vec<ProgramTable> {
    let mode = lowering.options.source_validation;
    if mode == SourceValidation::Off {
        return early;
    }
    let (raw, others): (Vec<ProgramTable>, Vec<ProgramTable>) = early
        .into_iter()
        .partition(|table| table.kind == TableKind::Raw);
    let mut raw = raw.into_iter().peekable();

    let mut tables = Vec::new();
    for family in Family::BOTH {
        let table = raw.next_if(|table| table.family == family);
        let table = table.unwrap_or(ProgramTable {
            kind: TableKind::Raw,
            family,
            chains: Vec::new(),
            hooks: Vec::new(),
        });
        tables.push(validated(lowering, table, mode));
    }
    tables.extend(others);
    tables
}

/// A raw table in which arriving packets meet source validation first.
fn validated(
    lowering: &mut NodeLowering<'_, '_>,
    mut table: ProgramTable,
    mode: SourceValidation,
) -> ProgramTable {
    let [prerouting, validate, spoofed] =
        ["PREROUTING", "validate-source", "spoofed"].map(fixed_chain);
    if table
        .chains
        .first()
        .is_none_or(|chain| chain.name != prerouting)
    {
        let about = "packets that arrive".to_owned();
        table.chains.insert(
            0,
            ProgramChain {
                name: prerouting.clone(),
                about,
                rules: Vec::new(),
            },
        );
        let position = lowering.options.hook_position;
        table.hooks.insert(
            0,
            ChainHook {
                kernel_chain: "PREROUTING",
                chain: prerouting,
                position,
            },
        );
    }

    let elsewhere = vec![RuleMatch::Spoofed(Strictness::Strict)];
    let about = "source validation: the route back leads elsewhere";
    let entry = rule(elsewhere, RuleTarget::Jump(validate.clone()), about);
    // First in the chain, because untracked policy may accept packets with a forged source.
    if let Some(first) = table.chains.first_mut() {
        first.rules.insert(0, entry);
    }
    let rules = checks(lowering, table.family, mode)
        .into_iter()
        .map(|(matches, about)| rule(matches, RuleTarget::Goto(spoofed.clone()), about));
    let about = "packets that arrive where the route back does not lead: whether they claim a \
                 pod's address";
    let validation = ProgramChain {
        name: validate,
        about: about.to_owned(),
        rules: rules.collect(),
    };
    let about = match mode {
        SourceValidation::Log => "a pod's address that is elsewhere: logged, and let through",
        SourceValidation::Strict | SourceValidation::Loose | SourceValidation::Off => {
            "a pod's address that is elsewhere"
        }
    };
    let spoofed = ProgramChain {
        name: spoofed,
        about: about.to_owned(),
        rules: verdict(mode),
    };
    // Directly after PREROUTING, in the order in which packets reach the chains.
    table.chains.splice(1..1, [validation, spoofed]);
    table
}

/// The matches for a packet whose route back uses another interface, each with a description. All
/// of them lead to the same verdict.
fn checks(
    lowering: &mut NodeLowering<'_, '_>,
    family: Family,
    mode: SourceValidation,
) -> Vec<(Vec<RuleMatch>, &'static str)> {
    let interfaces = lowering.options.pod_interfaces.iter();
    let mut checks: Vec<(Vec<RuleMatch>, &str)> = interfaces
        .map(|pattern| {
            (
                vec![RuleMatch::ArrivesLike(pattern.clone())],
                "from an interface of pods",
            )
        })
        .collect();

    let everywhere = RuleMatch::Member(Sense::Is, Side::Source, cluster_set(lowering, family));
    match mode {
        SourceValidation::Loose => {
            // The node knows the routes to its own pods for certain, so loose mode checks these
            // strictly.
            let here = RuleMatch::Member(Sense::Is, Side::Source, node_set(lowering, family));
            checks.push((vec![here], "address of a pod of this node"));
            let loose = RuleMatch::Spoofed(Strictness::Loose);
            checks.push((
                vec![everywhere, loose],
                "address of a pod, without a route back",
            ));
        }
        SourceValidation::Strict | SourceValidation::Log | SourceValidation::Off => {
            checks.push((vec![everywhere], "address of a pod that is elsewhere"));
        }
    }
    checks
}

fn verdict(mode: SourceValidation) -> Vec<ProgramRule> {
    let log = RuleTarget::Log(log_prefix("spoofed", None));
    let logged = rule(vec![RuleMatch::Rarely], log, "source validation");

    match mode {
        SourceValidation::Strict | SourceValidation::Loose => {
            vec![
                logged,
                rule(Vec::new(), RuleTarget::Drop, "source validation"),
            ]
        }
        SourceValidation::Log | SourceValidation::Off => {
            let counted = rule(
                Vec::new(),
                RuleTarget::Return,
                "source validation: only logged",
            );
            vec![logged, counted]
        }
    }
}

/// The set of the addresses of pods anywhere in the cluster.
fn cluster_set(lowering: &mut NodeLowering<'_, '_>, family: Family) -> SetName {
    let resolved = lowering.resolved;
    let about = || "pods of all nodes: their pod ranges, and endpoints outside of these".to_owned();
    let members = || {
        resolved
            .pod_sources(family)
            .iter()
            .copied()
            .map(NetMember::from_prefix)
            .collect()
    };
    let name = fixed_set(&format!("pods{}", family_suffix(family)));

    lowering
        .sets
        .add(name, about, || SetMembers::Addresses(family, members()))
}

/// The set of the addresses of pods on this node.
fn node_set(lowering: &mut NodeLowering<'_, '_>, family: Family) -> SetName {
    let (resolved, node) = (lowering.resolved, lowering.node);
    let about = || "pods of this node: its pod ranges, and endpoints outside of these".to_owned();
    let members = || {
        resolved
            .pod_sources_of(node, family)
            .into_iter()
            .map(NetMember::from_prefix)
            .collect()
    };
    let name = fixed_set(&format!("here{}", family_suffix(family)));

    lowering
        .sets
        .add(name, about, || SetMembers::Addresses(family, members()))
}
