//! Lines of `ipset restore` and `iptables-restore`, in the syntax of their manual pages.

use std::cmp::Reverse;
use std::fmt::Write;

use crate::lower::{
    NetMember, ProgramChain, ProgramRule, ProgramSet, ProgramTable, RuleMatch, RuleTarget, Sense,
    ServiceMember, SetMembers, Side, Strictness,
};
use crate::net::{Family, PortRange, SetSize};
use crate::options::HookPosition;
use crate::policy::Icmp;
use crate::render::comment::{comment_line, rule_comment};

// Writing to a `String` cannot fail, so the results of `write!` below are ignored.

/// Sets of at most this many members come after all larger sets.
const SMALL: usize = 99;

/// All sets: a comment, `create`, and an `add` line for every member.
///
/// Large sets come first, by order of magnitude. For every line, ipset(8) searches the list of sets
/// that came before. With the largest set last, thousands of sets and a million members take
/// minutes.
pub(super) fn sets(sets: &[ProgramSet]) -> String {
    let mut sorted: Vec<&ProgramSet> = sets.iter().collect();
    // A stable sort by order of magnitude: small changes of size do not reorder the script.
    sorted.sort_by_key(|set| Reverse(set.members.len().max(SMALL).ilog10()));
    let mut out = String::new();

    for (index, set) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "# {}", comment_line(&set.about));
        let _ = writeln!(out, "create {} {}", set.name, header(&set.members));
        add_members(&mut out, set);
    }

    out
}

/// Type, family and size options of a set.
fn header(members: &SetMembers) -> String {
    let size = SetSize::for_members(members.len());
    match members {
        SetMembers::Addresses(family, _) => {
            format!("hash:net family {} {size}", family_word(*family))
        }
        SetMembers::Services(family, _) => {
            format!("hash:ip,port family {} {size}", family_word(*family))
        }
        // A bitmap has a fixed range and takes no `hashsize` or `maxelem`.
        SetMembers::Ports(_) => "bitmap:port range 0-65535".to_owned(),
    }
}

fn family_word(family: Family) -> &'static str {
    match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    }
}

fn add_members(out: &mut String, set: &ProgramSet) {
    let name = &set.name;

    match &set.members {
        SetMembers::Addresses(_, members) => members.iter().for_each(|NetMember { net, sense }| {
            let exception = if *sense == Sense::IsNot {
                " nomatch"
            } else {
                ""
            };
            let _ = writeln!(out, "add {name} {net}{exception}");
        }),
        SetMembers::Services(_, services) => services.iter().for_each(
            |ServiceMember {
                 address,
                 protocol,
                 port,
             }| {
                let _ = writeln!(out, "add {name} {address},{}:{port}", protocol.keyword());
            },
        ),
        SetMembers::Ports(ranges) => ranges.iter().for_each(|range| {
            // ipset writes ranges with `-`, iptables with `:`.
            let _ = writeln!(out, "add {name} {}", range.to_string().replace(':', "-"));
        }),
    }
}

/// A declaration line for every chain. It empties the chain, or creates it, when the table is
/// committed.
pub(super) fn declarations(table: &ProgramTable) -> String {
    let mut out = String::new();
    for chain in &table.chains {
        let _ = writeln!(out, ":{} - [0:0]", chain.name);
    }
    out
}

/// All chains: a comment and the rules of each.
pub(super) fn rules(table: &ProgramTable) -> String {
    let mut out = String::new();
    for (index, ProgramChain { name, about, rules }) in table.chains.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "# {}", comment_line(about));
        for rule in rules {
            let _ = write!(out, "-A {name}");
            write_rule(&mut out, rule, table.family);
        }
    }

    out
}

/// The jumps from the kernel's chains into Palisade's chains.
pub(super) fn hooks(table: &ProgramTable) -> String {
    let mut out = String::new();
    for hook in &table.hooks {
        let how = match hook.position {
            HookPosition::Head => format!("-I {} 1", hook.kernel_chain),
            HookPosition::Tail => format!("-A {}", hook.kernel_chain),
        };
        let _ = writeln!(
            out,
            "{how} -m comment --comment \"palisade\" -j {}",
            hook.chain
        );
    }

    out
}

fn write_rule(
    out: &mut String,
    ProgramRule {
        matches,
        target,
        about,
    }: &ProgramRule,
    family: Family,
) {
    matches
        .iter()
        .for_each(|condition| write_match(out, condition, family));

    let _ = write!(out, " -m comment --comment \"{}\"", rule_comment(about));
    let _ = match target {
        RuleTarget::Accept => writeln!(out, " -j ACCEPT"),
        RuleTarget::Drop => writeln!(out, " -j DROP"),
        RuleTarget::Return => writeln!(out, " -j RETURN"),
        RuleTarget::Jump(chain) => writeln!(out, " -j {chain}"),
        RuleTarget::Goto(chain) => writeln!(out, " -g {chain}"),
        RuleTarget::NoTrack => writeln!(out, " -j CT --notrack"),
        RuleTarget::Log(prefix) => writeln!(out, " -j LOG --log-prefix \"{prefix}\" --log-level 5"),
    };
}

fn write_match(out: &mut String, condition: &RuleMatch, family: Family) {
    let _ = match condition {
        RuleMatch::Protocol(sense, protocol) => {
            write!(out, "{} -p {}", not(*sense), protocol.keyword())
        }
        RuleMatch::Address(sense, side, net) => write!(
            out,
            "{} {} {}/{}",
            not(*sense),
            address_option(*side),
            net.address(),
            net.prefix()
        ),
        RuleMatch::Member(sense, side, set) | RuleMatch::PortMember(sense, side, set) => {
            write!(
                out,
                " -m set{} --match-set {set} {}",
                not(*sense),
                set_word(*side)
            )
        }
        RuleMatch::Service(sense, side, set) => {
            let word = set_word(*side);
            write!(
                out,
                " -m set{} --match-set {set} {word},{word}",
                not(*sense)
            )
        }
        RuleMatch::Ports(sense, side, ranges) => {
            write!(
                out,
                " -m multiport{} {} {}",
                not(*sense),
                ports_option(*side),
                list(ranges)
            )
        }
        RuleMatch::Icmp(sense, icmp) => write_icmp(out, *sense, *icmp, family),
        RuleMatch::Reply => write!(out, " -m conntrack --ctstate RELATED,ESTABLISHED"),
        RuleMatch::Invalid => write!(out, " -m conntrack --ctstate INVALID"),
        RuleMatch::Untracked => write!(out, " -m conntrack --ctstate UNTRACKED"),
        RuleMatch::OriginalAddress(sense, net) => {
            write!(
                out,
                " -m conntrack{} --ctorigdst {}/{}",
                not(*sense),
                net.address(),
                net.prefix()
            )
        }
        RuleMatch::OriginalPort(sense, ports) => {
            write!(out, " -m conntrack{} --ctorigdstport {ports}", not(*sense))
        }
        RuleMatch::Arrives(interface) => write!(out, " -i {interface}"),
        RuleMatch::ArrivesLike(pattern) => write!(out, " -i {pattern}"),
        // `--validmark` uses the packet's mark in the route lookup, because replies may be routed
        // by mark. Pods cannot set marks.
        RuleMatch::Spoofed(Strictness::Strict) => write!(out, " -m rpfilter --validmark --invert"),
        RuleMatch::Spoofed(Strictness::Loose) => {
            write!(out, " -m rpfilter --loose --validmark --invert")
        }
        RuleMatch::Leaves(interface) => write!(out, " -o {interface}"),
        RuleMatch::NotLoopback => write!(out, " ! -i lo"),
        RuleMatch::Rarely => write!(out, " -m limit --limit 10/second --limit-burst 20"),
    };
}

fn write_icmp(out: &mut String, sense: Sense, icmp: Icmp, family: Family) -> std::fmt::Result {
    let option = match family {
        Family::V4 => ("icmp", "--icmp-type"),
        Family::V6 => ("icmp6", "--icmpv6-type"),
    };
    write!(
        out,
        " -m {}{} {} {}",
        option.0,
        not(sense),
        option.1,
        icmp.kind
    )?;

    icmp.code.map_or(Ok(()), |code| write!(out, "/{code}"))
}

fn not(sense: Sense) -> &'static str {
    match sense {
        Sense::Is => "",
        Sense::IsNot => " !",
    }
}

fn address_option(side: Side) -> &'static str {
    match side {
        Side::Source => "-s",
        Side::Destination => "-d",
    }
}

fn set_word(side: Side) -> &'static str {
    match side {
        Side::Source => "src",
        Side::Destination => "dst",
    }
}

fn ports_option(side: Side) -> &'static str {
    match side {
        Side::Source => "--sports",
        Side::Destination => "--dports",
    }
}

fn list(ranges: &[PortRange]) -> String {
    ranges
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
