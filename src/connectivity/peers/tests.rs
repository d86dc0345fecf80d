use crate::connectivity::peers::{PeerGrouping, PeerIdentity, PeerList, around, common};
use crate::diagnostic::Diagnostics;
use crate::packet_space::{AddressRange, ClusterSpace, HeaderSpace, PartitionBuilder};
use crate::policy::StagedPolicies;
use crate::resolve;
use crate::source::SourceFiles;

/// First and last address.
type Ends = (&'static str, &'static str);

fn range(first: &str, last: &str) -> AddressRange {
    AddressRange {
        last: AddressRange::at(last.parse().unwrap()).first,
        ..AddressRange::at(first.parse().unwrap())
    }
}

fn ranges(texts: &[(&str, &str)]) -> Vec<AddressRange> {
    texts
        .iter()
        .map(|(first, last)| range(first, last))
        .collect()
}

/// Describes the peers: `shop/Deployment/web as web [web-1 web-2]: 2`, or the ranges.
fn peers(yaml: &str, by: PeerGrouping) -> Vec<String> {
    let mut files = SourceFiles::default();
    files.add("all.yaml", yaml.to_owned()).unwrap();
    let mut diagnostics = Diagnostics::default();
    let input = crate::read(&files, StagedPolicies::Proposed, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");

    let resolved = resolve::selectors(&input.policies, &input.inventory, &mut diagnostics);
    let mut cuts = PartitionBuilder::default();
    cuts.of_policy(&resolved);
    let space = ClusterSpace::new(&resolved, &mut HeaderSpace::of(&cuts));
    let peers = PeerList::group(&input.inventory, &space, by);
    let text = |identity: &PeerIdentity| match identity {
        PeerIdentity::Endpoints {
            namespace,
            kind,
            name,
            service_account,
            pods,
        } => {
            let pods: Vec<&str> = pods.iter().map(|pod| &**pod).collect();
            format!(
                "{namespace}/{kind}/{name} as {} [{}]",
                service_account.as_deref().unwrap_or("nobody"),
                pods.join(" ")
            )
        }
        PeerIdentity::Outside(ranges) => ranges
            .iter()
            .map(|range| format!("{}-{}", range.first_address(), range.last_address()))
            .collect::<Vec<_>>()
            .join(" "),
    };

    let texts = peers.all().iter().map(|peer| match peer.endpoints.len() {
        0 => text(&peer.identity),
        count => format!("{}: {count}", text(&peer.identity)),
    });
    texts.collect()
}

fn pod(name: &str, rest: &str, address: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop{rest}}}\nspec: \
         {{nodeName: n1, serviceAccountName: web}}\nstatus: {{podIP: {address}, podIPs: [{{ip: \
         {address}}}]}}\n"
    )
}

const OWNED: &str = ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: \
                     web-5d4f8b7c9, controller: true}]";
const LABELLED: &str = ", labels: {new: 'yes'}, ownerReferences: [{apiVersion: apps/v1, kind: \
                        ReplicaSet, name: web-5d4f8b7c9, controller: true}]";
const POLICY: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: new, namespace: shop}
spec: {podSelector: {matchLabels: {new: 'yes'}}}
";
const OUTSIDE: [&str; 2] = [
    "0.0.0.0-10.0.0.0 10.0.0.3-255.255.255.255",
    "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

#[test]
fn endpoints_are_one_peer_where_owner_account_and_policy_are_one() {
    let alike = pod("a", OWNED, "10.0.0.1") + &pod("b", OWNED, "10.0.0.2");
    let apart = pod("a", OWNED, "10.0.0.1") + &pod("b", LABELLED, "10.0.0.2") + POLICY;
    let alone = pod("a", "", "10.0.0.1") + &pod("b", "", "10.0.0.2");
    let owner = "shop/ReplicaSet/web-5d4f8b7c9 as web";

    let cases: [(&str, &str, PeerGrouping, &[String]); 5] = [
        (
            "one owner",
            &alike,
            PeerGrouping::Workload,
            &[format!("{owner} []: 2")],
        ),
        (
            "told apart by policy",
            &apart,
            PeerGrouping::Workload,
            &[format!("{owner} [a]: 1"), format!("{owner} [b]: 1")],
        ),
        (
            "told apart, and asked by account",
            &apart,
            PeerGrouping::ServiceAccount,
            &["shop/ServiceAccount/web as web []: 2".to_owned()],
        ),
        (
            "no owner",
            &alone,
            PeerGrouping::Workload,
            &[
                "shop/Pod/a as web []: 1".to_owned(),
                "shop/Pod/b as web []: 1".to_owned(),
            ],
        ),
        (
            "no owner, and asked by account",
            &alone,
            PeerGrouping::ServiceAccount,
            &["shop/ServiceAccount/web as web []: 2".to_owned()],
        ),
    ];
    for (case, yaml, by, expected) in cases {
        let expected: Vec<String> = expected
            .iter()
            .cloned()
            .chain(OUTSIDE.map(str::to_owned))
            .collect();
        assert_eq!(peers(yaml, by), expected, "{case}");
    }
}

#[test]
fn gaps_that_endpoints_fill_are_left_in() {
    let taken = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.parse().unwrap())
            .collect::<Vec<_>>()
    };
    let apart: &[Ends] = &[("10.0.0.0", "10.0.0.4"), ("10.0.0.7", "10.0.0.9")];

    let cases: [(&[Ends], &[&str], &[Ends]); 6] = [
        (&[], &["10.0.0.1"], &[]),
        (apart, &[], apart),
        (apart, &["10.0.0.5"], apart),
        (
            apart,
            &["10.0.0.5", "10.0.0.6"],
            &[("10.0.0.0", "10.0.0.9")],
        ),
        (apart, &["10.0.0.4", "10.0.0.5"], apart),
        (
            &[("::", "::1"), ("::3", "::4"), ("::6", "::7")],
            &["10.0.0.2", "::2"],
            &[("::", "::4"), ("::6", "::7")],
        ),
    ];
    for (all, of_endpoints, expected) in cases {
        assert_eq!(
            around(&ranges(all), &taken(of_endpoints)),
            ranges(expected),
            "{all:?} around {of_endpoints:?}"
        );
    }
}

#[test]
fn what_ranges_have_in_common() {
    let cases: [(Ends, Ends, Option<Ends>); 5] = [
        (
            ("10.0.0.0", "10.0.0.9"),
            ("10.0.0.5", "10.0.0.20"),
            Some(("10.0.0.5", "10.0.0.9")),
        ),
        (
            ("10.0.0.0", "10.0.0.9"),
            ("10.0.0.9", "10.0.0.9"),
            Some(("10.0.0.9", "10.0.0.9")),
        ),
        (("10.0.0.0", "10.0.0.9"), ("10.0.0.10", "10.0.0.20"), None),
        (("0.0.0.0", "0.0.0.9"), ("::", "::9"), None),
        (("::", "::9"), ("::2", "::3"), Some(("::2", "::3"))),
    ];

    for (one, other, expected) in cases {
        let [one, other] = [one, other].map(|(first, last)| range(first, last));
        let expected = expected.map(|(first, last)| range(first, last));
        assert_eq!(
            (common(one, other), common(other, one)),
            (expected, expected),
            "{one:?} and {other:?}"
        );
    }
}
