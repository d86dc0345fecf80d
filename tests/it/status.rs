//! Counters are those of the policies that the scripts were rendered from; and `status` and
//! `doctor` in a kernel.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start programs and read files"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use palisade::observe::{IptablesBackend, ObservedKernel};
use palisade::options::ExtensionSet;
use palisade::plan::DesiredKernel;
use palisade::ruleset::{CheckedScripts, RuleCounters, TableId, TableKind};
use palisade::status::{CounterSource, EnforcementStatus, NodeInspection, PolicyPlaces};

use crate::kernel;
use crate::palisade::{files_below, root};
use crate::tools::command;

/// One packet for every rule of a bundle's node, by source.
fn counted(texts: &BTreeMap<String, String>, node: &str) -> EnforcementStatus {
    let file = |name: &str| {
        texts
            .get(&format!("nodes/{node}/{name}"))
            .map(String::as_str)
    };
    let folder = format!("nodes/{node}/");
    let own = texts
        .iter()
        .filter_map(|(path, text)| Some((path.strip_prefix(&folder)?, text.as_str())));
    let checked = CheckedScripts::read(own, &ExtensionSet::default()).expect("scripts of ours");
    let desired = DesiredKernel::from_scripts(checked);
    let mut observed = ObservedKernel {
        tables: desired.tables.clone(),
        ..ObservedKernel::default()
    };

    let rules = observed
        .tables
        .values_mut()
        .flat_map(|table| table.chains.values_mut().flatten());
    rules.for_each(|rule| {
        rule.counters = Some(RuleCounters {
            packets: 1,
            bytes: 40,
        })
    });

    let scripts = TableId::of_bundles()
        .filter_map(|id| Some((id, file(&id.file())?)))
        .collect();
    let (backend, places) = (IptablesBackend::Nft, PolicyPlaces::new());

    let look = NodeInspection {
        node,
        digest: "",
        backend,
        desired: &desired,
        scripts: &scripts,
        observed: &observed,
        differences: &[],
        places: &places,
    };
    EnforcementStatus::new(&look)
}

#[test]
fn every_rule_of_every_golden_bundle_is_known_by_its_policy_and_tier() {
    let (mut bundles, mut rules, mut ends) = (0, 0, 0);
    for case in fs::read_dir(root().join("golden")).expect("golden/") {
        let case = case.expect("an entry").path();
        let texts = files_below(&case.join("bundle"));
        let nodes: BTreeSet<&str> = texts
            .keys()
            .filter_map(|path| path.strip_prefix("nodes/")?.split('/').next())
            .collect();
        for node in nodes {
            let status = counted(&texts, node);
            let comments: usize = of_policies(&texts, node);
            let found = judge(&status, &case);
            rules += found.0;
            ends += found.1;
            assert_eq!(found.2, comments as u64, "{}: {node}", case.display());
            bundles += 1;
        }
    }

    assert!(
        bundles > 100 && rules > 200 && ends > 100,
        "{bundles} {rules} {ends}"
    );
}

/// How many counters are of rules of policies and of ends of tiers, and how many packets the former
/// have.
fn judge(status: &EnforcementStatus, case: &Path) -> (usize, usize, u64) {
    let (mut rules, mut ends, mut packets) = (0, 0, 0);
    for counter in &status.counters {
        let is_as_it_should = match &counter.source {
            CounterSource::Rule {
                tier,
                policy,
                number,
                ..
            } => {
                packets += counter.counters.packets;
                rules += 1;
                tier.is_none() == policy.starts_with("Profile ") && *number > 0
            }
            CounterSource::TierEnd { .. } => {
                ends += 1;
                true
            }
            CounterSource::Spoofed { is_dropped } => {
                counter.table == TableKind::Raw
                    && *is_dropped != case.ends_with("source-validation-log")
            }
            CounterSource::Beside { about, .. } => {
                let is_rule = about.contains(" rule ") && !about.contains("no rule matched");
                !is_rule && !about.starts_with("end of tier")
            }
        };
        assert!(is_as_it_should, "{}: {counter:?}", case.display());
    }

    (rules, ends, packets)
}

/// How many rules of the scripts of a node have a comment that names a policy's rule.
fn of_policies(texts: &BTreeMap<String, String>, node: &str) -> usize {
    let scripts = texts.iter().filter(|(path, _)| {
        path.starts_with(&format!("nodes/{node}/")) && path.ends_with(".rules")
    });
    let is_one = |line: &&str| line.starts_with("-A pal-") && line.contains("gress rule ");
    scripts
        .map(|(_, text)| text.lines().filter(is_one).count())
        .sum()
}

#[test]
fn tiers_are_those_of_the_policies() {
    let mut compared = 0;
    for case in [
        "tier-order",
        "tier-pass-to-the-next-tier",
        "admin-network-policy",
        "host-tiers",
        "host-pre-dnat",
        "host-untracked",
        "host-forward",
    ] {
        let place = root().join("golden").join(case);
        let mut files = palisade::source::SourceFiles::default();
        for (name, text) in files_below(&place)
            .into_iter()
            .filter(|(name, _)| !name.contains('/') && name.ends_with(".yaml"))
        {
            files.add(&name, text).expect("small");
        }
        let mut diagnostics = palisade::diagnostic::Diagnostics::default();
        let input = palisade::read(
            &files,
            palisade::policy::StagedPolicies::Proposed,
            &mut diagnostics,
        );
        let mut tiers = BTreeMap::new();
        for tier in &input.policies.tiers {
            tiers.extend(
                tier.policies
                    .iter()
                    .map(|policy| (policy.key.to_string(), tier.name.clone())),
            );
        }
        let texts = files_below(&place.join("bundle"));
        let nodes: BTreeSet<&str> = texts
            .keys()
            .filter_map(|path| path.strip_prefix("nodes/")?.split('/').next())
            .collect();
        for counter in nodes
            .into_iter()
            .flat_map(|node| counted(&texts, node).counters)
        {
            if let CounterSource::Rule {
                tier: Some(tier),
                policy,
                ..
            } = &counter.source
            {
                assert_eq!(Some(tier), tiers.get(policy), "{case}: {policy}");
                compared += 1;
            }
        }
    }

    assert!(compared > 30, "{compared}");
}

/// Applies a bundle, makes drift of each sort, and looks, in a network namespace of its own.
const WALK: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
export PALISADE_RUN_DIR=/run/palisade PALISADE_STATE_DIR=/run/state PALISADE_BACKEND=$2 PALISADE_NODE=n1
palisade=$1
"$palisade" status > /run/none 2>&1 && exit 90 || test $? = 2
"$palisade" apply "$3" > /run/applied || exit 91
"$palisade" status > /run/clean || exit 92
grep -q ': in sync$' /run/clean
ip link set lo up
iptables-$2-save -c > /run/before
"$palisade" --format prometheus status "$3" --policies "$4" | grep -q '^palisade_in_sync 1$'
"$palisade" --format json status --policies "$4" | grep -q '"place":"[^"]*manifest.yaml:[0-9]*"'
iptables-$2-save -c | grep -v '^#' > /run/after; grep -v '^#' /run/before | diff - /run/after
drift() { "$palisade" status > /run/drift && exit 93 || test $? = 1; grep -qF "$1" /run/drift || { cat /run/drift; exit 94; }; }
set=$(ipset list -n | grep -m1 pal-s4)
ipset add "$set" 203.0.113.77; drift "set $set: 1 member too many: 203.0.113.77"; ipset del "$set" 203.0.113.77
iptables-$2 -I pal-to-endpoint 1 -j ACCEPT; drift 'chain pal-to-endpoint, rule 1:'; iptables-$2 -D pal-to-endpoint 1
iptables-$2 -D FORWARD 1; drift 'jump from FORWARD: missing'
iptables-$2 -N pal-foreign; drift 'chain pal-foreign: nobody wants it'
"$palisade" doctor > /run/doctor || { cat /run/doctor; exit 95; }
grep -q '^ok  *set types ' /run/doctor && grep -q "^ok  *rules, IPv6 " /run/doctor
"#;

#[test]
fn drift_of_each_sort_is_told_in_a_kernel() {
    if kernel::skipped() {
        return;
    }

    let case = root().join("golden/dual-stack");
    for backend in ["nft", "legacy"] {
        let output = command("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--net",
                "--mount",
                "sh",
                "-c",
                WALK,
                "sh",
                env!("CARGO_BIN_EXE_palisade"),
                backend,
            ])
            .args([&case.join("bundle"), &case as &Path])
            .output()
            .expect("unshare starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{backend}: {}\n{}\n{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
    }
}
