//! Bundles of one node, of a given size, as text of the form that palisade writes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;

use palisade::bundle::{BundleWriter, NodePart, Provenance, ScriptCounts};
use palisade::net::Family;
use palisade::render::NodeScripts;

/// The size of a bundle.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Rules of each family, about.
    pub(super) rules: usize,
    /// Sets of each family that rules look into.
    pub(super) sets: usize,
    /// Members of each of them, but for the first.
    pub(super) members: usize,
    /// Members of the first.
    pub(super) first: usize,
}

/// What is otherwise than in the first bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edit {
    /// Nothing.
    Nothing,
    /// One rule of one chain, in both families.
    Chain,
    /// One pod more in the first set.
    Member,
    /// One pod more in the first set, and among the endpoints that a chain is for.
    TwoSets,
}

/// Rules of a policy's chain.
const RULES: usize = 20;
/// Endpoints of the node.
const LOCAL: usize = 30;
/// The number of the pod that comes in an edit.
const NEW: usize = 999_999;

/// Writes the bundle.
pub(super) fn write(size: Size, edit: Edit, place: &Path) -> io::Result<()> {
    let [filter_v4, filter_v6] = Family::BOTH.map(|family| filter(size, edit, family));
    let scripts = NodeScripts {
        sets: sets(size, edit),
        filter_v4,
        filter_v6,
        early: Vec::new(),
    };
    let table = ScriptCounts::Table {
        chains: 0,
        rules: size.rules,
    };
    let counts = vec![
        ScriptCounts::Sets {
            sets: size.sets,
            members: size.sets * size.members,
        },
        table,
        table,
    ];
    let failure =
        |diagnostic: palisade::diagnostic::Diagnostic| io::Error::other(diagnostic.message);

    let mut writer = BundleWriter::new(
        place,
        Provenance {
            inputs: format!("{edit:?}"),
            staged: false,
        },
    )
    .map_err(failure)?;
    writer
        .add(&NodePart {
            node: "n1".to_owned(),
            scripts,
            counts,
            extensions: BTreeSet::new(),
        })
        .map_err(failure)?;

    writer.finish().map(drop).map_err(failure)
}

/// Large sets first, as palisade has them.
fn sets(size: Size, edit: Edit) -> String {
    let mut out = String::new();
    for number in 0..size.sets {
        for family in Family::BOTH {
            let members = if number == 0 {
                size.first
            } else {
                size.members
            };
            let is_joined = number == 0 && matches!(edit, Edit::Member | Edit::TwoSets);
            // pods of a set are spread over the cluster
            let pods = (0..members).map(|pod| (number * 7 + pod) % NEW);
            set(
                &set_name(number, family),
                family,
                pods.chain(is_joined.then_some(NEW)),
                &mut out,
            );
        }
    }

    for (name, joins) in [("pal-local", false), ("pal-i", edit == Edit::TwoSets)] {
        for family in Family::BOTH {
            let name = if name == "pal-i" {
                class_name(family)
            } else {
                format!("{name}{}", digit(family))
            };
            set(
                &name,
                family,
                (0..LOCAL).chain(joins.then_some(NEW)),
                &mut out,
            );
        }
    }

    out
}

fn set(name: &str, family: Family, pods: impl Iterator<Item = usize>, out: &mut String) {
    let inet = if family == Family::V4 {
        "inet"
    } else {
        "inet6"
    };

    let mut pods: Vec<usize> = pods.collect();
    pods.sort_unstable();
    let members: Vec<String> = pods.into_iter().map(|pod| address(pod, family)).collect();
    let most = members.len().next_power_of_two().max(65_536) * 2;
    let _ = writeln!(
        out,
        "\n# (app == \"{name}\")\ncreate {name} hash:net family {inet} hashsize 1024 maxelem \
         {most}"
    );

    for member in members {
        let _ = writeln!(out, "add {name} {member}");
    }
}

fn filter(size: Size, edit: Edit, family: Family) -> String {
    let policies = size.rules.div_ceil(RULES);
    let digit = digit(family);
    let mut out = String::from("*filter\n");

    for name in [
        "FORWARD",
        "INPUT",
        "OUTPUT",
        "from-endpoint",
        "allowed",
        "to-endpoint",
        "it-default",
        "i-class",
    ] {
        let _ = writeln!(out, ":pal-{name} - [0:0]");
    }

    for policy in 0..policies {
        let _ = writeln!(out, ":{} - [0:0]", chain_name(policy));
    }

    out += &include_str!("frame.rules")
        .replace("{digit}", digit)
        .replace("{class}", &class_name(family));
    for policy in 0..policies {
        let name = chain_name(policy);
        let _ = writeln!(
            out,
            "-A pal-i-class -m comment --comment \"NetworkPolicy shop/policy-{policy}\" -j {name}"
        );
    }

    out += "-A pal-i-class -m comment --comment \"end of tier default: no rule matched\" -j DROP\n";
    for policy in 0..policies {
        let name = chain_name(policy);
        let _ = writeln!(out, "\n# ingress of NetworkPolicy shop/policy-{policy}");
        for rule in 0..RULES {
            let is_edited = edit == Edit::Chain && policy == policies / 2 && rule == 3;
            let port = if is_edited { 9_999 } else { 1_000 + rule };
            let set = set_name((policy * RULES + rule) % size.sets, family);
            let _ = writeln!(
                out,
                "-A {name} -p tcp -m multiport --dports {port} -m set --match-set {set} src -m \
                 comment --comment \"NetworkPolicy shop/policy-{policy} ingress rule {rule}\" -j \
                 ACCEPT"
            );
        }
    }

    out += "\n# hooks\n";
    for hook in ["FORWARD", "INPUT", "OUTPUT"] {
        let _ = writeln!(
            out,
            "-I {hook} 1 -m comment --comment \"palisade\" -j pal-{hook}"
        );
    }

    out + "COMMIT\n"
}

fn chain_name(policy: usize) -> String {
    format!("pal-ip-p{policy}-6ymexgee35")
}

fn set_name(number: usize, family: Family) -> String {
    format!("pal-s{}-app-{number}-rvnwf9x", digit(family))
}

fn class_name(family: Family) -> String {
    format!("pal-i{}-class-2vaqshr62a", digit(family))
}

fn digit(family: Family) -> &'static str {
    if family == Family::V4 { "4" } else { "6" }
}

fn address(pod: usize, family: Family) -> String {
    let [high, middle, low] = [pod / 65_536, pod / 256 % 256, pod % 256];
    let [high16, middle16, low16] =
        [high, middle, low].map(|part| u16::try_from(part).unwrap_or_default());
    match family {
        Family::V4 => format!("10.{high}.{middle}.{low}"),
        Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, high16, middle16, low16).to_string(),
    }
}
