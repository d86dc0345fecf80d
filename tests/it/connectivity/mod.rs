//! Connections that another tool found in clusters of other people, compared with what `palisade
//! connectivity` lists. The data is no part of the project: `PALISADE_TEST_DATA` names its folder,
//! and without it nothing is compared.
#![expect(
    clippy::disallowed_methods,
    reason = "the data lies outside of the project"
)]

mod allowed;
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// A range of addresses outside of the cluster, as numbers.
type Range = (u32, u32);

/// Who may reach whom by what; ranges outside are merged as far as the same holds for them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Connections {
    /// From, to, by what.
    pods: BTreeSet<(String, String, String)>,
    /// Pod, whether it is the receiver, by what; and the addresses.
    outside: BTreeMap<(String, bool, String), Vec<Range>>,
}

/// Cases that palisade refuses, as an API server does (semantics §2.1), with what it says. Mended,
/// they come out as expected.
const REFUSED: [(&str, &str); 6] = [
    // the schema of v1alpha1 demands both selectors of `pods`
    ("anp_test_11_swapping_rules", "`podSelector` is missing"),
    ("anp_test_12", "`podSelector` is missing"),
    ("anp_test_8", "`podSelector` is missing"),
    ("anp_test_9_swapping_rules", "`podSelector` is missing"),
    (
        "example_pods_w_same_owner_and_labels_gap_banp_good",
        "`namespaceSelector` is missing",
    ),
    // a name must be a DNS name
    (
        "example_pods_w_same_owner_and_labels_gap_with_good_match_expression2",
        "`use_match_exp_with_all_gap_values_of_app` is no valid name",
    ),
];

#[test]
fn connections_of_other_clusters() {
    let Some(data) = data() else { return };
    let cases = below(&data.join("connectivity"));
    assert!(cases.len() > 30, "only {} cases", cases.len());
    let mut problems = Vec::new();
    let mut agreed = 0;

    for case in cases {
        let name = case
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned();
        let mut cluster = peers::Cluster::read(&case.join("manifests"));
        if let Some((_, message)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            let said = allowed::connections(&cluster).err().unwrap_or_default();
            problems.extend(
                (!said.contains(message))
                    .then(|| format!("{name} is not refused with {message}: {said}")),
            );
            cluster.mend();
        }
        match agreement(&case, &cluster) {
            Ok(lines) => agreed += lines,
            Err(problem) => problems.push(format!("{name}:\n{problem}")),
        }
    }

    assert!(
        agreed > 5_000 || !problems.is_empty(),
        "only {agreed} lines"
    );
    assert!(
        problems.is_empty(),
        "{} cases differ\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// Where the data is; says so if it is nowhere.
#[expect(clippy::print_stderr, reason = "a test that was not run must say so")]
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("PALISADE_TEST_DATA");
    if folder.is_none() {
        eprintln!("connectivity skipped: PALISADE_TEST_DATA is not set");
    }
    folder.map(PathBuf::from)
}

/// What a folder holds, in order.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the data of PALISADE_TEST_DATA");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// How many connections a case has, if it comes out as expected; else the lines that differ, ours
/// with `+`.
fn agreement(case: &Path, cluster: &peers::Cluster) -> Result<usize, String> {
    let expected =
        Connections::read(&fs::read_to_string(case.join("expected.txt")).expect("expected.txt"));
    let found = allowed::connections(cluster)?;
    let (expected, found) = (expected.lines(), found.lines());
    let missing = expected.difference(&found).map(|line| format!("- {line}"));
    let extra = found.difference(&expected).map(|line| format!("+ {line}"));

    let lines: Vec<String> = missing.chain(extra).collect();
    match lines.is_empty() {
        true => Ok(expected.len()),
        false => Err(format!(
            "{} lines\n{}",
            lines.len(),
            lines
                .iter()
                .take(20)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n")
        )),
    }
}

impl Connections {
    /// `source => destination : what`, a line each. Ingress objects, which are not modelled, have a
    /// controller as their source.
    fn read(text: &str) -> Self {
        let mut connections = Self::default();
        for line in text
            .lines()
            .filter(|line| !line.contains("{ingress-controller}") && !line.is_empty())
        {
            let parts = line
                .split_once(" => ")
                .and_then(|(from, rest)| Some((from, rest.split_once(" : ")?)));
            let (from, (to, what)) = parts.expect("a connection");
            match (range(from), range(to)) {
                (Some(range), None) => {
                    connections.add_outside((to.to_owned(), true, what.to_owned()), range)
                }
                (None, Some(range)) => {
                    connections.add_outside((from.to_owned(), false, what.to_owned()), range)
                }
                _ => drop(connections.pods.insert((
                    from.to_owned(),
                    to.to_owned(),
                    what.to_owned(),
                ))),
            }
        }

        connections
    }

    fn add_outside(&mut self, key: (String, bool, String), range: Range) {
        self.outside.entry(key).or_default().push(range);
    }

    fn lines(&self) -> BTreeSet<String> {
        let pods = self
            .pods
            .iter()
            .map(|(from, to, what)| format!("{from} => {to} : {what}"));
        let ranges = self
            .outside
            .iter()
            .flat_map(|(key, ranges)| merged(ranges).into_iter().map(move |range| (key, range)));

        let outside = ranges.map(|((pod, receives, what), (first, last))| {
            let range = format!(
                "{}-{}[External]",
                Ipv4Addr::from_bits(first),
                Ipv4Addr::from_bits(last)
            );
            let (from, to) = if *receives {
                (&range, pod)
            } else {
                (pod, &range)
            };
            format!("{from} => {to} : {what}")
        });
        pods.chain(outside).collect()
    }
}

/// `10.0.0.0-10.255.255.255[External]`.
fn range(peer: &str) -> Option<Range> {
    let (first, last) = peer.strip_suffix("[External]")?.split_once('-')?;
    let number = |text: &str| text.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
    Some((number(first)?, number(last)?))
}

fn merged(ranges: &[Range]) -> Vec<Range> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();

    for (first, last) in sorted {
        match merged.last_mut() {
            Some(before) if before.1 >= first || before.1 + 1 == first => {
                before.1 = before.1.max(last)
            }
            _ => merged.push((first, last)),
        }
    }

    merged
}
