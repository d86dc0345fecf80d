use std::collections::BTreeMap;

use super::{CounterSource, EnforcementStatus, NodeInspection, PolicyPlaces};
use crate::metrics::MetricFamilies;
use crate::net::{Direction, Family};
use crate::observe::{IptablesBackend, ObservedKernel};
use crate::output::BufferedOutput;
use crate::plan::{DesiredKernel, KernelDifference};
use crate::ruleset::{ParsedSet, ParsedTable, TableId, TableKind};

const SETS: &str = "create pal-i4-web hash:net family inet hashsize 1024 maxelem 65536\nadd \
                    pal-i4-web 10.0.0.1\nadd pal-i4-web 10.0.0.2\n";

/// A script as `render` writes it: a policy with its own chain, a policy that passes, the end of a
/// tier, and the rules outside of policy.
const SCRIPT: &str = r#"*filter
:pal-to-endpoint - [0:0]
:pal-it-default-1 - [0:0]
:pal-i-web-1 - [0:0]
:pal-ip-web-1 - [0:0]

# to an endpoint of this node: ingress policy
-A pal-to-endpoint -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "known connections" -j ACCEPT
-A pal-to-endpoint -m comment --comment "tier default" -j pal-it-default-1
-A pal-to-endpoint -m comment --comment "no ingress policy decided: allowed" -j ACCEPT

# ingress of tier default: each endpoint to the chain of its class
-A pal-it-default-1 -m set --match-set pal-i4-web dst -m comment --comment "NetworkPolicy shop/web, NetworkPolicy shop/passes" -g pal-i-web-1

# ingress of tier default for endpoints with: NetworkPolicy shop/web, NetworkPolicy shop/passes
-A pal-i-web-1 -m comment --comment "NetworkPolicy shop/web" -j pal-ip-web-1
-A pal-i-web-1 -s 192.0.2.0/24 -m comment --comment "NetworkPolicy shop/passes ingress rule 1" -j RETURN
-A pal-i-web-1 -m comment --comment "end of tier default: no rule matched" -j DROP

# ingress of NetworkPolicy shop/web-whose-name-is-cut-in-comments
-A pal-ip-web-1 -p tcp -m comment --comment "NetworkPolicy shop/web-w... ingress rule 1" -j ACCEPT
-A pal-ip-web-1 -p udp -m comment --comment "NetworkPolicy shop/web-w... ingress rule 1" -j ACCEPT
-A pal-ip-web-1 -m comment --comment "NetworkPolicy shop/web-w... ingress rule 2" -j LOG --log-prefix "pal-web:2 " --log-level 5

# hooks: the kernel's chains jump into ours
-I FORWARD 1 -m comment --comment "palisade" -j pal-to-endpoint
COMMIT
"#;

/// Returns the script as the kernel holds it. Each rule has counted as many packets of 100 bytes as
/// its line number.
fn saved(script: &str) -> String {
    let line = |(number, line): (usize, &str)| match line.starts_with('-') {
        true => format!(
            "[{number}:{number}00] {}\n",
            line.replace("-I FORWARD 1", "-A FORWARD")
        ),
        false => format!("{line}\n"),
    };
    (1..).zip(script.lines()).map(line).collect()
}

/// Returns the status if the kernel holds a script in both families.
fn status(
    held: &str,
    differences: &[KernelDifference],
    places: &PolicyPlaces,
) -> EnforcementStatus {
    let ids = Family::BOTH.map(|family| TableId {
        family,
        kind: TableKind::Filter,
    });
    let sets = ParsedSet::read(SETS).unwrap();
    let mut tables = BTreeMap::new();

    ids.iter()
        .for_each(|id| tables.extend(ParsedTable::read(SCRIPT, id.family).unwrap()));
    let desired = DesiredKernel {
        sets,
        tables,
        ..DesiredKernel::default()
    };
    let mut observed = ObservedKernel {
        sets: ParsedSet::read(SETS).unwrap(),
        ..ObservedKernel::default()
    };

    ids.iter().for_each(|id| {
        observed
            .tables
            .extend(ParsedTable::read(&saved(held), id.family).unwrap())
    });
    EnforcementStatus::new(&NodeInspection {
        node: "n1",
        digest: "0123",
        backend: IptablesBackend::Nft,
        desired: &desired,
        scripts: &BTreeMap::from(ids.map(|id| (id, SCRIPT))),
        observed: &observed,
        differences,
        places,
    })
}

/// Returns the packet counts: line numbers of the script, summed over both families.
fn packets(status: &EnforcementStatus) -> Vec<(String, u64)> {
    let word = |source: &CounterSource| match source {
        CounterSource::Rule {
            tier,
            policy,
            direction,
            number,
        } => format!("{tier:?} {policy} {direction} {number}"),
        CounterSource::TierEnd { tier, direction } => format!("end of {tier} {direction}"),
        CounterSource::Spoofed { is_dropped } => format!("spoofed, dropped: {is_dropped}"),
        CounterSource::Beside { chain, about } => format!("{chain}: {about}"),
    };

    status
        .counters
        .iter()
        .map(|counter| (word(&counter.source), counter.counters.packets))
        .collect()
}

#[test]
fn packets_are_summed_by_rule_of_policy() {
    let long = "Some(\"default\") NetworkPolicy shop/web-whose-name-is-cut-in-comments ingress";
    let expected = [
        ("pal-to-endpoint: known connections".to_owned(), 2 * 8),
        (
            "pal-to-endpoint: no ingress policy decided: allowed".to_owned(),
            2 * 10,
        ),
        (
            "Some(\"default\") NetworkPolicy shop/passes ingress 1".to_owned(),
            2 * 17,
        ),
        ("end of default ingress".to_owned(), 2 * 18),
        (format!("{long} 1"), 2 * (21 + 22)),
        (format!("{long} 2"), 2 * 23),
    ];

    assert_eq!(
        packets(&status(SCRIPT, &[], &PolicyPlaces::new())),
        expected
    );
}

#[test]
fn what_is_not_of_the_scripts_counts_for_no_policy() {
    let strange = SCRIPT
        .replace(
            "# ingress of NetworkPolicy shop/web-whose",
            "-A pal-i-web-1 -s 10.9.9.9/32 -j ACCEPT\n# ingress of NetworkPolicy shop/web-whose",
        )
        .replace(
            "\n# hooks",
            "-A pal-old -m comment --comment \"NetworkPolicy shop/passes ingress rule 1\" -j \
             ACCEPT\n# hooks",
        )
        .replace(":pal-ip-web-1", ":pal-old - [0:0]\n:pal-ip-web-1");
    let found = packets(&status(&strange, &[], &PolicyPlaces::new()));
    let of = |word: &str| {
        found
            .iter()
            .filter(|(source, _)| source.contains(word))
            .map(|(_, packets)| *packets)
            .collect::<Vec<u64>>()
    };

    assert_eq!(
        of("shop/passes"),
        [2 * 18],
        "one line lower, and without that of the old chain"
    );
    assert_eq!(
        of("pal-i-web-1: "),
        [2 * 21],
        "somebody's own verdict in a chain of ours"
    );

    assert_eq!(of("pal-old"), [0; 0]);
}

fn text(status: &EnforcementStatus) -> String {
    BufferedOutput::capture(|out| status.text(out))
        .as_str()
        .to_owned()
}

#[test]
fn people_see_what_differs_and_a_table() {
    let places = PolicyPlaces::from([(
        (
            "NetworkPolicy shop/passes".to_owned(),
            Direction::Ingress,
            1,
        ),
        "web.yaml:12".to_owned(),
    )]);
    let text = text(&status(SCRIPT, &[], &places));
    let expected = "n1: in sync\nscripts 0123, iptables-nft: 1 sets, 2 members, 8 chains, 20 \
                    rules\n\nPACKETS  BYTES  TIER";
    assert!(text.starts_with(expected), "{text}");
    let row = [
        "34",
        "3400",
        "default",
        "NetworkPolicy",
        "shop/passes",
        "ingress",
        "1",
        "web.yaml:12",
    ];
    assert!(
        text.lines().any(|line| line.split_whitespace().eq(row)),
        "{text}"
    );

    let rule = |number| KernelDifference::Rule {
        table: TableId {
            family: Family::V4,
            kind: TableKind::Filter,
        },
        chain: "pal-ip-web-1".to_owned(),
        number,
        wanted: Some("-j ACCEPT".to_owned()),
        found: None,
    };
    let text = self::text(&status(
        SCRIPT,
        &(1..=52).map(rule).collect::<Vec<_>>(),
        &PolicyPlaces::new(),
    ));
    let first = "n1: drift, 52 differences\n  filter table of IPv4, chain pal-ip-web-1, rule 1:\n    \
         expected: -j ACCEPT\n    actual:   no rule\n";
    assert!(text.starts_with(first), "{text}");
    assert!(
        text.contains("\n  and 2 more, which `--format json` lists\n"),
        "{text}"
    );
}

#[test]
fn machines_see_the_same() {
    let members = KernelDifference::Members {
        set: "pal-i4-web".to_owned(),
        missing: (vec!["10.0.0.2".to_owned()], 1),
        extra: (vec!["10.0.0.8".to_owned(), "10.0.0.9".to_owned()], 7),
    };
    let view: serde_json::Value = serde_json::from_str(
        BufferedOutput::capture(|out| status(SCRIPT, &[members], &PolicyPlaces::new()).json(out))
            .as_str(),
    )
    .unwrap();

    assert_eq!(
        (
            &view["inSync"],
            &view["sets"],
            &view["members"],
            &view["rules"]
        ),
        (&false.into(), &1.into(), &2.into(), &20.into())
    );

    let difference = &view["differences"][0];
    assert_eq!(
        (
            &difference["what"],
            &difference["missing"][0],
            &difference["extraCount"]
        ),
        (&"members".into(), &"10.0.0.2".into(), &7.into())
    );

    let rule = &view["counters"][2];
    let expected = serde_json::json!({
        "table": "filter", "tier": "default", "kind": "NetworkPolicy", "policy": "shop/passes", "direction": "ingress", "rule": 1,
        "place": null, "packets": 34, "bytes": 3400,
    });
    assert_eq!(*rule, expected);
}

#[test]
fn prometheus_sees_the_same() {
    let mut metrics = MetricFamilies::default();
    status(
        SCRIPT,
        &[KernelDifference::NoSet("pal-s4-x".to_owned())],
        &PolicyPlaces::new(),
    )
    .measure(&mut metrics);

    let text = metrics.to_string();
    for line in [
        "palisade_in_sync 0",
        "palisade_differences 1",
        "palisade_bundle_info{node=\"n1\",digest=\"0123\",backend=\"nft\"} 1",
        "palisade_sets 1",
        "palisade_set_members 2",
        "palisade_chains{table=\"filter\",family=\"6\"} 4",
        "palisade_rules{table=\"filter\",family=\"4\"} 10",
        "palisade_rule_packets_total{table=\"filter\",tier=\"default\",kind=\"NetworkPolicy\",\
         policy=\"shop/passes\",direction=\"ingress\",rule=\"1\"} 34",
        "palisade_tier_end_bytes_total{table=\"filter\",tier=\"default\",direction=\"ingress\"} \
         3600",
        "palisade_beside_packets_total{table=\"filter\",chain=\"pal-to-endpoint\",about=\"known \
         connections\"} 16",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();

    let mut once = names.clone();
    once.dedup();
    assert_eq!(names, once);
}
