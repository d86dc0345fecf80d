//! Source validation: packets that claim a pod's address where no such packet can come from.
//!
//! The route is asked for first: it is right for nearly all packets, and a look into a set costs
//! more than it (`benches/validation`). So a packet that is where it should be meets one rule.
//!
//! Rules of ours know an endpoint by its address, so that a pod which sends with another's address
//! would be that other one. The kernel knows where each address is: a packet whose route back does
//! not lead out of the interface that it arrived on has a source that is not its sender's.
//! `rpfilter` asks for that (net/ipv4/netfilter/ipt_rpfilter.c,
//! net/ipv6/netfilter/ip6t_rpfilter.c); it matches nothing that comes over the loopback interface,
//! and takes an address of the node itself for one without a route. It exists in the raw and mangle
//! tables, below PREROUTING only.
//!
//! The rules are the same whoever the pods are, so that a pod or a node that comes or goes changes
//! members of sets only.

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

/// The tables before the filter table, given those of host endpoints: source validation comes
/// before all else in the raw table, which is made where there is none.
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

/// A raw table with source validation at the head of what arrives.
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
    table.chains.splice(1..1, [validation, spoofed]);
    table
}

/// What is asked of a packet whose route back leads elsewhere, with words about it: each question
/// leads to the same verdict.
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

/// The set of the addresses that are pods' anywhere in the cluster.
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

/// The set of the addresses that are pods' on this node.
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
